//go:build linux

package main

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"fleetssh/internal/simfleet"
)

const (
	// hashedLines is the approximate number of lines of the hashed known_hosts file.
	hashedLines = 10000
	// sshdAddrs is the number of addresses on which the real sshd listens. sshd's limit is 16.
	sshdAddrs = 10
)

// server is a child process on the other side: a simulated fleet, a real sshd, or a delaying proxy.
// It serves until its standard input ends, so that it does not outlive its parent.
type server struct {
	Port       int
	Hosts      []string
	Hop        string // a host through which the others can be reached
	KnownHosts string // the known_hosts file with the keys of all hosts
	Hashed     string // the same with hashed names, among further lines; only for simulated fleets

	cmd   *exec.Cmd
	stdin io.Closer
}

// startServer starts this program in the given role and waits until it serves.
func startServer(ctx context.Context, args ...string) (*server, error) {
	cmd := exec.CommandContext(ctx, selfPath, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that Ctrl-C reaches only the parent
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &server{cmd: cmd, stdin: stdin}
	if err := json.NewDecoder(bufio.NewReader(stdout)).Decode(s); err != nil {
		s.close()
		return nil, fmt.Errorf("%s did not start: %w", strings.Join(args[:2], " "), err)
	}
	return s, nil
}

// close ends the server and waits for it.
func (s *server) close() {
	s.stdin.Close()
	_ = s.cmd.Wait() // the server was told to end, so its exit status does not matter
}

// serveSim is the role of a simulated fleet of n hosts and a hop.
func serveSim(ctx context.Context, dir string, n int, latency time.Duration) error {
	authorized, err := publicKey(dir)
	if err != nil {
		return err
	}
	fleet, err := simfleet.StartFleet(n+1, 0, func(i int, h *simfleet.Host) {
		h.AuthorizedKeys = []ssh.PublicKey{authorized}
		h.Latency = latency
		if i == n {
			h.Dial = simfleet.DialLoopback
		}
	})
	if err != nil {
		return err
	}
	defer fleet.Close()
	hosts := fleet.Hosts()
	s := &server{Port: fleet.Port(), Hosts: hosts[:n], Hop: hosts[n]}
	base := filepath.Join(dir, "known_hosts."+strconv.Itoa(s.Port))
	s.KnownHosts, s.Hashed = base, base+".hashed"
	if err := os.WriteFile(s.KnownHosts, fleet.KnownHosts(), 0o600); err != nil {
		return err
	}
	if latency == 0 {
		if err := os.WriteFile(s.Hashed, hash(fleet), 0o600); err != nil {
			return err
		}
	}
	return s.serve(ctx)
}

// serve tells the parent that the server is ready, and waits for the end of standard input.
func (s *server) serve(ctx context.Context) error {
	if err := json.NewEncoder(os.Stdout).Encode(s); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() { // ends with the process
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
	}
	return nil
}

// hash returns a known_hosts file with a hashed line for each host of the fleet, and further lines
// up to about hashedLines.
func hash(fleet *simfleet.Fleet) []byte {
	var b strings.Builder
	line := func(addr string, key ssh.PublicKey) {
		name := knownhosts.HashHostname(knownhosts.Normalize(addr))
		b.WriteString(name + " " + string(ssh.MarshalAuthorizedKey(key)))
	}
	others := max(0, hashedLines/max(1, len(fleet.Servers))-1)
	for i, s := range fleet.Servers {
		key := s.HostKeys()[0]
		for k := range others {
			line(fmt.Sprintf("other%d-%d.example.org:22", i, k), key)
		}
		line(s.Addr(), key)
	}
	return []byte(b.String())
}

// serveSSHD is the role of a process that runs a real sshd.
func serveSSHD(ctx context.Context, dir string) error {
	path, err := sshdPath()
	if err != nil {
		return err
	}
	hostKey, err := makeKey(filepath.Join(dir, "sshd_host_key"))
	if err != nil {
		return err
	}
	user, err := publicKey(dir)
	if err != nil {
		return err
	}
	authorized := filepath.Join(dir, "authorized_keys")
	if err := os.WriteFile(authorized, ssh.MarshalAuthorizedKey(user), 0o600); err != nil {
		return err
	}
	if os.Getuid() == 0 {
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			return err
		}
	}
	s := new(server)
	if s.Port, err = freePort(); err != nil {
		return err
	}
	var config, known strings.Builder
	for i := range sshdAddrs {
		host := fmt.Sprintf("127.0.2.%d", i+1)
		s.Hosts, s.Hop = append(s.Hosts, host), host
		fmt.Fprintf(&config, "ListenAddress %s:%d\n", host, s.Port)
		fmt.Fprintf(&known, "[%s]:%d %s", host, s.Port, ssh.MarshalAuthorizedKey(hostKey))
	}
	s.KnownHosts = filepath.Join(dir, "known_hosts.sshd")
	if err := os.WriteFile(s.KnownHosts, []byte(known.String()), 0o600); err != nil {
		return err
	}
	fmt.Fprintf(&config, "HostKey %s\nAuthorizedKeysFile %s\n", filepath.Join(dir, "sshd_host_key"), authorized)
	// With SHLVL > 1, bash started by sshd does not read .bashrc, which could take longer than
	// everything else.
	config.WriteString("SetEnv SHLVL=5\nPidFile none\nUsePAM no\nStrictModes no\nPermitRootLogin yes\nPasswordAuthentication no\n" +
		"MaxStartups 1000\nMaxSessions 1000\nPrintMotd no\nPrintLastLog no\n")
	for _, path := range []string{"/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/libexec/sftp-server"} {
		if _, err := os.Stat(path); err == nil {
			config.WriteString("Subsystem sftp " + path + "\n")
			break
		}
	}
	file := filepath.Join(dir, "sshd_config")
	if err := os.WriteFile(file, []byte(config.String()), 0o600); err != nil {
		return err
	}
	cmd := exec.Command(path, "-D", "-f", file, "-E", filepath.Join(dir, "sshd.log"))
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	}()
	for _, host := range s.Hosts {
		if err := waitFor(net.JoinHostPort(host, strconv.Itoa(s.Port))); err != nil {
			return fmt.Errorf("sshd: %w", err)
		}
	}
	return s.serve(ctx)
}

// sshdPath returns the path of sshd, which must be started with its absolute path.
func sshdPath() (string, error) {
	for _, path := range []string{"/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd"} {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", errors.New("sshd is not installed")
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.2.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// waitFor waits until somebody listens at addr.
func waitFor(addr string) error {
	var err error
	for range 100 {
		var conn net.Conn
		if conn, err = net.Dial("tcp", addr); err == nil {
			return conn.Close()
		}
		time.Sleep(50 * time.Millisecond)
	}
	return err
}

// userKeyName is the file name of the user's key.
const userKeyName = "user_key"

// publicKey returns the public half of the user's key.
func publicKey(dir string) (ssh.PublicKey, error) {
	data, err := os.ReadFile(filepath.Join(dir, userKeyName))
	if err != nil {
		return nil, err
	}
	signer, err := ssh.ParsePrivateKey(data)
	if err != nil {
		return nil, err
	}
	return signer.PublicKey(), nil
}

// makeKey writes a new ed25519 key and returns its public half.
func makeKey(path string) (ssh.PublicKey, error) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
		return nil, err
	}
	return ssh.NewPublicKey(public)
}
