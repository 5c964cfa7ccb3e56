package sshagent

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"fleetssh/internal/sshdtest"
)

// bind is a request of session-bind@openssh.com.
var bind = ssh.Marshal(struct {
	Type byte
	Name string
	Rest []byte `ssh:"rest"`
}{messageExtension, "session-bind@openssh.com", []byte("key, session, signature, forwarded")})

const messageSuccess = 6

// agreed is an answer function for an agent that answers every request with success.
func agreed([]byte) ([]byte, bool) { return packet(messageSuccess), true }

// failure is the answer that a remote client gets if the agent cannot be asked.
var failure = packet(messageFailure)

// far is the remote end of a relay.
type far struct {
	net.Conn
	t    testing.TB
	done chan error // gets what Relay returns
}

// relayed starts a relay that ends at the latest with the test.
func relayed(ctx context.Context, t testing.TB, a *Agent) *far {
	t.Helper()
	near, remote := net.Pipe()
	f := &far{remote, t, make(chan error, 1)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f.done <- a.Relay(ctx, near)
		near.Close()
	}()
	t.Cleanup(func() {
		remote.Close()
		<-ended
	})
	return f
}

// ask sends a request and returns the answer.
func (f *far) ask(request []byte) []byte {
	f.t.Helper()
	if _, err := f.Write(packet(request...)); err != nil {
		f.t.Fatal(err)
	}
	answer, err := readMessage(f)
	if err != nil {
		f.t.Fatal(err)
	}
	return answer
}

// ends waits for the end of the relay, checks that it wrote want before, and returns the error of
// Relay.
func (f *far) ends(want []byte) error {
	f.t.Helper()
	got, err := io.ReadAll(f)
	if err != nil || !bytes.Equal(got, want) {
		f.t.Errorf("the remote got %x, %v; want %x", got, err, want)
	}
	return <-f.done
}

// TestRelayExact checks that requests and answers of all sizes are relayed unchanged.
func TestRelayExact(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	s := newFakeAgent(t, answers(func(request []byte) ([]byte, bool) {
		for i := range request {
			request[i] ^= 0x55
		}
		return packet(request...), true
	}))
	a := acquire(t, s)
	f := relayed(t.Context(), t, a)
	random := rand.NewChaCha8([32]byte{1})
	for _, size := range []int{1, 2, 4, 5, 511, 512, 513, 4096, 1 << 16, maxMessage - 1, maxMessage} {
		request := make([]byte, size)
		random.Read(request)
		sent := make(chan error, 1)
		go func() {
			var err error
			if size < 1000 {
				for _, b := range packet(request...) { // byte by byte
					if _, err = f.Write([]byte{b}); err != nil {
						break
					}
				}
			} else {
				_, err = f.Write(packet(request...))
			}
			sent <- err
		}()
		answer, err := readMessage(f)
		if err := errors.Join(err, <-sent); err != nil {
			t.Fatal(err)
		}
		for i := range answer {
			answer[i] ^= 0x55
		}
		if !bytes.Equal(answer, request) {
			t.Fatalf("%d bytes came back as %d different bytes", size, len(answer))
		}
	}
	f.Close()
	if err := <-f.done; err != nil {
		t.Error(err)
	}
}

// TestRelayRefuses checks that bytes that are not a message end the relay and do not reach the
// agent.
func TestRelayRefuses(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		sent string
		text string // of the error; empty for none
	}{
		{"nothing", "", ""},
		{"no length", "\x00\x00\x00", "unexpected EOF"},
		{"only a length", "\x00\x00\x00\x05", "unexpected EOF"},
		{"part of a message", "\x00\x00\x00\x05\x0b\x00\x00\x00", "unexpected EOF"},
		{"empty", "\x00\x00\x00\x00", "message of 0 bytes"},
		{"a byte too long", "\x00\x04\x00\x01", "message of 262145 bytes"},
		{"largest length", "\xff\xff\xff\xff", "message of 4294967295 bytes"},
		{"another protocol", "GET / HTTP/1.1\r\n\r\n", "message of 1195725856 bytes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			sshdtest.CheckLeaks(t)
			s := newFakeAgent(t, silent)
			remote := &script{Reader: iotest.OneByteReader(strings.NewReader(test.sent))}
			err := acquire(t, s).Relay(t.Context(), remote)
			if (err != nil) != (test.text != "") || err != nil && !strings.Contains(err.Error(), test.text) {
				t.Errorf("error %v", err)
			}
			if remote.Len() != 0 || s.made.Load() != 0 {
				t.Errorf("%d bytes to the remote client, %d connections to the agent", remote.Len(), s.made.Load())
			}
		})
	}
}

