package transport

import (
	"errors"
	"fmt"
	"io"

	"fleetssh/internal/socks"
)

// This file implements SOCKS 5 (RFC 1928) with user and password (RFC 1929). Replies are read
// exactly to their end: the bytes after them belong to the connection.

const (
	socksLoginVersion = 1 // RFC 1929, section 2
	socksPassword     = 0x02
)

// socksConnect asks a SOCKS proxy for a connection to t.
func socksConnect(proxy io.ReadWriter, login *login, t target) error {
	methods := []byte{socks.NoAuthentication}
	if login != nil {
		methods = append(methods, socksPassword)
	}
	if _, err := proxy.Write(append([]byte{socks.Version5, byte(len(methods))}, methods...)); err != nil {
		return err
	}
	method, err := readSocksMethod(proxy)
	switch {
	case err != nil:
		return err
	case method == socks.NoAuthentication:
	case method == socksPassword && login != nil:
		if err := socksLogin(proxy, login); err != nil {
			return err
		}
	case method == socks.NoAcceptableMethod && login == nil:
		return errors.New("it requires a login, and the URL has no user and password")
	case method == socks.NoAcceptableMethod:
		return errors.New("it does not accept a user and password")
	default:
		return fmt.Errorf("it requires login method %d, which was not offered", method)
	}
	if _, err := proxy.Write(socksRequest(t)); err != nil {
		return err
	}
	return readSocksReply(proxy)
}

// readSocksMethod reads the login method that the proxy has selected.
func readSocksMethod(r io.Reader) (byte, error) {
	var answer [2]byte
	// Check the first byte before reading on: another kind of server may send only one.
	if _, err := io.ReadFull(r, answer[:1]); err != nil {
		return 0, err
	}
	if err := socksSpoken(answer[0]); err != nil {
		return 0, err
	}
	_, err := io.ReadFull(r, answer[1:])
	return answer[1], err
}

func socksSpoken(version byte) error {
	if version != socks.Version5 {
		return fmt.Errorf("it does not speak SOCKS 5: its answer begins with %q", []byte{version})
	}
	return nil
}

// socksLogin logs in with a user and password, of at most 255 bytes each.
func socksLogin(proxy io.ReadWriter, login *login) error {
	message := []byte{socksLoginVersion, byte(len(login.user))}
	message = append(message, login.user...)
	message = append(message, byte(len(login.password)))
	message = append(message, login.password...)
	if _, err := proxy.Write(message); err != nil {
		return err
	}
	var answer [2]byte
	if _, err := io.ReadFull(proxy, answer[:]); err != nil {
		return err
	}
	if answer[0] != socksLoginVersion {
		return fmt.Errorf("its answer to the login has version %d", answer[0])
	}
	if answer[1] != 0 {
		return errors.New("it rejected the user and password")
	}
	return nil
}

// socksRequest returns a CONNECT request.
func socksRequest(t target) []byte {
	const connect = 1
	message := []byte{socks.Version5, connect, 0}
	switch {
	case t.addr.Is4():
		message = append(append(message, socks.IPv4), t.addr.AsSlice()...)
	case t.addr.IsValid():
		message = append(append(message, socks.IPv6), t.addr.AsSlice()...)
	default:
		message = append(append(message, socks.DomainName, byte(len(t.name))), t.name...)
	}
	return append(message, byte(t.port>>8), byte(t.port))
}

// readSocksReply reads the reply to a request. After a refusal, it does not wait for the rest of
// the reply.
func readSocksReply(r io.Reader) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:2]); err == io.EOF {
		return errNoAnswer
	} else if err != nil {
		return err
	}
	if err := socksSpoken(head[0]); err != nil {
		return err
	}
	switch reply := socks.Reply(head[1]); reply {
	case socks.Granted:
	case socks.NetworkUnreachable, socks.HostUnreachable, socks.ConnectionRefused, socks.TTLExpired:
		return errTarget{errors.New(reply.String())}
	default:
		return fmt.Errorf("it refused: %v", reply)
	}
	if _, err := io.ReadFull(r, head[2:]); err != nil {
		return err
	}
	_, _, err := socks.ReadAddress(r, head[3]) // the local address of the proxy
	return err
}
