package fleetssh

import "fleetssh/internal/cmdline"

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
func (s *Script) Interpreter() ([]string, error) { return cmdline.Interpreter(s.Text) }
