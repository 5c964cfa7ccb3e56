package scp

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// program is scp of OpenSSH, run here as it would be on a host.
type program struct {
	stdin  io.WriteCloser
	stdout io.Reader
	stderr bytes.Buffer
	cmd    *exec.Cmd
}

// start runs a line as sshd does: the user's shell reads it.
func start(t *testing.T, dir, line string) *program {
	t.Helper()
	p := &program{cmd: exec.CommandContext(t.Context(), "sh", "-c", "exec "+line)}
	p.cmd.Dir, p.cmd.Stderr = dir, &p.stderr
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if p.stdout, err = p.cmd.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		p.cmd.Wait()
	})
	return p
}

// finish checks whether the program exited with 0.
func (p *program) finish(t *testing.T, code int) {
	t.Helper()
	if p.cmd.Wait(); p.cmd.ProcessState.ExitCode() != code {
		t.Errorf("scp: %v, %s", p.cmd.ProcessState, p.stderr.String())
	}
}

// upload sends a local file or tree to a line of [Command.To].
func upload(t *testing.T, dir, line string, locals ...string) {
	t.Helper()
	p := start(t, dir, line)
	s := NewSource(p.stdin, p.stdout)
	for _, local := range locals {
		if err := sendTree(s, local); err != nil {
			t.Fatal(err)
		}
	}
	p.stdin.Close()
	if err := s.Finish(); err != nil {
		t.Errorf("finish: %v", err)
	}
	p.finish(t, 0)
}

func sendTree(s *Source, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	r := Record{Name: info.Name(), Mode: info.Mode(), Size: info.Size(), ModTime: info.ModTime()}
	if !info.IsDir() {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		return s.File(r, f)
	}
	if err := s.Dir(r); err != nil {
		return err
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := sendTree(s, filepath.Join(path, entry.Name())); err != nil {
			return err
		}
	}
	return s.EndDir()
}

