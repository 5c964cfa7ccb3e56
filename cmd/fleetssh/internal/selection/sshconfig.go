package selection

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/redact"
	"fleetssh/cmd/fleetssh/internal/termline"
	"fleetssh/sshconfig"
)

// SSHConfig is the configuration of ssh (ssh_config and -o) for the selected hosts.
type SSHConfig struct {
	File        *sshconfig.File
	optionsOnly func() (*sshconfig.File, error)                         // only the options of the flags, for hosts with ssh options in the inventory
	jump        string                                                  // the value of -J
	transport   func(context.Context, string, string) (net.Conn, error) // to the first hop
	warn        func(text, host string)
	use         sshconfig.Use // what the verb does with the hosts
	screen      *termline.Screen
	keyCache    *KnownHostsCache // nil: not needed
}

// LoadSSHConfig reads the configuration that the flags name. base has the settings of the flags; of
// these, hops get what [sshconfig.File.Hops] says.
func (f *Flags) LoadSSHConfig(ctx context.Context, env *Env, base fleetssh.HostConfig, quiet bool) (*SSHConfig, error) {
	var paths []string
	switch {
	case f.Config != "":
		paths = []string{f.Config}
	case env.Redirect != nil:
		paths = []string{"none"} // the demo is the same everywhere
	}
	load := func(paths ...string) (*sshconfig.File, error) {
		file, err := sshconfig.Load(paths...)
		if err != nil {
			return nil, ConfigError(err)
		}
		file.Hops, file.Terminal = base, env.lender(ctx, quiet)
		options := f.options
		if f.route.jump != "" {
			options = append([]string{"ProxyJump=" + f.route.jump}, options...)
		}
		if err := file.Options(options...); err != nil {
			return nil, optionError(err, options)
		}
		return file, nil
	}
	file, err := load(paths...)
	if err != nil {
		return nil, err
	}
	bare := sync.OnceValues(func() (*sshconfig.File, error) { return load("none") })
	transport, err := f.route.transport(file.Terminal)
	if err != nil {
		return nil, err
	}
	return &SSHConfig{File: file, optionsOnly: bare, jump: f.route.jump, transport: transport, warn: env.Warn, use: f.Use, screen: env.Screen, keyCache: f.KeyCache}, nil
}

// apply completes hosts with their settings in the configuration, or sets why they cannot be used. It
// works on up to most hosts at once, because it may run commands (Match exec) and resolve names. The
// error is that of ctx.
func (k *SSHConfig) apply(ctx context.Context, entries []Host, most int) error {
	next := make(chan int)
	notes := make([][]sshconfig.Unsupported, len(entries))
	var done atomic.Int32
	defer k.showProgress(&done, len(entries))()
	var wg sync.WaitGroup
	for range min(most, len(entries)) {
		wg.Go(func() {
			for i := range next {
				notes[i], entries[i].Config.Unusable = k.complete(ctx, &entries[i])
				done.Add(1)
			}
		})
	}
	for i := range entries {
		if entries[i].Config.Unusable == nil && ctx.Err() == nil {
			next <- i
		}
	}
	close(next)
	wg.Wait()
	for i, all := range notes { // in the order of the hosts
		for _, u := range all {
			if u.Minor || u.Use != sshconfig.UseConnection && u.Use != k.use {
				continue // only explain shows it
			}
			k.warn(redact.Unsupported(u).String(), entries[i].Name)
		}
	}
	return ctx.Err()
}

// showProgress shows the progress of lookups that take longer than a second, until stop is called.
func (k *SSHConfig) showProgress(done *atomic.Int32, all int) (stop func()) {
	over := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		ticks := time.NewTicker(time.Second)
		defer ticks.Stop()
		for {
			select {
			case <-over:
				k.screen.SetStatus()
				return
			case <-ticks.C:
				k.screen.SetStatus(termline.Span{Text: fmt.Sprintf("ssh_config: %d of %d hosts looked up", done.Load(), all)})
			}
		}
	})
	return func() {
		close(over)
		wg.Wait()
	}
}

