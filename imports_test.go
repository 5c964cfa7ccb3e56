package fleetssh_test

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path"
	"regexp"
	"strings"
	"testing"
)

// TestImports checks that packages import only what ARCHITECTURE.md allows them.
func TestImports(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	ours := ownPath(t)
	// The packages of this module that each package may import. A prefix ends with "/".
	library := []string{
		"fleetssh/internal/account",
		"fleetssh/internal/algorithms",
		"fleetssh/internal/charset",
		"fleetssh/internal/cmdline",
		"fleetssh/internal/console",
		"fleetssh/internal/conn",
		"fleetssh/internal/deadline",
		"fleetssh/internal/dial",
		"fleetssh/internal/gss",
		"fleetssh/internal/identity",
		"fleetssh/internal/keyfile",
		"fleetssh/internal/knownhosts",
		"fleetssh/internal/password",
		"fleetssh/internal/placeholder",
		"fleetssh/internal/sanitize",
		"fleetssh/internal/sentinel",
		"fleetssh/internal/shellquote",
		"fleetssh/internal/spool",
		"fleetssh/internal/sudo",
		"fleetssh/internal/transfer",
		"fleetssh/internal/transport",
		"fleetssh/internal/tunnel",
		"fleetssh/internal/turns",
	}
	allowed := map[string][]string{
		"fleetssh":                      library,
		"fleetssh/hostset":              nil,
		"fleetssh/inventory":            {"fleetssh", "fleetssh/hostset", "fleetssh/sshconfig", "fleetssh/internal/account", "fleetssh/internal/nearest"},
		"fleetssh/sshconfig":            {"fleetssh", "fleetssh/internal/account", "fleetssh/internal/knownhosts", "fleetssh/internal/nearest"},
		"fleetssh/internal/account":     nil,
		"fleetssh/internal/algorithms":  nil,
		"fleetssh/internal/charset":     nil,
		"fleetssh/internal/cmdline":     {"fleetssh/internal/charset", "fleetssh/internal/sentinel", "fleetssh/internal/placeholder", "fleetssh/internal/shellquote", "fleetssh/internal/sudo"},
		"fleetssh/internal/console":     {"fleetssh/internal/sentinel", "fleetssh/internal/shellquote"},
		"fleetssh/internal/fleettest":   {"fleetssh", "fleetssh/internal/account", "fleetssh/internal/simfleet", "fleetssh/internal/sshdtest"},
		"fleetssh/internal/conn":        {"fleetssh/internal/deadline", "fleetssh/internal/sanitize", "fleetssh/internal/sshagent"},
		"fleetssh/internal/deadline":    nil,
		"fleetssh/internal/dial":        {"fleetssh/internal/algorithms", "fleetssh/internal/conn", "fleetssh/internal/deadline", "fleetssh/internal/gss", "fleetssh/internal/identity", "fleetssh/internal/keyfile", "fleetssh/internal/knownhosts", "fleetssh/internal/krl", "fleetssh/internal/password", "fleetssh/internal/sanitize", "fleetssh/internal/sshagent", "fleetssh/internal/transport"},
		"fleetssh/internal/gss":         nil,
		"fleetssh/internal/kdctest":     {"fleetssh/internal/sshdtest"},
		"fleetssh/internal/identity":    {"fleetssh/internal/account", "fleetssh/internal/algorithms", "fleetssh/internal/deadline", "fleetssh/internal/keyfile", "fleetssh/internal/sanitize", "fleetssh/internal/sshagent"},
		"fleetssh/internal/keyfile":     {"fleetssh/internal/account", "fleetssh/internal/algorithms", "fleetssh/internal/deadline", "fleetssh/internal/sanitize", "fleetssh/internal/shellquote"},
		"fleetssh/internal/knownhosts":  {"fleetssh/internal/algorithms", "fleetssh/internal/deadline"},
		"fleetssh/internal/krl":         {"fleetssh/internal/algorithms"},
		"fleetssh/internal/compare":     {"fleetssh/internal/sanitize", "fleetssh/internal/shellquote"},
		"fleetssh/internal/nearest":     nil,
		"fleetssh/internal/password":    {"fleetssh/internal/deadline", "fleetssh/internal/gss"},
		"fleetssh/internal/placeholder": {"fleetssh/internal/shellquote"},
		"fleetssh/internal/sanitize":    nil,
		"fleetssh/internal/sentinel":    nil,
		"fleetssh/internal/shellquote":  nil,
		"fleetssh/internal/spool":       nil,
		"fleetssh/internal/sudo":        {"fleetssh/internal/sentinel"},
		"fleetssh/internal/scp":         {"fleetssh/internal/shellquote"},
		"fleetssh/internal/simfleet":    {"fleetssh/internal/nearest", "fleetssh/internal/scp"},
		"fleetssh/internal/sshagent":    nil,
		"fleetssh/internal/sshdtest":    nil,
		"fleetssh/internal/socks":       nil,
		"fleetssh/internal/transfer":    {"fleetssh/internal/scp", "fleetssh/internal/shellquote"},
		"fleetssh/internal/transport":   {"fleetssh/internal/account", "fleetssh/internal/shellquote", "fleetssh/internal/socks"},
		"fleetssh/internal/tunnel":      {"fleetssh/internal/sanitize", "fleetssh/internal/socks", "fleetssh/internal/transport"},
		"fleetssh/internal/turns":       nil,
		"fleetssh/test/identities":      nil,
		"fleetssh/cmd/fleetssh":         {"fleetssh", "fleetssh/hostset", "fleetssh/inventory", "fleetssh/sshconfig", "fleetssh/internal/account", "fleetssh/cmd/fleetssh/internal/", "fleetssh/internal/simfleet", "fleetssh/internal/compare", "fleetssh/internal/knownhosts", "fleetssh/internal/placeholder", "fleetssh/internal/shellquote"},
		"fleetssh/bench":                {"fleetssh", "fleetssh/internal/simfleet"},
		"fleetssh/tools/rename":         nil,
		"fleetssh/tools/screen":         nil,
		"fleetssh/test/console":         nil, // these packages have only tests
		"fleetssh/test/copy":            nil,
		"fleetssh/test/faults":          nil,
		"fleetssh/test/install":         nil,
		"fleetssh/test/login":           nil,
		"fleetssh/test/session":         nil,
		"fleetssh/test/tunnel":          nil,
	}
	// The parts of the command, below cmd/fleetssh/internal/.
	const part = "fleetssh/cmd/fleetssh/internal/"
	parts := map[string][]string{
		"audit":       {"fleetssh", part + "display", part + "fold", part + "results", part + "selection", part + "termline"},
		"display":     {"fleetssh", part + "exit", part + "flagvalue", part + "fold", part + "fullscreen", part + "results", part + "selection", part + "termline", "fleetssh/hostset"},
		"dshbak":      {part + "fold", part + "selection", part + "termline", "fleetssh/hostset"},
		"exit":        {"fleetssh", part + "termline"},
		"flagvalue":   nil,
		"fleetshell":  {"fleetssh", part + "display", part + "exit", part + "journal", part + "results", part + "selection", part + "termline", part + "atomicfile", "fleetssh/hostset", "fleetssh/internal/shellquote"},
		"explain":     {"fleetssh", part + "display", part + "fold", part + "results", part + "selection", part + "settings", part + "termline", "fleetssh/hostset"},
		"fold":        nil,
		"fullscreen":  {"fleetssh", part + "fold", part + "results", part + "selection", part + "termline", "fleetssh/hostset", "fleetssh/internal/sanitize"},
		"help":        {part + "exit", part + "journal", part + "termline", "fleetssh/hostset", "fleetssh/internal/account", "fleetssh/internal/knownhosts", "fleetssh/internal/nearest"},
		"interrupt":   {part + "exit"},
		"journal":     {"fleetssh/internal/nearest"},
		"localshell":  {part + "termline"},
		"keyaudit":    {"fleetssh", part + "display", part + "exit", part + "results", part + "selection", part + "termline", "fleetssh/hostset", "fleetssh/internal/knownhosts"},
		"drift":       {"fleetssh", part + "display", part + "fold", part + "results", part + "selection", part + "termline", "fleetssh/internal/compare", "fleetssh/internal/sanitize"},
		"presence":    {"fleetssh", part + "exit", part + "flagvalue", part + "results", part + "selection", "fleetssh/internal/sanitize"},
		"demofleet":   {"fleetssh", part + "selection", "fleetssh/internal/simfleet"},
		"localscript": {"fleetssh", part + "exit", part + "journal", "fleetssh/internal/shellquote"},
		"personality": {part + "exit", part + "flagvalue", part + "termline", "fleetssh/hostset", "fleetssh/internal/nearest"},
		"record":      {"fleetssh", part + "display", part + "exit", part + "flagvalue", part + "fold", part + "journal", part + "redact", part + "report", part + "results", part + "selection", part + "settings", part + "termline", part + "atomicfile", "fleetssh/hostset", "fleetssh/internal/shellquote"},
		"redact":      {"fleetssh/sshconfig"},
		"report":      {part + "termline"},
		"results":     {"fleetssh", part + "exit", part + "flagvalue", part + "fold", part + "selection", part + "termline", "fleetssh/hostset", "fleetssh/internal/account", "fleetssh/internal/knownhosts", "fleetssh/internal/shellquote", "fleetssh/inventory", "fleetssh/internal/nearest"},
		"selection":   {"fleetssh", part + "exit", part + "flagvalue", part + "localshell", part + "redact", part + "termline", "fleetssh/hostset", "fleetssh/internal/account", "fleetssh/internal/knownhosts", "fleetssh/internal/shellquote", "fleetssh/inventory", "fleetssh/sshconfig", "fleetssh/internal/nearest"},
		"settings":    {part + "exit", part + "flagvalue", part + "help", part + "redact", "fleetssh/internal/nearest"},
		"simulate":    {"fleetssh", "fleetssh/hostset", "fleetssh/internal/shellquote", "fleetssh/internal/simfleet"},
		"stdin":       nil,
		"termline":    nil,
		"topic":       {part + "exit", part + "help", part + "selection", "fleetssh/internal/nearest"},
		"tty":         {"fleetssh", part + "termline"},
		"atomicfile":  nil,
	}
	for name, may := range parts {
		allowed[part+name] = may
	}
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var pkg struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&pkg); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		importing, _ := ours(pkg.ImportPath)
		may, known := allowed[importing]
		if !known {
			t.Errorf("%s is new: add what it may import here and to ARCHITECTURE.md", pkg.ImportPath)
		}
	imports:
		for _, imp := range pkg.Imports {
			imp, own := ours(imp)
			if !own {
				continue
			}
			for _, m := range may {
				if imp == m || strings.HasSuffix(m, "/") && strings.HasPrefix(imp, m) {
					continue imports
				}
			}
			t.Errorf("%s must not import %s", pkg.ImportPath, imp)
		}
	}
}

