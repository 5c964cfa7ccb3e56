//go:build !unix

package tunnel

import (
	"context"
	"net"
)

// listenPrivately listens on a socket file. The permissions of its folder determine who may
// connect.
func listenPrivately(ctx context.Context, path string) (net.Listener, error) {
	var config net.ListenConfig
	return config.Listen(ctx, "unix", path)
}
