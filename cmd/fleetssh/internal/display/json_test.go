package display

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// showLine shows an event of the second of two hosts, and returns the JSON object and its line.
func showLine(t *testing.T, ev fleetssh.Event) (map[string]any, string) {
	t.Helper()
	var out bytes.Buffer
	screen := termline.New(&out, io.Discard)
	hosts := []selection.Host{{Name: "a"}, {Name: "b\"\u202e"}}
	d := NewJSON(View{Screen: screen, Summary: results.New(hosts)})
	ev.Index, ev.Time = 1, time.Date(2030, 1, 2, 3, 4, 5, 6_000_000, time.UTC)
	d.Show(ev)
	screen.Close()
	_, line, _ := strings.Cut(out.String(), "\n")
	object := make(map[string]any)
	if line != "" {
		if err := json.Unmarshal([]byte(line), &object); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
	}
	return object, line
}

func TestJSONLines(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "plain", `q"b\`, "tab\tcr\rnul\x00bell\a", "é 語 😀", "\u202e\u0085\x7f<&>", "\u2028"} {
		object, line := showLine(t, fleetssh.Event{Kind: fleetssh.StdoutLine, Text: text})
		if object["line"] != text || object["type"] != "stdout" || object["host"] != "b\"\u202e" || object["index"] != 1.0 ||
			object["time"] != "2030-01-02T03:04:05.006Z" || len(object) != 5 {
			t.Errorf("%q is shown as %s", text, line)
		}
		for _, r := range strings.TrimSuffix(line, "\n") {
			if termline.ControlsTerminal(r) {
				t.Errorf("%q is shown with %q", text, r)
			}
		}
	}
}

func TestJSONLineThatIsNotText(t *testing.T) {
	t.Parallel()
	for _, ev := range []fleetssh.Event{
		{Kind: fleetssh.StderrLine, Text: "a\xffb"},
		{Kind: fleetssh.StderrLine, Text: "a\xffb", Err: &fleetssh.DecodeError{Encoding: "UTF-8"}},
		{Kind: fleetssh.StderrLine, Text: "valid UTF-8, but not valid Shift_JIS", Err: &fleetssh.DecodeError{Encoding: "Shift_JIS"}, Partial: true},
	} {
		object, line := showLine(t, ev)
		_, hasLine := object["line"]
		data, err := base64.StdEncoding.DecodeString(object["data"].(string))
		if hasLine || err != nil || string(data) != ev.Text || object["type"] != "stderr" || (object["partial"] == true) != ev.Partial {
			t.Errorf("%q is shown as %s", ev.Text, line)
		}
	}
	if _, line := showLine(t, fleetssh.Event{Kind: fleetssh.StdoutLine, Err: errors.New("disk full")}); line != "" {
		t.Errorf("lost output is shown as %s", line)
	}
}

func FuzzAppendJSONString(f *testing.F) {
	f.Add("a\"\\\x00\u202e")
	f.Fuzz(func(t *testing.T, text string) {
		text = strings.ToValidUTF8(text, "?")
		var got string
		if err := json.Unmarshal(appendJSONString(nil, text), &got); err != nil || got != text {
			t.Fatalf("%q becomes %q, %v", text, got, err)
		}
	})
}

func benchmarkShow(b *testing.B, format string) {
	screen := termline.New(io.Discard, io.Discard)
	d := formats[format](View{Screen: screen, Summary: results.New([]selection.Host{{Name: "web1", Label: "web1"}}), Label: true})
	ev := fleetssh.Event{Kind: fleetssh.StdoutLine, Text: "y", Time: time.Now()}
	b.ReportAllocs()
	for b.Loop() {
		d.Show(ev)
	}
}

func BenchmarkShowStream(b *testing.B) { benchmarkShow(b, "stream") }
func BenchmarkShowJSON(b *testing.B)   { benchmarkShow(b, "json") }
