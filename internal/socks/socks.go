// Package socks implements the server's side of SOCKS: version 5 (RFC 1928) without
// authentication, and versions 4 and 4a. It serves the command CONNECT only.
//
// It reads each message to its last byte and not further: what follows belongs to the connection.
package socks

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
)

// The versions. A client sends its version as the first byte.
const (
	Version4 = 4
	Version5 = 5
)

// Authentication methods (RFC 1928, section 3).
const (
	NoAuthentication   = 0x00
	NoAcceptableMethod = 0xff
)

// Address types (RFC 1928, section 5).
const (
	IPv4       = 1
	DomainName = 3
	IPv6       = 4
)

// Reply is the answer to a request (RFC 1928, section 6).
type Reply byte

// The replies.
const (
	Granted Reply = iota
	GeneralFailure
	NotAllowed
	NetworkUnreachable
	HostUnreachable
	ConnectionRefused
	TTLExpired
	CommandNotSupported
	AddressNotSupported
)

// String implements [fmt.Stringer].
func (r Reply) String() string {
	texts := [...]string{
		"granted", "general failure", "connection not allowed by ruleset", "network unreachable", "host unreachable",
		"connection refused", "TTL expired", "command not supported", "address type not supported",
	}
	if int(r) < len(texts) {
		return texts[r]
	}
	return fmt.Sprintf("reply %d", byte(r))
}

const (
	connect = 1 // the command, in both versions

	// maxField bounds the fields of version 4, which end with a NUL.
	maxField = 255
)

// Request is a client's request for a connection.
type Request struct {
	Version byte
	Host    string // an IP address, or a name as it was sent: at most 255 arbitrary bytes
	Port    int
}

// ReadRequest reads from a client up to its request for a connection, and agrees on no
// authentication. The caller must then call Answer. If the client asks for something else,
// ReadRequest answers it and returns an error.
func ReadRequest(client io.ReadWriter) (*Request, error) {
	var version [1]byte
	if _, err := io.ReadFull(client, version[:]); err != nil {
		return nil, err
	}
	switch version[0] {
	case Version4:
		return readRequest4(client)
	case Version5:
		if err := agreeOnMethod(client); err != nil {
			return nil, err
		}
		return readRequest5(client)
	}
	return nil, fmt.Errorf("not SOCKS: it begins with %q", version[:])
}

// agreeOnMethod reads the authentication methods that the client offers, and chooses no
// authentication.
func agreeOnMethod(client io.ReadWriter) error {
	var n [1]byte
	if _, err := io.ReadFull(client, n[:]); err != nil {
		return noEOF(err)
	}
	methods := make([]byte, n[0])
	if _, err := io.ReadFull(client, methods); err != nil {
		return noEOF(err)
	}
	for _, method := range methods {
		if method == NoAuthentication {
			_, err := client.Write([]byte{Version5, NoAuthentication})
			return err
		}
	}
	_, err := client.Write([]byte{Version5, NoAcceptableMethod})
	return errors.Join(errors.New("the client requires authentication, which is not supported"), err)
}

func readRequest5(client io.ReadWriter) (*Request, error) {
	var head [4]byte // version, command, reserved, type of the address
	if _, err := io.ReadFull(client, head[:]); err != nil {
		return nil, noEOF(err)
	}
	r := &Request{Version: Version5}
	if head[0] != Version5 {
		return nil, fmt.Errorf("the request has version %d", head[0])
	}
	host, port, err := ReadAddress(client, head[3])
	if errors.Is(err, errAddressType) {
		return nil, errors.Join(err, r.Answer(client, AddressNotSupported))
	}
	if err != nil {
		return nil, err
	}
	if head[1] != connect {
		return nil, errors.Join(fmt.Errorf("command %d is not supported", head[1]), r.Answer(client, CommandNotSupported))
	}
	r.Host, r.Port = host, port
	return r, nil
}

var errAddressType = errors.New("unknown address type")

// ReadAddress reads an address of the type kind and the port after it (RFC 1928, section 5).
func ReadAddress(from io.Reader, kind byte) (host string, port int, err error) {
	var length [1]byte
	switch kind {
	case IPv4:
		length[0] = 4
	case IPv6:
		length[0] = 16
	case DomainName:
		if _, err := io.ReadFull(from, length[:]); err != nil {
			return "", 0, noEOF(err)
		}
	default:
		return "", 0, fmt.Errorf("%w: %d", errAddressType, kind)
	}
	field := make([]byte, int(length[0])+2)
	if _, err := io.ReadFull(from, field); err != nil {
		return "", 0, noEOF(err)
	}
	name, end := field[:length[0]], field[length[0]:]
	host = string(name)
	if kind != DomainName {
		addr, _ := netip.AddrFromSlice(name) // the length is 4 or 16
		host = addr.Unmap().String()
	}
	return host, int(end[0])<<8 | int(end[1]), nil
}

// readRequest4 reads a request of version 4 or 4a. In 4a, the address 0.0.0.x is followed by a
// name.
func readRequest4(client io.ReadWriter) (*Request, error) {
	var head [7]byte // command, port, address
	if _, err := io.ReadFull(client, head[:]); err != nil {
		return nil, noEOF(err)
	}
	if _, err := readField(client); err != nil { // the user, which is not checked
		return nil, err
	}
	addr := [4]byte(head[3:])
	r := &Request{Version: Version4, Host: netip.AddrFrom4(addr).String(), Port: int(head[1])<<8 | int(head[2])}
	if addr[0] == 0 && addr[1] == 0 && addr[2] == 0 && addr[3] != 0 {
		name, err := readField(client)
		if err != nil {
			return nil, err
		}
		r.Host = name
	}
	if head[0] != connect {
		return nil, errors.Join(fmt.Errorf("command %d is not supported", head[0]), r.Answer(client, CommandNotSupported))
	}
	return r, nil
}

// readField reads a string that ends with a NUL byte.
func readField(from io.Reader) (string, error) {
	var text []byte
	for {
		var b [1]byte
		switch _, err := io.ReadFull(from, b[:]); {
		case err != nil:
			return "", noEOF(err)
		case b[0] == 0:
			return string(text), nil
		case len(text) == maxField:
			return "", fmt.Errorf("a field is longer than %d bytes", maxField)
		}
		text = append(text, b[0])
	}
}

// Answer sends the client the reply to its request. The bound address in the reply is zero: SSH
// servers do not report it.
func (r *Request) Answer(client io.Writer, reply Reply) error {
	message := []byte{Version5, byte(reply), 0, IPv4, 0, 0, 0, 0, 0, 0}
	if r.Version == Version4 {
		const granted, refused = 0x5a, 0x5b
		message = []byte{0, granted, 0, 0, 0, 0, 0, 0}
		if reply != Granted {
			message[1] = refused
		}
	}
	_, err := client.Write(message)
	return err
}

// noEOF returns err, or [io.ErrUnexpectedEOF] for [io.EOF]: the client has ended within a message.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
