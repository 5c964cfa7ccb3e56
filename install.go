package fleetssh

import (
	"context"
	_ "embed" // for the program
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"

	"fleetssh/internal/sanitize"
	"fleetssh/internal/shellquote"
	"fleetssh/internal/transfer"
)

// Install is how Upload puts files into places that the login account cannot write to, or with an
// owner that it cannot give. The files are copied into a private temporary directory of the account.
// A program for sh, as root if Sudo is set, then copies each file to a temporary name beside its
// destination, sets owner and mode, and renames it: under its own name, a file is always complete
// and has the right owner and mode. A file whose content is there already is left in place; only its
// owner and mode are set.
//
// Without Owner and Mode, a file that is replaced keeps its owner and its mode (with
// [CopyOptions].Preserve, it gets the mode of its source). A new file belongs to root, or without
// Sudo to the login account, and its mode is as without Install. Symbolic links are not followed;
// existing directories keep what they have.
//
// The host needs sh, mktemp, and the usual programs for files. When ctx ends, the temporary directory
// is removed if the connection still works.
type Install struct {
	// Sudo installs the files as root. SudoPassword supplies the password, as in [Command];
	// nil means that sudo must not ask for one.
	Sudo         bool
	SudoPassword func(ctx context.Context, host HostConfig) (string, error) `json:"-"`

	// Owner and Group are names or numbers on the host, for files and new directories. Empty means
	// unchanged.
	Owner, Group string

	// Mode is the mode of files: permission bits, [fs.ModeSetuid], [fs.ModeSetgid] and
	// [fs.ModeSticky]. Zero means unchanged.
	Mode fs.FileMode

	// Backup keeps each regular file that is replaced, as NAME.20060102T150405Z~, with the time of
	// the host in UTC.
	Backup bool
}

// check refuses settings that chown and chmod would misunderstand.
func (in *Install) check(o *CopyOptions, way direction) error {
	fault := func(field, reason string) error {
		return &ConfigError{Index: -1, Field: "CopyOptions." + field, Reason: reason}
	}
	switch {
	case in == nil:
		return nil
	case way == download:
		return fault("Install", "it applies to uploads only")
	case o.Resume:
		return fault("Resume", "it cannot be combined with Install, which copies into a new directory")
	case o.Delete:
		return fault("Delete", "it cannot be combined with Install")
	case in.Mode&^(fs.ModePerm|fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky) != 0:
		return fault("Install.Mode", "it has bits other than permissions")
	}
	for name, value := range map[string]string{"Install.Owner": in.Owner, "Install.Group": in.Group} {
		if strings.HasPrefix(value, "-") || strings.ContainsAny(value, ": /\\") || sanitize.Line(value) != value {
			return fault(name, fmt.Sprintf("%q is not a name", value))
		}
	}
	return nil
}

// installText is the program that puts files in place.
//
//go:embed install.sh
var installText string

// command returns the command that installs the files of a directory.
func (in *Install) command(stage string, sources []string, dest string, preserve bool) Command {
	owner, mode, backup, keep := in.Owner, "", "", ""
	if in.Group != "" {
		owner += ":" + in.Group
	}
	if in.Mode != 0 {
		mode = fmt.Sprintf("%o", unixMode(in.Mode))
	}
	if in.Backup {
		backup = "backup"
	}
	if preserve {
		keep = "preserve"
	}
	into := ""
	if intoDirectory(sources, dest) {
		into = "into"
	}
	line := shellquote.Join("sh", "-c", shellquote.OneLine(installText), "sh", stage, dest, into, owner, mode, backup, keep)
	return Command{Line: line, Sudo: in.Sudo, SudoPassword: in.SudoPassword, MaxOutput: maxLetters}
}

// maxLetters bounds the report of the program, whose lines have two bytes: a host may send any amount.
const maxLetters = 16 << 20

// intoDirectory reports whether a destination must be a directory.
func intoDirectory(sources []string, dest string) bool {
	last := sources[0]
	return len(sources) > 1 || dest == "" || strings.HasSuffix(dest, "/") || last == "." || strings.HasSuffix(last, "/.")
}

// unixMode returns the bits of a mode as chmod has them.
func unixMode(mode fs.FileMode) uint32 {
	bits := uint32(mode.Perm())
	for bit, set := range map[fs.FileMode]uint32{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if mode&bit != 0 {
			bits |= set
		}
	}
	return bits
}

