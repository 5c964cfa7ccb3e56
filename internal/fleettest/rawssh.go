package fleettest

import (
	"bufio"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"math/big"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"fleetssh"
)

// RawSSH is the server's side of an SSH connection, packet by packet, for tests of what x/crypto's
// server does by itself. It supports one algorithm of each kind, accepts every login, and does not
// exchange keys again.
type RawSSH struct {
	net.Conn
	r       *bufio.Reader
	in, out *sealing

	mu sync.Mutex // held while writing
}

// handshake exchanges keys (RFC 4253, sections 7 and 8; RFC 8731) and accepts the login.
func (r *RawSSH) handshake(key ssh.Signer) error {
	const version = "SSH-2.0-raw"
	io.WriteString(r.Conn, version+"\r\n")
	line, err := r.r.ReadString('\n')
	if err != nil {
		return err
	}
	list := func(names string) []byte { return ssh.Marshal(struct{ Names string }{names}) }
	mine := slices.Concat([]byte{msgKexInit}, make([]byte, 16), list("curve25519-sha256"), list("ssh-ed25519"),
		list(ssh.CipherAES128GCM), list(ssh.CipherAES128GCM), list(ssh.HMACSHA256), list(ssh.HMACSHA256),
		list("none"), list("none"), list(""), list(""), make([]byte, 5))
	r.WritePacket(mine)
	theirs, err := r.ReadPacket()
	if err != nil {
		return err
	}
	dh, err := r.ReadPacket()
	if err != nil || dh[0] != msgKexInitDH {
		return errors.Join(err, errors.New("no key exchange"))
	}
	private, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	public, err := ecdh.X25519().NewPublicKey(dh[5:])
	if err != nil {
		return err
	}
	shared, err := private.ECDH(public)
	if err != nil {
		return err
	}
	secret := ssh.Marshal(struct{ K *big.Int }{new(big.Int).SetBytes(shared)})
	hash := sha256.Sum256(append(ssh.Marshal(struct{ VC, VS, IC, IS, KS, QC, QS []byte }{
		[]byte(strings.TrimRight(line, "\r\n")), []byte(version), theirs, mine, key.PublicKey().Marshal(), dh[5:], private.PublicKey().Bytes(),
	}), secret...))
	signature, err := key.Sign(rand.Reader, hash[:])
	if err != nil {
		return err
	}
	r.WritePacket(ssh.Marshal(struct {
		Key       []byte `sshtype:"31"`
		Public    []byte
		Signature []byte
	}{key.PublicKey().Marshal(), private.PublicKey().Bytes(), ssh.Marshal(signature)}))
	r.WritePacket([]byte{msgNewKeys})
	derive := func(name byte) []byte {
		k := sha256.Sum256(slices.Concat(secret, hash[:], []byte{name}, hash[:]))
		return k[:]
	}
	r.out = newSealing(derive('D'), derive('B'))
	if !r.Await(msgNewKeys) {
		return errors.New("no new keys")
	}
	r.in = newSealing(derive('C'), derive('A'))
	if _, err := r.ReadPacket(); err != nil { // service request
		return err
	}
	r.WritePacket(ssh.Marshal(struct {
		Name string `sshtype:"6"`
	}{"ssh-userauth"}))
	if !r.Await(msgLogin) {
		return errors.New("no login")
	}
	r.WritePacket([]byte{msgLoggedIn})
	return nil
}

// WritePacket sends a packet with a payload. Several goroutines may call it at the same time.
func (r *RawSSH) WritePacket(payload []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	block, counted := 8, 5 // the length field counts for the padding
	if r.out != nil {
		block, counted = 16, 1
	}
	padding := block - (counted+len(payload))%block
	if padding < 4 {
		padding += block
	}
	length := binary.BigEndian.AppendUint32(nil, uint32(1+len(payload)+padding))
	body := slices.Concat([]byte{byte(padding)}, payload, make([]byte, padding))
	if r.out != nil {
		body = r.out.Seal(nil, r.out.next(), body, length)
	}
	_, err := r.Conn.Write(append(length, body...))
	return err
}

