package inventory

import (
	"errors"
	"fmt"
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

func TestConnectionErrors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		vars string // YAML
		want string
	}{
		{"ansible_host: '{{ inventory_hostname }}.example.com'", "ansible_host: it is a template ({{), and templates are not evaluated"},
		{"ansible_user: '{% if x %}a{% endif %}'", "ansible_user: it is a template ({%)"},
		{"ansible_password: !vault |\n      $ANSIBLE_VAULT;1.1;AES256\n      6162", "ansible_password: it is encrypted by ansible-vault"},
		{"ansible_host: [a, b]", "ansible_host: it is a list or a dictionary"},
		{"ansible_port: 70000", `ansible_port: port "70000" is not a number from 1 to 65535`},
		{"ansible_connection: local", `ansible_connection: "local" is not supported, only ssh is`},
		{"ansible_connection: winrm", `ansible_connection: "winrm" is not supported`},
		{"ansible_timeout: soon", `ansible_timeout: "soon" is not a whole number`},
		{"ansible_ssh_common_args: -o StrictHostKeyChecking=perhaps", "ansible_ssh_common_args: -o StrictHostKeyChecking=perhaps is not supported"},
		{"ansible_ssh_common_args: -o Tunnel=yes", "ansible_ssh_common_args: -o Tunnel is not supported"},
		{"ansible_ssh_extra_args: -F other", `ansible_ssh_extra_args: "-F" is not supported`},
		{"ansible_ssh_extra_args: word", `ansible_ssh_extra_args: "word" is not supported`},
		{"ansible_ssh_extra_args: -J", "ansible_ssh_extra_args: nothing follows -J"},
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
			// The others can still be selected.
			if _, err := inv.Select("good"); err != nil {
				t.Error(err)
			}
		})
	}
}

// Hosts behind one hop point to the same hop, which is how a client shares the
// connection to it. Nothing secret of the hosts is for the hop.
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

// What ssh is told of host keys and commands is heeded; hosts that are told the same
// share it.
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
