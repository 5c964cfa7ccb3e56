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

// Command says what to run and how. It holds no state: the same value can be
// run many times, on one host or on thousands.
type Command struct {
	// Line is the command line, for a shell on the host. If HostArgs is set,
	// it may hold the placeholders described at [Args].
	Line string

	// Script, if not nil, is run instead of Line, which must be empty then, as
	// Shell must. It cannot have a terminal: PTY. A sudo that asks for a password
	// gets none but that of SudoPassword: without, the script never runs.
	Script *Script

	// LoginShell runs the user's login shell instead of Line, as ssh does without
	// a command. Nothing can be put around it: no Shell, Env, Sudo or User.
	LoginShell bool

	// HostArgs holds the values for the placeholders, one entry for each host
	// and in the order of the hosts. Nil means that Line or the arguments of
	// Script hold none and are sent untouched, percent signs included.
	HostArgs []Args

	// Sudo runs the command as root, or as User if that is set; User alone
	// implies Sudo.
	Sudo bool
	User string

	// SudoPassword answers sudo if it asks, on one host or on all. It is called
	// once a host that asks, on a goroutine of its own, for many hosts at once.
	// What it returns is sent only if sudo asks; a password that sudo refuses
	// ends the command with a [*SessionError]. See [ParallelClient.PasswordsDiffer] for
	// hosts that share one. If nil, the question goes to the
	// command's standard input, as sudo -S reads it; with PTY and OpenStdin to the
	// terminal, in sudo's own words.
	SudoPassword func(ctx context.Context, host HostConfig) (string, error) `json:"-"`

	// Shell is the shell to run Line with, such as "bash -c". It is put into the
	// command line as it is. Empty means Line is sent as it is, or, with Sudo or
	// Env, "$SHELL -c".
	Shell string

	// Env is set in the environment of the command, by env(1) in front of it: a
	// server refuses most variables that are sent with the SSH protocol. Other
	// users of the host can see the values while the command starts: it is no
	// place for secrets.
	Env map[string]string

	// PTY, if not nil, asks for a terminal. Standard error then arrives on
	// standard output.
	PTY *PTY

	// Stdin is read once and given to every host. OpenStdin instead leaves
	// standard input to [Channel.Stdin]. With neither it is empty. A Read of
	// Stdin that is under way when the commands have ended is left to return by
	// itself. When Read returns an error other than [io.EOF], the commands that
	// still run are stopped, and are Lost with a [*SessionError] whose Phase is [PhaseStdin].
	Stdin     io.Reader `json:"-"`
	OpenStdin bool

	// Encoding is the IANA name of the character set of Line and of the
	// output. Empty means UTF-8.
	Encoding string

	// Timeout bounds the run of the command; when it is over the command is
	// stopped as by [Channel.Stop]. Zero means none.
	Timeout time.Duration

	// ReadTimeout bounds the wait for more output while reading. Zero means
	// none.
	ReadTimeout time.Duration

	// MaxOutput cuts each stream after so many bytes. Zero means never: what
	// nobody has read yet is kept, see [ParallelClient.OutputMemory].
	MaxOutput int64
}

// Args are the values for the placeholders in a [Command] on one host.
//
//	%s       the next of List          %(name)s  the value of Map["name"]
//	%q       the same, quoted as one   %(name)q  the same, quoted as one
//	         word for the shell                  word for the shell
//	%%       a percent sign
//
// Every value of List must be used; Map may hold more than the line names.
type Args struct {
	List []string
	Map  map[string]string
}