// ReadPacket returns the payload of the next packet.
func (r *RawSSH) ReadPacket() ([]byte, error) {
	length := make([]byte, 4)
	if _, err := io.ReadFull(r.r, length); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint32(length))
	if r.in != nil {
		n += r.in.Overhead()
	}
	body := make([]byte, n)
	_, err := io.ReadFull(r.r, body)
	if err == nil && r.in != nil {
		body, err = r.in.Open(nil, r.in.next(), body, length)
	}
	if err != nil {
		return nil, err
	}
	return body[1 : len(body)-int(body[0])], nil
}

// Await reads packets up to the next one of a type. It returns false if reading fails first.
func (r *RawSSH) Await(kind byte) bool {
	for {
		if p, err := r.ReadPacket(); err != nil || p[0] == kind {
			return err == nil
		}
	}
}

// Opened waits for the answer to the opening of a channel, and returns the client's number for the
// channel.
func (r *RawSSH) Opened() (id uint32, ok bool) {
	for {
		p, err := r.ReadPacket()
		if err != nil || p[0] == MsgRefused {
			return 0, false
		}
		var m OpenedMsg
		if p[0] == MsgOpened {
			return m.Mine, ssh.Unmarshal(p, &m) == nil
		}
	}
}

// Forward relays channels to their destinations. It ignores windows, so only little may be sent,
// and it ignores the closing of channels.
func (r *RawSSH) Forward() {
	var conns []net.Conn
	var wg sync.WaitGroup
	for {
		p, err := r.ReadPacket()
		if err != nil {
			break
		}
		var open OpenMsg
		var data DataMsg
		switch {
		case p[0] == MsgOpen && ssh.Unmarshal(p, &open) == nil:
			_, address := TunnelTo(open.Rest)
			conn, err := net.Dial("tcp", address)
			if err != nil {
				continue
			}
			r.WritePacket(ssh.Marshal(OpenedMsg{open.ID, uint32(len(conns)), 1 << 30, 32 << 10}))
			conns = append(conns, conn)
			wg.Go(func() {
				buf := make([]byte, 16<<10)
				for {
					n, err := conn.Read(buf)
					if err != nil || r.WritePacket(ssh.Marshal(DataMsg{open.ID, string(buf[:n])})) != nil {
						return
					}
				}
			})
		case p[0] == MsgData && ssh.Unmarshal(p, &data) == nil:
			io.WriteString(conns[data.ID], data.Data)
		}
	}
	for _, conn := range conns {
		conn.Close()
	}
	wg.Wait()
}

// RawHost starts a host that calls serve with each connection after the login.
func RawHost(t testing.TB, serve func(*RawSSH)) fleetssh.HostConfig {
	t.Helper()
	key := NewKey()
	return Listening(t, key, func(conn net.Conn) {
		r := &RawSSH{Conn: conn, r: bufio.NewReader(conn)}
		if err := r.handshake(key); err != nil {
			t.Errorf("raw server: %v", err)
			return
		}
		serve(r)
	})
}

// Types of messages (RFC 4250, section 4.1.2).
const (
	msgKexInit   = 20
	msgNewKeys   = 21
	msgKexInitDH = 30
	msgLogin     = 50
	msgLoggedIn  = 52
	MsgOpen      = 90
	MsgOpened    = 91
	MsgRefused   = 92
	MsgData      = 94
	MsgClose     = 97
)

// OpenMsg opens a channel (RFC 4254, section 5.1).
type OpenMsg struct {
	Type   string `sshtype:"90"`
	ID     uint32
	Window uint32
	Packet uint32
	Rest   []byte `ssh:"rest"`
}

// OpenedMsg confirms a channel (RFC 4254, section 5.1). ID is the recipient's number for the
// channel, Mine the sender's.
type OpenedMsg struct {
	ID     uint32 `sshtype:"91"`
	Mine   uint32
	Window uint32
	Packet uint32
}

// DataMsg carries data on a channel (RFC 4254, section 5.2).
type DataMsg struct {
	ID   uint32 `sshtype:"94"`
	Data string
}

// sealing is AES-GCM as SSH uses it (RFC 5647).
type sealing struct {
	cipher.AEAD
	nonce []byte
}

// next returns the nonce of the next packet.
func (s *sealing) next() []byte {
	nonce := slices.Clone(s.nonce)
	binary.BigEndian.PutUint64(s.nonce[4:], binary.BigEndian.Uint64(nonce[4:])+1)
	return nonce
}

func newSealing(key, nonce []byte) *sealing {
	block, err := aes.NewCipher(key[:16])
	if err != nil {
		panic(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return &sealing{gcm, nonce[:12]}
}
