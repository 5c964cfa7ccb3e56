package fullscreen

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/charmbracelet/x/vt"
	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/cmd/fleetssh/internal/termline"
	"fleetssh/internal/sshdtest"
)

// terminal is an emulated terminal.
type terminal struct {
	t            testing.TB
	master, line *os.File // the two ends
	before       *unix.Termios

	mu        sync.Mutex // protects what follows
	screen    *vt.Emulator
	alternate bool // the alternate screen is shown
}

// Write shows what the program writes.
func (x *terminal) Write(p []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.screen.Write(p)
}

func newTerminal(t testing.TB, width, height int) *terminal {
	t.Helper()
	master, line, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	x := &terminal{t: t, master: master, line: line, screen: vt.NewEmulator(width, height)}
	x.screen.SetCallbacks(vt.Callbacks{AltScreen: func(on bool) { x.alternate = on }})
	x.resize(width, height)
	x.before = x.mode()
	var wg sync.WaitGroup
	wg.Go(func() { io.Copy(x, master) })        // ends when the terminal is closed
	wg.Go(func() { io.Copy(master, x.screen) }) // what the terminal answers
	t.Cleanup(func() {
		line.Close()
		x.screen.InputPipe().(io.Closer).Close() // Close is not safe beside Read
		master.Close()
		wg.Wait()
	})
	return x
}

func (x *terminal) mode() *unix.Termios {
	x.t.Helper()
	mode, err := unix.IoctlGetTermios(int(x.line.Fd()), unix.TCGETS)
	if err != nil {
		x.t.Fatal(err)
	}
	return mode
}

func (x *terminal) resize(width, height int) {
	x.t.Helper()
	x.mu.Lock()
	x.screen.Resize(width, height)
	x.mu.Unlock()
	if err := pty.Setsize(x.master, &pty.Winsize{Rows: uint16(height), Cols: uint16(width)}); err != nil {
		x.t.Fatal(err)
	}
	// pty sets it to blocking mode, in which Close does not end a read.
	if err := unix.SetNonblock(int(x.master.Fd()), true); err != nil {
		x.t.Fatal(err)
	}
	// It is not the controlling terminal of the test, whose processes the kernel would tell.
	if err := unix.Kill(os.Getpid(), unix.SIGWINCH); err != nil {
		x.t.Fatal(err)
	}
}

func (x *terminal) typed(text string) {
	x.t.Helper()
	if _, err := io.WriteString(x.master, text); err != nil {
		x.t.Fatal(err)
	}
}

// rows returns the screen without trailing spaces.
func (x *terminal) rows() []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	rows := strings.Split(x.screen.String(), "\n")
	for i := range rows {
		rows[i] = strings.TrimRight(rows[i], " \r")
	}
	return rows
}

// await waits until the screen satisfies a condition.
func (x *terminal) await(what string, is func() bool) {
	x.t.Helper()
	for deadline := time.Now().Add(sshdtest.Patience); !is(); <-time.After(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			x.t.Fatalf("no %s on the screen:\n%s", what, strings.Join(x.rows(), "\n"))
		}
	}
}

func (x *terminal) awaitText(want string) {
	x.t.Helper()
	x.await(want, func() bool { return strings.Contains(strings.Join(x.rows(), "\n"), want) })
}

// checkRestored checks that the terminal is as it was.
func (x *terminal) checkRestored() {
	x.t.Helper()
	x.await("normal screen", func() bool {
		x.mu.Lock()
		defer x.mu.Unlock()
		return !x.alternate
	})
	if mode := x.mode(); *mode != *x.before {
		x.t.Errorf("the mode of the terminal is %+v, was %+v", mode, x.before)
	}
	x.await("cursor", func() bool {
		x.mu.Lock()
		defer x.mu.Unlock()
		return !x.screen.CursorHidden()
	})
}

// startView starts a view of three hosts on a terminal.
func startView(t testing.TB, x *terminal, done <-chan struct{}) *View {
	return startInterruptedView(t, x, done, func() {})
}

// startInterruptedView is startView, with a function for Ctrl-C.
func startInterruptedView(t testing.TB, x *terminal, done <-chan struct{}, interrupt func()) *View {
	t.Helper()
	summary := &results.Summary{Begun: time.Now()}
	for _, name := range []string{"web1", "web2", "db1"} {
		summary.Hosts = append(summary.Hosts, selection.Host{Name: name, Label: name})
	}
	screen := termline.New(x.line, x.line)
	t.Cleanup(func() { screen.Close() })
	v := New(Config{In: x.line, Out: x.line, Screen: screen, Summary: summary, Command: "uptime", Interrupt: interrupt, Done: done, Can: allAbilities, Report: func(name string) error {
		if name == "report.html" {
			return errors.New(name + ": no space")
		}
		return nil
	}})
	if err := v.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.End)
	return v
}

