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

// Patience is how long a test waits for what comes at once.
const Patience = sshdtest.Patience

// Lapse is a time-out that a test waits out. What a healthy host does first takes less, even if
// other programs have the processors.
const Lapse = 10 * time.Second

// Soon returns a context for what comes at once.
func Soon(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	t.Cleanup(cancel)
	return ctx
}

// Dial connects, until the end of the test.
func Dial(t testing.TB, host fleetssh.HostConfig) *fleetssh.Client {
	t.Helper()
	c, err := fleetssh.Dial(Soon(t), host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// DialFails expects an error of one type from connecting.
func DialFails[E error](t testing.TB, host fleetssh.HostConfig) E {
	t.Helper()
	c, err := fleetssh.Dial(Soon(t), host)
	if err == nil {
		c.Close()
		t.Fatalf("connected, want an error of type %T", *new(E))
	}
	return AsError[E](t, err)
}

// AsError expects an error of one type.
func AsError[E error](t testing.TB, err error) E {
	t.Helper()
	e, ok := errors.AsType[E](err)
	if !ok {
		t.Fatalf("error %T: %v; want a %T", err, err, e)
	}
	return e
}

// Is reports whether an error is of one type.
func Is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// Output runs a line that has to succeed, and returns what it writes.
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

// RunCommand runs a command to its end, and returns what it writes.
func RunCommand(t testing.TB, c *fleetssh.Client, cmd fleetssh.Command) (out *fleetssh.HostOutput, stdout, stderr string, err error) {
	t.Helper()
	out = Start(t, c, cmd)
	err = out.WaitFinished(Soon(t))
	if !out.Finished() {
		t.Fatalf("%s: not finished: %v", out.CommandLine, err)
	}
	return out, Text(t, out.Stdout), Text(t, out.Stderr), err
}

// Equal compares what a test got with what it wants.
func Equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// Contains expects a text within another.
func Contains(t testing.TB, text string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in %q", want, text)
		}
	}
}

// Running expects a process to be there, or not to be, soon.
func Running(t testing.TB, marker string, want bool) {
	t.Helper()
	what := "no process " + marker
	if want {
		what = "a process " + marker
	}
	sshdtest.Eventually(t, Patience, what, func() bool { return len(sshdtest.Processes(marker)) > 0 == want })
}

// Together runs subtests that mostly wait, all at once: t.Parallel would let as
// many run as there are processors.
type Together struct {
	T *testing.T // the test that they belong to

	wg sync.WaitGroup
}

// Run starts a subtest.
func (all *Together) Run(name string, test func(t *testing.T)) {
	all.wg.Go(func() { all.T.Run(name, test) })
}

// Wait waits until all subtests have ended. The test must call it before it returns.
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
			t.Fatalf("waited in vain for %s", what)
		}
		<-time.After(2 * time.Millisecond)
	}
}
