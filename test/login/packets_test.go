package login

import (
	"errors"
	"net"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/simfleet"
)

// packetHost starts a host that answers each authentication request with the packet that answer
// returns for its method.
func packetHost(t *testing.T, answer func(method string) []byte) fleetssh.HostConfig {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	key := fleettest.NewKey()
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close()
				p, err := simfleet.NewPacketConn(conn, key)
				for err == nil {
					var packet []byte
					if packet, err = p.ReadPacket(); err != nil || packet[0] != 50 {
						continue
					}
					var request struct {
						User, Service, Method string
						Rest                  []byte `ssh:"rest"`
					}
					if err = ssh.Unmarshal(packet[1:], &request); err == nil {
						err = p.WritePacket(answer(request.Method))
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		running.Wait()
	})
	return fleetssh.HostConfig{
		Host: "127.0.0.1", Port: ln.Addr().(*net.TCPAddr).Port, User: "alice", HostKeys: fleetssh.InsecureIgnoreHostKeys{},
		Auth: fleetssh.Auth{Password: "right", NoAgent: true, NoDefaultKeys: true}, Attempts: 2, RetryDelay: -1, ConnectTimeout: fleettest.Patience,
	}
}

// failure is the message that refuses a login (RFC 4252, section 5.1).
func failure(methods string) []byte {
	return append([]byte{51}, ssh.Marshal(struct {
		Methods string
		Partial bool
	}{methods, false})...)
}

// TestExpiredPassword has a host answer a password with a request to change it (RFC 4252,
// section 8).
func TestExpiredPassword(t *testing.T) {
	t.Parallel()
	changeRequest := append([]byte{60}, ssh.Marshal(struct{ Prompt, Language string }{"Your password has expired.", ""})...)
	host := packetHost(t, func(method string) []byte {
		if method == "password" {
			return changeRequest
		}
		return failure("password,keyboard-interactive")
	})
	_, err := fleetssh.Dial(t.Context(), host)
	var refused *fleetssh.AuthenticationError
	if !errors.As(err, &refused) || !refused.Expired {
		t.Fatalf("%v", err)
	}
	fleettest.Contains(t, err.Error(), "log in to 127.0.0.1:", "as alice: the password has expired and must be changed")

	// An expired password was right, so the other hosts get it.
	_, others := passwordHosts(t, 3, "right", nil)
	p := fleettest.NewFleet(t, append([]fleetssh.HostConfig{host}, others...)...)
	p.PoolSize = 1
	outs := runTrue(t, p)
	fleettest.Equal(t, "ran", count(outs[1:], fleetssh.Running, "")+count(outs[1:], fleetssh.Exited, ""), 3)
}

// TestUnexpectedAnswerToPassword has a host answer a password with a message of an unexpected type.
func TestUnexpectedAnswerToPassword(t *testing.T) {
	t.Parallel()
	host := packetHost(t, func(method string) []byte {
		if method == "password" {
			return []byte{99}
		}
		return failure("password")
	})
	_, err := fleetssh.Dial(t.Context(), host)
	fleettest.Contains(t, err.Error(), "unexpected message type 99")
}

// TestLongListOfMethods has a host list so many methods that the error must be cut.
func TestLongListOfMethods(t *testing.T) {
	t.Parallel()
	host := packetHost(t, func(string) []byte { return failure(strings.Repeat("\x1b[31mmethod,", 20_000) + "end") })
	_, err := fleetssh.Dial(t.Context(), host)
	if n := len(err.Error()); n > 1000 || strings.ContainsRune(err.Error(), 0x1b) {
		t.Errorf("the error has %d bytes: %.200q", n, err)
	}
	fleettest.Contains(t, err.Error(), "no credentials for the methods that the host allows: ^[[31mmethod, ^[[31mmethod")
}
