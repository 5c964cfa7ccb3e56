package termline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// questions is how many questions the program asks, one after the other.
const questions = 300

// TestMain is also the main function of the processes that these tests start on a terminal, since a
// test itself has no terminal.
func TestMain(m *testing.M) {
	switch os.Getenv("TERMLINE_TEST") {
	case "":
		os.Exit(m.Run())
	case "enter": // asks questions while it waits for Enter
		s := New(os.Stdout, os.Stderr)
		for i := range questions {
			stop := s.OnEnter(os.Stdin, func() { s.Message("entered") })
			answer, err := s.Ask(context.Background(), fmt.Sprintf("question %d: ", i), false)
			stop()
			fmt.Printf("answer %q %v\n", answer, err)
		}
	case "give up": // asks, cancels the question, and asks another
		s := New(os.Stdout, os.Stderr)
		ctx, cancel := context.WithCancelCause(context.Background())
		time.AfterFunc(50*time.Millisecond, func() { cancel(errors.New("given up")) })
		_, err := s.Ask(ctx, "first: ", false)
		fmt.Println(err)
		answer, err := s.Ask(context.Background(), "second: ", true)
		fmt.Printf("answer %q %v\n", answer, err)
	case "keys": // reads single keys, as a pager does
		s := New(os.Stdout, os.Stderr)
		if _, err := term.MakeRaw(int(os.Stdin.Fd())); err != nil {
			panic(err)
		}
		stop := s.OnEnter(os.Stdin, func() { s.Message("entered") })
		fmt.Println("ready")
		for key := make([]byte, 1); key[0] != 'q'; {
			time.Sleep(time.Millisecond) // gives OnEnter the chance to take the key first
			if _, err := os.Stdin.Read(key); err != nil {
				panic(err)
			}
			fmt.Printf("key %q\n", key)
		}
		stop()
	case "once":
		answer, err := New(os.Stdout, os.Stderr).Ask(context.Background(), "question: ", false)
		fmt.Printf("answer %q %v\n", answer, err)
	}
}

// dialogue is a process of this program on a terminal.
type dialogue struct {
	t     *testing.T
	typed *os.File
	shown <-chan string // closed at the end of the output
	rest  string        // output after the text that until found
}

// onTerminal starts a process of this program with a task. before is typed first.
func onTerminal(t *testing.T, task, before string) *dialogue {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(master, before); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "TERMLINE_TEST="+task)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	slave.Close()
	pieces := make(chan string)
	go func() {
		defer close(pieces)
		for b := make([]byte, 4096); ; {
			n, err := master.Read(b)
			select {
			case pieces <- string(b[:n]):
			case <-t.Context().Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		master.Close()
	})
	return &dialogue{t: t, typed: master, shown: pieces}
}

// until waits for a text, and returns what is shown up to its end.
func (d *dialogue) until(want string) string {
	d.t.Helper()
	for limit := time.After(time.Minute); ; {
		if i := strings.Index(d.rest, want); i >= 0 {
			text := d.rest[:i+len(want)]
			d.rest = d.rest[len(text):]
			return text
		}
		select {
		case piece, ok := <-d.shown:
			if d.rest += piece; !ok {
				d.t.Fatalf("the output ends without %q: %q", want, d.rest)
			}
		case <-limit:
			d.t.Fatalf("%q is not shown within a minute, but %q", want, d.rest)
		}
	}
}

func (d *dialogue) answer(text string) {
	d.t.Helper()
	if _, err := io.WriteString(d.typed, text); err != nil {
		d.t.Fatal(err)
	}
}

// The question gets every answer, however soon it comes; OnEnter gets none.
func TestAskBesideEnter(t *testing.T) {
	t.Parallel()
	d := onTerminal(t, "enter", "")
	for i := range questions {
		question := fmt.Sprintf("question %d: ", i)
		if text := d.until(question); text != question {
			t.Fatalf("question %d: %q", i, text)
		}
		d.answer("secret\n")
		if text := d.until(">\r\n"); text != "\r\nanswer \"secret\" <nil>\r\n" {
			t.Fatalf("question %d: %q", i, text)
		}
	}
}

// OnEnter takes no keys from a pager that reads the same terminal.
func TestEnterBesidePager(t *testing.T) {
	t.Parallel()
	d := onTerminal(t, "keys", "")
	d.until("ready\n")
	for _, key := range []string{"j", "\r", "k", " ", "q"} {
		d.answer(key)
		if text := d.until("\n"); text != fmt.Sprintf("key %q\n", key) {
			t.Fatalf("after %q: %q", key, text)
		}
	}
}

// A cancelled question takes no input from the next one.
func TestAskCancelled(t *testing.T) {
	t.Parallel()
	d := onTerminal(t, "give up", "")
	d.until("given up")
	d.until("second: ")
	d.answer("yes\n")
	d.until(`answer "yes" <nil>`)
}

// The echo is off before the question is shown. To test that, Ctrl-S stops the output first.
func TestAskReadyBeforeShown(t *testing.T) {
	t.Parallel()
	d := onTerminal(t, "once", "\x13")
	for limit := time.Now().Add(time.Minute); ; <-time.After(time.Millisecond) {
		mode, err := unix.IoctlGetTermios(int(d.typed.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		if mode.Lflag&unix.ECHO == 0 {
			break
		}
		if time.Now().After(limit) {
			t.Fatal("the echo is still on while the output is stopped")
		}
	}
	d.answer("\x11")
	d.until("question: ")
	d.answer("answer\n")
	d.until(`answer "answer" <nil>`)
}

func TestReadLine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		typed, want string
		fails       bool
	}{
		{typed: "one\ntwo\n", want: "one"},
		{typed: "\n", want: ""},
		{typed: "from a pipe\r\n", want: "from a pipe"},
		{typed: "ab\bc\n", want: "ac"},
		{typed: "\b\bx\n", want: "x"},
		{typed: "no line end", want: "no line end"},
		{typed: "", fails: true},
		{typed: strings.Repeat("x", maxAnswer) + "\n", want: strings.Repeat("x", maxAnswer)},
		{typed: strings.Repeat("x", maxAnswer+1) + "\n", fails: true},
	} {
		got, err := readLine(bytes.NewBufferString(c.typed))
		if got != c.want || (err != nil) != c.fails {
			t.Errorf("%.20q: %.20q, %v", c.typed, got, err)
		}
	}
}
