package simfleet

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// start starts a host, with the password "secret" unless h allows another login.
func start(t testing.TB, h Host) *Server {
	t.Helper()
	if h.Password == "" && len(h.AuthorizedKeys)+len(h.UserCAs)+len(h.Prompts) == 0 {
		h.Password = "secret"
	}
	s, err := Start(h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func newSigner(t testing.TB) ssh.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// patience is how long a test waits for an event that is due at once, even on a busy machine.
const patience = time.Minute

// login logs in as alice.
func login(addr string, key ssh.PublicKey, auth ...ssh.AuthMethod) (*ssh.Client, error) {
	config := &ssh.ClientConfig{User: "alice", Auth: auth, HostKeyCallback: ssh.FixedHostKey(key)}
	if len(auth) == 0 {
		config.Auth = []ssh.AuthMethod{ssh.Password("secret")}
	}
	raw, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return nil, err
	}
	raw.SetDeadline(time.Now().Add(patience))
	conn, channels, requests, err := ssh.NewClientConn(raw, addr, config)
	if err != nil {
		raw.Close()
		return nil, err
	}
	raw.SetDeadline(time.Time{})
	return ssh.NewClient(conn, channels, requests), nil
}

func dial(t testing.TB, s *Server, auth ...ssh.AuthMethod) *ssh.Client {
	t.Helper()
	client, err := login(s.Addr(), s.HostKeys()[0], auth...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

func openSession(t testing.TB, client *ssh.Client) *ssh.Session {
	t.Helper()
	session, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	return session
}

// result is how a command ended, as a client sees it.
type result struct {
	stdout, stderr string
	code           int
	signal         string
}

// runLine runs a command in a new session and waits for its end.
func runLine(t testing.TB, client *ssh.Client, line, stdin string) result {
	t.Helper()
	session := openSession(t, client)
	defer session.Close()
	var stdout, stderr bytes.Buffer
	session.Stdin, session.Stdout, session.Stderr = strings.NewReader(stdin), &stdout, &stderr
	err := session.Run(line)
	r := result{stdout: stdout.String(), stderr: stderr.String()}
	var exit *ssh.ExitError
	switch {
	case errors.As(err, &exit) && exit.Signal() != "":
		r.signal = exit.Signal()
	case errors.As(err, &exit):
		r.code = exit.ExitStatus()
	case err != nil:
		t.Fatalf("%q: %v", line, err)
	}
	return r
}

// eventually waits until ok returns true.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("timed out after %v: %s", patience, what)
		}
	}
}

