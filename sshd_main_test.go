package fleetssh_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"fleetssh"
	"fleetssh/internal/sshdtest"
)

// The tests in the files sshd_*_test.go run against OpenSSH.

// patience is how long a test waits for what comes at once.
const patience = time.Minute

// soon returns a context for what comes at once.
func soon(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// startServer starts a server that lets the current user in with the key in the
// returned configuration.
func startServer(t testing.TB, opt sshdtest.Options) (*sshdtest.Server, fleetssh.HostConfig) {
	t.Helper()
	s := sshdtest.Start(t, opt)
	key := sshdtest.NewKey(t, sshdtest.KindED25519)
	user := sshdtest.CurrentUser(t)
	s.Authorize(t, user, key.Public())
	return s, hostConfig(t, s, user, fleetssh.Auth{Signers: []ssh.Signer{key.Signer}})
}

// accountServer starts a server that lets an account in with the key in the
// returned configuration. The password is that of all accounts.
func accountServer(t testing.TB, account string, opt sshdtest.Options) (s *sshdtest.Server, host fleetssh.HostConfig, password string) {
	t.Helper()
	password = sshdtest.Accounts(t)
	s, host = startServer(t, opt)
	s.Authorize(t, account, host.Auth.Signers[0].PublicKey())
	host.User = account
	return s, host, password
}

// hostConfig returns how to log in to a server, which is trusted by its keys.
func hostConfig(t testing.TB, s *sshdtest.Server, user string, auth fleetssh.Auth) fleetssh.HostConfig {
	t.Helper()
	return fleetssh.HostConfig{
		Host: s.Host, Port: s.Port, User: user, Auth: auth,
		HostKeys:       trust(t, knownLines(s.Address(), keysOf(s)...)...),
		ConnectTimeout: patience,
		RetryDelay:     -1,
	}
}

// keysOf returns the host keys of a server, of the given kinds or all.
func keysOf(s *sshdtest.Server, kinds ...string) []ssh.PublicKey {
	if len(kinds) == 0 {
		kinds = sshdtest.Kinds
	}
	var keys []ssh.PublicKey
	for _, kind := range kinds {
		if key := s.HostKey(kind); key != nil {
			keys = append(keys, key)
		}
	}
	return keys
}

// knownLines returns lines of a known_hosts file.
func knownLines(name string, keys ...ssh.PublicKey) []string {
	var lines []string
	for _, key := range keys {
		lines = append(lines, knownhosts.Line([]string{name}, key))
	}
	return lines
}

// trust returns the strict policy for a file with these lines.
func trust(t testing.TB, lines ...string) fleetssh.HostKeyPolicy {
	t.Helper()
	file := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	policy, err := fleetssh.KnownHosts(file)
	if err != nil {
		t.Fatal(err)
	}
	return policy
}

// dial connects, until the end of the test.
func dial(t testing.TB, host fleetssh.HostConfig) *fleetssh.Client {
	t.Helper()
	c, err := fleetssh.Dial(soon(t), host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// dialFails expects an error of one type from connecting.
func dialFails[E error](t testing.TB, host fleetssh.HostConfig) E {
	t.Helper()
	c, err := fleetssh.Dial(soon(t), host)
	if err == nil {
		c.Close()
		t.Fatalf("connected, want an error of type %T", *new(E))
	}
	return asError[E](t, err)
}

// asError expects an error of one type.
func asError[E error](t testing.TB, err error) E {
	t.Helper()
	e, ok := errors.AsType[E](err)
	if !ok {
		t.Fatalf("error %T: %v; want a %T", err, err, e)
	}
	return e
}

// output runs a line that has to succeed, and returns what it writes.
func output(t testing.TB, c *fleetssh.Client, line string) string {
	t.Helper()
	out, err := c.Output(soon(t), line)
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return string(out)
}

// start starts a command.
func start(t testing.TB, c *fleetssh.Client, cmd fleetssh.Command) *fleetssh.HostOutput {
	t.Helper()
	out, err := c.RunCommand(soon(t), cmd)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// runCommand runs a command to its end, and returns what it writes.
func runCommand(t testing.TB, c *fleetssh.Client, cmd fleetssh.Command) (out *fleetssh.HostOutput, stdout, stderr string, err error) {
	t.Helper()
	out = start(t, c, cmd)
	err = out.WaitFinished(soon(t))
	if !out.Finished() {
		t.Fatalf("%s: not finished: %v", out.CommandLine, err)
	}
	return out, text(t, out.Stdout), text(t, out.Stderr), err
}

// equal compares what a test got with what it wants.
func equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// contains expects a text within another.
func contains(t testing.TB, text string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in %q", want, text)
		}
	}
}

// running expects a process to be there, or not to be, soon.
func running(t testing.TB, marker string, want bool) {
	t.Helper()
	what := "no process " + marker
	if want {
		what = "a process " + marker
	}
	sshdtest.Eventually(t, patience, what, func() bool { return len(sshdtest.Processes(marker)) > 0 == want })
}

// together runs subtests that mostly wait, all at once: t.Parallel would let as
// many run as there are processors.
type together struct {
	t  *testing.T
	wg sync.WaitGroup
}

func (all *together) run(name string, test func(t *testing.T)) {
	all.wg.Go(func() { all.t.Run(name, test) })
}
