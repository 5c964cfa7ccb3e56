package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"fleetssh/cmd/fleetssh/internal/interrupt"
	"fleetssh/cmd/fleetssh/internal/simulate"
	"fleetssh/internal/account"
	"fleetssh/internal/simfleet"
	"fleetssh/internal/sshdtest"
)

// The scripts in testdata have these commands, besides the commands of testscript:
//
//	fleet N [NAME=VALUE…]   starts N simulated hosts; see startScriptFleet
//	wait-started N          waits until the fleet has started N commands
//	wait-connected N        waits for N connections to the fleet, and fails if there are more
//	wait-stored N           waits until the files on the fleet hold N bytes
//	join-fleet DIR          sets the variables of fleet for a fleet that "sim --dir DIR" serves
//	terminate [SIGNAL]      sends TERM or another signal to the commands in the background
//	web                     starts a web server and sets WEB to its port
//	wait-file FILE [TEXT]   waits until FILE is a socket or is not empty, and contains TEXT
//	exec fleetssh ARG…      runs the program; "%" stands for the flags that choose and log in to hosts
//	exec real-home ARG…     runs the program with the real home directory instead of HOME
//	exec exits CODE ARG…    runs the program, and fails unless its exit code is CODE
//	exec scrub              copies its input, with times in JSON set to zero
func TestMain(m *testing.M) {
	fakeHome()
	testscript.Main(m, map[string]func(){
		"real-home": func() {
			account.Fake(account.Real)
			os.Exit(program(os.Args[1:]))
		},
		"fleetssh": func() { os.Exit(program(os.Args[1:])) },
		"exits": func() {
			if code := program(os.Args[2:]); strconv.Itoa(code) != os.Args[1] {
				fmt.Fprintf(os.Stderr, "exit code %d, want %s\n", code, os.Args[1])
				os.Exit(1)
			}
		},
		"scrub": scrub,
	})
}

// noRaceDelay is the value of GORACE: by default, a program built with the race detector sleeps for
// a second before it exits.
const noRaceDelay = "atexit_sleep_ms=0"

func TestScripts(t *testing.T) {
	t.Parallel()
	if signal.Ignored(syscall.SIGHUP) { // by nohup(1), and the programs of the scripts would inherit that
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Values[fleetKey{}] = new(scriptFleet)
			env.Setenv("GORACE", noRaceDelay)
			env.Setenv("XDG_STATE_HOME", filepath.Join(env.WorkDir, ".state"))
			local, err := user.Current()
			if err != nil {
				return err
			}
			env.Setenv("LOCAL", local.Username)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"fleet":          startScriptFleet,
			"wait-started":   waitStarted,
			"wait-connected": waitConnected,
			"wait-stored":    waitStored,
			"join-fleet":     joinFleet,
			"terminate":      terminate,
			"web":            startScriptWeb,
			"wait-file":      waitFile,
		},
	})
}

// program is the program's main, except that it replaces "%" by flags from the environment.
func program(args []string) int {
	var full []string
	for _, arg := range args {
		if arg != "%" {
			full = append(full, arg)
			continue
		}
		full = append(full, "-w", os.Getenv("HOSTS"), "-p", os.Getenv("PORT"), "-l", "tester", "-i", os.Getenv("KEY"), "--known-hosts", os.Getenv("KNOWN"), "-F", "none")
	}
	ctx, stop := interrupt.Context(context.Background())
	defer stop()
	return run(ctx, full, stdio{in: os.Stdin, out: os.Stdout, err: os.Stderr})
}

// scrub removes times, durations and fingerprints from output, so that scripts can compare it.
func scrub() {
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		panic(err)
	}
	text = regexp.MustCompile(`("(time|run|began)":)"[^"]*"`).ReplaceAll(text, []byte(`$1""`))
	text = regexp.MustCompile(`SHA256:[A-Za-z0-9+/]+`).ReplaceAll(text, []byte("SHA256:"))
	text = regexp.MustCompile(`("[a-z]+_ms":)[0-9.e-]+`).ReplaceAll(text, []byte(`${1}0`))
	// Which ciphers are preferred depends on the processor; the package audit tests these fields.
	text = regexp.MustCompile(`,"to_host":\{[^}]*\},"from_host":\{[^}]*\},"offered":\{[^}]*\}`).ReplaceAll(text, nil)
	os.Stdout.Write(text)
}

// scriptFleet is the fleet of a script. The script's environment keeps it under fleetKey.
type scriptFleet struct{ *simulate.Fleet }

type fleetKey struct{}

