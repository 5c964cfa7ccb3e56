package simfleet

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

func FuzzParseFault(f *testing.F) {
	for _, seed := range append(FaultNames(), "", "cut-after=1000", "drip-output=5ms", "refuse-open=4", "eof-before-status=1s", "disk-full=5", "wrong-size=-1", "deny-path=/a=b", "stop-reading=tunnel+1000", "flood-opens=login") {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		fault, err := ParseFault(text)
		if err != nil {
			return
		}
		again, err := ParseFault(fault.String())
		if err != nil || again != fault {
			t.Errorf("%q is %+v, but %q is %+v, %v", text, fault, fault.String(), again, err)
		}
	})
}

func TestParseFaultErrors(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"nonsense", "stall-kex=1", "cut-after=-1", "drip-output=0s", "drip-output=x", "=1",
		"stop-reading=", "stop-reading=never", "stop-reading=run+", "stop-reading=run+-1", "huge-window=kex", "huge-window=run+1"} {
		if fault, err := ParseFault(text); err == nil {
			t.Errorf("ParseFault(%q) is %+v, want an error", text, fault)
		}
	}
}

// silence is how long the tests wait for an answer that must not come.
const silence = 60 * time.Millisecond

// staysSilent fails the test if f returns before stop is called. It waits for f to return.
func staysSilent(t *testing.T, stop func(), f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
		t.Error("the host answered")
	case <-time.After(silence):
	}
	stop()
	<-done
}

