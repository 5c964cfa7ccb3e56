package audit

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// key returns a new key.
func key(t *testing.T) ssh.PublicKey {
	t.Helper()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// rsaKey returns an RSA key of so many bits. Nobody has the private half.
func rsaKey(t *testing.T, bits int) ssh.PublicKey {
	t.Helper()
	k, err := ssh.NewPublicKey(&rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), uint(bits-1)), E: 65537})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// modern returns a login to a current server.
func modern(t *testing.T, mine ssh.PublicKey) fleetssh.Login {
	aead := ssh.DirectionAlgorithms{Cipher: "aes128-gcm@openssh.com"}
	return fleetssh.Login{
		Version: "SSH-2.0-OpenSSH_10.0", Methods: []string{"publickey"}, Allowed: []string{"publickey"}, Key: mine, HostKey: key(t),
		Algorithms: ssh.NegotiatedAlgorithms{KeyExchange: "mlkem768x25519-sha256", HostKey: "ssh-ed25519", Read: aead, Write: aead},
		Offered:    ssh.Algorithms{KeyExchanges: []string{"mlkem768x25519-sha256"}},
	}
}

// old returns a login to a server of 2018.
func old(t *testing.T, offered ...string) fleetssh.Login {
	ctr := ssh.DirectionAlgorithms{Cipher: "aes128-ctr", MAC: "hmac-sha2-256"}
	return fleetssh.Login{
		Version: "SSH-2.0-OpenSSH_7.4", Methods: []string{"password"}, Allowed: []string{"publickey", "password"}, HostKey: rsaKey(t, 2048),
		Algorithms: ssh.NegotiatedAlgorithms{KeyExchange: "curve25519-sha256", HostKey: "rsa-sha2-512", Read: ctr, Write: ctr},
		Offered:    ssh.Algorithms{KeyExchanges: append(offered, "curve25519-sha256")},
	}
}

// summaryOf returns the summary of a check with these logins. A host without a login has failed.
func summaryOf(name string, logins ...[]fleetssh.Login) *results.Summary {
	hosts := make([]selection.Host, len(logins))
	for i := range hosts {
		hosts[i].Label = fmt.Sprintf(name, i+1)
		hosts[i].Name = hosts[i].Label
	}
	t := results.New(hosts)
	for i := len(logins) - 1; i >= 0; i-- {
		r := results.Result{Index: i, Logins: logins[i]}
		if r.OK = logins[i] != nil; r.OK {
			r.Outcome.Kind = fleetssh.Exited
			r.Timing = fleetssh.Timing{Connect: time.Duration(i+1) * time.Millisecond, Attempts: 1}
		} else {
			r.Outcome.Kind = fleetssh.Unreachable
			r.Problem = results.Problem{Kind: "connection", Phase: "connect", Reason: "connection refused"}
		}
		t.AddResult(r)
	}
	return t
}

