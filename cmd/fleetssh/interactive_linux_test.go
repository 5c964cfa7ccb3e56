package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"
	"golang.org/x/crypto/ssh/knownhosts"
	"golang.org/x/sys/unix"

	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/simulate"
	"fleetssh/internal/simfleet"
	"fleetssh/internal/sshdtest"
)

// ownTerminal is the program on a terminal that outlives it, so that a test sees in which state the
// program leaves the terminal.
type ownTerminal struct {
	*terminalRun
	slave  *os.File
	before unix.Termios
}

// startOnOwnTerminal starts the program on a new terminal. env says what "%" among the arguments
// stands for. change, if not nil, changes the terminal first.
func startOnOwnTerminal(t *testing.T, env []string, change func(*unix.Termios), args ...string) *ownTerminal {
	t.Helper()
	tty, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := pty.Setsize(tty, &pty.Winsize{Rows: 30, Cols: 100}); err != nil {
		t.Fatal(err)
	}
	o := &ownTerminal{slave: slave, terminalRun: &terminalRun{t: t, tty: tty, cmd: exec.Command("fleetssh", args...), done: make(chan struct{})}}
	o.before = o.termios()
	if change != nil {
		change(&o.before)
		if err := unix.IoctlSetTermios(int(slave.Fd()), unix.TCSETS, &o.before); err != nil {
			t.Fatal(err)
		}
	}
	o.cmd.Env = append(terminalEnv(t), env...)
	o.cmd.Stdin, o.cmd.Stdout, o.cmd.Stderr = slave, slave, slave
	o.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := o.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	o.watch()
	t.Cleanup(func() { slave.Close() })
	return o
}

func (o *ownTerminal) termios() unix.Termios {
	o.t.Helper()
	state, err := unix.IoctlGetTermios(int(o.slave.Fd()), unix.TCGETS)
	if err != nil {
		o.t.Fatal(err)
	}
	return *state
}

// awaitRaw waits until the terminal is in raw mode, in which every key goes to the host.
func (o *ownTerminal) awaitRaw() {
	o.t.Helper()
	o.until("that it is in raw mode", func(string) bool {
		return o.termios().Lflag&(unix.ICANON|unix.ECHO|unix.ISIG) == 0
	})
}

// end waits for the program to end, expects an exit code and a restored terminal, and returns what
// the terminal has shown.
func (o *ownTerminal) end(want int) string {
	o.t.Helper()
	stop := o.killLater()
	err := o.cmd.Wait()
	stop()
	after := o.termios()
	o.slave.Close()
	o.drained()
	if code := o.cmd.ProcessState.ExitCode(); code != want {
		o.t.Errorf("exit code %d (%v), want %d; shown\n%s", code, err, want, o.shown())
	}
	if after != o.before {
		o.t.Errorf("the terminal is left as %+v, want %+v as before", after, o.before)
	}
	return o.shown()
}

