package sshconfig

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"

	"fleetssh"
)

// A File is what has been read from configuration files, in the order in which ssh
// looks at them. Its methods may be called by many goroutines at once, but for
// [File.Options].
type File struct {
	// Hops is what the hosts of ProxyJump start from, as base does for a host in
	// [File.Host]: which keys to offer, whom to trust, how long to wait. KeyFile and
	// CertFile of its Auth are offered beside the keys that the files name for the hop,
	// or the default ones: see [fleetssh.Auth.Suggested]. What tells one host from
	// another is not used of it: Host, Alias, HostKeyAlias, Port, User, Proxy,
	// DialContext, ControlPath and ForwardAgent. It must be set before the first call of
	// Host.
	Hops fleetssh.HostConfig

	// Resolver looks up names for CanonicalizeHostname. Nil means
	// [net.DefaultResolver]. It must be set before the first call of Host or Resolve.
	Resolver Resolver

	// Terminal lends the terminal to a ProxyCommand; see [fleetssh.ProxyCommand]. If nil,
	// such a command has none. It must be set before the first call of Host.
	Terminal func(ctx context.Context, host string) (tty *os.File, giveBack func(os.Signal), err error)

	local       *local
	named       string  // the path that was given; empty for the default files
	options     *unit   // lines given to Options
	units       []*unit // files
	final       bool    // a Match line asks for a second pass
	unsupported []Unsupported
	execs       execs
	addresses   func() ([]netip.Addr, error) // of this machine

	mu       sync.Mutex // protects what follows
	hops     map[hopKey]*fleetssh.HostConfig
	given    map[*fleetssh.HostConfig]*fleetssh.HostConfig // see Hop
	gates    map[string]*fleetssh.HostConfig               // see gate
	others   map[string]*File                              // by what -F names
	policies map[policyKey]fleetssh.HostKeyPolicy
	lookups  map[string]func() (found, error)
}

// A Resolver looks up names. [net.Resolver] is one.
type Resolver interface {
	// LookupHost returns the addresses of a name.
	LookupHost(ctx context.Context, name string) ([]string, error)
	// LookupCNAME returns the name that a name stands for.
	LookupCNAME(ctx context.Context, name string) (string, error)
}

// Load reads configuration files, and the files that they include. What stands in an
// earlier one wins. Without paths it reads ~/.ssh/config and /etc/ssh/ssh_config, as
// far as they exist; "none", as the only path, reads nothing, as with ssh -F. Each
// named path is read as the file of a user, but for /etc/ssh/ssh_config.
//
// ~ is the home directory of the system's list of users and not $HOME, as for ssh. A
// ~/.ssh/config, or a file it includes, that belongs to somebody else or that others
// may write to is refused. At most 16 MiB of each file are read, 4096 files in all,
// 16 inside one another.
//
// The error is of type [*Error] if it is about a file or a line. A keyword that ssh
// would not know is no error of Load, but of [File.Host] and [File.Resolve]: lines
// given to [File.Options] may set IgnoreUnknown.
func Load(paths ...string) (*File, error) {
	local, err := newLocal()
	if err != nil {
		return nil, err
	}
	return local.load(paths)
}

func (l *local) load(paths []string) (*File, error) {
	f := &File{local: l, options: &unit{sections: []section{{}}}, execs: execs{run: shell}}
	f.addresses = sync.OnceValues(addresses)
	f.named = strings.Join(paths, "\x00")
	optional := len(paths) == 0
	switch {
	case optional:
		paths = slices.DeleteFunc([]string{l.userConfig(), l.systemConfig()}, func(path string) bool { return path == "" })
	case len(paths) == 1 && paths[0] == "none":
		paths = nil
	}
	for _, path := range paths {
		r := &reader{local: l}
		u, err := r.file(path, path != l.systemConfig(), optional && path == l.userConfig(), 0)
		if optional && isMissing(err, path) {
			continue
		}
		if err != nil {
			return nil, err
		}
		f.units = append(f.units, u)
		f.take(r)
	}
	return f, nil
}

// isMissing reports whether it is the file itself that does not exist, and not one
// that it includes.
func isMissing(err error, path string) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.File == path && e.Line == 0 && errors.Is(err, fs.ErrNotExist)
}

func (f *File) take(r *reader) {
	f.final = f.final || r.final
	f.unsupported = append(f.unsupported, r.unsupported...)
}

// Options adds lines that come before the files, as ssh -o does: "Key=Value" or
// "Key Value", one keyword each. Those of an earlier call come before those of a
// later one. Host, Match and Include cannot stand there. As with ssh, they are for
// the hosts themselves and not for the hops on the way to them. The error is of type
// [*Error]. Options must not be called while another method of f is, nor after
// [File.Host].
func (f *File) Options(lines ...string) error {
	for _, text := range lines {
		at := origin{file: fromOption}
		switch name, _ := cutKeyword(text); name {
		case "host", "match", "include":
			return at.errorf("%q: it cannot stand here", text)
		case "":
			return at.errorf("%q: there is no keyword", text)
		}
		r := &reader{local: f.local}
		if err := r.line(f.options, text, at, true, 0); err != nil {
			return err
		}
		f.take(r)
	}
	return nil
}

// Unsupported returns the lines that have been read, whichever hosts they are for,
// that would change how ssh connects or what it does then and have no effect here.
// Lines that matter to nothing that fleetssh does, such as LogLevel, are not among
// them; the package comment lists these. For those that concern one host see
// [Settings.Unsupported].
func (f *File) Unsupported() []Unsupported { return slices.Clone(f.unsupported) }