func openFiles(t testing.TB) int {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

// TestCloseLeavesNothing is not parallel: the goroutines and files of other tests must not count.
func TestCloseLeavesNothing(t *testing.T) {
	goroutines, files := runtime.NumGoroutine(), openFiles(t)
	for _, latency := range []time.Duration{0, 2 * time.Millisecond} {
		for _, fault := range append(FaultNames(), "") {
			f, err := ParseFault(fault)
			if err != nil {
				t.Fatal(err)
			}
			s := start(t, Host{Fault: f, Latency: latency, Dial: DialLoopback})
			raw, err := net.Dial("tcp", s.Addr())
			if f.Kind == ResetAccept && errors.Is(err, syscall.ECONNRESET) {
				s.Close()
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			attempt := make(chan struct{})
			go func() {
				defer close(attempt)
				config := &ssh.ClientConfig{
					User: "alice", Auth: []ssh.AuthMethod{ssh.Password("secret")}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
				}
				conn, channels, requests, err := ssh.NewClientConn(raw, s.Addr(), config)
				if err != nil {
					return
				}
				client := ssh.NewClient(conn, channels, requests)
				defer client.Close()
				session, err := client.NewSession()
				if err == nil {
					session.Run("sleep 100")
				}
			}()
			eventually(t, "connected", func() bool { return s.Stats().Connections > 0 })
			if f.Kind == NoFault {
				eventually(t, "started", func() bool { return s.Stats().Started > 0 })
			}
			s.Close()
			s.Close()
			<-attempt
			raw.Close()
		}
	}
	eventually(t, "no goroutine and no file is left", func() bool {
		return runtime.NumGoroutine() <= goroutines && openFiles(t) <= files
	})
}

func TestLogin(t *testing.T) {
	t.Parallel()
	key, ca, stranger := newSigner(t), newSigner(t), newSigner(t)
	certificate := &ssh.Certificate{
		Key: key.PublicKey(), CertType: ssh.UserCert, ValidPrincipals: []string{"alice"}, ValidBefore: ssh.CertTimeInfinity,
	}
	if err := certificate.SignCert(rand.Reader, ca); err != nil {
		t.Fatal(err)
	}
	withCertificate, err := ssh.NewCertSigner(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	answer := func(answers ...string) ssh.AuthMethod {
		return ssh.KeyboardInteractive(func(_, _ string, questions []string, _ []bool) ([]string, error) {
			now := answers[:len(questions)]
			answers = answers[len(questions):]
			return now, nil
		})
	}
	rounds := [][]Prompt{{{Text: "Name: ", Answer: "a", Echo: true}, {Text: "Code: ", Answer: "1"}}, {{Text: "Again: ", Answer: "2"}}}
	byKey := []ssh.PublicKey{key.PublicKey()}
	both := Host{AuthorizedKeys: byKey, Password: "secret", RequireAll: []string{"publickey", "password"}}
	tests := []struct {
		name string
		host Host
		auth []ssh.AuthMethod
		want bool
	}{
		{"password", Host{Password: "p"}, []ssh.AuthMethod{ssh.Password("p")}, true},
		{"wrong password", Host{Password: "p"}, []ssh.AuthMethod{ssh.Password("q")}, false},
		{"empty password", Host{AuthorizedKeys: byKey}, []ssh.AuthMethod{ssh.Password("")}, false},
		{"key", Host{AuthorizedKeys: byKey}, []ssh.AuthMethod{ssh.PublicKeys(key)}, true},
		{"second key", Host{AuthorizedKeys: byKey}, []ssh.AuthMethod{ssh.PublicKeys(stranger, key)}, true},
		{"wrong key", Host{AuthorizedKeys: byKey}, []ssh.AuthMethod{ssh.PublicKeys(stranger)}, false},
		{"certificate", Host{UserCAs: []ssh.PublicKey{ca.PublicKey()}}, []ssh.AuthMethod{ssh.PublicKeys(withCertificate)}, true},
		{"certificate of a stranger", Host{UserCAs: byKey}, []ssh.AuthMethod{ssh.PublicKeys(withCertificate)}, false},
		{"keyboard-interactive with the password", Host{Password: "p"}, []ssh.AuthMethod{answer("p")}, true},
		{"keyboard-interactive in rounds", Host{Prompts: rounds}, []ssh.AuthMethod{answer("a", "1", "2")}, true},
		{"wrong answer", Host{Prompts: rounds}, []ssh.AuthMethod{answer("a", "1", "3")}, false},
		{"key and password", both, []ssh.AuthMethod{ssh.PublicKeys(key), ssh.Password("secret")}, true},
		{"key without password", both, []ssh.AuthMethod{ssh.PublicKeys(key)}, false},
		{"password without key", both, []ssh.AuthMethod{ssh.Password("secret")}, false},
		{"other user", Host{Password: "p", Users: []string{"bob"}}, []ssh.AuthMethod{ssh.Password("p")}, false},
		{"nobody", Host{}, []ssh.AuthMethod{ssh.Password("")}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s, err := Start(test.host)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			client, err := login(s.Addr(), s.HostKeys()[0], test.auth...)
			if (err == nil) != test.want {
				t.Fatalf("login: %v, want success %v", err, test.want)
			}
			if client == nil {
				return
			}
			defer client.Close()
			if r := runLine(t, client, "whoami", ""); r.stdout != "alice\n" {
				t.Errorf("whoami: %+v", r)
			}
			if s.Stats().Logins != 1 {
				t.Errorf("stats: %+v", s.Stats())
			}
		})
	}
}

func TestTooManyAuthenticationFailures(t *testing.T) {
	t.Parallel()
	s := start(t, Host{MaxAuthTries: 2, Banner: "no entry\n"})
	tries := 0
	password := ssh.RetryableAuthMethod(ssh.PasswordCallback(func() (string, error) {
		tries++
		return "wrong", nil
	}), 10)
	_, err := login(s.Addr(), s.HostKeys()[0], password)
	if err == nil || !strings.Contains(err.Error(), "too many authentication failures") {
		t.Errorf("login: %v", err)
	}
	if failures := s.Stats().AuthFailures["password"]; tries != 2 || failures != 2 {
		t.Errorf("%d tries, %d counted", tries, failures)
	}
}

func TestSetHostKeys(t *testing.T) {
	t.Parallel()
	s := start(t, Host{})
	before := s.HostKeys()[0]
	dial(t, s)
	if err := s.SetHostKeys(); err != nil {
		t.Fatal(err)
	}
	if _, err := login(s.Addr(), before); err == nil || !strings.Contains(err.Error(), "host key mismatch") {
		t.Errorf("login with the old key: %v", err)
	}
	dial(t, s)
	_, hosts, key, _, _, err := ssh.ParseKnownHosts([]byte(s.KnownHostsLine()))
	if err != nil || hosts[0] != "[127.0.0.1]:"+s.Addr()[len("127.0.0.1:"):] || !bytes.Equal(key.Marshal(), s.HostKeys()[0].Marshal()) {
		t.Errorf("known_hosts: %v %v %v", hosts, key, err)
	}
}

func TestHostCertificate(t *testing.T) {
	t.Parallel()
	key, ca := newSigner(t), newSigner(t)
	certificate := &ssh.Certificate{
		Key: key.PublicKey(), CertType: ssh.HostCert, ValidPrincipals: []string{"127.0.0.1"}, ValidBefore: ssh.CertTimeInfinity,
	}
	if err := certificate.SignCert(rand.Reader, ca); err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewCertSigner(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, Host{HostKeys: []ssh.Signer{key, signer}})
	marker, _, authority, _, rest, err := ssh.ParseKnownHosts([]byte(strings.SplitAfter(s.KnownHostsLine(), "\n")[1]))
	if err != nil || marker != "cert-authority" || !bytes.Equal(authority.Marshal(), ca.PublicKey().Marshal()) || len(rest) > 0 {
		t.Errorf("known_hosts: %q, %v", s.KnownHostsLine(), err)
	}
	if _, err := login(s.Addr(), certificate); err != nil {
		t.Errorf("certificate: %v", err)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	s := start(t, Host{Config: ssh.Config{Ciphers: []string{ssh.InsecureCipherAES128CBC}}})
	_, err := login(s.Addr(), s.HostKeys()[0])
	if err == nil || !strings.Contains(err.Error(), "no common algorithm") {
		t.Errorf("login: %v", err)
	}
}

func TestDropFirst(t *testing.T) {
	t.Parallel()
	s := start(t, Host{DropFirst: 2})
	for range 2 {
		if _, err := login(s.Addr(), s.HostKeys()[0]); err == nil {
			t.Fatal("login worked")
		}
	}
	dial(t, s)
}

func TestDrop(t *testing.T) {
	t.Parallel()
	s := start(t, Host{})
	client := dial(t, s)
	session := openSession(t, client)
	if err := session.Start("sleep 100"); err != nil {
		t.Fatal(err)
	}
	s.Drop()
	if err := session.Wait(); !errors.As(err, new(*ssh.ExitMissingError)) {
		t.Errorf("wait: %v", err)
	}
	eventually(t, "the connection is gone", func() bool { return s.Stats().Open == 0 })
	dial(t, s)
	if st := s.Stats(); st.Connections != 2 || st.PeakOpen != 1 {
		t.Errorf("stats: %+v", st)
	}
}

func TestTunnel(t *testing.T) {
	t.Parallel()
	target := start(t, Host{Name: "inside"})
	for _, test := range []struct {
		name string
		host Host
		addr string
		want bool
	}{
		{"allowed", Host{Dial: DialLoopback}, target.Addr(), true},
		{"refused", Host{}, target.Addr(), false},
		{"not loopback", Host{Dial: DialLoopback}, "192.0.2.1:22", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			hop := start(t, test.host)
			through, err := dial(t, hop).Dial("tcp", test.addr)
			if (err == nil) != test.want {
				t.Fatalf("dial: %v, want success %v", err, test.want)
			}
			if err != nil {
				return
			}
			defer through.Close()
			line := make([]byte, len("SSH-2.0-simfleet"))
			if _, err := io.ReadFull(through, line); err != nil || string(line) != "SSH-2.0-simfleet" {
				t.Errorf("%q, %v", line, err)
			}
			if hop.Stats().Tunnels != 1 {
				t.Errorf("stats: %+v", hop.Stats())
			}
		})
	}
}
