package selection

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/flagvalue"
	"fleetssh/cmd/fleetssh/internal/localshell"
	"fleetssh/cmd/fleetssh/internal/termline"
	"fleetssh/internal/account"
)

const (
	// maxCommandOutput bounds all output of a password command.
	maxCommandOutput = 1 << 20
	// passwordTime bounds a password command, and the wait for a descriptor. The program may ask the
	// user to unlock a password store.
	passwordTime = 2 * time.Minute
)

// PasswordFlags say where a password that hosts share comes from: the user, a file, or a program.
type PasswordFlags struct {
	Ask     bool
	File    string // a path, a descriptor such as fd:3, or "-"
	Command string // a line for the shell

	sudo bool // the password is for sudo
}

// Register adds the flags to a verb: for logins, or for sudo.
func (p *PasswordFlags) Register(flags *pflag.FlagSet, sudo bool) {
	p.sudo = sudo
	flags.BoolVar(&p.Ask, p.askFlag(), false, "")
	flags.Var(flagvalue.NonEmpty{To: &p.File}, p.flag("file"), "")
	flags.Var(flagvalue.NonEmpty{To: &p.Command}, p.flag("command"), "")
}

func (p *PasswordFlags) askFlag() string {
	if p.sudo {
		return "ask-sudo-pass"
	}
	return "ask-pass"
}

func (p *PasswordFlags) flag(kind string) string {
	if p.sudo {
		return "sudo-password-" + kind
	}
	return "password-" + kind
}

// given returns the flags that are set.
func (p *PasswordFlags) given() []string {
	var names []string
	if p.Ask {
		names = append(names, "--"+p.askFlag())
	}
	if p.File != "" {
		names = append(names, "--"+p.flag("file"))
	}
	if p.Command != "" {
		names = append(names, "--"+p.flag("command"))
	}
	return names
}

// Check refuses more than one source.
func (p *PasswordFlags) Check() error {
	if names := p.given(); len(names) > 1 {
		return exit.UsageError("", "%s and %s exclude each other", names[0], names[1])
	}
	return nil
}

// CheckSudo refuses sources of the sudo password that have no effect without sudo, and a descriptor
// that supplies both passwords. Sources from the user's settings may have no effect.
func (p *PasswordFlags) CheckSudo(flags *pflag.FlagSet, sudo bool, login *PasswordFlags) error {
	for _, name := range []string{p.askFlag(), p.flag("file"), p.flag("command")} {
		if flags.Changed(name) && !sudo {
			return exit.UsageError("add --sudo or --run-as USER", "--%s needs --sudo or --run-as", name)
		}
	}
	if n, ok := descriptorOf(p.File); ok && sudo {
		if m, ok := descriptorOf(login.File); ok && n == m {
			return exit.UsageError("use two descriptors, as in: --password-file fd:3 --sudo-password-file fd:4",
				"--password-file and --sudo-password-file name the same descriptor")
		}
	}
	return p.Check()
}

// read returns the password, and an empty one if no flag is set. Offline, it asks nobody and runs
// nothing.
func (p *PasswordFlags) read(ctx context.Context, env *Env, offline bool) (string, error) {
	_, isDescriptor := descriptorOf(p.File)
	switch {
	case offline && (p.Ask || p.Command != "" || isDescriptor):
		return dummySecret, nil
	case p.File != "":
		return readPasswordFile(ctx, env, p.File)
	case p.Command != "":
		password, err := runPasswordCommand(ctx, p.Command, passwordTime)
		if err != nil { // the line is not shown: it may contain a secret
			return "", fmt.Errorf("--%s: %w", p.flag("command"), err)
		}
		return password, nil
	case p.Ask:
		return p.ask(ctx, env)
	}
	return "", nil
}

// ask asks the user.
func (p *PasswordFlags) ask(ctx context.Context, env *Env) (string, error) {
	prompt := "password: "
	if p.sudo {
		prompt = "sudo " + prompt
	}
	password, err := env.askSecret(ctx, prompt)
	if err != nil && !termline.HasTerminal() {
		return "", &exit.Error{Code: exit.Failed, Text: err.Error(),
			Hint: fmt.Sprintf("without a terminal, use --%s or --%s", p.flag("command"), p.flag("file"))}
	}
	return password, err
}

// dummySecret replaces a secret that is not needed, because no host is contacted.
const dummySecret = "***"

// descriptorOf returns the descriptor that the name of a file stands for, if it does.
func descriptorOf(name string) (n int, ok bool) {
	switch name {
	case "-", "/dev/stdin":
		return 0, true
	}
	digits, ok := strings.CutPrefix(name, "fd:")
	if !ok {
		if digits, ok = strings.CutPrefix(name, "/dev/fd/"); !ok {
			return 0, false
		}
	}
	n, err := strconv.Atoi(digits)
	return n, err == nil && n >= 0
}