func TestFaultsBeforeLogin(t *testing.T) {
	t.Parallel()
	const version = "SSH-2.0-simfleet\r\n"
	tests := []struct {
		kind   FaultKind
		said   string // the first bytes
		silent bool   // then nothing
	}{
		{ResetAccept, "", false},
		{SilentAccept, "", true},
		{GarbageVersion, "HTTP/1.1 400 Bad Request\r\n", false},
		{LongVersion, strings.Repeat("SSH-2.0-", 1000), false},
		{StallKex, version, true},
		{DripVersion, version, false},
	}
	for _, test := range tests {
		t.Run(string(test.kind), func(t *testing.T) {
			t.Parallel()
			s := start(t, Host{Fault: Fault{Kind: test.kind, Interval: 2 * time.Millisecond}})
			begin := time.Now()
			raw, err := net.Dial("tcp", s.Addr())
			if test.kind == ResetAccept && errors.Is(err, syscall.ECONNRESET) {
				return // the reset arrived before Dial returned
			}
			if err != nil {
				t.Fatal(err)
			}
			defer raw.Close()
			raw.SetDeadline(time.Now().Add(patience))
			said := make([]byte, len(test.said))
			if _, err := io.ReadFull(raw, said); err != nil || string(said) != test.said {
				t.Fatalf("%q, %v", said, err)
			}
			if test.kind == DripVersion && time.Since(begin) < 20*time.Millisecond {
				t.Error("the version line arrived at once")
			}
			raw.SetDeadline(time.Now().Add(silence))
			n, err := raw.Read(make([]byte, 1))
			if timeout := errors.Is(err, net.ErrClosed) || isTimeout(err); test.silent && (n > 0 || !timeout) {
				t.Errorf("after that: %d bytes, %v", n, err)
			}
			if test.kind == ResetAccept && (err == nil || isTimeout(err)) {
				t.Errorf("not reset: %v", err)
			}
			s.SetFault(Fault{})
			dial(t, s)
		})
	}
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func TestDripVersionWorksAfterwards(t *testing.T) {
	t.Parallel()
	s := start(t, Host{Fault: Fault{Kind: DripVersion, Interval: time.Millisecond}})
	if r := runLine(t, dial(t, s), "echo ok", ""); r.stdout != "ok\n" {
		t.Errorf("%+v", r)
	}
}

func TestStallAuth(t *testing.T) {
	t.Parallel()
	s := start(t, Host{Fault: Fault{Kind: StallAuth}})
	staysSilent(t, s.Drop, func() { login(s.Addr(), s.HostKeys()[0]) })
}

// faulty starts a host with a fault and logs in.
func faulty(t *testing.T, f Fault) (*Server, *ssh.Client) {
	t.Helper()
	s := start(t, Host{Fault: f})
	return s, dial(t, s)
}

func TestStallOpen(t *testing.T) {
	t.Parallel()
	_, client := faulty(t, Fault{Kind: StallOpen})
	staysSilent(t, func() { client.Close() }, func() { client.NewSession() })
}

func TestRefuseOpen(t *testing.T) {
	t.Parallel()
	_, client := faulty(t, Fault{Kind: RefuseOpen, Reason: ssh.ResourceShortage})
	_, err := client.NewSession()
	var refused *ssh.OpenChannelError
	if !errors.As(err, &refused) || refused.Reason != ssh.ResourceShortage {
		t.Errorf("open: %v", err)
	}
}

func TestMaxSessions(t *testing.T) {
	t.Parallel()
	s := start(t, Host{MaxSessions: 1})
	client := dial(t, s)
	first := openSession(t, client)
	_, err := client.NewSession()
	var refused *ssh.OpenChannelError
	if !errors.As(err, &refused) || refused.Message != "open failed" {
		t.Errorf("second session: %v", err)
	}
	first.Close()
	eventually(t, "a session can be opened again", func() bool {
		again, err := client.NewSession()
		if err == nil {
			again.Close()
		}
		return err == nil
	})
}

func TestKeepAlive(t *testing.T) {
	t.Parallel()
	s, client := faulty(t, Fault{})
	if ok, _, err := client.SendRequest("keepalive@openssh.com", true, nil); ok || err != nil {
		t.Errorf("keep-alive: %v, %v", ok, err)
	}
	if s.Stats().GlobalReqs != 1 {
		t.Errorf("stats: %+v", s.Stats())
	}
	_, deaf := faulty(t, Fault{Kind: NoKeepAliveReply})
	staysSilent(t, func() { deaf.Close() }, func() { deaf.SendRequest("keepalive@openssh.com", true, nil) })
}

func TestRefusedRequests(t *testing.T) {
	t.Parallel()
	tests := []struct {
		kind FaultKind
		ask  func(*ssh.Session) error
	}{
		{RefusePTY, func(s *ssh.Session) error { return s.RequestPty("xterm", 24, 80, nil) }},
		{RefuseEnv, func(s *ssh.Session) error { return s.Setenv("LANG", "C") }},
		{RefuseExec, func(s *ssh.Session) error { return s.Start("true") }},
		{RefuseExec, func(s *ssh.Session) error { return s.Shell() }},
		{NoSFTP, func(s *ssh.Session) error { return s.RequestSubsystem("sftp") }},
		{NoFault, func(s *ssh.Session) error { return s.RequestSubsystem("netconf") }},
	}
	for i, test := range tests {
		t.Run(fmt.Sprint(i, test.kind), func(t *testing.T) {
			t.Parallel()
			_, client := faulty(t, Fault{Kind: test.kind})
			if err := test.ask(openSession(t, client)); err == nil {
				t.Error("not refused")
			}
		})
	}
}

func TestStalledCommands(t *testing.T) {
	t.Parallel()
	for _, kind := range []FaultKind{StallExec, StallAfterStart} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s, client := faulty(t, Fault{Kind: kind})
			session := openSession(t, client)
			if kind == StallExec {
				staysSilent(t, s.Drop, func() { session.Start("true") })
				return
			}
			if err := session.Start("true"); err != nil {
				t.Fatal(err)
			}
			staysSilent(t, func() { client.Close() }, func() { client.SendRequest("keepalive@openssh.com", true, nil) })
			eventually(t, "the server notices that the client has gone", func() bool { return s.Stats().Open == 0 })
		})
	}
}

func TestNeverReadStdin(t *testing.T) {
	t.Parallel()
	_, client := faulty(t, Fault{Kind: NeverReadStdin})
	session := openSession(t, client)
	stdin, err := session.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := session.Start("cat"); err != nil {
		t.Fatal(err)
	}
	staysSilent(t, func() { client.Close() }, func() {
		for {
			if _, err := stdin.Write(make([]byte, 1<<20)); err != nil {
				return
			}
		}
	})
}

