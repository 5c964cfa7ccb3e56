package gss

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// The limits of exchanges with KDCs.
const (
	maxExchanges = 8                // concurrent exchanges of one Credentials
	tryNext      = time.Second      // how long to wait before the next KDC is asked as well
	tryTimeout   = 10 * time.Second // for one KDC
	maxReply     = 1 << 20          // bytes, over TCP
	maxUDPReply  = 1 << 16          // bytes
)

// exchanger sends requests to KDCs. Its methods may be called concurrently.
type exchanger struct {
	config *config
	slots  chan struct{} // holds a value for each running exchange
	clock  *clock
}

// unreachable means that no KDC of a realm answered.
type unreachable struct {
	realm string
	tried []string // "address: reason"
	cause error    // the end of the context, if that ended the exchange
}

// Error returns the addresses, with the error of each.
func (e *unreachable) Error() string {
	return fmt.Sprintf("no KDC of %s answers: %s", e.realm, strings.Join(e.tried, ", "))
}

// Unwrap returns the end of the context, or nil.
func (e *unreachable) Unwrap() error { return e.cause }

// add records the error of an address. The same error over UDP and TCP is recorded once.
func (e *unreachable) add(a attempt, reason string) {
	if text := a.hostPort + ": " + reason; !slices.Contains(e.tried, text) {
		e.tried = append(e.tried, text)
	}
}

// attempt is one way to send a request: a protocol and an address.
type attempt struct{ network, hostPort string }

// attempts returns all KDCs with the preferred protocol for a request of that size, followed by all
// with the other protocol.
func (x *exchanger) attempts(kdcs []address, size int) []attempt {
	order := []string{"udp", "tcp"}
	if size > x.config.maxDatagram() {
		order = []string{"tcp", "udp"}
	}
	var list []attempt
	for _, network := range order {
		for _, kdc := range kdcs {
			if kdc.network == "" || kdc.network == network {
				list = append(list, attempt{network, kdc.hostPort})
			}
		}
	}
	return list
}

// answer is the result of an attempt.
type answer struct {
	attempt
	reply []byte
	err   error
}

// exchange sends a request to the KDCs of a realm and returns the first reply, which may be a
// KRB-ERROR. If a KDC does not answer within tryNext, the next one is asked as well.
func (x *exchanger) exchange(ctx context.Context, realm string, request []byte) ([]byte, error) {
	select {
	case x.slots <- struct{}{}:
		defer func() { <-x.slots }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if realm == "" {
		return nil, errNoRealm
	}
	kdcs, err := x.config.kdcs(ctx, realm)
	if err != nil {
		return nil, advise(err, "name its KDCs in krb5.conf")
	}
	todo := x.attempts(kdcs, len(request))
	answers := make(chan answer, len(todo))
	attemptCtx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()

	failed := &unreachable{realm: realm}
	next := time.NewTimer(0)
	defer next.Stop()
	var running []attempt
	for len(running) > 0 || len(todo) > 0 {
		select {
		case <-next.C:
			if len(todo) == 0 {
				continue
			}
			a := todo[0]
			todo, running = todo[1:], append(running, a)
			wg.Go(func() {
				reply, err := a.send(attemptCtx, request)
				answers <- answer{a, reply, err}
			})
			next.Reset(tryNext)
		case got := <-answers:
			if got.err == nil {
				return got.reply, nil
			}
			i := slices.Index(running, got.attempt)
			running = slices.Delete(running, i, i+1)
			failed.add(got.attempt, networkReason(got.err))
			next.Reset(0)
		case <-ctx.Done():
			for _, a := range running {
				failed.add(a, "no answer")
			}
			failed.cause = context.Cause(ctx)
			return nil, advise(failed, hintNetwork)
		}
	}
	return nil, advise(failed, hintNetwork)
}

// hintNetwork is the hint if no KDC answers.
const hintNetwork = "is the network up?"

// errNoRealm means that the realm of the client is not known.
var errNoRealm = advise(errors.New("the realm is not known"), "set default_realm in krb5.conf, or give the client with its realm: name@REALM")

// networkReason returns the text of a network error without the address, which the message contains
// already.
func networkReason(err error) string {
	if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
		return "no answer"
	}
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		err = op.Err
	}
	if call := (*os.SyscallError)(nil); errors.As(err, &call) {
		err = call.Err
	}
	return err.Error()
}

// send sends a request to one KDC. A reply that the KDC is not available counts as an error, so
// that the next one is asked.
func (a attempt) send(ctx context.Context, request []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	reply, err := a.roundTrip(ctx, request)
	if err != nil {
		return nil, err
	}
	if !isError(reply) {
		return reply, nil
	}
	kerr, err := parseError(reply)
	switch {
	case err != nil:
		return nil, err
	case kerr.code == codeTooBig && a.network == "udp":
		return attempt{"tcp", a.hostPort}.send(ctx, request)
	case kerr.code == codeUnavailable:
		return nil, kerr
	}
	return reply, nil
}

func (a attempt) roundTrip(ctx context.Context, request []byte) ([]byte, error) {
	conn, err := new(net.Dialer).DialContext(ctx, a.network, a.hostPort)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer endWith(ctx, conn)()
	if a.network == "udp" {
		return datagram(conn, request)
	}
	return overTCP(conn, request)
}

// endWith makes reads and writes fail when ctx ends, until stop is called.
func endWith(ctx context.Context, conn net.Conn) (stop func() bool) {
	// SetDeadline fails only on a closed connection, whose reads and writes fail as well.
	return context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
}

// datagram sends a request in one packet, and once more after tryNext: packets may get lost.
func datagram(conn net.Conn, request []byte) ([]byte, error) {
	reply := make([]byte, maxUDPReply)
	// If this write fails, the read below does too, or it gets the reply to the first packet.
	resend := time.AfterFunc(tryNext, func() { _, _ = conn.Write(request) })
	defer resend.Stop()
	if _, err := conn.Write(request); err != nil {
		return nil, err
	}
	n, err := conn.Read(reply)
	if err != nil {
		return nil, err
	}
	return reply[:n], nil
}

// overTCP sends a length-prefixed request and reads the length-prefixed reply (RFC 4120, section
// 7.2.2).
func overTCP(conn io.ReadWriter, request []byte) ([]byte, error) {
	framed := append(binary.BigEndian.AppendUint32(nil, uint32(len(request))), request...)
	if _, err := conn.Write(framed); err != nil {
		return nil, err
	}
	var head [4]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return nil, noReply(err)
	}
	length := binary.BigEndian.Uint32(head[:])
	if length == 0 || length > maxReply {
		return nil, errMalformed
	}
	// CopyN allocates as bytes arrive, so that a false length takes no memory.
	var reply bytes.Buffer
	if _, err := io.CopyN(&reply, conn, int64(length)); err != nil {
		return nil, noReply(err)
	}
	return reply.Bytes(), nil
}

// noReply returns an error with a plain text if err is the end of the connection.
func noReply(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("connection closed")
	}
	return err
}
