package identities

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/sshdtest"
	"fleetssh/inventory"
	"fleetssh/sshconfig"
)

// Where the private half of the configured key is. Except for public, the configured path is the
// path of the private key. The public half is always next to it.
const (
	open      = "open"         // in its file
	encrypted = "encrypted"    // in its file, and nobody knows the passphrase
	asked     = "asked"        // in its file, and the user knows the passphrase
	inAgent   = "in the agent" // in the agent and, encrypted, in its file
	gone      = "gone"         // only in the agent
	public    = "public half"  // only in the agent; the configured path is the path of the public half
	hardware  = "in hardware"  // on a smartcard, through the agent
	nowhere   = "nowhere"
)

// Where the certificate of the key is. With a valid certificate, the host accepts only
// certificates.
const (
	none         = "none"
	beside       = "beside"       // next to the key
	certInAgent  = "in the agent" // with its key, as ssh-add adds it
	named        = "named"        // in a file that is configured
	expired      = "expired"      // next to the key; the host accepts the plain key
	expiredNamed = "expired, named"
)

// Where the path of the key is configured.
const (
	flag       = "-i"
	configFile = "IdentityFile"
	hostList   = "inventory"
	hop        = "hop"
	byDefault  = "default"
)

var (
	places = []string{open, encrypted, asked, inAgent, gone, public, hardware, nowhere}
	certs  = []string{none, beside, certInAgent, named, expired, expiredNamed}
	namers = []string{flag, configFile, hostList, hop, byDefault}
)

const passphrase = "open sesame"

// cell is one cell of the table.
type cell struct {
	place, cert, namer string
	only               bool // IdentitiesOnly
}

// possible reports whether the combination exists, and fleetssh means to behave like ssh.
func (c cell) possible() bool {
	switch {
	case c.place == hardware && c.cert == certInAgent:
		return false // ssh-add adds certificates of cards only since OpenSSH 9.6
	case c.namer == byDefault && c.place == public:
		return false // the default paths are paths of private keys
	case c.namer == flag && c.cert == expiredNamed:
		return false // --cert requires a valid certificate, unlike ssh
	}
	return true
}

func TestMain(m *testing.M) { fleettest.Main(m) }

// TestIdentities compares all cells of the table with ssh.
func TestIdentities(t *testing.T) {
	w := newWorld(t)
	var cells []cell
	for _, place := range places {
		for _, cert := range certs {
			for _, namer := range namers {
				for _, only := range []bool{false, true} {
					if c := (cell{place, cert, namer, only}); c.possible() {
						cells = append(cells, c)
					}
				}
			}
		}
	}
	t.Run("cells", func(t *testing.T) {
		// HOME belongs to the process. So the cells that use it run first, one after another;
		// in the meantime, ssh runs for the other cells.
		slices.SortStableFunc(cells, func(a, b cell) int { return strings.Compare(rank(a), rank(b)) })
		for _, c := range cells {
			go w.oracle(c)
		}
		for _, c := range cells {
			t.Run(fmt.Sprintf("%s, certificate %s, %s, only %v", c.place, c.cert, c.namer, c.only), func(t *testing.T) {
				if c.namer == byDefault {
					t.Setenv("HOME", filepath.Join(w.dir(c), "home"))
				} else {
					t.Parallel()
				}
				err := w.dial(t, c)
				want := w.oracle(c)
				if (err == nil) != want.in {
					t.Errorf("ssh logs in: %v; fleetssh: %v\n%s", want.in, err, want.said)
				}
			})
		}
	})
	in := 0
	for _, answer := range w.answers {
		if answer().in {
			in++
		}
	}
	// If nearly all logins had the same result, the table would show no differences.
	if len(w.answers) < 80 || in < len(w.answers)/3 || in > len(w.answers)*9/10 {
		t.Errorf("ssh logged in %d times of %d", in, len(w.answers))
	}
}

