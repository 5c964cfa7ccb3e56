package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Writer writes the record of one run. It is safe for concurrent use.
//
// The first line that cannot be written ends the record; from then on every method returns that
// error. The lines written before stay, and the file is marked as incomplete.
type Writer struct {
	id  string
	dir string

	mu        sync.Mutex // protects what follows
	file      *os.File   // nil once closed
	buf       bytes.Buffer
	failed    error // why the record ended early
	output    *outputWriter
	outputErr error // why output is no longer recorded
}

// Create creates the record of a run in a directory, creating that if necessary, and prunes the
// oldest runs. Only the owner can read what it creates. When it returns, the record names all
// hosts.
func Create(dir string, start Start) (*Writer, error) {
	if len(start.Hosts) > maxHosts {
		return nil, fmt.Errorf("record of the run: more than %d hosts", maxHosts)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("record of the run: %w", err)
	}
	w := &Writer{dir: dir}
	if err := w.open(start.Time); err != nil {
		return nil, fmt.Errorf("record of the run: %w", err)
	}
	if err := w.writeHeader(start); err != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.file.Close()
		_ = os.Remove(w.path(partialSuffix)) // which put has made of it
		return nil, err
	}
	w.output = newOutputWriter(w.path(outputSuffix), len(start.Hosts))
	prune(dir, w.id, maxRuns, maxBytes)
	return w, nil
}

// open creates a file with a name of its own, and locks it.
func (w *Writer) open(t time.Time) error {
	for {
		w.id = newID(t)
		file, err := os.OpenFile(w.path(journalSuffix), os.O_WRONLY|os.O_APPEND|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, os.ErrExist) {
			continue
		}
		if err != nil {
			return err
		}
		// Readers hold the lock only for a moment, to find out whether it is free.
		if err := lock(file); err != nil {
			file.Close()
			_ = os.Remove(file.Name()) // it is empty
			return fmt.Errorf("lock %s: %w", file.Name(), err)
		}
		w.file = file
		return nil
	}
}

// writeHeader writes the description and the hosts of the run.
func (w *Writer) writeHeader(start Start) error {
	err := w.writeLine(startLine{
		head: head{"start", start.Time}, Version: 1, Run: w.id, Boot: bootID(),
		Command: start.Command, Args: start.Args, Hosts: len(start.Hosts), Program: start.Program, Verb: start.Verb, Words: start.Words,
		Settings: start.Settings,
	})
	for first := 0; err == nil && first < len(start.Hosts); first += hostsPerLine {
		part := start.Hosts[first:min(first+hostsPerLine, len(start.Hosts))]
		err = w.writeLine(hostsLine{head: head{"hosts", start.Time}, First: first, List: part})
	}
	return err
}

// ID returns the name of the run.
func (w *Writer) ID() string { return w.id }

func (w *Writer) path(suffix string) string { return filepath.Join(w.dir, w.id+suffix) }

// HostStarted records that the command is about to be sent to host number i. It must return before
// the command is sent.
func (w *Writer) HostStarted(i int) error {
	return w.writeLine(beginLine{head{"begin", time.Now()}, i})
}

// Output records a line that host number i wrote to "stdout" or "stderr". partial says that the
// next line continues it. Output beyond the limits is dropped, and the result of the host says
// so. If the process is killed, up to 32 KiB are lost, but no output of hosts that have ended.
func (w *Writer) Output(i int, stream, text string, partial bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.file == nil || w.outputErr != nil {
		return w.outputErr
	}
	if err := w.output.writeLine(i, stream, text, partial); err != nil {
		w.stopOutput(err)
	}
	return w.outputErr
}

// stopOutput ends the recording of output. The record itself continues.
func (w *Writer) stopOutput(err error) {
	w.outputErr = fmt.Errorf("record of the output: %w", reason(err))
	w.output.close()
}

// HostFinished records the result of host number i.
func (w *Writer) HostFinished(i int, r Result) error {
	if r.Error != nil {
		e := *r.Error
		e.Message, e.Reason, e.Hint = truncated(e.Message, maxText), truncated(e.Reason, maxText), truncated(e.Hint, maxText)
		e.Detail = nil
		for _, text := range r.Error.Detail[:min(len(r.Error.Detail), 20)] {
			e.Detail = append(e.Detail, truncated(text, maxText))
		}
		r.Error = &e
	}
	w.mu.Lock()
	if w.file != nil && w.outputErr == nil {
		if err := w.output.flush(); err != nil {
			w.stopOutput(err)
		}
	}
	r.Cut = r.Cut || w.output.dropped(i) || w.outputErr != nil
	w.mu.Unlock()
	return w.writeLine(resultLine{head{"result", time.Now()}, i, r})
}

// Block records which hosts, in order, share a block of folded output. Blocks are numbered from 1.
func (w *Writer) Block(number int, hosts []int) error {
	for ranges := Ranges(hosts); len(ranges) > 0; {
		part := ranges[:min(len(ranges), rangesPerLine)]
		ranges = ranges[len(part):]
		if err := w.writeLine(blockLine{head{"block", time.Now()}, number, part}); err != nil {
			return err
		}
	}
	return nil
}

// Close writes the summary and closes the record. Further calls do nothing.
func (w *Writer) Close(s Summary) error {
	err := w.writeLine(summaryLine{head{"summary", time.Now()}, s})
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.file == nil {
		return nil
	}
	w.output.close()
	if closing := w.file.Close(); err == nil && closing != nil {
		err = fmt.Errorf("record of the run: %w", reason(closing))
	}
	w.file = nil
	return err
}

// writeLine writes a line.
func (w *Writer) writeLine(line any) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed != nil || w.file == nil {
		return w.failed
	}
	w.buf.Reset()
	encoder := json.NewEncoder(&w.buf)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(line)
	if err == nil {
		_, err = w.file.Write(w.buf.Bytes())
	}
	if err != nil {
		w.failed = fmt.Errorf("record of the run: %w", reason(err))
		w.markPartial()
	}
	return w.failed
}

// markPartial marks the record as incomplete. It renames the file, which works on a full disk.
func (w *Writer) markPartial() {
	if os.Rename(w.path(journalSuffix), w.path(partialSuffix)) != nil {
		_ = os.Remove(w.path(journalSuffix)) // no record is better than a wrong one
	}
}
