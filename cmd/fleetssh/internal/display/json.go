package display

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// jsonDisplay shows one JSON object per line.
type jsonDisplay struct {
	View
	buf   []byte
	heads [][]byte // the constant part of the line objects, by host

	stamped time.Time // the time in stamp
	stamp   []byte
}

// NewJSON returns a display that shows one JSON object per line. It shows the first one at once.
func NewJSON(v View) Display {
	d := &jsonDisplay{View: v, heads: make([][]byte, len(v.Summary.Hosts))}
	for i, h := range v.Summary.Hosts {
		head := appendJSONString([]byte(`,"host":`), h.Name)
		d.heads[i] = strconv.AppendInt(append(head, `,"index":`...), int64(i), 10)
	}
	d.put(jsonStart{Type: "start", Time: v.Summary.Begun, Run: runID(v.Summary.Begun), Command: v.Command, Hosts: len(v.Summary.Hosts)})
	return d
}

// jsonStart is the first object.
type jsonStart struct {
	Type    string    `json:"type"`
	Time    time.Time `json:"time"`
	Run     string    `json:"run"`
	Command string    `json:"command"`
	Hosts   int       `json:"hosts"`
}

// Show shows a line. There may be millions, so it does not use encoding/json.
func (d *jsonDisplay) Show(ev fleetssh.Event) {
	if ev.Kind != fleetssh.StdoutLine && ev.Kind != fleetssh.StderrLine {
		return
	}
	if ev.Err != nil && OutputLost(ev.Err) {
		return // the result says that output was truncated
	}
	if !ev.Time.Equal(d.stamped) || d.stamp == nil {
		d.stamped = ev.Time
		d.stamp = ev.Time.AppendFormat(d.stamp[:0], time.RFC3339Nano)
	}
	b := append(d.buf[:0], `{"type":"`...)
	b = append(b, ev.Kind.String()...)
	b = append(append(b, `","time":"`...), d.stamp...)
	b = append(append(b, '"'), d.heads[ev.Index]...)
	if ev.Err == nil && utf8.ValidString(ev.Text) {
		b = appendJSONString(append(b, `,"line":`...), ev.Text)
	} else {
		b = append(b, `,"data":"`...)
		b = base64.StdEncoding.AppendEncode(b, []byte(ev.Text))
		b = append(b, '"')
	}
	if ev.Partial {
		b = append(b, `,"partial":true`...)
	}
	d.buf = append(b, "}\n"...)
	d.Screen.Print(d.buf)
}

func (d *jsonDisplay) Finished(r *results.Result) { d.put(d.Summary.JSONResult(r)) }

func (d *jsonDisplay) Close() { d.put(d.Summary.JSONSummary()) }

func (d *jsonDisplay) put(object any) { PutJSON(d.Screen, object) }

// PutJSON shows an object on a line of its own.
func PutJSON(screen *termline.Screen, object any) {
	var text strings.Builder
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(object); err != nil {
		panic(err) // all our objects can be encoded
	}
	// The encoder does not escape C1 controls and the like. They occur only in strings, so they can
	// be escaped in the whole text.
	line := make([]byte, 0, text.Len())
	for _, r := range strings.TrimSuffix(text.String(), "\n") {
		line = appendJSONRune(line, r)
	}
	screen.Print(append(line, '\n'))
}

// appendJSONString appends text, which must be valid UTF-8, as a JSON string. It escapes characters
// that a terminal may act on.
func appendJSONString(dst []byte, text string) []byte {
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(text); {
		b := text[i]
		if ' ' <= b && b < 0x7f && b != '"' && b != '\\' {
			i++
			continue
		}
		r, size := rune(b), 1
		if b >= utf8.RuneSelf {
			r, size = utf8.DecodeRuneInString(text[i:])
			if !termline.ControlsTerminal(r) {
				i += size
				continue
			}
		}
		dst = append(dst, text[from:i]...)
		switch r {
		case '"', '\\':
			dst = append(dst, '\\', b)
		case '\t':
			dst = append(dst, '\\', 't')
		case '\r':
			dst = append(dst, '\\', 'r')
		default:
			dst = appendJSONRune(dst, r)
		}
		i += size
		from = i
	}
	dst = append(dst, text[from:]...)
	return append(dst, '"')
}

// appendJSONRune appends r, escaped if a terminal may act on it.
func appendJSONRune(dst []byte, r rune) []byte {
	if !termline.ControlsTerminal(r) {
		return utf8.AppendRune(dst, r)
	}
	const hex = "0123456789abcdef"
	return append(dst, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
}

// runID returns the ID of a run, which is its time.
func runID(t time.Time) string { return t.UTC().Format("20060102T150405.000000Z") }
