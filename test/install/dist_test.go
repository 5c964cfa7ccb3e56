//go:build linux

package install_test

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// TestDist builds for this system, from the tree and from a copy in another place, and installs the
// packages. "make reproduce" does the same for all systems, with empty caches.
func TestDist(t *testing.T) {
	t.Parallel()
	platform := "PLATFORMS=linux/" + runtime.GOARCH
	dist, again := t.TempDir(), t.TempDir()
	runMake(t, source(t), "dist", platform, "DIST="+dist)
	runMake(t, copyTree(t), "dist", platform, "DIST="+again)

	names := files(t, dist)
	if want := 5; len(names) != want {
		t.Fatalf("dist has %q", names)
	}
	var sums bytes.Buffer
	for _, name := range names {
		one, err := os.ReadFile(dist + name)
		if err != nil {
			t.Fatal(err)
		}
		two, err := os.ReadFile(again + name)
		if err != nil || !bytes.Equal(one, two) {
			t.Errorf("%s differs in a second build (%v)", name, err)
		}
		if name == "/SHA256SUMS" {
			continue
		}
		sum := sha256.Sum256(one)
		sums.WriteString(hex.EncodeToString(sum[:]) + "  " + name[1:] + "\n")
	}
	listed, err := os.ReadFile(dist + "/SHA256SUMS")
	if err != nil || !sameLines(string(listed), sums.String()) {
		t.Errorf("SHA256SUMS is\n%swant\n%s(%v)", listed, sums.Bytes(), err)
	}

	program := filepath.Join(dist, "fleetssh-"+version+"-linux-"+runtime.GOARCH)
	checkVersion(t, program)
	checkProgram(t, program)
	t.Run("deb", func(t *testing.T) { testDeb(t, find(t, dist, "*.deb"), program) })
	t.Run("rpm", func(t *testing.T) {
		got := strings.Fields(output(t, "", nil, "rpm", "-qpl", "--nosignature", find(t, dist, "*.rpm")))
		checkPackage(t, got, "/usr/share/zsh/site-functions/_fleetssh", unit)
	})
	t.Run("apk", func(t *testing.T) {
		checkPackage(t, apkFiles(t, find(t, dist, "*.apk")), "/usr/share/zsh/site-functions/_fleetssh")
	})
}

// unit is the systemd unit of the packages for systems that have systemd.
const unit = "/usr/lib/systemd/system/fleetssh-tunnel@.service"

// find returns the one file in a directory that matches a pattern.
func find(t *testing.T, dir, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: %q, %v", pattern, found, err)
	}
	return found[0]
}

func sameLines(a, b string) bool {
	one, two := strings.Split(a, "\n"), strings.Split(b, "\n")
	slices.Sort(one)
	slices.Sort(two)
	return slices.Equal(one, two)
}

// checkProgram checks that a program needs no libraries, has no symbols, and does not name the
// directory that it was built in.
func checkProgram(t *testing.T, program string) {
	t.Helper()
	file, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, p := range file.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("the program is not static: it has %v", p.Type)
		}
	}
	if _, err := file.Symbols(); !errors.Is(err, elf.ErrNoSymbols) {
		t.Errorf("the program is not stripped: %v", err)
	}
	text, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{source(t), strings.TrimSpace(string(root))} {
		if dir != "" && bytes.Contains(text, []byte(dir+"/")) {
			t.Errorf("the program names %s", dir)
		}
	}
}

// checkPackage checks that a package has what people expect, and more.
func checkPackage(t *testing.T, have []string, more ...string) {
	t.Helper()
	for _, want := range append(more,
		"/usr/bin/fleetssh",
		"/usr/share/man/man1/fleetssh.1.gz",
		"/usr/share/man/man1/fleetssh-run.1.gz",
		"/usr/share/bash-completion/completions/fleetssh",
		"/usr/share/fish/vendor_completions.d/fleetssh.fish",
	) {
		if !slices.Contains(have, want) {
			t.Errorf("%s is missing", want)
		}
	}
	if hasUnit := slices.Contains(have, unit); hasUnit != slices.Contains(more, unit) {
		t.Errorf("has a unit: %v", hasUnit)
	}
}

