package sshconfig

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// sshG returns the output of ssh -G for an alias, by keyword in lower case.
func sshG(t testing.TB, config string, args ...string) (map[string][]string, error) {
	t.Helper()
	cmd := exec.Command("ssh", slices.Concat([]string{"-G", "-F", config}, args)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == 255 {
			return nil, errors.New(strings.TrimSpace(stderr.String()))
		}
		t.Fatalf("ssh -G: %v", err)
	}
	values := make(map[string][]string)
	for line := range strings.Lines(stdout.String()) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		values[key] = append(values[key], value)
	}
	return values, nil
}

// compared are the keywords that are compared with ssh -G, and how to convert its spelling of a
// value to ours.
var compared = map[string]func(ours, ssh []string) (want []string){
	"addressfamily": same, "batchmode": same, "checkhostip": same, "requiredrsasize": setOnly, "knownhostscommand": notNone, "canonicalizefallbacklocal": same, "canonicalizemaxdots": same,
	"canonicalizehostname": spelled(map[string]string{"false": "no", "true": "yes"}),
	"connectionattempts":   same, "connecttimeout": same,
	"certificatefile": tilde, "controlpath": notNone,
	"forwardagent": same, "globalknownhostsfile": setOnly,
	"gssapiauthentication": same, "gssapidelegatecredentials": same, "gssapiclientidentity": same, "gssapiserveridentity": same,
	"hashknownhosts": same, "hostkeyalias": same, "hostname": same,
	"identitiesonly": same, "identityagent": same, "identityfile": tilde, "ignoreunknown": same,
	"kbdinteractiveauthentication": same, "passwordauthentication": same, "port": same, "preferredauthentications": same,
	"proxycommand": notNone, "proxyjump": notNone,
	"pubkeyauthentication": spelled(map[string]string{"false": "no", "true": "yes", "unbound": "yes", "host-bound": "yes"}),
	"sendenv":              once, "serveralivecountmax": same, "serveraliveinterval": alive, "setenv": same,
	"stricthostkeychecking": spelled(map[string]string{"false": "no", "true": "yes"}),
	"user":                  same, "userknownhostsfile": setOnly,
}

func same(_, ssh []string) []string { return ssh }

// setOnly is for keywords whose default we do not show. ssh prints a list on one line.
func setOnly(ours, ssh []string) []string {
	if len(ours) == 0 {
		return nil
	}
	return strings.Fields(ssh[0])
}

// once is for SendEnv, which the second pass of ssh adds a second time.
func once(_, ssh []string) []string {
	var want []string
	for _, s := range ssh {
		if !slices.Contains(want, s) {
			want = append(want, s)
		}
	}
	return want
}

func spelled(words map[string]string) func(_, ssh []string) []string {
	return func(_, ssh []string) []string {
		if word, ok := words[ssh[0]]; ok {
			return []string{word}
		}
		return ssh
	}
}

// tilde is for files that ssh -G prints as they were written.
func tilde(ours, ssh []string) []string {
	if len(ours) == 0 {
		return nil
	}
	l, _ := newLocal()
	var want []string
	for _, s := range ssh {
		s, _ = l.expandTilde(s)
		want = append(want, s)
	}
	return want
}

// notNone is for keywords that ssh -G does not print if they are "none".
func notNone(ours, ssh []string) []string {
	if len(ours) == 1 && ours[0] == "none" && len(ssh) == 0 {
		return ours
	}
	return ssh
}

// alive is for ServerAliveInterval, whose default depends on BatchMode in Debian.
func alive(ours, ssh []string) []string {
	if len(ours) == 1 && ours[0] == "0" && ssh[0] == "300" {
		return ours
	}
	return ssh
}

// compare fails if our settings differ from those of ssh -G.
func compare(t testing.TB, config, alias string, options ...string) {
	t.Helper()
	var args []string
	for _, o := range options {
		args = append(args, "-o", o)
	}
	want, refused := sshG(t, config, append(args, "--", alias)...)
	got, err := resolveFile(config, alias, options)
	if (err != nil) != (refused != nil) {
		t.Fatalf("%s: we say %v, ssh says %v", alias, err, refused)
	}
	if err != nil {
		return
	}
	ours := make(map[string][]string)
	for _, v := range got.All() {
		key := strings.ToLower(v.Keyword)
		ours[key] = append(ours[key], v.Value)
	}
	for key, normal := range compared {
		if want := normal(ours[key], want[key]); strings.Join(ours[key], " ") != strings.Join(want, " ") {
			t.Errorf("%s: %s is %q, ssh has %q", alias, key, ours[key], want)
		}
	}
	for _, key := range []string{"ciphers", "macs", "kexalgorithms", "hostkeyalgorithms", "pubkeyacceptedalgorithms", "casignaturealgorithms"} {
		if len(ours[key]) == 0 {
			continue
		}
		list := assemble(ours[key][0], strings.Split(sshDefaults(t)[key][0], ","), sshKeyTypes(t))
		if got := strings.Join(list, ","); got != want[key][0] {
			t.Errorf("%s: %s %q is %q, ssh has %q", alias, key, ours[key], got, want[key][0])
		}
	}
}

