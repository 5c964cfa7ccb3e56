package fleetssh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"fleetssh/internal/charset"
	"fleetssh/internal/cmdline"
	"fleetssh/internal/spool"
	"fleetssh/internal/sudo"
)

// Command is a command to run, and how to run it. It holds no state: the same value can be run
// many times, on one host or on thousands.
type Command struct {
	// Line is the command line, for a shell on the host. If HostArgs is set, it may contain the
	// placeholders described at [Args].
	Line string

	// Script, if not nil, is run instead of Line. Line and Shell must then be empty, and PTY
	// must be nil. If sudo asks for a password, only SudoPassword can answer: without it, the
	// script does not run.
	Script *Script

	// LoginShell runs the user's login shell instead of Line, as ssh does without a command. It
	// cannot be combined with Shell, Env, Sudo, User or HostArgs.
	LoginShell bool

	// HostArgs holds the values for the placeholders, one entry for each host in the order of
	// the hosts. Nil means that Line and the arguments of Script have no placeholders and are
	// sent unchanged, percent signs included.
	HostArgs []Args

	// Sudo runs the command as root, or as User if that is set; User alone
	// implies Sudo.
	Sudo bool
	User string

	// SudoPassword returns the password for sudo on a host. It is called once for each host on
	// which sudo asks, on its own goroutine, for many hosts at once. The password is sent only
	// if sudo asks; if sudo refuses it, the command ends with a [*SessionError]. See
	// [ParallelClient.PasswordsDiffer] for hosts that share a password. If SudoPassword is nil,
	// sudo reads the password from the command's standard input, as sudo -S does; with PTY and
	// OpenStdin, sudo asks on the terminal itself.
	SudoPassword func(ctx context.Context, host HostConfig) (string, error) `json:"-"`

	// Shell is the shell to run Line with, such as "bash -c". It becomes part of the command
	// line unchanged. Empty means that Line is sent unchanged, or, with Sudo or Env, "$SHELL
	// -c".
	Shell string

	// Env is added to the environment of the command by env(1) in the command line, because a
	// server refuses most variables that are sent with the SSH protocol. Other users of the
	// host can see the values while the command starts: do not put secrets in it.
	Env map[string]string

	// PTY, if not nil, requests a terminal. Standard error then arrives on standard output.
	PTY *PTY

	// Stdin is read once and sent to every host. With OpenStdin, the caller writes to
	// [Channel.Stdin] instead. With neither, standard input is empty. If a Read of Stdin is
	// still blocked when the commands have ended, nothing waits for it. If Read returns an
	// error other than [io.EOF], the commands that still run are stopped, and are Lost with a
	// [*SessionError] whose Phase is [PhaseStdin].
	Stdin     io.Reader `json:"-"`
	OpenStdin bool

	// Encoding is the IANA name of the character set of Line and of the output. Empty means
	// UTF-8.
	Encoding string

	// Timeout bounds the run of the command; the command is stopped as by [Channel.Stop] when
	// it has passed. Zero means none.
	Timeout time.Duration

	// ReadTimeout bounds the wait for more output while reading. Zero means none.
	ReadTimeout time.Duration

	// MaxOutput cuts each stream after this many bytes. Zero means no limit: unread output is
	// kept, see [ParallelClient.OutputMemory].
	MaxOutput int64
}

// Args are the values for the placeholders in a [Command] on one host.
//
//	%s       the next of List          %(name)s  the value of Map["name"]
//	%q       the same, quoted as one   %(name)q  the same, quoted as one
//	         word for the shell                  word for the shell
//	%%       a percent sign
//
// Every value of List must be used; Map may hold names that the line does not use.
type Args struct {
	List []string
	Map  map[string]string
}

