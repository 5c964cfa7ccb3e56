package main

import (
	"bytes"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/help"
	"fleetssh/cmd/fleetssh/internal/record"
	"fleetssh/cmd/fleetssh/internal/redact"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/settings"
)

// marker is the secret that must appear nowhere.
const marker = "S3CRETmarkerS3CRET"

// secretFlags are the flags whose values are hidden, wholly or in part. A flag that is neither here
// nor in redact.HarmlessFlags is hidden wholly, and makes TestFlagsAreClassified fail.
var secretFlags = []string{"proxy", "proxy-command", "option", "env", "password-command", "sudo-password-command"}

// verbFlags calls see for every flag of every verb.
func verbFlags(see func(verb *cobra.Command, flag *pflag.Flag)) {
	root := newRoot(new(app), verbs...)
	settings.New(os.Getenv).Attach(root, func(*pflag.FlagSet) {})
	for _, verb := range append(help.Verbs(root), root) {
		verb.InheritedFlags() // adds the flags of the root to verb.Flags
		verb.Flags().VisitAll(func(flag *pflag.Flag) { see(verb, flag) })
	}
}

func TestFlagsAreClassified(t *testing.T) {
	t.Parallel()
	known := make(map[string]bool)
	for _, name := range secretFlags {
		known[name] = true
		if redact.HarmlessFlags[name] {
			t.Errorf("--%s is in both HarmlessFlags and secretFlags", name)
		}
	}
	seen := make(map[string]bool)
	verbFlags(func(verb *cobra.Command, flag *pflag.Flag) {
		seen[flag.Name] = true
		if !known[flag.Name] && !redact.HarmlessFlags[flag.Name] && flag.Value.Type() != "bool" {
			t.Errorf("%s --%s: may its value be a secret? see redact.HarmlessFlags", verb.CommandPath(), flag.Name)
		}
	})
	for name := range redact.HarmlessFlags {
		if !seen[name] && name != "help" {
			t.Errorf("no verb has --%s", name)
		}
	}
	for _, name := range append(secretFlags, "new-flag", "password") {
		if got := redact.Flag(name, marker); got != redact.Hidden {
			t.Errorf("--%s=%s is shown as %s", name, marker, got)
		}
	}
}

// secretProxies are URLs that contain the marker, in many spellings.
func secretProxies() []string {
	var urls []string
	for _, scheme := range []string{"socks5", "socks5h", "http", "https", "HTTP", "ftp", ""} {
		for _, login := range []string{
			"user:" + marker + "!pw", "user:" + marker + "%2fx", "user:" + marker + "%2Fx", "user:(" + marker + "*'", "us%41er:" + marker, "us'er:" + marker,
			marker, marker + ":", ":" + marker, "user:a@" + marker, "user:a/" + marker, "user:a?" + marker, "user:a#" + marker, "user:a " + marker, "user:%zz" + marker,
			"user:" + marker + ":x", "user:12/" + marker, "user:12?" + marker, "user:" + redact.Hidden + marker,
		} {
			urls = append(urls, scheme+"://"+login+"@127.0.0.1:1", scheme+":"+login+"@127.0.0.1:1")
		}
		urls = append(urls, scheme+"://127.0.0.1:1/"+marker, scheme+"://127.0.0.1:1?"+marker, scheme+"://127.0.0.1:1#"+marker)
	}
	return urls
}

// secretValues are values of secretFlags that contain the marker.
func secretValues() map[string][]string {
	options := []string{marker, "=" + marker, "proxycomand=" + marker, "ProxyCommand false " + marker, "ProxyCommand\t=\tfalse " + marker, " ProxyCommand=false " + marker, `ProxyCommand="false ` + marker,
		"SetEnv=A=" + marker, "SetEnv " + marker, "Match=exec " + marker, `Match exec "` + marker + `"`, "Include=" + marker + "\x00", "#" + marker}
	for _, keyword := range []string{"ProxyCommand", "KnownHostsCommand", "LocalCommand", "RemoteCommand", "XAuthLocationX", "Password"} {
		options = append(options, keyword+"=/bin/false "+marker, keyword+"=%z "+marker, keyword+"=/bin/false "+marker+`"`)
	}
	programs := []string{"false " + marker, "echo " + marker, "exit 1 # " + marker}
	return map[string][]string{
		"password-command": programs, "sudo-password-command": programs,

		"proxy":         secretProxies(),
		"proxy-command": {"false " + marker, "%z " + marker, "exit 1 # " + marker},
		"option":        options,
		"env":           {"A=" + marker, "=" + marker, marker, "A B=" + marker, "A=" + marker + "\x00"},
	}
}

