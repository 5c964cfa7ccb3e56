package fleetssh

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"strings"

	"fleetssh/internal/shellquote"
)

// maxScript bounds what is sent before the command: every host gets it whole.
const maxScript = 16 << 20

// Script is a script for a host to run without being copied there first. It is run
// by what its "#!" line names, with at most one argument, as Linux does; without such
// a line by /bin/sh. The line must end in a plain newline and name an absolute path.
//
// The text goes to the host in front of standard input, and is put into a file that
// has no name any more before the first byte of it is there: whatever ends the script,
// it leaves nothing of it behind. (The file has a name for some milliseconds, in which
// it is empty and only KILL could leave it.) What follows on standard input is for the
// script. The script is known to itself as /dev/fd/3, or /proc/self/fd/3, and what it
// starts inherits that descriptor.
//
// The host needs sh, mktemp, rm, dd, wc, a folder for temporary files ($TMPDIR, /tmp,
// /var/tmp or /dev/shm; they may be mounted noexec) and /dev/fd or /proc. If something
// is missing, the exit code is 126 and standard error says what.
type Script struct {
	// Text is the script, up to 16 MiB. An empty one does nothing, with exit code 0.
	Text []byte

	// Args are given to it as they are, whatever is in them but NUL; if
	// [Command.HostArgs] is set, placeholders in them are filled in. A csh cannot
	// be handed a newline.
	Args []string
}

// Interpreter returns what the script is run by: a path and, if the "#!" line has it,
// one argument. The error says what keeps the script from being run.
func (s *Script) Interpreter() ([]string, error) {
	text := s.Text
	switch {
	case len(text) > maxScript:
		return nil, fmt.Errorf("it has %d bytes, and 16 MiB are the most", len(text))
	case bytes.HasPrefix(text, []byte("\xef\xbb\xbf")):
		return nil, errors.New("it begins with a byte order mark, before which no host sees a #! line")
	}
	line, _, _ := bytes.Cut(text, []byte("\n"))
	named, marked := bytes.CutPrefix(line, []byte("#!"))
	switch {
	case bytes.IndexByte(line, 0) >= 0:
		return nil, errors.New("it is a program, not a script: its first line holds a NUL byte")
	case !marked:
		return []string{"/bin/sh"}, nil // as execlp(3)
	case bytes.HasSuffix(line, []byte("\r")):
		return nil, errors.New("its #! line ends in a carriage return: it has the line ends of Windows")
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
		return nil, fmt.Errorf("its #! line names %q, which is no absolute path", program)
	case argument == "":
		return []string{program}, nil
	}
	return []string{program, argument}, nil
}

// maxShebang is the longest first line that Linux takes (BINPRM_BUF_SIZE).
const maxShebang = 255

// check returns the field that is wrong, and why.
func (s *Script) check() (field string, err error) {
	if _, err := s.Interpreter(); err != nil {
		return "Script.Text", err
	}
	for i, arg := range s.Args {
		if strings.IndexByte(arg, 0) >= 0 {
			return "Script.Args", fmt.Errorf("number %d holds a NUL byte", i+1)
		}
	}
	return "", nil
}

// template returns the arguments as one text to fill placeholders into. No value of
// a placeholder holds what stands between them.
func (s *Script) template() string { return strings.Join(s.Args, "\x00") }

// arguments is the way back from the template.
func (s *Script) arguments(filled string) []string {
	if len(s.Args) == 0 {
		return nil
	}
	return strings.Split(filled, "\x00")
}

// line returns the command line that takes the script from standard input and runs it.
func (s *Script) line(args []string) string {
	words, err := s.Interpreter()
	if err != nil {
		panic(err) // check has been there
	}
	var first string
	for _, word := range words {
		if strings.Contains(path.Base(word), "node") {
			// It would look for the name that the file once had.
			first = "export NODE_PRESERVE_SYMLINKS_MAIN=1; "
		}
	}
	load := fmt.Sprintf(loader, len(s.Text), first, shellquote.Join(words...))
	return "sh -c " + shellquote.Join(append([]string{load, "fleetssh"}, args...)...)
}

// loader is what the host runs: it takes so many bytes from standard input and not one
// more, since the rest belongs to the script. head -c takes more where it is that of
// busybox; dd with a count of one reads once, and maybe less than it could.
//
// For a moment the file has a name, and nothing in it. Signals are ignored then. There
// are three descriptors, because opening /dev/fd/3 means a new one on Linux and the
// same one, with its place in the file, elsewhere; "3<&3" is for shells that keep
// descriptors to themselves. One line, and neither ! nor \ nor ' in it: that is most
// kindly quoted for every shell.
const loader = `n=%d; f=; s=; ` +
	`e() { echo "fleetssh: the script cannot be run here: $1" >&2; exit 126; }; ` +
	`for t in mktemp rm dd wc; do command -v $t >/dev/null 2>&1 || e "there is no $t"; done; ` +
	`trap "" HUP INT TERM PIPE; ` +
	`for d in "${TMPDIR:-/tmp}" /tmp /var/tmp /dev/shm; do f=$(umask 077; mktemp "$d/fleetssh.XXXXXXXXXX" 2>/dev/null) && break; done; ` +
	`[ -n "$f" ] || e "no temporary file can be made in ${TMPDIR:-/tmp}, /tmp, /var/tmp or /dev/shm"; ` +
	`exec 3<"$f" 4>"$f" 5<"$f"; rm -f "$f"; ` +
	`trap - HUP INT TERM PIPE; ` +
	`for p in /dev/fd /proc/self/fd ""; do (wc -c <$p/5) >/dev/null 2>&1 && break; done; ` +
	`[ -n "$p" ] || e "there is neither /dev/fd nor /proc"; ` +
	`while h=$(($(wc -c <$p/5))); l=$((n-h)); [ $l -gt 0 ]; do ` +
	`[ "$h" = "$s" ] && e "only $h of $n bytes have come, or there is no room for more"; s=$h; ` +
	`[ $l -le 65536 ] || l=65536; dd bs=$l count=1 2>/dev/null >&4; done; ` +
	`exec 4>&- 5<&-; %sexec %s $p/3 "$@" 3<&3`
