package fleetshell

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/peterh/liner"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/atomicfile"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/journal"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/internal/shellquote"
)

// The editor draws the prompt itself. All other output goes through the screen, which is idle while the
// user types.

// editor reads lines from the terminal.
type editor struct {
	state   *liner.State
	cooked  liner.ModeApplier // the original mode, while commands run
	raw     liner.ModeApplier
	history *os.File // nil: no history

	mu     sync.Mutex // protects what follows
	asking bool       // the editor waits for a line
}

const (
	historyLines    = 1000    // the limit of liner
	historyBytes    = 1 << 20 // beyond that, the older half of the file is dropped
	completeTimeout = 2 * time.Second
	maxCompletions  = 200
)

// Dialogue runs the lines that the user types. signals delivers interrupts: the first one interrupts the
// running line, the second one gives up on hosts that have not reacted.
func (s *Shell) Dialogue(ctx context.Context, signals <-chan os.Signal) error {
	s.signals = signals
	ed, err := newEditor()
	if err != nil {
		return err
	}
	defer ed.close()
	defer ed.restoreOnEnd(ctx)()
	ed.state.SetWordCompleter(func(line string, pos int) (string, []string, string) { return s.complete(ctx, line, pos) })
	for !s.quit {
		u, err := ed.read(ctx, s.promptText())
		if ctx.Err() != nil {
			return exit.Status(exit.Interrupted) // TERM or HUP, while a line ran
		}
		if err == io.EOF {
			break
		}
		if err == errUnfinished {
			s.showError(err)
			continue
		}
		if err != nil {
			return fmt.Errorf("terminal: %w", err)
		}
		for len(s.signals) > 0 {
			<-s.signals // stale interrupts
		}
		if err := s.run(ctx, u); err != nil {
			s.showError(err)
		}
		if err := s.Screen.Failure(); err != nil {
			return exit.OutputError(err)
		}
	}
	return nil
}

// promptText returns a prompt with the hosts that lines run on.
func (s *Shell) promptText() string {
	const most = 40
	var names []string
	for _, i := range s.selection() {
		names = append(names, s.Hosts[i].Label)
	}
	set := selection.FoldNames(names)
	if utf8.RuneCountInString(set) > most {
		set = string([]rune(set)[:most-1]) + "…"
	}
	return fmt.Sprintf("%s (%d)> ", set, len(names))
}

func newEditor() (*editor, error) {
	ed := new(editor)
	var err error
	if ed.cooked, err = liner.TerminalMode(); err != nil {
		return nil, fmt.Errorf("terminal: %w", err)
	}
	ed.state = liner.NewLiner()
	ed.state.SetCtrlCAborts(true)
	ed.state.SetTabCompletionStyle(liner.TabPrints)
	if ed.raw, err = liner.TerminalMode(); err != nil {
		ed.state.Close()
		return nil, fmt.Errorf("terminal: %w", err)
	}
	if ed.history, err = openHistory(); err == nil {
		_, _ = ed.state.ReadHistory(ed.history) // the shell works without history
	}
	return ed, ed.cooked.ApplyMode()
}

// read reads a command, which may be several lines. Ctrl-C discards it. Ctrl-D inside a command discards
// it too, and returns errUnfinished.
func (ed *editor) read(ctx context.Context, prompt string) (command, error) {
	if !ed.ask(ctx) {
		return command{}, ctx.Err()
	}
	defer ed.asked()
	if err := ed.raw.ApplyMode(); err != nil {
		return command{}, err
	}
	var u command
	first, err := ed.state.Prompt(prompt)
	if err == nil {
		u, err = readCommand(first, func() (string, error) { return ed.state.Prompt("> ") })
	}
	if restored := ed.cooked.ApplyMode(); err == nil {
		err = restored
	}
	if errors.Is(err, liner.ErrPromptAborted) {
		return command{}, nil
	}
	if err == io.EOF || err == errUnfinished {
		fmt.Fprintln(os.Stdout)
	}
	if err != nil {
		return command{}, err
	}
	ed.addHistory(u.text)
	return u, nil
}

// addHistory adds a command to the history, unless it is empty, begins with a blank or has several lines.
func (ed *editor) addHistory(text string) {
	if strings.TrimSpace(text) == "" || text[0] == ' ' || strings.Contains(text, "\n") {
		return
	}
	ed.state.AppendHistory(text)
	if ed.history != nil {
		_, _ = ed.history.WriteString(text + "\n") // the shell works without history
	}
}

// restoreOnEnd restores the terminal and exits when ctx ends, by TERM or HUP, while the editor waits for
// a line: nothing else can end that wait. A running line is stopped first.
func (ed *editor) restoreOnEnd(ctx context.Context) (stop func()) {
	over := context.AfterFunc(ctx, func() {
		ed.mu.Lock()
		defer ed.mu.Unlock()
		if ed.asking {
			_ = ed.cooked.ApplyMode() // the process ends next
			os.Exit(exit.Interrupted)
		}
	})
	return func() { over() }
}

