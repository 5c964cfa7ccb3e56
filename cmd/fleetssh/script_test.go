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

	"fleetssh/internal/account"
	"fleetssh/internal/simfleet"
	"fleetssh/internal/sshdtest"
)

// The scripts of testdata know, besides the commands of testscript:
//
//	fleet N [NAME=VALUE…]   starts N simulated hosts; see startScriptFleet
//	wait-started N          waits until the fleet has started N commands
//	wait-connected N        waits until the fleet has been connected to N times
//	wait-stored N           waits until the files of the fleet hold N bytes
//	join-fleet DIR          the same variables for a fleet that "sim --dir DIR" serves
//	terminate [HUP]         sends TERM, or HUP, to what runs in the background
//	web                     starts a web server and sets WEB to its port
//	wait-file FILE          waits until there is a file that is not empty, or a socket
//	exec fleetssh ARG…      the program; "%" stands for the hosts and the login
//	exec unpretended ARG…   the same, with the home directory of whoever runs the tests
//	exec exits CODE ARG…    the same, and fails if it ends with another code
//	exec scrub              copies its input, with times in JSON made zero
func TestMain(m *testing.M) {
	pretendHome()
	testscript.Main(m, map[string]func(){
		"unpretended": func() {
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

// noRaceDelay is for GORACE: a program with the race detector would otherwise
// wait a second at its end.
const noRaceDelay = "atexit_sleep_ms=0"

func TestScripts(t *testing.T) {
	t.Parallel()
	if signal.Ignored(syscall.SIGHUP) { // as nohup(1) has it, for what the scripts start too
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

// program is main for the tests.
func program(args []string) int {
	var full []string
	for _, arg := range args {
		if arg != "%" {
			full = append(full, arg)
			continue
		}
		full = append(full, "-w", os.Getenv("HOSTS"), "-p", os.Getenv("PORT"), "-l", "tester", "-i", os.Getenv("KEY"), "--known-hosts", os.Getenv("KNOWN"), "-F", "none")
	}
	ctx, stop := interruptible(context.Background())
	defer stop()
	return run(ctx, full, stdio{in: os.Stdin, out: os.Stdout, err: os.Stderr})
}

// scrub makes output with times comparable.
func scrub() {
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		panic(err)
	}
	text = regexp.MustCompile(`("(time|run)":)"[^"]*"`).ReplaceAll(text, []byte(`$1""`))
	text = regexp.MustCompile(`SHA256:[A-Za-z0-9+/]+`).ReplaceAll(text, []byte("SHA256:"))
	text = regexp.MustCompile(`("[a-z]+_ms":)[0-9.e-]+`).ReplaceAll(text, []byte(`${1}0`))
	os.Stdout.Write(text)
}

// scriptFleet is the fleet of a script, under fleetKey.
type scriptFleet struct{ *sim }

type fleetKey struct{}

// startScriptFleet starts hosts and sets HOSTS, PORT, KEY and KNOWN. The values are
//
//	I=FAULT      host number I, from 1, has the fault; "changed" has another key
//	             than is known, "stranger" lets nobody in
//	sudo=PASSWORD  password=PASSWORD  banner=TEXT
//	sign-in=DUR  users sign in elsewhere, and have done so after that time
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
	sim, err := startSim(simPlan{hosts: n, change: func(i int, h *simfleet.Host) {
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
	ts.Defer(func() { sim.close() })
	for i, fault := range faults {
		if fault == "changed" {
			ts.Check(sim.fleet.Servers[i].SetHostKeys())
		}
	}
	ts.Setenv("HOSTS", sim.expression())
	ts.Setenv("PORT", strconv.Itoa(sim.fleet.Port()))
	ts.Setenv("KEY", sim.keyFile())
	ts.Setenv("KNOWN", sim.knownHosts())
	ts.Value(fleetKey{}).(*scriptFleet).sim = sim
}

// waitStarted waits until the fleet has started a number of commands.
func waitStarted(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: wait-started N")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	if n := waitFor(ts, want, "commands were started", func(s simfleet.Stats) int { return s.Started }); want == 0 && n > 0 {
		ts.Fatalf("%d commands were started", n)
	}
}

// waitFor waits until what is counted on the hosts of the fleet is as many as wanted, or
// more, and returns how many.
func waitFor(ts *testscript.TestScript, want int, what string, count func(simfleet.Stats) int) int {
	servers := ts.Value(fleetKey{}).(*scriptFleet).fleet.Servers
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
			ts.Fatalf("%d %s, not %d", counted, what, want)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// waitConnected waits until the fleet has been connected to a number of times, and no more.
func waitConnected(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: wait-connected N")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	if n := waitFor(ts, want, "connections were made", func(s simfleet.Stats) int { return s.Connections }); n != want {
		ts.Fatalf("%d connections were made, not %d", n, want)
	}
}

// joinFleet waits for the files of a fleet and sets the variables for it.
func joinFleet(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: join-fleet DIR")
	}
	dir := ts.MkAbs(args[0])
	list := filepath.Join(dir, "hosts") // is written last
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

// startScriptWeb starts a server that answers with the host it was asked for.
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
		// kill(1), since not every system for which this is built knows STOP.
		ts.Check(exec.Command("kill", "-"+name, strconv.Itoa(cmd.Process.Pid)).Run())
	}
}

// runProgram calls the program in this process.
func runProgram(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = run(t.Context(), args, stdio{in: strings.NewReader(""), out: &out, err: &err})
	return code, out.String(), err.String()
}
