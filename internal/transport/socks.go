package transport

import (
	"errors"
	"fmt"
	"io"

	"fleetssh/internal/socks"
)

// The protocol of RFC 1928, and the login of RFC 1929. Every answer is read to its
// last byte and not further: what follows belongs to the connection.

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
		return errors.New("it wants a login, and the URL holds no user and password")
	case method == socks.NoAcceptableMethod:
		return errors.New("it takes no user and password")
	default:
		return fmt.Errorf("it wants login method %d, which was not offered", method)
	}
	if _, err := proxy.Write(socksRequest(t)); err != nil {
		return err
	}
	return readSocksReply(proxy)
}

// readSocksMethod reads which login the proxy wants.
func readSocksMethod(r io.Reader) (byte, error) {
	var answer [2]byte
	// Byte by byte: something else that listens there may send no more than one.
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

// socksLogin logs in with user and password, which are at most 255 bytes long.
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
		return errors.New("it refused user and password")
	}
	return nil
}

// socksRequest returns the message that asks for a connection.
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

// readSocksReply reads the answer to a request. After a refusal, the rest of the
// answer is not waited for.
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
	_, _, err := socks.ReadAddress(r, head[3]) // where it connects from, which nobody needs
	return err
}
