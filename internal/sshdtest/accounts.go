package sshdtest

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// The accounts for tests. They all have the same random password.
const (
	Alice  = "fleet-alice" // may use sudo with her password
	Bob    = "fleet-bob"   // may not use sudo
	Carol  = "fleet-carol" // may use sudo without a password
	Dasher = "fleet-dash"  // has the login shell dash
)

// TwoRounds is a PAM service for Bob. It asks for the password, and in a second round for a mail
// address.
const TwoRounds = "sshd-fleet-two"

const (
	accountsDir  = "/run/fleetssh-sshdtest" // accessible only to root
	passwordFile = accountsDir + "/password"
	sudoersFile  = "/etc/sudoers.d/fleetssh-sshdtest"
	pamFile      = "/etc/pam.d/" + TwoRounds
)

// shells maps the accounts to their login shells. An account is not created if its shell is not
// installed.
var shells = map[string]string{
	Alice: "/bin/bash", Bob: "/bin/bash", Carol: "/bin/bash", Dasher: "/bin/dash",
	"fleet-tcsh": "/bin/tcsh", "fleet-fish": "/usr/bin/fish", "fleet-zsh": "/bin/zsh",
}

// Accounts creates the accounts if they are missing, and returns their password. All test processes
// that run at the same time share the accounts; they are removed after the last process. Only root
// can create accounts: for other users, the test is skipped.
func Accounts(t testing.TB) (password string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, for accounts to log in to")
	}
	set, err := accounts()
	must(t, err)
	return set.password
}

// ShellAccounts returns one account for each login shell that is installed.
func ShellAccounts(t testing.TB) []string {
	t.Helper()
	Accounts(t)
	var names []string
	for _, name := range accountNames() {
		if name == Alice || name == Carol {
			continue // they have the same shell as Bob
		}
		if _, err := user.Lookup(name); err == nil {
			names = append(names, name)
		}
	}
	return names
}

// accountSet is the state of a process that uses the accounts.
type accountSet struct {
	password string
	inUse    io.Closer // only the end of the process closes it
}

// accounts creates the accounts, once per process.
var accounts = sync.OnceValues(func() (*accountSet, error) {
	if err := os.MkdirAll(accountsDir, 0o700); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(accountsDir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		if err := lockShared(lock); err != nil {
			return nil, err
		}
		if _, err := os.Stat(sudoersFile); err == nil {
			break // the accounts exist, and nobody removes them while the lock is held
		}
		// Changing the lock from shared to exclusive, or back, releases it for a moment: another
		// process may create or remove the accounts in between.
		if err := lockExclusive(lock); err != nil {
			return nil, err
		}
		if err := makeAccounts(); err != nil {
			return nil, err
		}
	}
	password, err := os.ReadFile(passwordFile)
	if err != nil {
		return nil, err
	}
	inUse, err := removeAfterwards(lock)
	return &accountSet{string(password), inUse}, err
})

func makeAccounts() error {
	password, err := os.ReadFile(passwordFile)
	if err != nil {
		password = []byte(rand.Text())
		if err := os.WriteFile(passwordFile, password, 0o600); err != nil {
			return err
		}
	}
	var passwords strings.Builder
	for _, name := range accountNames() {
		if _, err := os.Stat(shells[name]); err != nil {
			continue
		}
		if exec.Command("id", "-u", name).Run() != nil {
			if err := run("", "useradd", "--create-home", "--shell", shells[name], name); err != nil {
				return err
			}
		}
		fmt.Fprintf(&passwords, "%s:%s\n", name, password)
	}
	if err := run(passwords.String(), "chpasswd"); err != nil {
		return err
	}
	// pam_ftp asks for a mail address and accepts any answer.
	pam := "auth required pam_unix.so\nauth required pam_ftp.so users=" + Bob + "\naccount required pam_permit.so\nsession required pam_permit.so\n"
	if err := os.WriteFile(pamFile, []byte(pam), 0o644); err != nil {
		return err
	}
	// The sudoers file is written last: its presence says that everything else exists.
	sudoers := Alice + " ALL=(ALL:ALL) ALL\n" + Carol + " ALL=(ALL:ALL) NOPASSWD: ALL\n"
	return os.WriteFile(sudoersFile, []byte(sudoers), 0o440)
}

// remover waits for the end of its standard input, which comes when this process has ended in any
// way. It holds a shared lock, which marks the accounts as in use. If nobody else holds the lock
// then, it removes the accounts.
const remover = `
cat >/dev/null
flock -x -w 5 3 || exit 0
rm -f "$@" "$1"[-.]*
for account in $ACCOUNTS; do
	id -u "$account" && userdel --force --remove "$account"
done`

// Sudoers adds lines to sudoers(5) until the end of the test.
func Sudoers(t testing.TB, lines ...string) {
	t.Helper()
	Accounts(t)
	// sudo ignores files with a dot in their names, so it never reads an incomplete file.
	part, err := os.CreateTemp(filepath.Dir(sudoersFile), filepath.Base(sudoersFile)+".*")
	must(t, err)
	_, err = part.WriteString(strings.Join(lines, "\n") + "\n")
	must(t, errors.Join(err, part.Chmod(0o440), part.Close()))
	file := strings.ReplaceAll(part.Name(), sudoersFile+".", sudoersFile+"-")
	t.Cleanup(func() { os.Remove(file) })
	must(t, os.Rename(part.Name(), file))
}

func removeAfterwards(lock *os.File) (inUse io.Closer, err error) {
	defer lock.Close()
	cmd := exec.Command("sh", "-c", remover, "sh", sudoersFile, pamFile, passwordFile)
	cmd.Env = append(os.Environ(), "ACCOUNTS="+strings.Join(accountNames(), " "))
	cmd.ExtraFiles = []*os.File{lock}
	// Ctrl-C, which ends the tests, must not end the remover.
	cmd.SysProcAttr = ownSession()
	if inUse, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	return inUse, cmd.Start()
}

func accountNames() []string {
	return slices.Sorted(maps.Keys(shells))
}

func run(input, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}
