package main

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

// clientConfig is the configuration of ssh for the hosts of a call.
type clientConfig struct {
	file      *sshconfig.File
	bare      func() (*sshconfig.File, error)                         // what the flags say alone, for hosts with a configuration of their own
	jump      string                                                  // what -J says
	transport func(context.Context, string, string) (net.Conn, error) // to the first host on the way
	warn      func(text, host string)
	use       sshconfig.Use // what the verb does
	screen    *termline.Screen
	known     *knownFiles // nil: nobody asks for them
}

// sshConfig reads the configuration that the flags call for. What is given by flags
// stands in hops for the hosts on the way.
func (f *hostFlags) sshConfig(ctx context.Context, env *hostEnv, hops fleetssh.HostConfig, quiet bool) (*clientConfig, error) {
	var paths []string
	switch {
	case f.config != "":
		paths = []string{f.config}
	case env.place != nil:
		paths = []string{"none"} // the demo is the same everywhere
	}
	load := func(paths ...string) (*sshconfig.File, error) {
		file, err := sshconfig.Load(paths...)
		if err != nil {
			return nil, configFault(err)
		}
		file.Hops, file.Terminal = hops, env.lender(ctx, quiet)
		options := f.options
		if f.way.jump != "" {
			options = append([]string{"ProxyJump=" + f.way.jump}, options...)
		}
		if err := file.Options(options...); err != nil {
			return nil, optionFault(err, options)
		}
		return file, nil
	}
	file, err := load(paths...)
	if err != nil {
		return nil, err
	}
	bare := sync.OnceValues(func() (*sshconfig.File, error) { return load("none") })
	transport, err := f.way.transport(file.Terminal)
	if err != nil {
		return nil, err
	}
	return &clientConfig{file: file, bare: bare, jump: f.way.jump, transport: transport, warn: env.warn, use: f.use, screen: env.screen, known: f.known}, nil
}

// apply completes hosts with what the configuration says of them, or says why one cannot
// be used. Up to most of them are looked up at once: that may run commands (Match exec)
// and ask for names. The error is that of ctx.
func (k *clientConfig) apply(ctx context.Context, entries []hostEntry, most int) error {
	next := make(chan int)
	notes := make([][]sshconfig.Unsupported, len(entries))
	var done atomic.Int32
	defer k.tell(&done, len(entries))()
	var wg sync.WaitGroup
	for range min(most, len(entries)) {
		wg.Go(func() {
			for i := range next {
				notes[i], entries[i].config.Unusable = k.complete(ctx, &entries[i])
				done.Add(1)
			}
		})
	}
	for i := range entries {
		if entries[i].config.Unusable == nil && ctx.Err() == nil {
			next <- i
		}
	}
	close(next)
	wg.Wait()
	for i, all := range notes { // in the order of the hosts
		for _, u := range all {
			if u.Minor || u.Use != sshconfig.UseConnection && u.Use != k.use {
				continue // explain tells it
			}
			k.warn(redact.Unsupported(u).String(), entries[i].name)
		}
	}
	return ctx.Err()
}

// tell says how far the look-ups are, if they take longer than a second, until the returned
// function is called.
func (k *clientConfig) tell(done *atomic.Int32, all int) (stop func()) {
	over := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		ticks := time.NewTicker(time.Second)
		defer ticks.Stop()
		for {
			select {
			case <-over:
				k.screen.SetStatus("")
				return
			case <-ticks.C:
				k.screen.SetStatus(fmt.Sprintf("ssh_config: %d of %d hosts looked up", done.Load(), all))
			}
		}
	})
	return func() {
		close(over)
		wg.Wait()
	}
}

