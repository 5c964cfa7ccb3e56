// Package demofleet has the simulated hosts of the demo.
package demofleet

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/internal/simfleet"
)

// SudoPassword is the sudo password of the hosts.
const SudoPassword = "correct horse"

// Fleet is the fleet of the demo: web1 to web4 work, web5 is silent, web6 refuses the login, web7
// has a changed host key, and web8 refuses connections.
type Fleet struct {
	Servers map[string]*simfleet.Server // by name
	Dir     string                      // for local files, with a configuration for each host and a script

	signer ssh.Signer
	policy *fleetssh.KnownHosts
	once   sync.Once
}

// Start starts the fleet.
func Start() (_ *Fleet, err error) {
	f := &Fleet{Servers: make(map[string]*simfleet.Server)}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	if f.signer, err = ssh.NewSignerFromKey(key); err != nil {
		return nil, err
	}
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	other, err := ssh.NewPublicKey(public)
	if err != nil {
		return nil, err
	}
	var known strings.Builder
	for i := 1; i <= 8; i++ {
		host := simfleet.Host{
			Name:           fmt.Sprintf("web%d", i),
			AuthorizedKeys: []ssh.PublicKey{f.signer.PublicKey()},
			SudoPassword:   SudoPassword,
			Handler:        shell,
			Dial:           dial(fmt.Sprintf("web%d", i)),
		}
		switch i {
		case 5:
			host.Fault.Kind = simfleet.SilentAccept
		case 6:
			host.AuthorizedKeys = []ssh.PublicKey{other}
		}
		server, err := simfleet.Start(host)
		if err != nil {
			return nil, err
		}
		f.Servers[host.Name] = server
		known.WriteString(server.KnownHostsLine())
	}
	if err := f.Servers["web7"].SetHostKeys(); err != nil {
		return nil, err
	}
	if err := f.Servers["web8"].Close(); err != nil {
		return nil, err
	}
	if err := f.writeFiles(known.String()); err != nil {
		return nil, err
	}
	return f, nil
}

// Config is the file that is copied to a host.
func Config(host string) string { return "name = " + host + "\n" }

// script is the local script of the demo.
const script = "#!/bin/sh\necho \"$1 from\"\nhostname\n"

func (f *Fleet) writeFiles(known string) (err error) {
	if f.Dir, err = os.MkdirTemp("", "fleetssh-demo-"); err != nil {
		return err
	}
	for host := range f.Servers {
		if err := os.WriteFile(filepath.Join(f.Dir, host+".conf"), []byte(Config(host)), 0o600); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(f.Dir, "greet.sh"), []byte(script), 0o600); err != nil {
		return err
	}
	file := filepath.Join(f.Dir, "known_hosts")
	if err := os.WriteFile(file, []byte(known), 0o600); err != nil {
		return err
	}
	f.policy = &fleetssh.KnownHosts{Files: []string{file}}
	return f.policy.Load()
}

// shell is the simulated shell with an additional command.
func shell(s *simfleet.Session) simfleet.Status {
	if s.Line != "systemctl is-active nginx" {
		return simfleet.Shell(s)
	}
	if s.Server.Name() == "web3" {
		fmt.Fprintln(s.Stdout, "inactive")
		return simfleet.Status{Code: 3}
	}
	fmt.Fprintln(s.Stdout, "active")
	return simfleet.Status{}
}

// Redirect points a host and its hop to the servers of the demo.
func (f *Fleet) Redirect(e *selection.Host) {
	f.redirectConfig(&e.Config)
	if e.Config.Proxy != nil { // all hosts share it
		f.redirectConfig(e.Config.Proxy)
	}
}

func (f *Fleet) redirectConfig(c *fleetssh.HostConfig) {
	server := f.Servers[c.Host]
	if server == nil {
		return
	}
	c.Alias, c.Host, c.Port, c.User = c.Host, server.Host(), server.Port(), "demo"
	c.Auth.Signers, c.HostKeys = []ssh.Signer{f.signer}, f.policy
}

// Close stops the fleet. It may be called twice.
func (f *Fleet) Close() (err error) {
	f.once.Do(func() {
		var closing sync.WaitGroup
		for _, server := range f.Servers {
			closing.Go(func() { server.Close() })
		}
		closing.Wait()
		if f.Dir != "" {
			err = os.RemoveAll(f.Dir)
		}
	})
	return err
}
