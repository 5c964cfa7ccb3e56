package dial

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/transport"
)

// TestFirstByteTimeout dials through a proxy command that sends nothing. Without a ConnectTimeout,
// only one attempt is made, which ends after ten minutes.
func TestFirstByteTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for limit, want := range map[time.Duration]time.Duration{0: firstByteTimeout, time.Minute: 2*time.Minute + time.Second} {
			host := Config{
				Host: "h", Port: 22, Name: "h", User: "u", Describe: func() any { return "h" },
				Attempts: 2, RetryDelay: time.Second, FixedDelay: true,
				ConnectTimeout: max(limit, 30*time.Second), ExtendTimeout: limit == 0,
			}
			host.HostKeys.Algorithms = func(string, int) []string { return nil }
			host.HostKeys.Check = func(string, int, ssh.PublicKey) error { return nil }
			host.Auth.Identities.NoDefaultKeys = true
			host.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
				transport.TraceOf(ctx).Started()
				ours, theirs := net.Pipe()
				go func() { // a host that reads and never writes
					_, _ = io.Copy(io.Discard, theirs)
					theirs.Close()
				}()
				return ours, nil
			}
			d := New(Options{Log: slog.New(slog.DiscardHandler), Public: func(err error) error { return err }})
			defer d.Close()
			begun := time.Now()
			_, _, err := d.Dial(t.Context(), Call{Host: &host})
			if f, ok := errors.AsType[*Failure](err); !ok || f.Kind != TimedOut {
				t.Error(err)
			}
			if took := time.Since(begun); took != want {
				t.Errorf("with %v: %v after %v, want %v", limit, err, took, want)
			}
		}
	})
}
