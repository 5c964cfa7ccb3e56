package explain

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/cmd/fleetssh/internal/settings"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// planOf returns a plan for a host as the library makes it, and the lines of its configuration.
func planOf(n int, user string) ([]fleetssh.Plan, []selection.ConfigLine) {
	address := fmt.Sprintf("10.0.0.%d", n)
	host := fleetssh.HostConfig{Host: address, Alias: fmt.Sprintf("web%02d", n), User: user}
	hop := fleetssh.Plan{Host: fleetssh.HostConfig{Host: "bastion"}, User: "me", Port: 22, Steps: []fleetssh.Step{
		{Phase: fleetssh.PhaseHostKey, What: "known: ssh-ed25519 SHA256:bastion", Why: "known_hosts:99"},
	}}
	return []fleetssh.Plan{hop, {Host: host, User: user, Port: 22, Steps: []fleetssh.Step{
			{Phase: fleetssh.PhaseConnect, What: address + ":22 through bastion"},
			{Phase: fleetssh.PhaseHostKey, What: fmt.Sprintf("known: ssh-ed25519 SHA256:key%d", n), Why: fmt.Sprintf("known_hosts:%d", n)},
			{Phase: fleetssh.PhaseAuth, What: "publickey: ssh-ed25519 SHA256:mine", Why: "key file id"},
		}}}, []selection.ConfigLine{
			{Keyword: "HostName", Value: address, Origin: fmt.Sprintf("config:%d", 2*n)},
			{Keyword: "User", Value: user, Origin: fmt.Sprintf("config:%d", 2*n+1)},
		}
}

// show explains hosts, whose users are given.
func show(verbose bool, users ...string) string { return showAtMost(0, verbose, users...) }

// showAtMost does the same, and holds back so many explanations at most.
func showAtMost(limit int, verbose bool, users ...string) string {
	var out bytes.Buffer
	screen := termline.New(&out, &out)
	x := Explanations{Screen: screen, Verbose: verbose, limit: limit, Origins: Origins{Settings: settings.New(func(string) string { return "" })}}
	for i, user := range users {
		plans, config := planOf(i+1, user)
		x.Add(fmt.Sprintf("web%02d", i+1), plans, config)
	}
	x.Close()
	screen.Flush()
	return out.String()
}

func TestFold(t *testing.T) {
	t.Parallel()
	got := show(false, "app", "app", "root", "app", "app")
	want := `web[01-02,04-05] (4)
bastion  (hop)
  user       me  (the user who runs fleetssh)
  port       22  (default)
  host key   known: ssh-ed25519 SHA256:bastion  (known_hosts:99)
web[01-02,04-05]  at 10.0.0.[1-2,4-5]
  user       app  (config:…)
  port       22  (default)
  reach      10.0.0.[1-2,4-5]:22 through bastion
  host key   known: ssh-ed25519 4 different keys  (known_hosts:…)
  log in     publickey: ssh-ed25519 SHA256:mine  (key file id)
  ssh config HostName 10.0.0.[1-2,4-5]  (config:…)
             User app  (config:…)
`
	if !strings.HasPrefix(got, want) {
		t.Errorf("shown:\n%swant first:\n%s", got, want)
	}
	odd := "bastion  (hop)\n" // a single host needs no header
	if _, rest, _ := strings.Cut(got, "User app  (config:…)\n"); !strings.HasPrefix(rest, odd) || !strings.Contains(rest, "web03  at 10.0.0.3\n  user       root  (config:7)\n") {
		t.Errorf("the odd host:\n%s", rest)
	}
	if total := "5 hosts: in 2 different ways; --verbose explains each\n"; !strings.HasSuffix(got, total) {
		t.Errorf("%s: want %s at the end", got, total)
	}
}

func TestAlone(t *testing.T) {
	t.Parallel()
	if got := show(false, "app"); got != show(true, "app") || strings.Contains(got, "1 host") {
		t.Errorf("one host:\n%s", got)
	}
	if got := show(true, "app", "app"); strings.Count(got, "  host key   known: ssh-ed25519 SHA256:key") != 2 {
		t.Errorf("verbose:\n%s", got)
	}
}

// What is held back is bounded.
func TestManyHosts(t *testing.T) {
	t.Parallel()
	got := showAtMost(100, false, make([]string, 102)...)
	if !strings.Contains(got, " (100)\n") || !strings.Contains(got, "web[101-102] (2)\n") || !strings.HasSuffix(got, "\n102 hosts: all in the same way; --verbose explains each\n") {
		t.Errorf("shown:\n%.3000s", got)
	}
}
