//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"time"

	"fleetssh"
)

// peer is another program that runs a command on many hosts.
type peer struct {
	name string
	env  []string
	args []string
}

// peers returns the other tools that are installed, with the arguments to run `true` on hosts over
// 100 connections at once.
func peers(dir, user, python string, s *server, hosts []string) ([]peer, error) {
	file := filepath.Join(dir, "hosts")
	if err := os.WriteFile(file, []byte(strings.Join(hosts, "\n")+"\n"), 0o600); err != nil {
		return nil, err
	}
	port := strconv.Itoa(s.Port)
	key := filepath.Join(dir, userKeyName)
	options := []string{
		"-F", "none", "-p", port, "-i", key,
		"-o", "UserKnownHostsFile=" + s.KnownHosts, "-o", "GlobalKnownHostsFile=none", "-o", "StrictHostKeyChecking=yes",
		"-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "LogLevel=ERROR",
	}
	joined := strings.Join(options, " ")
	settings := filepath.Join(dir, "ansible.cfg") // empty, in place of the user's
	if err := os.WriteFile(settings, nil, 0o600); err != nil {
		return nil, err
	}
	script := filepath.Join(dir, "parallel_ssh.py")
	if err := os.WriteFile(script, []byte(parallelSSH), 0o600); err != nil {
		return nil, err
	}
	list := strings.Join(hosts, ",")
	xargs := []string{"xargs", "-a", file, "-P", "100", "-I", "{}", "ssh"}
	xargs = append(append(xargs, options...), "-n", "-l", user, "{}", "true")
	var found []peer
	for _, p := range []peer{
		{name: "ssh under xargs", args: xargs},
		{name: "pdsh", args: []string{"pdsh", "-R", "ssh", "-f", "100", "-l", user, "-w", list, "true"},
			env: []string{"PDSH_SSH_ARGS_APPEND=" + joined}},
		{name: "clush", args: []string{"clush", "-S", "-f", "100", "-l", user, "-o", joined, "-w", list, "true"}},
		{name: "pssh", args: []string{"parallel-ssh", "-h", file, "-p", "100", "-l", user, "-x", joined, "true"}},
		{name: "parallel-ssh", args: []string{python, script, file, user, port, key}},
		// Its masters would stay behind, where their CPU time is not counted.
		{name: "Ansible ad-hoc", args: []string{"ansible", "all", "-i", file, "-f", "100", "-u", user, "-m", "raw", "-a", "true"},
			env: []string{"ANSIBLE_SSH_ARGS=" + joined, "ANSIBLE_HOME=" + filepath.Join(dir, "ansible"), "ANSIBLE_CONFIG=" + settings}},
	} {
		if p.installed() {
			found = append(found, p)
		}
	}
	return found, nil
}

// installed reports whether the program is installed, and for parallel-ssh the Python library.
func (p *peer) installed() bool {
	if _, err := exec.LookPath(p.args[0]); err != nil {
		return false
	}
	if p.name == "parallel-ssh" {
		return exec.Command(p.args[0], "-c", "import pssh.clients").Run() == nil
	}
	if p.name == "ssh under xargs" {
		_, err := exec.LookPath("ssh")
		return err == nil
	}
	return true
}

// run runs the program once.
func (p *peer) run(ctx context.Context) (*result, error) {
	r, _, err := spawn(ctx, p.env, p.args[0], p.args[1:]...)
	if err != nil {
		return nil, err
	}
	r.Wall, r.CPU = r.Spent, r.Total
	return r, nil
}

// parallelSSH uses parallel-ssh as its documentation does. It does not check host keys.
const parallelSSH = `import sys
from pssh.clients import ParallelSSHClient
file, user, port, key = sys.argv[1:]
hosts = open(file).read().split()
client = ParallelSSHClient(hosts, user=user, port=int(port), pkey=key, pool_size=100)
outs = client.run_command("true")
client.join(outs)
sys.exit(any(out.exit_code != 0 for out in outs))
`

// commandLine builds our own command if necessary, and returns it.
func commandLine(ctx context.Context, dir, user string, s *server, hosts []string) (*peer, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	binary := filepath.Join(dir, "fleetssh")
	if _, err := os.Stat(binary); err != nil {
		out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, reflect.TypeFor[fleetssh.Client]().PkgPath()+"/cmd/fleetssh").CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("cmd/fleetssh does not build: %s", firstLine(string(out)))
		}
	}
	home := filepath.Join(dir, "home")
	if err := os.MkdirAll(home, 0o700); err != nil {
		return nil, err
	}
	return &peer{
		name: "fleetssh run",
		// A run is recorded under the home directory, which must not be the user's own.
		env: []string{"HOME=" + home, "XDG_STATE_HOME=" + home, "XDG_CONFIG_HOME=" + home, "SSH_AUTH_SOCK="},
		args: []string{binary, "run", "-w", strings.Join(hosts, ","), "-p", strconv.Itoa(s.Port), "-l", user,
			"-i", filepath.Join(dir, userKeyName), "--known-hosts", s.KnownHosts, "-f", "100", "true"},
	}, nil
}