// startScriptFleet starts hosts and sets HOSTS, PORT, KEY and KNOWN. The settings are
//
//	I=FAULT            host number I, from 1, has the fault, or "changed": its host key differs
//	                   from the known one, or "stranger": it authorizes no key
//	sudo=PASSWORD      sudo asks for this password
//	password=PASSWORD  the hosts accept this password for the login
//	banner=TEXT        the hosts send this banner
//	sign-in=DURATION   the login waits for a sign-in elsewhere, which takes this long
func startScriptFleet(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: fleet N [NAME=VALUE...]")
	}
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	faults := make(map[int]string)
	settings := make(map[string]string)
	for _, arg := range args[1:] {
		name, value, _ := strings.Cut(arg, "=")
		if i, err := strconv.Atoi(name); err == nil {
			faults[i-1] = value
			continue
		}
		settings[name] = value
	}
	dir, err := os.MkdirTemp(ts.Getenv("WORK"), "fleet-")
	ts.Check(err)
	sim, err := simulate.Start(simulate.Plan{Hosts: n, Change: func(i int, h *simfleet.Host) {
		h.SudoPassword, h.Password, h.Banner = settings["sudo"], settings["password"], settings["banner"]
		if text := settings["sign-in"]; text != "" {
			wait, err := time.ParseDuration(text)
			ts.Check(err)
			h.SignIn = func(_ string, done <-chan struct{}) bool {
				select {
				case <-time.After(wait):
					return true
				case <-done:
					return false
				}
			}
		}
		switch faults[i] {
		case "changed":
		case "stranger":
			h.AuthorizedKeys = nil
		default:
			h.Fault, err = simfleet.ParseFault(faults[i])
			ts.Check(err)
		}
	}}, dir)
	ts.Check(err)
	ts.Defer(func() { sim.Close() })
	for i, fault := range faults {
		if fault == "changed" {
			ts.Check(sim.SSH.Servers[i].SetHostKeys())
		}
	}
	ts.Setenv("HOSTS", sim.Expression())
	ts.Setenv("PORT", strconv.Itoa(sim.SSH.Port()))
	ts.Setenv("KEY", sim.KeyFile())
	ts.Setenv("KNOWN", sim.KnownHosts())
	ts.Value(fleetKey{}).(*scriptFleet).Fleet = sim
}

// waitStarted waits until the fleet has started a number of commands.
func waitStarted(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: wait-started N")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	if n := waitFor(ts, want, "commands started", func(s simfleet.Stats) int { return s.Started }); want == 0 && n > 0 {
		ts.Fatalf("%d commands started, want none", n)
	}
}

// waitFor waits until the sum of a count over all hosts is at least want, and returns the sum.
func waitFor(ts *testscript.TestScript, want int, what string, count func(simfleet.Stats) int) int {
	servers := ts.Value(fleetKey{}).(*scriptFleet).SSH.Servers
	deadline := time.Now().Add(sshdtest.Patience)
	for {
		counted := 0
		for _, server := range servers {
			counted += count(server.Stats())
		}
		if counted >= want {
			return counted
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%d %s, want %d", counted, what, want)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// waitConnected waits for a number of connections to the fleet, and fails if there are more.
func waitConnected(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: wait-connected N")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	if n := waitFor(ts, want, "connections", func(s simfleet.Stats) int { return s.Connections }); n != want {
		ts.Fatalf("%d connections, want %d", n, want)
	}
}

// joinFleet waits until "sim --dir DIR" has written its files, and sets HOSTS, PORT, KEY and KNOWN.
func joinFleet(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: join-fleet DIR")
	}
	dir := ts.MkAbs(args[0])
	list := filepath.Join(dir, "hosts") // sim writes it last
	for deadline := time.Now().Add(sshdtest.Patience); ; <-time.After(5 * time.Millisecond) {
		if info, err := os.Stat(list); err == nil && info.Size() > 0 {
			break
		}
		if time.Now().After(deadline) {
			ts.Fatalf("no fleet in %s", dir)
		}
	}
	known := filepath.Join(dir, "known_hosts")
	ts.Setenv("HOSTS", strings.Join(strings.Fields(ts.ReadFile(list)), ","))
	ts.Setenv("PORT", regexp.MustCompile(`]:(\d+) `).FindStringSubmatch(ts.ReadFile(known))[1])
	ts.Setenv("KEY", filepath.Join(dir, "id_ed25519"))
	ts.Setenv("KNOWN", known)
}

// startScriptWeb starts a web server that answers with the Host header of the request.
func startScriptWeb(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: web")
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "this is", r.Host) }))
	ts.Defer(server.Close)
	ts.Setenv("WEB", strconv.Itoa(server.Listener.Addr().(*net.TCPAddr).Port))
}

func waitFile(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: wait-file FILE [TEXT]")
	}
	holds := func() bool {
		if len(args) < 2 {
			return true
		}
		text, err := os.ReadFile(ts.MkAbs(args[0]))
		return err == nil && strings.Contains(string(text), args[1])
	}
	for deadline := time.Now().Add(sshdtest.Patience); ; <-time.After(5 * time.Millisecond) {
		if info, err := os.Stat(ts.MkAbs(args[0])); err == nil && (info.Size() > 0 || info.Mode().Type() == os.ModeSocket) && holds() {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("no file %s", strings.Join(args, " with "))
		}
	}
}

func terminate(ts *testscript.TestScript, neg bool, args []string) {
	name := "TERM"
	if len(args) > 0 {
		name = args[0]
	}
	for _, cmd := range ts.BackgroundCmds() {
		// syscall lacks STOP on some of the systems for which the tests are built; kill(1) has it.
		ts.Check(exec.Command("kill", "-"+name, strconv.Itoa(cmd.Process.Pid)).Run())
	}
}

// runProgram runs the program in this process.
func runProgram(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = run(t.Context(), args, stdio{in: strings.NewReader(""), out: &out, err: &err})
	return code, out.String(), err.String()
}