func TestRedact(t *testing.T) {
	t.Parallel()
	for flag, values := range secretValues() {
		for _, value := range values {
			shown := redact.Flag(flag, value)
			if strings.Contains(shown, marker) {
				t.Errorf("--%s=%s is shown as %s", flag, value, shown)
			}
			if again := redact.Flag(flag, shown); again != shown {
				t.Errorf("--%s=%s is redacted to %s, and then to %s", flag, value, shown, again)
			}
			if !redact.IsHidden(flag, shown) {
				t.Errorf("IsHidden: no for --%s=%s", flag, shown)
			}
		}
	}
	for _, test := range []struct{ flag, value, want string }{
		{"proxy", "socks5://me:hunter2@proxy:1080", "socks5://me:***@proxy:1080"},
		{"proxy", "socks5h://user:a!b@h:1/", "socks5h://user:***@h:1/"},
		{"proxy", "http://token@[::1]:3128", "http://***@[::1]:3128"},
		{"proxy", "socks5://proxy:1080", "socks5://proxy:1080"},
		{"proxy", "unix:///run/proxy", "unix:///run/proxy"},
		{"option", "Port=22", "Port=22"},
		{"option", "User alice", "User alice"},
		{"option", "ProxyCommand nc x", "ProxyCommand=***"},
		{"env", "A=b=c", "A=***"},
		{"timeout", "30s", "30s"},
	} {
		if got := redact.Flag(test.flag, test.value); got != test.want {
			t.Errorf("--%s=%s is shown as %s, want %s", test.flag, test.value, got, test.want)
		}
	}
}

// If a URL that the library accepts is not hidden wholly, it keeps its host, and neither its
// password nor a user name without a password is shown. Redacting twice changes nothing.
func FuzzRedactURL(f *testing.F) {
	for _, url := range secretProxies() {
		f.Add(url)
	}
	f.Fuzz(func(t *testing.T, text string) {
		shown := redact.Flag("proxy", text)
		if again := redact.Flag("proxy", shown); again != shown {
			t.Errorf("%q is redacted to %q, and then to %q", text, shown, again)
		}
		u, err := url.Parse(text)
		if err != nil || shown == redact.Hidden {
			return
		}
		now, err := url.Parse(shown)
		if err != nil {
			t.Fatalf("%q is shown as %q: %v", text, shown, err)
		}
		if u.User == nil {
			return
		}
		password, _ := u.User.Password()
		kept, _ := now.User.Password()
		if kept != redact.Hidden && now.User.Username() != redact.Hidden || now.Host != u.Host || password == "" && now.User.Username() != redact.Hidden {
			t.Errorf("%q is shown as %q", text, shown)
		}
	})
}