// download writes to local what a line of [Command.From] sends, and returns the warnings.
func download(t *testing.T, dir, line, local string, code int) (warnings []string) {
	t.Helper()
	p := start(t, dir, line)
	s := NewSink(p.stdin, p.stdout)
	at := []string{local}
	var times []time.Time
	for {
		r, err := s.Next()
		var warning *Warning
		if errors.As(err, &warning) {
			warnings = append(warnings, warning.Text)
			continue
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(at[len(at)-1], r.Name)
		switch r.Kind {
		case Dir:
			err = os.Mkdir(path, 0o700)
			os.Chmod(path, r.Mode)
			at, times = append(at, path), append(times, r.ModTime)
		case EndDir:
			err = os.Chtimes(at[len(at)-1], time.Time{}, times[len(times)-1])
			at, times = at[:len(at)-1], times[:len(times)-1]
		case File:
			err = receiveFile(s, path, r)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	p.stdin.Close()
	p.finish(t, code)
	return warnings
}

func receiveFile(s *Sink, path string, r Record) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, s)
	return errors.Join(err, f.Chmod(r.Mode), f.Close(), os.Chtimes(path, time.Time{}, r.ModTime))
}

// plant makes a tree of difficult cases.
func plant(t *testing.T, root string) {
	t.Helper()
	random := rand.NewChaCha8([32]byte{1})
	for i, entry := range []struct {
		name string
		mode fs.FileMode
		size int64 // -1 is a directory
	}{
		{"", 0o755, -1},
		{"empty", 0o600, 0},
		{"one chunk", 0o644, chunk},
		{"more", 0o755, 3*chunk + 1},
		{"set-uid", 0o755 | fs.ModeSetuid, 10},
		{"read only", 0o444, 10},
		{" spaces  and\ttab ", 0o644, 3},
		{"\xff\xfe not UTF-8 \x80", 0o644, 3},
		{"grüße", 0o644, 3},
		{"-rf", 0o644, 3},
		{`a\^Jb *?[x]'"$(id)`, 0o644, 3},
		{"C0644 5 x", 0o644, 3},
		{"empty directory", 0o700, -1},
		{"d", 0o750, -1},
		{"d/e", 0o711, -1},
		{"d/e/f", 0o777, -1},
		{"d/e/f/deep", 0o640, 1000},
		{"d/after", 0o640, 7},
	} {
		path := filepath.Join(root, entry.name)
		var err error
		if entry.size < 0 {
			err = os.Mkdir(path, 0o700)
		} else {
			content := make([]byte, entry.size)
			random.Read(content)
			err = os.WriteFile(path, content, 0o600)
		}
		if err == nil {
			err = os.Chmod(path, entry.mode)
		}
		if err != nil {
			t.Fatal(err)
		}
		// Directories get their times after their content.
		defer os.Chtimes(path, time.Time{}, time.Unix(1_000_000_000+int64(i)*86400, 0))
	}
}

// tree lists everything below root with modes, times and content.
func tree(t *testing.T, root string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(root, path)
		fmt.Fprintf(&b, "%q %v %d", name, info.Mode(), info.ModTime().Unix())
		if !d.IsDir() {
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %d %x", len(content), sha256.Sum256(content))
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestOpenSSHTree(t *testing.T) {
	t.Parallel()
	from, dir := t.TempDir(), t.TempDir()
	plant(t, filepath.Join(from, "tree"))
	want := tree(t, filepath.Join(from, "tree"))
	if strings.Count(want, "\n") != 18 {
		t.Fatalf("the tree is\n%s", want)
	}
	upload(t, dir, Command{Recursive: true, Preserve: true, Directory: true}.To(), filepath.Join(from, "tree"))
	if got := tree(t, filepath.Join(dir, "tree")); got != want {
		t.Errorf("uploaded:\n%s\nwant\n%s", got, want)
	}
	back := t.TempDir()
	if warnings := download(t, dir, Command{Path: "tree", Recursive: true, Preserve: true}.From(), back, 0); warnings != nil {
		t.Errorf("warnings %q", warnings)
	}
	if got := tree(t, filepath.Join(back, "tree")); got != want {
		t.Errorf("downloaded:\n%s\nwant\n%s", got, want)
	}
}

func TestOpenSSHOneFile(t *testing.T) {
	t.Parallel()
	from, dir := t.TempDir(), t.TempDir()
	local := filepath.Join(from, "local name")
	if err := os.WriteFile(local, []byte("hello"), 0o640); err != nil {
		t.Fatal(err)
	}
	for _, remote := range []string{"x", "-t", "a b", "it's", "*", "~", "$HOME", "\xff", "new\nline", `back\slash`, "!"} {
		upload(t, dir, Command{Path: remote}.To(), local)
		if content, err := os.ReadFile(filepath.Join(dir, remote)); string(content) != "hello" || err != nil {
			t.Errorf("%q: %q, %v", remote, content, err)
		}
		if strings.Contains(remote, "\n") {
			continue
		}
		back := t.TempDir()
		download(t, dir, Command{Path: remote}.From(), back, 0)
		if content, err := os.ReadFile(filepath.Join(back, remote)); string(content) != "hello" || err != nil {
			t.Errorf("%q came back as %q, %v", remote, content, err)
		}
	}
	// The destination is a device, and scp writes to it.
	upload(t, dir, Command{Path: "/dev/null"}.To(), local)
}

func TestOpenSSHGlob(t *testing.T) {
	t.Parallel()
	dir, back := t.TempDir(), t.TempDir()
	for _, name := range []string{"a b1.log", "a b2.log", "a b2.txt", "-x.log", "new\nline.log"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	download(t, dir, Command{Path: "a b[12].lo?", Glob: true}.From(), back, 0)
	download(t, dir, Command{Path: "*.log", Glob: true}.From(), back, 0)
	names, _ := filepath.Glob(filepath.Join(back, "*"))
	for i := range names {
		names[i] = filepath.Base(names[i])
	}
	// OpenSSH sends no newline after the last message.
	if got, want := fmt.Sprintf("%q", names), fmt.Sprintf("%q", []string{"-x.log", "a b1.log", "a b2.log", `new\^Jline.log`}); got != want {
		t.Errorf("came: %s, want %s", got, want)
	}
	warnings := download(t, dir, Command{Path: "nothing*", Glob: true}.From(), t.TempDir(), 1)
	if len(warnings) != 1 || warnings[0] != "scp: nothing*: No such file or directory" {
		t.Errorf("warnings %q", warnings)
	}
}

func TestOpenSSHWarnings(t *testing.T) {
	t.Parallel()
	dir, back := t.TempDir(), t.TempDir()
	os.Mkdir(filepath.Join(dir, "d"), 0o755)
	os.WriteFile(filepath.Join(dir, "f"), []byte("hello"), 0o644)

	// Without -r, scp refuses a directory.
	warnings := download(t, dir, Command{Path: "*", Glob: true}.From(), back, 1)
	if len(warnings) != 1 || warnings[0] != "scp: d: not a regular file" {
		t.Errorf("warnings %q", warnings)
	}
	if content, err := os.ReadFile(filepath.Join(back, "f")); string(content) != "hello" {
		t.Errorf("%q, %v", content, err)
	}

	// A file has the name of a directory, a directory has the name of a file, and the last file can
	// be written.
	p := start(t, dir, Command{Recursive: true}.To())
	s := NewSource(p.stdin, p.stdout)
	checkWarning(t, s.Dir(Record{Name: "f", Mode: 0o755}), "scp: ./f: Not a directory")
	checkWarning(t, s.File(Record{Name: "d", Mode: 0o644, Size: 1}, nil), "scp: ./d: Is a directory")
	checkWarning(t, s.File(Record{Name: "full", Mode: 0o644, Size: 1}, strings.NewReader("x")), "")
	err := s.File(Record{Name: "short", Mode: 0o644, Size: 100_000}, strings.NewReader("x"))
	if !errors.As(err, new(*ContentError)) || s.Broken() != nil {
		t.Errorf("a short file: %v, %v", err, s.Broken())
	}
	checkWarning(t, s.File(Record{Name: "after", Mode: 0o644, Size: 2}, strings.NewReader("ok")), "")
	p.stdin.Close()
	if err := s.Finish(); err != nil {
		t.Error(err)
	}
	p.finish(t, 1)
	if content, _ := os.ReadFile(filepath.Join(dir, "after")); string(content) != "ok" {
		t.Errorf("after: %q", content)
	}

	// The disk is full, which scp notices only at the end.
	p = start(t, dir, Command{Path: "/dev/full"}.To())
	s = NewSource(p.stdin, p.stdout)
	checkWarning(t, s.File(Record{Name: "x", Size: 100_000}, zeros{}), "scp: /dev/full: No space left on device")

	// The target is not a directory.
	p = start(t, dir, Command{Path: "f", Directory: true}.To())
	s = NewSource(p.stdin, p.stdout)
	if err := s.start(); !errors.As(err, new(*FatalError)) || err.Error() != "scp: f: Not a directory" {
		t.Errorf("start: %v", err)
	}

	// A refused file is not sent, and the next one is.
	p = start(t, dir, Command{Path: "?", Glob: true, Recursive: true}.From())
	if got := story(NewSink(p.stdin, p.stdout)); got != `dir d -rwxr-xr-x, up, file f -rw-r--r-- "hello", end` {
		t.Error(got)
	}
}

// TestOpenSSHLarge sends 100 MiB there and back.
func TestOpenSSHLarge(t *testing.T) {
	t.Parallel()
	const size = 100 << 20
	dir := t.TempDir()
	sum := sha256.New()
	content := io.TeeReader(rand.NewChaCha8([32]byte{2}), sum)
	p := start(t, dir, Command{Path: "large"}.To())
	s := NewSource(p.stdin, p.stdout)
	if err := s.File(Record{Name: "large", Mode: 0o600, Size: size}, content); err != nil {
		t.Fatal(err)
	}
	p.stdin.Close()
	p.finish(t, 0)
	p = start(t, dir, Command{Path: "large"}.From())
	sink := NewSink(p.stdin, p.stdout)
	if r, err := sink.Next(); err != nil || r.Size != size {
		t.Fatalf("%+v, %v", r, err)
	}
	back := sha256.New()
	if n, err := io.Copy(back, sink); n != size || err != nil {
		t.Fatalf("%d bytes, %v", n, err)
	}
	if !bytes.Equal(sum.Sum(nil), back.Sum(nil)) {
		t.Error("what came back is something else")
	}
	if _, err := sink.Next(); err != io.EOF {
		t.Error(err)
	}
	p.finish(t, 0)
}
