package fullscreen

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"fleetssh"
)

// styles are the sequences of paint.
var styles = regexp.MustCompile("\x1b\\[[0-9;]*m")

// rolling is a run of a thousand hosts in the middle: some have failed, some differ.
func rolling(t testing.TB) *fleet {
	f := newTestFleet(t, 1000, []int{10, 490, 500}, Budget{Limited: true, MaxFailed: 20})
	for i := range 600 {
		f.started(i, time.Duration(i)*10*time.Millisecond)
		f.wrote(i, "Reading package lists...", "0 upgraded, 0 newly installed")
		switch {
		case i == 7:
			f.complained(i, "E: Could not get lock /var/lib/dpkg/lock \x1b[31m(held)")
		case i == 42 || i == 43:
			f.wrote(i, "1 not upgraded: openssl\t(日本)")
		}
	}
	for i := range 550 {
		at := 2*time.Second + time.Duration(i)*15*time.Millisecond
		switch i {
		case 7:
			f.exited(i, 100, at)
		default:
			f.exited(i, 0, at)
		}
	}
	f.working([]fleetssh.Progress{{Index: 600, Phase: fleetssh.PhaseAuth, Begun: noon, Since: noon}, {Index: 601, Phase: fleetssh.PhaseConnect, Begun: noon, Since: noon}})
	return f
}

// small is a run on 20 hosts that has ended.
func small(t testing.TB) *fleet {
	f := newTestFleet(t, 20, nil, Budget{})
	for i := range 20 {
		f.started(i, 0)
		f.wrote(i, "12.11")
		if i == 16 {
			f.wrote(i, "11.9")
		}
		f.exited(i, i/18, time.Second)
	}
	f.finish(noon.Add(time.Second))
	return f
}

// between is a run that waits for the user after its first batch.
func between(t testing.TB) *fleet {
	f := newTestFleet(t, 20, []int{5, 15}, Budget{Limited: true})
	for i := range 5 {
		f.started(i, 0)
		f.wrote(i, "12.11")
		f.exited(i, 0, time.Second)
	}
	f.tell("fleetssh: gate: curl -f localhost")
	f.ask("batch 1 of 2 is done. Run batch 2 on 15 hosts?")
	return f
}

// TestScreens compares screens with those in testdata, which FLEETSSH_UPDATE_SCREENS=1 rewrites.
func TestScreens(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		fleet func(testing.TB) *fleet
		keys  []string
	}{
		{"rolling", rolling, nil},
		{"groups", rolling, []string{"tab", "down"}},
		{"failed", rolling, []string{"f"}},
		{"filter", rolling, []string{"/", "w", "e", "b", "4", "*", "enter"}},
		{"typing", rolling, []string{"/", "w", "e", "b", "4", "*"}},
		{"wrong filter", rolling, []string{"/", "w", "[", "enter"}},
		{"foreign filter", rolling, []string{"/", "d", "b", "enter"}},
		{"open", rolling, []string{"tab", "down", "enter"}},
		{"diff", rolling, []string{"tab", "down", "d"}},
		{"keys", rolling, []string{"?"}},
		{"between batches", between, nil},
		{"after the run", small, []string{"r"}},
		{"report", small, []string{"w"}},
		{"small", small, nil},
		{"small groups", small, []string{"tab"}},
	} {
		for _, size := range []struct{ width, height int }{{80, 24}, {40, 15}, {200, 50}} {
			f := test.fleet(t)
			m := newModel(f, size.width, size.height)
			m.view("apt-get -y upgrade", noon) // the cursor moves by what is shown
			m.press(test.keys...)
			now := noon.Add(12 * time.Second)
			checkScreen(t, m, now)
			got := styles.ReplaceAllString(m.view("apt-get -y upgrade", now), "") + "\n"
			name := filepath.Join("testdata", fmt.Sprintf("%s-%dx%d.txt", strings.ReplaceAll(test.name, " ", "-"), size.width, size.height))
			if os.Getenv("FLEETSSH_UPDATE_SCREENS") != "" {
				if err := os.WriteFile(name, []byte(got), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("%s: got\n%swant\n%s", name, got, want)
			}
		}
	}
}

// Colours guide the eye: cells and groups that failed, and the cursor.
func TestStyles(t *testing.T) {
	t.Parallel()
	m := newModel(small(t), 80, 24)
	screen := m.view("uptime", noon)
	for _, want := range []string{"\x1b[7;32m■ web1  \x1b[m", "\x1b[31m✗ web19 ✗ web20 \x1b[m", "\x1b[31mexit code 1: 12.11\x1b[m"} {
		if !strings.Contains(screen, want) {
			t.Errorf("the screen lacks %q:\n%q", want, screen)
		}
	}
	m.key("tab", "")
	if screen := m.view("uptime", noon); !strings.Contains(screen, "\x1b[7m    2  web[19-20]") {
		t.Errorf("no cursor on the first group:\n%q", screen)
	}
}

