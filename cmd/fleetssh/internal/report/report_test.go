package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"
)

// fleet returns the data of a run on n hosts, some of which failed.
func fleet(n int) Data {
	d := Data{
		Run: "20260922T180000.000000Z-3fa9c1", Command: "systemctl restart nginx && uname -r", Elapsed: 42 * time.Second,
		Begun: time.Date(2026, 9, 22, 18, 0, 0, 0, time.UTC),
	}
	d.Rerun = "fleetssh rerun 20260922T180000.000000Z-3fa9c1 --failed"
	d.Batches = []Batch{
		{Number: 1, Hosts: 1, OK: 1, Took: 2 * time.Second, Gates: 500 * time.Millisecond, Waited: 10 * time.Second},
		{Number: 2, Hosts: 99, OK: 89, Failed: 10, From: 12500 * time.Millisecond, Took: 29 * time.Second, Gates: 500 * time.Millisecond},
	}
	d.Gates = []Gate{
		{Batch: 1, Command: "curl -fs localhost/health", Hosts: 1, OK: true, Took: 500 * time.Millisecond},
		{Batch: 2, Command: "curl -fs localhost/health", Hosts: 89, Failed: "web[5-6]", Count: 2, Output: "web[5-6] (2): exit code 22\n", Took: 300 * time.Millisecond},
		{Batch: 2, Here: true, Command: "./ask-the-balancer", Hosts: 89, Reason: "exit status 3", Took: 200 * time.Millisecond},
	}
	counts := make(map[Class]int)
	for i := range n {
		from := d.Elapsed * time.Duration(i) / time.Duration(n+10)
		h := Host{Label: fmt.Sprintf("web%d", i+1), Outcome: "exit code 0", Class: OK, From: from, Connect: time.Duration(i%7*30) * time.Millisecond, Attempts: 1}
		h.Run = time.Duration(200+i*37%900) * time.Millisecond
		switch i % 20 {
		case 3:
			h.Class, h.Outcome, h.Attempts, h.Run = Failed, "unreachable (connect)", 3, 0
			h.Message = "connect web" + fmt.Sprint(i+1) + ":22: connection refused (3 attempts)"
			h.Connect = 3 * time.Second
		case 11:
			h.Class, h.Outcome, h.Message = Unclear, "timed out, may still run", "no end within 30s"
			h.Run = 4 * time.Second
		}
		h.To = from + h.Connect + h.Run
		counts[h.Class]++
		d.Hosts = append(d.Hosts, h)
	}
	d.Groups = []Group{
		{Title: "timed out, may still run", Class: Unclear, Hosts: "web[12,32,52,72,92]", Count: counts[Unclear], Reason: "after 30s"},
		{Title: "unreachable (connect)", Class: Failed, Hosts: "web[4,24,44,64,84]", Count: counts[Failed], Reason: "connection refused (3 attempts)", Differ: true, Hint: "is sshd running there?", Detail: []string{"shown ssh-ed25519 SHA256:abc"}, Stderr: []Stderr{{Hosts: "web[4,24]", Count: 2, Text: "nginx: conf missing\n", More: 2}}},
		{Title: "exit code 0", Class: OK, Hosts: "web[1-3,5-11,13-100]", Count: counts[OK]},
	}
	d.Variants = []Variant{
		{Hosts: "web[1-3]", Count: 3, Stdout: "restarted\n5.10.0-21-amd64\nload 0.4\n", Stderr: "warning: old kernel\n"},
		{Hosts: "web[5-100]", Count: 80, Stdout: "restarted\n6.1.0-18-amd64\nload 0.4\n"},
		{Hosts: "web7", Count: 1, Status: "exit code 1", Stdout: "restarted\n6.1.0-18-amd64\nload 0.4\n"},
		{Hosts: "web[4,24]", Count: 2},
	}
	return d
}

