package main

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"fleetssh/cmd/fleetssh/internal/simulate"
	"fleetssh/internal/shellquote"
)

// docsFleet are the hosts that the commands in the documents speak of.
const docsFleet = "web[01-20],db[1-2]"

// TestDocuments runs the commands of README.md and of the pages in docs against a simulated fleet.
//
// A page is one session of bash. Blocks are marked in the page:
//
//	```console           commands after "$ " (continued after "> "), and what they print
//	```sh                commands that must succeed
//	```sh elsewhere      commands for other hosts or programs: only their options are checked
//	```go ExampleNAME    the body of this example, which the tests of its package run
//	<!-- setup           commands that readers do not see, up to "-->"
//
// Output is compared as a set of lines, because hosts answer in any order. Times, sizes, ports,
// keys, and IDs of runs may differ. "…" stands for any text, and on a line of its own for any
// number of lines. With FLEETSSH_UPDATE_DOCS=1, the test writes what it sees to the pages.
func TestDocuments(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(pages, "../../README.md") {
		page := readPage(t, file)
		if len(page.commands)+len(page.examples) == 0 {
			continue
		}
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			page.run(t)
			page.readExamples(t)
			if os.Getenv("FLEETSSH_UPDATE_DOCS") != "" {
				page.update(t)
				return
			}
			page.compare(t)
		})
	}
}

// docsPage is a document with its commands.
type docsPage struct {
	file     string
	lines    []string
	commands []*docsCommand
	examples []*docsCommand
}

// docsCommand is a command of a document, or an example.
type docsCommand struct {
	line       int // the index of its last line in the page
	text       string
	output     []string // the lines below it in the page
	input      []string // of fleetssh shell: the lines after its prompts
	kind       string   // "console", "sh", "sh elsewhere", "go" or "setup"
	actual     []string
	code       int
	background bool
}

var shellPrompt = regexp.MustCompile(`^\S+ \(\d+\)> (.*)$`)

// readPage finds the commands of a page.
func readPage(t *testing.T, file string) *docsPage {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	p := &docsPage{file: file, lines: strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")}
	kind := ""
	var last *docsCommand
	for i, line := range p.lines {
		switch {
		case kind == "" && strings.HasPrefix(line, "```"):
			kind, last = strings.TrimPrefix(line, "```"), nil
			if name, ok := strings.CutPrefix(kind, "go "); ok {
				last = &docsCommand{line: i, kind: "go", text: name}
				p.examples = append(p.examples, last)
			}
			kind = cmp.Or(kind, "text")
		case kind == "" && line == "<!-- setup":
			kind, last = "setup", nil
		case kind == "":
		case line == "```" || kind == "setup" && line == "-->":
			kind = ""
		case strings.HasPrefix(kind, "go "):
			last.output = append(last.output, line)
		case kind == "console" && strings.HasPrefix(line, "$ "):
			last = p.add(i, kind, line[2:])
		case kind == "console" && last == nil:
			t.Fatalf("%s:%d: output without a command", file, i+1)
		case kind == "console" && strings.HasPrefix(line, "> ") && len(last.output) == 0:
			last.text += "\n" + line[2:]
			last.line = i
		case kind == "console":
			last.output = append(last.output, line)
			if in := shellPrompt.FindStringSubmatch(line); in != nil {
				last.input = append(last.input, in[1])
			}
		case kind == "setup" || kind == "sh" || kind == "sh elsewhere":
			if line, _, _ := strings.Cut(line, " # "); strings.TrimSpace(line) != "" {
				last = p.add(i, kind, line)
			}
		}
	}
	if kind != "" {
		t.Fatalf("%s: a block has no end", file)
	}
	return p
}

func (p *docsPage) add(i int, kind, text string) *docsCommand {
	c := &docsCommand{line: i, kind: kind, text: strings.TrimSpace(text)}
	c.text, c.background = strings.CutSuffix(c.text, " &")
	p.commands = append(p.commands, c)
	return c
}

// run runs the commands of the page in one shell.
func (p *docsPage) run(t *testing.T) {
	home := t.TempDir()
	plan := simulate.Plan{SudoPassword: simSudoPassword}
	if err := plan.SetNames(docsFleet); err != nil {
		t.Fatal(err)
	}
	sim, err := simulate.Start(plan, filepath.Join(home, ".fleet"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sim.Close() })
	work := filepath.Join(home, "work")
	for _, dir := range []string{filepath.Join(home, ".ssh"), work} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(home, ".ssh", "config"), []byte(sim.ConfigText()), 0o600); err != nil {
		t.Fatal(err)
	}
	if len(p.commands) == 0 {
		return
	}
	cmd := exec.CommandContext(t.Context(), "bash", "--norc", "-s")
	cmd.Dir = work
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME="+home+"/.config", "XDG_STATE_HOME="+home+"/.state",
		"XDG_RUNTIME_DIR="+home, "SSH_AUTH_SOCK=", "LC_ALL=C.UTF-8", "NO_COLOR=1", "GORACE="+noRaceDelay)
	cmd.Stdin = strings.NewReader(p.script())
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, output.Bytes())
	}
	p.read(t, output.String())
}

