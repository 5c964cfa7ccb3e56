package journal

import (
	"bytes"
	"encoding/json"
	"os"
	"unicode/utf8"
)

// outputWriter writes the output of the hosts of a run. It creates the file for the first line.
type outputWriter struct {
	path   string
	file   *os.File
	buf    bytes.Buffer
	kept   int   // bytes of all hosts
	byHost []int // of each; -1: the rest of the output was dropped
}

func newOutputWriter(path string, hosts int) *outputWriter {
	return &outputWriter{path: path, byHost: make([]int, hosts)}
}

// outputBuffer is how many bytes of output are buffered.
const outputBuffer = 32 << 10

// Line is a line that a host wrote.
type Line struct {
	Index   int // of the host
	Stream  string
	Text    string // without its newline
	Partial bool   // the next line of the stream continues it
}

// outputLine is a line of the file. Data replaces Line if that is not valid UTF-8.
type outputLine struct {
	Type    string `json:"type"`
	Index   int    `json:"index"`
	Line    string `json:"line,omitempty"`
	Data    []byte `json:"data,omitempty"`
	Partial bool   `json:"partial,omitempty"`
}

// writeLine writes a line, in pieces if it is long.
func (o *outputWriter) writeLine(i int, stream, text string, partial bool) error {
	for {
		piece := text[:min(len(text), maxPiece)]
		text = text[len(piece):]
		if err := o.writePiece(i, Line{i, stream, piece, partial || text != ""}); err != nil {
			return err
		}
		if text == "" {
			return nil
		}
	}
}

func (o *outputWriter) writePiece(i int, line Line) error {
	size := len(line.Text) + 1
	if o.byHost[i] < 0 || o.byHost[i]+size > maxHostOutput || o.kept+size > maxOutput {
		o.byHost[i] = -1
		return nil
	}
	o.byHost[i] += size
	o.kept += size
	l := outputLine{Type: line.Stream, Index: i, Partial: line.Partial}
	if utf8.ValidString(line.Text) {
		l.Line = line.Text
	} else {
		l.Data = []byte(line.Text)
	}
	encoder := json.NewEncoder(&o.buf)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(l); err != nil {
		return err
	}
	if o.buf.Len() < outputBuffer {
		return nil
	}
	return o.flush()
}

// dropped reports whether output of host number i was not recorded.
func (o *outputWriter) dropped(i int) bool { return o.byHost[i] < 0 }

// flush writes the buffer to the file.
func (o *outputWriter) flush() error {
	if o.buf.Len() == 0 {
		return nil
	}
	if o.file == nil {
		file, err := os.OpenFile(o.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		o.file = file
	}
	_, err := o.file.Write(o.buf.Bytes())
	o.buf.Reset()
	return err
}

// close writes the buffer, as far as it can, and closes the file.
func (o *outputWriter) close() {
	if o.flush() != nil || o.file == nil {
		o.buf.Reset()
	}
	if o.file != nil {
		o.file.Close()
	}
	o.file = nil
}
