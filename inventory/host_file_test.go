package inventory

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"fleetssh"
)

// text returns the settings of a host in a short form.
func text(h fleetssh.HostConfig) string {
	s := fmt.Sprintf("%s@%s:%d", h.User, h.Host, h.Port)
	add := func(name, value string) {
		if value != "" {
			s += " " + name + "=" + value
		}
	}
	add("alias", h.Alias)
	add("key", h.Auth.KeyFile)
	for _, file := range h.Auth.Identities {
		add("identity", file)
	}
	for _, file := range h.Auth.CertFiles {
		add("cert", file)
	}
	add("password", h.Auth.Password)
	for hop := h.Proxy; hop != nil; hop = hop.Proxy {
		add("hop", fmt.Sprintf("%s@%s:%d", hop.User, hop.Host, hop.Port))
	}
	return s
}

func TestHostFile(t *testing.T) {
	t.Parallel()
	list := `
# all hosts
web[1-2].example.com   # a comment
admin@db1:2222 key=/k/db cert=/k/cert jump=u@gate:23,inner
10.0.0.7 alias=router user='a b' port=24
[2001:db8::1]:25
plain address=10.0.0.8
gate[1-2] jump=none
u1@twice
u2@twice:26
last@db1:2222 alias=router2
`
	tests := []struct {
		expr string
		want string // a line a host
	}{
		{"web*", "base@web1.example.com:7 hop=@base-hop:0\nbase@web2.example.com:7 hop=@base-hop:0"},
		{"admin@db1:2222", "admin@db1:2222 identity=/k/db cert=/k/cert hop=@inner:0 hop=u@gate:23"},
		{"db1", "admin@db1:2222 identity=/k/db cert=/k/cert hop=@inner:0 hop=u@gate:23"},
		{"router", "a b@10.0.0.7:24 alias=router hop=@base-hop:0"},
		{"router2", "last@db1:2222 alias=router2 hop=@base-hop:0"},
		{"2001:db8::1", "base@2001:db8::1:25 hop=@base-hop:0"},
		{"[2001:db8::1]", "base@2001:db8::1:25 hop=@base-hop:0"},
		{"plain", "base@10.0.0.8:7 alias=plain hop=@base-hop:0"},
		{"gate1", "base@gate1:7"},
		{"u?@twice*", "u1@twice:7 alias=u1@twice hop=@base-hop:0\nu2@twice:26 alias=u2@twice:26 hop=@base-hop:0"},
		{"other@web1.example.com:99", "other@web1.example.com:99 hop=@base-hop:0"},
	}
	base := fleetssh.HostConfig{User: "base", Port: 7, Proxy: &fleetssh.HostConfig{Host: "base-hop"}}
	inv, err := ParseHosts(strings.NewReader(list), "list", base)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.expr, func(t *testing.T) {
			t.Parallel()
			hosts, err := inv.Select(tt.expr)
			if err != nil {
				t.Fatal(err)
			}
			var lines []string
			for _, h := range hosts {
				lines = append(lines, text(h))
			}
			if got := strings.Join(lines, "\n"); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// If a host is listed twice, the settings of the second line are added and win.
func TestHostFileTwice(t *testing.T) {
	t.Parallel()
	inv, err := ParseHosts(strings.NewReader("a alias=x key=/1 user=u\nb alias=x key=/2\n"), "l", fleetssh.HostConfig{})
	if err != nil {
		t.Fatal(err)
	}
	hosts, err := inv.Select("x")
	if err != nil || len(hosts) != 1 || text(hosts[0]) != "u@b:0 alias=x identity=/2" {
		t.Errorf("%v, %v", hosts, err)
	}
}

func TestPasswordFile(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	write := func(name, text string, mode os.FileMode) {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("good", "secret\r\nmore\n", 0o600)
	write("open", "secret\n", 0o644)
	write("empty", "\n", 0o600)
	write("list", "a password-file=good key=k\nb password-file=open\nc password-file=empty\nd password-file=none\n", 0o644)
	inv, err := Load(filepath.Join(folder, "list"), fleetssh.HostConfig{})
	if err != nil {
		t.Fatal(err)
	}
	hosts, err := inv.Select("a")
	if err != nil || hosts[0].Auth.Password != "secret" || !slices.Equal(hosts[0].Auth.Identities, []string{filepath.Join(folder, "k")}) {
		t.Errorf("%v, %v", hosts, err)
	}
	for name, want := range map[string]string{"b": "others can read", "c": "the first line is empty", "d": "no such file"} {
		if _, err := inv.Select(name); err == nil || !strings.Contains(err.Error(), "host "+name+": password-file: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
}
