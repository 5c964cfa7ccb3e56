package fleetssh_test

import (
	"bufio"
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
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/internal/sshdtest"
)

// window is how much x/crypto lets the other side send on a channel that is not read.
const window = 2 << 20

// hostileHop is a hop that serves channels to some names in ways of its own, and all
// others as it should.
type hostileHop struct {
	config fleetssh.HostConfig
	logins atomic.Int32
	sent   sync.Map // by name: *atomic.Int64, what the client has let it send
}

func newHostileHop(t testing.TB) *hostileHop {
	t.Helper()
	h := new(hostileHop)
	h.config = hostile(t, func(_ ssh.Conn, channels <-chan ssh.NewChannel) {
		h.logins.Add(1)
		var wg sync.WaitGroup
		defer wg.Wait()
		for asked := range channels {
			wg.Go(func() { h.serve(asked) })
		}
	})
	return h
}

// serve does what the first word of the name says.
func (h *hostileHop) serve(asked ssh.NewChannel) {
	host, address := tunnelTo(asked.ExtraData())
	kind, _, _ := strings.Cut(host, "-")
	if kind == "unanswered" {
		return
	}
	ch, requests, err := asked.Accept()
	if err != nil {
		return
	}
	defer ch.Close()
	flood := func(w io.Writer, total int, chunk []byte) {
		sent, _ := h.sent.LoadOrStore(host, new(atomic.Int64))
		for total > 0 {
			n, err := w.Write(chunk)
			sent.(*atomic.Int64).Add(int64(n))
			if err != nil {
				break
			}
			total -= n
		}
		ssh.DiscardRequests(requests)
	}
	const endless = 1 << 40
	chunk := make([]byte, 16<<10)
	switch kind {
	case "silent":
		ssh.DiscardRequests(requests)
	case "closing":
	case "stderr":
		flood(ch.Stderr(), endless, chunk)
	case "unknown": // a stream that nobody reads
		flood(ch.(interface{ Extended(uint32) io.ReadWriter }).Extended(7), 64<<20, chunk)
	case "flooding":
		flood(ch, 10<<20, chunk)
	case "chatting": // lines before the version are allowed
		flood(ch, 10<<20, slices.Repeat([]byte("hello\r\n"), 2000))
	default:
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return
		}
		go func() {
			io.Copy(conn, ch)
			conn.Close()
		}()
		go ssh.DiscardRequests(requests)
		io.Copy(ch, conn)
	}
}

// tunnelTo reads where a channel is to lead (RFC 4254, section 7.2).
func tunnelTo(extra []byte) (host, address string) {
	var to struct {
		Host string
		Port uint32
		Rest []byte `ssh:"rest"`
	}
	if err := ssh.Unmarshal(extra, &to); err != nil {
		panic(err)
	}
	return to.Host, net.JoinHostPort(to.Host, fmt.Sprint(to.Port))
}

// What a hop does to one host is that host's own error, within its time, and no
// other host behind the same hop notices.
func TestHostileHop(t *testing.T) {
	t.Parallel()
	const limit = 2 * time.Second
	_, good := simulated(t, 5, nil)
	for _, test := range []struct {
		name  string
		is    func(error) bool
		phase string
		waits bool  // until ConnectTimeout
		most  int64 // bytes that it lets the hop send
	}{
		{"silent", is[*fleetssh.TimeoutError], "handshake", true, 0},
		{"unanswered", is[*fleetssh.TimeoutError], "connect", true, 0},
		{"closing", is[*fleetssh.ConnectionError], "handshake", false, 0},
		{"stderr", is[*fleetssh.TimeoutError], "handshake", true, window},
		{"unknown", is[*fleetssh.TimeoutError], "handshake", true, 1 << 40},
		{"flooding", is[*fleetssh.ConnectionError], "handshake", false, window + 64<<10},
		{"chatting", is[*fleetssh.ConnectionError], "handshake", false, window + 64<<10},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := newHostileHop(t)
			bad := good[0]
			bad.Host, bad.ConnectTimeout = test.name+"-host", limit
			p := newFleet(t, behind(&h.config, slices.Concat([]fleetssh.HostConfig{bad}, good)...)...)
			for round := range 2 {
				begun := time.Now()
				outs, err := p.RunCommand(soon(t), fleetssh.Command{Line: "bytes 1000000"})
				if n := len(asError[*fleetssh.HostsError](t, err).Failed); n != 1 {
					t.Errorf("round %d: %d failed: %v", round, n, err)
				}
				if took := time.Since(begun); took > limit+promptly || test.waits && took < limit {
					t.Errorf("round %d: after %v", round, took)
				}
				if err = outs[0].Err; !test.is(err) || is[*fleetssh.ProxyError](err) || !strings.Contains(err.Error(), bad.Host) {
					t.Errorf("round %d: %T: %v", round, err, err)
				}
				if o := outs[0].Outcome(); o.Kind != fleetssh.Unreachable || o.Phase != test.phase {
					t.Errorf("round %d: outcome %+v", round, o)
				}
				for i, out := range outs[1:] {
					if err, n := out.WaitFinished(soon(t)), len(text(t, out.Stdout)); err != nil || n != 1000000 {
						t.Errorf("round %d: host %d: %d bytes, %v", round, i, n, err)
					}
				}
				// The next round makes new connections through the same hop.
				p.SetHosts(behind(&h.config, append([]fleetssh.HostConfig{bad}, slices.Clone(good)...)...))
			}
			equal(t, "logins at the hop", h.logins.Load(), 1)
			if sent, ok := h.sent.Load(bad.Host); ok && sent.(*atomic.Int64).Load() > 2*test.most {
				t.Errorf("%d bytes taken of %s", sent.(*atomic.Int64).Load(), bad.Host)
			} else if ok && sent.(*atomic.Int64).Load() == 0 {
				t.Error("the hop has sent nothing")
			}
			closesPromptly(t, p)
		})
	}
}