// ownPath returns a function that tells the packages of this module from others, and writes their
// paths as if the module were called fleetssh, which "make rename" changes.
func ownPath(t *testing.T) func(imported string) (path string, own bool) {
	t.Helper()
	out, err := exec.Command("go", "list", "-m").Output()
	if err != nil {
		t.Fatal(err)
	}
	module := strings.TrimSpace(string(out))
	return func(imported string) (string, bool) {
		rest, found := strings.CutPrefix(imported, module)
		return "fleetssh" + rest, found && (rest == "" || rest[0] == '/')
	}
}

// TestArchitecture compares the table of packages in ARCHITECTURE.md with the tree.
func TestArchitecture(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(text), "\n## Packages\n")
	table, _, _ = strings.Cut(table, "\n## ")
	if !found {
		t.Fatal("ARCHITECTURE.md has no section Packages")
	}
	rows := make(map[string]bool)
	place := regexp.MustCompile("`([^`]+)`")
	for line := range strings.Lines(table) {
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		for _, name := range place.FindAllStringSubmatch(strings.Split(line, "|")[1], -1) {
			rows[path.Join("fleetssh", name[1])] = true
		}
	}
	delete(rows, "fleetssh/fleetssh") // the name of the root package, in the row of "."
	out, err := exec.Command("go", "list", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	ours := ownPath(t)
	for _, name := range strings.Fields(string(out)) {
		name, _ = ours(name)
		if !rows[name] {
			t.Errorf("ARCHITECTURE.md has no row for %s", name)
		}
		delete(rows, name)
	}
	for name := range rows {
		t.Errorf("ARCHITECTURE.md has a row for %s, which does not exist", name)
	}
}
