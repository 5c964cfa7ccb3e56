//go:build linux

// Bench measures what fleetssh costs, compared with a bare loop around x/crypto/ssh that does the
// same work in the same run. See docs/performance.md.
//
//	go run ./bench            up to 1,000 hosts and 256 MiB: a few minutes
//	LONG=1 go run ./bench     up to 5,000 hosts and 1 GiB: many minutes
//
// Everything stays on the loopback interface. Each client runs in its own process, and so does the
// other side. So the kernel's accounting for a process is the cost of one client.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	role := flag.String("role", "", "internal: the role of a child process")
	jobFile := flag.String("job", "", "internal: the file with the job of a client")
	dir := flag.String("dir", "", "internal: the directory with the keys")
	count := flag.Int("count", 0, "internal: the number of simulated hosts")
	latency := flag.Duration("latency", 0, "internal: the added round-trip time")
	to := flag.String("to", "", "internal: the address behind the delay")
	s := &suite{out: os.Stdout, long: os.Getenv("LONG") != "" && os.Getenv("LONG") != "0"}
	flag.StringVar(&s.only, "only", "", "run only these `parts`: any of "+strings.Join(partNames(), ","))
	flag.StringVar(&s.profiles, "profiles", "", "write CPU and heap profiles of the clients to this `directory`; this distorts the figures")
	flag.StringVar(&s.python, "python", "python3", "the Python `interpreter` that has parallel-ssh")
	flag.IntVar(&s.extra, "rounds", 0, "the number of rounds; 0 means each part's default")
	flag.Parse()
	switch *role {
	case "client":
		return runJob(ctx, *jobFile)
	case "sim":
		return serveSim(ctx, *dir, *count, *latency)
	case "sshd":
		return serveSSHD(ctx, *dir)
	case "delay":
		return serveDelay(ctx, *dir, *to, *latency)
	case "":
		return s.run(ctx)
	}
	return fmt.Errorf("unknown role %q", *role)
}

// suite is one run of the benchmarks.
type suite struct {
	out      io.Writer
	long     bool
	only     string
	profiles string
	python   string
	extra    int

	dir    string // temporary
	user   string
	sim    *server
	missed []string
}

// part is one group of figures.
type part struct {
	name string
	run  func(*suite, context.Context) error
}

func parts() []part {
	return []part{
		{"hosts", (*suite).hosts},
		{"idle", (*suite).idle},
		{"output", (*suite).output},
		{"fold", (*suite).fold},
		{"commands", (*suite).commands},
		{"delay", (*suite).delay},
		{"hop", (*suite).hop},
		{"copies", (*suite).copies},
	}
}

func partNames() []string {
	var names []string
	for _, p := range parts() {
		names = append(names, p.name)
	}
	return names
}

// run runs the selected parts. A missed goal is not an error.
func (s *suite) run(ctx context.Context) (err error) {
	me, err := user.Current()
	if err != nil {
		return err
	}
	s.user = me.Username
	if s.dir, err = os.MkdirTemp("", "fleetssh-bench-*"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(s.dir)) }()
	if _, err := makeKey(filepath.Join(s.dir, userKeyName)); err != nil {
		return err
	}
	if s.profiles != "" {
		if err := os.MkdirAll(s.profiles, 0o755); err != nil {
			return err
		}
	}
	s.sim, err = s.startSim(ctx, s.sizes()[len(s.sizes())-1], 0)
	if err != nil {
		return err
	}
	defer s.sim.close()
	begun := time.Now()
	s.machine(ctx)
	for _, p := range parts() {
		if s.only != "" && !strings.Contains(","+s.only+",", ","+p.name+",") {
			continue
		}
		if err := p.run(s, ctx); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	fmt.Fprintf(s.out, "\nTook %v. ", time.Since(begun).Round(time.Second))
	if len(s.missed) == 0 {
		fmt.Fprintln(s.out, "All goals are met.")
		return nil
	}
	fmt.Fprintf(s.out, "Goals missed: %d\n\n", len(s.missed))
	for _, m := range s.missed {
		fmt.Fprintln(s.out, "*", m)
	}
	return nil
}