// ask marks the editor as waiting. It reports false if ctx has ended.
func (ed *editor) ask(ctx context.Context) bool {
	ed.mu.Lock()
	defer ed.mu.Unlock()
	ed.asking = ctx.Err() == nil
	return ed.asking
}

// asked marks the editor as not waiting.
func (ed *editor) asked() {
	ed.mu.Lock()
	defer ed.mu.Unlock()
	ed.asking = false
}

func (ed *editor) close() {
	if ed.history != nil {
		ed.history.Close()
	}
	ed.state.Close()
}

// openHistory opens the history file, which is beside the records of runs. It drops the older half of a
// file that is too long.
func openHistory() (*os.File, error) {
	runs, err := journal.Dir()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(runs), 0o700); err != nil {
		return nil, err
	}
	name := filepath.Join(filepath.Dir(runs), "shell_history")
	if text, err := os.ReadFile(name); err == nil && len(text) > historyBytes {
		half := text[len(text)/2:]
		half = half[bytes.IndexByte(half, '\n')+1:]
		if err := atomicfile.Write(name, atomicfile.OwnerOnly, atomicfile.Text(half)); err != nil {
			return nil, err
		}
	}
	return os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
}

// complete completes the word before pos: a builtin, or a command or path of the first host.
func (s *Shell) complete(ctx context.Context, line string, pos int) (head string, words []string, tail string) {
	runes := []rune(line)
	before, tail := string(runes[:pos]), string(runes[pos:])
	start := strings.LastIndexAny(before, " \t;&|()<>=") + 1
	head, word := before[:start], before[start:]
	switch first := strings.TrimSpace(head); {
	case strings.HasPrefix(before, ":") && start == 0:
		for _, own := range builtins {
			if strings.HasPrefix(own, word) {
				words = append(words, own)
			}
		}
	case first == ":only" || first == ":drop":
		for _, i := range s.selection() {
			if strings.HasPrefix(s.Hosts[i].Label, word) {
				words = append(words, s.Hosts[i].Label)
			}
		}
	case strings.HasPrefix(before, ":") || strings.HasPrefix(before, "!") || strings.ContainsAny(word, `'"\$`+"`*?["):
	default:
		words = s.remoteWords(ctx, word, first == "" || strings.ContainsAny(first[len(first)-1:], ";&|("))
	}
	return head, words, tail
}

// remoteWords asks the shell on the first host, which knows the current directory, for completions.
func (s *Shell) remoteWords(ctx context.Context, word string, command bool) []string {
	chosen := s.selection()
	if len(chosen) == 0 || command && word == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, completeTimeout)
	defer cancel()
	out, err := s.consoles[chosen[0]].Run(ctx, fleetssh.ConsoleLine{Text: completionLine(word, command && !strings.Contains(word, "/"))})
	if err != nil {
		return nil
	}
	var words []string
	for name, err := range out.Stdout.Lines(ctx) {
		if err != nil || len(words) == maxCompletions {
			break
		}
		if name != "" && len(name) < 1024 && !strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
			words = append(words, quoteWord(name))
		}
	}
	if out.WaitFinished(ctx) != nil && !out.Finished() {
		_ = out.Stop(context.WithoutCancel(ctx)) // the next line reports a host that does not react
	}
	return words
}

// completionLine returns a line that lists the commands or paths that begin with word. The line keeps
// $?.
func completionLine(word string, command bool) string {
	quoted := shellquote.Quote(word)
	if rest, ok := strings.CutPrefix(word, "~/"); ok {
		quoted = "~/" + shellquote.Quote(rest)
	}
	look := `for f in ` + quoted + `*; do if [ -d "$f" ]; then printf '%s/\n' "$f"; elif [ -e "$f" ]; then printf '%s\n' "$f"; fi; done`
	if command {
		look = `if [ -n "$BASH_VERSION" ]; then compgen -c -- ` + quoted + `; else IFS=:; [ -n "$ZSH_VERSION" ] && setopt shwordsplit nullglob; ` +
			`for d in $PATH; do for f in "$d"/` + quoted + `*; do [ -x "$f" ] && printf '%s\n' "${f##*/}"; done; done; fi | sort -u`
	}
	return fmt.Sprintf(`fleetssh_q=$?; (%s) 2>/dev/null | head -n %d; (exit $fleetssh_q)`, look, maxCompletions)
}

// quoteWord quotes a name for the shell, except for a leading "~/".
func quoteWord(name string) string {
	if rest, ok := strings.CutPrefix(name, "~/"); ok {
		return "~/" + shellquote.Quote(rest)
	}
	return shellquote.Quote(name)
}