// Whatever ends a session, the terminal is restored, and the exit code tells how it ended.
func TestInteractiveEnds(t *testing.T) {
	t.Parallel()
	signal := func(sig os.Signal) func(*ownTerminal) {
		return func(o *ownTerminal) { o.cmd.Process.Signal(sig) }
	}
	typed := func(text string) func(*ownTerminal) {
		return func(o *ownTerminal) { o.typed(text) }
	}
	stalled := simfleet.Fault{Kind: simfleet.StallAfterStart}
	for _, test := range []struct {
		name  string
		Error simfleet.Fault
		args  []string
		await string             // before the act
		act   func(*ownTerminal) // nil: it ends by itself
		code  int
		want  string // pattern of all that is shown
	}{
		{"code", simfleet.Fault{}, []string{"echo hello; exit 3"}, "", nil, exit.Command, `hello\r\n`},
		{"code of the command", simfleet.Fault{}, []string{"--exit-policy", "max", "exit 3"}, "", nil, 3, ``},
		{"success", simfleet.Fault{}, []string{"printf 'no line end'"}, "", nil, exit.OK, `no line end`},
		{"login shell", simfleet.Fault{}, nil, "sim00001$ ", typed("exit 3\r"), exit.Command, `sim00001\$ `},
		{"interrupt key reaches the host", simfleet.Fault{}, []string{"echo ready; cat"}, "ready", typed("\x03"), exit.Command, `ready\r\n\r\nfleetssh: 127.1.0.1: ended by signal INT\r\n`},
		{"escape", simfleet.Fault{}, []string{"echo ready; sleep 60"}, "ready", typed("~."), exit.Stopped, `ready\r\n\r\nfleetssh: 127.1.0.1: (stopped|told to stop, may still run)\r\n`},
		{"escape from a stalled session", stalled, []string{"sleep 60"}, "", typed("keys\r~."), exit.Stopped, `\r\nfleetssh: 127.1.0.1: told to stop, may still run\r\n`},
		{"escape from a host that reads no input", simfleet.Fault{Kind: simfleet.NeverReadStdin}, []string{"cat"}, "", typed(strings.Repeat("x", 200_000) + "\r~."), exit.Stopped, `\r\nfleetssh: 127.1.0.1: (stopped|told to stop, may still run)\r\n`},
		{"TERM", simfleet.Fault{}, []string{"echo ready; sleep 60"}, "ready", signal(syscall.SIGTERM), exit.Interrupted, `ready\r\n\r\nfleetssh: 127.1.0.1: stopped\r\n`},
		{"HUP", simfleet.Fault{}, []string{"echo ready; sleep 60"}, "ready", signal(syscall.SIGHUP), exit.Interrupted, `ready\r\n\r\nfleetssh: 127.1.0.1: stopped\r\n`},
		{"QUIT", simfleet.Fault{}, []string{"echo ready; sleep 60"}, "ready", signal(syscall.SIGQUIT), exit.Interrupted, `ready\r\n\r\nfleetssh: 127.1.0.1: stopped\r\n`},
		{"TERM and a stalled host", stalled, []string{"sleep 60"}, "", signal(syscall.SIGTERM), exit.Interrupted, `\r\nfleetssh: 127.1.0.1: told to stop, may still run\r\n`},
		{"time-out", simfleet.Fault{}, []string{"-u", "10s", "echo ready; sleep 1000"}, "", nil, exit.Stopped, `ready\r\n\r\nfleetssh: 127.1.0.1: timed out and stopped: .*\r\n`},
		{"deadline", simfleet.Fault{}, []string{"--deadline", "10s", "echo ready; sleep 1000"}, "", nil, exit.Stopped, `ready\r\n\r\nfleetssh: 127.1.0.1: stopped\r\n`},
		{"connection cut", simfleet.Fault{Kind: simfleet.CutAfter, Bytes: 5}, []string{"echo hello; sleep 60"}, "", nil, exit.Unreachable, `hello\r\nfleetssh: 127.1.0.1: lost, may have run: connection lost\r\n`},
		{"no status", simfleet.Fault{Kind: simfleet.CloseWithoutStatus}, []string{"echo hello"}, "", nil, exit.Unreachable, `hello\r\n\r\nfleetssh: 127.1.0.1: lost, may have run: .*\r\n`},
		{"pty refused", simfleet.Fault{Kind: simfleet.RefusePTY}, []string{"true"}, "", nil, exit.Unreachable, `fleetssh: 127.1.0.1: not started \(pty\): refused by the host\r\n`},
		{"shell refused", simfleet.Fault{Kind: simfleet.RefuseExec}, nil, "", nil, exit.Unreachable, `fleetssh: 127.1.0.1: not started \(shell\): refused by the host\r\n`},
		{"unreachable", simfleet.Fault{Kind: simfleet.ResetAccept}, []string{"--attempts", "1", "true"}, "", nil, exit.Unreachable, `fleetssh: 127.1.0.1: unreachable \([a-z]*\): .*\r\n`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			fleet, err := simulate.Start(simulate.Plan{Hosts: 1, Faulty: 1, Fault: test.Error}, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			defer fleet.Close()
			o := startOnOwnTerminal(t, fleetEnv(fleet), nil, append([]string{"run", "%", "--tty"}, test.args...)...)
			if test.act != nil {
				o.awaitRaw()
				o.await(test.await)
				test.act(o)
			}
			if shown := o.end(test.code); !regexp.MustCompile("^" + test.want + "$").MatchString(shown) {
				t.Errorf("shown %q, want %s", shown, test.want)
			}
		})
	}
}

