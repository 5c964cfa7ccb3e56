package main

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/display"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/journal"
	"fleetssh/cmd/fleetssh/internal/record"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/cmd/fleetssh/internal/simulate"
	"fleetssh/cmd/fleetssh/internal/termline"
	"fleetssh/hostset"
)

// recordCall returns an app that records its runs in a directory of the test.
func recordCall(t *testing.T) (c *app, stdout, stderr *bytes.Buffer) {
	t.Helper()
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	stdout, stderr = new(bytes.Buffer), new(bytes.Buffer)
	c = &app{in: strings.NewReader(""), screen: termline.New(stdout, stderr), warnings: new(display.Warnings)}
	return c, stdout, stderr
}

// recordRun records a run of "uptime" on hosts with these results. Hosts whose result is zero are
// still running, and hosts beyond the results were not started. If ended is false, the record is
// what a killed process leaves.
func recordRun(t *testing.T, c *app, f *record.Flags, names []string, all []results.Result, ended bool) *record.Recorder {
	t.Helper()
	entries := make([]selection.Host, len(names))
	for i, name := range names {
		entries[i] = selection.Host{Config: fleetssh.HostConfig{Host: name}, Name: name, Label: name}
	}
	summary := results.New(entries)
	r := f.Start(c.screen, summary, journal.Start{Command: "uptime"})
	d := r.Wrap(display.NewQuiet(display.View{Screen: c.screen, Summary: summary}))
	for i, result := range all {
		r.HostStarted(i)
		d.Show(fleetssh.Event{Kind: fleetssh.StdoutLine, Index: i, Text: "up " + names[i]})
		if result.Outcome.Kind == fleetssh.Running {
			continue
		}
		result.Index = i
		d.Finished(summary.AddResult(result))
	}
	if !ended {
		abandon(t, r)
		return r
	}
	if err := r.Finish(); err != nil {
		if _, ok := errors.AsType[exit.Status](err); !ok {
			t.Error(err)
		}
	}
	r.Close()
	return r
}

// abandon leaves the record as a killed process would: without a summary, and unlocked. The lock
// belongs to the open file, so that a copy of the file is not locked.
func abandon(t *testing.T, r *record.Recorder) {
	t.Helper()
	dir, err := journal.Dir()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, r.ID()+".jsonl")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

var (
	exited = func(code int) results.Result {
		return results.Result{OK: code == 0, Outcome: fleetssh.Outcome{ExitCode: code, Kind: fleetssh.Exited}}
	}
	ended = func(kind fleetssh.OutcomeKind, stopped bool) results.Result {
		return results.Result{Outcome: fleetssh.Outcome{Kind: kind, Stopped: stopped}}
	}
	unreach  = results.Result{Outcome: fleetssh.Outcome{Kind: fleetssh.Unreachable, Phase: "connect"}, Problem: results.Problem{Kind: "connection", Phase: "connect", Reason: "refused"}}
	atWork   = results.Result{}
	tenHosts = hostset.Of("web1", "web2", "web3", "web4", "web5", "web6", "web7", "web8", "web9", "web10").Names()
	tenEnds  = []results.Result{
		exited(0), exited(1), unreach, ended(fleetssh.TimedOut, true), ended(fleetssh.TimedOut, false),
		ended(fleetssh.Lost, false), ended(fleetssh.Skipped, false), ended(fleetssh.Cancelled, true), atWork,
	}
)

// verb runs the verb runs or rerun.
func verb(t *testing.T, c *app, args ...string) int {
	t.Helper()
	root := newRoot(c, newRuns, newRerun)
	root.SetArgs(args)
	code := exit.Report(c.screen, root.ExecuteContext(t.Context()))
	c.screen.Flush()
	return code
}

