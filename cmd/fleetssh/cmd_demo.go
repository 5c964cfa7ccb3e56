package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/demofleet"
	"fleetssh/cmd/fleetssh/internal/display"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/cmd/fleetssh/internal/termline"
)

const demoHelp = `Show the main features on eight simulated hosts, in a few seconds.

  fleetssh demo

The hosts are real SSH servers on loopback with a simulated shell. Nothing else is
needed, and none of your files are touched.

`

// demoFleet plays the demo on its hosts.
type demoFleet struct{ *demofleet.Fleet }

// demoStep is a command line, its title, and its expected result.
type demoStep struct {
	title string
	line  string // as a user types it; "./" is the directory of the demo
	input string
	exit  int
	check func(*demoFleet, *results.Summary) error // nil: the exit code suffices
	after func(*results.Summary) string            // text to show at the end
}

var demoSteps = [...]demoStep{
	{
		title: "One command, many hosts",
		line:  "fleetssh run -w web[1-4] uptime",
	},
	{
		title: "Exit codes, and the failed hosts at the end",
		line:  "fleetssh run -w web[1-4] -- systemctl is-active nginx",
		exit:  exit.Command,
		check: wantOutcomes("web3", fleetssh.Exited),
	},
	{
		title: "Failing hosts do not delay the others, and each failure has a reason",
		line:  "fleetssh run -w web[1-8] -t 5s --attempts 1 -- hostname",
		exit:  exit.Unreachable,
		check: (*demoFleet).checkTrouble,
		after: demoTimes,
	},
	{
		title: "A timeout stops the command on the hosts, not only the wait for it",
		line:  "fleetssh run -w web[1-2] --timeout 500ms -- sleep 60",
		exit:  exit.Stopped,
		check: (*demoFleet).checkStopped,
	},
	{
		title: "sudo with a password, asked for once and never on a command line",
		line:  "fleetssh run -w web[1-4] --sudo --ask-sudo-pass -- whoami",
	},
	{
		title: "The same standard input for every host",
		line:  "echo hello | fleetssh run -w web[1-4] --stdin - -- cksum",
		input: "hello\n",
	},
	{
		title: "Files that differ from host to host",
		line:  "fleetssh put -w web[1-4] --verify ./%(host)s.conf app.conf",
	},
	{
		title: "Files of every host, in one directory per host",
		line:  "fleetssh get -w web[1-4] -v app.conf ./got",
		check: (*demoFleet).checkFetched,
	},
	{
		title: "A local script with its own interpreter: #!/bin/sh, echo \"$1 from\", hostname",
		line:  "fleetssh run -w web[1-2] --script ./greet.sh hello",
	},
	{
		title: "One prompt for all hosts: directories and variables persist",
		line:  `printf 'cd /srv\npwd\n:only web2\nhostname\n' | fleetssh shell -w web[1-4] -b`,
		input: "cd /srv\npwd\n:only web2\nhostname\n",
	},
	{
		title: "What the servers are, and how long each phase of a login takes",
		line:  "fleetssh check -w web[1-4]",
	},
	{
		title: "Through a hop: one connection to it for all hosts behind it",
		line:  "fleetssh check -w web[2-4] -J web1 --verbose",
	},
	{
		title: "JSON lines for programs",
		line:  "fleetssh run -w web1 --format json -- hostname",
	},
}

const demoLibrary = `
# From Go: different arguments on every host

  fleet := &fleetssh.ParallelClient{Hosts: hosts}
  events, err := fleet.Stream(ctx, fleetssh.Command{
      Line:     "echo %s has role %q",
      HostArgs: []fleetssh.Args{{List: []string{"web1", "front end"}}, ...},
  })

`

const demoEnd = `
# Where to go next

  fleetssh sim --hosts 20          a simulated fleet to try things on
  fleetssh check -w HOSTS          can you log in to your hosts?
  fleetssh run -w HOSTS COMMAND    run a command on them
  fleetssh --help                  everything else
`

func newDemo(c *app) *cobra.Command {
	return &cobra.Command{
		Use:  "demo",
		Long: demoHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return exit.UsageError("fleetssh demo --help", "demo takes no arguments")
			}
			return runDemo(cmd.Context(), c)
		},
	}
}

func runDemo(ctx context.Context, c *app) error {
	started, err := demofleet.Start()
	if err != nil {
		return err
	}
	defer started.Close()
	fleet := &demoFleet{started}
	// One stream keeps the order when the output is piped.
	screen := c.screen.OutOnly()
	fmt.Fprintf(printer{screen}, "fleetssh demo: eight simulated hosts, web1 to web8\n")
	for _, step := range demoSteps {
		if err := fleet.play(ctx, screen, step); err != nil {
			if failure := screen.Failure(); failure != nil {
				return exit.OutputError(failure)
			}
			return fmt.Errorf("demo: %s: %w", step.line, err)
		}
	}
	screen.Print([]byte(demoLibrary))
	if err := fleet.playLibrary(ctx, screen); err != nil {
		return fmt.Errorf("demo: host arguments: %w", err)
	}
	if err := fleet.playTunnel(ctx, screen); err != nil {
		return fmt.Errorf("demo: tunnel: %w", err)
	}
	screen.Print([]byte(demoEnd))
	return fleet.Close()
}

// printer is an io.Writer for whole lines on a screen.
type printer struct{ *termline.Screen }

func (p printer) Write(text []byte) (int, error) {
	p.Print(text)
	return len(text), nil
}