func rank(c cell) string {
	if c.namer == byDefault {
		return "0"
	}
	return "1"
}

// TestHopHasItsOwn logs in to a host with the key of -i, through a hop with another key: -i applies
// to the host, and ssh does not pass it on to the hop.
func TestHopHasItsOwn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	user := sshdtest.CurrentUser(t)
	gateKey, hostKey := sshdtest.NewKey(t, sshdtest.KindED25519), sshdtest.NewKey(t, sshdtest.KindED25519)
	gateKey.Write(t, filepath.Join(dir, "gate"), "")
	hostKey.Write(t, filepath.Join(dir, "host"), "")
	gate, target := sshdtest.Start(t, sshdtest.Options{}), sshdtest.Start(t, sshdtest.Options{})
	gate.Authorize(t, user, gateKey.Public())
	target.Authorize(t, user, hostKey.Public())
	path := filepath.Join(dir, "config")
	write(t, path, fmt.Appendf(nil, "Host gate\n HostName %s\n Port %d\n IdentityFile %s\nHost target\n HostName %s\n Port %d\n ProxyJump gate\nHost *\n User %s\n IdentityAgent none\n UserKnownHostsFile /dev/null\n StrictHostKeyChecking no\n BatchMode yes\n",
		gate.Host, gate.Port, filepath.Join(dir, "gate"), target.Host, target.Port, user), 0o600)
	if out, err := exec.CommandContext(t.Context(), "ssh", "-F", path, "-i", filepath.Join(dir, "host"), "target", "true").CombinedOutput(); err != nil {
		t.Fatalf("ssh: %v: %s", err, out)
	}
	file, err := sshconfig.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	base := fleetssh.HostConfig{HostKeys: fleetssh.InsecureIgnoreHostKeys{}, Auth: fleetssh.Auth{KeyFile: filepath.Join(dir, "host")}}
	file.Hops = base
	base.Host = "target"
	host, err := file.Host("target", base)
	if err != nil {
		t.Fatal(err)
	}
	client, err := fleetssh.Dial(t.Context(), host)
	if err != nil {
		t.Fatal(err)
	}
	client.Close()
}

// world is shared by all cells.
type world struct {
	root   string
	plain  *sshdtest.Server // accepts the keys
	strict *sshdtest.Server // accepts only certificates
	user   string
	slots  chan struct{}     // limits how many ssh run at once
	agents map[string]string // sockets, by what the agents hold

	mu      sync.Mutex // protects answers
	answers map[string]func() answer
}

// answer is the result of ssh.
type answer struct {
	in   bool   // the login succeeded
	said string // the output of ssh -v
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{root: sshdtest.SharedDir(t), user: sshdtest.CurrentUser(t), slots: make(chan struct{}, 4), answers: make(map[string]func() answer)}
	ca, key, card, through := sshdtest.NewCA(t), sshdtest.NewKey(t, sshdtest.KindED25519), sshdtest.NewKey(t, sshdtest.KindECDSA), sshdtest.NewKey(t, sshdtest.KindED25519)
	write(t, filepath.Join(w.root, "ca.pub"), ssh.MarshalAuthorizedKey(ca.Public()), 0o644)
	quick := []string{"PasswordAuthentication no", "KbdInteractiveAuthentication no", "ForceCommand /bin/true"}
	one := []string{sshdtest.KindED25519}
	w.plain = sshdtest.Start(t, sshdtest.Options{Config: quick, HostKeys: one})
	w.plain.Authorize(t, w.user, key.Public(), card.Public(), through.Public())
	w.strict = sshdtest.Start(t, sshdtest.Options{HostKeys: one, Config: append([]string{"TrustedUserCAKeys " + filepath.Join(w.root, "ca.pub"), "AuthorizedKeysFile none"}, quick...)})
	through.Write(t, filepath.Join(w.root, "through"), "")
	sshdtest.WriteProgram(t, w.askPass(), "#!/bin/sh\necho '"+passphrase+"'\n")

	// The agents: one that does not run, one with the key, one with its certificate as well, and
	// one with a smartcard. ssh-pkcs11-helper finds the card through the agent's environment.
	smartcard := sshdtest.NewSmartcard(t, card)
	withKey, withCert, withCard := sshdtest.StartAgent(t), sshdtest.StartAgent(t), sshdtest.StartAgent(t)
	withKey.Add(t, key)
	withCert.Add(t, key)
	withCert.AddCertificate(t, key, ca.SignUser(t, key.Public(), sshdtest.Validity{}, w.user))
	withCard.AddSmartcard(t, smartcard)
	w.agents = map[string]string{"": filepath.Join(w.root, "dead"), "key": withKey.Socket, "certificate": withCert.Socket, "card": withCard.Socket}

	for _, place := range places {
		for _, cert := range certs {
			k := key
			if place == hardware {
				k = card
			}
			w.write(t, cell{place: place, cert: cert}, k, ca)
		}
	}
	return w
}