// script is a remote client that sends fixed bytes and records what it gets.
type script struct {
	io.Reader
	bytes.Buffer
}

func (s *script) Read(p []byte) (int, error) { return s.Reader.Read(p) }

// TestReadMessageMemory checks that readMessage does not allocate the length that is announced.
func TestReadMessageMemory(t *testing.T) {
	const times = 64
	input := binary.BigEndian.AppendUint32(nil, maxMessage)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range times {
		if _, err := readMessage(bytes.NewReader(append(input, 1, 2, 3))); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Error(err)
		}
	}
	runtime.ReadMemStats(&after)
	if took := (after.TotalAlloc - before.TotalAlloc) / times; took > 8<<10 {
		t.Errorf("%d bytes were allocated for three bytes", took)
	}
}

// TestRelayBadAgent checks that the remote client gets only a failure if the agent misbehaves.
func TestRelayBadAgent(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		answer []byte
		text   string
	}{
		{"hangs up", nil, "EOF"},
		{"truncated", []byte{0, 0, 0, 9, 12}, "unexpected EOF"},
		{"empty", packet(), "message of 0 bytes"},
		{"too long", packet(make([]byte, maxMessage+1)...), "message of 262145 bytes"},
		{"endless", []byte{0xff, 0xff, 0xff, 0xff}, "message of 4294967295 bytes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			sshdtest.CheckLeaks(t)
			s := newFakeAgent(t, answers(func([]byte) ([]byte, bool) { return test.answer, false }))
			f := relayed(t.Context(), t, acquire(t, s))
			f.Write(packet(11))
			if err := f.ends(failure); err == nil || !strings.Contains(err.Error(), test.text) {
				t.Errorf("error %v, want %q", err, test.text)
			}
			s.closed(t)
		})
	}
	t.Run("stopped", func(t *testing.T) {
		t.Parallel()
		sshdtest.CheckLeaks(t)
		s := newFakeAgent(t, serving(newKeyring(t)))
		a := acquire(t, s)
		f := relayed(t.Context(), t, a)
		if answer := f.ask([]byte{11}); !bytes.Equal(answer, []byte{12, 0, 0, 0, 0}) {
			t.Errorf("answer %x", answer)
		}
		s.stop()
		f.Write(packet(11))
		wantError(t, f.ends(failure), nil)
		s.start(t)
		if answer := relayed(t.Context(), t, a).ask([]byte{11}); answer[0] != 12 {
			t.Errorf("answer %x", answer)
		}
	})
}

// TestRelayKeyring uses the agent client of x/crypto through the relay.
func TestRelayKeyring(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	key := fixedKey(t)
	s := newFakeAgent(t, serving(newKeyring(t, key)))
	client := agent.NewClient(relayed(t.Context(), t, acquire(t, s)))
	keys, err := client.List()
	if err != nil || len(keys) != 1 || keys[0].Comment != "test" {
		t.Fatal(keys, err)
	}
	signature, err := client.Sign(keys[0], []byte("data"))
	if err != nil {
		t.Fatal(err)
	}
	if err := public(t, key).Verify([]byte("data"), signature); err != nil {
		t.Error(err)
	}
}