// testDeb installs the package in a root of its own, and removes it. Nothing is run there: the package
// has no scripts.
func testDeb(t *testing.T, deb, program string) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, for files to belong to root")
	}
	root := t.TempDir()
	state := filepath.Join(root, "var/lib/dpkg")
	for _, dir := range []string{"info", "updates", "triggers"} {
		if err := os.MkdirAll(filepath.Join(state, dir), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(state, "status"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	dpkg := func(args ...string) string {
		t.Helper()
		return output(t, "", []string{"LC_ALL=C"}, "dpkg", append([]string{"--root=" + root, "--log=" + filepath.Join(state, "log")}, args...)...)
	}
	dpkg("--force-bad-path", "-i", deb)
	if got := dpkg("-s", "fleetssh"); !strings.Contains(got, "Status: install ok installed\n") || !strings.Contains(got, "Version: "+version) {
		t.Errorf("dpkg -s: %s", got)
	}
	listed := strings.Fields(dpkg("-L", "fleetssh"))
	checkPackage(t, listed, "/usr/share/zsh/vendor-completions/_fleetssh", "/usr/share/doc/fleetssh/copyright", unit)
	for _, name := range listed {
		info, err := os.Lstat(root + name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		mode := os.FileMode(0o644)
		if info.IsDir() || strings.HasPrefix(name, "/usr/bin/") {
			mode = 0o755
		}
		if info.Mode().Perm() != mode && name != "/." {
			t.Errorf("%s has the mode %v", name, info.Mode())
		}
	}
	checkVersion(t, root+"/usr/bin/fleetssh")
	one, err := os.ReadFile(root + "/usr/bin/fleetssh")
	if err != nil {
		t.Fatal(err)
	}
	if two, err := os.ReadFile(program); err != nil || !bytes.Equal(one, two) {
		t.Errorf("the package has another program (%v)", err)
	}
	testUnit(t, root)

	dpkg("--force-bad-path", "--purge", "fleetssh")
	left := slices.DeleteFunc(files(t, root), func(name string) bool { return strings.HasPrefix(name, "/var/lib/dpkg/") })
	if len(left) > 0 {
		t.Errorf("removing leaves %q", left)
	}
	if _, err := os.Stat(root + "/usr"); err == nil {
		t.Error("removing leaves directories in /usr")
	}
}

// testUnit starts what the unit starts, as systemd would put it together, for a host that refuses: the
// options of the unit have to be those of the program.
func testUnit(t *testing.T, root string) {
	t.Helper()
	text, err := os.ReadFile(root + unit)
	if err != nil {
		t.Fatal(err)
	}
	_, line, found := strings.Cut(string(text), "\nExecStart=")
	line, _, _ = strings.Cut(line, "\n")
	credentials := t.TempDir()
	if !found || exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(credentials, "key")).Run() != nil {
		t.Fatalf("no unit or no key: %s", text)
	}
	if err := os.WriteFile(filepath.Join(credentials, "known_hosts"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	line = strings.ReplaceAll(line, "${CREDENTIALS_DIRECTORY}", credentials)
	words := strings.Fields(strings.ReplaceAll(line, "$OPTIONS", "-w 127.0.0.1 -p 1 -l tunnel --attempts 1 --serve 0"))
	cmd := exec.Command(root+words[0], words[1:]...)
	cmd.Env = append(os.Environ(), "HOME="+credentials)
	out, err := cmd.CombinedOutput()
	var status *exec.ExitError
	if !errors.As(err, &status) || status.ExitCode() != 4 || !strings.Contains(string(out), "connection refused") {
		t.Errorf("%s: %v\n%s", line, err, out)
	}
}

// apkFiles returns the files in a package of Alpine: tar archives, each of which gzip has compressed.
func apkFiles(t *testing.T, name string) []string {
	t.Helper()
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var names []string
	in := bufio.NewReader(file)
	unzip, err := gzip.NewReader(in)
	for ; err == nil; err = unzip.Reset(in) {
		unzip.Multistream(false)
		archive := tar.NewReader(unzip)
		for {
			header, err := archive.Next()
			if err != nil {
				break // the first archive has no end of its own
			}
			names = append(names, "/"+header.Name)
		}
		if _, err := io.Copy(io.Discard, unzip); err != nil {
			t.Fatal(err)
		}
	}
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return names
}
