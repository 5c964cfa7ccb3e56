//go:build unix

package login

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"fleetssh"
	"fleetssh/internal/fleettest"
)

// Reading a certificate from a pipe without data delays only the hosts that name it, until their
// context ends.
func TestKeyFileThatBlocks(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	writer, err := os.OpenFile(path, os.O_RDWR, 0) // without a writer, the pipe would read as empty
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	s := fleettest.NewServer(t, nil)
	good := s.Config()
	waiting, another := good, good
	waiting.Auth.CertFiles, another.Auth.CertFiles = []string{path}, []string{path}
	p := fleettest.NewFleet(t, waiting, good, another)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 2)
	for _, i := range []int{0, 2} {
		go func() {
			_, err := p.Client(ctx, i)
			ended <- err
		}()
	}
	if _, err := p.Client(t.Context(), 1); err != nil {
		t.Error(err)
	}
	select {
	case err := <-ended:
		t.Errorf("a login that waits for its certificate has ended: %v", err)
	default:
	}
	cancel()
	for range 2 {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
	}
}

// A pipe without a writer reads as an empty file; the client does not wait for a writer.
func TestKeyFileWithoutWriter(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	err := fleetssh.CheckKeys(t.Context(), fleetssh.HostConfig{Host: "h", Auth: fleetssh.Auth{KeyFile: path}})
	fleettest.Contains(t, fleettest.AsError[*fleetssh.PKeyFileError](t, err).Error(), path, "empty")
}
