package main

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

// demoSudoPassword is the sudo password of the hosts.
const demoSudoPassword = "correct horse"

// demoFleet is the fleet of the demo: web1 to web4 work, web5 is silent, web6 refuses the login, web7
// has a changed host key, and web8 refuses connections.
type demoFleet struct {
	servers map[string]*simfleet.Server
	signer  ssh.Signer
	policy  *fleetssh.KnownHosts
	dir     string
	once    sync.Once
}

func startDemoFleet() (_ *demoFleet, err error) {
	f := &demoFleet{servers: make(map[string]*simfleet.Server)}
	defer func() {
		if err != nil {
			f.close()
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
			SudoPassword:   demoSudoPassword,
			Handler:        demoShell,
			Dial:           demoDial(fmt.Sprintf("web%d", i)),
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
		f.servers[host.Name] = server
		known.WriteString(server.KnownHostsLine())
	}
	if err := f.servers["web7"].SetHostKeys(); err != nil {
		return nil, err
	}
	if err := f.servers["web8"].Close(); err != nil {
		return nil, err
	}
	if err := f.writeFiles(known.String()); err != nil {
		return nil, err
	}
	return f, nil
}

// demoConfig is the file that is copied to a host.
func demoConfig(host string) string { return "name = " + host + "\n" }

// demoScript is the local script of the demo.
const demoScript = "#!/bin/sh\necho \"$1 from\"\nhostname\n"

func (f *demoFleet) writeFiles(known string) (err error) {
	if f.dir, err = os.MkdirTemp("", "fleetssh-demo-"); err != nil {
		return err
	}
	for host := range f.servers {
		if err := os.WriteFile(filepath.Join(f.dir, host+".conf"), []byte(demoConfig(host)), 0o600); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(f.dir, "greet.sh"), []byte(demoScript), 0o600); err != nil {
		return err
	}
	file := filepath.Join(f.dir, "known_hosts")
	if err := os.WriteFile(file, []byte(known), 0o600); err != nil {
		return err
	}
	f.policy = &fleetssh.KnownHosts{Files: []string{file}}
	return f.policy.Load()
}

// demoShell is the simulated shell with an additional command.
func demoShell(s *simfleet.Session) simfleet.Status {
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

// redirect points a host and its hop to the servers of the demo.
func (f *demoFleet) redirect(e *selection.Host) {
	f.redirectConfig(&e.Config)
	if e.Config.Proxy != nil { // all hosts share it
		f.redirectConfig(e.Config.Proxy)
	}
}

func (f *demoFleet) redirectConfig(c *fleetssh.HostConfig) {
	server := f.servers[c.Host]
	if server == nil {
		return
	}
	c.Alias, c.Host, c.Port, c.User = c.Host, server.Host(), server.Port(), "demo"
	c.Auth.Signers, c.HostKeys = []ssh.Signer{f.signer}, f.policy
}

// close stops the fleet. It may be called twice.
func (f *demoFleet) close() (err error) {
	f.once.Do(func() {
		var closing sync.WaitGroup
		for _, server := range f.servers {
			closing.Go(func() { server.Close() })
		}
		closing.Wait()
		if f.dir != "" {
			err = os.RemoveAll(f.dir)
		}
	})
	return err
}