// script returns the commands with a line after each that says how it has ended.
func (p *docsPage) script() string {
	var b strings.Builder
	b.WriteString("trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT\nstatus=0\n")
	for i, c := range p.commands {
		fmt.Fprintf(&b, "printf '\\036%d\\n'\n", i)
		switch {
		case c.kind == "sh elsewhere":
			b.WriteString(optionsOnly(c.text) + "\n")
		case c.background:
			// Its output belongs to it if it comes at once.
			fmt.Fprintf(&b, ": >../out%d; %s >>../out%d 2>&1 </dev/null &\n", i, c.text, i)
			fmt.Fprintf(&b, "for i in {1..2400}; do [ $(wc -l <../out%d) -ge %d ] && break; sleep 0.05; done; cat ../out%d\n", i, max(len(c.output), 1), i)
		case c.input != nil:
			fmt.Fprintf(&b, "printf '%%s\\n' %s | %s\n", shellquote.Quote(strings.Join(c.input, "\n")), c.text)
		default:
			fmt.Fprintf(&b, "(exit $status); { %s\n} </dev/null\n", c.text)
		}
		b.WriteString("status=$?; printf '\\036=%d\\n' $status\n")
	}
	return b.String()
}

// optionsOnly returns a command that checks the options of a command line of fleetssh, and does
// nothing for other programs.
func optionsOnly(line string) string {
	if !strings.HasPrefix(line, "fleetssh ") {
		return ":"
	}
	before, _, _ := strings.Cut(line, " -- ")
	before, _, _ = strings.Cut(before, " | ")
	verb := regexp.MustCompile(`^fleetssh (trust |runs )?\w+ ?`).FindString(before)
	return verb + " --help " + strings.TrimPrefix(before, verb) + " >/dev/null"
}

// read takes the output of the commands apart.
func (p *docsPage) read(t *testing.T, output string) {
	parts := strings.Split(output, "\x1e")
	if len(parts) != 2*len(p.commands)+1 {
		t.Fatalf("%d of %d commands were run:\n%s", (len(parts)-1)/2, len(p.commands), output)
	}
	for i, c := range p.commands {
		_, shown, _ := strings.Cut(parts[1+2*i], "\n")
		end, _, _ := strings.Cut(parts[2+2*i], "\n")
		c.code, _ = strconv.Atoi(strings.TrimPrefix(end, "="))
		if shown = strings.TrimSuffix(shown, "\n"); shown != "" {
			c.actual = strings.Split(shown, "\n")
		}
	}
}

// readExamples finds the examples of the page in the tests of the packages.
func (p *docsPage) readExamples(t *testing.T) {
	var source []byte
	for _, pattern := range []string{"../../example*_test.go", "../../*/example*_test.go"} {
		files, _ := filepath.Glob(pattern)
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			source = append(source, text...)
		}
	}
	for _, c := range p.examples {
		_, rest, found := strings.Cut(string(source), "\nfunc "+c.text+"() {\n")
		if !found {
			t.Fatalf("%s:%d: there is no %s", p.file, c.line+1, c.text)
		}
		body, _, _ := strings.Cut(rest, "\n}\n")
		for line := range strings.SplitSeq(body, "\n") {
			if line = strings.TrimPrefix(line, "\t"); !strings.Contains(line, "simulatedHosts(") && line != "defer stop()" {
				c.actual = append(c.actual, line)
			}
		}
	}
}

