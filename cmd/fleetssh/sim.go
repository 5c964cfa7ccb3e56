package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/hostset"
	"fleetssh/internal/shellquote"
	"fleetssh/internal/simfleet"
)

// simSlowness is how much longer commands take on slow hosts.
const simSlowness = 2 * time.Second

// simPlan describes a simulated fleet. Hosts with faults come first: the failing, the faulty, the silent
// and the slow ones.
type simPlan struct {
	hosts, port                   int
	names                         []string // of the hosts; nil: sim1 and up
	latency                       time.Duration
	failing, faulty, silent, slow int
	fault                         simfleet.Fault
	output                        int64
	sudoPassword                  string

	// change, if not nil, changes a host further.
	change func(i int, h *simfleet.Host)
}

// setNames names the hosts by an expression, which also says how many there are.
func (p *simPlan) setNames(expr string) error {
	if expr == "" {
		return nil
	}
	set, err := hostset.Parse(expr, nil)
	if err != nil {
		return err
	}
	for name := range set.All() {
		if _, err := fleetssh.ParseHost(name); err != nil {
			return err
		}
		p.names = append(p.names, name)
	}
	p.hosts = len(p.names)
	return nil
}

// name returns the name of host number i, counted from 0.
func (p *simPlan) name(i int) string {
	if p.names != nil {
		return p.names[i]
	}
	return fmt.Sprintf("sim%d", i+1)
}

// sim is a simulated fleet with the files for logging in to it.
type sim struct {
	fleet     *simfleet.Fleet
	plan      simPlan
	dir       string
	temporary bool
	once      sync.Once
}

