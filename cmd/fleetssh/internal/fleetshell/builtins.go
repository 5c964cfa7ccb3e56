package fleetshell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/hostset"
)

// Help is the help text of the builtins.
const Help = `Lines for fleetssh itself, not for the hosts:
  :hosts                    show the hosts, and which of them lines run on
  :drop EXPR                leave hosts out
  :only EXPR                keep only these of the hosts that lines run on
  :failed                   keep only the hosts on which the last line failed
  :all                      back to all connected hosts
  :connect                  open the shells of lost hosts again
  :send FILE COMMAND        run a command with FILE as its input on every host
  :each DIR COMMAND         the same, with DIR/<host> as the input of a host
  :fold, :stream            change how output is shown
  :help                     show this list
  :quit, Ctrl-D             leave
  !COMMAND                  run a command locally
`

// builtins are the commands of fleetssh itself. A trailing space means that a builtin takes arguments.
var builtins = []string{":all", ":connect", ":drop ", ":each ", ":failed", ":fold", ":help", ":hosts", ":only ", ":quit", ":send ", ":stream"}

// builtin runs a line that begins with a builtin.
func (s *Shell) builtin(ctx context.Context, u command) error {
	line := strings.TrimSpace(u.text)
	name, rest, _ := strings.Cut(line, " ")
	rest = strings.TrimSpace(rest)
	if takes := strings.HasSuffix(s.builtinForm(name), " "); takes && rest == "" || !takes && rest != "" && s.builtinForm(name) != "" {
		return exit.UsageError(":help", "wrong use of %s", name)
	}
	switch name {
	case ":hosts":
		s.showHosts()
	case ":drop", ":only":
		return s.narrow(name, rest)
	case ":failed":
		return s.keepFailed()
	case ":all":
		for i, console := range s.consoles {
			s.chosen[i] = !console.Finished()
		}
	case ":connect":
		s.reconnect(ctx)
	case ":send", ":each":
		if err := u.check(); err != nil {
			return err
		}
		return s.send(ctx, name, rest)
	case ":fold", ":stream":
		s.Show.Format = name[1:]
		s.Show.Diff = s.Show.Diff && name == ":fold"
	case ":help":
		s.Screen.Print([]byte(Help))
	case ":quit":
		s.quit = true
	default:
		return exit.UsageError(":help", "unknown command %s", name)
	}
	return nil
}

// builtinForm returns the entry of builtins for a name, or an empty string.
func (s *Shell) builtinForm(name string) string {
	for _, word := range builtins {
		if strings.TrimSpace(word) == name {
			return word
		}
	}
	return ""
}

// showHosts shows the hosts by their state.
func (s *Shell) showHosts() {
	states := []string{"chosen", "left out", "not connected"}
	byState := make(map[string][]string)
	for i, console := range s.consoles {
		state := states[1]
		switch {
		case console.Finished():
			state = states[2]
		case s.chosen[i]:
			state = states[0]
		}
		byState[state] = append(byState[state], s.Hosts[i].Label)
	}
	for _, state := range states {
		if names := byState[state]; names != nil {
			s.Screen.Out("", fmt.Sprintf("%s: %s (%d)", state, selection.FoldNames(names), len(names)))
		}
	}
}

// narrow drops the hosts of an expression, or all other hosts.
func (s *Shell) narrow(name, expr string) error {
	set, err := hostset.Parse(expr, nil)
	if err != nil {
		return exit.UsageError("", "%v", err)
	}
	chosen := make([]bool, len(s.Hosts))
	found, kept := 0, 0
	for _, i := range s.selection() {
		in := set.Contains(s.Hosts[i].Label) || set.Contains(s.Hosts[i].Name)
		chosen[i] = in == (name == ":only")
		if in {
			found++
		}
		if chosen[i] {
			kept++
		}
	}
	switch {
	case found == 0:
		return exit.UsageError(":hosts", "no chosen host matches %s", expr)
	case kept == 0:
		return exit.UsageError("", "no host would be left")
	}
	s.chosen = chosen
	return nil
}

