package kdctest

import (
	"context"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"fleetssh/internal/sshdtest"
)

// Kinit gets a TGT with a password, as the user would, and puts it into a cache or a
// collection of them, named as in KRB5CCNAME. options are more for kinit, such as
// "-l", "1s".
func (k *KDC) Kinit(t testing.TB, cache, principal, password string, options ...string) {
	t.Helper()
	k.client(t, cache, password+"\n", "kinit", append(options, principal)...)
}

// Kvno gets a ticket for a service and puts it into a cache that has a TGT.
func (k *KDC) Kvno(t testing.TB, cache, service string) {
	t.Helper()
	k.client(t, cache, "", "kvno", service)
}

// Klist returns what klist prints about a cache, with the flags of the tickets.
func (k *KDC) Klist(t testing.TB, cache string) string {
	t.Helper()
	return k.client(t, cache, "", "klist", "-f")
}

// Kswitch makes a principal's cache the default of its collection.
func (k *KDC) Kswitch(t testing.TB, collection, principal string) {
	t.Helper()
	k.client(t, collection, "", "kswitch", "-p", principal)
}

// Kdestroy removes all caches of a collection.
func (k *KDC) Kdestroy(t testing.TB, collection string) {
	t.Helper()
	k.client(t, collection, "", "kdestroy", "-A")
}

// client runs one of the users' programs on a cache.
func (k *KDC) client(t testing.TB, cache, input, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(program(t, name), args...)
	cmd.Env = append(cmd.Environ(), k.Env()...)
	cmd.Env = append(cmd.Env, "KRB5CCNAME="+cache)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// StartKCM starts Heimdal's daemon for KCM: caches, which ends with the test, and
// returns its socket, for kcm_socket in krb5.conf. The daemon knows one place for
// its socket, below /run, so it gets a /run of its own. Where the kernel allows that
// to nobody but root, an account other than root gets an error.
func StartKCM(t testing.TB) (socket string, err error) {
	t.Helper()
	dir := sshdtest.SharedDir(t)
	socket = filepath.Join(dir, ".heim_org.h5l.kcm-socket")
	ctx, cancel := context.WithTimeout(t.Context(), sshdtest.Patience)
	defer cancel()
	// A user namespace, in which everybody is root; root needs none, but may have it.
	unshare := []string{"--user", "--map-root-user", "--mount"}
	if out, err := exec.CommandContext(ctx, "unshare", append(unshare, "true")...).CombinedOutput(); err != nil {
		unshare = []string{"--mount"}
		if exec.CommandContext(ctx, "unshare", "--mount", "true").Run() != nil {
			return "", &noNamespace{err, string(out)}
		}
	}
	const script = `mount --bind "$0" /run && exec "$1" --config-file=/dev/null`
	cmd := exec.Command("unshare", append(unshare, "sh", "-c", script, dir, program(t, "kcm"))...)
	cmd.Env = append(cmd.Environ(), "KRB5_CONFIG=/dev/null")
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	must(t, cmd.Start())
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-exited
	})
	sshdtest.Eventually(t, sshdtest.Patience, "kcm listens", func() bool {
		select {
		case <-exited:
			t.Fatalf("kcm ended: %s", out.String())
		default:
		}
		return listens(socket)
	})
	return socket, nil
}

// noNamespace says that kcm cannot be run.
type noNamespace struct {
	err error
	out string
}

// Error says why.
func (e *noNamespace) Error() string {
	return "kcm needs a mount namespace: " + e.err.Error() + ": " + strings.TrimSpace(e.out)
}

func listens(socket string) bool {
	conn, err := net.Dial("unix", socket)
	if err == nil {
		conn.Close()
	}
	return err == nil
}