func resolveFile(config, alias string, options []string) (*Settings, error) {
	f, err := Load(config)
	if err != nil {
		return nil, err
	}
	if err := f.Options(options...); err != nil {
		return nil, err
	}
	return f.Resolve(alias, "")
}

// sshDefaults returns the output of ssh -G without a configuration.
func sshDefaults(t testing.TB) map[string][]string {
	t.Helper()
	values, err := sshG(t, "none", "localhost")
	if err != nil {
		t.Fatal(err)
	}
	return values
}

// sshKeyTypes returns the key algorithms of ssh, which patterns may match.
var sshKeyTypesOnce = sync.OnceValues(func() ([]byte, error) { return exec.Command("ssh", "-Q", "HostKeyAlgorithms").Output() })

func sshKeyTypes(t testing.TB) []string {
	t.Helper()
	out, err := sshKeyTypesOnce()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(out))
}

// TestLikeSSH compares our settings with those of ssh for random configurations.
func TestLikeSSH(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		c := &configurer{t: rt, dir: dir}
		config := c.file(0)
		alias := rapid.SampledFrom([]string{"web1", "web2", "db", "WEB1", "10.0.0.1", "a.example.org", "gw"}).Draw(rt, "alias")
		var options []string
		if rapid.IntRange(0, 3).Draw(rt, "options") == 0 {
			options = append(options, c.setting())
		}
		if text := difference(t, config, alias, options...); text != "" {
			rt.Fatalf("%s\noptions %q\n%s", text, options, c.written)
		}
	})
}

// difference returns the failures of compare.
func difference(t testing.TB, config, alias string, options ...string) string {
	f := &failer{TB: t}
	func() {
		defer func() {
			if p := recover(); p != nil && p != f {
				panic(p)
			}
		}()
		compare(f, config, alias, options...)
	}()
	return f.text
}

// failer records the failures of compare.
type failer struct {
	testing.TB
	text string
}

func (f *failer) Helper() {}
func (f *failer) Errorf(format string, args ...any) {
	f.text += fmt.Sprintf(format, args...) + "\n"
}
func (f *failer) Fatalf(format string, args ...any) {
	f.Errorf(format, args...)
	panic(f)
}

// configurer writes random configurations.
type configurer struct {
	t       *rapid.T
	dir     string
	files   int
	written string // the whole configuration, for the failure message
}

func (c *configurer) pick(label string, from ...string) string {
	return rapid.SampledFrom(from).Draw(c.t, label)
}

// file writes a file and returns its path.
func (c *configurer) file(depth int) string {
	c.files++
	path := filepath.Join(c.dir, fmt.Sprintf("%d.conf", c.files))
	var b strings.Builder
	for range rapid.IntRange(0, 12).Draw(c.t, "lines") {
		b.WriteString(c.line(depth) + "\n")
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		c.t.Fatal(err)
	}
	c.written += fmt.Sprintf("--- %s\n%s", path, b.String())
	return path
}

func (c *configurer) line(depth int) string {
	switch n := rapid.IntRange(0, 19).Draw(c.t, "kind"); {
	case n < 3:
		return "Host " + c.patterns(" ")
	case n < 6:
		return "Match " + c.criteria()
	case n == 6 && depth < 2:
		return "Include " + c.file(depth+1)
	case n == 7:
		return c.pick("nothing", "", "  # comment", "#", "\t", "    ")
	case n == 8:
		return c.pick("odd", "IgnoreUnknown x*,foo", "Xyz 1", "foo bar", "User", "Port 0", "Port x y", `User "x`, "Protocol 2",
			"HostName a b", "Bad", "ConnectTimeout 5x", "IdentityFile", "User =", "SetEnv A", "ProxyJump a:b:c", "BatchMode maybe", "Match bogus", "Match host")
	default:
		return c.setting()
	}
}

func (c *configurer) patterns(separator string) string {
	var all []string
	for range rapid.IntRange(1, 3).Draw(c.t, "patterns") {
		all = append(all, c.pick("pattern", "*", "web*", "web?", "!web2", "!*", "web1", "db", "10.0.0.*", "*.example.org", "WEB1", "w*1", "gw", "!gw"))
	}
	return strings.Join(all, separator)
}