func TestGivenFlags(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name        string
		given, want []string
	}{
		{"none", nil, nil},
		{"not kept for a rerun", []string{"-w", "web1", "-x", "web2", "--dry-run"}, nil},
		{"values", []string{"-u", "30s", "--sudo", "--env", "A=1", "--env=B=-x, y", "--shell", "bash -c"},
			[]string{"--env=A=***", "--env=B=***", "--shell=bash -c", "--sudo", "--timeout=30s"}},
		{"false", []string{"--sudo=false"}, []string{"--sudo=false"}},
		{"files", []string{"-i", "key", "--stdin", "/etc/motd", "--known-hosts", "~/known"},
			[]string{"--identity=" + filepath.Join(here, "key"), "--known-hosts=~/known", "--stdin=/etc/motd"}},
		{"standard input", []string{"--stdin", "-"}, []string{"--stdin=-"}},
		{"proxy without password", []string{"--proxy", "socks5://proxy:1080"}, []string{"--proxy=socks5://proxy:1080"}},
		{"password in a proxy", []string{"--proxy", "socks5://me:hunter2@proxy:1080"}, []string{"--proxy=socks5://me:***@proxy:1080"}},
		{"escaped password", []string{"--proxy", "http://me:hun%2Fter2@proxy"}, []string{"--proxy=http://me:***@proxy"}},
		{"malformed URL", []string{"--proxy", "%zz hunter2"}, []string{"--proxy=***"}},
		{"prompts", []string{"--ask-pass", "--ask-sudo-pass"}, []string{"--ask-pass", "--ask-sudo-pass"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			o, flags := new(runOptions), pflag.NewFlagSet("run", pflag.ContinueOnError)
			o.register(flags)
			if err := flags.Parse(test.given); err != nil {
				t.Fatal(err)
			}
			f := new(record.Flags)
			f.Capture(flags, nil)
			if !slices.Equal(f.Args, test.want) {
				t.Errorf("%q, want %q", f.Args, test.want)
			}
			// The recorded flags, given again, are recorded in the same way.
			again, flags := new(record.Flags), pflag.NewFlagSet("run", pflag.ContinueOnError)
			new(runOptions).register(flags)
			if err := flags.Parse(f.Args); err != nil {
				t.Fatal(err)
			}
			again.Capture(flags, nil)
			if !slices.Equal(again.Args, f.Args) {
				t.Errorf("again: %q, want %q", again.Args, f.Args)
			}
		})
	}
}

func TestRunsVerbs(t *testing.T) {
	c, stdout, stderr := recordCall(t)
	if code := verb(t, c, "runs"); code != exit.OK || !strings.Contains(stderr.String(), "no run has been recorded yet") {
		t.Errorf("empty: %d %s", code, stderr)
	}
	f := &record.Flags{Args: []string{"--timeout=30s"}}
	first := recordRun(t, c, f, tenHosts, tenEnds, false)
	second := recordRun(t, c, f, []string{"web1", "web2", "web11"}, []results.Result{exited(1), exited(1), exited(0)}, true)
	id := first.ID()
	for _, test := range []struct {
		args []string
		code int
		want []string // in standard output, or in standard error
	}{
		{[]string{"runs"}, exit.OK, []string{id, second.ID(), "(interrupted) uptime", "     10       1       7       2 "}},
		{[]string{"runs", "-n", "1", "--format", "json"}, exit.OK, []string{`"run":"` + second.ID() + `"`, `"hosts":3,"ok":1,"failed":2,`, `"state":"ended","exit_code":5`}},
		{[]string{"runs", "show", id}, exit.OK, []string{
			"command  uptime\n", "options  '--timeout=30s'\n", "hosts    10: 1 ok, 7 failed, 2 skipped\n", "ok       web1\n",
			"note     fleetssh was killed during the run", "  lost, may have run: web6\n", "  lost, may have run: web9: its outcome was not recorded\n", "  skipped: web[7,10]\n", "  unreachable (connect): web3: refused\n",
			"  timed out, may still run: web5", "  timed out and stopped: web4", "  stopped: web8\n", "  exit code 1: web2\n",
		}},
		{[]string{"runs", "show", "-v", id}, exit.OK, []string{"web3: unreachable (connect), connect 0.0ms, run 0.0ms: refused\n"}},
		{[]string{"runs", "show", "--output", "last"}, exit.OK, []string{"web11: up web11\n"}},
		{[]string{"runs", "show", "--format", "json", "--output", "last"}, exit.OK, []string{
			`{"type":"start",`, `"host":"web11","index":2,"line":"up web11"}`, `"outcome":"exited","exit_code":1,`, `"outcomes":{"exited":3},"ok":1,"failed":2,`,
		}},
		{[]string{"runs", "diff", "last-1", "last"}, exit.OK, []string{"ok -> exit code 1: web1 (1)\n", "only in " + id + ": web[3-10] (8)\n", "only in " + second.ID() + ": web11 (1)\n"}},
		{[]string{"runs", "diff", "last", "last"}, exit.OK, []string{"no recorded outcome or output has changed"}},
		{[]string{"runs", "show", id[:9] + "9"}, exit.Usage, []string{"no such run", "did you mean " + second.ID()}},
		{[]string{"runs", "show"}, exit.Usage, []string{"takes one run"}},
		{[]string{"runs", "last"}, exit.Usage, []string{"fleetssh runs show last"}},
		{[]string{"runs", "diff", "last"}, exit.Usage, []string{"takes two runs"}},
	} {
		stdout.Reset()
		stderr.Reset()
		code := verb(t, c, test.args...)
		if code != test.code {
			t.Errorf("%q: exit code %d", test.args, code)
		}
		for _, want := range test.want {
			if !strings.Contains(stdout.String()+stderr.String(), want) {
				t.Errorf("%q: no %q in:\n%s%s", test.args, want, stdout, stderr)
			}
		}
	}
}