func write(t testing.TB, d Data) string {
	t.Helper()
	var out bytes.Buffer
	if err := Write(&out, d); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestSections(t *testing.T) {
	t.Parallel()
	text := write(t, fleet(100))
	for _, want := range []string{
		`aria-label="Command">systemctl restart nginx &amp;&amp; uname -r</code></h1>`, `100 hosts, 42.00 s`,
		`<dt>ok</dt><dd>90</dd>`, `<dt>failed</dt><dd>5</dd>`,
		`id="outcomes"`, `id="failures"`, `id="output"`, `id="timeline"`, `id="slowest"`, `id="hosts"`,
		`<strong>Hint:</strong> is sshd running there?`, `(first host; others differ)`, `<li>shown ssh-ed25519 SHA256:abc</li>`,
		`<strong>Variant 1</strong>, 80 hosts: <span class="set">web[5-100]</span>`,
		`<span class="del">-6.1.0-18-amd64`, `<span class="add">&#43;5.10.0-21-amd64`, `<span class="add">&#43;[stderr] warning: old kernel`,
		`The text is that of variant 1; the hosts ended differently.`, `2 hosts wrote nothing.`,
		`(<span class="add">+2</span> <span class="del">−1</span> lines)`,
		`up to `, `were in progress at once`,
		`<code id="rerun">fleetssh rerun 20260922T180000.000000Z-3fa9c1 --failed</code>`,
		`<h4>Standard error of 2 hosts: <span class="set">web[4,24]</span></h4>`, "nginx: conf missing\n</pre>", `2 other texts are below Output.`,
		`>12.50 s</td><td class="number" data-v="29000000">29.00 s</td><td class="number" data-v="500000">500 ms</td>`,
		`<td>89 hosts</td><td><span class="mark failed">failed</span></td><td class="number" data-v="300000">300 ms</td><td class="why">failed on web[5-6]<pre>web[5-6] (2): exit code 22`,
		`<td>this machine</td><td><span class="mark failed">failed</span></td><td class="number" data-v="200000">200 ms</td><td class="why">exit status 3</td>`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("missing: %s", want)
		}
	}
	if n := strings.Count(text, "<tr><th scope=\"row\">web"); n != 100+slowest {
		t.Errorf("%d rows", n)
	}
}

// The page loads nothing from elsewhere.
func TestSelfContained(t *testing.T) {
	t.Parallel()
	text := write(t, fleet(20))
	for _, name := range []string{"src=", "http://", "https://", "url(", "@import", "<link", "<iframe", " style=", "onclick"} {
		if strings.Contains(text, name) {
			t.Errorf("the page contains %s", name)
		}
	}
	if !strings.Contains(text, `content="default-src &#39;none&#39;; style-src &#39;sha256-`) {
		t.Error("the page has no Content-Security-Policy")
	}
}

// Names, output and errors of hosts are shown as text, whatever they contain.
func TestHostileText(t *testing.T) {
	t.Parallel()
	evil := "<script>alert(1)</script>\"'`</pre></style><img src=x onerror=alert(1)> {{.Run}} \x1b]0;title\x07\x1b[2J \xff\xfe \u202e\u0000 &lt;"
	d := fleet(1)
	d.Run, d.Command, d.Notes = evil, evil, []string{evil}
	d.Groups = []Group{{Title: evil, Class: Failed, Hosts: evil, Count: 1, Reason: evil, Detail: []string{evil}, Hint: evil, Stderr: []Stderr{{Hosts: evil, Count: 1, Text: evil}}}}
	d.Rerun, d.Batches = evil, []Batch{{Number: 1}}
	d.Gates = []Gate{{Batch: 1, Command: evil, Failed: evil, Count: 1, Reason: evil, Output: evil}}
	d.Variants = []Variant{{Hosts: evil, Count: 2, Status: evil, Stdout: evil, Stderr: evil}, {Hosts: evil, Count: 1, Stdout: "other" + evil + "\n" + evil}}
	d.Hosts = []Host{{Label: evil, Outcome: evil, Class: Failed, To: time.Second, Message: evil}}
	d.Elapsed = time.Second
	text := write(t, d)
	for _, bad := range []string{"<script>alert", "<img", "\x1b", "\x07", "\xff", "\u202e", "\x00"} {
		if strings.Contains(text, bad) {
			t.Errorf("the page contains %q", bad)
		}
	}
	if n := strings.Count(text, "<script>"); n != 1 {
		t.Errorf("%d scripts", n)
	}
	if !strings.Contains(text, "&lt;script&gt;alert(1)&lt;/script&gt;") {
		t.Error("the escaped text is missing")
	}
}

// A run without hosts, and a run that started none, give a page without a timeline.
func TestEmpty(t *testing.T) {
	t.Parallel()
	for _, d := range []Data{{}, {Hosts: []Host{{Label: "web1", Outcome: "skipped", Class: Unclear}}}} {
		text := write(t, d)
		if !strings.Contains(text, "</html>") || strings.Contains(text, `id="timeline"`) || strings.Contains(text, "NaN") {
			t.Errorf("%d hosts: %s", len(d.Hosts), text[:min(len(text), 300)])
		}
	}
}