// readPasswordFile returns the first line of a file or a descriptor. It refuses files that others can
// read.
func readPasswordFile(ctx context.Context, env *Env, name string) (string, error) {
	line, err := readFirstLine(ctx, env, name)
	if err == nil || errors.As(err, new(*exit.Error)) {
		return line, err
	}
	return "", fmt.Errorf("password file %s: %w", name, err)
}

func readFirstLine(ctx context.Context, env *Env, name string) (string, error) {
	n, isDescriptor := descriptorOf(name)
	var file *os.File
	var err error
	switch {
	case isDescriptor && n == 0:
		if in, ok := env.In.(*os.File); ok && term.IsTerminal(int(in.Fd())) {
			return "", exit.UsageError("--ask-pass asks on the terminal", "password file %s: standard input is a terminal", name)
		}
		return firstLineInTime(ctx, env.In)
	case isDescriptor && (n < 3 || runtime.GOOS == "windows"):
		return "", exit.UsageError("as in --password-file fd:3 3<FILE", "password file %s: not a descriptor to read from", name)
	case isDescriptor:
		if !inherited(n) {
			return "", notOpen(name, n)
		}
		file = os.NewFile(uintptr(n), name)
	default:
		if file, err = os.Open(name); err != nil {
			return "", withoutPath(err)
		}
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return "", withoutPath(err)
	}
	// Windows has no such mode bits, and other users cannot read a pipe.
	if mode := info.Mode(); mode.IsRegular() && mode.Perm()&0o077 != 0 && runtime.GOOS != "windows" {
		hint := "chmod 600 " + name
		if isDescriptor {
			hint = "chmod 600 on the file behind it"
		}
		return "", &exit.Error{Code: exit.Failed, Hint: hint,
			Text: fmt.Sprintf("password file %s: readable by others (mode %#o)", name, mode.Perm())}
	}
	line, err := firstLineInTime(ctx, file)
	if isDescriptor && errors.Is(err, syscall.EBADF) { // it is open for writing only
		return "", notOpen(name, n)
	}
	return line, err
}

func notOpen(name string, n int) error {
	return exit.UsageError(fmt.Sprintf("open it in the shell, as in %d<FILE", n), "password file %s: the descriptor is not open for reading", name)
}

// withoutPath drops what the message of an error has already: the name of the file.
func withoutPath(err error) error {
	if e, ok := errors.AsType[*os.PathError](err); ok {
		return e.Err
	}
	return err
}

// firstLineInTime returns the first line of a stream. If it does not come in time, the goroutine that
// reads it stays behind until the process exits, which it does next.
func firstLineInTime(ctx context.Context, in io.Reader) (string, error) {
	type answer struct {
		line string
		err  error
	}
	ctx, cancel := context.WithTimeout(ctx, passwordTime)
	defer cancel()
	read := make(chan answer, 1)
	go func() {
		line, err := firstLine(in)
		read <- answer{line, err}
	}()
	select {
	case a := <-read:
		return a.line, a.err
	case <-ctx.Done():
		if ctx.Err() == context.DeadlineExceeded {
			return "", fmt.Errorf("no line within %v", passwordTime)
		}
		return "", context.Cause(ctx)
	}
}

// firstLine reads a line, and not a byte more: the rest of standard input may be for the hosts.
func firstLine(in io.Reader) (string, error) {
	var line []byte
	for b := make([]byte, 1); ; {
		n, err := in.Read(b)
		switch {
		case n == 1 && b[0] != '\n':
			line = append(line, b[0])
		case n == 1 || err == io.EOF:
			return account.SecretLine(line)
		case err != nil:
			return "", withoutPath(err)
		}
		if len(line) > account.MaxSecret+1 { // it may end in "\r"
			return account.SecretLine(line)
		}
	}
}

// runPasswordCommand runs a line in the shell and returns the first line of its output. Its standard
// error is ours. If there is a terminal, the program can ask on it.
func runPasswordCommand(parent context.Context, line string, limit time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(parent, limit)
	defer cancel()
	cmd := &localshell.Command{Line: line, Stderr: os.Stderr, Limit: maxCommandOutput}
	if term.IsTerminal(int(os.Stdin.Fd())) {
		cmd.Stdin = os.Stdin
	}
	output, err := cmd.Run(ctx)
	switch {
	case parent.Err() != nil:
		return "", context.Cause(parent)
	case ctx.Err() != nil:
		return "", fmt.Errorf("stopped, because it took longer than %v", limit)
	case err != nil:
		return "", err
	}
	first, _, _ := bytes.Cut(output, []byte("\n"))
	return account.SecretLine(first)
}
