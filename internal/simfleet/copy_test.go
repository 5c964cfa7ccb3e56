package simfleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"encoding/pem"

	"golang.org/x/crypto/ssh"

	"crypto/ed25519"
	"crypto/rand"

	"fleetssh/internal/scp"
)

// programs runs OpenSSH's scp and sftp against a host.
type programs struct {
	server *Server
	dir    string // has the local files, the key and the known_hosts file
}

func newPrograms(t *testing.T, h Host) programs {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	authorized, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	h.AuthorizedKeys = []ssh.PublicKey{authorized}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	p := programs{start(t, h), t.TempDir()}
	p.write(t, "key", string(pem.EncodeToMemory(block)))
	p.write(t, "known", p.server.KnownHostsLine())
	return p
}

func (p programs) path(name string) string { return filepath.Join(p.dir, name) }

func (p programs) write(t *testing.T, name, content string) {
	t.Helper()
	os.MkdirAll(filepath.Dir(p.path(name)), 0o755)
	if err := os.WriteFile(p.path(name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// run runs scp or sftp. "HOST:" in its arguments stands for the host.
func (p programs) run(t *testing.T, stdin, program string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	all := []string{"-F", "none", "-P", fmt.Sprint(p.server.Port()), "-i", p.path("key"), "-o", "UserKnownHostsFile=" + p.path("known"),
		"-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes"}
	for _, arg := range args {
		all = append(all, strings.Replace(arg, "HOST:", "alice@"+p.server.Host()+":", 1))
	}
	cmd := exec.CommandContext(ctx, program, all...)
	cmd.Dir, cmd.Stdin = p.dir, strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestOpenSSHCopies copies a tree to a host and back with OpenSSH's scp.
func TestOpenSSHCopies(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"-O", "-s"} {
		t.Run("scp "+protocol, func(t *testing.T) {
			t.Parallel()
			p := newPrograms(t, Host{})
			large := strings.Repeat("0123456789", 100_000)
			p.write(t, "tree/a b", "hello")
			p.write(t, "tree/d/\xff", large)
			p.write(t, "tree/d/empty", "")
			os.Mkdir(p.path("tree/nothing"), 0o711)
			when := time.Unix(1_000_000_000, 0)
			os.Chmod(p.path("tree/a b"), 0o751)
			os.Chtimes(p.path("tree/a b"), when, when)
			if out, err := p.run(t, "", "scp", protocol, "-rp", "tree", "HOST:"); err != nil {
				t.Fatalf("%v, %s", err, out)
			}
			want := `["/home/" "/home/alice/" "/home/alice/tree/" "/home/alice/tree/a b" "/home/alice/tree/d/" "/home/alice/tree/d/empty" "/home/alice/tree/d/\xff" "/home/alice/tree/nothing/" "/tmp/"]`
			if names := fmt.Sprintf("%q", p.server.FileNames()); names != want {
				t.Errorf("files %s", names)
			}
			info, err := p.server.Stat("/home/alice/tree/a b")
			if err != nil || info.Mode() != 0o751 || !info.ModTime().Equal(when) {
				t.Errorf("%v, %v", info, err)
			}
			if out, err := p.run(t, "", "scp", protocol, "-rp", "HOST:tree", "back"); err != nil {
				t.Fatalf("%v, %s", err, out)
			}
			if out, err := exec.Command("diff", "-r", p.path("tree"), p.path("back")).CombinedOutput(); err != nil {
				t.Errorf("the downloaded tree differs: %s", out)
			}
			local, err := os.Stat(p.path("back/a b"))
			if err != nil || local.Mode() != 0o751 || !local.ModTime().Equal(when) {
				t.Errorf("%v, %v", local, err)
			}
			if out, err := p.run(t, "", "scp", protocol, "HOST:nowhere", "x"); err == nil || !strings.Contains(out, "No such file or directory") {
				t.Errorf("%v, %s", err, out)
			}
		})
	}
}

func TestOpenSSHSFTP(t *testing.T) {
	t.Parallel()
	p := newPrograms(t, Host{})
	p.write(t, "local", "hello")
	batch := "mkdir d\nput local d/remote\nrename d/remote d/other\nln -s other d/link\nchmod 600 d/other\nls -l d\nget d/link back\nrm d/link\n"
	out, err := p.run(t, batch, "sftp", "-b", "-", "HOST:")
	if err != nil {
		t.Fatalf("%v, %s", err, out)
	}
	if back, err := os.ReadFile(p.path("back")); string(back) != "hello" {
		t.Errorf("%q, %v", back, err)
	}
	if info, err := p.server.Stat("/home/alice/d/other"); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

// TestOpenSSHSCPFaults checks that scp notices the faults.
func TestOpenSSHSCPFaults(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		fault  Fault
		upload bool
		says   string
	}{
		{Fault{Kind: DiskFull, Bytes: 1000}, true, "No space left on device"},
		{Fault{Kind: DenyPath, Path: "/home/alice"}, true, "Permission denied"},
		{Fault{Kind: CutUpload, Bytes: 1000}, true, ""},
		{Fault{Kind: NoSCP}, true, "scp: not found"},
		{Fault{Kind: HostileNames}, false, "unexpected filename"},
		{Fault{Kind: WrongSize, Bytes: -10}, false, ""},
	} {
		t.Run(test.fault.String(), func(t *testing.T) {
			t.Parallel()
			p := newPrograms(t, Host{Fault: test.fault})
			p.write(t, "local", strings.Repeat("x", 100_000))
			p.server.WriteFile("/home/alice/f", bytes.Repeat([]byte("y"), 100_000), 0)
			args := []string{"-O", "HOST:f", "."}
			if test.upload {
				args = []string{"-O", "local", "HOST:"}
			}
			if out, err := p.run(t, "", "scp", args...); err == nil || !strings.Contains(out, test.says) {
				t.Errorf("%v, %s", err, out)
			}
			if _, err := os.Stat(filepath.Join(p.dir, "..", "..", "evil")); err == nil {
				t.Error("a file was written outside the directory")
			}
		})
	}
}

// TestHostileSCP checks our own SCP client against a hostile source.
func TestHostileSCP(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		fault Fault
		want  string
	}{
		{Fault{Kind: HostileNames}, "a slash in it"},
		{Fault{Kind: LongNames}, "more than 5120 bytes"},
		{Fault{Kind: EndlessListing}, "enough"},
		{Fault{Kind: WrongSize, Bytes: -1}, "instead of an answer"},
		{Fault{Kind: WrongSize, Bytes: 100}, "unexpected EOF"},
	} {
		t.Run(test.fault.String(), func(t *testing.T) {
			t.Parallel()
			s, client := faulty(t, test.fault)
			s.WriteFile("/f", []byte("hello"), 0)
			session := openSession(t, client)
			stdin, _ := session.StdinPipe()
			stdout, _ := session.StdoutPipe()
			if err := session.Start(scp.Command{Path: "/f", Recursive: true}.From()); err != nil {
				t.Fatal(err)
			}
			sink := scp.NewSink(stdin, stdout)
			var err error
			for i := 0; err == nil; i++ {
				var r scp.Record
				if r, err = sink.Next(); err == nil && r.Kind == scp.File {
					_, err = io.Copy(io.Discard, sink)
				}
				if i == 1000 {
					err = errors.New("enough")
				}
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}