// compare compares what the commands have printed with the page.
func (p *docsPage) compare(t *testing.T) {
	for _, c := range p.examples {
		if !slices.Equal(c.output, c.actual) {
			t.Errorf("%s:%d: %s is now:\n%s", filepath.Base(p.file), c.line+1, c.text, strings.Join(c.actual, "\n"))
		}
	}
	for _, c := range p.commands {
		where := fmt.Sprintf("%s:%d: %s", filepath.Base(p.file), c.line+1, c.text)
		if c.kind != "console" {
			if c.code != 0 {
				t.Errorf("%s\nexit code %d:\n%s", where, c.code, strings.Join(c.actual, "\n"))
			}
			continue
		}
		want := c.output
		if c.input != nil { // the prompts are not printed without a terminal
			want = slices.DeleteFunc(slices.Clone(want), shellPrompt.MatchString)
		}
		if diff := compareLines(want, c.actual); diff != "" {
			t.Errorf("%s\n%s\nall of it:\n%s", where, diff, strings.Join(c.actual, "\n"))
		}
	}
}

// compareLines compares lines in any order. It returns what is missing and what is too much.
func compareLines(want, actual []string) string {
	rest := make([]string, len(actual))
	for i, line := range actual {
		rest[i] = withoutFigures(line)
	}
	more := false
	var diff []string
	for _, line := range want {
		line = strings.TrimRight(line, " ")
		if line == "…" {
			more = true
			continue
		}
		pattern := regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(withoutFigures(line)), "…", ".*") + "$")
		i := slices.IndexFunc(rest, pattern.MatchString)
		if i < 0 {
			diff = append(diff, "missing: "+line)
			continue
		}
		rest = slices.Delete(rest, i, i+1)
	}
	if !more {
		for _, line := range rest {
			diff = append(diff, "too much: "+line)
		}
	}
	return strings.Join(diff, "\n")
}

// figures are the parts of output that differ from run to run.
var figures = regexp.MustCompile(strings.Join([]string{
	`SHA256:[A-Za-z0-9+/]{43}`,
	`\d{4}-\d{2}-\d{2}[T ]?\d{2}:\d{2}:\d{2}(\.\d+)?Z?`,
	`\d{8}T\d{6}\.\d+Z(-[0-9a-f]{6})?`,
	`"(time|run)":"[^"]*"`,
	`"\w+_ms":[\d.]+`,
	`\d+ days?, +\d+:\d{2}|\d{2}:\d{2}:\d{2}`,
	`load average: [\d., ]+`,
	`:\d+\)`,
	`\b\d{5}\b`,
	`\d+(\.\d+)?( |)(ns|µs|ms|s|m\d+s|B|KiB|MiB|GiB)(/s)?\b`,
	`127\.\d+\.\d+\.\d+(:\d+)?`,
	`(/tmp|…)/[^\s)]*`,
}, "|"))

// withoutFigures replaces what differs from run to run, and its alignment.
func withoutFigures(line string) string {
	line = figures.ReplaceAllString(strings.TrimRight(line, " "), "N")
	return regexp.MustCompile(` +`).ReplaceAllString(line, " ")
}

// update writes what the commands have printed to the page. It keeps outputs that still hold.
func (p *docsPage) update(t *testing.T) {
	all := slices.Concat(p.commands, p.examples)
	slices.SortFunc(all, func(a, b *docsCommand) int { return b.line - a.line }) // from the end
	for _, c := range all {
		if c.kind == "go" {
			p.lines = slices.Replace(p.lines, c.line+1, c.line+1+len(c.output), c.actual...)
			continue
		}
		if c.kind != "console" || c.input != nil || compareLines(c.output, c.actual) == "" {
			continue
		}
		p.lines = slices.Replace(p.lines, c.line+1, c.line+1+len(c.output), c.actual...)
	}
	if err := os.WriteFile(p.file, []byte(strings.Join(p.lines, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}
