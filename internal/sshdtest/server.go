package sshdtest

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// Options configure a server. The zero value is a server on 127.0.0.1 with host keys of all kinds,
// which accepts passwords and keys, and does not use PAM.
type Options struct {
	// Config holds lines for sshd_config. They come first in the file, and the first value of a
	// keyword counts.
	Config []string

	// HostKeys are the kinds of host keys, such as KindED25519. Nil means all.
	HostKeys []string

	// HostCA, if set, signs the host keys for HostPrincipals.
	HostCA         *CA
	HostPrincipals []string

	// Addresses are the loopback addresses to listen on. Nil means 127.0.0.1.
	Addresses []string

	// PAMService, if set, is the PAM service that replaces "sshd".
	PAMService string

	// FileServer is the command of the SFTP server. "" means internal-sftp, and NoFileServer means
	// none.
	FileServer string

	// Env holds the server's environment variables in addition to PATH, as NAME=value.
	Env []string
}

// NoFileServer is the value of Options.FileServer for a server without SFTP.
const NoFileServer = "none"

// Server is a running sshd.
type Server struct {
	Host string // the first address it listens on
	Port int
	Dir  string // readable by every account, removed at the end of the test

	hostKeys map[string]ssh.PublicKey // by kind
	logFile  string
	cmd      *exec.Cmd
	exited   chan struct{}
}

const (
	portTries    = 20
	addressTaken = "Address already in use"
)

// Start starts a server that ends with the test. The test fails if sshd is not installed.
func Start(t testing.TB, opt Options) *Server {
	t.Helper()
	path := Program(t, "sshd", "/usr/sbin/sshd", "/usr/local/sbin/sshd")
	s := &Server{Dir: SharedDir(t), Host: "127.0.0.1"}
	if len(opt.Addresses) > 0 {
		s.Host = opt.Addresses[0]
	} else {
		opt.Addresses = []string{s.Host}
	}
	if os.Geteuid() == 0 {
		// sshd's privilege separation directory: the unprivileged process runs in it (chroot).
		must(t, os.MkdirAll("/run/sshd", 0o755))
	}
	must(t, os.Mkdir(filepath.Join(s.Dir, "authorized"), 0o755))
	must(t, os.Mkdir(filepath.Join(s.Dir, "home"), 0o755))
	config := s.config(t, opt, version(t, path))
	if opt.PAMService != "" {
		// sshd uses its program name as the PAM service.
		link := filepath.Join(s.Dir, opt.PAMService)
		must(t, os.Symlink(path, link))
		path = link
	}
	for try := 1; ; try++ {
		err := s.listen(t, path, config, opt)
		if err == nil {
			break
		}
		if try == portTries || !strings.Contains(s.Log(), addressTaken) {
			t.Fatalf("sshd does not start: %v\n%s", err, s.Log())
		}
	}
	t.Cleanup(func() {
		s.Stop()
		if t.Failed() {
			t.Logf("log of sshd:\n%s", s.Log())
		}
	})
	return s
}

// config returns the configuration without the port.
func (s *Server) config(t testing.TB, opt Options, version int) string {
	t.Helper()
	var b strings.Builder
	for _, line := range opt.Config {
		fmt.Fprintln(&b, line)
	}
	kinds := opt.HostKeys
	if kinds == nil {
		kinds = Kinds
	}
	s.hostKeys = make(map[string]ssh.PublicKey)
	for _, kind := range kinds {
		key := hostKey(t, kind)
		file := filepath.Join(s.Dir, "host_"+kind)
		key.Write(t, file, "")
		s.hostKeys[kind] = key.Signer.PublicKey()
		fmt.Fprintln(&b, "HostKey", file)
		if opt.HostCA != nil {
			cert := opt.HostCA.SignHost(t, key.Signer.PublicKey(), opt.HostPrincipals...)
			WriteCertificate(t, file+"-cert.pub", cert)
			fmt.Fprintln(&b, "HostCertificate", file+"-cert.pub")
		}
	}
	if !strings.Contains(b.String(), "MaxStartups") { // unlike for other keywords, the last value counts
		fmt.Fprintln(&b, "MaxStartups 1000")
	}
	if version >= 908 {
		// Many tests provoke failed logins.
		fmt.Fprintln(&b, "PerSourcePenalties no")
	}
	fmt.Fprintf(&b, `AuthorizedKeysFile %s/authorized/%%u
PidFile none
StrictModes no
UsePAM no
UseDNS no
PermitRootLogin yes
PasswordAuthentication yes
KbdInteractiveAuthentication no
MaxSessions 500
PrintMotd no
PrintLastLog no
LogLevel VERBOSE
`, s.Dir)
	switch opt.FileServer {
	case "":
		fmt.Fprintln(&b, "Subsystem sftp internal-sftp")
	case NoFileServer:
	default:
		fmt.Fprintln(&b, "Subsystem sftp", opt.FileServer)
	}
	return b.String()
}

