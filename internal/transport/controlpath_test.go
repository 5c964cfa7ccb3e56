package transport

import (
	"os/exec"
	"strings"
	"testing"

	"fleetssh/internal/account"
)

// socketsOf returns the paths at which the socket of a master may be.
func socketsOf(t *testing.T, c ControlPath) []string {
	t.Helper()
	paths, err := c.Sockets()
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// TestControlPathBehindHop checks that there are two paths behind a hop: newer clients include its
// name in %C, older ones do not.
func TestControlPathBehindHop(t *testing.T) {
	t.Parallel()
	host := ControlPath{Path: "/tmp/%C", Host: "web1", Port: 22, User: "me"}
	plain := socketsOf(t, host)
	host.Hop = "bastion"
	behind := socketsOf(t, host)
	if len(plain) != 1 || len(behind) != 2 || behind[0] == plain[0] || behind[1] != plain[0] {
		t.Errorf("%q, behind a hop %q", plain, behind)
	}
	host.Path = "/tmp/%j-%h"
	if got := socketsOf(t, host); got[0] != "/tmp/bastion-web1" || got[1] != "/tmp/-web1" {
		t.Errorf("%q", got)
	}
}

// TestSSHDMasterControlPath compares the tokens of ControlPath with ssh.
func TestSSHDMasterControlPath(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"web1"}, {"-p", "2222", "web1"}, {"-l", "deploy", "web1.example.com"}, {"WEB1"}, {"127.0.0.1"},
	} {
		out, err := exec.Command("ssh", append([]string{"-G", "-F", "none", "-o", "ControlPath=/tmp/%%-%C-%d-%h-%i-%L-%l-%n-%p-%r-%u"}, args...)...).Output()
		if err != nil {
			t.Fatal(err)
		}
		var want string
		for line := range strings.Lines(string(out)) {
			if name, value, _ := strings.Cut(strings.TrimSpace(line), " "); name == "controlpath" {
				want = value
			}
		}
		host := ControlPath{Host: args[len(args)-1], Port: 22, User: account.Current().Name, Path: "/tmp/%%-%C-%d-%h-%i-%L-%l-%n-%p-%r-%u"}
		switch args[0] {
		case "-p":
			host.Port = 2222
		case "-l":
			host.User = "deploy"
		}
		if got := socketsOf(t, host); len(got) != 1 || got[0] != want {
			t.Errorf("%v: %q, want %q", args, got, want)
		}
	}
}
