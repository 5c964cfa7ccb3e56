package main

import (
	"context"
	"io/fs"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/flagvalue"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// installFlags are the flags of put for files with another owner or mode than the login account gives
// them.
type installFlags struct {
	sudo        bool
	owner, mode string
	backup      bool
	password    selection.PasswordFlags
	flags       *pflag.FlagSet
}

const installHelp = `Files of root and of other users:
      --sudo                install the files as root: each is complete and has
                            its owner and mode before it gets its name
      --owner USER[:GROUP]  owner of files and new directories; :GROUP: only the
                            group. Without it, new files are root's with --sudo,
                            and replaced files keep their owner
      --mode MODE           mode of the files, in octal: 0644
      --backup              keep a replaced file, as NAME.20260131T235959Z~
      --ask-sudo-pass       ask once for the sudo password of all hosts
      --sudo-password-file FILE
                            read it as --password-file does
      --sudo-password-command LINE
                            read it as --password-command does

With one of these, a file with the same content is not replaced; it only gets its
owner and mode.
`

func (f *installFlags) register(flags *pflag.FlagSet) {
	f.flags = flags
	flags.BoolVar(&f.sudo, "sudo", false, "")
	flags.Var(flagvalue.NonEmpty{To: &f.owner}, "owner", "")
	flags.Var(flagvalue.NonEmpty{To: &f.mode}, "mode", "")
	flags.BoolVar(&f.backup, "backup", false, "")
	f.password.Register(flags, true)
}

// needed reports whether files are installed, rather than written by the login account.
func (f *installFlags) needed() bool { return f.sudo || f.owner != "" || f.mode != "" || f.backup }

// check refuses values that are wrong for every host.
func (f *installFlags) check(o *copyOptions) error {
	if f.flags == nil {
		return nil // get
	}
	if err := f.password.CheckSudo(f.flags, f.sudo, &o.hosts.Password); err != nil {
		return err
	}
	if f.needed() && (o.resume || o.remove) {
		return exit.UsageError("", "--resume and --delete cannot be combined with --sudo, --owner, --mode or --backup")
	}
	user, group, _ := strings.Cut(f.owner, ":")
	if strings.ContainsAny(user+group, ": /\\") || strings.HasPrefix(user, "-") || f.owner != "" && user+group == "" {
		return exit.UsageError("as in --owner app, --owner app:www or --owner :www", "--owner %q: not a user and group", f.owner)
	}
	_, err := f.fileMode()
	return err
}

// fileMode returns the value of --mode, zero if it was not given.
func (f *installFlags) fileMode() (fs.FileMode, error) {
	if f.mode == "" {
		return 0, nil
	}
	bits, err := strconv.ParseUint(f.mode, 8, 12)
	if err != nil || bits == 0 {
		return 0, exit.UsageError("as in --mode 0644", "--mode %s: not an octal mode", f.mode)
	}
	mode := fs.FileMode(bits & 0o777)
	for bit, set := range map[uint64]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if bits&bit != 0 {
			mode |= set
		}
	}
	return mode, nil
}

// install returns the settings for the library, nil if the login account writes the files.
func (f *installFlags) install() *fleetssh.Install {
	if !f.needed() {
		return nil
	}
	in := &fleetssh.Install{Sudo: f.sudo, Backup: f.backup}
	in.Owner, in.Group, _ = strings.Cut(f.owner, ":")
	in.Mode, _ = f.fileMode() // checked already
	return in
}

// passwords returns what supplies sudo passwords, nil if there is none.
func (f *installFlags) passwords(ctx context.Context, c *app, hosts []selection.Host) (func(context.Context, fleetssh.HostConfig) (string, error), error) {
	if !f.sudo {
		return nil, nil
	}
	return c.environment().SudoPasswords(ctx, hosts, &f.password)
}

// showInstall shows what --dry-run has not shown for each host.
func (f *installFlags) showInstall(screen *termline.Screen) {
	if !f.needed() {
		return
	}
	text := "files are installed"
	if f.sudo {
		text += " as root"
	}
	if f.owner != "" {
		text += ", owner " + f.owner
	}
	if f.mode != "" {
		text += ", mode " + f.mode
	}
	if f.backup {
		text += ", with a backup of replaced files"
	}
	screen.Message(text)
}