// complete completes one host. It returns the lines that have no effect for it.
func (k *SSHConfig) complete(ctx context.Context, e *Host) ([]sshconfig.Unsupported, error) {
	file := k.File
	var err error
	if e.ownConfig { // the inventory has resolved its hops, too
		if file, err = k.optionsOnly(); err != nil {
			return nil, err
		}
	} else if e.Config.Proxy, err = file.Hop(ctx, e.Config.Proxy); err != nil {
		return nil, ConfigError(err)
	}
	config, settings, err := file.HostContext(ctx, e.Config.Host, e.Config)
	if err != nil {
		return nil, ConfigError(err)
	}
	e.Config = config
	if k.transport != nil {
		first := &e.Config
		for first.Proxy != nil {
			first = first.Proxy
		}
		first.DialContext = k.transport
	}
	if strings.Contains(config.Host, "/") && e.Config.DialContext == nil {
		return nil, exit.UsageError("", "host %q: a name with \"/\" needs a ProxyCommand", config.Host)
	}
	if k.keyCache != nil {
		e.KeyFiles = k.keyCache.For(settings)
	}
	for _, u := range settings.Unsupported() {
		if u.Keyword == "VerifyHostKeyDNS" {
			e.IgnoredLookup = u.String()
		}
	}
	return settings.Unsupported(), nil
}

// ConfigError turns an error of package sshconfig into one for the user. The cause may be in a file, on
// the command line, or in a name that ssh refuses, too.
func ConfigError(err error) error {
	e, ok := errors.AsType[*sshconfig.Error](err)
	switch {
	case !ok:
		return exit.UsageError("", "%v", err)
	case errors.Is(err, sshconfig.ErrLoop) && e.File == "-o":
		if _, behind := errors.AsType[*sshconfig.Error](e.Err); !behind {
			return exit.UsageError("the hop is the host itself: exclude it with -x, or reach it directly without -J", "-J: %v", e.Err)
		}
		return exit.UsageError("the ProxyJump lines of ssh_config lead to that hop through itself; -F none ignores them", "-J: %v", e.Err)
	case e.Keyword != "" && e.File != "-o":
		return &exit.Error{Code: exit.Failed, Text: err.Error(), Hint: "-o IgnoreUnknown=" + e.Keyword + " ignores it, as with ssh"}
	case e.File == "-o":
		return exit.UsageError("as in -o Port=2222, see ssh_config(5)", "%v", err)
	}
	return &exit.Error{Code: exit.Failed, Text: err.Error(), Hint: "-F none ignores ssh_config"}
}

// optionError is ConfigError for lines of -o. It hides the text of a line that may contain a secret.
func optionError(err error, options []string) error {
	for _, option := range options {
		file, failed := sshconfig.Load("none")
		if failed == nil && file.Options(option) != nil && redact.Option(option) != option {
			return exit.UsageError("as in -o Port=2222, see ssh_config(5)", "-o: %s is not valid; its value may be a secret and is not shown", redact.Option(option))
		}
	}
	return ConfigError(err)
}

// ConfigLine is a line of the configuration of ssh that applies to a host.
type ConfigLine struct {
	Keyword string `json:"keyword"`
	Value   string `json:"value"`
	Origin  string `json:"origin"`
	Passed  bool   `json:"passed,omitempty"` // it is ignored, for the reason in Why
	Why     string `json:"why,omitempty"`
}

// Lines returns the lines that apply to a host, for the user that -l names.
func (k *SSHConfig) Lines(e *Host, login string) ([]ConfigLine, error) {
	settings, err := k.File.Resolve(e.Name, login)
	if err != nil {
		return nil, err
	}
	var lines []ConfigLine
	for _, v := range settings.All() {
		if v.Origin != "default" && v.Origin != "argument" {
			if v.Keyword == "ProxyJump" && k.jump != "" {
				v.Origin = "-J"
			}
			lines = append(lines, ConfigLine{Keyword: v.Keyword, Value: redact.Keyword(v.Keyword, v.Value), Origin: v.Origin})
		}
	}
	for _, u := range settings.Unsupported() {
		reason := u.Reason
		if reason == "" {
			reason = "has no effect here"
		}
		origin := u.File
		if u.Line > 0 {
			origin += fmt.Sprint(":", u.Line)
		}
		lines = append(lines, ConfigLine{u.Keyword, redact.Keyword(u.Keyword, u.Value), origin, true, reason})
	}
	return lines, nil
}

// CheckConfig returns an error if the file of -F cannot be read. A verb that contacts no host would
// otherwise show a selection without the hosts of that file.
func (f *ExprFlags) CheckConfig() error {
	if f.Config == "" {
		return nil
	}
	_, err := sshconfig.Load(f.Config)
	if err != nil {
		return ConfigError(err)
	}
	return nil
}

// NamesInSSHConfig returns the hosts that an ssh_config file names without wildcards. An empty path
// means the files of the user and of the system. A file that cannot be read has no names: the verbs
// that need its settings report the error.
func NamesInSSHConfig(path string) []string {
	var paths []string
	if path != "" {
		paths = []string{path}
	}
	file, err := sshconfig.Load(paths...)
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(file.Names(), func(name string) bool {
		_, err := fleetssh.ParseHost(name)
		return err != nil || strings.ContainsAny(name, ",[]&^@%")
	})
}