// dir returns the directory for the files of a cell.
func (w *world) dir(c cell) string {
	return filepath.Join(w.root, strings.NewReplacer(" ", "-", ",", "").Replace(c.place+"--"+c.cert))
}

// path returns the configured path.
func (w *world) path(c cell) string {
	path := filepath.Join(w.dir(c), "home", ".ssh", "id_ed25519")
	if c.place == public {
		path += ".pub"
	}
	return path
}

// askPass returns the path of a program that prints the passphrase.
func (w *world) askPass() string { return filepath.Join(w.root, "askpass") }

// certPath returns the path of a certificate that is configured by itself.
func (w *world) certPath(c cell) string { return filepath.Join(w.dir(c), "certificate") }

// write makes the files of a cell.
func (w *world) write(t *testing.T, c cell, key *sshdtest.Key, ca *sshdtest.CA) {
	t.Helper()
	path := strings.TrimSuffix(w.path(c), ".pub")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, path+".pub", ssh.MarshalAuthorizedKey(key.Public()), 0o644)
	switch c.place {
	case open:
		write(t, path, key.PEM(t, ""), 0o600)
	case encrypted, asked, inAgent:
		write(t, path, lockedPEM(t, path, key), 0o600)
	}
	var validity sshdtest.Validity
	if c.cert == expired || c.cert == expiredNamed {
		validity.Before = time.Now().Add(-time.Minute)
	}
	cert := ssh.MarshalAuthorizedKey(ca.SignUser(t, key.Public(), validity, w.user))
	switch c.cert {
	case beside, expired:
		write(t, path+"-cert.pub", cert, 0o644)
	case named, expiredNamed:
		write(t, w.certPath(c), cert, 0o600)
	}
}

