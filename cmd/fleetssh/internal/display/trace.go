package display

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/spf13/pflag"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// TraceHelp is the help text of --trace for verbs in which -v is free.
const TraceHelp = `  -v, --trace               show how each login goes, as ssh -v does: what is
                            offered, what the host says, and when
`

// RegisterTrace adds --trace to a verb that contacts hosts. short is its letter; empty: it has none.
func RegisterTrace(flags *pflag.FlagSet, short string) { flags.BoolP("trace", short, false, "") }

// StartTrace makes warnings show the trace if the flags of a verb ask for it.
func StartTrace(screen *termline.Screen, warnings *Warnings, flags *pflag.FlagSet) {
	if trace := flags.Lookup("trace"); trace != nil && trace.Value.String() == "true" {
		warnings.Trace = &Trace{Screen: screen}
	}
}

// Trace shows what happens while hosts are connected to, as ssh -v does: the records that the library
// logs at the debug level, and how long after the first one of their host they came.
type Trace struct {
	Screen *termline.Screen

	mu    sync.Mutex           // protects begun
	begun map[string]time.Time // by host
}

// Show shows a record. A long list in it has a line of its own, and a list of phrases one for each.
func (t *Trace) Show(r *slog.Record) {
	host, text, style := "", r.Message, termline.Plain
	var lists []string
	r.Attrs(func(a slog.Attr) bool {
		name := strings.ReplaceAll(a.Key, "_", " ")
		switch v := a.Value.Any().(type) {
		case fleetssh.HostConfig:
			host = shownName(&v)
		case []string:
			switch {
			case len(v) == 0:
			case strings.Contains(v[0], " "):
				lists = append(lists, v...)
			case len(v) == 1:
				text += ", " + name + " " + v[0]
			default:
				lists = append(lists, name+": "+strings.Join(v, ", "))
			}
		case time.Duration:
			text += fmt.Sprintf(", %s %s", name, results.ShortDuration(v))
		case error:
			text, style = text+": "+v.Error(), termline.Failure
		default:
			text += fmt.Sprintf(", %s %v", name, v)
		}
		return true
	})
	lines := strings.Split(text, "\n") // a banner has several
	for i, line := range append(lines, lists...) {
		if i > 0 {
			line = "  " + line
		}
		t.Screen.Styled(
			termline.Span{Style: termline.Label, Text: host}, termline.Span{Text: ": "},
			termline.Span{Style: termline.Faint, Text: fmt.Sprintf("%7s ", results.ShortDuration(t.after(host, r.Time)))},
			termline.Span{Style: style, Text: line})
	}
}

// after returns how long after the first record of a host a record came.
func (t *Trace) after(host string, at time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	begun, known := t.begun[host]
	if !known {
		if t.begun == nil {
			t.begun = make(map[string]time.Time)
		}
		begun, t.begun[host] = at, at
	}
	return at.Sub(begun)
}
