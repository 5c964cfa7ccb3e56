package scp

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// sent is one record with its content, as it was sent or received.
type sent struct {
	record  Record
	content string
}

// anything returns a random sequence of records: files and complete directories.
func anything(t *rapid.T) []sent {
	name := rapid.StringOfN(rapid.Rune(), 1, 30, 200).Filter(func(s string) bool { return checkName(s) == nil })
	var all []sent
	depth := 0
	for range rapid.IntRange(0, 12).Draw(t, "records") {
		r := Record{
			Kind: Kind(rapid.IntRange(0, 2).Draw(t, "kind")),
			Name: name.Draw(t, "name"),
			Mode: fileMode(rapid.Uint32Range(0, 0o7777).Draw(t, "mode")),
		}
		if rapid.Bool().Draw(t, "timed") {
			r.ModTime = time.UnixMicro(rapid.Int64Range(0, maxTime*1_000_000).Draw(t, "changed"))
			r.AccessTime = time.UnixMicro(rapid.Int64Range(0, maxTime*1_000_000).Draw(t, "read"))
		}
		switch r.Kind {
		case Dir:
			depth++
			all = append(all, sent{record: r})
		case EndDir:
			if depth > 0 {
				depth--
				all = append(all, sent{record: Record{Kind: EndDir}})
			}
		case File:
			content := rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "content")
			if rapid.IntRange(0, 9).Draw(t, "long") == 0 {
				content = bytes.Repeat(append(content, 1), 3*chunk/2/(len(content)+1)+1)
			}
			r.Size = int64(len(content))
			all = append(all, sent{r, string(content)})
		}
	}
	for range depth {
		all = append(all, sent{record: Record{Kind: EndDir}})
	}
	return all
}

// TestRoundTrip sends random records over unbuffered pipes, where each side waits for the other.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := anything(t)
		here, there := net.Pipe()
		defer here.Close()
		defer there.Close()
		var sending sync.WaitGroup
		defer sending.Wait()
		var sendErr error
		sending.Go(func() {
			defer here.Close()
			sendErr = send(NewSource(here, here), want)
		})
		got, err := receive(NewSink(there, there))
		there.Close()
		sending.Wait()
		if err != nil || sendErr != nil {
			t.Fatalf("received with %v, sent with %v", err, sendErr)
		}
		if len(got) != len(want) {
			t.Fatalf("%d records arrived, want %d", len(got), len(want))
		}
		for i := range want {
			if !got[i].record.ModTime.Equal(want[i].record.ModTime) || !got[i].record.AccessTime.Equal(want[i].record.AccessTime) {
				t.Errorf("times of record %d: %+v, want %+v", i, got[i].record, want[i].record)
			}
			got[i].record.ModTime, got[i].record.AccessTime = want[i].record.ModTime, want[i].record.AccessTime
			if got[i] != want[i] {
				t.Errorf("record %d: %.200v, want %.200v", i, got[i], want[i])
			}
		}
	})
}

func send(s *Source, all []sent) error {
	// The sink sends the first status, even if there is nothing to receive.
	err := s.start()
	for _, one := range all {
		if err != nil {
			return err
		}
		switch one.record.Kind {
		case File:
			err = s.File(one.record, bytes.NewReader([]byte(one.content)))
		case Dir:
			err = s.Dir(one.record)
		case EndDir:
			err = s.EndDir()
		}
	}
	return err
}

func receive(s *Sink) ([]sent, error) {
	var all []sent
	for {
		r, err := s.Next()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return all, err
		}
		var content bytes.Buffer
		if r.Kind == File {
			if _, err := io.Copy(&content, s); err != nil {
				return all, err
			}
		}
		all = append(all, sent{r, content.String()})
	}
}