// All of it at once, on one hop.
func TestHostileHopMixed(t *testing.T) {
	t.Parallel()
	h := newHostileHop(t)
	_, good := simulated(t, 5, nil)
	hosts := slices.Clone(good)
	for _, kind := range []string{"silent", "unanswered", "closing", "stderr", "flooding", "chatting"} {
		for i := range 5 {
			bad := good[0]
			bad.Host, bad.ConnectTimeout = fmt.Sprintf("%s-%d", kind, i), time.Second
			hosts = append(hosts, bad)
		}
	}
	p := newFleet(t, behind(&h.config, hosts...)...)
	outs, err := p.RunCommand(soon(t), fleetssh.Command{Line: "bytes 1000000"})
	if n := len(asError[*fleetssh.HostsError](t, err).Failed); n != len(hosts)-len(good) {
		t.Errorf("%d failed: %v", n, err)
	}
	for i, out := range outs[:len(good)] {
		if err := out.WaitFinished(soon(t)); err != nil {
			t.Errorf("host %d: %v", i, err)
		}
	}
	h.sent.Range(func(name, sent any) bool {
		if n := sent.(*atomic.Int64).Load(); n > window+64<<10 {
			t.Errorf("%d bytes taken of %s", n, name)
		}
		return true
	})
	equal(t, "logins at the hop", h.logins.Load(), 1)
	closesPromptly(t, p)
}

// Nothing waits for a hop that never answers the close of a channel.
func TestHopLeavesChannelsOpen(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	hop := rawHost(t, (*rawSSH).forward)
	_, hosts := simulated(t, 3, nil)
	hosts = behind(&hop, hosts...)
	c := dial(t, hosts[0])
	if _, err := c.Execute(soon(t), "sleep 60"); err != nil {
		t.Fatal(err)
	}
	closesPromptly(t, c)

	p := newFleet(t, hosts...)
	if _, err := p.RunCommand(soon(t), fleetssh.Command{Line: "sleep 60"}); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	p.SetHosts(hosts[1:2]) // closes those of the others
	if took := time.Since(begun); took > promptly {
		t.Errorf("leaving hosts took %v", took)
	}
	out, err := p.RunCommand(soon(t), fleetssh.Command{Line: "echo there"})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "output", text(t, out[0].Stdout), "there\n")
	closesPromptly(t, p)
}

// rawSSH is the server's side of an SSH connection in packets, for what the library
// does by itself. It knows one algorithm of each kind, lets everybody in, and does
// not exchange keys again.
type rawSSH struct {
	net.Conn
	r       *bufio.Reader
	in, out *sealing

	mu sync.Mutex // held while writing
}

// Types of messages (RFC 4250, section 4.1.2).
const (
	msgKexInit   = 20
	msgNewKeys   = 21
	msgKexInitDH = 30
	msgLogin     = 50
	msgLoggedIn  = 52
	msgOpen      = 90
	msgOpened    = 91
	msgRefused   = 92
	msgData      = 94
	msgClose     = 97
)