// machine prints the machine and the versions that the figures depend on.
func (s *suite) machine(ctx context.Context) {
	model := "unknown processor"
	data, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(data)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			model = strings.TrimSpace(value)
			break
		}
	}
	version, err := exec.CommandContext(ctx, "ssh", "-V").CombinedOutput()
	if err != nil {
		version = []byte("no OpenSSH")
	}
	fmt.Fprintf(s.out, "%s, %d cores, %s, %s, %s\n",
		model, runtime.NumCPU(), runtime.Version(), firstLine(string(version)), time.Now().Format(time.DateOnly))
}

func (s *suite) startSim(ctx context.Context, n int, latency time.Duration) (*server, error) {
	return startServer(ctx, "-role", "sim", "-dir", s.dir, "-count", fmt.Sprint(n), "-latency", latency.String())
}

// sizes returns the numbers of hosts to measure with.
func (s *suite) sizes() []int {
	if s.long {
		return []int{100, 1000, 5000}
	}
	return []int{100, 1000}
}

// rounds returns how many rounds to run.
func (s *suite) rounds(short, long int) int {
	switch {
	case s.extra > 0:
		return s.extra
	case s.long:
		return long
	}
	return short
}

// jobber makes jobs: [suite.job] or [suite.hopJob].
type jobber func(client, task string, to *server, hosts []string) *job

// job returns a job with the defaults of most jobs.
func (s *suite) job(client, task string, to *server, hosts []string) *job {
	return &job{
		Client: client, Task: task, Hosts: hosts, Port: to.Port, User: s.user, Pool: 100, Line: "true",
		KeyFile: filepath.Join(s.dir, userKeyName), KnownHosts: to.KnownHosts,
	}
}

// hopJob is like job, for hosts behind the hop.
func (s *suite) hopJob(client, task string, to *server, hosts []string) *job {
	j := s.job(client, task, to, hosts)
	j.Hop = to.Hop
	return j
}

// contender is one client at one task, with its results.
type contender struct {
	name    string
	run     func(ctx context.Context) (*result, error)
	times   int // runs per round; 0 means 1
	results []*result
	failed  error // if not nil, it is not run any more
}

// contend returns a contender that runs a job in a child process. It fails unless every host has
// run the command, and the hosts together have sent this number of bytes.
func (s *suite) contend(name string, j *job, bytes int64) *contender {
	c := &contender{name: name}
	c.run = func(ctx context.Context) (*result, error) {
		j := *j
		if s.profiles != "" {
			base := filepath.Join(s.profiles, fmt.Sprintf("%s-%s-%d-%d", j.Task, j.Client, len(j.Hosts), len(c.results)))
			if j.Hop != "" {
				base += "-hop"
			}
			j.CPUProfile, j.MemProfile = base+".cpu", base+".mem"
		}
		r, err := spawnJob(ctx, s.dir, &j)
		if err == nil && (r.OK != len(j.Hosts) || r.Bytes != bytes) {
			err = fmt.Errorf("%d of %d hosts, %d bytes: %s", r.OK, len(j.Hosts), r.Bytes, r.Note)
		}
		return r, err
	}
	return c
}

// compete runs all contenders in turn, for a number of rounds. A contender that fails takes no
// further part.
func (s *suite) compete(ctx context.Context, rounds int, contenders ...*contender) error {
	for range rounds {
		for _, c := range contenders {
			for range max(1, c.times) {
				if c.failed != nil {
					continue
				}
				r, err := c.run(ctx)
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				if err != nil {
					c.failed = err
					fmt.Fprintf(os.Stderr, "bench: %s: %v\n", c.name, err)
					continue
				}
				c.results = append(c.results, r)
			}
		}
	}
	return nil
}

// goal returns the cell for a goal, and records the goal if it is missed.
func (s *suite) goal(what string, is, most float64, format string) string {
	if is > most {
		s.missed = append(s.missed, fmt.Sprintf("%s: "+format+", goal ≤ "+format, what, is, most))
	}
	return goal(is, most, format)
}
