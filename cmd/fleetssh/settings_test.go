package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/settings"
)

// applySettings applies a settings file to a command line, and returns the verb with its flags.
func applySettings(t *testing.T, text string, args ...string) (*settings.Defaults, *cobra.Command, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := settings.New(func(string) string { return "" })
	root := newRoot(new(app), verbs...)
	s.Attach(root, func(*pflag.FlagSet) {})
	cmd, rest, err := root.Find(append(args, "--config="+path))
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.ParseFlags(rest); err != nil {
		t.Fatal(err)
	}
	return s, cmd, s.Apply(cmd)
}

func TestSettings(t *testing.T) {
	t.Parallel()
	const text = `# defaults
fanout = 200
connect-timeout = 5
"known-hosts" = "~/fleet"
group = ["web", "db"]

[run]
timeout = "30s"   # not for ever
fanout = 50
env = ["A=1", "B=2"]
sudo = true
fold = true

[check]
attempts = 7
`
	for _, tt := range []struct {
		name string
		args []string
		want map[string]string // value and origin
	}{
		{"a table overrides the top level", []string{"run"}, map[string]string{
			"fanout": "50 config.toml:9", "timeout": "30s config.toml:8", "connect-timeout": "5s config.toml:3", "env": "[A=1,B=2] config.toml:10",
			"sudo": "true config.toml:11", "attempts": "0 ", "group": "[web,db] config.toml:5", "known-hosts": "~/fleet config.toml:4"}},
		{"another verb", []string{"check"}, map[string]string{"fanout": "200 config.toml:2", "attempts": "7 config.toml:15"}},
		{"on the command line", []string{"run", "-f", "3", "--env", "C=3"}, map[string]string{"fanout": "3 ", "env": "[C=3] "}},
		{"set by another flag", []string{"run", "-w", "web1", "--format", "json"}, map[string]string{"group": "[] ", "fold": "false "}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, cmd, err := applySettings(t, text, tt.args...)
			if err != nil {
				t.Fatal(err)
			}
			for name, want := range tt.want {
				flag := cmd.Flags().Lookup(name)
				if got := flag.Value.String() + " " + s.Origin(name); got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
				if flag.Changed && s.Origin(name) != "" {
					t.Errorf("%s counts as given", name)
				}
			}
		})
	}
}

func TestSettingsErrors(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, text, want, hint string }{
		{"no such flag", "fanout = 3\n\nfanuot = 4\n", ":3: fanuot: there is no flag --fanuot", "did you mean fanout?"},
		{"flag of another verb", "[check]\ntimeout = 4\n", ":2: timeout: there is no flag --timeout", ""},
		{"no such verb", "[runn]\nfanout = 4\n", ":2: [runn]: no verb", "did you mean run"},
		{"no such verb, empty table", "\n[runn]\n", ":2: [runn]: no verb", "did you mean run"},
		{"invalid value", "\nfanout = 0\n", ":2: fanout: must be 1 or more", "as in [run]"},
		{"invalid value in a table", "[run]\nformat = 'xml'\n", ":2: format: must be one of", ""},
		{"a dotted key", "run.fanout = 0\n", ":1: fanout: must be", ""},
		{"an inline table", "\nrun = { fanout = 0 }\n", ":2: fanout: must be", ""},
		{"too deep", "[run.fanout]\nx = 1\n", ":2: [run.fanout]: no verb", ""},
		{"a date", "fanout = 2020-01-01\n", ":1: fanout: not a text", ""},
		{"not TOML", "fanout = 3\nfanout =\n", ":2: ", ""},
		{"twice", "fanout = 3\nfanout = 4\n", "", ""},
		{"a secret", "password = 'x'\n", ":1: password: secrets do not belong in this file", "password-file"},
		{"a secret in a URL", "proxy = 'socks5://me:secret@proxy:1080'\n", ":1: proxy: secrets", ""},
		{"a secret in a variable", "[run]\nenv = ['A=1', 'API_TOKEN=x']\n", ":2: env: secrets", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, _, err := applySettings(t, tt.text, "run")
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want %q", err, tt.want)
			}
			if f, ok := err.(*exit.Error); !ok || f.Code != exit.Usage || !strings.Contains(f.Hint, tt.hint) {
				t.Errorf("%#v, want the hint %q", err, tt.hint)
			}
			if strings.Contains(err.Error(), "secret@") || strings.Contains(err.Error(), "TOKEN=x") {
				t.Errorf("%v shows the secret", err)
			}
		})
	}
}
