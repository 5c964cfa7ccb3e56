package cmdline

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"

	"fleetssh/internal/charset"
	"fleetssh/internal/shellquote"
)

// maxScript bounds the size of a script, which is sent to each host in full.
const maxScript = 16 << 20

// Script is a script that the host reads from standard input, before the script's own input.
type Script struct {
	Text []byte
	Args []string // may hold placeholders, see [Spec.Values]
}

// Interpreter returns the interpreter of a script: its path and the argument in the "#!" line, if
// there is one. Without a "#!" line it is /bin/sh. The error says why the script cannot be run.
func Interpreter(text []byte) ([]string, error) {
	switch {
	case len(text) > maxScript:
		return nil, fmt.Errorf("it has %d bytes, more than the limit of 16 MiB", len(text))
	case bytes.HasPrefix(text, []byte("\xef\xbb\xbf")):
		return nil, errors.New("it begins with a byte order mark, which hides its #! line from hosts")
	}
	line, _, _ := bytes.Cut(text, []byte("\n"))
	named, marked := bytes.CutPrefix(line, []byte("#!"))
	switch {
	case bytes.IndexByte(line, 0) >= 0:
		return nil, errors.New("it is a program, not a script: its first line holds a NUL byte")
	case !marked:
		return []string{"/bin/sh"}, nil // as for execlp(3)
	case bytes.HasSuffix(line, []byte("\r")):
		return nil, errors.New("its #! line ends with a carriage return: it has Windows line ends")
	case len(line) > maxShebang:
		return nil, fmt.Errorf("its #! line is longer than %d bytes", maxShebang)
	}
	const blanks = " \t"
	program, argument := strings.Trim(string(named), blanks), ""
	if i := strings.IndexAny(program, blanks); i >= 0 {
		program, argument = program[:i], strings.TrimLeft(program[i:], blanks)
	}
	switch {
	case program == "":
		return nil, errors.New("its #! line names no interpreter")
	case !path.IsAbs(program):
		return nil, fmt.Errorf("its #! line names %q, which is not an absolute path", program)
	case argument == "":
		return []string{program}, nil
	}
	return []string{program, argument}, nil
}

// maxShebang is the longest "#!" line that Linux accepts (BINPRM_BUF_SIZE).
const maxShebang = 255

// check checks the script. The error is an [*Error].
func (s *Script) check(text *charset.Set) error {
	words, err := Interpreter(s.Text)
	if err != nil {
		return &Error{Field: "Script.Text", Reason: err.Error()}
	}
	if _, err := text.Encode(strings.Join(words, " ")); err != nil {
		return &Error{Field: "Script.Text", Reason: "its #! line " + err.Error()}
	}
	for i, arg := range s.Args {
		if strings.IndexByte(arg, 0) >= 0 {
			return &Error{Field: "Script.Args", Reason: fmt.Sprintf("number %d holds a NUL byte", i+1)}
		}
	}
	return nil
}

// ScriptArgs returns the arguments of Script with placeholders filled in. The values of a List are
// used in order across all arguments. The error is an [*Error].
func (s *Spec) ScriptArgs() ([]string, error) {
	// NUL separates the arguments, since neither arguments nor values may contain it.
	filled, err := s.expand(strings.Join(s.Script.Args, "\x00"))
	if err != nil || len(s.Script.Args) == 0 {
		return nil, err
	}
	return strings.Split(filled, "\x00"), nil
}

// line returns the command line that reads the script from standard input and runs it. The error is
// that of [Interpreter].
func (s *Script) line(args []string) (string, error) {
	words, err := Interpreter(s.Text)
	if err != nil {
		return "", err
	}
	before := ""
	for _, word := range words {
		if strings.Contains(path.Base(word), "node") {
			// Node resolves the path of the script, whose file is deleted by then.
			before = "export NODE_PRESERVE_SYMLINKS_MAIN=1; "
		}
	}
	load := fill(scriptProgram, "@size@", strconv.Itoa(len(s.Text)), "@before@; ", before, "@interpreter@", shellquote.Join(words...))
	return "sh -c " + shellquote.Join(append([]string{load, "fleetssh"}, args...)...), nil
}