// keepFailed drops all hosts except those on which the last line failed.
func (s *Shell) keepFailed() error {
	chosen := make([]bool, len(s.Hosts))
	var names []string
	for _, i := range s.failed {
		if !s.consoles[i].Finished() {
			chosen[i] = true
			names = append(names, s.Hosts[i].Label)
		}
	}
	if names == nil {
		return exit.UsageError("", "the last line failed on no host that is connected")
	}
	s.chosen = chosen
	s.Screen.Out("", fmt.Sprintf("%s (%d)", selection.FoldNames(names), len(names)))
	return nil
}

// reconnect opens new shells in place of those that have ended.
func (s *Shell) reconnect(ctx context.Context) {
	var lost []int
	for i, console := range s.consoles {
		if console.Finished() {
			lost = append(lost, i)
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	over := make(chan struct{})
	var watch sync.WaitGroup
	if s.signals != nil {
		watch.Go(func() {
			select {
			case <-s.signals:
				cancel()
			case <-over:
			}
		})
	}
	err := s.Client.Do(ctx, func(ctx context.Context, i int, c *fleetssh.Client) error {
		if !slices.Contains(lost, i) {
			return nil
		}
		console, err := c.OpenConsole(ctx)
		if err == nil {
			s.consoles[i] = console
		}
		return err
	})
	close(over)
	watch.Wait()
	errs := make(map[int]error)
	if of, ok := errors.AsType[*fleetssh.HostsError](err); ok {
		for _, f := range of.Failed {
			errs[f.Index] = f.Err
		}
	}
	t := results.New(s.Hosts)
	t.Brief = true
	for _, i := range lost {
		s.chosen[i] = s.opened(t, i, errs[i])
	}
	t.ShowFailures(s.Screen)
}

// send runs a line with files as its input.
func (s *Shell) send(ctx context.Context, name, rest string) error {
	path, text, _ := strings.Cut(rest, " ")
	if text = strings.TrimSpace(text); text == "" {
		return exit.UsageError(":help", "%s needs a command", name)
	}
	inputs := make(map[int]*io.SectionReader)
	var shared *io.SectionReader
	for _, i := range s.selection() {
		if name == ":send" && shared != nil {
			inputs[i] = shared
			continue
		}
		file := path
		if name == ":each" {
			if strings.ContainsAny(s.Hosts[i].Name, `/\`) || !filepath.IsLocal(s.Hosts[i].Name) {
				return exit.UsageError("", "%s cannot be the name of a file", s.Hosts[i].Label)
			}
			file = filepath.Join(path, s.Hosts[i].Name)
		}
		input, opened, err := openInput(file)
		if err != nil {
			return &exit.Error{Code: exit.Failed, Text: "input: " + err.Error()}
		}
		defer opened.Close()
		inputs[i], shared = input, input
	}
	return s.onHosts(ctx, func(i int) fleetssh.ConsoleLine { return fleetssh.ConsoleLine{Text: text, Stdin: inputs[i]} })
}

// openInput opens a file as the input of lines.
func openInput(name string) (*io.SectionReader, *os.File, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", name)
	}
	if err != nil {
		file.Close()
		return nil, nil, err
	}
	return io.NewSectionReader(file, 0, info.Size()), file, nil
}

// local runs a command on this machine, in the user's shell.
func (s *Shell) local(ctx context.Context, line string) error {
	s.Screen.Flush()
	shell := os.Getenv("SHELL")
	if shell == "" {
		shell = "/bin/sh"
	}
	cmd := exec.CommandContext(ctx, shell, "-c", line)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if s.signals != nil {
		cmd.Stdin = os.Stdin
	}
	err := cmd.Run()
	for len(s.signals) > 0 {
		<-s.signals // the interrupt was for the command
	}
	if exit, ok := err.(*exec.ExitError); ok {
		s.Screen.Message("local command: " + exit.Error())
		return nil
	}
	if err != nil {
		return &exit.Error{Code: exit.Failed, Text: err.Error()}
	}
	return nil
}
