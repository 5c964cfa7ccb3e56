package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/flagvalue"
	"fleetssh/cmd/fleetssh/internal/selection"
)

// Each host flag changes what would be done, or is refused: none is accepted and ignored. Two verbs
// stand for all, since all verbs pass the host flags to the same code.
func TestHostFlagsHaveEffect(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	t.Setenv("SSH_AUTH_SOCK", "")
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	inventory := file("inventory", "[web]\nweb1\nweb2 ansible_port=2222\n[db]\ndb1\n[web:vars]\nrole=www\n")
	base := map[string][]string{
		"explain": {"-F", "none", "--known-hosts", os.DevNull, "-w", "web1", "--format", "json"},
		"hosts":   {"--inventory", inventory, "-w", "web[1-4]"},
	}
	values := map[string][]string{ // the value, then other flags that it needs
		"hosts": {"db9"}, "exclude": {"web1"}, "group": {"db"}, "all": {"true"}, "inventory": {file("more", "[web]\nnew1\n"), "--all"},
		"hostfile": {file("list", "new2\n"), "--all"}, "limit": {"web2"}, "pick": {"1"}, "where": {"role=www"},
		"login": {"bob"}, "port": {"2222"}, "identity": {"/none/key"}, "cert": {"/none/cert"}, "ask-pass": {"true"}, "password-file": {file("password", "x\n")},
		"password-command": {"echo x"},
		"host-key":         {"insecure"}, "known-hosts": {"/none/known"}, "ssh-config": {file("config", "Port 99\n")}, "ipv4": {"true"}, "ipv6": {"true"}, "option": {"Port=98"},
		"jump": {"hop"}, "proxy": {"socks5://h:1"}, "proxy-command": {"nc %h %p"}, "control-path": {"/none/%C"}, "forward-agent": {"true"},
		"gssapi": {"true"}, "delegate": {"true"}, "principal": {"alice"}, "service-host": {"web9"}, "keytab": {"/none/keytab"}, "kinit": {"true", "--principal=alice"},
		"fanout": {"7"}, "connect-timeout": {"7s"}, "attempts": {"7"}, "retry-delay": {"7s"},
	}
	// Flags without a visible effect on one host, with the reason.
	exempt := map[string]string{"passwords-differ": "only a second host shows it"}
	var hosts selection.Flags
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	hosts.Register(flags)
	selecting := pflag.NewFlagSet("", pflag.ContinueOnError)
	new(selection.ExprFlags).Register(selecting)
	flags.VisitAll(func(flag *pflag.Flag) {
		value := values[flag.Name]
		if value == nil {
			if exempt[flag.Name] == "" {
				t.Errorf("what does --%s change?", flag.Name)
			}
			return
		}
		verb := "explain"
		if selecting.Lookup(flag.Name) != nil {
			verb = "hosts"
		}
		args := append([]string{verb}, base[verb]...)
		if flag.Name == "known-hosts" || flag.Name == "ssh-config" { // in base already: the last one counts
			args = append(args, "--"+flag.Name+"="+value[0])
		} else {
			args = append(args, value[1:]...)
		}
		oldCode, oldOut, oldErr := runProgram(t, append([]string{verb}, append(base[verb], value[1:]...)...)...)
		code, out, err := runProgram(t, append(args, "--"+flag.Name+"="+value[0])...)
		if code == oldCode && out == oldOut && err == oldErr {
			t.Errorf("--%s=%s changes nothing: %s", flag.Name, value[0], out)
		}
		if code != exit.OK && code != exit.Usage && !strings.Contains(err, value[0]) {
			t.Errorf("--%s=%s: exit code %d: %s", flag.Name, value[0], code, err)
		}
	})
}

// At least one test uses every flag of every verb.
func TestEveryFlagIsTested(t *testing.T) {
	t.Parallel()
	var lines []string
	for _, pattern := range []string{"testdata/*.txtar", "*_test.go"} {
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			lines = append(lines, strings.Split(string(text), "\n")...)
		}
	}
	hostFlags := pflag.NewFlagSet("", pflag.ContinueOnError)
	new(selection.Flags).Register(hostFlags) // see TestHostFlagsHaveEffect
	verbFlags(func(verb *cobra.Command, flag *pflag.Flag) {
		_, name, _ := strings.Cut(verb.CommandPath(), " ")
		if hostFlags.Lookup(flag.Name) != nil || slices.Contains([]string{"help", "config"}, flag.Name) || name == "" {
			return
		}
		spelled := `--` + flag.Name + `\b`
		if flag.Shorthand != "" {
			spelled += `|["' ]-` + flag.Shorthand + `\b`
		}
		name = name[strings.LastIndexByte(name, ' ')+1:]
		use := regexp.MustCompile(`\b` + name + `\b.*(` + spelled + `)`)
		uses := func(line string) bool { return strings.Contains(line, name) && use.MatchString(line) } // regexp alone is slow
		if !slices.ContainsFunc(lines, uses) {
			t.Errorf("no test uses %s --%s", name, flag.Name)
		}
	})
}

// Every flag refuses numbers, durations and rates that are malformed, too large or negative.
func TestBadNumbers(t *testing.T) {
	t.Parallel()
	bad := []string{"", " ", "-1", "-1s", "-5%", "x", "NaN", "nan", "Inf", "+Inf", "1e400", "0x10", "1,,2", "1 2", "99999999999999999999", "99999999999999999999s", "99999999999999999999G", "9223372036854775808", "٣"}
	seen := 0
	verbFlags(func(verb *cobra.Command, flag *pflag.Flag) {
		switch flag.Value.Type() {
		case "number", "duration", "rate":
		case "string", "stringArray", "text", "word", "bool":
			return
		default:
			t.Errorf("%s --%s: is %q a number?", verb.CommandPath(), flag.Name, flag.Value.Type())
			return
		}
		seen++
		for _, value := range bad {
			if err := flag.Value.Set(value); err == nil {
				t.Errorf("%s --%s=%q is accepted, as %s", verb.CommandPath(), flag.Name, value, flag.Value)
			}
		}
		if flag.Value.Set("0") == nil && !slices.Contains([]string{"retry-delay", "confirm-over", "latency", "silent", "slow", "fault-hosts"}, flag.Name) {
			t.Errorf("%s --%s=0 is accepted: what does it mean?", verb.CommandPath(), flag.Name)
		}
	})
	if seen < 50 {
		t.Errorf("only %d flags take a number", seen)
	}
	for _, value := range bad {
		if n, err := share(value, 10); err == nil {
			t.Errorf("sim --fail=%q is %d", value, n)
		}
		if n, err := flagvalue.ParseSize(value); err == nil {
			t.Errorf("sim --output=%q is %d", value, n)
		}
	}
}
