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
	// maxSockets limits the connections of relays to one agent.
	maxSockets = 64
	// maxMessage limits the size of a message. It is the limit of OpenSSH's agent
	// (AGENT_MAX_LEN).
	maxMessage = 256 << 10
)

// Message types of the agent protocol (draft-ietf-sshm-ssh-agent, section 6.1).
const (
	messageFailure   = 5
	messageExtension = 27
)

// Relay forwards the requests on remote, a channel of agent forwarding, to the agent, and its
// answers back. It returns nil at the end of remote, and an error if a read or write fails, the
// agent does not answer, or ctx ends during a request. It does not close remote. ctx does not end a
// read from remote: the caller closes remote for that.
//
// Each request uses its own connection to the agent, so that idle channels do not occupy the agent.
// At most 64 requests of all relays run at once; others wait.
//
// Relay refuses requests of remote clients to bind their session to the connection
// (session-bind@openssh.com), which clients tolerate. ssh first binds the connection to the host
// that it forwards to. That takes a signature from the key exchange, which the SSH library does not
// expose. If the agent saw only the binding of the remote client, it would take that client for a
// local one, and let the host use keys that are restricted to local use. Without any binding, the
// agent does not sign with such keys.
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
				// The remote client learns that the request failed, but not why.
				return errors.Join(fmt.Errorf("SSH agent: %w", err), writeMessage(remote, []byte{messageFailure}))
			}
		}
		if err := writeMessage(remote, answer); err != nil {
			return fmt.Errorf("SSH agent: answer to the host: %w", err)
		}
	}
}

// ask sends one request to the agent on a new connection and returns the answer.
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

// readMessage reads one message: its length and that many bytes (section 3 of the draft). It
// allocates memory as bytes arrive, so that a false length takes none.
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