func (c *configurer) criteria() string {
	if rapid.IntRange(0, 5).Draw(c.t, "alone") == 0 {
		return c.pick("all", "all", "final all", "canonical all", "!all", "final", "!final", "canonical", "host web1 all")
	}
	var all []string
	for range rapid.IntRange(1, 3).Draw(c.t, "criteria") {
		name := c.pick("criterion", "host", "originalhost", "user", "localuser", "exec", "!host", "!user", "!exec", "Host", "final", "!originalhost")
		switch strings.TrimPrefix(strings.ToLower(name), "!") {
		case "exec":
			name += " " + c.pick("command", "true", "false", `"test %h = web1"`, `"test %n = web1"`, `"test %r = alice"`, `"test %k = key"`)
		case "final":
		case "user", "localuser":
			name += c.pick("separator", " ", "=", " = ") + c.pick("users", "alice", "root", "*", "!alice,*", "a*,b*", "bob")
		default:
			name += c.pick("separator", " ", "=", " = ") + c.patterns(",")
		}
		all = append(all, name)
	}
	return strings.Join(all, " ")
}

func (c *configurer) setting() string {
	settings := [][]string{
		{"HostName", "%h", "web1", "%h.example.org", "10.0.0.7", "DB", "x%%y", "%n", "0::1", "127.1", "web2"},
		{"User", "alice", "bob", `"al ice"`, "'x y'", `a\ b`, `a\"b`, "x#y # comment"},
		{"Port", "22", "2222", "ssh", "65535"},
		{"IdentityFile", "~/.ssh/one", "/two", "none", `"three four"`},
		{"CertificateFile", "/c1", "~/c2"},
		{"ProxyJump", "gw", "a@gw:23", "gw,x@db", "none", "ssh://u@gw:24", "[::1]:5", "None"},
		{"ProxyCommand", "nc %h %p", "none", `foo "bar baz" # not`},
		{"Ciphers", "aes128-ctr", "+aes128-cbc,3des-cbc", "-aes*", "^aes256-ctr", "aes256-ctr,aes128-ctr,aes256-ctr", "-*gcm*,chacha*"},
		{"MACs", "hmac-sha2-256", "-*sha1*,umac*", "^hmac-sha1"},
		{"KexAlgorithms", "curve25519-sha256", "+diffie-hellman-group14-sha1", "-*group*"},
		{"HostKeyAlgorithms", "ssh-ed25519", "+ssh-rsa", "-*cert*,ecdsa*", "^rsa-sha2-256", "rsa*,ssh-ed25519*"},
		{"PubkeyAcceptedAlgorithms", "ssh-ed25519,rsa-sha2-256", "+ssh-rsa", "-*rsa*", "^ecdsa*", "sk-*"},
		{"PubkeyAcceptedKeyTypes", "ssh-ed25519"},
		{"CASignatureAlgorithms", "ssh-ed25519", "+ssh-rsa", "-*ecdsa*"},
		{"RequiredRSASize", "1024", "3072", "0"}, {"CheckHostIP", "yes", "no"}, {"KnownHostsCommand", "/bin/echo %H", "none", `/x "a b" # c`},
		{"ConnectTimeout", "5", "1m", "1h30m", "none", "0", "1w2d3h4m5s", "2M3"},
		{"ServerAliveInterval", "15", "1m", "0"},
		{"ServerAliveCountMax", "1", "08", "5"},
		{"ConnectionAttempts", "1", "4"},
		{"AddressFamily", "any", "inet", "INET6"},
		{"StrictHostKeyChecking", "yes", "no", "ask", "accept-new", "off", "TRUE"},
		{"UserKnownHostsFile", "/k1 /k2", "none", "~/k3 /%h-%p-%r", "/${SHELL_UNSET_X}", "/%k"},
		{"GlobalKnownHostsFile", "/g1", "/g1 /g2"},
		{"HostKeyAlias", "key"},
		{"ForwardAgent", "yes", "no"}, // ssh misreads them together with paths
		{"IdentityAgent", "none", "~/agent", "$AGENT", "SSH_AUTH_SOCK", "/%u/%d"},
		{"IdentitiesOnly", "yes", "no"}, {"BatchMode", "yes", "no"}, {"HashKnownHosts", "yes"},
		{"PubkeyAuthentication", "no", "yes", "unbound"}, {"PasswordAuthentication", "no"}, {"KbdInteractiveAuthentication", "no"},
		{"ChallengeResponseAuthentication", "no", "yes"},
		{"GSSAPIAuthentication", "yes"}, {"GSSAPIDelegateCredentials", "yes"}, {"GSSAPIClientIdentity", "me"}, {"GSSAPIServerIdentity", "you"},
		{"PreferredAuthentications", "publickey,password"},
		{"ControlPath", "~/c-%r@%h:%p", "/x%%y", "none", "/%n-%L-%i-%u"},
		{"SetEnv", "A=1", `B=2 C="3 4"`, "A=5 A=6"}, {"SendEnv", "LANG LC_*", "-LC_*", "X"},
		{"CanonicalizeMaxDots", "3"}, {"CanonicalizeHostname", "no"},
	}
	s := rapid.SampledFrom(settings).Draw(c.t, "setting")
	keyword := c.pick("case", s[0], strings.ToLower(s[0]), strings.ToUpper(s[0]))
	return c.pick("indent", "", "  ", "\t") + keyword + c.pick("equals", " ", "=", " = ", "\t", "  ") + c.pick("value", s[1:]...)
}
