//go:build linux

package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
)

// bareAlgorithms are the algorithms that fleetssh offers on a processor with AES, in the same
// order.
var bareAlgorithms = ssh.Config{
	KeyExchanges: []string{
		ssh.KeyExchangeMLKEM768X25519, ssh.KeyExchangeCurve25519,
		ssh.KeyExchangeECDHP256, ssh.KeyExchangeECDHP384, ssh.KeyExchangeECDHP521,
		ssh.KeyExchangeDH14SHA256, ssh.KeyExchangeDH16SHA512, ssh.KeyExchangeDHGEXSHA256,
	},
	Ciphers: []string{
		ssh.CipherAES128GCM, ssh.CipherAES256GCM, ssh.CipherChaCha20Poly1305,
		ssh.CipherAES128CTR, ssh.CipherAES192CTR, ssh.CipherAES256CTR,
	},
	MACs: []string{ssh.HMACSHA256ETM, ssh.HMACSHA512ETM, ssh.HMACSHA256, ssh.HMACSHA512},
}

// bareLines is the job.Client of the bare loop that reads lines.
const bareLines = "bare lines"

// bareClient is the bare loop: the smallest correct client that x/crypto/ssh allows, with which
// everything else is compared. It has no time-outs, no retries and no contexts, and it discards the
// output. As "bare lines" it reads the output line by line.
type bareClient struct {
	j      *job
	config *ssh.ClientConfig
	hop    *ssh.Client // the hop for all connections; nil means none
}

// runBare runs j.
func runBare(j *job, r *report) error {
	b, err := newBareClient(j)
	if err != nil {
		return err
	}
	defer b.closeHop()
	switch j.Task {
	case "hosts":
		return b.hosts(r)
	case "idle":
		return b.idle(r)
	case "commands":
		return b.commands(r)
	}
	return fmt.Errorf("the bare loop has no task %q", j.Task)
}

func newBareClient(j *job) (*bareClient, error) {
	pem, err := os.ReadFile(j.KeyFile)
	if err != nil {
		return nil, err
	}
	signer, err := ssh.ParsePrivateKey(pem)
	if err != nil {
		return nil, err
	}
	known, err := readPlainKnownHosts(j.KnownHosts)
	if err != nil {
		return nil, err
	}
	config := &ssh.ClientConfig{
		Config:            bareAlgorithms,
		User:              j.User,
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyAlgorithms: []string{ssh.KeyAlgoED25519},
		HostKeyCallback: func(addr string, _ net.Addr, key ssh.PublicKey) error {
			if known[addr] != string(key.Marshal()) {
				return errors.New("wrong host key")
			}
			return nil
		},
	}
	return &bareClient{j: j, config: config}, nil
}

// readPlainKnownHosts reads a known_hosts file without hashes and patterns. It returns the keys by
// address and port.
func readPlainKnownHosts(path string) (map[string]string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	known := make(map[string]string)
	for len(data) > 0 {
		_, hosts, key, _, rest, err := ssh.ParseKnownHosts(data)
		if err != nil {
			return nil, err
		}
		data = rest
		for _, host := range hosts {
			name, port, _ := strings.Cut(strings.TrimPrefix(host, "["), "]:")
			known[net.JoinHostPort(name, port)] = string(key.Marshal())
		}
	}
	return known, nil
}

// openHop connects to the hop, if there is one.
func (b *bareClient) openHop() (err error) {
	if b.j.Hop != "" {
		b.hop, err = b.dial(b.j.Hop)
	}
	return err
}

func (b *bareClient) closeHop() {
	if b.hop != nil {
		b.hop.Close()
	}
}

// dial connects to a host, through the hop if it is open.
func (b *bareClient) dial(host string) (*ssh.Client, error) {
	addr := net.JoinHostPort(host, strconv.Itoa(b.j.Port))
	if b.hop == nil {
		return ssh.Dial("tcp", addr, b.config)
	}
	tunnel, err := b.hop.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	conn, channels, requests, err := ssh.NewClientConn(tunnel, addr, b.config)
	if err != nil {
		tunnel.Close()
		return nil, err
	}
	return ssh.NewClient(conn, channels, requests), nil
}

// run runs a command on an open connection and counts its output.
func (b *bareClient) run(c *ssh.Client) (int64, error) {
	s, err := c.NewSession()
	if err != nil {
		return 0, err
	}
	defer s.Close()
	if b.j.Client == bareLines {
		return b.runLines(s)
	}
	var n counter
	s.Stdout = &n
	err = s.Run(b.j.Line)
	return n.n, err
}

func (b *bareClient) runLines(s *ssh.Session) (n int64, err error) {
	out, err := s.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := s.Start(b.j.Line); err != nil {
		return 0, err
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		n += int64(len(lines.Text())) + 1
	}
	return n, errors.Join(lines.Err(), s.Wait())
}

// hosts connects to every host, runs the command once and disconnects.
func (b *bareClient) hosts(r *report) error {
	p := beginPhase()
	if err := b.openHop(); err != nil {
		return err
	}
	b.each(r, func(_ int, host string) (int64, error) {
		c, err := b.dial(host)
		if err != nil {
			return 0, err
		}
		defer c.Close()
		return b.run(c)
	})
	p.end(r)
	return nil
}

// connectAll connects to every host and runs the command once.
func (b *bareClient) connectAll(r *report) ([]*ssh.Client, error) {
	if err := b.openHop(); err != nil {
		return nil, err
	}
	clients := make([]*ssh.Client, len(b.j.Hosts))
	b.each(r, func(i int, host string) (n int64, err error) {
		if clients[i], err = b.dial(host); err != nil {
			return 0, err
		}
		return b.run(clients[i])
	})
	if r.OK < len(clients) {
		return nil, fmt.Errorf("%d of %d hosts connected: %s", r.OK, len(clients), r.Note)
	}
	return clients, nil
}

// idle holds idle connections.
func (b *bareClient) idle(r *report) error {
	before := status("VmRSS")
	clients, err := b.connectAll(r)
	if err != nil {
		return err
	}
	hold(b.j, r, before)
	for _, c := range clients {
		c.Close()
	}
	return nil
}

// commands runs commands on open connections, one after another on each.
func (b *bareClient) commands(r *report) error {
	clients, err := b.connectAll(new(report))
	if err != nil {
		return err
	}
	p := beginPhase()
	b.each(r, func(i int, _ string) (int64, error) {
		for range b.j.Repeat {
			if _, err := b.run(clients[i]); err != nil {
				return 0, err
			}
		}
		return 0, nil
	})
	p.end(r)
	for _, c := range clients {
		c.Close()
	}
	return nil
}

// each works on all hosts, with one goroutine per host behind a semaphore.
func (b *bareClient) each(r *report, work func(i int, host string) (int64, error)) {
	var mu sync.Mutex // protects r
	var wg sync.WaitGroup
	free := make(chan struct{}, b.j.Pool)
	for i, host := range b.j.Hosts {
		free <- struct{}{}
		wg.Go(func() {
			n, err := work(i, host)
			mu.Lock()
			r.add(n, err)
			mu.Unlock()
			<-free
		})
	}
	wg.Wait()
}

// add counts one host.
func (r *report) add(n int64, err error) {
	r.Bytes += n
	if err == nil {
		r.OK++
	} else if r.Note == "" {
		r.Note = err.Error()
	}
}