// The screen of the terminal is that of the model, also after its size has changed, and q restores it.
func TestViewOnTerminal(t *testing.T) {
	x := newTerminal(t, 80, 24)
	v := startView(t, x, nil)
	v.fleet.started(0, 0)
	v.fleet.wrote(0, "up 3 days\t日本", "\x1b[2J\x1b]0;title\x07")
	v.fleet.exited(0, 0, time.Second)
	v.touch()
	for _, size := range []struct{ width, height int }{{80, 24}, {40, 15}, {200, 50}, {61, 9}, {100, 30}} {
		x.resize(size.width, size.height)
		m := newModel(v.fleet, size.width, size.height)
		x.await("screen of the model", func() bool {
			want := strings.Split(styles.ReplaceAllString(m.view("uptime", time.Now()), ""), "\n")
			for i := range want {
				want[i] = strings.TrimRight(want[i], " ")
			}
			return slices.Equal(x.rows(), want)
		})
	}
	v.Screen.Message("fleetssh: a message")
	x.awaitText("fleetssh: a message")
	x.typed("?")
	x.awaitText("Cells:")
	x.typed("qq")
	<-v.ended
	x.awaitText("fleetssh: the view is closed, the run continues")
	x.checkRestored()
	x.awaitText("fleetssh: a message")
	v.Screen.Message("fleetssh: another message")
	x.awaitText("fleetssh: another message")
}

// Every way out restores the terminal.
func TestViewEnds(t *testing.T) {
	for name, end := range map[string]func(x *terminal, v *View, cancel func()){ // cancel is what Ctrl-C calls, too
		"end of the run": func(x *terminal, v *View, _ func()) {
			go v.Wait()
			x.awaitText("ended after")
			x.typed("q")
		},
		"Ctrl-C after the end of the run": func(x *terminal, v *View, _ func()) {
			go v.Wait()
			x.awaitText("ended after")
			x.typed("\x03")
		},
		"signal after the end of the run": func(_ *terminal, v *View, cancel func()) {
			go cancel()
			v.Wait()
			v.End()
		},
		"error before the end of the run": func(_ *terminal, v *View, _ func()) { v.End() },
		"panic": func(_ *terminal, v *View, _ func()) {
			v.fleet.mu.Lock()
			v.fleet.labels = nil
			v.fleet.mu.Unlock()
			v.touch()
		},
		"Ctrl-C": func(x *terminal, v *View, _ func()) {
			x.typed("\x03")
			<-v.Done
			v.End()
		},
	} {
		t.Run(name, func(t *testing.T) {
			x := newTerminal(t, 80, 60)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			v := startInterruptedView(t, x, ctx.Done(), cancel)
			x.awaitText("0 of 3 hosts done")
			end(x, v, cancel)
			<-v.ended
			x.checkRestored()
			v.End()
			v.Show(eventOf(0))
			if name == "panic" {
				x.awaitText("fullscreen.go") // the stack
			}
		})
	}
}

// A question right at the start waits until the terminal has answered bubbletea's: otherwise the answers
// would be part of the user's.
func TestQuestionAtTheStart(t *testing.T) {
	x := newTerminal(t, 80, 24)
	v := startView(t, x, nil)
	v.leave()
	select {
	case <-v.settled:
	default:
		t.Error("the terminal has not answered yet")
	}
	if mode := x.mode(); mode.Lflag&unix.ICANON == 0 {
		t.Error("the terminal is still in raw mode")
	}
	if rows := strings.Join(x.rows(), ""); strings.Contains(rows, "2026") {
		t.Errorf("the screen shows %q", rows)
	}
	v.comeBack()
}

// A view whose terminal is gone ends without a signal: HUP may be ignored. That must not wait for a key.
func TestViewWithoutTerminal(t *testing.T) {
	x := newTerminal(t, 80, 24)
	v := startView(t, x, nil)
	x.awaitText("0 of 3 hosts done")
	for i := range 3 {
		v.Finished(&results.Result{Index: i, OK: true, Outcome: fleetssh.Outcome{Kind: fleetssh.Exited}})
	}
	waited := make(chan struct{})
	go func() {
		defer close(waited)
		v.Wait()
		v.End()
	}()
	x.awaitText("ended after")
	x.master.Close()
	select {
	case <-waited:
	case <-time.After(sshdtest.Patience):
		t.Fatal("the view waits for a key")
	}
}

