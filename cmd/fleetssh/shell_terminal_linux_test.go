package main

import (
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/simulate"
	"fleetssh/internal/sshdtest"
)

// The prompt names the hosts, the up key recalls earlier lines, Tab completes the shell's own
// words, Ctrl-C stops a running command or discards the line being typed, Ctrl-D discards an
// incomplete command, and exit restores the terminal.
func TestShellOnTerminal(t *testing.T) {
	t.Parallel()
	r, fleet := startOnTerminal(t, simulate.Plan{Hosts: 2}, "shell", "%")
	const prompt = "127.1.0.[1-2] (2)> "
	r.await(prompt)
	r.typed("cd /srv; X=kept\r")
	r.typed("pwd\r")
	r.await("127.1.0.1: /srv")
	r.await("127.1.0.2: /srv")
	r.typed("echo begun; sleep 1000\r")
	r.await("127.1.0.1: begun")
	r.await("127.1.0.2: begun")
	r.typed("\x03")
	r.await("127.1.0.[1-2] (2): exit code 130")
	r.next("exit code 130")
	r.next(prompt)
	r.typed("echo 1$X; false\r")
	r.next("127.1.0.2: 1kept")
	r.next("127.1.0.[1-2] (2): exit code 1\r\n")
	r.next(prompt)                         // until it is shown, Ctrl-C stops the command
	r.typed("nonsense\x03")                // is not run
	r.typed("\x1b[A\x1b[Dx; echo again\r") // inserts before the last letter of the line above
	r.await("127.1.0.1: againe")
	r.typed("echo 'open\r")
	r.next("echo 'open\r\n> ")
	r.typed("closed'\r")
	r.next("closed'")
	r.await("127.1.0.1: closed")
	r.await("127.1.0.2: closed")
	r.next(prompt)
	r.typed("if true\r")
	r.next("if true\r\n> ")
	r.typed("nonsense\x03") // discards both lines
	r.next(prompt)
	r.typed("echo '\r")
	r.next("echo '\r\n> ")
	r.typed("\x04")
	r.await("the command is not complete: it was not run")
	r.typed("vi file\r")
	r.await("vi needs a terminal, and a line of the shell has none (fleetssh run --tty -w HOST vi")
	r.typed(":on\t127.1.0.2\r")
	r.await("127.1.0.2 (1)> ")
	r.typed(" echo not kept\r")
	r.await("127.1.0.2: not kept")
	for _, server := range fleet.SSH.Servers {
		server.Close()
	}
	r.typed("echo lost\r")
	r.await("127.1.0.2 (1): the connection is lost")
	r.await(" (0)> ")
	r.typed("exit\r")
	code, shown := r.wait()
	if code != exit.OK {
		t.Errorf("exit code %d", code)
	}
	if strings.Contains(shown, "nonsense: ") {
		t.Error("a discarded line was run")
	}
	if mode, err := unix.IoctlGetTermios(int(r.tty.Fd()), unix.TCGETS); err != nil || mode.Lflag&unix.ICANON == 0 || mode.Lflag&unix.ECHO == 0 {
		t.Errorf("the terminal is not restored: %+v, %v", mode, err)
	}
	name := filepath.Join(r.home(), ".local/state/fleetssh/shell_history")
	text, err := os.ReadFile(name)
	if err != nil || !strings.Contains(string(text), "pwd\n") || strings.Contains(string(text), "not kept") {
		t.Errorf("history: %q, %v", text, err)
	}
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("history: %v, %v", info, err)
	}
}

// home returns the home directory of the program.
func (r *terminalRun) home() string {
	for _, variable := range r.cmd.Env {
		if home, ok := strings.CutPrefix(variable, "HOME="); ok {
			return home
		}
	}
	return ""
}

// openSSH starts an sshd that admits an account, and returns the flags that log in to it.
func openSSH(t *testing.T, account string) []string {
	t.Helper()
	sshdtest.Accounts(t)
	s := sshdtest.Start(t, sshdtest.Options{})
	key := sshdtest.NewKey(t, sshdtest.KindED25519)
	s.Authorize(t, account, key.Public())
	block, err := ssh.MarshalPrivateKey(key.Private, "")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{"-F", "none", "-w", s.Host, "-p", fmt.Sprint(s.Port), "-l", account, "-i", file, "--host-key", "insecure"}
}

// On a real host, Tab completes commands and quoted file names and keeps the exit code, Ctrl-C
// stops processes, a second Ctrl-C ends a shell whose process ignores the first, and commands
// read the input of :send and :each.
func TestShellOnOpenSSH(t *testing.T) {
	t.Parallel()
	for _, account := range append(sshdtest.ShellAccounts(t), "root") {
		t.Run(account, func(t *testing.T) {
			t.Parallel()
			r, _ := startOnTerminal(t, simulate.Plan{Hosts: 1}, append([]string{"shell", "--no-label"}, openSSH(t, account)...)...)
			r.await("127.0.0.1 (1)> ")
			dir := t.TempDir()
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			input := filepath.Join(dir, "127.0.0.1")
			if err := os.WriteFile(input, []byte("sent\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			r.typed("d=$(mktemp -d); cd $d; touch 'one two' unique; mkdir directory; echo made\r")
			r.await("made\r\n")
			r.typed("(exit 7)\r")
			r.await("exit code 7")
			r.typed("echo $? file: on\t u\t dir\t end\r")
			r.await("7 file: one two unique directory/ end")
			r.typed("cat > hb.conf <<EOF\r")
			r.await("> ")
			r.typed("keep=$((3 + 4))\r")
			r.typed("hostname\r")
			r.typed("EOF\r")
			r.typed("cat hb.conf; echo ${keep-unset}\r")
			r.await("keep=7\r\nhostname\r\n")
			r.await("unset\r\n") // on a busy machine, a status line may precede it
			r.typed("rm hb.conf; for i in 1 2\r")
			r.await("> ")
			r.typed("do echo \"<$i>\"\r")
			r.typed("done | tr '<>' '()'\r")
			r.await("(1)\r\n")
			r.await("(2)\r\n")
			r.typed("realpat\t . | wc -l\r")
			r.await("1\r\n") // on a busy machine, a status line may precede it
			r.typed(":send " + input + " cat; V=in\r")
			r.await("sent\r\n")
			r.typed(":each " + dir + " tr a-z A-Z\r")
			r.await("SENT\r\n")
			r.typed("rm -r $d; cd /; echo $V; sh -c \"trap '' INT; echo stubborn; sleep 1000\"\r")
			for _, want := range []string{"sleep 1000\"\r\n", "in\r\n", "stubborn\r\n"} {
				r.next(want) // status lines may stand between them
			}
			r.typed("\x03")
			r.await("press Ctrl-C again")
			r.typed("\x03")
			r.await("127.0.0.1 (1): the shell has ended")
			r.typed(":connect\r")
			r.typed("echo b''ack\r")
			r.await("back\r\n")
			r.typed("! echo here; exit 4\r")
			r.await("\r\nhere\r\n")
			r.await("local command: exit status 4")
			r.typed(":quit\r")
			if code, shown := r.wait(); code != exit.OK {
				t.Errorf("exit code %d\n%s", code, shown)
			}
		})
	}
}
