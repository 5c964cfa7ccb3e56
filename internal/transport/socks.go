package transport

import (
	"errors"
	"fmt"
	"io"
)

// The protocol of RFC 1928, and the login of RFC 1929. Every answer is read to its
// last byte and not further: what follows belongs to the connection.

const (
	socksVersion      = 5
	socksLoginVersion = 1 // RFC 1929, section 2

	socksNoLogin  = 0x00
	socksPassword = 0x02
	socksNoMethod = 0xff

	socksIPv4 = 1
	socksName = 3
	socksIPv6 = 4
)

// socksReplies are the answers to a request (RFC 1928, section 6).
var socksReplies = map[byte]string{
	1: "general failure",
	2: "connection not allowed by ruleset",
	3: "network unreachable",
	4: "host unreachable",
	5: "connection refused",
	6: "TTL expired",
	7: "command not supported",
	8: "address type not supported",
}

// socksConnect asks a SOCKS proxy for a connection to t.
func socksConnect(proxy io.ReadWriter, login *login, t target) error {
	methods := []byte{socksNoLogin}
	if login != nil {
		methods = append(methods, socksPassword)
	}
	if _, err := proxy.Write(append([]byte{socksVersion, byte(len(methods))}, methods...)); err != nil {
		return err
	}
	method, err := readSocksMethod(proxy)
	switch {
	case err != nil:
		return err
	case method == socksNoLogin:
	case method == socksPassword && login != nil:
		if err := socksLogin(proxy, login); err != nil {
			return err
		}
	case method == socksNoMethod && login == nil:
		return errors.New("it wants a login, and the URL holds no user and password")
	case method == socksNoMethod:
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
	if version != socksVersion {
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
	message := []byte{socksVersion, connect, 0}
	switch {
	case t.addr.Is4():
		message = append(append(message, socksIPv4), t.addr.AsSlice()...)
	case t.addr.IsValid():
		message = append(append(message, socksIPv6), t.addr.AsSlice()...)
	default:
		message = append(append(message, socksName, byte(len(t.name))), t.name...)
	}
	return append(message, byte(t.port>>8), byte(t.port))
}

// readSocksReply reads the answer to a request. After a refusal, the rest of the
// answer is not waited for.
func readSocksReply(r io.Reader) error {
	var head [5]byte // with the first byte of the address, which may be its length
	if _, err := io.ReadFull(r, head[:2]); err == io.EOF {
		return errNoAnswer
	} else if err != nil {
		return err
	}
	if err := socksSpoken(head[0]); err != nil {
		return err
	}
	switch reply := head[1]; {
	case reply == 0:
	case reply >= 3 && reply <= 6:
		return errTarget{errors.New(socksReplies[reply])}
	case socksReplies[reply] != "":
		return fmt.Errorf("it refused: %s", socksReplies[reply])
	default:
		return fmt.Errorf("it refused: reply %d", reply)
	}
	if _, err := io.ReadFull(r, head[2:]); err != nil {
		return err
	}
	left := 2 // the port
	switch kind := head[3]; kind {
	case socksIPv4:
		left += 4 - 1
	case socksIPv6:
		left += 16 - 1
	case socksName:
		left += int(head[4])
	default:
		return fmt.Errorf("its answer holds an address of type %d", kind)
	}
	_, err := io.ReadFull(r, make([]byte, left)) // where it connects from, which nobody needs
	return err
}
