//go:build unix

package tunnel

import (
	"context"
	"net"
	"os"
	"syscall"
)

// listenPrivately listens on a socket file to which only its owner may connect. On Linux the file
// is created with the mode of the socket. Elsewhere the mode is set right after.
func listenPrivately(ctx context.Context, path string) (net.Listener, error) {
	const mode = 0o600
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) { _ = syscall.Fchmod(int(fd), mode) })
	}}
	listener, err := config.Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, mode); err != nil {
		listener.Close()
		return nil, err
	}
	return listener, nil
}
