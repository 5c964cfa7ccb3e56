package sshagent

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// seeds adds bytes that remote clients may send.
func seeds(f *testing.F) {
	key := public(f, fixedKey(f)).Marshal()
	signRequest := ssh.Marshal(struct {
		Type      byte
		Key, Data []byte
		Flags     uint32
	}{13, key, []byte("data"), 4})
	for _, seed := range [][]byte{
		nil, {0}, packet(), packet(11), packet(11, 0), packet(19), packet(messageExtension), packet(255),
		packet(bind...), packet(signRequest...), packet(signRequest[:20]...), packet(bind[:10]...),
		slices.Concat(packet(11), packet(bind...), packet(signRequest...), packet(11)),
		slices.Concat(packet(22, 0, 0, 0, 1, 'x'), packet(11), packet(23, 0, 0, 0, 1, 'x'), packet(11)),
		slices.Concat(packet(11), []byte{0, 4, 0, 1, 11}), slices.Concat(packet(11), []byte{0, 0, 0}),
		slices.Concat(packet(signRequest...), []byte{0, 0, 0, 9, 11}), []byte("\xff\xff\xff\xff"),
	} {
		f.Add(seed)
	}
}

// FuzzReadMessage checks that readMessage returns the message that was sent, or an error.
func FuzzReadMessage(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bytes.NewReader(data)
		message, err := readMessage(r)
		announced := -1
		if len(data) >= 4 {
			announced = int(binary.BigEndian.Uint32(data))
		}
		switch {
		case announced < 0:
			if want := map[bool]error{true: io.EOF, false: io.ErrUnexpectedEOF}[len(data) == 0]; err != want {
				t.Errorf("error %v, want %v", err, want)
			}
		case announced == 0 || announced > maxMessage:
			if err == nil || !strings.Contains(err.Error(), "it must have") || r.Len() != len(data)-4 {
				t.Errorf("error %v, %d bytes read", err, len(data)-r.Len())
			}
		case len(data) < 4+announced:
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("error %v", err)
			}
		default:
			if err != nil || !bytes.Equal(message, data[4:4+announced]) || r.Len() != len(data)-4-announced {
				t.Errorf("%x, %v", message, err)
			}
			var b bytes.Buffer
			if err := writeMessage(&b, message); err != nil || !bytes.Equal(b.Bytes(), data[:4+announced]) {
				t.Errorf("written as %x, %v", b.Bytes(), err)
			}
		}
	})
}

// FuzzBinds compares binds with the decoder of the SSH library.
func FuzzBinds(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(bind)
	for _, n := range []int{1, 4, 5, 28, 29, 30} {
		f.Add(bytes.Clone(bind[:n]))
	}
	f.Add(slices.Concat([]byte{11}, bind[1:]))
	f.Add(slices.Concat(bind[:4], []byte{23}, bind[5:]))
	f.Add(append([]byte{messageExtension, 0xff, 0xff, 0xff, 0xff}, bind[5:]...))
	f.Fuzz(func(t *testing.T, request []byte) {
		var read struct {
			Name string
			Rest []byte `ssh:"rest"`
		}
		want := len(request) > 0 && request[0] == messageExtension &&
			ssh.Unmarshal(request[1:], &read) == nil && read.Name == "session-bind@openssh.com"
		if got := binds(request); got != want {
			t.Errorf("%x: %v", request, got)
		}
	})
}

// FuzzRelay checks that a remote client gets the same answers as from the agent itself, up to the
// first bytes that are not a message.
func FuzzRelay(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		var valid []byte // the messages before the first error
		invalid := false
		for r := bytes.NewReader(data); ; {
			message, err := readMessage(r)
			if err != nil {
				invalid = err != io.EOF
				break
			}
			valid = append(valid, packet(message...)...)
		}
		direct := &script{Reader: bytes.NewReader(valid)}
		agent.ServeAgent(newKeyring(t, fixedKey(t)), direct)

		ring := newKeyring(t, fixedKey(t))
		s := newFakeAgent(t, func(conn net.Conn) { agent.ServeAgent(ring, conn) })
		defer s.stop()
		var table Table
		a := table.Acquire(s.path)
		defer table.Release(a)
		remote := &script{Reader: bytes.NewReader(data)}
		if err := a.Relay(t.Context(), remote); (err != nil) != invalid {
			t.Errorf("error %v", err)
		}
		if !bytes.Equal(remote.Bytes(), direct.Bytes()) {
			t.Errorf("%x\nwant\n%x", remote.Bytes(), direct.Bytes())
		}
		if n := len(a.sockets); n != 0 {
			t.Errorf("%d sockets in use", n)
		}
	})
}
