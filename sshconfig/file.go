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

// A File is a configuration: the contents of one or more files, in the order in which ssh reads
// them. It comes from [Load]; the zero value must not be used. Its methods may be called by
// multiple goroutines at once, except [File.Options]. Its fields must be set before the first call
// of Host, Hop or Resolve.
type File struct {
	// Hops is the base configuration of the hops of ProxyJump, as base is that of a host in
	// [File.Host]: which keys to offer, which host keys to trust, how long to wait. KeyFile and
	// CertFile of its Auth are offered in addition to the keys in the files, or to the default
	// keys: see [fleetssh.Auth.Suggested]. Settings of an individual host are not used: Host,
	// Alias, HostKeyAlias, Port, User, Proxy, DialContext, ControlPath and ForwardAgent.
	Hops fleetssh.HostConfig

	// Resolver looks up names for CanonicalizeHostname. Nil means [net.DefaultResolver].
	Resolver Resolver

	// Terminal gives the terminal to a ProxyCommand for a while: see [fleetssh.ProxyCommand]. If
	// it is nil, a ProxyCommand has no terminal.
	Terminal func(ctx context.Context, host string) (tty *os.File, giveBack func(os.Signal), err error)

	local       *local
	named       string      // the path given to Load; empty for the default files
	options     *parsedFile // lines given to Options
	files       []*parsedFile
	final       bool // a Match line asks for a second pass
	unsupported []Unsupported
	execs       execs
	addresses   func() ([]netip.Addr, error) // of this machine

	mu          sync.Mutex // protects what follows
	hops        map[hopKey]*fleetssh.HostConfig
	given       map[*fleetssh.HostConfig]*fleetssh.HostConfig // see Hop
	commandHops map[string]*fleetssh.HostConfig               // see commandHop
	otherFiles  map[string]*File                              // by the argument of -F
	policies    map[policyKey]*fleetssh.KnownHosts
	lookups     map[string]func() (found, error)
}

// A Resolver looks up names. [net.Resolver] is one.
type Resolver interface {
	// LookupHost returns the addresses of a name.
	LookupHost(ctx context.Context, name string) ([]string, error)
	// LookupCNAME returns the canonical name of a name.
	LookupCNAME(ctx context.Context, name string) (string, error)
}

// Load reads configuration files and the files that they include. The first value of a keyword
// wins, so earlier files win over later ones. Without paths, Load reads ~/.ssh/config and
// /etc/ssh/ssh_config if they exist. The single path "none" means no files, as for ssh -F. Each
// path is read as a user's file, except /etc/ssh/ssh_config.
//
// As for ssh, ~ is the home directory in the system's user database and not $HOME. Load refuses
// ~/.ssh/config, and files that user files include, if another user owns them or others may write
// to them. A file may have up to 16 MiB. There may be up to 4096 included files, nested up to 16
// deep.
//
// The error is an [*Error] if it concerns a file or a line. An unknown keyword is an error of
// [File.Host] and [File.Resolve] rather than of Load, since lines given to [File.Options] may set
// IgnoreUnknown.
func Load(paths ...string) (*File, error) {
	local, err := newLocal()
	if err != nil {
		return nil, err
	}
	return local.load(paths)
}

func (l *local) load(paths []string) (*File, error) {
	f := &File{local: l, options: &parsedFile{sections: []section{{}}}, execs: execs{run: shell}}
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
		f.files = append(f.files, u)
		f.take(r)
	}
	return f, nil
}

// isMissing reports whether the file itself does not exist, rather than a file that it includes.
func isMissing(err error, path string) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.File == path && e.Line == 0 && errors.Is(err, fs.ErrNotExist)
}

func (f *File) take(r *reader) {
	f.final = f.final || r.final
	f.unsupported = append(f.unsupported, r.unsupported...)
}

// Options adds lines that take precedence over the files, like ssh -o: "Key=Value" or "Key Value",
// one keyword in each. Lines of earlier calls win over those of later calls. Host, Match and
// Include are not allowed. As for ssh, the lines apply to hosts and not to the hops on the way to
// them. The error is an [*Error].
//
// Options must not be called concurrently with other methods, nor after [File.Host].
func (f *File) Options(lines ...string) error {
	for _, text := range lines {
		at := origin{file: fromOption}
		switch name, _ := cutKeyword(text); name {
		case "host", "match", "include":
			return at.errorf("%q is not allowed here", text)
		case "":
			return at.errorf("%q: the keyword is missing", text)
		}
		r := &reader{local: f.local}
		if err := r.line(f.options, text, at, true, 0); err != nil {
			return err
		}
		f.take(r)
	}
	return nil
}

// Unsupported returns the lines of the whole configuration that matter to ssh and have no effect in
// fleetssh. Lines that are meaningless to fleetssh, such as LogLevel, are not included: the package
// comment lists them. [Settings.Unsupported] returns the lines that concern one host.
func (f *File) Unsupported() []Unsupported { return slices.Clone(f.unsupported) }