// A question takes the place of the view, and is not lost in it.
func TestQuestionInView(t *testing.T) {
	x := newTerminal(t, 80, 24)
	v := startView(t, x, nil)
	x.awaitText("0 of 3 hosts done")
	v.Screen.Message("fleetssh: the password was refused")
	v.leave() // Screen.Ask does this; it needs a controlling terminal
	x.checkRestored()
	v.comeBack()
	x.awaitText("0 of 3 hosts done")
	if mode := x.mode(); mode.Lflag&unix.ICANON != 0 {
		t.Error("the view does not get single keys after a question")
	}
	x.typed("q")
	<-v.ended
	x.checkRestored()
}

// The run waits for an answer between batches, unless the view is closed or the program ends.
func TestAskInView(t *testing.T) {
	x := newTerminal(t, 80, 24)
	v := startView(t, x, nil)
	type reply struct {
		answer string
		ok     bool
	}
	ask := func(ctx context.Context) chan reply {
		replies := make(chan reply, 1)
		go func() {
			answer, ok := v.Ask(ctx, "Run batch 2 on 5 hosts?")
			replies <- reply{answer, ok}
		}()
		x.awaitText("Run batch 2 on 5 hosts?")
		return replies
	}
	replies := ask(context.Background())
	x.typed("a")
	if got := <-replies; got != (reply{"a", true}) {
		t.Errorf("got %v", got)
	}
	x.awaitText("q close")
	ctx, cancel := context.WithCancel(context.Background())
	replies = ask(ctx)
	cancel()
	if got := <-replies; got.ok {
		t.Errorf("after the end of the context: %v", got)
	}
	replies = ask(context.Background())
	x.typed("q")
	if got := <-replies; got.ok {
		t.Errorf("after the view was closed: %v", got)
	}
	if _, ok := v.Ask(context.Background(), "?"); ok || v.Pausing() {
		t.Error("a closed view answers")
	}
	var none *View
	if _, ok := none.Ask(context.Background(), "?"); ok || none.Pausing() || none.Again() != nil {
		t.Error("no view answers")
	}
}

// A report is written while the view stays open, and its error is shown.
func TestReportInView(t *testing.T) {
	x := newTerminal(t, 80, 24)
	v := startView(t, x, nil)
	go v.Wait()
	x.awaitText("w report")
	x.typed("w\r")
	x.awaitText("report.html: no space")
	x.typed("w\x15other.html\r")
	x.awaitText("the report is in other.html")
}

// BenchmarkView is what a view of a thousand hosts costs, in percent of a processor, while 500 lines a
// second arrive and 25 hosts a second end. The terminal is read, and not emulated. What the loop of the
// benchmark costs is not counted.
func BenchmarkView(b *testing.B) {
	for _, size := range []struct {
		name          string
		width, height int
	}{{"80x24", 80, 24}, {"200x50", 200, 50}} {
		b.Run(size.name, func(b *testing.B) {
			master, line, err := pty.Open()
			if err != nil {
				b.Fatal(err)
			}
			defer master.Close()
			if err := pty.Setsize(master, &pty.Winsize{Rows: uint16(size.height), Cols: uint16(size.width)}); err != nil {
				b.Fatal(err)
			}
			go io.Copy(io.Discard, master)
			hosts := newTestFleet(b, 1000, nil, Budget{}).hosts
			screen := termline.New(line, line)
			idle := percentOfProcessor(100, func(int) {})
			v := New(Config{In: line, Out: line, Screen: screen, Summary: &results.Summary{Hosts: hosts, Begun: time.Now()}, Command: "uptime"})
			if err := v.Start(); err != nil {
				b.Fatal(err)
			}
			for i := range hosts {
				v.fleet.started(i, 0)
			}
			b.ResetTimer()
			used := percentOfProcessor(b.N, func(n int) {
				for k := range 10 {
					v.Show(lineOf((n*10 + k) % len(hosts)))
				}
				if n%2 == 0 && n/2 < len(hosts) {
					v.fleet.exited(n/2, n/2%50, time.Second)
				}
			})
			b.ReportMetric(used-idle, "%cpu")
			b.StopTimer()
			v.End()
			screen.Close()
			line.Close()
		})
	}
}

// percentOfProcessor calls do so many times, 50 times a second, and returns what this process uses.
func percentOfProcessor(times int, do func(n int)) float64 {
	var before, after unix.Rusage
	unix.Getrusage(unix.RUSAGE_SELF, &before)
	begun := time.Now()
	for n := range times {
		time.Sleep(time.Until(begun.Add(time.Duration(n) * 20 * time.Millisecond)))
		do(n)
	}
	unix.Getrusage(unix.RUSAGE_SELF, &after)
	used := time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
	return 100 * used.Seconds() / time.Since(begun).Seconds()
}
