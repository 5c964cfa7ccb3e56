// Package localscript reads local scripts that hosts run, and repeats recorded ones.
package localscript

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/journal"
	"fleetssh/internal/shellquote"
)

// Script is a local script that hosts run.
type Script struct {
	Name   string // as given; "-" is standard input
	Script *fleetssh.Script
}

// scriptLimit is one byte more than the library accepts, so that the library reports the error.
const scriptLimit = 16<<20 + 1

// Read reads and checks a script. in is standard input.
func Read(in io.Reader, name string, args []string) (*Script, error) {
	text, err := readLocal(in, name)
	if err != nil {
		return nil, fmt.Errorf("script: %w", err)
	}
	s := &Script{name, &fleetssh.Script{Text: text, Args: args}}
	if _, err := s.Script.Interpreter(); err != nil {
		return nil, exit.UsageError(s.hint(err), "--script %s: %v", name, err)
	}
	return s, nil
}

// readLocal reads a file, or in if the name is "-".
func readLocal(in io.Reader, name string) ([]byte, error) {
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		in = file
	}
	return io.ReadAll(io.LimitReader(in, scriptLimit))
}

// hint returns how to correct a script that cannot be run.
func (s *Script) hint(err error) string {
	switch text := err.Error(); {
	case strings.Contains(text, "carriage return"):
		return `sed -i 's/\r$//' ` + shellquote.Quote(s.Name)
	case strings.Contains(text, "absolute path"):
		return "as in #!/usr/bin/env python3"
	}
	return ""
}

// Title returns the text that is shown instead of a command line.
func (s *Script) Title() string {
	return shellquote.Join(append([]string{s.Name}, s.Script.Args...)...)
}

// Program returns the script for the record.
func (s *Script) Program() journal.Program {
	instead := journal.Program{Script: s.sum()}
	for _, arg := range s.Script.Args {
		instead.ScriptArgs = append(instead.ScriptArgs, []byte(arg))
	}
	return instead
}

func (s *Script) sum() string {
	sum := sha256.Sum256(s.Script.Text)
	return hex.EncodeToString(sum[:])
}

// CommandLine returns the command line that runs the script on host number i of a command. The local name
// of the script stands for the name on the host.
func (s *Script) CommandLine(command fleetssh.Command, i int) (string, error) {
	args, err := command.ScriptArgs(i)
	if err != nil {
		return "", err
	}
	words, err := s.Script.Interpreter()
	if err != nil {
		return "", err
	}
	var before []string
	if command.Sudo || command.User != "" {
		before = append(before, "sudo")
		if command.User != "" {
			before = append(before, "-u", command.User)
		}
	}
	var names []string
	for name := range command.Env {
		names = append(names, name)
	}
	slices.Sort(names)
	for k, name := range names {
		if k == 0 {
			before = append(before, "env")
		}
		before = append(before, name+"="+command.Env[name])
	}
	return shellquote.Join(slices.Concat(before, words, []string{s.Name}, args)...), nil
}

// Recorded returns the arguments that repeat the script of a recorded run. It refuses a script
// that has changed since.
func Recorded(run *journal.Run) (words []string, err error) {
	var name string
	for _, arg := range run.Args {
		if value, ok := strings.CutPrefix(arg, "--script="); ok {
			name = value
		}
	}
	anew := "fleetssh run --script FILE -w @" + run.ID + ":failed"
	if name == "" || name == "-" {
		return nil, exit.UsageError(anew, "run %s: its script came from standard input and was not recorded", run.ID)
	}
	text, err := readLocal(nil, name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, exit.UsageError(anew, "run %s: its script no longer exists: %s", run.ID, name)
	}
	if err != nil {
		return nil, fmt.Errorf("script: %w", err)
	}
	now := &Script{name, &fleetssh.Script{Text: text}}
	if now.sum() != run.Program.Script {
		return nil, exit.UsageError(anew, "run %s: its script has changed since: %s", run.ID, name)
	}
	for _, arg := range run.Program.ScriptArgs {
		words = append(words, string(arg))
	}
	return words, nil
}
