//go:build linux

package install_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestInstall(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	args := []string{"DESTDIR=" + root, "PREFIX=/opt/fleet", "OUT=" + filepath.Join(t.TempDir(), "fleetssh")}
	runMake(t, source(t), append([]string{"install"}, args...)...)
	installed := files(t, root)
	for _, want := range []string{
		"/opt/fleet/bin/fleetssh",
		"/opt/fleet/share/bash-completion/completions/fleetssh",
		"/opt/fleet/share/fish/vendor_completions.d/fleetssh.fish",
		"/opt/fleet/share/man/man1/fleetssh.1",
		"/opt/fleet/share/man/man1/fleetssh-run.1",
		"/opt/fleet/share/zsh/site-functions/_fleetssh",
	} {
		if !slices.Contains(installed, want) {
			t.Errorf("%s is not installed", want)
		}
	}
	for _, name := range installed {
		mode := os.FileMode(0o644)
		if strings.HasPrefix(name, "/opt/fleet/bin/") {
			mode = 0o755
		}
		if info, err := os.Stat(root + name); err != nil || info.Mode() != mode || info.Size() == 0 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}

	// The shells find the completion where it is, and the completion finds the program.
	share := root + "/opt/fleet/share"
	checkVersion(t, root+"/opt/fleet/bin/fleetssh")
	env := []string{"PATH=" + root + "/opt/fleet/bin:" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "SHARE=" + share}
	for _, shell := range []struct{ name, script, want string }{
		{"bash", `source $SHARE/bash-completion/completions/fleetssh; COMP_LINE="fleetssh vers" COMP_POINT=13 COMP_WORDS=(fleetssh vers) COMP_CWORD=1; _fleetssh; echo $COMPREPLY`, "version\n"},
		{"fish", `set -p fish_complete_path $SHARE/fish/vendor_completions.d; complete -C "fleetssh vers" | string split -f 1 \t`, "version\n"},
		{"zsh", `fpath=($SHARE/zsh/site-functions $fpath); autoload -Uz compinit; compinit -u -D; echo $_comps[fleetssh]`, "_fleetssh\n"},
	} {
		args := []string{"-c", shell.script}
		if shell.name == "zsh" {
			args = append([]string{"-f"}, args...)
		}
		if got := output(t, "", env, shell.name, args...); got != shell.want {
			t.Errorf("%s: %q, want %q", shell.name, got, shell.want)
		}
	}
	if warnings := output(t, "", nil, "sh", "-c", `for page in "$0"/man1/*; do groff -man -Tutf8 -ww -z "$page" 2>&1; done`, share+"/man"); warnings != "" {
		t.Errorf("manual pages: %s", warnings)
	}

	runMake(t, source(t), append([]string{"uninstall"}, args...)...)
	if left := files(t, root); len(left) > 0 {
		t.Errorf("uninstall leaves %q", left)
	}
}

// The copy is built under its new name. That no import is left, in tests and other systems' files too,
// is seen by listing all of them.
func TestRename(t *testing.T) {
	t.Parallel()
	dir := copyTree(t)
	const module = "example.com/acme/fleet"
	runMake(t, dir, "rename", "MODULE="+module)
	if got := output(t, dir, nil, "go", "list", "-m"); got != module+"\n" {
		t.Fatalf("the module is %q", got)
	}
	const imports = `{{join .Imports "\n"}}{{"\n"}}{{join .TestImports "\n"}}{{"\n"}}{{join .XTestImports "\n"}}{{with .Error}}{{.}}{{end}}`
	for _, system := range []string{"linux", "windows", "darwin"} {
		for line := range strings.Lines(output(t, dir, []string{"GOOS=" + system, "CGO_ENABLED=0"}, "go", "list", "-e", "-f", imports, "./...")) {
			line = strings.TrimSpace(line)
			if line == "fleetssh" || strings.HasPrefix(line, "fleetssh/") || strings.Contains(line, " ") {
				t.Errorf("%s: %s", system, line)
			}
		}
	}
	program := filepath.Join(t.TempDir(), "fleetssh")
	runMake(t, dir, "build", "OUT="+program)
	checkVersion(t, program)
}
