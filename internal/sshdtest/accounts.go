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

// The accounts for tests. All have the same password, a random one.
const (
	Alice  = "fleet-alice" // may use sudo, with her password
	Bob    = "fleet-bob"   // may not
	Carol  = "fleet-carol" // may use sudo without a password
	Dasher = "fleet-dash"  // has dash for a shell
)

// TwoRounds is a PAM service for Bob that asks for the password and then for a
// mail address, in a second round.
const TwoRounds = "sshd-fleet-two"

const (
	accountsDir  = "/run/fleetssh-sshdtest" // for root alone
	passwordFile = accountsDir + "/password"
	sudoersFile  = "/etc/sudoers.d/fleetssh-sshdtest"
	pamFile      = "/etc/pam.d/" + TwoRounds
)

// shells are those of the accounts. An account whose shell is not installed is left
// out.
var shells = map[string]string{
	Alice: "/bin/bash", Bob: "/bin/bash", Carol: "/bin/bash", Dasher: "/bin/dash",
	"fleet-tcsh": "/bin/tcsh", "fleet-fish": "/usr/bin/fish", "fleet-zsh": "/bin/zsh",
}

// Accounts makes the accounts, if they are missing, and returns their password.
// They are shared by all processes that test at the same time, and removed after
// the last one. Only root can make accounts: for everybody else the test is skipped.
func Accounts(t testing.TB) (password string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, for accounts to log in to")
	}
	set, err := accounts()
	must(t, err)
	return set.password
}

// ShellAccounts returns accounts with a shell of each kind that is installed.
func ShellAccounts(t testing.TB) []string {
	t.Helper()
	Accounts(t)
	var names []string
	for _, name := range accountNames() {
		if name == Alice || name == Carol {
			continue // as Bob
		}
		if _, err := user.Lookup(name); err == nil {
			names = append(names, name)
		}
	}
	return names
}

// accountSet is what a process knows of the accounts.
type accountSet struct {
	password string
	inUse    io.Closer // is closed by the end of the process alone
}

// accounts makes the accounts once for the process.
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
			break // they are there, and stay as long as the lock is held
		}
		// From shared to exclusive and back are two steps each: somebody else may
		// have made or removed everything in between.
		if err := lockAlone(lock); err != nil {
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
	// pam_ftp asks, and takes any answer.
	pam := "auth required pam_unix.so\nauth required pam_ftp.so users=" + Bob + "\naccount required pam_permit.so\nsession required pam_permit.so\n"
	if err := os.WriteFile(pamFile, []byte(pam), 0o644); err != nil {
		return err
	}
	// Last, because its presence says that everything is there.
	sudoers := Alice + " ALL=(ALL:ALL) ALL\n" + Carol + " ALL=(ALL:ALL) NOPASSWD: ALL\n"
	return os.WriteFile(sudoersFile, []byte(sudoers), 0o440)
}

// remover ends when its standard input does, which is when this process has ended,
// however it did. It holds the lock that says that the accounts are in use; when
// nobody else holds it, it removes them.
const remover = `
cat >/dev/null
flock -x -w 5 3 || exit 0
rm -f "$@" "$1"[-.]*
for account in $ACCOUNTS; do
	id -u "$account" && userdel --force --remove "$account"
done`

// Sudoers adds lines to sudoers(5), until the end of the test.
func Sudoers(t testing.TB, lines ...string) {
	t.Helper()
	Accounts(t)
	// sudo reads no file with a dot in its name, nor half of one.
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
	// Not to be ended together with the tests, by Ctrl-C.
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
