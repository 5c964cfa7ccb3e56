package simfleet

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"

	"golang.org/x/crypto/ssh"
)

// PacketConn is the server's side of an SSH connection, packet by packet, for hosts that send what
// x/crypto's server never sends. It supports one algorithm of each kind: curve25519-sha256,
// ssh-ed25519 and aes128-gcm@openssh.com. Only one goroutine may use it at a time.
type PacketConn struct {
	conn    net.Conn
	in, out *gcm // nil before the keys are exchanged
}

// gcm is one direction of aes128-gcm@openssh.com (RFC 5647).
type gcm struct {
	cipher.AEAD
	nonce [12]byte
}

// Message numbers (RFC 4253, section 12, and RFC 5656, section 7.1).
const (
	msgServiceAccept = 6
	msgKexInit       = 20
	msgNewKeys       = 21
	msgECDHInit      = 30
	msgECDHReply     = 31
)

// NewPacketConn exchanges versions and keys, and accepts the service that the client requests.
// key must be of the type ed25519.
func NewPacketConn(conn net.Conn, key ssh.Signer) (*PacketConn, error) {
	const version = "SSH-2.0-packets"
	p := &PacketConn{conn: conn}
	if _, err := io.WriteString(conn, version+"\r\n"); err != nil {
		return nil, err
	}
	theirs, err := p.readVersion()
	if err != nil {
		return nil, err
	}
	ours := p.kexInit()
	if err := p.WritePacket(ours); err != nil {
		return nil, err
	}
	init, err := p.ReadPacket()
	if err != nil {
		return nil, err
	}
	request, err := p.ReadPacket()
	if err != nil || len(request) < 5 || request[0] != msgECDHInit {
		return nil, fmt.Errorf("key exchange: %w", errors.Join(err, errors.New("not SSH_MSG_KEX_ECDH_INIT")))
	}
	var theirPublic struct{ Q []byte }
	if err := ssh.Unmarshal(request[1:], &theirPublic); err != nil {
		return nil, err
	}
	private, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	public, err := ecdh.X25519().NewPublicKey(theirPublic.Q)
	if err != nil {
		return nil, err
	}
	shared, err := private.ECDH(public)
	if err != nil {
		return nil, err
	}
	secret := new(big.Int).SetBytes(shared)
	blob := key.PublicKey().Marshal()
	hash := sha256.Sum256(ssh.Marshal(struct {
		ClientVersion, ServerVersion string
		ClientInit, ServerInit, Key  []byte
		QC, QS                       []byte
		K                            *big.Int
	}{theirs, version, init, ours, blob, theirPublic.Q, private.PublicKey().Bytes(), secret}))
	signature, err := key.Sign(rand.Reader, hash[:])
	if err != nil {
		return nil, err
	}
	reply := ssh.Marshal(struct {
		Key, Q, Signature []byte
	}{blob, private.PublicKey().Bytes(), ssh.Marshal(signature)})
	if err := p.WritePacket(append([]byte{msgECDHReply}, reply...)); err != nil {
		return nil, err
	}
	if err := p.WritePacket([]byte{msgNewKeys}); err != nil {
		return nil, err
	}
	// The keys derived from the shared secret (RFC 4253, section 7.2).
	derive := func(letter byte, n int) []byte {
		sum := sha256.Sum256(append(ssh.Marshal(struct{ K *big.Int }{secret}), append(hash[:], append([]byte{letter}, hash[:]...)...)...))
		return sum[:n]
	}
	out, err := newGCM(derive('D', 16), derive('B', 12))
	if err != nil {
		return nil, err
	}
	in, err := newGCM(derive('C', 16), derive('A', 12))
	if err != nil {
		return nil, err
	}
	p.out = out
	for p.in == nil {
		packet, err := p.ReadPacket()
		if err != nil {
			return nil, err
		}
		if packet[0] == msgNewKeys {
			p.in = in
		}
	}
	packet, err := p.ReadPacket()
	if err != nil {
		return nil, err
	}
	packet[0] = msgServiceAccept // it names the service, as the request does
	return p, p.WritePacket(packet)
}

func newGCM(key, nonce []byte) (*gcm, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return &gcm{aead, [12]byte(nonce)}, nil
}

// next returns the nonce and increments it.
func (g *gcm) next() []byte {
	nonce := g.nonce
	binary.BigEndian.PutUint64(g.nonce[4:], binary.BigEndian.Uint64(g.nonce[4:])+1)
	return nonce[:]
}

func (p *PacketConn) readVersion() (string, error) {
	var line []byte
	for b := make([]byte, 1); len(line) < 255; {
		if _, err := io.ReadFull(p.conn, b); err != nil {
			return "", err
		}
		if b[0] == '\n' {
			return strings.TrimSuffix(string(line), "\r"), nil
		}
		line = append(line, b[0])
	}
	return "", errors.New("the version line is too long")
}

// kexInit returns SSH_MSG_KEXINIT, which names the algorithms (RFC 4253, section 7.1).
func (p *PacketConn) kexInit() []byte {
	names := struct {
		Cookie                                     [16]byte
		Kex, HostKey, Cipher, Cipher2, MAC, MAC2   string
		Compression, Compression2, Lang, LangOther string
		Follows                                    bool
		Reserved                                   uint32
	}{
		Kex: "curve25519-sha256", HostKey: ssh.KeyAlgoED25519, Cipher: "aes128-gcm@openssh.com", Cipher2: "aes128-gcm@openssh.com",
		MAC: "hmac-sha2-256", MAC2: "hmac-sha2-256", Compression: "none", Compression2: "none",
	}
	return append([]byte{msgKexInit}, ssh.Marshal(names)...)
}

// WritePacket sends a message (RFC 4253, section 6).
func (p *PacketConn) WritePacket(payload []byte) error {
	block, header := 8, 5
	if p.out != nil {
		block, header = 16, 1 // the length is not encrypted
	}
	padding := block - (header+len(payload))%block
	if padding < 4 {
		padding += block
	}
	body := append([]byte{byte(padding)}, payload...)
	body = append(body, make([]byte, padding)...)
	packet := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	if p.out == nil {
		packet = append(packet, body...)
	} else {
		packet = p.out.Seal(packet, p.out.next(), body, packet)
	}
	_, err := p.conn.Write(packet)
	return err
}

// ReadPacket returns the next message. It is never empty.
func (p *PacketConn) ReadPacket() ([]byte, error) {
	length := make([]byte, 4)
	if _, err := io.ReadFull(p.conn, length); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint32(length))
	if n < 5 || n > 1<<18 {
		return nil, fmt.Errorf("invalid packet length %d", n)
	}
	if p.in != nil {
		n += p.in.Overhead()
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(p.conn, body); err != nil {
		return nil, err
	}
	if p.in != nil {
		var err error
		if body, err = p.in.Open(body[:0], p.in.next(), body, length); err != nil {
			return nil, err
		}
	}
	padding := int(body[0])
	if padding+2 > len(body) {
		return nil, errors.New("padding is longer than the packet")
	}
	return body[1 : len(body)-padding], nil
}
