package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/display"
	"fleetssh/cmd/fleetssh/internal/journal"
	"fleetssh/cmd/fleetssh/internal/results"
)

// runner runs a command on hosts, batch after batch, and shows it.
type runner struct {
	course
	o       *runOptions
	command fleetssh.Command
	title   string          // the command as the user gave it
	instead journal.Instead // what is run instead of a command line
	script  *localScript    // nil: none
	stdin   io.Reader       // for all hosts; nil: none
	show    display.Display
}

// run runs the command on all hosts.
func (r *runner) run(ctx context.Context, sizes []int) error {
	work, end, err := r.course.begin(ctx, r.o.hosts.Fanout)
	if err != nil {
		return err
	}
	defer end()
	r.o.hosts.Protect(r.c.env(), r.client)
	defer boundMemory(memoryBase, r.o.hosts.Fanout)()
	again, err := r.rewindable(len(sizes))
	if err != nil {
		return err
	}
	defer again.close()
	r.tally.SudoMute = (r.command.Sudo || r.command.User != "") && r.command.SudoPassword == nil
	endDisplay := func() {}
	defer func() { endDisplay() }()
	err = r.batches(work, sizes, func(size int) error {
		events, err := r.start(work, again, size)
		if err != nil {
			return err
		}
		if r.show == nil {
			r.o.record.Simulated = r.c.place != nil
			r.record = r.o.record.Begin(r.c.screen, r.tally, journal.Start{Command: r.title, Instead: r.instead})
			r.show, endDisplay = r.o.show.Display(display.View{Screen: r.c.screen, Tally: r.tally, Command: r.title, Keep: r.record.Over})
		}
		for ev := range events {
			ev.Host += r.from
			if ev.Kind == fleetssh.Finished {
				r.show.Finished(r.tally.Add(ev))
				continue
			}
			r.show.Show(ev)
		}
		return nil
	}, func(left *results.Result) { r.show.Finished(left) })
	if err != nil {
		return err
	}
	return r.finish(ctx, work, r.show.Close)
}

// start starts the command on a batch.
func (r *runner) start(ctx context.Context, again *rewinder, size int) (func(func(fleetssh.Event) bool), error) {
	command := r.command
	if command.HostArgs != nil {
		command.HostArgs = command.HostArgs[r.from : r.from+size]
	}
	in, err := again.reader()
	if err != nil {
		return nil, err
	}
	command.Stdin = in
	events, err := r.client.Stream(ctx, command)
	return events, hostFault(err, r.hosts[r.from:r.from+size])
}

// rewinder gives every batch the same standard input.
type rewinder struct {
	in   io.Reader // for the only batch
	file *os.File  // for several
}

// rewindable returns the standard input for so many batches. With more than one,
// it is copied to a file first.
func (r *runner) rewindable(batches int) (*rewinder, error) {
	if r.stdin == nil || batches == 1 {
		return &rewinder{in: r.stdin}, nil
	}
	file, err := os.CreateTemp("", "fleetssh-stdin-")
	if err != nil {
		return nil, fmt.Errorf("standard input: %w", err)
	}
	again := &rewinder{file: file}
	if _, err := io.Copy(file, r.stdin); err != nil {
		again.close()
		return nil, fmt.Errorf("standard input: %w", err)
	}
	return again, nil
}

// reader returns the input from its beginning, nil if there is none.
func (w *rewinder) reader() (io.Reader, error) {
	if w.file == nil {
		return w.in, nil
	}
	info, err := w.file.Stat()
	if err != nil {
		return nil, fmt.Errorf("standard input: %w", err)
	}
	return io.NewSectionReader(w.file, 0, info.Size()), nil
}

func (w *rewinder) close() {
	if w.file != nil {
		w.file.Close()
		_ = os.Remove(w.file.Name()) // a leftover, at worst
	}
}
