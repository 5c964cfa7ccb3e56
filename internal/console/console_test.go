package console

import (
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// recorder records events in a short form: "1o:text" is output of line 1 on stdout.
type recorder struct {
	shell  *Shell
	events []string
	sent   []string
}

func newRecorder() *recorder {
	r := new(recorder)
	r.shell = New(func(text string) { r.sent = append(r.sent, text) }, func(e Event) {
		stream := "oe"[e.Stream : e.Stream+1]
		var what string
		switch e.Kind {
		case Output:
			what = fmt.Sprintf("%d%s:%s", e.Line, stream, e.Data)
		case Ready:
			what = "ready"
		case Started:
			what = fmt.Sprintf("%d started", e.Line)
		case StreamEnded:
			what = fmt.Sprintf("%d%s ended", e.Line, stream)
		case Ended:
			what = fmt.Sprintf("%d ended:%d", e.Line, e.Status)
		case Settled:
			what = "settled"
		}
		r.events = append(r.events, what)
	})
	return r
}

// says feeds a text in which M stands for the sentinel.
func (r *recorder) says(stream Stream, text string) {
	r.shell.Feed(stream, []byte(strings.ReplaceAll(text, "M", r.shell.sentinel.String())))
}

// expect compares the events since the last call.
func (r *recorder) expect(t *testing.T, want ...string) {
	t.Helper()
	if got, want := strings.Join(r.events, ", "), strings.Join(want, ", "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	r.events = nil
}

func TestShell(t *testing.T) {
	t.Parallel()
	r := newRecorder()
	r.says(Stdout, "welcome\nM=0:4711>")
	r.says(Stderr, "M=0:4711>M<0:0:0>")
	r.expect(t, "0o:welcome\n", "ready")
	if r.shell.Process() != 4711 {
		t.Errorf("the process ID is %d", r.shell.Process())
	}
	if number, _ := r.shell.Line("true", "/dev/null"); number != 1 {
		t.Errorf("the number of the line is %d", number)
	}
	r.says(Stderr, "M(1>err")
	r.says(Stdout, "out\nM=1:3>late")
	r.says(Stderr, "M=1:3>M<1:1:3>")
	r.expect(t, "1 started", "1e:err", "1o:out\n", "1o ended", "2o:late", "1e ended", "1 ended:3")
	if _, tell := r.shell.Line("echo $?", "/dev/null"); !strings.Contains(tell, "sh -c 'exit 3' || eval ") {
		t.Errorf("the line does not find the exit code of the one before: %s", tell)
	}
}

// The end of an interrupted line is sent to the shell again. The shell has settled when it has
// shown two prompts.
func TestShellInterrupted(t *testing.T) {
	t.Parallel()
	r := newRecorder()
	r.says(Stdout, "M=0:1>")
	r.says(Stderr, "M=0:1>")
	r.shell.Line("sleep 9", "/dev/null")
	r.says(Stderr, "M(1>")
	if r.shell.Settle() {
		t.Error("an interrupt is under way that was not sent")
	}
	r.shell.Interrupting()
	r.says(Stderr, "\nM<1:0:130>")
	if len(r.sent) != 1 || !strings.Contains(r.sent[0], "fleetssh_s=130;") {
		t.Fatalf("the shell is told %q", r.sent)
	}
	r.says(Stdout, "M=1:130>")
	r.says(Stderr, "M=1:130>M<1:1:0>")
	r.expect(t, "ready", "1 started", "1o ended", "1e ended", "1 ended:130")
	if !r.shell.Settle() {
		t.Error("no interrupt is under way")
	}
	r.says(Stderr, "M<1:1:0>")
	r.expect(t, "settled")
	if r.shell.Settle() {
		t.Error("the interrupt is under way for ever")
	}
}

// FuzzShell checks that no line ends twice or before it has been sent, whatever a host writes.
func FuzzShell(f *testing.F) {
	f.Add("M=0:1>", "M=0:1>M<0:0:0>M(1>M<1:0:130>M=1:130>M<1:1:0>", 1)
	f.Add("M=0:1>aM=1:0>b", "M=1:0>M=0:1>M=1:0>M=2:0>", 3)
	f.Fuzz(func(t *testing.T, out, err string, size int) {
		ended := uint64(0)
		var number uint64
		s := New(func(string) {}, func(e Event) {
			switch {
			case e.Kind == Ended && (e.Line != ended+1 || e.Line != number):
				t.Fatalf("line %d ends, %d was the last to end and %d to begin", e.Line, ended, number)
			case e.Kind == Ended:
				ended++
			case e.Kind == Output && e.Line > number+1:
				t.Fatalf("line %d has output, and %d runs", e.Line, number)
			}
		})
		size = max(1, min(size, 100))
		rest := [2]string{strings.ReplaceAll(out, "M", s.sentinel.String()), strings.ReplaceAll(err, "M", s.sentinel.String())}
		for i := 0; rest[0]+rest[1] != ""; i++ {
			stream := Stream(i % 2)
			piece := rest[stream][:min(size, len(rest[stream]))]
			rest[stream] = rest[stream][len(piece):]
			s.Feed(stream, []byte(piece))
			switch {
			case i%5 == 0 && ended == number && s.current != [2]uint64{}:
				number, _ = s.Line("x", "/dev/null")
			case i%7 == 0 && ended < number:
				s.Interrupting()
			case i%11 == 0:
				s.Settle()
			}
		}
		s.Close(Stdout)
		s.Close(Stderr)
	})
}

// Real shells understand the programs, and write the reports.
func TestRealShells(t *testing.T) {
	t.Parallel()
	for _, words := range [][]string{{"sh", "-i"}, {"bash", "--norc", "--noprofile", "--noediting", "-i"}, {"zsh", "-f", "-i"}, {"busybox", "sh", "-i"}, {"dash", "-i"}} {
		t.Run(words[0], func(t *testing.T) {
			t.Parallel()
			path, err := exec.LookPath(words[0])
			if err != nil {
				t.Fatalf("%v: run .ci/prepare", err)
			}
			cmd := exec.Command(path, words[1:]...)
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			tell := func(text string) {
				if _, err := io.WriteString(in, text); err != nil {
					t.Error(err)
				}
			}
			var mu sync.Mutex      // protects shell and said
			var said [16][2]string // by line and stream
			ended := make(chan Event, 8)
			shell := New(tell, func(e Event) {
				switch e.Kind {
				case Output:
					said[e.Line][e.Stream] += string(e.Data)
				case Ready, Ended:
					ended <- e
				}
			})
			cmd.Stdout, cmd.Stderr = &fed{&mu, shell, Stdout}, &fed{&mu, shell, Stderr}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer cmd.Wait()
			defer in.Close()
			next := func() Event {
				select {
				case e := <-ended:
					return e
				case <-time.After(time.Minute):
					mu.Lock()
					defer mu.Unlock()
					t.Fatalf("no event; the shell wrote %q", said)
				}
				return Event{}
			}
			tell(shell.SetUp())
			next()
			for _, test := range []struct {
				text, said string
				status     int
			}{
				{"echo 'it'\\''s' a; echo b >&2; x=1", "it's a\nb\n", 0},
				{"echo $x; (exit 3)", "1\n", 3},
				{"echo $?", "3\n", 0},
				{"cat <<X\nhere\nX\nread y || echo end", "here\nend\n", 0},
				{"exec 2>/dev/null >/dev/null; echo gone", "", 0},
				{"echo -n last", "last", 0},
			} {
				mu.Lock()
				number, text := shell.Line(test.text, "/dev/null")
				mu.Unlock()
				tell(text)
				e := next()
				mu.Lock()
				got := said[number][Stdout] + said[number][Stderr]
				mu.Unlock()
				if e.Line != number || e.Status != test.status || got != test.said {
					t.Errorf("%q: %+v, and %q", test.text, e, got)
				}
			}
		})
	}
}

// fed feeds a shell with the bytes written.
type fed struct {
	mu     *sync.Mutex
	shell  *Shell
	stream Stream
}

func (f *fed) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.shell.Feed(f.stream, p)
	return len(p), nil
}