type openMsg struct {
	Type   string `sshtype:"90"`
	ID     uint32
	Window uint32
	Packet uint32
	Rest   []byte `ssh:"rest"`
}

type openedMsg struct {
	ID     uint32 `sshtype:"91"`
	Mine   uint32
	Window uint32
	Packet uint32
}

type dataMsg struct {
	ID   uint32 `sshtype:"94"`
	Data string
}

// rawHost starts a host that serves each connection as a test says, once the client
// has logged in.
func rawHost(t testing.TB, serve func(*rawSSH)) fleetssh.HostConfig {
	t.Helper()
	key := newKey()
	return listening(t, key, func(conn net.Conn) {
		r := &rawSSH{Conn: conn, r: bufio.NewReader(conn)}
		if err := r.handshake(key); err != nil {
			t.Errorf("raw server: %v", err)
			return
		}
		serve(r)
	})
}

// handshake exchanges keys (RFC 4253, sections 7 and 8; RFC 8731) and lets the
// client log in.
func (r *rawSSH) handshake(key ssh.Signer) error {
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
	r.write(mine)
	theirs, err := r.read()
	if err != nil {
		return err
	}
	dh, err := r.read()
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
	r.write(ssh.Marshal(struct {
		Key       []byte `sshtype:"31"`
		Public    []byte
		Signature []byte
	}{key.PublicKey().Marshal(), private.PublicKey().Bytes(), ssh.Marshal(signature)}))
	r.write([]byte{msgNewKeys})
	derive := func(name byte) []byte {
		k := sha256.Sum256(slices.Concat(secret, hash[:], []byte{name}, hash[:]))
		return k[:]
	}
	r.out = newSealing(derive('D'), derive('B'))
	if !r.await(msgNewKeys) {
		return errors.New("no new keys")
	}
	r.in = newSealing(derive('C'), derive('A'))
	if _, err := r.read(); err != nil { // service request
		return err
	}
	r.write(ssh.Marshal(struct {
		Name string `sshtype:"6"`
	}{"ssh-userauth"}))
	if !r.await(msgLogin) {
		return errors.New("no login")
	}
	r.write([]byte{msgLoggedIn})
	return nil
}

// sealing is AES-GCM as SSH uses it (RFC 5647).
type sealing struct {
	cipher.AEAD
	nonce []byte
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

// next returns the nonce of the next packet.
func (s *sealing) next() []byte {
	nonce := slices.Clone(s.nonce)
	binary.BigEndian.PutUint64(s.nonce[4:], binary.BigEndian.Uint64(nonce[4:])+1)
	return nonce
}

func (r *rawSSH) write(payload []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	block, counted := 8, 5 // the length counts for the padding
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

func (r *rawSSH) read() ([]byte, error) {
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

// await reads packets until one of a type comes; false is the end.
func (r *rawSSH) await(kind byte) bool {
	for {
		if p, err := r.read(); err != nil || p[0] == kind {
			return err == nil
		}
	}
}

// opened waits for the answer to the opening of a channel, and returns the client's
// number of it.
func (r *rawSSH) opened() (id uint32, ok bool) {
	for {
		p, err := r.read()
		if err != nil || p[0] == msgRefused {
			return 0, false
		}
		var m openedMsg
		if p[0] == msgOpened {
			return m.Mine, ssh.Unmarshal(p, &m) == nil
		}
	}
}

// forward serves channels to hosts, ignores that they are closed, and knows no
// windows: little may be sent.
func (r *rawSSH) forward() {
	var conns []net.Conn
	var wg sync.WaitGroup
	for {
		p, err := r.read()
		if err != nil {
			break
		}
		var open openMsg
		var data dataMsg
		switch {
		case p[0] == msgOpen && ssh.Unmarshal(p, &open) == nil:
			_, address := tunnelTo(open.Rest)
			conn, err := net.Dial("tcp", address)
			if err != nil {
				continue
			}
			r.write(ssh.Marshal(openedMsg{open.ID, uint32(len(conns)), 1 << 30, 32 << 10}))
			conns = append(conns, conn)
			wg.Go(func() {
				buf := make([]byte, 16<<10)
				for {
					n, err := conn.Read(buf)
					if err != nil || r.write(ssh.Marshal(dataMsg{open.ID, string(buf[:n])})) != nil {
						return
					}
				}
			})
		case p[0] == msgData && ssh.Unmarshal(p, &data) == nil:
			io.WriteString(conns[data.ID], data.Data)
		}
	}
	for _, conn := range conns {
		conn.Close()
	}
	wg.Wait()
}
