//go:build unix

package selection

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestPasswordCommand(t *testing.T) {
	t.Parallel()
	left := filepath.Join(t.TempDir(), "left")
	t.Cleanup(func() {
		text, err := os.ReadFile(left)
		if err != nil {
			t.Fatal(err)
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
	})
	for _, tt := range []struct{ name, line, want, fails string }{
		{"a line", "echo one; echo two", "one", ""},
		{"no line end", "printf one", "one", ""},
		{"a line of DOS", `printf 'one\r\ntwo'`, "one", ""},
		{"spaces", `printf ' one two \n'`, " one two ", ""},
		{"a process that stays", "echo one; sleep 600 & echo $! >" + left, "one", ""}, // it holds the output open
		{"an empty line", "echo; echo one", "", "the first line is empty"},
		{"nothing", "true", "", "the first line is empty"},
		{"a failure", "echo one; exit 9", "", "exit status 9"},
		{"a signal", "kill -TERM $$", "", "signal: terminated"},
		{"a long line", "head -c 5000 /dev/zero | tr '\\0' x", "", "the first line is longer than 4096 bytes"},
		{"a long output", "echo one; exec cat /dev/zero", "", "wrote more than 1048576 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := runPasswordCommand(t.Context(), tt.line, 10*time.Minute)
			if got != tt.want || (err == nil) != (tt.fails == "") || err != nil && !strings.Contains(err.Error(), tt.fails) {
				t.Errorf("%q, %v; want %q, %q", got, err, tt.want, tt.fails)
			}
		})
	}
}

// A program that takes too long is stopped, and so is one when the user interrupts.
func TestPasswordCommandEnds(t *testing.T) {
	t.Parallel()
	if _, err := runPasswordCommand(t.Context(), "exec sleep 600", time.Millisecond); err == nil || !strings.Contains(err.Error(), "longer than 1ms") {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("interrupted")
	time.AfterFunc(time.Millisecond, func() { cancel(why) })
	if _, err := runPasswordCommand(ctx, "exec sleep 600", 10*time.Minute); err != why {
		t.Errorf("%v", err)
	}
}

// A descriptor from which nothing comes does not wait after an interrupt.
func TestPasswordDescriptorEnds(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	defer r.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := firstLineInTime(ctx, r); err != context.Canceled {
		t.Errorf("%v", err)
	}
}

func TestDescriptorOf(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]int{"-": 0, "/dev/stdin": 0, "fd:3": 3, "/dev/fd/63": 63, "fd:": -1, "fd:x": -1, "fd:-1": -1, "secret": -1, "": -1, "/dev/fd/": -1} {
		n, ok := descriptorOf(name)
		if !ok {
			n = -1
		}
		if n != want {
			t.Errorf("%q: %d, want %d", name, n, want)
		}
	}
}