// Hosts with the same change are shown once in the diff.
func TestRunsDiffOutput(t *testing.T) {
	c, stdout, _ := recordCall(t)
	for _, version := range []string{"5.10", "6.1"} {
		entries := make([]selection.Host, 3)
		for i, name := range []string{"web1", "web2", "web3"} {
			entries[i] = selection.Host{Name: name, Label: name}
		}
		summary := results.New(entries)
		r := new(record.Flags).Start(c.screen, summary, journal.Start{Command: "uname -r"})
		d := r.Wrap(display.NewQuiet(display.View{Screen: c.screen, Summary: summary}))
		for i := range entries {
			text := version
			if i == 2 {
				text = "the same"
			}
			d.Show(fleetssh.Event{Kind: fleetssh.StdoutLine, Index: i, Text: "kernel"})
			d.Show(fleetssh.Event{Kind: fleetssh.StderrLine, Index: i, Text: text})
			one := exited(0)
			one.Index = i
			d.Finished(summary.AddResult(one))
		}
		if err := r.Finish(); err != nil {
			t.Fatal(err)
		}
	}
	if code := verb(t, c, "runs", "diff", "last-1", "last"); code != exit.OK {
		t.Error(code)
	}
	for _, want := range []string{"output: web[1-2] (2)\n", "\n   kernel\n", "\n  -[stderr] 5.10\n", "\n  +[stderr] 6.1\n"} {
		if strings.Count(stdout.String(), want) != 1 {
			t.Errorf("no %q in:\n%s", want, stdout)
		}
	}
}

