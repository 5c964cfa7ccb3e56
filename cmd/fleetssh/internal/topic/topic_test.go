package topic

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"fleetssh/cmd/fleetssh/internal/help"
)

// Each topic has a summary, an example and rows, and fits 82 columns.
func TestTopics(t *testing.T) {
	t.Parallel()
	for _, name := range Names {
		page := Text(name)
		if summary := help.Parse(page).Summary(); summary == "" || len(summary) > 78 {
			t.Errorf("%s: summary %q", name, summary)
		}
		for line := range strings.Lines(page) {
			if len(line) > 83 || strings.Contains(line, "@E") || strings.Contains(line, "@LOGIN") {
				t.Errorf("%s: %q", name, line)
			}
		}
		if !strings.Contains(Overview(), "\n  "+name+" ") || !strings.Contains(Brief(), name) {
			t.Errorf("%s is not in the overview", name)
		}
	}
	if Text("nosuch") != "" || Text("overview") != "" {
		t.Error("a topic that does not exist")
	}
}

// Every variable of the environment that the program reads is in the topic environment.
func TestEnvironment(t *testing.T) {
	t.Parallel()
	const root = "../../../.."
	elsewhere := map[string]string{"ProgramData": "Windows", "USERPROFILE": "Windows"}
	read := regexp.MustCompile(`(?i)(?:getenv|lookupenv)\("([A-Za-z0-9_]+)"\)`)
	page := Text("environment")
	found := 0
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != root && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "bench" || entry.Name() == "tools" || entry.Name() == "test" || strings.HasSuffix(entry.Name(), "test")):
			return fs.SkipDir
		case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, match := range read.FindAllStringSubmatch(string(text), -1) {
			found++
			if name := match[1]; elsewhere[name] == "" && !regexp.MustCompile(`\b`+name+`\b`).MatchString(page) {
				t.Errorf("%s reads %s", path, name)
			}
		}
		return nil
	})
	if err != nil || found < 10 {
		t.Fatalf("%d variables, %v", found, err)
	}
}