// Script is a script that a host runs without a copy of it in a file of its own. The program in
// its "#!" line runs it, with at most one argument, as on Linux; without such a line, /bin/sh
// runs it. The "#!" line must end in a plain newline and name an absolute path.
//
// The text is sent ahead of standard input, into a temporary file whose name is removed before
// the first byte is written: however the script ends, nothing of it remains. (The file has a
// name for some milliseconds; only KILL in that time could leave the empty file.) The rest of
// standard input is the script's own. The script can read itself as /dev/fd/3, or
// /proc/self/fd/3; programs that it starts inherit this descriptor.
//
// The host needs sh, mktemp, rm, dd, wc, a directory for temporary files ($TMPDIR, /tmp,
// /var/tmp or /dev/shm; noexec mounts work) and /dev/fd or /proc. If something is missing, the
// exit code is 126 and standard error says what.
type Script struct {
	// Text is the script, up to 16 MiB. An empty script does nothing, with exit code 0.
	Text []byte

	// Args are the arguments of the script. They are passed unchanged and may contain any byte
	// except NUL; if [Command.HostArgs] is set, placeholders in them are replaced. A csh cannot
	// pass on a newline.
	Args []string
}

// Interpreter returns the program that runs the script: its path and, if the "#!" line has one,
// its argument. The error is the reason why the script cannot be run.
func (s *Script) Interpreter() ([]string, error) { return cmdline.Interpreter(s.Text) }

// CommandLine returns the command line for host number i: Line with placeholders replaced, with
// sudo and shell, in the character set of the command. With Sudo it contains a random text that
// identifies sudo's question and differs in each call. With a Script it is the program that
// reads the script from standard input and runs it. It is empty for a LoginShell. The error is
// a [*HostArgumentError] or a [*ConfigError].
func (cmd Command) CommandLine(i int) (string, error) {
	run, err := cmd.prepareFor(i)
	if err != nil {
		return "", err
	}
	line, _, err := run.line(i)
	return line, err
}

// ScriptArgs returns the arguments of Script for host number i, with placeholders replaced. The
// error is as for CommandLine.
func (cmd Command) ScriptArgs(i int) ([]string, error) {
	run, err := cmd.prepareFor(i)
	if err != nil || cmd.Script == nil {
		return nil, err
	}
	spec := run.spec(i)
	return spec.ScriptArgs()
}

// prepareFor prepares cmd for as many hosts as number i requires.
func (cmd Command) prepareFor(i int) (*run, error) {
	hosts := i + 1
	if cmd.HostArgs != nil {
		hosts = len(cmd.HostArgs)
	}
	if i < 0 || i >= hosts {
		return nil, &HostArgumentError{Index: -1, Reason: fmt.Sprintf("no entry for host %d", i)}
	}
	return cmd.prepare(hosts, nil)
}

// run is a prepared Command. Its line has been built once for every host, so that errors in it
// show before any host is contacted.
type run struct {
	cmd     Command
	text    *charset.Set
	options streamOptions
	replay  *spool.ReplayBuffer // of cmd.Stdin
}

// prepare checks cmd for a number of hosts. A nil d means that the command is not going to run.
func (cmd Command) prepare(hosts int, d *dialer) (*run, error) {
	fault := func(field, format string, args ...any) error {
		return &ConfigError{Index: -1, Field: "Command." + field, Reason: fmt.Sprintf(format, args...)}
	}
	switch {
	case cmd.Timeout < 0:
		return nil, fault("Timeout", "%v is negative", cmd.Timeout)
	case cmd.ReadTimeout < 0:
		return nil, fault("ReadTimeout", "%v is negative", cmd.ReadTimeout)
	case cmd.MaxOutput < 0:
		return nil, fault("MaxOutput", "%d is negative", cmd.MaxOutput)
	case cmd.Stdin != nil && cmd.OpenStdin:
		return nil, fault("OpenStdin", "Stdin is set too")
	}
	if err := cmd.checkInstead(fault); err != nil {
		return nil, err
	}
	text, err := charset.Find(cmd.Encoding)
	if err != nil {
		return nil, fault("Encoding", "%v", err)
	}
	if cmd.Script != nil && cmd.wantsSudo() && cmd.SudoPassword == nil {
		cmd.SudoPassword = noSudoPassword // or sudo would read the script as the password
	}
	r := &run{cmd: cmd, text: text}
	r.options = streamOptions{text: text, readTimeout: cmd.ReadTimeout, max: cmd.MaxOutput}
	if err := r.check(hosts); err != nil {
		return nil, err
	}
	if cmd.Stdin != nil && d != nil {
		r.replay = spool.NewReplayBuffer()
	}
	return r, nil
}