// stageLine creates the private directory.
const stageLine = `sh -c 'mktemp -d "${TMPDIR:-/tmp}/fleetssh-XXXXXXXXXX"'`

// install uploads the sources to a private directory of the host, and installs them from there.
func (p *copyPlan) install(ctx context.Context, c *Client, sources []string, dest string, report func(transfer.Progress)) (transfer.Result, error) {
	in := p.opts.Install
	if dest == "~" {
		dest = "./"
	}
	dest = strings.TrimPrefix(dest, "~/")
	if strings.HasPrefix(dest, "~") {
		return transfer.Result{}, &transfer.Error{Op: string(OpCopyTo), Path: dest, Err: errors.New("only ~/ is supported, not the home directory of another user")}
	}
	out, err := c.outputOf(ctx, Command{Line: stageLine, MaxOutput: mostPath + 1})
	if err != nil {
		return transfer.Result{}, installFault(OpCreate, dest, err)
	}
	stage := strings.TrimSpace(string(out))
	if !strings.HasPrefix(stage, "/") || len(stage) > mostPath || sanitize.Line(stage) != stage {
		return transfer.Result{}, &transfer.Error{Op: string(OpCreate), Path: dest, Err: errors.New("the host names no temporary directory")}
	}
	defer c.removeStage(ctx, stage)
	staged := report
	if report != nil {
		staged = func(t transfer.Progress) {
			t.Path = path.Join(dest, strings.TrimPrefix(t.Path, stage))
			report(t)
		}
	}
	sum, err := p.job.Upload(ctx, c.transferHost(), sources, stage+"/", staged)
	if err != nil { // nothing is installed
		sum.Files, sum.Skipped = 0, 0
		return sum, err
	}
	letters, err := c.outputOf(ctx, in.command(stage, sources, dest, p.opts.Preserve))
	sum.Files, sum.Skipped, sum.Failed = countLines(letters, "i"), countLines(letters, "s"), countLines(letters, "f")
	if exit, ok := errors.AsType[*ExitError](err); ok {
		sum.Failed = max(sum.Failed, 1)
		return sum, installFault(OpInstall, dest, exit)
	}
	return sum, err
}

// countLines returns how many lines of the output are a letter.
func countLines(output []byte, letter string) int {
	n := 0
	for line := range strings.Lines(string(output)) {
		if strings.TrimSpace(line) == letter {
			n++
		}
	}
	return n
}

// installFault turns the failure of a program into that of a file, with the first line of what the
// program says. Other errors stay as they are.
func installFault(op CopyOp, dest string, err error) error {
	exit, ok := errors.AsType[*ExitError](err)
	if !ok {
		return err
	}
	reason := fmt.Sprintf("exit code %d", exit.Code)
	for line := range strings.Lines(string(exit.Stderr)) {
		if line = sanitize.Line(strings.TrimSpace(line)); line != "" {
			reason = line
			break
		}
	}
	return &transfer.Error{Op: string(op), Path: dest, Err: errors.New(reason)}
}

// stageCleanup bounds the removal of a temporary directory.
const stageCleanup = 10 * time.Second

// removeStage removes a temporary directory, also after ctx has ended. A failure leaves it there: only
// the login account can read it.
func (c *Client) removeStage(ctx context.Context, stage string) {
	if c.conn.Failed() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stageCleanup)
	defer cancel()
	_, _ = c.outputOf(ctx, Command{Line: shellquote.Join("rm", "-rf", "--", stage), MaxOutput: mostPath})
}

// outputOf runs a command and returns its standard output, as [Client.Output] does for a line.
func (c *Client) outputOf(ctx context.Context, cmd Command) ([]byte, error) {
	out, err := c.RunCommand(ctx, cmd)
	if err != nil {
		return nil, err
	}
	defer out.Channel.Close()
	return collect(ctx, out.Channel)
}

// collect waits for a command and returns its standard output.
func collect(ctx context.Context, ch *Channel) ([]byte, error) {
	err := ch.WaitFinished(ctx)
	if ctx.Err() != nil && !ch.Finished() {
		ch.Stop(context.WithoutCancel(ctx))
	}
	out, readErr := io.ReadAll(ch.Stdout)
	if exit, ok := errors.AsType[*ExitError](err); ok {
		var last tail
		if _, err := ch.Stderr.WriteTo(&last); err == nil {
			exit.Stderr = last.kept
		}
	}
	if err == nil {
		err = readErr
	}
	return out, err
}
