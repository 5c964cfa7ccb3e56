package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestRename(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	files := map[string][3]string{ // before, with a path that ends as the package is called, and with another
		"go.mod": {
			"module fleetssh\n\ngo 1.26.0\n",
			"module example.com/a/fleetssh\n\ngo 1.26.0\n",
			"module example.com/a/b/v2\n\ngo 1.26.0\n",
		},
		"tools/x/go.mod": {
			"module fleetssh/tools/x\n", "module example.com/a/fleetssh/tools/x\n", "module example.com/a/b/v2/tools/x\n",
		},
		"a.go": {
			"package a\n\nimport (\n\t\"fleetssh\"\n\t_ \"fleetssh/hostset\"\n\t\"fleetsshd/x\"\n)\n\n// See [fleetssh/hostset].\nvar a = fleetssh.B(\"fleetssh/hostset\", x.Y)\n",
			"package a\n\nimport (\n\t\"example.com/a/fleetssh\"\n\t_ \"example.com/a/fleetssh/hostset\"\n\t\"fleetsshd/x\"\n)\n\n// See [example.com/a/fleetssh/hostset].\nvar a = fleetssh.B(\"fleetssh/hostset\", x.Y)\n",
			"package a\n\nimport (\n\tfleetssh \"example.com/a/b/v2\"\n\t_ \"example.com/a/b/v2/hostset\"\n\t\"fleetsshd/x\"\n)\n\n// See [example.com/a/b/v2/hostset].\nvar a = fleetssh.B(\"fleetssh/hostset\", x.Y)\n",
		},
		"README.md": {
			"```go\nimport \"fleetssh/inventory\"\n```\n~/.config/fleetssh/config.toml\n",
			"```go\nimport \"example.com/a/fleetssh/inventory\"\n```\n~/.config/fleetssh/config.toml\n",
			"```go\nimport \"example.com/a/b/v2/inventory\"\n```\n~/.config/fleetssh/config.toml\n",
		},
		".golangci.yml": {
			"- (*fleetssh/internal/spool.Stream).Write\n- pkg: fleetssh\n- pkg: fleetssh/cmd\nallow: [fleetssh/internal]\n",
			"- (*example.com/a/fleetssh/internal/spool.Stream).Write\n- pkg: example.com/a/fleetssh\n- pkg: example.com/a/fleetssh/cmd\nallow: [example.com/a/fleetssh/internal]\n",
			"- (*example.com/a/b/v2/internal/spool.Stream).Write\n- pkg: example.com/a/b/v2\n- pkg: example.com/a/b/v2/cmd\nallow: [example.com/a/b/v2/internal]\n",
		},
		"b.txt":        {"fleetssh/x\n", "fleetssh/x\n", "fleetssh/x\n"},
		".git/go.mod":  {"module fleetssh\n", "module fleetssh\n", "module fleetssh\n"},
		"fleet/sub.go": {"package sub\n", "package sub\n", "package sub\n"},
	}
	for name, texts := range files {
		write(name, texts[0])
	}
	// The second time begins with what the first has made.
	for i, path := range []string{"example.com/a/fleetssh", "example.com/a/b/v2"} {
		if n, err := rename(dir, path); err != nil || n != 5 {
			t.Fatalf("%s: %d files, %v", path, n, err)
		}
		for name, texts := range files {
			if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != texts[i+1] {
				t.Errorf("%s: %s is\n%s\nwant\n%s(%v)", path, name, got, texts[i+1], err)
			}
		}
	}
	if n, err := rename(dir, "example.com/a/b/v2"); n != 0 || err != nil {
		t.Errorf("the same path again: %d files, %v", n, err)
	}
}

func TestRenameRefuses(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"", "fleetssh", "https://example.com/a", "example.com", "example.com/", "example.com/a/", "a b.com/c", "example.com/a b", "Example.com/a", "-x"} {
		if _, err := rename(t.TempDir(), path); err == nil {
			t.Errorf("%q is accepted", path)
		}
	}
}