// startSim starts a fleet and writes its files to dir, or to a new directory if dir is empty.
func startSim(plan simPlan, dir string) (_ *sim, err error) {
	s := &sim{plan: plan, temporary: dir == ""}
	if !s.temporary {
		if s.dir, err = filepath.Abs(dir); err != nil {
			return nil, err
		}
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	authorized, err := ssh.NewPublicKey(public)
	if err != nil {
		return nil, err
	}
	s.fleet, err = simfleet.StartFleet(plan.hosts, plan.port, func(i int, h *simfleet.Host) {
		h.AuthorizedKeys = []ssh.PublicKey{authorized}
		h.Dial = simfleet.DialLoopback // for use as a hop
		plan.shape(i, h)
		if plan.change != nil {
			plan.change(i, h)
		}
	})
	if err != nil {
		return nil, err
	}
	if err := s.writeFiles(private); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// shape makes host number i what the plan says.
func (p *simPlan) shape(i int, h *simfleet.Host) {
	if p.names != nil {
		h.Name = p.names[i]
	}
	h.Latency = p.latency
	h.SudoPassword = p.sudoPassword
	status, delay := simfleet.Status{}, time.Duration(0)
	switch {
	case i < p.failing:
		status.Code = 1
	case i < p.failing+p.faulty:
		h.Fault = p.fault
	case i < p.failing+p.faulty+p.silent:
		h.Fault = simfleet.Fault{Kind: simfleet.SilentAccept}
	case i < p.failing+p.faulty+p.silent+p.slow:
		delay = simSlowness
	}
	if status.Code == 0 && delay == 0 && p.output == 0 {
		return
	}
	h.Handler = func(s *simfleet.Session) simfleet.Status {
		if delay > 0 {
			select {
			case <-time.After(delay):
			case <-s.Done():
				return simfleet.Status{Signal: "HUP"}
			}
		}
		writeLines(s.Stdout, p.output)
		if own := simfleet.Shell(s); own != (simfleet.Status{}) {
			return own
		}
		return status
	}
}

// writeLines writes n bytes, in lines of 64.
func writeLines(w io.Writer, n int64) {
	line := strings.Repeat("x", 63) + "\n"
	block := []byte(strings.Repeat(line, 512))
	for n > 0 {
		k, err := w.Write(block[:min(n, int64(len(block)))])
		if n -= int64(k); err != nil {
			return
		}
	}
}

func (s *sim) path(name string) string { return filepath.Join(s.dir, name) }

func (s *sim) keyFile() string    { return s.path("id_ed25519") }
func (s *sim) knownHosts() string { return s.path("known_hosts") }
func (s *sim) hostList() string   { return s.path("hosts") }
func (s *sim) sshConfig() string  { return s.path("ssh_config") }

func (s *sim) writeFiles(key ed25519.PrivateKey) (err error) {
	if s.temporary {
		s.dir, err = os.MkdirTemp("", "fleetssh-sim-")
	} else {
		err = os.MkdirAll(s.dir, 0o700)
	}
	if err != nil {
		return err
	}
	block, err := ssh.MarshalPrivateKey(key, "fleetssh sim")
	if err != nil {
		return err
	}
	// Written anew, so that the mode is right whatever was there.
	if err := os.Remove(s.keyFile()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.WriteFile(s.keyFile(), pem.EncodeToMemory(block), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(s.knownHosts(), s.fleet.KnownHosts(), 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(s.sshConfig(), []byte(s.configText()), 0o644); err != nil {
		return err
	}
	return os.WriteFile(s.hostList(), []byte(strings.Join(s.fleet.Hosts(), "\n")+"\n"), 0o644)
}

// configText is a configuration of ssh with the names of the hosts.
func (s *sim) configText() string {
	var b strings.Builder
	for i, addr := range s.fleet.Hosts() {
		fmt.Fprintf(&b, "Host %s\n  HostName %s\n", s.plan.name(i), addr)
	}
	quote := func(path string) string {
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "%", "%%").Replace(path) + `"`
	}
	fmt.Fprintf(&b, "Host *\n  User sim\n  Port %d\n  IdentityFile %s\n  IdentitiesOnly yes\n  UserKnownHostsFile %s\n",
		s.fleet.Port(), quote(s.keyFile()), quote(s.knownHosts()))
	return b.String()
}

// simObject is what sim --format json says.
type simObject struct {
	Type         string    `json:"type"`
	Time         time.Time `json:"time"`
	Hosts        int       `json:"hosts"`
	Expression   string    `json:"expression"`
	Port         int       `json:"port"`
	User         string    `json:"user"`
	Key          string    `json:"key"`
	KnownHosts   string    `json:"known_hosts"`
	HostList     string    `json:"host_list"`
	SSHConfig    string    `json:"ssh_config"`
	SudoPassword string    `json:"sudo_password,omitempty"`
}

func (s *sim) describe() simObject {
	return simObject{
		Type: "sim", Time: time.Now(), Hosts: len(s.fleet.Servers), Expression: s.expression(), Port: s.fleet.Port(), User: "sim",
		Key: s.keyFile(), KnownHosts: s.knownHosts(), HostList: s.hostList(), SSHConfig: s.sshConfig(), SudoPassword: s.plan.sudoPassword,
	}
}

// names is the expression for the names in the configuration of ssh.
func (s *sim) names() string {
	names := make([]string, len(s.fleet.Servers))
	for i := range names {
		names[i] = s.plan.name(i)
	}
	return hostset.Of(names...).String()
}

func (s *sim) expression() string { return hostset.Of(s.fleet.Hosts()...).String() }

// text describes the fleet and shows command lines to copy.
func (s *sim) text() string {
	var b strings.Builder
	key, known, list := shellquote.Quote(s.keyFile()), shellquote.Quote(s.knownHosts()), shellquote.Quote(s.hostList())
	port := s.fleet.Port()
	fmt.Fprintf(&b, "%d simulated hosts: %s, port %d; any user may log in\n", s.plan.hosts, s.expression(), port)
	for _, line := range s.misbehaving() {
		fmt.Fprintf(&b, "  %s\n", line)
	}
	fmt.Fprintf(&b, "  key          %s\n  known_hosts  %s\n  host list    %s\n  ssh_config   %s\n", s.keyFile(), s.knownHosts(), s.hostList(), s.sshConfig())
	if s.plan.sudoPassword != "" {
		fmt.Fprintf(&b, "  sudo wants   %s\n", s.plan.sudoPassword)
	}
	fmt.Fprintf(&b, "\nTry, in another terminal:\n\n")
	fmt.Fprintf(&b, "  fleetssh run -F %s -w '%s' uptime\n\n", shellquote.Quote(s.sshConfig()), s.names())
	fmt.Fprintf(&b, "  fleetssh run -w '%s' -l sim -p %d -i %s --known-hosts %s uptime\n\n", s.expression(), port, key, known)
	options := fmt.Sprintf("-p %d -i %s -o UserKnownHostsFile=%s", port, key, known)
	fmt.Fprintf(&b, "  ssh %s sim@%s uptime\n\n", options, s.fleet.Hosts()[0])
	fmt.Fprintf(&b, "  PDSH_SSH_ARGS_APPEND=%s pdsh -R ssh -l sim -w ^%s uptime\n\n", shellquote.Quote(options), list)
	fmt.Fprintf(&b, "  clush -l sim -o %s --hostfile %s uptime\n\n", shellquote.Quote(options), list)
	fmt.Fprintf(&b, "Serving until Ctrl-C.\n")
	return b.String()
}

// misbehaving describes the hosts with faults.
func (s *sim) misbehaving() []string {
	var lines []string
	next := 0
	say := func(n int, what string) {
		if n > 0 {
			lines = append(lines, fmt.Sprintf("%s: %s", hostset.Of(s.fleet.Hosts()[next:next+n]...), what))
			next += n
		}
	}
	say(s.plan.failing, "every command exits 1")
	say(s.plan.faulty, s.plan.fault.String())
	say(s.plan.silent, "accept the connection and send nothing")
	say(s.plan.slow, fmt.Sprintf("every command takes %v longer", simSlowness))
	return lines
}

// served returns what the fleet has done.
func (s *sim) served() string {
	var connections, logins, commands int
	for _, server := range s.fleet.Servers {
		stats := server.Stats()
		connections, logins, commands = connections+stats.Connections, logins+stats.Logins, commands+stats.Started
	}
	return fmt.Sprintf("served %d connections, %d logins, %d commands", connections, logins, commands)
}

// close stops the fleet. It may be called twice.
func (s *sim) close() (err error) {
	s.once.Do(func() {
		s.fleet.Close()
		if s.temporary && s.dir != "" {
			err = os.RemoveAll(s.dir)
		}
	})
	return err
}
