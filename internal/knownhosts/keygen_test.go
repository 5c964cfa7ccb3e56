package knownhosts_test

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"fleetssh/internal/knownhosts"
)

// Random files, plain and hashed by ssh-keygen -H, are compared with what ssh-keygen -F finds in
// them. It looks for one name and does not fall back to another.
func TestAgainstSSHKeygen(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(words ...string) string { return words[random.IntN(len(words))] }
	names := []string{"a", "ab", "b.c", "[a]:2222", "[ab]:22", "::1", "[::1]:2222", "B.C", "10.0.0.1", "x-y_z"}
	host := func() string {
		switch random.IntN(6) {
		case 0:
			return pick("*", "a*", "*b", "?", "a?", "[*]:2222", "[a]:*", "*:*", "10.0.0.*", "**", "*?*", "", "A*C", "*.*",
				strings.Repeat("a", 1022), strings.Repeat("a", 1023))
		case 1:
			return "!" + pick(append(names, "*", "a*", "?", "!", "")...)
		default:
			return pick(names...)
		}
	}
	for n := range 12 {
		var file strings.Builder
		hashed := n%2 == 1
		for range 30 {
			marker, space := pick("", "", "", "", "", "@cert-authority ", "@revoked ", "@foo ", " ", "#"), pick(" ", " ", "\t", "  ")
			if hashed {
				marker, space = strings.TrimPrefix(marker, "@foo "), " "
			}
			first := host()
			if hashed && first == "" {
				first = "a"
			}
			file.WriteString(marker + first)
			for random.IntN(3) == 0 {
				file.WriteString("," + host())
			}
			file.WriteString(space)
			// ssh-keygen -F does not check that a key is complete, and -H refuses a file
			// with a line without key.
			bad := pick("ssh-foo AAAA", "1024 35 17", "")
			if hashed {
				bad = "{ed}"
			}
			file.WriteString(pick("{ed}", "{ed}", "{ed}", "{ed2}", "{ec}", "{rsa}", bad))
			file.WriteString(pick("\n", "\n", "\n", " comment\n", "\r\n", "\n\n"))
		}
		path := filepath.Join(t.TempDir(), fmt.Sprintf("known_hosts%d", n))
		writeFile(t, path, fill(file.String()))
		if hashed {
			keygen(t, "-H", "-f", path)
		}
		var db knownhosts.DB
		if err := db.ReadFile(path); err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			name = strings.ToLower(name) // ssh does so before, for hashes too
			want := found(keygen(t, "-F", name, "-f", path))
			got := make(map[string]bool)
			for _, known := range []string{"ed", "ed2", "ec", "rsa"} {
				line, marker := db.Find(name, keyText(key(known)))
				for i := range line {
					got[fmt.Sprintf("%d %s", line[i], marker[i])] = true
				}
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s: lines %v, ssh-keygen has %v, in\n%s", name, got, want, readFile(t, path))
			}
		}
	}
}

// found returns the line numbers and markers from the output of ssh-keygen -F.
func found(output string) map[string]bool {
	lines := make(map[string]bool)
	for row := range strings.Lines(output) {
		if _, where, ok := strings.Cut(row, " found: line "); ok && strings.HasPrefix(row, "# Host ") {
			number, marker, _ := strings.Cut(strings.TrimRight(where, "\n"), " ")
			lines[number+" "+marker] = true
		}
	}
	return lines
}

// keygen runs ssh-keygen, which fails with -F if it finds nothing.
func keygen(t *testing.T, args ...string) string {
	t.Helper()
	path, err := exec.LookPath("ssh-keygen")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(path, args...).CombinedOutput()
	if err != nil && args[0] != "-F" {
		t.Fatalf("ssh-keygen %s: %v: %s", args, err, out)
	}
	return string(out)
}
