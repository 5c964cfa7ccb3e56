package main

import (
	"context"
	"errors"
	"net"

	"fleetssh"
	"fleetssh/sshconfig"
)

// clientConfig is the configuration of ssh for the hosts of a call.
type clientConfig struct {
	file      *sshconfig.File
	jump      string                                                  // what -J says
	transport func(context.Context, string, string) (net.Conn, error) // to the first host on the way
	warn      *warnings
}

// sshConfig reads the configuration that the flags call for. What is given by flags
// stands in hops for the hosts on the way.
func (f *hostFlags) sshConfig(c *call, hops fleetssh.HostConfig, quiet bool) (*clientConfig, error) {
	var paths []string
	switch {
	case f.config != "":
		paths = []string{f.config}
	case c.place != nil:
		paths = []string{"none"} // the demo is the same everywhere
	}
	file, err := sshconfig.Load(paths...)
	if err != nil {
		return nil, configFault(err)
	}
	file.Hops, file.Terminal = hops, c.lender(quiet)
	options := f.options
	if f.way.jump != "" {
		options = append([]string{"ProxyJump=" + f.way.jump}, options...)
	}
	if err := file.Options(options...); err != nil {
		return nil, optionFault(err, options)
	}
	transport, err := f.way.transport(file.Terminal)
	if err != nil {
		return nil, err
	}
	return &clientConfig{file: file, jump: f.way.jump, transport: transport, warn: c.warnings}, nil
}

// apply completes a host with what the configuration says of it.
func (k *clientConfig) apply(e *hostEntry) error {
	name := e.config.Host
	config, err := k.file.Host(name, e.config)
	if err != nil {
		return configFault(err)
	}
	e.config = config
	if k.transport != nil {
		first := &e.config
		for first.Proxy != nil {
			first = first.Proxy
		}
		first.DialContext = k.transport
	}
	if len(k.file.Unsupported()) == 0 {
		return nil
	}
	settings, err := k.file.Resolve(name, e.config.User)
	if err != nil {
		return err
	}
	for _, u := range settings.Unsupported() {
		if u.Minor {
			continue // explain tells it
		}
		k.warn.add(redactUnsupported(u).String(), e.name)
	}
	return nil
}

// configFault is what is wrong with the configuration of ssh: in a file, or on the
// command line.
func configFault(err error) error {
	if e, ok := errors.AsType[*sshconfig.Error](err); ok && e.File == "-o" {
		return usageError("as in -o Port=2222, see ssh_config(5)", "%v", err)
	}
	return &fault{code: exitFailed, text: err.Error(), hint: "-F none goes without the configuration of ssh"}
}