// The page is bounded: however much the hosts wrote, and however long their messages are.
func TestBounded(t *testing.T) {
	t.Parallel()
	d := fleet(12_000)
	long := strings.Repeat("&<é", 400)
	for i := range d.Hosts {
		if d.Hosts[i].Class != OK {
			d.Hosts[i].Message = long
		}
	}
	for i := range 3000 {
		d.Batches = append(d.Batches, Batch{Number: i})
		d.Gates = append(d.Gates, Gate{Batch: i, Command: long, Failed: long, Count: 1, Output: long})
		d.Groups[0].Stderr = append(d.Groups[0].Stderr, Stderr{Hosts: long, Text: long})
	}
	d.Groups[0].Stderr = d.Groups[0].Stderr[:3]
	for i := range 150 {
		d.Variants = append(d.Variants, Variant{Hosts: "db" + fmt.Sprint(i), Count: 1, Stdout: strings.Repeat(fmt.Sprintf("line %d\n", i), 30_000)})
	}
	text := write(t, d)
	if len(text) > 10<<20 {
		t.Errorf("%d bytes", len(text))
	}
	for _, want := range []string{"2000 more hosts are not shown", "2002 more batches are not shown", "more variants are not shown", "Only the beginning is shown."} {
		if !strings.Contains(text, want) {
			t.Errorf("missing: %s", want)
		}
	}
	if n := strings.Count(text, `<tr><th scope="row">web4</th>`); n == 0 {
		t.Error("a failed host is left out")
	}
}

func TestFiveThousandHosts(t *testing.T) {
	t.Parallel()
	text := write(t, fleet(5000))
	if len(text) > 4<<20 {
		t.Errorf("%d bytes", len(text))
	}
}

// The markup is well formed, as far as an XML reader can tell.
func TestWellFormed(t *testing.T) {
	t.Parallel()
	text := write(t, fleet(50))
	text = regexp.MustCompile(`(?s)<(script|style)>.*?</(script|style)>`).ReplaceAllString(text, "")
	text = regexp.MustCompile(`<meta [^>]*>`).ReplaceAllString(text, "")
	dec := xml.NewDecoder(strings.NewReader(text))
	dec.Entity = xml.HTMLEntity
	ids := make(map[string]bool)
	var wanted []string
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		start, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		for _, a := range start.Attr {
			switch {
			case a.Name.Local == "id" && ids[a.Value]:
				t.Errorf("id %s twice", a.Value)
			case a.Name.Local == "id":
				ids[a.Value] = true
			case a.Name.Local == "href":
				wanted = append(wanted, strings.TrimPrefix(a.Value, "#"))
			case a.Name.Local == "aria-labelledby":
				wanted = append(wanted, a.Value)
			}
		}
	}
	for _, id := range wanted {
		if !ids[id] {
			t.Errorf("no element has the id %s", id)
		}
	}
}

func TestSeconds(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "–", time.Microsecond: "<1 ms", 12 * time.Millisecond: "12 ms", 1500 * time.Millisecond: "1.50 s",
		90 * time.Second: "1 min 30 s", 3700 * time.Second: "1 h 01 min",
	} {
		if got := seconds(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

func BenchmarkFiveThousandHosts(b *testing.B) {
	d := fleet(5000)
	for b.Loop() {
		if err := Write(io.Discard, d); err != nil {
			b.Fatal(err)
		}
	}
}

// The columns of a host add up to the time that it took.
func TestSlowestAddUp(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	hosts := []Host{
		{Label: "gap", Class: OK, From: 10 * ms, To: 585 * ms, Connect: 366 * ms, Run: 18 * ms},
		{Label: "retried", Class: Failed, To: 300 * ms, Connect: 100 * ms},
		{Label: "clocks differ", Class: OK, To: 50 * ms, Connect: 80 * ms, Run: 80 * ms},
		{Label: "may have run", Class: Unclear, To: 70 * ms, Connect: 20 * ms},
	}
	want := map[string][3]time.Duration{
		"gap": {366 * ms, 191 * ms, 18 * ms}, "retried": {100 * ms, 200 * ms, 0}, "clocks differ": {50 * ms, 0, 0}, "may have run": {20 * ms, 0, 50 * ms},
	}
	for _, s := range slowestOf(hosts, time.Second) {
		if got := [3]time.Duration{s.Linked, s.Waited, s.Ran}; got != want[s.Label] || s.Linked+s.Waited+s.Ran != s.Took {
			t.Errorf("%s: %v of %v, want %v", s.Label, got, s.Took, want[s.Label])
		}
	}
}