// The reason of a failure is on standard error, whatever arrives last.
func TestFailurePreview(t *testing.T) {
	t.Parallel()
	f := newTestFleet(t, 3, nil, Budget{})
	f.complained(0, "no space")
	f.wrote(0, "12.11")
	f.wrote(1, "a", "b")
	for i := range 3 {
		f.exited(i, 1, time.Second)
	}
	m := newModel(f, 80, 24)
	for i, want := range []string{"exit code 1: no space", "exit code 1: b", "exit code 1"} {
		if got, s := m.preview(f.groupOf(i), nil); got != want || s != failure {
			t.Errorf("host %d: %q, want %q", i, got, want)
		}
	}
}

func TestCursor(t *testing.T) {
	t.Parallel()
	f := rolling(t)
	m := newModel(f, 80, 24)
	check := func(want int, keys ...string) {
		t.Helper()
		for _, key := range keys {
			m.key(key, "")
			m.view("", noon)
		}
		if m.host != want {
			t.Errorf("after %v: host %d, want %d", keys, m.host, want)
		}
	}
	m.view("", noon)
	check(0, "left", "up")
	check(81, "right", "down")
	check(999, "end", "right", "down")
	check(998, "left")
	check(0, "home")
	m.key("f", "")
	if s, ok := m.subject(); !ok || s.host != 7 {
		t.Errorf("with only failed hosts, the cursor is on %v", s)
	}
	m.key("esc", "")
	if s, ok := m.subject(); !ok || s.host != 0 {
		t.Errorf("with all hosts, the cursor is on %v", s)
	}
	// The cursor stays on its group while others come.
	m.key("tab", "")
	m.key("end", "")
	before, _ := m.subject()
	f.exited(580, 9, 13*time.Second)
	if after, _ := m.subject(); after.host != before.host {
		t.Errorf("the cursor moves from the group of host %d to that of %d", before.host, after.host)
	}
}

func TestKeysAsk(t *testing.T) {
	t.Parallel()
	m := newModel(small(t), 80, 24)
	for key, want := range map[string]effect{"q": leave, "ctrl+c": interrupt, "ctrl+z": suspend, "x": nothing} {
		if got := m.key(key, ""); got != want {
			t.Errorf("%s: got %v, want %v", key, got, want)
		}
	}
	m.key("/", "/")
	if got := m.key("q", "q"); got != nothing || m.input.text != "q" {
		t.Errorf("a q in the filter: effect %v, text %q", got, m.input.text)
	}
	for _, key := range []string{"backspace", "backspace", "esc"} {
		m.key(key, "")
	}
	if m.input != nil || m.filter != "" {
		t.Errorf("Esc keeps the line %v and the filter %q", m.input, m.filter)
	}
}

func TestDiffNeedsTwoOutputs(t *testing.T) {
	t.Parallel()
	f := newTestFleet(t, 3, nil, Budget{})
	m := newModel(f, 80, 24)
	check := func(want string) {
		t.Helper()
		if m.key("d", ""); m.message != want || m.page != nil {
			t.Errorf("got %q, want %q", m.message, want)
		}
	}
	check("web1 has not ended yet")
	f.exited(0, 0, time.Second)
	check("no host has ended with output yet")
	f.wrote(1, "x")
	f.exited(1, 0, time.Second)
	m.key("right", "")
	check("this is the most common output")
	f.skips(2, time.Second)
	m.key("right", "")
	check("web3 was skipped")
	m.key("home", "")
	if m.key("d", ""); m.page == nil {
		t.Errorf("no output is not compared with some: %s", m.message)
	}
}

// A host that has written much does not fill the memory when it is opened.
func TestOpenIsBounded(t *testing.T) {
	t.Parallel()
	f := newTestFleet(t, 1, nil, Budget{})
	for i := range maxPageLines + 500 {
		f.wrote(0, fmt.Sprint("line ", i))
	}
	m := newModel(f, 80, 24)
	m.key("enter", "")
	if n := len(m.page.lines); n != maxPageLines+1 || m.page.lines[n-1].text != "… and 500 more lines" {
		t.Errorf("%d lines, the last is %q", n, m.page.lines[n-1].text)
	}
	m.key("end", "")
	if screen := m.view("", noon); !strings.Contains(screen, "… and 500 more lines") {
		t.Errorf("End does not show the end:\n%s", screen)
	}
	for _, key := range []string{"home", "down", "pgdown", "up", "pgup"} {
		m.key(key, "")
	}
	if m.page.top != 0 {
		t.Errorf("the page is at line %d", m.page.top)
	}
	m.key("q", "q")
	if m.page != nil {
		t.Error("q does not close the page")
	}
}

// BenchmarkFleet is what a thousand hosts cost: a line of each host, and a drawing.
func BenchmarkFleet(b *testing.B) {
	b.Run("event", func(b *testing.B) {
		f := newTestFleet(b, 1000, nil, Budget{})
		for i := 0; b.Loop(); i++ {
			f.show(fleetssh.Event{Kind: fleetssh.StdoutLine, Index: i % 1000, Text: "Reading package lists..."})
		}
	})
	for _, size := range []struct{ width, height int }{{80, 24}, {200, 50}} {
		b.Run(fmt.Sprintf("view %dx%d", size.width, size.height), func(b *testing.B) {
			m := newModel(rolling(b), size.width, size.height)
			for b.Loop() {
				m.fleet.cached = -1 // as if a host had ended
				m.view("uptime", noon)
			}
		})
	}
}
