// Package simulate starts simulated fleets with the files for logging in to them, for the verb sim
// and for tests.
package simulate

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

// slowness is how much longer commands take on slow hosts.
const slowness = 2 * time.Second

// Plan describes a simulated fleet. Hosts with faults come first: the failing, the faulty, the silent
// and the slow ones.
type Plan struct {
	Hosts, Port                   int
	Names                         []string // of the hosts; nil: sim1 and up
	Latency                       time.Duration
	Failing, Faulty, Silent, Slow int
	Fault                         simfleet.Fault
	Output                        int64
	SudoPassword                  string

	// Change, if not nil, changes a host further.
	Change func(i int, h *simfleet.Host)
}

// SetNames names the hosts by an expression, which also says how many there are.
func (p *Plan) SetNames(expr string) error {
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
		p.Names = append(p.Names, name)
	}
	p.Hosts = len(p.Names)
	return nil
}

// name returns the name of host number i, counted from 0.
func (p *Plan) name(i int) string {
	if p.Names != nil {
		return p.Names[i]
	}
	return fmt.Sprintf("sim%d", i+1)
}

// Fleet is a simulated fleet with the files for logging in to it.
type Fleet struct {
	SSH       *simfleet.Fleet // the hosts
	plan      Plan
	dir       string
	temporary bool
	once      sync.Once
}