// sudo gets the password that was asked for beforehand, and the command gets the keys that are
// typed before sudo has it.
func TestInteractiveSudoPassword(t *testing.T) {
	t.Parallel()
	fleet, err := simulate.Start(simulate.Plan{Hosts: 1, SudoPassword: "sesame"}, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer fleet.Close()
	o := startOnOwnTerminal(t, fleetEnv(fleet), nil, "run", "%", "--tty", "--sudo", "--ask-sudo-pass", "whoami; head -n 1")
	o.await("sudo password: ")
	awaitNoEcho(t, o.terminalRun)
	o.typed("sesame\n")
	o.awaitRaw()
	o.typed("a line\r")
	if shown := o.end(exit.OK); shown != "sudo password: \r\nroot\r\na line\r\n" {
		t.Errorf("shown %q", shown)
	}
}

// Where another flag decides about the input or the output, --tty only gives the command a
// terminal.
func TestNotInteractive(t *testing.T) {
	t.Parallel()
	fleet, err := simulate.Start(simulate.Plan{Hosts: 2}, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer fleet.Close()
	one := []string{"-x", "127.1.0.2"}
	input := filepath.Join(t.TempDir(), "input")
	if err := os.WriteFile(input, []byte("data\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args []string
		want string
	}{
		{append(one, "--stdin", input, "cat"), "127.1.0.1: data\r\n"},
		{append(one, "-b", "tty"), "--------------- block 1\r\n127.1.0.1 (1)\r\n---------------\r\n/dev/pts/0\r\n"},
		{append(one, "--outdir", t.TempDir(), "tty"), "127.1.0.1: /dev/pts/0\r\n"},
		{append(one, "-q", "tty"), ""},
		{[]string{"-f", "1", "tty"}, "127.1.0.1: /dev/pts/0\r\n127.1.0.2: /dev/pts/0\r\n"},
	} {
		o := startOnOwnTerminal(t, fleetEnv(fleet), nil, append([]string{"run", "%", "--tty", "--color", "never", "--progress", "never"}, test.args...)...)
		if shown := o.end(exit.OK); shown != test.want {
			t.Errorf("%v: shown %q, want %q", test.args, shown, test.want)
		}
	}
	o := startOnOwnTerminal(t, fleetEnv(fleet), nil, "run", "%", "--tty")
	if shown := o.end(exit.Usage); !strings.Contains(shown, "no command given") {
		t.Errorf("shown %q", shown)
	}
}

// A session is recorded, but not its input and output.
func TestInteractiveRecord(t *testing.T) {
	t.Parallel()
	fleet, err := simulate.Start(simulate.Plan{Hosts: 1}, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer fleet.Close()
	env := append(fleetEnv(fleet), "XDG_STATE_HOME="+t.TempDir())
	o := startOnOwnTerminal(t, env, nil, "run", "%", "--tty")
	o.await("sim00001$ ")
	o.typed("echo secret; exit 4\r")
	if shown := o.end(exit.Command); shown != "sim00001$ secret\r\n" {
		t.Errorf("shown %q", shown)
	}
	verb := func(args ...string) string {
		cmd := exec.Command("fleetssh", args...)
		cmd.Env = append(terminalEnv(t), env...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v: %s", args, err, out)
		}
		return string(out)
	}
	record := verb("runs", "show", "last", "--output")
	if !strings.Contains(record, "command  (login shell)\n") || !strings.Contains(record, "exit code 4: 127.1.0.1\n") || strings.Contains(record, "secret") {
		t.Errorf("the record is %s", record)
	}
	if line := verb("rerun", "last", "--failed", "--dry-run"); !strings.HasSuffix(line, " --tty --hosts=127.1.0.1 --\n") && !strings.HasSuffix(line, " '--hosts=127.1.0.1' --\n") {
		t.Errorf("rerun is %s", line)
	}
	o = startOnOwnTerminal(t, env, nil, "rerun", "last", "--failed")
	o.await("sim00001$ ")
	o.typed("exit\r")
	o.end(exit.OK)
}

// sshdSession starts the program on a terminal, for a command or a login shell on a real sshd. An
// sshd that does not run as root may refuse the pty request: then sshdSession expects the program
// to report that, and returns nil.
func sshdSession(t *testing.T, change func(*unix.Termios), args ...string) *ownTerminal {
	t.Helper()
	return sshdSessionOf(t, sshdtest.CurrentUser(t), change, args...)
}

func sshdSessionOf(t *testing.T, account string, change func(*unix.Termios), args ...string) *ownTerminal {
	t.Helper()
	server := sshdtest.Start(t, sshdtest.Options{})
	key := sshdtest.NewKey(t, sshdtest.KindED25519)
	server.Authorize(t, account, key.Public())
	dir := t.TempDir()
	key.Write(t, filepath.Join(dir, "key"), "")
	known := knownhosts.Line([]string{server.Address()}, server.HostKey(sshdtest.KindED25519))
	if err := os.WriteFile(filepath.Join(dir, "known"), []byte(known+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	args = append([]string{
		"run", "-w", server.Host, "-p", strconv.Itoa(server.Port), "-i", filepath.Join(dir, "key"), "--known-hosts", filepath.Join(dir, "known"),
		"-F", "none", "-l", account, "--tty",
	}, args...)
	o := startOnOwnTerminal(t, []string{"XDG_STATE_HOME=" + dir}, change, args...)
	if os.Geteuid() == 0 {
		o.awaitRaw()
		return o
	}
	if shown := o.end(exit.Unreachable); !strings.Contains(shown, "(pty)") {
		t.Errorf("shown %q", shown)
	}
	return nil
}

// An interactive login shell works as with ssh.
func TestSSHDInteractiveShell(t *testing.T) {
	t.Parallel()
	o := sshdSession(t, nil, "--exit-policy", "max")
	if o == nil {
		return
	}
	o.typed("PS1=; stty size; echo $TERM is $((6 * 7))\r")
	o.await("30 100\r\n")
	o.await("xterm is 42\r\n")
	marker := sshdtest.Marker()
	o.typed("sleep " + marker + "\r")
	sshdtest.Eventually(t, sshdtest.Patience, "sleep runs", func() bool { return len(sshdtest.Processes(marker)) > 0 })
	o.typed("\x03")
	o.await("^C")
	o.typed("echo code $? then\r")
	o.await("code 130 then")
	o.typed("\x1a\x1c") // nothing runs: ^Z and ^\ are ordinary keys
	if err := pty.Setsize(o.tty, &pty.Winsize{Rows: 7, Cols: 77}); err != nil {
		t.Fatal(err)
	}
	o.typed("until stty size | grep -x '7 77'; do sleep 0.05; done; exit 9\r")
	if shown := o.end(9); !strings.Contains(shown, "7 77\r\n") {
		t.Errorf("shown %q", shown)
	}
}

// All bytes pass in both directions.
func TestSSHDInteractiveBytes(t *testing.T) {
	t.Parallel()
	o := sshdSession(t, nil, "stty raw -echo; printf ready; head -c 257; printf end")
	if o == nil {
		return
	}
	o.await("ready")
	all := []byte("x") // an escape is special only after a newline
	for b := range 256 {
		all = append(all, byte(b))
	}
	o.typed(string(all))
	if shown := o.end(exit.OK); shown != "ready"+string(all)+"end" {
		t.Errorf("shown %q", shown)
	}
}

// The remote terminal has the modes and the size of the local one, and follows changes of the size.
func TestSSHDInteractiveTerminal(t *testing.T) {
	t.Parallel()
	marker := sshdtest.Marker()
	o := sshdSession(t, func(state *unix.Termios) {
		state.Cc[unix.VERASE], state.Cc[unix.VINTR], state.Cc[unix.VEOL2] = 'E', 0x07, 0
		state.Iflag |= unix.IXANY
		state.Iflag &^= unix.IXON
		state.Lflag &^= unix.ECHOCTL
	}, `stty -a; echo ready; for s in '5 55' '6 66'; do until stty size | grep -x "$s"; do sleep 0.05; done; done; exec sleep `+marker)
	if o == nil {
		return
	}
	o.await("ready")
	for _, want := range []string{"erase = E;", "intr = ^G;", "eol2 = <undef>;", " ixany", "-ixon", "-echoctl", " icanon", "speed 38400 baud", "rows 30; columns 100;"} {
		if !strings.Contains(o.shown(), want) {
			t.Errorf("%q is not in %q", want, o.shown())
		}
	}
	for _, size := range []pty.Winsize{{Rows: 5, Cols: 55}, {Rows: 6, Cols: 66}} {
		if err := pty.Setsize(o.tty, &size); err != nil {
			t.Fatal(err)
		}
		o.await(fmt.Sprintf("\r\n%d %d\r\n", size.Rows, size.Cols))
	}
	sshdtest.Eventually(t, sshdtest.Patience, "sleep runs", func() bool { return len(sshdtest.Processes(marker)) > 0 })
	o.typed("\x07") // the local interrupt key also interrupts on the host
	o.end(exit.Command)
}

// Without a password given beforehand, sudo prompts on the terminal itself.
func TestSSHDInteractiveSudo(t *testing.T) {
	t.Parallel()
	password := sshdtest.Accounts(t)
	o := sshdSessionOf(t, sshdtest.Alice, nil, "--sudo", "--env", "A=it's", `id -un; echo "<$A>"`)
	o.await("password for " + sshdtest.Alice + ": ")
	o.typed(password + "\r")
	if shown := o.end(exit.OK); !strings.HasSuffix(shown, "\r\nroot\r\n<it's>\r\n") || strings.Contains(shown, password) {
		t.Errorf("shown %q", shown)
	}
	// sudo does not ask every account.
	o = sshdSessionOf(t, sshdtest.Carol, nil, "--run-as", sshdtest.Bob, "id -un; tty; read x")
	o.await("/dev/pts/")
	o.typed("\r")
	if shown := o.end(exit.OK); !strings.HasPrefix(shown, sshdtest.Bob+"\r\n/dev/pts/") {
		t.Errorf("shown %q", shown)
	}
}
