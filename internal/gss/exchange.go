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

// The limits of talking to KDCs.
const (
	maxExchanges = 8                // at once, by one Credentials
	tryNext      = time.Second      // after which the next KDC is asked too
	tryTimeout   = 10 * time.Second // for one KDC
	maxReply     = 1 << 20          // bytes, by TCP
	maxUDPReply  = 1 << 16
)

// exchanger talks to KDCs. Any number of goroutines may use it.
type exchanger struct {
	config *config
	slots  chan struct{} // holds a value for each exchange that is running
	clock  *clock
}

// unreachable says that no KDC of a realm has answered.
type unreachable struct {
	realm string
	tried []string // address and reason
	cause error    // why no more was tried, if there was more to try
}

// Error names the addresses, and what was wrong with each.
func (e *unreachable) Error() string {
	return fmt.Sprintf("no KDC of %s answers: %s", e.realm, strings.Join(e.tried, ", "))
}

// Unwrap returns the end of the context, if that was the reason.
func (e *unreachable) Unwrap() error { return e.cause }

// add notes what was wrong with an address, once for both protocols.
func (e *unreachable) add(a attempt, reason string) {
	if said := a.hostPort + ": " + reason; !slices.Contains(e.tried, said) {
		e.tried = append(e.tried, said)
	}
}

// attempt is a way to send a request.
type attempt struct{ network, hostPort string }

// attempts lists them: all KDCs by the protocol for requests of that size, and then by
// the other.
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

// answer is what came of an attempt.
type answer struct {
	attempt
	reply []byte
	err   error
}

// exchange sends a request to the KDCs of a realm and returns the first reply, which
// may be a KRB-ERROR. A KDC that is silent is not waited for: the next is asked too.
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

// hintNetwork is the advice if no KDC answers.
const hintNetwork = "is the network up?"

// errNoRealm says that there is no realm to ask.
var errNoRealm = advise(errors.New("no realm is known"), "set default_realm in krb5.conf, or give the client with its realm: name@REALM")

// networkReason says what was wrong without the address, which is said already.
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

// send sends a request to one KDC. A KDC that says that it cannot serve counts as one
// that does not answer.
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

// endWith makes reading and writing fail when a context ends, until stop is called.
func endWith(ctx context.Context, conn net.Conn) (stop func() bool) {
	return context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
}

// datagram sends a request as one packet, and again if there is no reply in a while:
// packets may get lost.
func datagram(conn net.Conn, request []byte) ([]byte, error) {
	reply := make([]byte, maxUDPReply)
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

// overTCP sends a request with its length in front, as the reply comes (RFC 4120
// section 7.2.2).
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
	// As it comes, so that a length that is a lie takes no memory.
	var reply bytes.Buffer
	if _, err := io.CopyN(&reply, conn, int64(length)); err != nil {
		return nil, noReply(err)
	}
	return reply.Bytes(), nil
}

// noReply gives the end of a connection a name.
func noReply(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("connection closed")
	}
	return err
}