// play runs one step with the program itself.
func (f *demoFleet) play(ctx context.Context, screen *termline.Screen, step demoStep) error {
	fmt.Fprintf(printer{screen}, "\n# %s\n\n$ %s\n", step.title, step.line)
	var counted *results.Summary
	c := &app{
		in:     strings.NewReader(step.input),
		screen: screen, warnings: new(display.Warnings),
		redirect: f.Redirect,
		afterRun: func(t *results.Summary) { counted = t },
		ask: func(_ context.Context, prompt string, _ bool) (string, error) {
			fmt.Fprintf(printer{screen}, "%s\n", prompt)
			return demofleet.SudoPassword, nil
		},
	}
	_, line, _ := strings.Cut(step.line, "fleetssh ")
	words := strings.Fields(line)
	for i, word := range words {
		if name, ok := strings.CutPrefix(word, "./"); ok {
			words[i] = filepath.Join(f.Dir, name)
		}
	}
	root := newRoot(c, newRun, newPut, newGet, newShell, newCheck)
	root.SetArgs(words)
	code := exit.Report(screen, root.ExecuteContext(ctx))
	screen.Flush()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case code != step.exit:
		return fmt.Errorf("ended with exit code %d, not %d", code, step.exit)
	case step.check != nil && counted == nil:
		return fmt.Errorf("nothing was run")
	case step.check != nil:
		if err := step.check(f, counted); err != nil {
			return err
		}
	}
	text := ""
	if step.after != nil {
		text = step.after(counted)
	}
	if code != exit.OK {
		text += fmt.Sprintf("(exit code %d)\n", code)
	}
	screen.Print([]byte(text))
	return nil
}

// wantOutcomes checks that only one host failed, with this outcome.
func wantOutcomes(label string, kind fleetssh.OutcomeKind) func(*demoFleet, *results.Summary) error {
	return func(_ *demoFleet, t *results.Summary) error {
		for _, r := range t.Results {
			if got := t.Hosts[r.Index].Label; !r.OK && (got != label || r.Outcome.Kind != kind) {
				return fmt.Errorf("%s: %v", got, r.Outcome.Kind)
			}
		}
		return nil
	}
}

// demoTrouble is the phase in which each host must fail.
var demoTrouble = map[string]fleetssh.Phase{
	"web5": fleetssh.PhaseHandshake, "web6": fleetssh.PhaseAuth, "web7": fleetssh.PhaseHostKey, "web8": fleetssh.PhaseConnect,
}

func (f *demoFleet) checkTrouble(t *results.Summary) error {
	var silent, others time.Duration
	for _, r := range t.Results {
		label := t.Hosts[r.Index].Label
		if phase := demoTrouble[label]; phase != r.Outcome.Phase || r.OK != (phase == "") {
			return fmt.Errorf("%s: %v %s", label, r.Outcome.Kind, r.Outcome.Phase)
		}
		if label == "web5" {
			silent = r.After
		} else {
			others = max(others, r.After)
		}
	}
	if others >= silent {
		return fmt.Errorf("a host took %v, and the silent one %v", others, silent)
	}
	return nil
}

func (f *demoFleet) checkStopped(t *results.Summary) error {
	for _, r := range t.Results {
		label := t.Hosts[r.Index].Label
		if r.Outcome.Kind != fleetssh.TimedOut || !r.Outcome.Stopped {
			return fmt.Errorf("%s: %v", label, r.Outcome.Kind)
		}
		if !slices.Contains(f.Servers[label].Stats().Signals, "TERM") {
			return fmt.Errorf("%s never got a signal", label)
		}
	}
	return nil
}

// checkFetched checks that the file of every host was copied to its own directory.
func (f *demoFleet) checkFetched(*results.Summary) error {
	for i := 1; i <= 4; i++ {
		host := fmt.Sprintf("web%d", i)
		text, err := os.ReadFile(filepath.Join(f.Dir, "got", host, "app.conf"))
		if err != nil {
			return err
		}
		if string(text) != demofleet.Config(host) {
			return fmt.Errorf("%s has the file of another host: %q", host, text)
		}
	}
	return nil
}

// demoTimes returns when the hosts were done.
func demoTimes(t *results.Summary) string {
	var slowest, others results.Result
	for _, r := range t.Results {
		if r.After > slowest.After {
			slowest, r = r, slowest
		}
		if r.After > others.After {
			others = r
		}
	}
	return fmt.Sprintf("(all but %s were done after %v, it was given up after %v)\n",
		t.Hosts[slowest.Index].Label, others.After.Round(time.Millisecond), slowest.After.Round(time.Millisecond))
}

// playLibrary runs a command with different arguments on every host.
func (f *demoFleet) playLibrary(ctx context.Context, screen *termline.Screen) error {
	roles := []string{"front end", "front end", "cache", "mail"}
	hosts, err := (&selection.ExprFlags{Exprs: []string{"web[1-4]"}}).Select(fleetssh.HostConfig{})
	if err != nil {
		return err
	}
	args := make([]fleetssh.Args, len(hosts))
	for i := range hosts {
		f.Redirect(&hosts[i])
		args[i].List = []string{hosts[i].Name, roles[i]}
	}
	client := &fleetssh.ParallelClient{Hosts: selection.Configs(hosts)}
	defer client.Close()
	events, err := client.Stream(ctx, fleetssh.Command{Line: "echo %s has role %q", HostArgs: args})
	if err != nil {
		return err
	}
	t := results.New(hosts)
	d := display.NewStream(display.View{Screen: screen, Summary: t, Label: true})
	for ev := range events {
		if ev.Kind == fleetssh.Finished {
			t.Add(ev)
		}
		d.Show(ev)
	}
	d.Close()
	return t.Err()
}