// Start starts a fleet and writes its files to dir, or to a new directory if dir is empty.
func Start(plan Plan, dir string) (_ *Fleet, err error) {
	s := &Fleet{plan: plan, temporary: dir == ""}
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
	s.SSH, err = simfleet.StartFleet(plan.Hosts, plan.Port, func(i int, h *simfleet.Host) {
		h.AuthorizedKeys = []ssh.PublicKey{authorized}
		h.Dial = simfleet.DialLoopback // for use as a hop
		plan.shape(i, h)
		if plan.Change != nil {
			plan.Change(i, h)
		}
	})
	if err != nil {
		return nil, err
	}
	if err := s.writeFiles(private); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// shape makes host number i what the plan says.
func (p *Plan) shape(i int, h *simfleet.Host) {
	if p.Names != nil {
		h.Name = p.Names[i]
	}
	h.Latency = p.Latency
	h.SudoPassword = p.SudoPassword
	status, delay := simfleet.Status{}, time.Duration(0)
	switch {
	case i < p.Failing:
		status.Code = 1
	case i < p.Failing+p.Faulty:
		h.Fault = p.Fault
	case i < p.Failing+p.Faulty+p.Silent:
		h.Fault = simfleet.Fault{Kind: simfleet.SilentAccept}
	case i < p.Failing+p.Faulty+p.Silent+p.Slow:
		delay = slowness
	}
	if status.Code == 0 && delay == 0 && p.Output == 0 {
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
		writeLines(s.Stdout, p.Output)
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

func (s *Fleet) path(name string) string { return filepath.Join(s.dir, name) }

// KeyFile returns the path of the private key that every host accepts.
func (s *Fleet) KeyFile() string { return s.path("id_ed25519") }

// KnownHosts returns the path of the known_hosts file.
func (s *Fleet) KnownHosts() string { return s.path("known_hosts") }

func (s *Fleet) hostList() string  { return s.path("hosts") }
func (s *Fleet) sshConfig() string { return s.path("ssh_config") }

func (s *Fleet) writeFiles(key ed25519.PrivateKey) (err error) {
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
	if err := os.Remove(s.KeyFile()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.WriteFile(s.KeyFile(), pem.EncodeToMemory(block), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(s.KnownHosts(), s.SSH.KnownHosts(), 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(s.sshConfig(), []byte(s.ConfigText()), 0o644); err != nil {
		return err
	}
	return os.WriteFile(s.hostList(), []byte(strings.Join(s.SSH.Hosts(), "\n")+"\n"), 0o644)
}

// ConfigText returns a configuration of ssh with the names of the hosts.
func (s *Fleet) ConfigText() string {
	var b strings.Builder
	for i, addr := range s.SSH.Hosts() {
		fmt.Fprintf(&b, "Host %s\n  HostName %s\n", s.plan.name(i), addr)
	}
	quote := func(path string) string {
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "%", "%%").Replace(path) + `"`
	}
	fmt.Fprintf(&b, "Host *\n  User sim\n  Port %d\n  IdentityFile %s\n  IdentitiesOnly yes\n  UserKnownHostsFile %s\n",
		s.SSH.Port(), quote(s.KeyFile()), quote(s.KnownHosts()))
	return b.String()
}

// Object is what sim --format json says.
type Object struct {
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

// Describe returns the fleet as an object for JSON.
func (s *Fleet) Describe() Object {
	return Object{
		Type: "sim", Time: time.Now(), Hosts: len(s.SSH.Servers), Expression: s.Expression(), Port: s.SSH.Port(), User: "sim",
		Key: s.KeyFile(), KnownHosts: s.KnownHosts(), HostList: s.hostList(), SSHConfig: s.sshConfig(), SudoPassword: s.plan.SudoPassword,
	}
}

// names is the expression for the names in the configuration of ssh.
func (s *Fleet) names() string {
	names := make([]string, len(s.SSH.Servers))
	for i := range names {
		names[i] = s.plan.name(i)
	}
	return hostset.Of(names...).String()
}

// Expression returns the addresses of the hosts.
func (s *Fleet) Expression() string { return hostset.Of(s.SSH.Hosts()...).String() }

// Text describes the fleet and shows command lines to copy.
func (s *Fleet) Text() string {
	var b strings.Builder
	key, known, list := shellquote.Quote(s.KeyFile()), shellquote.Quote(s.KnownHosts()), shellquote.Quote(s.hostList())
	port := s.SSH.Port()
	fmt.Fprintf(&b, "%d simulated hosts: %s, port %d; any user may log in\n", s.plan.Hosts, s.Expression(), port)
	for _, line := range s.misbehaving() {
		fmt.Fprintf(&b, "  %s\n", line)
	}
	fmt.Fprintf(&b, "  key          %s\n  known_hosts  %s\n  host list    %s\n  ssh_config   %s\n", s.KeyFile(), s.KnownHosts(), s.hostList(), s.sshConfig())
	if s.plan.SudoPassword != "" {
		fmt.Fprintf(&b, "  sudo wants   %s\n", s.plan.SudoPassword)
	}
	fmt.Fprintf(&b, "\nTry, in another terminal:\n\n")
	fmt.Fprintf(&b, "  fleetssh run -F %s -w '%s' uptime\n\n", shellquote.Quote(s.sshConfig()), s.names())
	fmt.Fprintf(&b, "  fleetssh run -w '%s' -l sim -p %d -i %s --known-hosts %s uptime\n\n", s.Expression(), port, key, known)
	options := fmt.Sprintf("-p %d -i %s -o UserKnownHostsFile=%s", port, key, known)
	fmt.Fprintf(&b, "  ssh %s sim@%s uptime\n\n", options, s.SSH.Hosts()[0])
	fmt.Fprintf(&b, "  PDSH_SSH_ARGS_APPEND=%s pdsh -R ssh -l sim -w ^%s uptime\n\n", shellquote.Quote(options), list)
	fmt.Fprintf(&b, "  clush -l sim -o %s --hostfile %s uptime\n\n", shellquote.Quote(options), list)
	fmt.Fprintf(&b, "Serving until Ctrl-C.\n")
	return b.String()
}

// misbehaving describes the hosts with faults.
func (s *Fleet) misbehaving() []string {
	var lines []string
	next := 0
	say := func(n int, what string) {
		if n > 0 {
			lines = append(lines, fmt.Sprintf("%s: %s", hostset.Of(s.SSH.Hosts()[next:next+n]...), what))
			next += n
		}
	}
	say(s.plan.Failing, "every command exits 1")
	say(s.plan.Faulty, s.plan.Fault.String())
	say(s.plan.Silent, "accept the connection and send nothing")
	say(s.plan.Slow, fmt.Sprintf("every command takes %v longer", slowness))
	return lines
}

// Served returns what the fleet has done.
func (s *Fleet) Served() string {
	var connections, logins, commands int
	for _, server := range s.SSH.Servers {
		stats := server.Stats()
		connections, logins, commands = connections+stats.Connections, logins+stats.Logins, commands+stats.Started
	}
	return fmt.Sprintf("served %d connections, %d logins, %d commands", connections, logins, commands)
}

// Close stops the fleet. It may be called twice.
func (s *Fleet) Close() (err error) {
	s.once.Do(func() {
		s.SSH.Close()
		if s.temporary && s.dir != "" {
			err = os.RemoveAll(s.dir)
		}
	})
	return err
}
