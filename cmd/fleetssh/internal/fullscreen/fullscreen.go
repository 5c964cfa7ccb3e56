// Package fullscreen shows a run on the whole terminal: a grid with a cell for each host, the groups of
// equal output with the odd ones first, and the last lines of the chosen host or group.
//
// The events of the run change a fleet, keys change a model, and a view of both is drawn at most seven
// times a second. Only View knows the terminal.
package fullscreen

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/ansi"
	"golang.org/x/term"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// Budget is how many hosts may fail.
type Budget struct {
	Limited   bool
	MaxFailed int
}

// Config says what a view shows, and where.
type Config struct {
	In, Out *os.File // the terminal
	Screen  *termline.Screen
	Summary *results.Summary
	Command string // as the user gave it
	Batches []int  // how many hosts each batch has; nil: there are none
	Budget  Budget
	Can     Abilities
	Success string        // how a host ends that has not failed; empty: "exit code 0"
	Amount  func() string // what has been copied, and how fast; nil: nothing is copied

	Report    func(name string) error // writes a report about the run, after Ended
	Ended     func()                  // is called when all hosts have ended, before the user closes the view; nil: it is not
	Interrupt func()                  // is called for Ctrl-C
	Done      <-chan struct{}         // closed when the program is told to end
}

const (
	// redrawEvery is the shortest time between two drawings, and idleEvery the longest while a run
	// goes on. A drawing that takes long is followed by a pause of restFactor times as long, at most
	// longestRest, so that it costs a small part of a processor.
	redrawEvery = 150 * time.Millisecond
	idleEvery   = 500 * time.Millisecond
	restFactor  = 100
	longestRest = 3 * time.Second
	// framesPerSecond is how soon a key shows.
	framesPerSecond = 12

	// settleLimit is how long after the start the terminal may take to answer what bubbletea asks it,
	// and settleRest how long for the last of the answers.
	settleLimit = 500 * time.Millisecond
	settleRest  = 50 * time.Millisecond

	// endLimit is how long a terminal that takes no output may delay the end of the view.
	endLimit = 2 * time.Second
)

// View is a run on the whole terminal. Show and Finished are called by one goroutine.
type View struct {
	Config
	fleet   *fleet
	program *tea.Program
	before  *term.State // of the terminal
	uncover func()

	changed  chan struct{} // holds a token if something has changed since the last drawing
	cost     atomic.Int64  // nanoseconds that the last drawing took
	leaving  atomic.Bool   // the view ends
	shown    time.Time     // when the view was shown
	settled  chan struct{} // closed when the terminal has answered
	ended    chan struct{} // closed when the terminal is as it was
	paced    chan struct{} // closed when nothing is drawn any more
	once     sync.Once
	answered sync.Once
	work     sync.WaitGroup // what keys have started
	again    []int          // hosts to run again on
	failure  error          // a panic while drawing, or because of a key; nil: none
}

// Check returns why a view cannot be shown on a terminal.
func Check(in, out any) error {
	for _, stream := range []any{in, out} {
		if f, ok := stream.(*os.File); !ok || !term.IsTerminal(int(f.Fd())) {
			return errors.New("standard input and standard output must be a terminal")
		}
	}
	if name := os.Getenv("TERM"); name == "dumb" || name == "" && os.PathSeparator == '/' {
		return errors.New("the terminal cannot show it (TERM is \"" + name + "\")")
	}
	return nil
}

// New returns a view that is not shown yet.
func New(c Config) *View {
	return &View{
		Config: c, fleet: newFleet(c.Summary, c.Batches, c.Budget, c.Can),
		changed: make(chan struct{}, 1), settled: make(chan struct{}), ended: make(chan struct{}), paced: make(chan struct{}),
	}
}

// Start covers the terminal with the view. If there is no error, End must be called.
func (v *View) Start() (err error) {
	c := &v.Config
	defer func() {
		if err != nil {
			v.leaving.Store(true)
		}
	}()
	if v.before, err = term.GetState(int(c.In.Fd())); err != nil {
		return err
	}
	width, height, err := term.GetSize(int(c.Out.Fd()))
	if err != nil {
		return err
	}
	profile := colorprofile.Ascii
	if c.Screen.Colored() {
		profile = colorprofile.ANSI
	}
	v.fleet.amount, v.fleet.success = c.Amount, cmp.Or(c.Success, v.fleet.success)
	v.program = tea.NewProgram(&program{v: v, model: newModel(v.fleet, width, height)},
		tea.WithInput(keyboard{c.In, v.gone}), tea.WithOutput(c.Out), tea.WithColorProfile(profile), tea.WithoutSignalHandler(), tea.WithFPS(framesPerSecond))
	v.shown = time.Now()
	v.uncover = c.Screen.SetCover(termline.Cover{Leave: v.leave, Return: v.comeBack, Notice: v.tell})
	go v.run()
	go v.pace()
	return nil
}

