package login

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/simfleet"
)

// hostRecorder is a [slog.Handler] that keeps the attribute "host" of every record.
type hostRecorder struct {
	mu    sync.Mutex     // protects hosts
	hosts map[string]any // by message; the last one wins
}

func (*hostRecorder) Enabled(context.Context, slog.Level) bool { return true }

func (h *hostRecorder) Handle(_ context.Context, r slog.Record) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "host" {
			h.hosts[r.Message] = a.Value.Any()
		}
		return true
	})
	return nil
}

func (h *hostRecorder) WithAttrs([]slog.Attr) slog.Handler { return h }

func (h *hostRecorder) WithGroup(string) slog.Handler { return h }

// Every record about a host has it as a HostConfig in the attribute "host". Handlers rely on that.
func TestLogNamesHost(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "")
	h := &hostRecorder{hosts: make(map[string]any)}
	good := fleettest.NewServer(t, nil).Config()
	good.ForwardAgent = true
	bad := fleettest.Faulty(t, simfleet.ResetAccept).Config()
	p := fleettest.NewFleet(t, good, bad)
	p.Logger = slog.New(h)
	_ = p.Connect(t.Context())
	p.Close()
	for _, message := range []string{"connected", "connection failed", "connection ended", "there is no SSH agent to forward: SSH_AUTH_SOCK is not set"} {
		if h.hosts[message] == nil {
			t.Errorf("%q is not logged with a host", message)
		}
	}
	for message, host := range h.hosts {
		if _, ok := host.(fleetssh.HostConfig); !ok {
			t.Errorf("%q: the host is a %T", message, host)
		}
	}
}

// textRecorder is a [slog.Handler] that keeps all records as text.
type textRecorder struct {
	mu   sync.Mutex // protects text
	text strings.Builder
}

func (*textRecorder) Enabled(context.Context, slog.Level) bool { return true }

func (h *textRecorder) Handle(_ context.Context, r slog.Record) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.text.WriteString(r.Message)
	r.Attrs(func(a slog.Attr) bool {
		fmt.Fprintf(&h.text, " %s=%v", a.Key, a.Value)
		return true
	})
	h.text.WriteString("\n")
	return nil
}

func (h *textRecorder) WithAttrs([]slog.Attr) slog.Handler { return h }

func (h *textRecorder) WithGroup(string) slog.Handler { return h }

// The debug records tell what ssh -v tells: what is offered, what the host says, and how long each phase
// took. They tell no password.
func TestLogTracesLogin(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "")
	server := fleettest.NewServer(t, func(h *simfleet.Host) {
		h.AuthorizedKeys = []ssh.PublicKey{fleettest.NewKey().PublicKey()}
		h.Password = "open sesame"
		h.Banner = "no trespassing\nby order"
	})
	host := server.Config()
	host.Auth.Password = "open sesame"
	h := new(textRecorder)
	p := fleettest.NewFleet(t, host)
	p.Logger = slog.New(h)
	if err := p.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.Close()
	rest := h.text.String()
	key := ssh.FingerprintSHA256(fleettest.ClientKey().PublicKey())
	for _, want := range []string{
		"connecting ", fmt.Sprintf(" addresses=[%s:%d]", server.Host(), server.Port()),
		"connected to the port ",
		"the client offers ", " version=SSH-2.0-fleetssh key_exchange=[mlkem768x25519-sha256 ", " cipher=[aes128-gcm@openssh.com ",
		"the host offers ", " version=SSH-2.0-", " key_exchange=[", " host_key=[ssh-ed25519", " mac=[",
		"the host key is trusted ", " key=ssh-ed25519 SHA256:", "known_hosts:1]",
		"keys are exchanged ", " key_exchange=mlkem768x25519-sha256 host_key=ssh-ed25519 cipher=aes128-gcm@openssh.com",
		"logging in ", " user=alice allowed=", "password",
		"offering ", " method=publickey key=ssh-ed25519 " + key + " from ",
		"refused ", " method=publickey allowed=",
		"offering ", " method=password\n",
		"accepted ", " method=password\n",
		"the host shows a banner ", " text=no trespassing\nby order\n",
		"connected ", " attempts=1 took=", " methods=password", " connect=", " handshake=", " auth=",
		"connection ended ",
	} {
		_, after, found := strings.Cut(rest, want)
		if !found {
			t.Fatalf("%q is not in the rest of the records:\n%s\nall of them:\n%s", want, rest, h.text.String())
		}
		rest = after
	}
	if strings.Contains(h.text.String(), "sesame") {
		t.Errorf("the password is logged:\n%s", h.text.String())
	}

	// A host key that is not trusted, and a port on which nobody listens.
	h.text.Reset()
	host.HostKeys = fleettest.NewServer(t, nil).KnownHosts()
	unheard := host
	unheard.Port = fleettest.ClosedPort(t)
	p = fleettest.NewFleet(t, host, unheard)
	p.Logger = slog.New(h)
	_ = p.Connect(t.Context())
	for _, want := range []string{"the host key is not trusted ", "connection failed ", "connection refused", " attempt=1 ", " retry=false"} {
		if !strings.Contains(h.text.String(), want) {
			t.Errorf("%q is not in the records:\n%s", want, h.text.String())
		}
	}
}
