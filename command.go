package fleetssh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"fleetssh/internal/charset"
	"fleetssh/internal/placeholder"
	"fleetssh/internal/shellquote"
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
	// still run are stopped, and are Lost with a [*SessionError] whose Op is "stdin".
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
	return cmd.Script.arguments(run.lines[min(i, len(run.lines)-1)]), nil
}

// prepareFor checks cmd for as many hosts as number i takes.
func (cmd Command) prepareFor(i int) (*run, error) {
	hosts := i + 1
	if cmd.HostArgs != nil {
		hosts = len(cmd.HostArgs)
	}
	if i < 0 || i >= hosts {
		return nil, &HostArgumentError{Host: -1, Reason: fmt.Sprintf("no entry for host %d", i)}
	}
	return cmd.prepare(hosts, nil)
}

// run is a Command made ready: checked, and with its placeholders filled in, so
// that nothing that can be known beforehand goes wrong on a host.
type run struct {
	cmd     Command
	lines   []string // one a host, or a single one for all; of a script, its arguments
	text    *charset.Set
	options streamOptions
	tape    *spool.Tape // of cmd.Stdin
}

// prepare checks cmd for a number of hosts.
func (cmd Command) prepare(hosts int, d *dialer) (*run, error) {
	fault := func(field, format string, args ...any) error {
		return &ConfigError{Host: -1, Field: "Command." + field, Reason: fmt.Sprintf(format, args...)}
	}
	switch {
	case strings.IndexByte(cmd.Line, 0) >= 0:
		return nil, fault("Line", "it holds a NUL byte")
	case strings.IndexByte(cmd.Shell, 0) >= 0:
		return nil, fault("Shell", "it holds a NUL byte")
	case strings.IndexByte(cmd.User, 0) >= 0:
		return nil, fault("User", "it holds a NUL byte")
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
	for name, value := range cmd.Env {
		if !validEnvName(name) {
			return nil, fault("Env", "%q is not the name of a variable", name)
		}
		if strings.IndexByte(value, 0) >= 0 {
			return nil, fault("Env", "the value of %s holds a NUL byte", name)
		}
	}
	text, err := charset.Find(cmd.Encoding)
	if err != nil {
		return nil, fault("Encoding", "%v", err)
	}
	if err := cmd.checkText(text, fault); err != nil {
		return nil, err
	}
	if cmd.Script != nil && cmd.wantsSudo() && cmd.SudoPassword == nil {
		cmd.SudoPassword = noSudoPassword // or sudo would read the script as one
	}
	r := &run{cmd: cmd, text: text}
	r.options = streamOptions{text: text, readTimeout: cmd.ReadTimeout, max: cmd.MaxOutput}
	if err := r.expand(hosts); err != nil {
		return nil, err
	}
	if cmd.Stdin != nil && d != nil {
		r.tape = spool.NewTape()
	}
	return r, nil
}

// checkInstead checks what runs instead of Line.
func (cmd *Command) checkInstead(fault func(field, format string, args ...any) error) error {
	if s := cmd.Script; s != nil {
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
		if field, err := s.check(); err != nil {
			return fault(field, "%v", err)
		}
	}
	if cmd.LoginShell && (cmd.Line != "" || cmd.Shell != "" || len(cmd.Env) > 0 || cmd.wantsSudo() || cmd.HostArgs != nil) {
		return fault("LoginShell", "it goes with none of Line, Shell, Env, Sudo, User and HostArgs")
	}
	return nil
}

// checkText checks that what stands around Line can be written in the character set:
// a line of which a part cannot is never sent, nor is what is left of it.
func (cmd *Command) checkText(text *charset.Set, fault func(field, format string, args ...any) error) error {
	if _, err := text.Encode(cmd.Shell); err != nil {
		return fault("Shell", "it %v", err)
	}
	if _, err := text.Encode(cmd.User); err != nil {
		return fault("User", "it %v", err)
	}
	for _, name := range sortedKeys(cmd.Env) {
		if _, err := text.Encode(cmd.Env[name]); err != nil {
			return fault("Env", "the value of %s %v", name, err)
		}
	}
	if cmd.Script != nil {
		words, err := cmd.Script.Interpreter()
		if err != nil {
			return fault("Script.Text", "%v", err)
		}
		if _, err := text.Encode(strings.Join(words, " ")); err != nil {
			return fault("Script.Text", "its #! line %v", err)
		}
	}
	return nil
}

func noSudoPassword(context.Context, HostConfig) (string, error) {
	return "", errors.New("it asks for a password, and there is none")
}

// expand fills in the placeholders for every host.
func (r *run) expand(hosts int) error {
	args, template := r.cmd.HostArgs, r.cmd.Line
	if r.cmd.Script != nil {
		template = r.cmd.Script.template()
	}
	if args == nil {
		r.lines = []string{template}
		_, err := r.text.Encode(template)
		if err != nil {
			return &HostArgumentError{Host: -1, Reason: "the line " + err.Error()}
		}
		return nil
	}
	if len(args) != hosts {
		return &HostArgumentError{Host: -1, Reason: fmt.Sprintf("%d entries for %d hosts", len(args), hosts)}
	}
	r.lines = make([]string, hosts)
	for i, a := range args {
		line, err := placeholder.Expand(template, a.List, a.Map)
		if fault, ok := errors.AsType[*placeholder.Error](err); ok {
			return &HostArgumentError{Host: i, Name: fault.Name, Reason: fault.Reason}
		}
		if _, err := r.text.Encode(line); err != nil {
			return &HostArgumentError{Host: i, Reason: "the line " + err.Error()}
		}
		r.lines[i] = line
	}
	return nil
}

// line returns what host number i is sent, and how to talk to sudo there. The error is
// a [*ConfigError]; prepare has tried all parts of the line, so it is not to be expected.
func (r *run) line(i int) (string, *sudo.Tokens, error) {
	line := r.lines[min(i, len(r.lines)-1)]
	cmd := &r.cmd
	if cmd.Script != nil {
		line = cmd.Script.line(cmd.Script.arguments(line))
	}
	tokens := cmd.tokens()
	line, err := r.text.Encode(wrap(cmd, line, tokens))
	if err != nil {
		return "", nil, &ConfigError{Host: i, Field: "Command.Encoding", Reason: "the line " + err.Error()}
	}
	return line, tokens, nil
}

// wrap builds a command line: the line, quoted as one word, behind the shell,
// behind the environment, behind sudo. That of a script has its shell.
func wrap(cmd *Command, line string, tokens *sudo.Tokens) string {
	shell := cmd.Shell
	if shell == "" && cmd.Script == nil && (cmd.wantsSudo() || len(cmd.Env) > 0) {
		shell = "$SHELL -c"
	}
	if shell != "" {
		line = shell + " " + shellquote.Quote(line)
	}
	if len(cmd.Env) > 0 {
		words := []string{"env"}
		for _, name := range sortedKeys(cmd.Env) {
			words = append(words, name+"="+shellquote.Quote(cmd.Env[name]))
		}
		line = strings.Join(words, " ") + " " + line
	}
	return sudoPrefix(cmd, tokens) + line
}

// sudoPrefix returns what stands before a command to run it with sudo, if it is.
func sudoPrefix(cmd *Command, tokens *sudo.Tokens) string {
	if !cmd.wantsSudo() {
		return ""
	}
	words := "sudo"
	if tokens != nil {
		words += " -S -p " + shellquote.Quote(tokens.Prompt())
	}
	if cmd.User != "" {
		words += " -u " + shellquote.Quote(cmd.User)
	}
	words += " -- "
	if tokens != nil && tokens.Answering() {
		// Says when sudo is done, so that what follows on standard input is for
		// the command. sh is named because $SHELL may write redirections in
		// another way.
		words += "sh -c " + shellquote.Quote(tokens.Starter()) + " "
	}
	return words
}

// tokens returns what to find sudo's words by: nil without sudo, and where somebody
// sits at the terminal to read them.
func (cmd *Command) tokens() *sudo.Tokens {
	if !cmd.wantsSudo() || cmd.PTY != nil && cmd.OpenStdin && cmd.SudoPassword == nil {
		return nil
	}
	return sudo.NewTokens(cmd.SudoPassword != nil)
}

func (cmd *Command) wantsSudo() bool { return cmd.Sudo || cmd.User != "" }

// play begins to read Command.Stdin for the hosts.
func (r *run) play() {
	if r.tape != nil {
		// A Read that waits for a terminal cannot be ended from here, so nobody
		// waits for it. Everything else ends with the commands.
		go r.tape.Play(r.cmd.Stdin)
	}
}

// closeAfter gives up what play took when the last of the commands has ended.
func (r *run) closeAfter(outs []*HostOutput) {
	if r.tape == nil {
		return
	}
	go func() {
		for _, out := range outs {
			<-out.done
		}
		r.tape.Close()
	}()
}

func validEnvName(name string) bool {
	for i := range len(name) {
		c := name[i]
		letter := c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