// run shows the view until the user closes it, or End is called.
func (v *View) run() {
	defer close(v.ended)
	_, err := v.program.Run()
	if v.failure != nil {
		err = v.failure
		v.leaving.Store(false) // nobody has asked for the end
	}
	failed := err != nil && !v.leaving.Swap(true)
	_ = term.Restore(int(v.In.Fd()), v.before) // fails if the terminal is gone
	v.uncover()
	switch over := v.over(); {
	case failed:
		text, stack, _ := strings.Cut(err.Error(), "\n")
		v.Screen.Message("fleetssh: error: the full-screen view has failed, the run continues: " + text)
		for row := range strings.Lines(stack) {
			v.Screen.Message(strings.TrimSuffix(row, "\n"))
		}
	case !over:
		v.Screen.Message("fleetssh: the view is closed, the run continues")
	}
}

// gone closes the view because the terminal is gone. If HUP is ignored, as with nohup, nothing else would,
// and after the end of the run the view would wait for a key for ever.
func (v *View) gone() {
	v.leaving.Store(true)
	go v.program.Quit() // the reader that calls this must return before the program ends
}

// over reports whether the run has ended.
func (v *View) over() bool {
	v.fleet.mu.Lock()
	defer v.fleet.mu.Unlock()
	return v.fleet.over
}

// pace draws when something has changed, and now and then, because time passes.
func (v *View) pace() {
	defer close(v.paced)
	idle := time.NewTicker(idleEvery)
	defer idle.Stop()
	for {
		select {
		case <-v.changed:
		case <-idle.C:
			if v.over() {
				continue
			}
		case <-v.ended:
			return
		}
		if o := v.Summary.Outstanding; o != nil && o.Working != nil {
			v.fleet.working(o.Working())
		}
		v.program.Send(redraw{})
		rest := min(max(redrawEvery, restFactor*time.Duration(v.cost.Load())), longestRest)
		select {
		case <-time.After(rest):
		case <-v.ended:
			return
		}
	}
}

// touch makes the view be drawn again.
func (v *View) touch() {
	select {
	case v.changed <- struct{}{}:
	default:
	}
}

// Show adds an event.
func (v *View) Show(ev fleetssh.Event) {
	if v.leaving.Load() {
		return
	}
	v.fleet.show(ev)
	v.touch()
}

// Copying says that a host is being copied to or from, and adds a line about a file, if it is not empty, to
// what the host shows while it is at work.
func (v *View) Copying(host int, line string) {
	if v.leaving.Load() {
		return
	}
	v.fleet.copying(host, line, time.Now())
	v.touch()
}

// Finished adds the result of a host.
func (v *View) Finished(r *results.Result) {
	if v.leaving.Load() {
		return
	}
	v.fleet.finished(r, time.Now())
	v.touch()
}

// tell shows a message of the program.
func (v *View) tell(line string) {
	v.fleet.tell(line)
	v.touch()
}

// Wait ends the run, and waits until the user closes the view, or the program is told to end.
func (v *View) Wait() {
	v.fleet.finish(time.Now())
	v.touch()
	if v.Ended != nil {
		v.Ended()
	}
	select {
	case <-v.ended:
	case <-v.Done:
	}
}

// Pausing reports whether the user wants to be asked before the next batch. A nil view, and one that is
// closed, reports false.
func (v *View) Pausing() bool { return v != nil && !v.leaving.Load() && v.fleet.pauses() }

// Ask asks the user about the next batch. The answer is y, n or a; ok is false if there is no answer,
// because v is nil, the user closes it, or ctx ends.
func (v *View) Ask(ctx context.Context, text string) (answer string, ok bool) {
	if v == nil || v.leaving.Load() {
		return "", false
	}
	asked := v.fleet.ask(text)
	v.touch()
	select {
	case answer := <-asked.answer:
		return answer, true
	case <-v.ended:
	case <-ctx.Done():
	}
	return "", false
}

