package account

import (
	"bytes"
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

// MaxSecret is how long a secret may be, in bytes.
const MaxSecret = 4096

// ReadSecret returns the first line of a file, such as a password. The error is a [*ReadableError] if
// others can read the file, and wraps those of [SecretLine]. It names the file.
func ReadSecret(name string) (string, error) {
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
	text, err := io.ReadAll(io.LimitReader(file, MaxSecret+int64(len("\r\n"))))
	if err != nil {
		return "", err
	}
	line, _, _ := bytes.Cut(text, []byte("\n"))
	secret, err := SecretLine(line)
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return secret, nil
}

// SecretLine returns the secret in a line without its "\n". The error is [ErrNoSecret] if it is empty,
// and another one if it is longer than [MaxSecret].
func SecretLine(line []byte) (string, error) {
	secret := strings.TrimSuffix(string(line), "\r")
	switch {
	case secret == "":
		return "", ErrNoSecret
	case len(secret) > MaxSecret:
		return "", fmt.Errorf("the first line is longer than %d bytes", MaxSecret)
	}
	return secret, nil
}