// Hosts where the command may have run are not rerun by default.
func TestRerunChoosesHosts(t *testing.T) {
	c, stdout, stderr := recordCall(t)
	r := recordRun(t, c, &record.Flags{Args: []string{"--timeout=30s"}}, tenHosts, tenEnds, false)
	for _, test := range []struct {
		flags      string
		code       int
		hosts, out string
	}{
		{"--failed", exit.OK, "web[2-4,7-8,10]", "web[5-6,9] (3)"},
		{"--unreachable", exit.OK, "web3", ""},
		{"--timed-out", exit.OK, "web4", "web5 (1)"},
		{"--skipped", exit.OK, "web[7,10]", ""},
		{"--skipped --unreachable", exit.OK, "web[3,7,10]", ""},
		{"--failed --include-unknown", exit.OK, "web[2-10]", ""},
		{"--timed-out --include-unknown", exit.OK, "web[4-5]", ""},
		{"--include-unknown", exit.OK, "web[5-6,9]", ""},
		{"", exit.Usage, "", ""},
	} {
		stdout.Reset()
		stderr.Reset()
		args := append([]string{"rerun", r.ID(), "--dry-run"}, strings.Fields(test.flags)...)
		if code := verb(t, c, args...); code != test.code {
			t.Errorf("%s: exit code %d", test.flags, code)
		}
		want := ""
		if test.hosts != "" {
			want = "fleetssh run '--timeout=30s' '--hosts=" + test.hosts + "' -- uptime\n"
		}
		if stdout.String() != want {
			t.Errorf("%s: %swant %s", test.flags, stdout, want)
		}
		if strings.Contains(stderr.String(), "left out") != (test.out != "") || !strings.Contains(stderr.String(), test.out) {
			t.Errorf("%s: %s", test.flags, stderr)
		}
	}
}

func TestRerunRefused(t *testing.T) {
	c, _, stderr := recordCall(t)
	recordRun(t, c, new(record.Flags), []string{"web1"}, []results.Result{exited(0)}, true)
	if code := verb(t, c, "rerun", "last", "--failed"); code != exit.OK || !strings.Contains(stderr.String(), "nothing to do") {
		t.Errorf("%d %s", code, stderr)
	}
	recordRun(t, c, new(record.Flags), []string{"web1"}, []results.Result{ended(fleetssh.Lost, false)}, true)
	if code := verb(t, c, "rerun", "last", "--failed"); code != exit.Usage || !strings.Contains(stderr.String(), "hint: --include-unknown") {
		t.Errorf("%d %s", code, stderr)
	}
	recordRun(t, c, &record.Flags{Args: []string{"--proxy=socks5://me:***@proxy"}}, []string{"web1"}, []results.Result{exited(1)}, true)
	if code := verb(t, c, "rerun", "last", "--failed"); code != exit.Usage || !strings.Contains(stderr.String(), "the value of --proxy was not recorded") {
		t.Errorf("%d %s", code, stderr)
	}
	summary := results.New([]selection.Host{{Name: "web1", Label: "web1"}})
	r := new(record.Flags).Start(c.screen, summary, journal.Start{Command: "uptime"})
	defer r.Close()
	if code := verb(t, c, "rerun", "last", "--skipped"); code != exit.Usage || !strings.Contains(stderr.String(), "is still running") {
		t.Errorf("%d %s", code, stderr)
	}
}

func TestRecordedHosts(t *testing.T) {
	c, _, _ := recordCall(t)
	r := recordRun(t, c, new(record.Flags), tenHosts, tenEnds, false)
	id := r.ID()
	for name, want := range map[string]string{
		"last:failed": "web[2-10]", "last:timed-out": "web[4-5]", "last-0:ok": "web1", id + ":unreachable": "web3",
		id[:13] + ":lost": "web6", id[len(id)-6:] + ":unknown": "web9", "last:all": "web[1-10]", "last:signaled": "",
	} {
		if expr, ok, err := record.Hosts(name); expr != want || !ok || err != nil {
			t.Errorf("%s: %q %v %v", name, expr, ok, err)
		}
	}
	for _, name := range []string{"web", "rack:web", "abcdef:failed", "last", "lastly:failed", "*", "src:*"} {
		if expr, ok, err := record.Hosts(name); ok || err != nil {
			t.Errorf("%s: %q %v %v", name, expr, ok, err)
		}
	}
	for _, name := range []string{"last:fast", "last-7:ok", "20200101T00:ok"} {
		if _, ok, err := record.Hosts(name); !ok || err == nil {
			t.Errorf("%s: %v %v", name, ok, err)
		}
	}
}