// lockedPEM returns an encrypted key. It uses one round of bcrypt, because many cells try the
// passphrase.
func lockedPEM(t *testing.T, path string, key *sshdtest.Key) []byte {
	t.Helper()
	write(t, path, key.PEM(t, ""), 0o600)
	out, err := exec.Command("ssh-keygen", "-q", "-p", "-a", "1", "-N", passphrase, "-f", path).CombinedOutput()
	if err != nil {
		t.Fatalf("ssh-keygen: %v: %s", err, out)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func write(t *testing.T, path string, data []byte, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, data, mode); err != nil {
		t.Fatal(err)
	}
}

// server returns the server for a cell.
func (w *world) server(c cell) *sshdtest.Server {
	if c.cert == beside || c.cert == named || c.cert == certInAgent {
		return w.strict
	}
	return w.plain
}

// agent returns the socket of the agent for a cell.
func (w *world) agent(c cell) string {
	switch {
	case c.cert == certInAgent:
		return w.agents["certificate"]
	case c.place == hardware:
		return w.agents["card"]
	case slices.Contains([]string{inAgent, gone, public}, c.place):
		return w.agents["key"]
	}
	return w.agents[""]
}

// config returns an ssh_config for the cell, with IdentityFile if identities is set.
func (w *world) config(c cell, identities bool) string {
	s := w.server(c)
	name := "target"
	var b strings.Builder
	if c.namer == hop {
		name = "gate"
		fmt.Fprintf(&b, "Host target\n ProxyJump gate\n HostName %s\n Port %d\n IdentityFile %s\n", w.plain.Host, w.plain.Port, filepath.Join(w.root, "through"))
	}
	fmt.Fprintf(&b, "Host %s\n HostName %s\n Port %d\n", name, s.Host, s.Port)
	if c.only {
		fmt.Fprintln(&b, " IdentitiesOnly yes")
	}
	if identities {
		fmt.Fprintf(&b, " IdentityFile %s\n", w.path(c))
	}
	if (c.cert == named || c.cert == expiredNamed) && c.namer != flag && c.namer != hostList {
		fmt.Fprintf(&b, " CertificateFile %s\n", w.certPath(c))
	}
	fmt.Fprintf(&b, "Host *\n User %s\n IdentityAgent %s\n", w.user, w.agent(c))
	return b.String()
}

// dial connects as the command would, with the settings of the cell.
func (w *world) dial(t *testing.T, c cell) error {
	t.Helper()
	base := fleetssh.HostConfig{Host: "target", HostKeys: fleetssh.InsecureIgnoreHostKeys{}, Attempts: 1}
	if c.place == asked {
		base.Auth.Ask = func(context.Context, fleetssh.Question) (string, error) { return passphrase, nil }
	}
	host := base
	switch c.namer {
	case flag:
		host.Auth.KeyFile = w.path(c)
		if c.cert == named {
			host.Auth.CertFile = w.certPath(c)
		}
	case hostList:
		line := "target key=" + w.path(c)
		if c.cert == named || c.cert == expiredNamed {
			line += " cert=" + w.certPath(c)
		}
		inv, err := inventory.ParseHosts(strings.NewReader(line+"\n"), "list", base)
		if err != nil {
			t.Fatal(err)
		}
		hosts, err := inv.Select("target")
		if err != nil || len(hosts) != 1 {
			t.Fatal(hosts, err)
		}
		host = hosts[0]
	}
	path := filepath.Join(t.TempDir(), "config")
	write(t, path, []byte(w.config(c, c.namer == configFile || c.namer == hop)), 0o600)
	file, err := sshconfig.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	file.Hops = base
	if host, err = file.Host("target", host); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	client, err := fleetssh.Dial(ctx, host)
	if err == nil {
		client.Close()
	}
	return err
}

// oracle returns what ssh does. ssh runs only once for all the ways to configure the key: for ssh,
// a key of -i, of a hop or of an inventory is the same as an IdentityFile, and so is a default key,
// except for its path.
func (w *world) oracle(c cell) answer {
	c.namer = configFile
	w.mu.Lock()
	once := w.answers[fmt.Sprint(c)]
	if once == nil {
		once = sync.OnceValue(func() answer { return w.askSSH(c) })
		w.answers[fmt.Sprint(c)] = once
	}
	w.mu.Unlock()
	return once()
}

func (w *world) askSSH(c cell) answer {
	w.slots <- struct{}{}
	defer func() { <-w.slots }()
	config, err := os.CreateTemp(w.root, "config-*")
	if err != nil {
		return answer{said: err.Error()}
	}
	io.WriteString(config, w.config(c, true))
	config.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	args := []string{"-F", config.Name(), "-v", "-n", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"}
	if c.place != asked {
		args = append(args, "-o", "BatchMode=yes")
	}
	cmd := exec.CommandContext(ctx, "ssh", append(args, "target", "true")...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "SSH_ASKPASS_REQUIRE=force", "SSH_ASKPASS=" + w.askPass()}
	out, err := cmd.CombinedOutput()
	return answer{in: err == nil, said: string(out)}
}
