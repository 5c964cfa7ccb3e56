package transport

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"
)

// connectStagger is how long to wait for one address before the next is tried as well (RFC 8305,
// section 5).
const connectStagger = 250 * time.Millisecond

// Interleave returns the addresses with alternating address families, beginning with the family of
// the first one (RFC 8305, section 4).
func Interleave(addrs []netip.Addr, port uint16) []netip.AddrPort {
	var first, second []netip.AddrPort
	for _, addr := range addrs {
		addr = addr.Unmap()
		ap := netip.AddrPortFrom(addr, port)
		if len(first) == 0 || first[0].Addr().Is4() == addr.Is4() {
			first = append(first, ap)
		} else {
			second = append(second, ap)
		}
	}
	mixed := make([]netip.AddrPort, 0, len(addrs))
	for i := range max(len(first), len(second)) {
		if i < len(first) {
			mixed = append(mixed, first[i])
		}
		if i < len(second) {
			mixed = append(mixed, second[i])
		}
	}
	return mixed
}

// Race connects to the first address that answers. It tries the next one when an attempt has failed
// or has not succeeded within a quarter of a second. from are the local addresses to connect from:
// see [LocalAddrs].
func Race(ctx context.Context, from []netip.Addr, addrs []netip.AddrPort) (net.Conn, error) {
	if len(addrs) == 1 {
		return connectFrom(ctx, from, addrs[0])
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		conn net.Conn
		addr string
		err  error
	}
	results := make(chan result, len(addrs))
	running := 0
	defer func() {
		cancel() // ends the other attempts
		for ; running > 0; running-- {
			if r := <-results; r.conn != nil {
				r.conn.Close()
			}
		}
	}()
	var errs []error
	for next := 0; next < len(addrs) || running > 0; {
		var stagger <-chan time.Time
		if next < len(addrs) {
			to := addrs[next]
			next++
			running++
			go func() {
				conn, err := connectFrom(ctx, from, to)
				results <- result{conn, to.String(), err}
			}()
			stagger = time.After(connectStagger)
		}
		if next == len(addrs) {
			stagger = nil
		}
		select {
		case r := <-results:
			running--
			if r.err == nil {
				return r.conn, nil
			}
			errs = append(errs, &addressError{r.addr, WithoutAddress(r.err)})
		case <-stagger:
		}
	}
	if len(errs) == 0 {
		return nil, errors.New("the name has no address")
	}
	return nil, raceError(errs)
}

// addressError is the error of one of several addresses.
type addressError struct {
	addr string
	err  error
}

func (e *addressError) Error() string { return e.addr + ": " + e.err.Error() }
func (e *addressError) Unwrap() error { return e.err }

// raceError has the errors of several addresses.
type raceError []error

func (e raceError) Error() string {
	texts := make([]string, len(e))
	for i, err := range e {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

func (e raceError) Unwrap() []error { return e }

// WithoutAddress drops the address from a connect error, for messages that contain it already.
func WithoutAddress(err error) error {
	if op, ok := err.(*net.OpError); ok {
		if sys, ok := errors.AsType[syscall.Errno](op.Err); ok {
			return sys
		}
	}
	return err
}