// checkInstead checks the settings that replace Line: Script and LoginShell.
func (cmd *Command) checkInstead(fault func(field, format string, args ...any) error) error {
	if cmd.Script != nil {
		switch {
		case cmd.Line != "":
			return fault("Line", "Script is set too")
		case cmd.Shell != "":
			return fault("Shell", "a Script names what it is run by in its first line")
		case cmd.PTY != nil:
			return fault("PTY", "a Script comes on standard input, which a terminal would change")
		case cmd.LoginShell:
			return fault("LoginShell", "Script is set too")
		}
	}
	if cmd.LoginShell && (cmd.Line != "" || cmd.Shell != "" || len(cmd.Env) > 0 || cmd.wantsSudo() || cmd.HostArgs != nil) {
		return fault("LoginShell", "it cannot be combined with Line, Shell, Env, Sudo, User or HostArgs")
	}
	return nil
}

func noSudoPassword(context.Context, HostConfig) (string, error) {
	return "", errors.New("it asks for a password, and there is none")
}

// check builds the line of every host, as line does later, to find errors.
func (r *run) check(hosts int) error {
	args := r.cmd.HostArgs
	if args != nil && len(args) != hosts {
		return &HostArgumentError{Index: -1, Reason: fmt.Sprintf("%d entries for %d hosts", len(args), hosts)}
	}
	for i := range max(len(args), 1) {
		_, err := cmdline.Build(r.spec(i))
		fault, ok := err.(*cmdline.Error)
		switch {
		case !ok:
		case fault.Field != "":
			return &ConfigError{Index: -1, Field: "Command." + fault.Field, Reason: fault.Reason}
		case args == nil:
			return &HostArgumentError{Index: -1, Name: fault.Name, Reason: fault.Reason}
		default:
			return &HostArgumentError{Index: i, Name: fault.Name, Reason: fault.Reason}
		}
	}
	return nil
}

// spec returns the specification of the command line for host number i. Its sudo has no
// sentinels yet.
func (r *run) spec(i int) cmdline.Spec {
	cmd := &r.cmd
	s := cmdline.Spec{Line: cmd.Line, Shell: cmd.Shell, Env: cmd.Env, Text: r.text}
	if cmd.Script != nil {
		s.Script = &cmdline.Script{Text: cmd.Script.Text, Args: cmd.Script.Args}
	}
	if i < len(cmd.HostArgs) {
		s.Values = &cmdline.Values{List: cmd.HostArgs[i].List, Map: cmd.HostArgs[i].Map}
	}
	if cmd.wantsSudo() {
		s.Sudo = &cmdline.Sudo{User: cmd.User}
	}
	return s
}

// line returns the command line for host number i, and the sentinels of its sudo. The error is
// a [*ConfigError]; it is not expected, because check has built the same line.
func (r *run) line(i int) (string, *sudo.Sentinels, error) {
	spec, sentinels := r.spec(i), r.cmd.sentinels()
	if spec.Sudo != nil {
		spec.Sudo.Sentinels = sentinels
	}
	line, err := cmdline.Build(spec)
	if err != nil {
		return "", nil, &ConfigError{Index: i, Field: "Command", Reason: err.Error()}
	}
	return line, sentinels, nil
}

// sentinels returns the texts that identify sudo's messages in the output. It returns nil
// without sudo, and if a user reads the messages at the terminal.
func (cmd *Command) sentinels() *sudo.Sentinels {
	if !cmd.wantsSudo() || cmd.PTY != nil && cmd.OpenStdin && cmd.SudoPassword == nil {
		return nil
	}
	return sudo.NewSentinels(cmd.SudoPassword != nil)
}

func (cmd *Command) wantsSudo() bool { return cmd.Sudo || cmd.User != "" }

// readInput starts reading Command.Stdin for the hosts.
func (r *run) readInput() {
	if r.replay != nil {
		// Nothing waits for this goroutine: a Read that waits for a terminal cannot be
		// interrupted. Everything else ends with the commands.
		go r.replay.Fill(r.cmd.Stdin)
	}
}

// closeAfter releases the input that readInput has read when the last command has ended.
func (r *run) closeAfter(outs []*HostOutput) {
	if r.replay == nil {
		return
	}
	go func() {
		for _, out := range outs {
			<-out.Channel.done
		}
		r.replay.Close()
	}()
}
