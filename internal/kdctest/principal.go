package kdctest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// AddPrincipal adds a principal with a password. options are options of kadmin's add_principal,
// such as "-maxlife 1h" or "-allow_forwardable".
func (k *KDC) AddPrincipal(t testing.TB, name, password string, options ...string) {
	t.Helper()
	k.admin(t, fmt.Sprintf("add_principal %s -pw %q %s", strings.Join(options, " "), password, name))
}

// AddService adds a service such as "host/localhost" with a random key, and returns the path of a
// keytab with only that key.
func (k *KDC) AddService(t testing.TB, service string) (keytab string) {
	t.Helper()
	keytab = k.path("keytab", service)
	k.admin(t, "add_principal -randkey "+service, "ktadd -k "+keytab+" "+service)
	return keytab
}

// Keytab adds the keys of a principal to a keytab, which it creates if necessary. The password
// stays valid.
func (k *KDC) Keytab(t testing.TB, path, principal string) {
	t.Helper()
	k.admin(t, "ktadd -norandkey -k "+path+" "+principal)
}

// WrongKeytab returns the path of a keytab with a key of a service that differs from the KDC's.
func (k *KDC) WrongKeytab(t testing.TB, service string) (keytab string) {
	t.Helper()
	keytab = k.path("wrong", service)
	cmd := exec.Command(program(t, "ktutil"))
	cmd.Env = k.env()
	var script strings.Builder
	for version := range 3 {
		fmt.Fprintf(&script, "add_entry -password -p %s@%s -k %d -e aes256-cts-hmac-sha1-96\nwrong\n", service, k.Realm, version+1)
	}
	cmd.Stdin = strings.NewReader(script.String() + "write_kt " + keytab + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ktutil: %v: %s", err, out)
	}
	if _, err := os.Stat(keytab); err != nil {
		t.Fatalf("ktutil wrote no keytab: %v", err)
	}
	return keytab
}

// ChangeKey gives a principal a new random key. Its password and existing keytabs become invalid.
func (k *KDC) ChangeKey(t testing.TB, principal string) {
	t.Helper()
	k.admin(t, "change_password -randkey "+principal)
}

// Modify changes a principal. options are options of kadmin's modify_principal.
func (k *KDC) Modify(t testing.TB, principal string, options ...string) {
	t.Helper()
	k.admin(t, "modify_principal "+strings.Join(options, " ")+" "+principal)
}

// Delete removes a principal.
func (k *KDC) Delete(t testing.TB, principal string) {
	t.Helper()
	k.admin(t, "delete_principal -force "+principal)
}

// admin runs commands of kadmin.local in one process. Its exit status does not tell whether they
// succeeded: errors are printed as "command: text while doing something".
func (k *KDC) admin(t testing.TB, commands ...string) {
	t.Helper()
	cmd := exec.Command(program(t, "kadmin.local"), "-r", k.Realm)
	cmd.Env = k.env()
	cmd.Stdin = strings.NewReader(strings.Join(commands, "\n") + "\n")
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Contains(string(out), " while ") || strings.Contains(string(out), "usage:") {
		t.Fatalf("kadmin.local: %v: %s\n%s", err, strings.Join(commands, "; "), out)
	}
}

// path returns a path in Dir that is named after a principal.
func (k *KDC) path(kind, principal string) string {
	return filepath.Join(k.Dir, kind+"-"+strings.NewReplacer("/", "_", "@", "_").Replace(principal))
}
