package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"fleetssh/cmd/fleetssh/internal/dshbak"
	"fleetssh/cmd/fleetssh/internal/exit"
)

// runDshbak runs our dshbak with an input.
func runDshbak(t *testing.T, input string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = run(t.Context(), append([]string{"dshbak"}, args...), stdio{in: strings.NewReader(input), out: &out, err: &err})
	return code, out.String(), err.String()
}

// Our dshbak formats lines as pdsh's dshbak does.
func TestDshbakAgainstTheOriginal(t *testing.T) {
	t.Parallel()
	const seeds = 20
	for seed := range uint64(seeds) {
		random := rand.New(rand.NewPCG(seed, 1))
		var input strings.Builder
		width := 1 + random.IntN(3)
		for range random.IntN(60) {
			text := []string{"", "same", "other", "  set in", "a: b", "\ttab", "x\r"}[random.IntN(7)]
			colon := []string{": ", ":", " : "}[random.IntN(3)]
			if colon == ":" && strings.Contains(text, ":") {
				colon = ": "
			}
			fmt.Fprintf(&input, "node%0*d%s%s\n", width, 1+random.IntN(12), colon, text)
		}
		input.WriteString("no label in this line\n\n")
		for _, args := range [][]string{nil, {"-c"}} {
			original := exec.CommandContext(t.Context(), "dshbak", args...)
			original.Stdin = strings.NewReader(input.String())
			want, err := original.Output()
			if err != nil {
				t.Fatalf("dshbak of pdsh (.ci/prepare installs it): %v", err)
			}
			if code, got, stderr := runDshbak(t, input.String(), args...); code != exit.OK || got != string(want) || stderr != "" {
				t.Fatalf("seed %d, %q: exit code %d, %s\n%s\nwant\n%s\nof\n%s", seed, args, code, stderr, got, want, input.String())
			}
		}
	}
}

// Neither a host name nor an existing link can lead out of the directory.
func TestDshbakFilesStayInTheDirectory(t *testing.T) {
	t.Parallel()
	outer := t.TempDir()
	dir := filepath.Join(outer, "in")
	code, _, stderr := runDshbak(t, "../up: x\n..: x\n/etc/up: x\na/b: x\n.hidden: x\nok: x\n", "-d", dir, "-f")
	if code != exit.OK {
		t.Fatal(stderr)
	}
	if found, _ := os.ReadDir(outer); len(found) != 1 {
		t.Errorf("outside: %v", found)
	}
	found, err := os.ReadDir(dir)
	if err != nil || len(found) != 6 {
		t.Errorf("%v, %v", found, err)
	}
	aim := filepath.Join(outer, "aim")
	if err := os.Symlink(aim, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if code, _, _ := runDshbak(t, "link: x\n", "-d", dir); code != exit.Failed {
		t.Errorf("through a link: exit code %d", code)
	}
	if _, err := os.Lstat(aim); err == nil {
		t.Error("written through a link")
	}
}

// Existing files are truncated, and output beyond what is held in memory is appended in steps.
func TestDshbakFilesOfMuchOutput(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "b"), []byte("old\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	const held = 4 << 20 // bytes buffered before any are written
	line := strings.Repeat("x", 1000)
	var input strings.Builder
	for range 2 * held / 1000 {
		input.WriteString("a: " + line + "\nb: " + line + "\n")
	}
	if code, _, stderr := runDshbak(t, input.String(), "-d", dir); code != exit.OK {
		t.Fatal(stderr)
	}
	want := strings.Repeat(line+"\n", 2*held/1000)
	for _, name := range []string{"a", "b"} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
			t.Errorf("%s has %d bytes, want %d (%v)", name, len(got), len(want), err)
		}
	}
}

func TestDshbakErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, tt := range []struct {
		name  string
		args  []string
		input string
		code  int
		want  string
	}{
		{"-c and -d", []string{"-c", "-d", dir}, "", exit.Usage, "-c and -d"},
		{"-f alone", []string{"-f"}, "", exit.Usage, "-f needs -d"},
		{"no directory", []string{"-d", filepath.Join(dir, "none")}, "", exit.Failed, "hint: -f creates it"},
		{"no file", []string{filepath.Join(dir, "none")}, "", exit.Failed, "no such file"},
		{"a line without end", nil, "a: " + strings.Repeat("x", dshbak.MaxLine), exit.Failed, "standard input: a line of more than 16 MiB"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if code, _, stderr := runDshbak(t, tt.input, tt.args...); code != tt.code || !strings.Contains(stderr, tt.want) {
				t.Errorf("exit code %d, %s", code, stderr)
			}
		})
	}
}