// listen starts sshd on a port that was free a moment ago. It returns an error if sshd cannot
// listen on the port.
func (s *Server) listen(t testing.TB, path, config string, opt Options) error {
	t.Helper()
	free, err := net.Listen("tcp", net.JoinHostPort(s.Host, "0"))
	must(t, err)
	s.Port = free.Addr().(*net.TCPAddr).Port
	free.Close()
	for _, address := range opt.Addresses {
		config += "ListenAddress " + net.JoinHostPort(address, strconv.Itoa(s.Port)) + "\n"
	}
	// An empty home directory: the start-up files of the user who runs the tests may be slow, and
	// may write output.
	config += fmt.Sprintf("Match User %s\n\tSetEnv HOME=%s/home\n", CurrentUser(t), s.Dir)
	file := filepath.Join(s.Dir, "sshd_config")
	must(t, os.WriteFile(file, []byte(config), 0o644))
	s.logFile = filepath.Join(s.Dir, "log")
	log, err := os.Create(s.logFile)
	must(t, err)
	defer log.Close()
	s.cmd = exec.Command(path, "-D", "-e", "-f", file)
	s.cmd.Stderr = log
	s.cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"}
	s.cmd.Env = append(s.cmd.Env, opt.Env...)
	must(t, s.cmd.Start())
	s.exited = make(chan struct{})
	go func(cmd *exec.Cmd, exited chan struct{}) {
		cmd.Wait()
		close(exited)
	}(s.cmd, s.exited)
	up := poll(Patience, func() bool {
		select {
		case <-s.exited:
			return true
		default:
			return strings.Count(s.Log(), "Server listening on") >= len(opt.Addresses)
		}
	})
	// sshd keeps running if it can listen on at least one of the addresses.
	if taken := strings.Contains(s.Log(), addressTaken); up && s.running() && !taken {
		return nil
	}
	s.Stop()
	return fmt.Errorf("port %d", s.Port)
}

func (s *Server) running() bool {
	select {
	case <-s.exited:
		return false
	default:
		return true
	}
}

// Stop ends the server and its connections. The end of the test does the same.
func (s *Server) Stop() {
	if !s.running() {
		return
	}
	connections := s.serving()
	s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.exited:
	case <-time.After(5 * time.Second):
		s.cmd.Process.Kill()
		<-s.exited
	}
	signal(connections, syscall.SIGTERM)
}

// Connections returns the child processes of sshd, one per connection.
func (s *Server) Connections() []int { return Children(s.cmd.Process.Pid) }

// Authorize replaces the keys that may log in to an account.
func (s *Server) Authorize(t testing.TB, account string, keys ...ssh.PublicKey) {
	t.Helper()
	var b bytes.Buffer
	for _, key := range keys {
		b.Write(ssh.MarshalAuthorizedKey(key))
	}
	must(t, os.WriteFile(filepath.Join(s.Dir, "authorized", account), b.Bytes(), 0o644))
}

// Address returns the server's name in known_hosts.
func (s *Server) Address() string { return fmt.Sprintf("[%s]:%d", s.Host, s.Port) }

// HostKey returns the host key of one kind, or nil if the server has none.
func (s *Server) HostKey(kind string) ssh.PublicKey { return s.hostKeys[kind] }

// Log returns what sshd has logged so far.
func (s *Server) Log() string {
	data, _ := os.ReadFile(s.logFile)
	return string(data)
}

// Logged waits until a text is in the log a number of times, and fails the test if it is there more
// or fewer times.
func (s *Server) Logged(t testing.TB, times int, text string) {
	t.Helper()
	if times > 0 {
		poll(Patience, func() bool { return strings.Count(s.Log(), text) >= times })
	}
	if n := strings.Count(s.Log(), text); n != times {
		t.Errorf("%d times %q in the log of sshd, want %d", n, text, times)
	}
}

// CurrentUser returns the name of the user who runs the tests.
func CurrentUser(t testing.TB) string {
	t.Helper()
	u, err := user.Current()
	must(t, err)
	return u.Username
}

// SharedDir returns a directory that every account may read, unlike t.TempDir. Its path is short
// enough for a Unix socket. It is removed at the end of the test.
func SharedDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "sshdtest-")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o755))
	return dir
}

var versions sync.Map // from the path of sshd to its version

// version returns the version of sshd, as 902 for OpenSSH 9.2.
func version(t testing.TB, path string) int {
	t.Helper()
	if v, ok := versions.Load(path); ok {
		return v.(int)
	}
	out, _ := exec.Command(path, "-V").CombinedOutput()
	m := regexp.MustCompile(`OpenSSH_(\d+)\.(\d+)`).FindSubmatch(out)
	if m == nil {
		t.Fatalf("%s -V: %s", path, out)
	}
	major, _ := strconv.Atoi(string(m[1]))
	minor, _ := strconv.Atoi(string(m[2]))
	versions.Store(path, 100*major+minor)
	return 100*major + minor
}

// Program returns the path of a program, and fails the test if it is not installed. places are
// preferred to PATH.
func Program(t testing.TB, name string, places ...string) string {
	t.Helper()
	for _, path := range places {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is not installed: run .ci/prepare", name)
	}
	return path
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Pause suspends the process that accepts new connections, until Resume.
func (s *Server) Pause() { s.cmd.Process.Signal(pauseSignal) }

// Resume ends Pause.
func (s *Server) Resume() { s.cmd.Process.Signal(resumeSignal) }

// PauseConnections suspends the processes that serve connections. The returned function resumes
// them.
func (s *Server) PauseConnections() (resume func()) {
	pids := s.serving()
	signal(pids, pauseSignal)
	return func() { signal(pids, resumeSignal) }
}

// KillConnections kills the processes that serve connections. Neither the client nor the command is
// notified.
func (s *Server) KillConnections() { signal(s.serving(), syscall.SIGKILL) }

// serving returns the sshd processes that serve connections: one for a connection of root, two for
// other users (privilege separation).
func (s *Server) serving() []int {
	pids := s.Connections()
	for _, pid := range pids {
		for _, child := range Children(pid) {
			name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", child))
			if bytes.HasPrefix(name, []byte("sshd")) {
				pids = append(pids, child)
			}
		}
	}
	return pids
}

func signal(pids []int, sig syscall.Signal) {
	for _, pid := range pids {
		kill(pid, sig)
	}
}