// complete completes one host, and returns what has no effect for it.
func (k *clientConfig) complete(ctx context.Context, e *hostEntry) ([]sshconfig.Unsupported, error) {
	file := k.file
	var err error
	if e.ownConfig { // the inventory has looked up its hops too
		if file, err = k.bare(); err != nil {
			return nil, err
		}
	} else if e.config.Proxy, err = file.Hop(ctx, e.config.Proxy); err != nil {
		return nil, configFault(err)
	}
	config, settings, err := file.HostContext(ctx, e.config.Host, e.config)
	if err != nil {
		return nil, configFault(err)
	}
	e.config = config
	if k.transport != nil {
		first := &e.config
		for first.Proxy != nil {
			first = first.Proxy
		}
		first.DialContext = k.transport
	}
	if strings.Contains(config.Host, "/") && e.config.DialContext == nil {
		return nil, exit.UsageError("", "host %q: the name holds a \"/\", and no ProxyCommand leads there", config.Host)
	}
	if k.known != nil {
		e.known = k.known.of(settings)
	}
	for _, u := range settings.Unsupported() {
		if u.Keyword == "VerifyHostKeyDNS" {
			e.lookup = u.String()
		}
	}
	return settings.Unsupported(), nil
}

// configFault is what is wrong with the configuration of ssh: in a file, on the command
// line, or with a name that ssh would not take either.
func configFault(err error) error {
	e, ok := errors.AsType[*sshconfig.Error](err)
	switch {
	case !ok:
		return exit.UsageError("", "%v", err)
	case errors.Is(err, sshconfig.ErrLoop) && e.File == "-o":
		if _, behind := errors.AsType[*sshconfig.Error](e.Err); !behind {
			return exit.UsageError("the hop is the host itself: -x leaves it out, and without -J it is reached directly", "-J: %v", e.Err)
		}
		return exit.UsageError("the ProxyJump lines of ssh_config lead to that hop through itself; -F none goes without them", "-J: %v", e.Err)
	case e.Keyword != "" && e.File != "-o":
		return &exit.Error{Code: exit.Failed, Text: err.Error(), Hint: "-o IgnoreUnknown=" + e.Keyword + " passes it over, as it does with ssh"}
	case e.File == "-o":
		return exit.UsageError("as in -o Port=2222, see ssh_config(5)", "%v", err)
	}
	return &exit.Error{Code: exit.Failed, Text: err.Error(), Hint: "-F none goes without the configuration of ssh"}
}

// optionFault is what is wrong with one of several lines of -o. What the error quotes of a line
// that may hold a secret is not told.
func optionFault(err error, options []string) error {
	for _, option := range options {
		file, failed := sshconfig.Load("none")
		if failed == nil && file.Options(option) != nil && redact.Option(option) != option {
			return exit.UsageError("as in -o Port=2222, see ssh_config(5)", "-o: %s cannot be used: it may be a secret, and is not shown", redact.Option(option))
		}
	}
	return configFault(err)
}

// configLine is a line of the configuration of ssh that concerns a host.
type configLine struct {
	Keyword string `json:"keyword"`
	Value   string `json:"value"`
	Origin  string `json:"origin"`
	Passed  bool   `json:"passed,omitempty"` // it has no effect here, for the reason in Why
	Why     string `json:"why,omitempty"`
}

// lines returns what the configuration says of a host, for the user that -l names.
func (k *clientConfig) lines(e *hostEntry, login string) ([]configLine, error) {
	settings, err := k.file.Resolve(e.name, login)
	if err != nil {
		return nil, err
	}
	var lines []configLine
	for _, v := range settings.All() {
		if v.Origin != "default" && v.Origin != "argument" {
			if v.Keyword == "ProxyJump" && k.jump != "" {
				v.Origin = "-J"
			}
			lines = append(lines, configLine{Keyword: v.Keyword, Value: redact.Keyword(v.Keyword, v.Value), Origin: v.Origin})
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
		lines = append(lines, configLine{u.Keyword, redact.Keyword(u.Keyword, u.Value), origin, true, reason})
	}
	return lines, nil
}

// namesInSSHConfig returns the hosts that a configuration of ssh names without wildcards; an empty
// path stands for that of the user and that of the system. One that cannot be read names none: who
// needs it says why.
func namesInSSHConfig(path string) []string {
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
