package fleettest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"fleetssh"
	"fleetssh/internal/sshdtest"
)

// Patience is how long a test waits for an event that is due at once.
const Patience = sshdtest.Patience

// Lapse is a time-out that a test lets expire. It is long enough for what a healthy host must do
// before, even on a busy machine.
const Lapse = 10 * time.Second

// Soon returns a context that ends after Patience.
func Soon(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	t.Cleanup(cancel)
	return ctx
}

// Dial connects to a host. The connection is closed at the end of the test.
func Dial(t testing.TB, host fleetssh.HostConfig) *fleetssh.Client {
	t.Helper()
	c, err := fleetssh.Dial(Soon(t), host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// DialFails expects that connecting fails with an error of type E.
func DialFails[E error](t testing.TB, host fleetssh.HostConfig) E {
	t.Helper()
	c, err := fleetssh.Dial(Soon(t), host)
	if err == nil {
		c.Close()
		t.Fatalf("connected, want an error of type %T", *new(E))
	}
	return AsError[E](t, err)
}

// AsError expects that err is or wraps an error of type E, and returns that error.
func AsError[E error](t testing.TB, err error) E {
	t.Helper()
	e, ok := errors.AsType[E](err)
	if !ok {
		t.Fatalf("error %T: %v; want a %T", err, err, e)
	}
	return e
}

// Is reports whether err is or wraps an error of type E.
func Is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// Output runs a command line, which must succeed, and returns its stdout.
func Output(t testing.TB, c *fleetssh.Client, line string) string {
	t.Helper()
	out, err := c.Output(Soon(t), line)
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return string(out)
}

// Start starts a command.
func Start(t testing.TB, c *fleetssh.Client, cmd fleetssh.Command) *fleetssh.HostOutput {
	t.Helper()
	out, err := c.RunCommand(Soon(t), cmd)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// RunCommand runs a command, waits for its end, and returns its output.
func RunCommand(t testing.TB, c *fleetssh.Client, cmd fleetssh.Command) (out *fleetssh.HostOutput, stdout, stderr string, err error) {
	t.Helper()
	out = Start(t, c, cmd)
	err = out.WaitFinished(Soon(t))
	if !out.Finished() {
		t.Fatalf("%s: not finished: %v", out.CommandLine, err)
	}
	return out, Text(t, out.Stdout), Text(t, out.Stderr), err
}

// Equal expects got and want to be equal.
func Equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// Contains expects every one of wants in text.
func Contains(t testing.TB, text string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in %q", want, text)
		}
	}
}

// Running waits until a process with the marker runs, or with a false want until none runs.
func Running(t testing.TB, marker string, want bool) {
	t.Helper()
	what := "no process " + marker
	if want {
		what = "a process " + marker
	}
	sshdtest.Eventually(t, Patience, what, func() bool { return len(sshdtest.Processes(marker)) > 0 == want })
}

// Together runs all its subtests at once. It is for subtests that mostly wait: t.Parallel would run
// only as many at once as there are processors.
type Together struct {
	T *testing.T // the parent test

	wg sync.WaitGroup
}

// Run starts a subtest.
func (all *Together) Run(name string, test func(t *testing.T)) {
	all.wg.Go(func() { all.T.Run(name, test) })
}

// Wait waits until all subtests have ended. The parent test must call it before it returns.
func (all *Together) Wait() { all.wg.Wait() }

// Text reads a stream to its end.
func Text(t testing.TB, r io.Reader) string {
	t.Helper()
	var b bytes.Buffer
	if _, err := io.Copy(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Eventually waits until ok returns true.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(Patience); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("timed out after %v waiting for %s", Patience, what)
		}
		<-time.After(2 * time.Millisecond)
	}
}