// If recording fails, the run continues, and one warning says so.
func TestRecordFails(t *testing.T) {
	c, _, stderr := recordCall(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_STATE_HOME", file)
	page := filepath.Join(t.TempDir(), "page.html")
	recordRun(t, c, &record.Flags{Report: page}, []string{"web1"}, []results.Result{exited(0)}, true)
	c.screen.Flush()
	if got := stderr.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "warning: the run continues, but is not fully recorded: ") {
		t.Errorf("%s", got)
	}
	if text, err := os.ReadFile(page); err != nil || !strings.Contains(string(text), "up web1") {
		t.Errorf("report: %v", err)
	}
}

// With --no-record nothing is recorded, not even for a report.
func TestNoRecord(t *testing.T) {
	c, _, stderr := recordCall(t)
	t.Setenv("TMPDIR", t.TempDir())
	page := filepath.Join(t.TempDir(), "page.html")
	recordRun(t, c, &record.Flags{NoRecord: true, Report: page}, []string{"web1"}, []results.Result{exited(0)}, true)
	if text, err := os.ReadFile(page); err != nil || !strings.Contains(string(text), "up web1") {
		t.Errorf("report: %v", err)
	}
	for _, dir := range []string{os.Getenv("XDG_STATE_HOME"), os.Getenv("TMPDIR")} {
		if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
			t.Errorf("%s: %v %v", dir, entries, err)
		}
	}
	if stderr.Len() > 0 {
		t.Errorf("%s", stderr)
	}
}

func TestReportOfRecord(t *testing.T) {
	c, _, _ := recordCall(t)
	page := filepath.Join(t.TempDir(), "page.html")
	recordRun(t, c, &record.Flags{}, tenHosts, tenEnds, false)
	if code := verb(t, c, "runs", "show", "last", "--report", page); code != exit.OK {
		t.Fatal(code)
	}
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"fleetssh was killed during the run", "lost, may have run", "its outcome was not recorded", "<dt>ok</dt><dd>1</dd>", "<dt>failed</dt><dd>4</dd>",
		"<dt>unknown or skipped</dt><dd>5</dd>", "up web9", "refused",
	} {
		if !strings.Contains(string(data), want) {
			t.Errorf("no %q", want)
		}
	}
	if err := (&record.Flags{Report: filepath.Join(t.TempDir(), "none", "page.html")}).Check(); err == nil {
		t.Error("a report in a missing directory is accepted")
	}
}

// The record of a run contains none of its passwords.
func TestNoSecretInRecord(t *testing.T) {
	c, _, _ := recordCall(t)
	sim, err := simulate.Start(simulate.Plan{Hosts: 1}, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sim.Close() })
	const secret = "hunter2"
	c.ask = func(context.Context, string, bool) (string, error) { return secret, nil }
	cmd := newRun(c)
	note := &record.Flags{}
	runE := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		note.Capture(cmd.Flags(), nil)
		return runE(cmd, args)
	}
	cmd.SetArgs([]string{
		"-w", sim.Expression(), "-F", "none", "-i", sim.KeyFile(), "--known-hosts", sim.KnownHosts(), "--attempts", "1", "--ask-pass",
		"--sudo", "--ask-sudo-pass", "--proxy", "socks5://me:" + secret + "@127.0.0.1:1", "whoami",
	})
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	if err := cmd.ExecuteContext(t.Context()); exit.Report(c.screen, err) == exit.Usage {
		t.Fatal(err)
	}
	recordRun(t, c, note, []string{"web1"}, []results.Result{exited(0)}, true)
	files := 0
	err = filepath.WalkDir(os.Getenv("XDG_STATE_HOME"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		data, err := os.ReadFile(path)
		if strings.Contains(string(data), secret) {
			t.Errorf("%s contains the password", path)
		}
		if !strings.Contains(string(data), "me:***@") && strings.Contains(string(data), `"args"`) {
			t.Errorf("%s does not hold the redacted proxy", path)
		}
		return err
	})
	if err != nil || files < 2 {
		t.Errorf("%d files, %v", files, err)
	}
}