// Again returns the hosts on which the user wants to run again, after the view was closed. It is nil if
// there are none.
func (v *View) Again() []int {
	if v == nil {
		return nil
	}
	return v.again
}

// stop stops the command of a host.
func (v *View) stop(i int) {
	v.fleet.mu.Lock()
	output, name := v.fleet.by[i].output, v.fleet.labels[i]
	v.fleet.mu.Unlock()
	if output == nil {
		return // it has ended while the user was asked
	}
	v.tell("stopping the command on " + name)
	v.work.Go(func() {
		if err := output.Stop(context.Background()); err != nil { // Stop limits its own time
			v.tell(err.Error())
		}
	})
}

// report writes the report.
func (v *View) report(name string) {
	v.work.Go(func() {
		err := v.Report(name)
		if err != nil {
			v.tell(err.Error())
			return
		}
		v.tell("the report is in " + name)
	})
}

// End restores the terminal, and shows what the screen has kept meanwhile. It may be called twice, and
// concurrently.
func (v *View) End() {
	v.once.Do(func() {
		v.fleet.finish(time.Now())
		v.leaving.Store(true)
		v.settle()
		go v.program.Quit() // waits while a drawing waits for the terminal
		select {
		case <-v.ended:
		case <-time.After(endLimit):
			go v.program.Kill()
			select {
			case <-v.ended:
			case <-time.After(endLimit):
				return // the process ends next; the terminal takes nothing
			}
		}
		<-v.paced
		v.work.Wait()
		if err := v.fleet.close(); err != nil {
			v.Screen.Message("fleetssh: warning: " + err.Error())
		}
	})
}

// settle waits until the terminal has answered what bubbletea asks at the start: the answers are typed, as
// it were, and would become part of what the user types next. Some terminals do not answer.
func (v *View) settle() {
	select {
	case <-v.settled:
		time.Sleep(settleRest)
	case <-time.After(time.Until(v.shown.Add(settleLimit))):
	case <-v.ended:
	}
}

// leave gives the terminal to a question.
func (v *View) leave() {
	if !v.leaving.Load() {
		v.settle()
		_ = v.program.ReleaseTerminal() // if the terminal is gone, the question fails
	}
}

// comeBack takes the terminal again.
func (v *View) comeBack() {
	if !v.leaving.Load() {
		_ = v.program.RestoreTerminal() // if the terminal is gone, its signal ends the run
	}
}

// redraw is the message that makes the program draw.
type redraw struct{}

// program connects a model with the terminal.
type program struct {
	v     *View
	model *model
}

func (p *program) Init() tea.Cmd { return nil }

// recovered ends the view after a panic. The recovery of bubbletea would write to the screen, and close its
// input while it is being read.
func (p *program) recovered(r any) {
	p.v.failure = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
	p.v.leaving.Store(true)
	go p.v.program.Quit()
}

func (p *program) Update(msg tea.Msg) (next tea.Model, asks tea.Cmd) {
	next = p
	defer func() {
		if r := recover(); r != nil {
			p.recovered(r)
		}
	}()
	if p.v.failure != nil {
		return p, nil
	}
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		p.model.width, p.model.height = msg.Width, msg.Height
	case tea.ModeReportMsg:
		if msg.Mode == ansi.ModeUnicodeCore { // the last question
			p.v.answered.Do(func() { close(p.v.settled) })
		}
	case tea.PasteMsg:
		p.model.key("", msg.Content)
	case tea.KeyPressMsg:
		switch p.model.key(msg.String(), msg.Text) {
		case leave:
			p.v.leaving.Store(true)
			return p, tea.Quit
		case interrupt:
			if p.v.over() {
				p.v.leaving.Store(true)
				return p, tea.Quit
			}
			p.v.Interrupt()
		case suspend:
			return p, tea.Suspend
		case stopHost:
			p.v.stop(p.model.stopped)
		case saveReport:
			p.v.report(p.model.file)
		case rerun:
			p.v.again = p.model.repeat
			p.v.leaving.Store(true)
			return p, tea.Quit
		}
	}
	return p, nil
}

func (p *program) View() (view tea.View) {
	defer func() {
		if r := recover(); r != nil {
			p.recovered(r)
		}
		view.AltScreen = true
	}()
	if p.v.failure != nil {
		return tea.NewView("")
	}
	begun := time.Now()
	view = tea.NewView(p.model.view(p.v.Command, begun))
	p.v.cost.Store(int64(time.Since(begun)))
	return view
}
