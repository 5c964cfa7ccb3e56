package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/stdin"
)

// stdinName is the name of standard input in a directory.
const stdinName = "stdin"

// checkStdin refuses uses of "-" as a source that could not work.
func (o *copyOptions) checkStdin(args []string) error {
	last := len(args) - 1
	switch {
	case o.verb != "put" || !slices.Contains(args[:last], "-"):
		return nil
	case last > 1:
		return exit.UsageError("copy it alone, or write ./- for a file of this name", "-: standard input cannot be combined with other files")
	case strings.HasSuffix(args[last], "/"):
		return exit.UsageError("name the file, as in "+args[last]+"NAME", "-: standard input has no name for %s", args[last])
	case slices.Contains(o.hosts.Hostfiles, "-"):
		return exit.UsageError("", "-: --hostfile - reads standard input already")
	}
	o.stdin = true
	return nil
}

// readStdin copies standard input to a temporary file, so that it can be sent to all hosts and measured.
// For a dry run, the file stays empty. The caller calls remove.
func (o *copyOptions) readStdin(in io.Reader) (remove func(), err error) {
	dir, err := os.MkdirTemp("", "fleetssh-stdin-")
	if err != nil {
		return nil, fmt.Errorf("standard input: %w", err)
	}
	remove = func() { _ = os.RemoveAll(dir) } // a failure leaves a file in the system's temporary directory
	o.stdinFile = filepath.Join(dir, stdinName)
	file, err := os.OpenFile(o.stdinFile, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666) // new files on hosts get its mode
	if err == nil {
		if !o.safety.dryRun {
			if err = stdin.Check(in); err == nil {
				_, err = io.Copy(file, in)
			}
		}
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		remove()
		return nil, fmt.Errorf("standard input: %w", err)
	}
	return remove, nil
}
