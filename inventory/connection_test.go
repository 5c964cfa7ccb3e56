package inventory

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"fleetssh"
)

func TestConnectionVariables(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		line string // behind the name of the host
		want string
	}{
		{"nothing", "", "base@h:7 key=/base password=pw"},
		{"address, port and user", "ansible_host=10.0.0.1 ansible_port=2222 ansible_user=admin", "admin@10.0.0.1:2222 alias=h key=/base password=pw"},
		{"old names", "ansible_ssh_host=10.0.0.1 ansible_ssh_port=23 ansible_ssh_user=old", "old@10.0.0.1:23 alias=h key=/base password=pw"},
		{"new names go before old ones", "ansible_ssh_host=old ansible_host=new", "base@new:7 alias=h key=/base password=pw"},
		{"address in brackets", "ansible_host=[2001:db8::1]", "base@2001:db8::1:7 alias=h key=/base password=pw"},
		{"port as text", `ansible_port="'24'"`, "base@h:24 key=/base password=pw"},
		{"key", "ansible_ssh_private_key_file=~/.ssh/other", "base@h:7 identity=~/.ssh/other password=pw"},
		{"keys", "ansible_private_key_file=/1 ansible_ssh_args='-o IdentityFile=/2'", "base@h:7 identity=/1 identity=/2 password=pw"},
		{"password", "ansible_password=secret", "base@h:7 key=/base password=secret"},
		{"password of digits", "ansible_ssh_pass=12345", "base@h:7 key=/base password=12345"},
		{"way of connecting", "ansible_connection=ansible.builtin.ssh", "base@h:7 key=/base password=pw"},
		{"jump", `ansible_ssh_common_args='-o ProxyJump=u@gate:23,inner'`, "base@h:7 key=/base password=pw hop=@inner:0 hop=u@gate:23"},
		{"jump by its letter", `ansible_ssh_common_args='-J gate'`, "base@h:7 key=/base password=pw hop=@gate:0"},
		{"jump by its letter without a space", `ansible_ssh_extra_args='-Jgate -C'`, "base@h:7 key=/base password=pw hop=@gate:0"},
		{"jump as in a file", `ansible_ssh_common_args='-o "ProxyJump gate"'`, "base@h:7 key=/base password=pw hop=@gate:0"},
		{"arguments together", `ansible_ssh_args='-J a -o ControlMaster=auto -oPort=9' ansible_ssh_extra_args='-l x -i /k -p 10'`, "x@h:10 identity=/k password=pw hop=@a:0"},
		{"null", "ansible_user=None", "base@h:7 key=/base password=pw"},
		{"a template that does not matter", "motd='{{ x }}'", "base@h:7 key=/base password=pw"},
	}
	base := fleetssh.HostConfig{User: "base", Port: 7, Alias: "base", Auth: fleetssh.Auth{KeyFile: "/base", Password: "pw"}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			hosts, err := mustLoad(t, "-- hosts --\nh "+tt.line+"\n", base).Select("h")
			if err != nil {
				t.Fatal(err)
			}
			if got := text(hosts[0]); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestConnectionOptions(t *testing.T) {
	t.Parallel()
	inv := mustLoad(t, "-- hosts --\nh ansible_timeout=5 ansible_ssh_common_args='-A -6 -oConnectTimeout=9'\n", fleetssh.HostConfig{})
	hosts, err := inv.Select("h")
	if err != nil || !hosts[0].ForwardAgent || hosts[0].AddressFamily != "ip6" || hosts[0].ConnectTimeout != 9*time.Second {
		t.Errorf("%#v, %v", hosts, err)
	}
}

// Every option that ssh accepts on its command line works for a single host, too.
func TestSSHOptions(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	config := filepath.Join(dir, "ssh.cfg")
	if err := os.WriteFile(config, []byte("Host inner\n  HostName 10.0.0.9\n  User jumper\n  ProxyJump none\nHost *\n  ProxyJump inner\n  ConnectionAttempts 7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args string
		ok   func(h *fleetssh.HostConfig) bool
	}{
		{"-o IdentitiesOnly=yes", func(h *fleetssh.HostConfig) bool { return h.Auth.IdentitiesOnly }},
		{"-o PreferredAuthentications=password", func(h *fleetssh.HostConfig) bool { return h.Auth.NoAgent && h.Auth.NoDefaultKeys }},
		{"-o PubkeyAuthentication=no", func(h *fleetssh.HostConfig) bool { return h.Auth.NoAgent && h.Auth.NoDefaultKeys }},
		{"-o PasswordAuthentication=no -o KbdInteractiveAuthentication=no", func(h *fleetssh.HostConfig) bool { return h.Auth.Password == "" }},
		{"-o GSSAPIAuthentication=yes", func(h *fleetssh.HostConfig) bool { return h.Auth.GSSAPI != nil }},
		{"-K", func(h *fleetssh.HostConfig) bool { return h.Auth.GSSAPI != nil && h.Auth.GSSAPI.Delegate }},
		{"-o ServerAliveInterval=30 -o ServerAliveCountMax=3", func(h *fleetssh.HostConfig) bool { return h.KeepAlive == 30*time.Second }},
		{"-o ConnectionAttempts=5", func(h *fleetssh.HostConfig) bool { return h.Attempts == 5 }},
		{"-o HostKeyAlias=known", func(h *fleetssh.HostConfig) bool { return h.HostKeyAlias == "known" }},
		{"-o AddressFamily=inet6", func(h *fleetssh.HostConfig) bool { return h.AddressFamily == "ip6" }},
		{"-o Ciphers=aes256-ctr -o KexAlgorithms=curve25519-sha256", func(h *fleetssh.HostConfig) bool {
			return h.Algorithms != nil && slices.Equal(h.Algorithms.Ciphers, []string{"aes256-ctr"})
		}},
		{"-o IdentityAgent=/run/agent", func(h *fleetssh.HostConfig) bool { return h.Auth.AgentSocket == "/run/agent" }},
		{"-F " + config, func(h *fleetssh.HostConfig) bool {
			return h.Attempts == 7 && h.Proxy != nil && h.Proxy.Host == "10.0.0.9" && h.Proxy.User == "jumper"
		}},
		{"-o TCPKeepAlive=yes -o UpdateHostKeys=no -o CheckHostIP=no -o RequestTTY=no -T -n -v", func(h *fleetssh.HostConfig) bool { return true }},
	} {
		inv := mustLoad(t, "-- hosts --\na ansible_ssh_common_args='"+test.args+"'\nb ansible_ssh_extra_args='"+test.args+"'\n", fleetssh.HostConfig{Auth: fleetssh.Auth{Password: "pw"}})
		hosts, err := inv.Select("a,b")
		if err != nil {
			t.Errorf("%s: %v", test.args, err)
			continue
		}
		for i := range hosts {
			if !test.ok(&hosts[i]) {
				t.Errorf("%s: %+v", test.args, hosts[i])
			}
		}
		if hosts[0].Proxy != hosts[1].Proxy {
			t.Errorf("%s: the hop is not shared", test.args)
		}
		if got, want := inv.OwnConfiguration("a"), strings.HasPrefix(test.args, "-F"); got != want {
			t.Errorf("%s: a configuration of its own: %v", test.args, got)
		}
	}
	inv := mustLoad(t, "-- hosts --\na ansible_ssh_common_args='-o Tunnel=yes -o IdentitiesOnly=yes'\nb\n", fleetssh.HostConfig{})
	if ignored := inv.Unsupported("a"); len(ignored) != 1 || ignored[0].Keyword != "Tunnel" || len(inv.Unsupported("b")) != 0 {
		t.Errorf("%v", ignored)
	}
}

func TestHostKeyChecking(t *testing.T) {
	t.Parallel()
	inv := mustLoad(t, "-- hosts --\nplain\non ansible_host_key_checking=True\noff ansible_host_key_checking=no\nold ansible_ssh_host_key_checking=False\n", fleetssh.HostConfig{})
	for name, learns := range map[string]bool{"plain": false, "on": false, "off": true, "old": true} {
		hosts, err := inv.Select(name)
		if err != nil || (hosts[0].HostKeys != nil) != learns {
			t.Errorf("%s: %v, %v", name, hosts[0].HostKeys, err)
		}
	}
}

func TestBecomePassword(t *testing.T) {
	t.Parallel()
	inv := mustLoad(t, "-- a.yml --\nweb:\n  vars: {ansible_become_pass: shared}\n  hosts:\n    a:\n    b: {ansible_become_password: own}\n    c: {ansible_become_password: '{{ vault }}'}\n", fleetssh.HostConfig{})
	for name, want := range map[string]string{"a": "shared", "b": "own", "c": "", "unknown": ""} {
		got, err := inv.BecomePassword(name)
		if got != want || (err != nil) != (name == "c") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestConnectionErrors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		vars string // YAML
		want string
	}{
		{"ansible_host: '{{ inventory_hostname }}.example.com'", "ansible_host: it is a template ({{); templates are not evaluated"},
		{"ansible_user: '{% if x %}a{% endif %}'", "ansible_user: it is a template ({%)"},
		{"ansible_password: !vault |\n      $ANSIBLE_VAULT;1.1;AES256\n      6162", "ansible_password: it is encrypted by ansible-vault"},
		{"ansible_host: [a, b]", "ansible_host: it is a list or a dictionary"},
		{"ansible_port: 70000", `ansible_port: port "70000" is not a number from 1 to 65535`},
		{"ansible_connection: local", `ansible_connection: "local" is not supported; only ssh is`},
		{"ansible_connection: winrm", `ansible_connection: "winrm" is not supported`},
		{"ansible_timeout: soon", `ansible_timeout: "soon" is not a whole number`},
		{"ansible_ssh_common_args: -o StrictHostKeyChecking=perhaps", "ansible_ssh_common_args: -o StrictHostKeyChecking=perhaps is not supported"},
		{"ansible_ssh_common_args: -o NoSuchThing=yes", `ansible_ssh_common_args: "nosuchthing" is not a keyword`},
		{"ansible_ssh_common_args: -o Ciphers=none-such", "ansible_ssh_common_args: "},
		{"ansible_ssh_extra_args: -F /no/such/file", "ansible_ssh_extra_args: "},
		{"ansible_ssh_extra_args: -N", `ansible_ssh_extra_args: "-N" is not supported`},
		{"ansible_host_key_checking: perhaps", `ansible_host_key_checking: "perhaps" is neither yes nor no`},
		{"ansible_ssh_extra_args: word", `ansible_ssh_extra_args: "word" is not supported`},
		{"ansible_ssh_extra_args: -J", "ansible_ssh_extra_args: -J needs a value"},
		{"ansible_ssh_extra_args: -J a:b:c", `ansible_ssh_extra_args: host "a:b:c"`},
		{"ansible_ssh_extra_args: \"'\"", "ansible_ssh_extra_args: missing closing quote"},
		{"ansible_ssh_extra_args: -o ForwardAgent=SOCKET", "-o ForwardAgent=SOCKET is not supported"},
	}
	for _, tt := range tests {
		t.Run(tt.want, func(t *testing.T) {
			t.Parallel()
			inv := mustLoad(t, "-- a.yml --\nweb:\n  hosts: {bad: , good: }\n-- host_vars/bad.yml --\n"+tt.vars+"\n", fleetssh.HostConfig{})
			_, err := inv.Select("bad")
			var fault *SettingError
			if !errors.As(err, &fault) || fault.Host != "bad" || !strings.HasPrefix(err.Error(), "host bad: ") || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
			// Other hosts can still be selected.
			if _, err := inv.Select("good"); err != nil {
				t.Error(err)
			}
		})
	}
}

// Hosts behind the same hop share one HostConfig for it, so that a client makes one connection to
// it. The hop does not get the secrets of the hosts.
func TestHopsAreShared(t *testing.T) {
	t.Parallel()
	base := fleetssh.HostConfig{ForwardAgent: true, ControlPath: "/c", Auth: fleetssh.Auth{Password: "pw", GSSAPI: &fleetssh.GSSAPI{Delegate: true}}}
	inv := mustLoad(t, "-- hosts --\n[web]\nw[1:3] ansible_password=own\n[web:vars]\nansible_ssh_common_args='-J a,b'\n", base)
	hosts, err := inv.Select("w*")
	if err != nil || len(hosts) != 3 {
		t.Fatal(err)
	}
	again, err := inv.Select("w1")
	if err != nil {
		t.Fatal(err)
	}
	hop := hosts[0].Proxy
	if hosts[1].Proxy != hop || hosts[2].Proxy != hop || again[0].Proxy != hop {
		t.Error("the hop is not shared")
	}
	for ; hop != nil; hop = hop.Proxy {
		if hop.Auth.Password != "" || hop.ForwardAgent || hop.ControlPath != "" || hop.Auth.GSSAPI.Delegate {
			t.Errorf("hop %s has what is for the hosts", hop.Host)
		}
	}
	if !inv.base.Auth.GSSAPI.Delegate {
		t.Error("the base was changed")
	}
}

func TestErrorsShowNoSecret(t *testing.T) {
	t.Parallel()
	inv := mustLoad(t, "-- hosts --\nh ansible_password='hush{{ x }}'\n", fleetssh.HostConfig{})
	_, err := inv.Select("h")
	if err == nil || strings.Contains(err.Error(), "hush") || strings.Contains(fmt.Sprintf("%+v", err), "hush") {
		t.Error(err)
	}
}

// Options about host keys and proxy commands are applied; hosts with the same options share a
// policy.
func TestTrust(t *testing.T) {
	t.Parallel()
	inv := mustLoad(t, "-- hosts --\n[all]\na\nb\nc ansible_ssh_common_args='-o ProxyCommand=\"nc %h %p\"'\n[all:vars]\n"+
		"ansible_ssh_common_args='-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null'\n", fleetssh.HostConfig{})
	hosts, err := inv.Select("a,b,c")
	if err != nil {
		t.Fatal(err)
	}
	if hosts[0].HostKeys == nil || hosts[0].HostKeys != hosts[1].HostKeys || hosts[2].HostKeys != nil {
		t.Errorf("policies %v, %v, %v", hosts[0].HostKeys, hosts[1].HostKeys, hosts[2].HostKeys)
	}
	if hosts[0].DialContext != nil || hosts[2].DialContext == nil {
		t.Error("ProxyCommand")
	}
}