// TestRelayConnections checks that each request has its own connection to the agent, which ends
// with the answer.
func TestRelayConnections(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	s := newFakeAgent(t, answers(agreed))
	f := relayed(t.Context(), t, acquire(t, s))
	almost := append(bytes.Clone(bind[:len(bind)-40]), 'x')
	for i, request := range [][]byte{{11}, {messageExtension}, almost, {11}} {
		f.ask(request)
		s.closed(t)
		if made := int(s.made.Load()); made != i+1 {
			t.Errorf("%d connections for %d requests", made, i+1)
		}
	}
	f.Close()
	if err := <-f.done; err != nil {
		t.Error(err)
	}
}

// TestRelayUnread checks that a remote client that does not read its answer does not keep a
// connection to the agent open.
func TestRelayUnread(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	s := newFakeAgent(t, serving(newKeyring(t)))
	f := relayed(t.Context(), t, acquire(t, s))
	f.Write(packet(11))
	sshdtest.Eventually(t, patience, "the agent was asked", func() bool { return s.made.Load() == 1 })
	s.closed(t)
	f.Close()
	wantError(t, <-f.done, io.ErrClosedPipe)
}

// TestRelaySockets checks the limit of concurrent requests. Each answer lets another request begin,
// and the end of the context ends all.
func TestRelaySockets(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	release := make(chan struct{})
	releaseAll := sync.OnceFunc(func() { close(release) })
	s := newFakeAgent(t, answers(func(request []byte) ([]byte, bool) {
		<-release
		return packet(request...), true
	}))
	defer releaseAll()
	a := acquire(t, s)
	const n, step = 3 * maxSockets, 10
	ctx, cancel := context.WithCancelCause(t.Context())
	var remotes []*far
	answered := make(chan struct{}, n)
	var wg sync.WaitGroup
	for i := range n {
		f := relayed(ctx, t, a)
		remotes = append(remotes, f)
		wg.Go(func() {
			f.Write(packet(byte(i)))
			answer, err := readMessage(f)
			if err != nil || len(answer) != 1 || answer[0] != byte(i) && answer[0] != messageFailure {
				t.Errorf("answer %x, %v", answer, err)
			}
			answered <- struct{}{}
		})
	}
	for round := range 4 {
		want := int32(maxSockets + round*step)
		sshdtest.Eventually(t, patience, fmt.Sprintf("%d connections", want), func() bool { return s.made.Load() >= want })
		// The fakeAgent notices a moment later that a connection was closed.
		sshdtest.Eventually(t, patience, "at most maxSockets connections are open", func() bool { return s.open.Load() <= maxSockets })
		if made := s.made.Load(); made != want {
			t.Fatalf("%d connections, want %d", made, want)
		}
		if round == 3 {
			break
		}
		for range step {
			release <- struct{}{}
		}
		for range step {
			<-answered
		}
	}
	why := errors.New("the connection ended")
	cancel(why)
	wg.Wait()
	releaseAll()
	failed := 0
	for _, f := range remotes {
		f.Close()
		if err := <-f.done; err != nil {
			failed++
		}
	}
	if failed != n-3*step || len(a.sockets) != 0 {
		t.Errorf("%d failed, %d sockets in use", failed, len(a.sockets))
	}
	if answer := relayed(t.Context(), t, a).ask([]byte{7}); answer[0] != 7 {
		t.Errorf("answer %x after the requests that failed", answer)
	}
}

// TestRelayBoundSessionsLeaveRoom checks that idle relays do not count towards the limit.
func TestRelayBoundSessionsLeaveRoom(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	s := newFakeAgent(t, answers(agreed))
	a := acquire(t, s)
	for range maxSockets {
		relayed(t.Context(), t, a).ask(bind)
	}
	f := relayed(t.Context(), t, a)
	answered := make(chan byte, 1)
	go func() {
		f.Write(packet(11))
		answer, err := readMessage(f)
		if err == nil {
			answered <- answer[0]
		}
	}()
	select {
	case <-answered:
	case <-time.After(patience):
		t.Errorf("no answer while %d bound sessions idle", maxSockets)
	}
}