// shown returns what show shows.
func shown(t *testing.T, show func(*termline.Screen)) string {
	t.Helper()
	var out bytes.Buffer
	screen := termline.New(&out, &out)
	show(screen)
	screen.Flush()
	for line := range strings.Lines(out.String()) {
		if n := len([]rune(line)) - 1; n > width && !strings.HasPrefix(line, "{") {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	return regexp.MustCompile(`SHA256:[A-Za-z0-9+/]+`).ReplaceAllString(out.String(), "SHA256:")
}

func TestTable(t *testing.T) {
	t.Parallel()
	mine := key(t)
	master := []fleetssh.Login{{Master: "/run/master"}}
	var logins [][]fleetssh.Login
	for range 17 {
		logins = append(logins, []fleetssh.Login{modern(t, mine)})
	}
	logins = append(logins, []fleetssh.Login{old(t)}, []fleetssh.Login{old(t, "sntrup761x25519-sha512@openssh.com")}, nil, master)
	s := summaryOf("web%02d", logins...)
	got := shown(t, func(screen *termline.Screen) {
		Table(screen, s)
		Total(screen, s)
	})
	want := `version       SSH-2.0-OpenSSH_10.0                      web[01-17] (17)
              SSH-2.0-OpenSSH_7.4                       web[18-19] (2)
              not known: through an OpenSSH master      web21
key exchange  mlkem768x25519-sha256                     web[01-17] (17)
              curve25519-sha256                         web[18-19] (2)
              not known: through an OpenSSH master      web21
post-quantum  yes                                       web[01-17] (17)
              no, the host has none                     web18
              no, though the host has sntrup761x25519-sha512@openssh.com
                web19
              not known: through an OpenSSH master      web21
cipher        aes128-gcm@openssh.com                    web[01-17] (17)
              aes128-ctr                                web[18-19] (2)
              not known: through an OpenSSH master      web21
MAC           part of the cipher                        web[01-17] (17)
              hmac-sha2-256                             web[18-19] (2)
              not known: through an OpenSSH master      web21
host key      ssh-ed25519                               web[01-17] (17)
              ssh-rsa, 2048 bits                        web[18-19] (2)
              not known: through an OpenSSH master      web21
allowed       publickey                                 web[01-17] (17)
              publickey, password                       web[18-19] (2)
              not known: through an OpenSSH master      web21
login         publickey ssh-ed25519 SHA256:
                web[01-17] (17)
              password                                  web[18-19] (2)
              by the OpenSSH master at /run/master      web21
median time   connect 11.0ms, handshake 0.0ms, login 0.0ms
slowest       21.0ms in all: web21
same key      web[18-19] show the same key, ssh-rsa SHA256:: copies of one image, one host under several names, or a man-in-the-middle attack
21 hosts: 20 ok, 1 failed
`
	before, shared, _ := strings.Cut(got, "same key ")
	shared, total, _ := strings.Cut(shared, "21 hosts")
	got = before + "same key      " + strings.Join(strings.Fields(shared), " ") + "\n21 hosts" + total
	if got != want {
		t.Errorf("shown:\n%swant:\n%s", got, want)
	}
}

// What all hosts have in common has no hosts beside it, and a fleet of any size fits the columns.
func TestTableSizes(t *testing.T) {
	t.Parallel()
	mine := key(t)
	one := shown(t, func(screen *termline.Screen) { Table(screen, summaryOf("n%d", []fleetssh.Login{modern(t, mine)})) })
	if strings.Contains(one, "n1") {
		t.Errorf("one host:\n%s", one)
	}
	if none := shown(t, func(screen *termline.Screen) { Table(screen, summaryOf("n%d", nil, nil)) }); none != "" {
		t.Errorf("no host:\n%s", none)
	}
	var logins [][]fleetssh.Login
	for i := range 1000 {
		l := modern(t, mine)
		if i%3 == 0 {
			l = old(t)
		}
		if i%7 == 0 {
			l.Version = fmt.Sprintf("SSH-2.0-strange_%d", i)
		}
		logins = append(logins, []fleetssh.Login{l})
	}
	many := shown(t, func(screen *termline.Screen) {
		Table(screen, summaryOf("a-host-with-a-long-name-%d.example.com", logins...))
	})
	if !strings.Contains(many, "… and 125 more values: --verbose shows them\n") {
		t.Errorf("many versions:\n%.3000s", many)
	}
}

func TestShowHost(t *testing.T) {
	t.Parallel()
	mine := key(t)
	hop := fleetssh.Login{Host: fleetssh.HostConfig{Host: "gate"}}
	s := summaryOf("web%02d", []fleetssh.Login{hop, modern(t, mine)}, []fleetssh.Login{old(t)}, nil, []fleetssh.Login{{Master: "/run/master"}})
	got := shown(t, func(screen *termline.Screen) {
		show := ShowHost(screen, s)
		for i := range slices.Backward(s.Results) {
			show(&s.Results[i])
		}
	})
	want := `web01: ok      hop   0.0ms  connect   1.0ms  handshake   0.0ms  login   0.0ms
web01:         through  gate
web01:         login    publickey ssh-ed25519 SHA256:
web01:         allowed  publickey
web01:         host key ssh-ed25519 SHA256:
web01:         server   SSH-2.0-OpenSSH_10.0
web01:         with     mlkem768x25519-sha256  aes128-gcm@openssh.com
web02: ok      connect   2.0ms  handshake   0.0ms  login   0.0ms
web02:         login    password
web02:         allowed  publickey, password
web02:         host key ssh-rsa SHA256:
web02:         server   SSH-2.0-OpenSSH_7.4
web02:         with     curve25519-sha256  aes128-ctr  hmac-sha2-256
web02:         post-quantum: no, the host has none
web03: failed  connect: connection refused
web04: ok      connect   4.0ms  handshake   0.0ms  login   0.0ms
web04:         login    by the OpenSSH master at /run/master
`
	if got != want {
		t.Errorf("shown:\n%swant:\n%s", got, want)
	}
}

func TestPutHost(t *testing.T) {
	t.Parallel()
	s := summaryOf("web%02d", []fleetssh.Login{{Host: fleetssh.HostConfig{Host: "gate"}, Version: "SSH-2.0-gate"}, old(t, "sntrup761x25519-sha512")}, nil)
	got := shown(t, func(screen *termline.Screen) {
		put := PutHost(screen, s)
		for i := range slices.Backward(s.Results) {
			put(&s.Results[i])
		}
		PutTotal(screen, s)
	})
	var objects []map[string]any
	for dec := json.NewDecoder(strings.NewReader(got)); dec.More(); {
		var o map[string]any
		if err := dec.Decode(&o); err != nil {
			t.Fatal(err)
		}
		objects = append(objects, o)
	}
	if len(objects) != 3 {
		t.Fatalf("%d objects", len(objects))
	}
	for key, want := range map[string]string{
		"version": "SSH-2.0-OpenSSH_7.4", "key_exchange": "curve25519-sha256", "post_quantum": "false", "host_key_type": "ssh-rsa", "allowed_methods": "[publickey password]",
		"to_host": "map[cipher:aes128-ctr mac:hmac-sha2-256]", "from_host": "map[cipher:aes128-ctr mac:hmac-sha2-256]",
		"offered": "map[ciphers:<nil> host_keys:<nil> key_exchanges:[sntrup761x25519-sha512 curve25519-sha256] macs:<nil>]",
		"hops":    "[map[hop:gate version:SSH-2.0-gate]]", "outcome": "ok",
	} {
		if got := fmt.Sprint(objects[0][key]); got != want {
			t.Errorf("%s: %s, want %s", key, got, want)
		}
	}
	if _, there := objects[1]["version"]; there || objects[1]["outcome"] != "unreachable" {
		t.Errorf("a failed host: %v", objects[1])
	}
	if got := fmt.Sprint(objects[2]["outcomes"]); got != "map[ok:1 unreachable:1]" {
		t.Errorf("outcomes: %s", got)
	}
}