// Script is a script for a host to run without being copied there first. It is run
// by what its "#!" line names, with at most one argument, as Linux does; without such
// a line by /bin/sh. The line must end in a plain newline and name an absolute path.
//
// The text goes to the host in front of standard input, and is put into a file that
// has no name any more before the first byte of it is there: whatever ends the script,
// it leaves nothing of it behind. (The file has a name for some milliseconds, in which
// it is empty and only KILL could leave it.) What follows on standard input is for the
// script. The script is known to itself as /dev/fd/3, or /proc/self/fd/3, and what it
// starts inherits that descriptor.
//
// The host needs sh, mktemp, rm, dd, wc, a folder for temporary files ($TMPDIR, /tmp,
// /var/tmp or /dev/shm; they may be mounted noexec) and /dev/fd or /proc. If something
// is missing, the exit code is 126 and standard error says what.
type Script struct {
	// Text is the script, up to 16 MiB. An empty one does nothing, with exit code 0.
	Text []byte

	// Args are given to it as they are, whatever is in them but NUL; if
	// [Command.HostArgs] is set, placeholders in them are filled in. A csh cannot
	// be handed a newline.
	Args []string
}

// Interpreter returns what the script is run by: a path and, if the "#!" line has it,
// one argument. The error says what keeps the script from being run.
func (s *Script) Interpreter() ([]string, error) { return cmdline.Interpreter(s.Text) }

// CommandLine returns what host number i is sent: Line after placeholders, sudo
// and shell, in the character set of the command. With Sudo it holds a random
// text, by which sudo's question is known, that is another one each time. With a
// Script it is what takes the script from standard input and runs it; it is empty for
// a LoginShell. The error is a [*HostArgumentError] or a [*ConfigError].
func (cmd Command) CommandLine(i int) (string, error) {
	run, err := cmd.prepareFor(i)
	if err != nil {
		return "", err
	}
	line, _, err := run.line(i)
	return line, err
}

// ScriptArgs returns the arguments that Script gets on host number i, after
// placeholders. The error is as for CommandLine.
func (cmd Command) ScriptArgs(i int) ([]string, error) {
	run, err := cmd.prepareFor(i)
	if err != nil || cmd.Script == nil {
		return nil, err
	}
	spec := run.spec(i)
	return spec.ScriptArgs()
}

// prepareFor checks cmd for as many hosts as number i takes.
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

// run is a Command made ready: its line has been built for every host once, so that
// nothing that can be known beforehand goes wrong on a host.
type run struct {
	cmd     Command
	text    *charset.Set
	options streamOptions
	replay  *spool.ReplayBuffer // of cmd.Stdin
}

// prepare checks cmd for a number of hosts.
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
		cmd.SudoPassword = noSudoPassword // or sudo would read the script as one
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

// checkInstead checks what runs instead of Line.
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
		return fault("LoginShell", "it goes with none of Line, Shell, Env, Sudo, User and HostArgs")
	}
	return nil
}

func noSudoPassword(context.Context, HostConfig) (string, error) {
	return "", errors.New("it asks for a password, and there is none")
}

// check builds the line of every host, as line does later.
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

// spec returns what host number i is to run. Sudo has no sentinels yet.
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

// line returns what host number i is sent, and how to talk to sudo there. The error is
// a [*ConfigError], and is not to be expected: check has built the same line.
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

// sentinels returns the texts by which sudo's messages are found in the output. It returns nil
// without sudo, and if a user at the terminal reads them.
func (cmd *Command) sentinels() *sudo.Sentinels {
	if !cmd.wantsSudo() || cmd.PTY != nil && cmd.OpenStdin && cmd.SudoPassword == nil {
		return nil
	}
	return sudo.NewSentinels(cmd.SudoPassword != nil)
}

func (cmd *Command) wantsSudo() bool { return cmd.Sudo || cmd.User != "" }

// play begins to read Command.Stdin for the hosts.
func (r *run) play() {
	if r.replay != nil {
		// A Read that waits for a terminal cannot be ended from here, so nobody
		// waits for it. Everything else ends with the commands.
		go r.replay.Fill(r.cmd.Stdin)
	}
}

// closeAfter gives up what play took when the last of the commands has ended.
func (r *run) closeAfter(outs []*HostOutput) {
	if r.replay == nil {
		return
	}
	go func() {
		for _, out := range outs {
			<-out.ch.done
		}
		r.replay.Close()
	}()
}
