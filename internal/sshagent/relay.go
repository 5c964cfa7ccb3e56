package sshagent

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

const (
	// maxSockets is how many connections to the agent relays have at once.
	maxSockets = 64
	// maxMessage is the longest message that is handed on: that of OpenSSH's
	// agent (AGENT_MAX_LEN).
	maxMessage = 256 << 10
)

// Types of messages of the agent protocol (draft-ietf-sshm-ssh-agent, section 6.1).
const (
	messageFailure   = 5
	messageExtension = 27
)

// Relay hands the requests that come on remote, a forwarded channel, on to the
// agent, and its answers back, until either side ends or ctx does. It returns when
// remote has ended; closing that is left to the caller.
//
// The agent sees a connection only while a request is under way: hosts that keep
// channels open and say nothing cost it nothing. At most 64 requests of all relays
// are under way at once; others wait.
//
// A remote client that wants to bind its session to the connection
// (session-bind@openssh.com) is refused, which it takes in its stride. ssh binds
// the connection to the host that it forwards to before anybody else can, which
// takes a signature of the key exchange that the SSH library does not hand out. An
// agent that saw only the binding of the remote client would take it for a local
// one, and let the host use keys that may be used from here alone. Without any, it
// signs with no key that has such a constraint.
func (a *Agent) Relay(ctx context.Context, remote io.ReadWriter) error {
	for {
		request, err := readMessage(remote)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("SSH agent: request of the host: %w", err)
		}
		answer := []byte{messageFailure}
		if !binds(request) {
			if answer, err = a.ask(ctx, request); err != nil {
				// The remote client learns that it failed, not why: that stays here.
				return errors.Join(fmt.Errorf("SSH agent: %w", err), writeMessage(remote, []byte{messageFailure}))
			}
		}
		if err := writeMessage(remote, answer); err != nil {
			return fmt.Errorf("SSH agent: answer to the host: %w", err)
		}
	}
}

// ask makes one request to the agent, over a connection of its own.
func (a *Agent) ask(ctx context.Context, request []byte) ([]byte, error) {
	select {
	case a.sockets <- struct{}{}:
		defer func() { <-a.sockets }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	dialer := net.Dialer{Timeout: 5 * time.Second}
	conn, err := dialer.DialContext(ctx, "unix", a.path)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	return exchange(conn, request)
}

func exchange(conn net.Conn, request []byte) ([]byte, error) {
	if err := writeMessage(conn, request); err != nil {
		return nil, err
	}
	return readMessage(conn)
}

// binds reports whether a request is session-bind@openssh.com.
func binds(request []byte) bool {
	const name = "session-bind@openssh.com"
	return len(request) >= 5+len(name) && request[0] == messageExtension &&
		binary.BigEndian.Uint32(request[1:]) == uint32(len(name)) && string(request[5:5+len(name)]) == name
}

// readMessage reads one message: its length and as many bytes (section 3 of the
// draft). Memory is taken as they come, not as the length says.
func readMessage(r io.Reader) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(length[:])
	if n == 0 || n > maxMessage {
		return nil, fmt.Errorf("message of %d bytes; it must have 1 to %d", n, maxMessage)
	}
	message, err := io.ReadAll(io.LimitReader(r, int64(n)))
	if err == nil && len(message) < int(n) {
		err = io.ErrUnexpectedEOF
	}
	return message, err
}

func writeMessage(w io.Writer, message []byte) error {
	packet := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(message)), uint32(len(message)))
	_, err := w.Write(append(packet, message...))
	return err
}