// No verb writes the value of one of secretFlags to its output or to a file.
func TestFlagsRevealNothing(t *testing.T) {
	state := t.TempDir()
	t.Setenv("XDG_STATE_HOME", state)
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	keys := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(keys, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	page := filepath.Join(state, "page.html")
	arguments := map[string][]string{
		"run": {"--report", page, "--", "true"}, "put": {"--report", page, keys, "/x"}, "get": {"--report", page, "/x", t.TempDir()},
		"check": {}, "shell": {}, "tunnel": {"--serve", "127.0.0.1:0"}, "explain": {}, "trust scan": {}, "trust accept": {"--yes"},
		"wait": {}, "reboot": {"--report", page, "--sudo"},
	}
	values := secretValues()
	kept := values["proxy"][:0]
	for i, value := range values["proxy"] { // each costs several runs of the program: a sample is enough
		if i%7 == 0 || strings.HasPrefix(value, "socks5h://") {
			kept = append(kept, value)
		}
	}
	values["proxy"] = kept
	called := make(map[string]bool)
	verbFlags(func(verb *cobra.Command, flag *pflag.Flag) {
		_, name, _ := strings.Cut(verb.CommandPath(), " ")
		if redact.HarmlessFlags[flag.Name] || flag.Value.Type() == "bool" || name == "rerun" {
			return
		}
		if values[flag.Name] == nil {
			t.Errorf("secretValues has no values of --%s", flag.Name)
			return
		}
		if arguments[name] == nil {
			t.Errorf("arguments has none for %s, which has --%s", name, flag.Name)
			return
		}
		for i, value := range values[flag.Name] {
			called[name] = true
			formats := [][]string{nil}
			if i == 0 && name != "shell" {
				formats = append(formats, []string{"--format", "json"})
			}
			for _, format := range formats {
				once := "--attempts=1"
				if name == "wait" || name == "reboot" {
					once = "--timeout=50ms"
				}
				args := append(strings.Fields(name), "-F", "none", "-w", "127.0.0.1", "-p", "1", once, "--known-hosts", keys, "--"+flag.Name+"="+value)
				expectNoSecretShown(t, append(append(args, format...), arguments[name]...)...)
			}
		}
		if name == "run" || name == "put" || name == "get" {
			expectNoSecretShown(t, "runs")
			expectNoSecretShown(t, "runs", "--format", "json")
			expectNoSecretShown(t, "runs", "show", "last", "-v", "--output", "--report", page)
			expectNoSecretShown(t, "runs", "show", "last", "--format", "json")
			expectNoSecretShown(t, "rerun", "last", "--failed", "--dry-run")
			expectNoSecretShown(t, "rerun", "last", "--failed", "--dry-run", "--"+flag.Name+"="+values[flag.Name][0])
			expectNoSecretShown(t, "rerun", "last", "--failed", "--"+flag.Name+"="+values[flag.Name][0])
		}
	})
	for name := range arguments {
		if !called[name] {
			t.Errorf("%s was not run", name)
		}
	}
	expectNoSecretKept(t, state)
}

// expectNoSecretShown runs the program and expects no marker in its output.
func expectNoSecretShown(t *testing.T, args ...string) {
	t.Helper()
	_, stdout, stderr := runProgram(t, args...)
	if text := stdout + stderr; strings.Contains(text, marker) || strings.Contains(text, strings.ToLower(marker)) {
		t.Errorf("%q shows the secret:\n%s", args, text)
	}
}

// expectNoSecretKept expects no marker in the files of a directory.
func expectNoSecretKept(t *testing.T, dir string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		files++
		text, err := os.ReadFile(path)
		if bytes.Contains(text, []byte(marker)) {
			t.Errorf("%s contains the secret", path)
		}
		return err
	})
	if err != nil || files < 3 {
		t.Errorf("%d files, %v", files, err)
	}
}

// Secrets in the user's settings are hidden in the same way.
func TestSettingsRevealNothing(t *testing.T) {
	state := t.TempDir()
	t.Setenv("XDG_STATE_HOME", state)
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	file := filepath.Join(t.TempDir(), "config.toml")
	var texts []string
	for flag, values := range secretValues() {
		for i, value := range values {
			if flag == "proxy" && i%11 != 0 || strings.ContainsAny(value, "'\n\x00") {
				continue
			}
			texts = append(texts, flag+" = '"+value+"'\n", flag+" = ['"+value+"']\n")
		}
		texts = append(texts, flag+" = { a = '"+marker+"' }\n", flag+" = '"+marker+"\n", flag+" = "+marker+"\n", flag+" = [['"+marker+"']]\n")
	}
	texts = append(texts, "password = '"+marker+"'\n", "token = '"+marker+"'\n", marker+"\n", "'"+marker+"\n")
	for i, text := range texts {
		if i%2 == 0 {
			text = "[run]\n" + text
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		args := []string{"--config", file, "-F", "none", "-w", "127.0.0.1", "-p", "1", "--attempts", "1", "--known-hosts", file, "true"}
		expectNoSecretShown(t, append([]string{"run"}, args...)...)
		if i%8 == 0 {
			expectNoSecretShown(t, "explain", "--config", file, "-F", "none", "--known-hosts", os.DevNull, "web1")
			expectNoSecretShown(t, "runs", "show", "last")
			expectNoSecretShown(t, "rerun", "last", "--failed", "--dry-run")
			expectNoSecretShown(t, "rerun", "last", "--failed")
		}
	}
	expectNoSecretKept(t, state)
}

// Older versions recorded secrets. They are hidden when such a record is shown.
func TestOldRecordsRevealNothing(t *testing.T) {
	c, stdout, stderr := recordCall(t)
	old := &record.Flags{Args: []string{"--proxy=socks5://user:" + marker + "!@127.0.0.1:1", "--env=A=" + marker, "--proxy-command=" + marker, "--option=ProxyCommand=" + marker, "--later=" + marker}}
	recordRun(t, c, old, []string{"web1"}, []results.Result{{Outcome: fleetssh.Outcome{Kind: fleetssh.Exited, ExitCode: 1}}}, true)
	verb(t, c, "runs", "show", "last")
	verb(t, c, "rerun", "last", "--failed", "--dry-run")
	verb(t, c, "rerun", "last", "--failed")
	if text := stdout.String() + stderr.String(); strings.Contains(text, marker) || !strings.Contains(text, redact.Hidden) {
		t.Error(text)
	}
}