func TestSignals(t *testing.T) {
	t.Parallel()
	ready := make(chan struct{})
	ignoring := func(s *Session) Status {
		signals := s.Signals()
		close(ready)
		for {
			select {
			case <-signals:
			case <-s.Done():
				return Status{}
			}
		}
	}
	tests := []struct {
		name    string
		host    Host
		line    string
		signals string // sent one after the other
		refused bool
		want    string // the signal that killed the command
	}{
		{"sleep", Host{}, "sleep 100", "TERM", false, "TERM"},
		{"cat", Host{}, "cat", "INT", false, "INT"},
		{"output", Host{}, "yes", "HUP", false, "HUP"},
		{"trap", Host{}, "trap '' TERM HUP; sleep 100", "TERM HUP KILL", false, "KILL"},
		{"handler", Host{Handler: ignoring}, "x", "TERM KILL", false, "KILL"},
		{"root", Host{RefuseSignals: true}, "sleep 100", "TERM", true, ""},
		{"unknown", Host{}, "sleep 100", "WINCH", true, ""},
		{"ignored", Host{Fault: Fault{Kind: IgnoreSignals}}, "sleep 100", "KILL", false, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, test.host)
			client := dial(t, s)
			session := openSession(t, client)
			session.StdinPipe()
			if err := session.Start(test.line); err != nil {
				t.Fatal(err)
			}
			if test.host.Handler != nil {
				<-ready
			}
			if strings.HasPrefix(test.line, "trap") {
				eventually(t, "the trap is set", func() bool { return s.process(1001).ignores("HUP") })
			}
			for name := range strings.FieldsSeq(test.signals) {
				ok, err := session.SendRequest("signal", true, ssh.Marshal(struct{ Name string }{name}))
				if err != nil || ok == test.refused {
					t.Fatalf("signal %s: %v, %v", name, ok, err)
				}
			}
			if test.want == "" {
				staysSilent(t, func() { client.Close() }, func() { session.Wait() })
				return
			}
			var exit *ssh.ExitError
			if err := session.Wait(); !errors.As(err, &exit) || exit.Signal() != test.want {
				t.Errorf("wait: %v, want signal %s", err, test.want)
			}
		})
	}
}

func TestOutputFaults(t *testing.T) {
	t.Parallel()
	_, slow := faulty(t, Fault{Kind: DripOutput, Interval: time.Millisecond})
	begin := time.Now()
	if r := runLine(t, slow, "bytes 30", ""); len(r.stdout) != 30 || time.Since(begin) < 25*time.Millisecond {
		t.Errorf("%+v after %v", r, time.Since(begin))
	}

	_, cut := faulty(t, Fault{Kind: CutAfter, Bytes: 100_000})
	session := openSession(t, cut)
	var out strings.Builder
	session.Stdout = &out
	if err := session.Run("bytes 200000"); !errors.As(err, new(*ssh.ExitMissingError)) {
		t.Errorf("run: %v", err)
	}
	if out.Len() == 0 || out.Len() > 100_000 {
		t.Errorf("%d bytes arrived", out.Len())
	}
}

func TestEndOfCommand(t *testing.T) {
	t.Parallel()
	_, client := faulty(t, Fault{Kind: CloseWithoutStatus})
	if err := openSession(t, client).Run("echo hello"); !errors.As(err, new(*ssh.ExitMissingError)) {
		t.Errorf("without status: %v", err)
	}

	// The status follows the end of the output after the interval. On a busy machine, the test may
	// read the end of the output late and measure a shorter time: it tries again with a longer one.
	for interval := 50 * time.Millisecond; untilStatus(t, interval) < interval/2; interval *= 4 {
		if interval > patience {
			t.Fatal("the status follows the end of the output at once")
		}
	}
}

// untilStatus returns the time between the end of a command's output and its status.
func untilStatus(t *testing.T, interval time.Duration) time.Duration {
	t.Helper()
	_, client := faulty(t, Fault{Kind: EOFBeforeStatus, Interval: interval})
	session := openSession(t, client)
	stdout, err := session.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := session.Start("echo hello; exit 3"); err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(stdout); string(text) != "hello\n" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	begin := time.Now()
	var exit *ssh.ExitError
	if err := session.Wait(); !errors.As(err, &exit) || exit.ExitStatus() != 3 {
		t.Errorf("wait: %v", err)
	}
	return time.Since(begin)
}
