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

// Kinit runs kinit to get a TGT with a password. It writes the TGT to a cache or collection, named
// as in KRB5CCNAME. options are more options of kinit, such as "-l", "1s".
func (k *KDC) Kinit(t testing.TB, cache, principal, password string, options ...string) {
	t.Helper()
	k.client(t, cache, password+"\n", "kinit", append(options, principal)...)
}

// Kvno gets a ticket for a service and adds it to a cache with a TGT.
func (k *KDC) Kvno(t testing.TB, cache, service string) {
	t.Helper()
	k.client(t, cache, "", "kvno", service)
}

// Klist returns the output of klist for a cache, with the flags of the tickets.
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

// client runs a Kerberos client program on a cache and returns its output.
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

// StartKCM starts Heimdal's daemon for KCM caches. The daemon ends with the test. StartKCM returns
// its socket, for kcm_socket in krb5.conf. The path of the socket is fixed below /run, so the
// daemon runs in a mount namespace with its own /run. StartKCM returns an error to users other than
// root if the kernel does not let them make a namespace.
func StartKCM(t testing.TB) (socket string, err error) {
	t.Helper()
	dir := sshdtest.SharedDir(t)
	socket = filepath.Join(dir, ".heim_org.h5l.kcm-socket")
	ctx, cancel := context.WithTimeout(t.Context(), sshdtest.Patience)
	defer cancel()
	// In a user namespace, any user may mount. Root does not need one if it is not allowed.
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
		_ = cmd.Wait() // the exit status does not matter: the daemon is killed
		close(exited)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // fails only if the daemon has ended
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

// noNamespace means that kcm cannot run because no mount namespace can be made.
type noNamespace struct {
	err error
	out string
}

// Error implements [error].
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
