package main

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/creack/pty"

	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/internal/kdctest"
	"fleetssh/internal/sshdtest"
)

// After a wrong Kerberos password, the program asks again, once for all hosts. After three wrong
// ones, one host reports the KDC's error, and the others are not started.
func TestWrongKerberosPassword(t *testing.T) {
	t.Parallel()
	const password = "a Kerberos password"
	k, user := kdctest.Start(t, kdctest.Options{}), sshdtest.CurrentUser(t)
	k.AddPrincipal(t, user, password)
	s := sshdtest.Start(t, sshdtest.Options{
		Config: []string{"GSSAPIAuthentication yes", "GSSAPIStrictAcceptorCheck no"},
		Env:    append(k.Env(), "KRB5_KTNAME=FILE:"+k.AddService(t, "host/localhost")),
	})
	run := func(answers ...string) (code int, shown string) {
		args := []string{"run", "-F", "none", "-w", "localhost,127.0.0.1", "-p", fmt.Sprint(s.Port), "--host-key", "insecure", "--no-record",
			"--kinit", "--principal", user, "--service-host", "localhost", "echo in"}
		r := &terminalRun{t: t, cmd: exec.Command("fleetssh", args...), done: make(chan struct{})}
		r.cmd.Env = append(terminalEnv(t), "KRB5_CONFIG="+k.Config)
		var err error
		if r.tty, err = pty.StartWithSize(r.cmd, &pty.Winsize{Rows: 30, Cols: 100}); err != nil {
			t.Fatal(err)
		}
		r.watch()
		for i, answer := range answers {
			r.awaitTimes("Kerberos password of "+user, i+1)
			r.typed(answer + "\n")
		}
		return r.wait()
	}
	who := user + "@" + k.Realm

	code, shown := run("wr0ng", password)
	if code != exit.OK || strings.Count(shown, ": in") != 2 || !strings.Contains(shown, "the KDC has refused the password of "+who) {
		t.Errorf("exit code %d\n%s", code, shown)
	}
	before := len(k.Requests(kdctest.AS, "PREAUTH_FAILED"))
	code, shown = run("wr0ng 1", "wr0ng 2", "wr0ng 3")
	for _, want := range []string{
		"unreachable (auth): ", "not started (auth): ", "the KDC of " + k.Realm + " refused the password of " + who + "; it was not tried again",
	} {
		if !strings.Contains(shown, want) {
			t.Errorf("%q is not in\n%s", want, shown)
		}
	}
	if n := len(k.Requests(kdctest.AS, "PREAUTH_FAILED")) - before; code != exit.Unreachable || n != 3 || strings.Contains(shown, "wr0ng") {
		t.Errorf("exit code %d, the KDC refused %d passwords\n%s", code, n, shown)
	}
}
