package account

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strings"
)

// ReadableError means that others can read a file with a secret.
type ReadableError struct {
	Name string
	Mode fs.FileMode
}

// Error implements [error].
func (e *ReadableError) Error() string {
	return fmt.Sprintf("others can read %s (mode %#o)", e.Name, e.Mode)
}

// ErrNoSecret means that the first line of a file is empty.
var ErrNoSecret = errors.New("the first line is empty")

// ReadSecret returns the first line of a file, such as a password, up to 4 KiB of it. The error is a
// [*ReadableError] if others can read the file, and [ErrNoSecret] if the line is empty.
func ReadSecret(name string) (string, error) {
	const maxSecret = 4096
	file, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return "", err
	}
	// Windows has no such mode bits, and other users cannot read a pipe.
	if mode := info.Mode(); mode.IsRegular() && mode.Perm()&0o077 != 0 && runtime.GOOS != "windows" {
		return "", &ReadableError{name, mode.Perm()}
	}
	text, err := io.ReadAll(io.LimitReader(file, maxSecret))
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	if line = strings.TrimSuffix(line, "\r"); line == "" {
		return "", ErrNoSecret
	}
	return line, nil
}
