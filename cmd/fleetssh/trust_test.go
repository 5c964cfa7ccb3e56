package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"fleetssh/cmd/fleetssh/internal/display"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/keyaudit"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/simulate"
	"fleetssh/cmd/fleetssh/internal/termline"
	"fleetssh/internal/knownhosts"
	"fleetssh/internal/simfleet"
	"fleetssh/internal/sshdtest"
)

// trustRun runs the verbs of trust, and holds the result of the last run.
type trustRun struct {
	t      *testing.T
	dir    string
	common []string // arguments of every run, added at the end
	answer string   // to the prompt; if empty, there is no terminal

	asked       string
	code        int
	out, stderr string
}

// newTrustRun starts a fleet of simulated hosts whose keys are known.
func newTrustRun(t *testing.T, hosts int) (*trustRun, *simulate.Fleet) {
	t.Helper()
	dir := t.TempDir()
	fleet, err := simulate.Start(simulate.Plan{Hosts: hosts}, dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fleet.Close() })
	return &trustRun{t: t, dir: dir, common: []string{"-F", "none", "-p", strconv.Itoa(fleet.SSH.Port()), "--attempts", "1", "--known-hosts", fleet.KnownHosts()}}, fleet
}

// run runs a verb of trust in this process, and expects an exit code.
func (r *trustRun) run(code int, verb string, args ...string) {
	r.t.Helper()
	var out, stderr bytes.Buffer
	screen := termline.New(&out, &stderr)
	c := &app{in: strings.NewReader(""), screen: screen, warnings: new(display.Warnings), ask: func(_ context.Context, prompt string, _ bool) (string, error) {
		r.asked = prompt
		if r.answer == "" {
			return "", errors.New("there is no terminal to ask on")
		}
		return r.answer, nil
	}}
	root := newRoot(c, newTrust)
	root.SetArgs(append(append([]string{"trust", verb}, args...), r.common...))
	r.code = exit.Report(screen, root.ExecuteContext(r.t.Context()))
	screen.Close()
	r.out, r.stderr = out.String(), stderr.String()
	if r.code != code {
		r.t.Errorf("trust %s %q: exit code %d, want %d: %s%s", verb, args, r.code, code, r.out, r.stderr)
	}
}

// says expects lines of the output. It looks for lines that begin with "fleetssh", "hint" or a
// space on standard error, and for others on standard output. SHA256:… matches any fingerprint.
func (r *trustRun) says(lines ...string) {
	r.t.Helper()
	for _, line := range lines {
		text := r.out
		if strings.HasPrefix(line, "fleetssh") || strings.HasPrefix(line, " ") || strings.HasPrefix(line, "hint") {
			text = r.stderr
		}
		pattern := strings.ReplaceAll(regexp.QuoteMeta(line), "SHA256:…", `SHA256:[\w+/]{43}`)
		if !regexp.MustCompile("(?m)^" + pattern + "$").MatchString(text) {
			r.t.Errorf("%q is not in\n%s", line, text)
		}
	}
}

func (r *trustRun) file(name string) string { return filepath.Join(r.dir, name) }

func (r *trustRun) read(name string) string {
	r.t.Helper()
	text, err := os.ReadFile(r.file(name))
	if err != nil {
		r.t.Fatal(err)
	}
	return string(text)
}

func (r *trustRun) write(name string, lines ...string) string {
	r.t.Helper()
	if err := os.WriteFile(r.file(name), []byte(strings.Join(lines, "")), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return r.file(name)
}

func TestTrustScanAndAccept(t *testing.T) {
	t.Parallel()
	r, fleet := newTrustRun(t, 4)
	lines := strings.SplitAfter(r.read("known_hosts"), "\n")
	known := r.write("known_hosts", lines[:2]...)
	if err := fleet.SSH.Servers[1].SetHostKeys(); err != nil { // to new keys
		t.Fatal(err)
	}
	keys := r.file("keys")
	r.run(exit.Unreachable, "scan", "-w", "127.1.0.[1-5]", "--save", keys)
	r.says(
		"127.1.0.1: known       ssh-ed25519 SHA256:…",
		"127.1.0.2: changed     ssh-ed25519 SHA256:…; known is ssh-ed25519 SHA256:… in "+known+":2",
		"127.1.0.3: new         ssh-ed25519 SHA256:…",
		"127.1.0.5: failed      connect: connection refused",
		"fleetssh: 5 hosts: 1 known, 2 new, 1 changed, 1 unreachable",
		"  new: 127.1.0.[3-4]",
		"  changed: 127.1.0.2",
		"  unreachable (connect): 127.1.0.5: connection refused",
	)
	if info, err := os.Stat(keys); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	before := r.read("known_hosts")

	// There is no terminal to ask on, or the user declines.
	r.run(exit.Usage, "accept", keys)
	r.says("fleetssh: error: cannot ask for confirmation of the new keys: there is no terminal to ask on", "hint: --yes confirms")
	r.answer = "n"
	r.run(exit.Usage, "accept", keys)
	r.says("fleetssh: error: not confirmed: nothing was added")
	if got := r.read("known_hosts"); got != before {
		t.Errorf("known_hosts is\n%s", got)
	}

	r.answer = "y"
	port := strconv.Itoa(fleet.SSH.Port())
	r.run(exit.Unreachable, "accept", keys)
	r.says("127.1.0.3:"+port+": add         ssh-ed25519 SHA256:…", "fleetssh: 2 keys added to "+known)
	if want := "add 2 keys of 2 hosts to " + known + "? [y/N] "; r.asked != want {
		t.Errorf("asked %q, want %q", r.asked, want)
	}
	if got := r.read("known_hosts"); got != strings.Join(lines, "") {
		t.Errorf("known_hosts is\n%s", got)
	}

	// Known keys need no confirmation, and changed keys are not replaced.
	r.answer = ""
	r.run(exit.Unreachable, "accept", "-w", "127.1.0.[1-4]")
	r.says("fleetssh: nothing to add", "fleetssh: 4 hosts: 3 known, 1 changed")
	if got := r.read("known_hosts"); got != strings.Join(lines, "") {
		t.Errorf("known_hosts is\n%s", got)
	}

	// --replace replaces the keys of the hosts that it names.
	r.run(exit.Usage, "accept", "-w", "127.1.0.[1-4]", "--yes", "--replace", "127.1.0.9")
	r.says("fleetssh: error: --replace 127.1.0.9: it is not among the hosts")
	r.answer = "yes"
	r.run(exit.OK, "accept", "-w", "127.1.0.[1-4]", "--replace", "127.1.0.[1-2]")
	r.says("127.1.0.2: replace     ssh-ed25519 SHA256:…; known is ssh-ed25519 SHA256:… in "+known+":2",
		"fleetssh: 1 key added to "+known+", 1 removed (previous file: "+known+".old)")
	if want := "add 1 key of 1 host to " + known + ", replacing the known keys of 127.1.0.2? [y/N] "; r.asked != want {
		t.Errorf("asked %q, want %q", r.asked, want)
	}
	if got := r.read("known_hosts.old"); got != strings.Join(lines, "") {
		t.Errorf("known_hosts.old is\n%s", got)
	}
	r.run(exit.OK, "scan", "-w", "127.1.0.[1-4]")
	r.says("fleetssh: 4 hosts: 4 known", "  known: 127.1.0.[1-4]")
}

func TestTrustFingerprints(t *testing.T) {
	t.Parallel()
	r, fleet := newTrustRun(t, 3)
	hosts, err := knownhosts.ReadScan(strings.NewReader(r.read("known_hosts")), "known_hosts")
	if err != nil {
		t.Fatal(err)
	}
	fingerprint := func(i int) string { return ssh.FingerprintSHA256(hosts[i].Keys[0]) }
	list := r.write("list", "# from the console\n127.1.0.1 256 ", fingerprint(0), " root@a (ED25519)\n127.1.0.2 ", fingerprint(2), "\n")
	mine := r.file("mine")
	r.common = append(r.common, "--known-hosts", mine)
	r.run(exit.Unreachable, "accept", "-w", fleet.Expression(), "--fingerprints", list, "--yes", "--hash")
	r.says("127.1.0.1: add         ssh-ed25519 "+fingerprint(0),
		"127.1.0.2: unvouched   ssh-ed25519 "+fingerprint(1),
		"fleetssh: 3 hosts: 1 new, 2 unvouched", "  unvouched: 127.1.0.[2-3]",
		"    hint: none of their keys has a fingerprint in the file: ask the administrator of the hosts")
	if got := r.read("mine"); !strings.HasPrefix(got, "|1|") || strings.Count(got, "\n") != 1 {
		t.Errorf("the file is\n%s", got)
	}
	r.run(exit.Failed, "accept", "-w", fleet.Expression(), "--fingerprints", r.write("bad", "web MD5:00"))
	r.says("fleetssh: error: fingerprints: " + r.file("bad") + ":1: no fingerprint beginning with SHA256:")
}

// trust judges keys of other types, revoked keys and certificates of a real sshd behind a real hop.
func TestTrustOfSSHD(t *testing.T) {
	t.Parallel()
	ca := sshdtest.NewCA(t)
	s := sshdtest.Start(t, sshdtest.Options{})
	certified := sshdtest.Start(t, sshdtest.Options{HostCA: ca, HostPrincipals: []string{"127.0.0.1"}})
	hop := sshdtest.Start(t, sshdtest.Options{})
	id := sshdtest.NewKey(t, sshdtest.KindED25519)
	user := sshdtest.CurrentUser(t)
	hop.Authorize(t, user, id.Public())
	r := &trustRun{t: t, dir: t.TempDir()}
	id.Write(t, r.file("id"), "")
	hops := knownLine(hop.Address(), hop.HostKey(sshdtest.KindED25519))
	r.common = []string{"-F", "none", "-i", r.file("id"), "--attempts", "1", "--known-hosts", r.file("known_hosts"), "-J", fmt.Sprintf("%s@127.0.0.1:%d", user, hop.Port)}
	address := func(s *sshdtest.Server) string { return fmt.Sprintf("127.0.0.1:%d", s.Port) }
	both := []string{"-w", address(s) + "," + address(certified)}

	r.write("known_hosts", hops)
	r.run(exit.OK, "scan", both...)
	r.says(address(s)+": new         ecdsa-sha2-nistp256 SHA256:…", address(certified)+": new         ssh-ed25519-cert-v01@openssh.com SHA256:…, signed by "+results.KeyText(ca.Public()))
	if n := strings.Count(r.out, "\n"); n != 3+4 {
		t.Errorf("%d lines: %s", n, r.out)
	}
	hop.Logged(t, 1, "Accepted publickey")

	r.write("known_hosts", hops, "@cert-authority 127.0.0.1 ", string(ssh.MarshalAuthorizedKey(ca.Public())), knownLine(s.Address(), s.HostKey(sshdtest.KindRSA)))
	r.run(exit.OK, "scan", both...)
	r.says(address(s)+": other       ssh-ed25519 SHA256:…", address(s)+": known       ssh-rsa SHA256:…",
		address(certified)+": certificate ssh-ed25519-cert-v01@openssh.com SHA256:…, signed by "+results.KeyText(ca.Public()),
		address(certified)+": other       ssh-rsa SHA256:…", "fleetssh: 2 hosts: 1 known, 1 certificate")
	r.run(exit.OK, "accept", append(both, "--yes")...)
	r.says("fleetssh: nothing to add")
	list := r.write("list", s.Address(), " ", ssh.FingerprintSHA256(s.HostKey(sshdtest.KindED25519)), "\n")
	r.run(exit.OK, "accept", append(both, "--yes", "--fingerprints", list)...)
	r.says(address(s)+": add         "+results.KeyText(s.HostKey(sshdtest.KindED25519)), "fleetssh: 1 key added to "+r.file("known_hosts"))

	// Nothing is added for a host with one revoked key.
	r.write("known_hosts", hops, "@revoked * ", string(ssh.MarshalAuthorizedKey(s.HostKey(sshdtest.KindECDSA))))
	r.run(exit.Unreachable, "accept", "-w", address(s), "--yes", "--replace", address(s))
	r.says("127.0.0.1: revoked     ecdsa-sha2-nistp256 SHA256:…; listed is ecdsa-sha2-nistp256 SHA256:… in "+r.file("known_hosts")+":2", "fleetssh: nothing to add")

	r.write("known_hosts", "# the hop is not trusted\n")
	r.run(exit.Unreachable, "scan", both...)
	r.says("  unreachable (proxy): 127.0.0.1:[" + strconv.Itoa(min(s.Port, certified.Port)) + "," + strconv.Itoa(max(s.Port, certified.Port)) + "]: at the hop 127.0.0.1: the host key is not known")
}

func knownLine(name string, key ssh.PublicKey) string {
	return name + " " + string(ssh.MarshalAuthorizedKey(key))
}

func TestTrustJSON(t *testing.T) {
	t.Parallel()
	r, fleet := newTrustRun(t, 2)
	if err := fleet.SSH.Servers[1].SetHostKeys(); err != nil {
		t.Fatal(err)
	}
	for verb, action := range map[string]string{"scan": "", "accept": "none"} {
		r.run(exit.Unreachable, verb, "-w", "127.1.0.[1-2]", "--format", "json")
		var changed keyaudit.JSONHostKey
		var summary results.JSONSummary
		for line := range strings.Lines(r.out) {
			var o keyaudit.JSONHostKey
			if err := json.Unmarshal([]byte(line), &o); err != nil {
				t.Fatalf("%v: %s", err, line)
			}
			if o.State == "changed" {
				changed = o
			}
			if o.Type == "summary" {
				if err := json.Unmarshal([]byte(line), &summary); err != nil {
					t.Fatal(err)
				}
			}
		}
		key, err := ssh.ParsePublicKey(changed.Key)
		if err != nil || ssh.FingerprintSHA256(key) != changed.Fingerprint || changed.Host != "127.1.0.2" || changed.Index != 1 || changed.Action != action {
			t.Errorf("%v: %+v", err, changed)
		}
		if len(changed.Listed) != 1 || changed.Listed[0].Line != 2 || changed.Listed[0].Fingerprint == changed.Fingerprint {
			t.Errorf("listed: %+v", changed.Listed)
		}
		if got := fmt.Sprint(summary.Hosts, summary.OK, summary.Failed, summary.Outcomes); got != "2 1 1 map[changed:1 known:1]" {
			t.Errorf("summary: %s", got)
		}
	}
}

// Two processes that accept the same fleet at once add each key once.
func TestTrustAcceptAtOnce(t *testing.T) {
	t.Parallel()
	r, fleet := newTrustRun(t, 20)
	want := r.read("known_hosts")
	var wg sync.WaitGroup
	for range 4 {
		one := *r
		one.common = append(r.common[:len(r.common):len(r.common)], "--known-hosts", r.file("mine"))
		wg.Go(func() { one.run(exit.OK, "accept", "-w", fleet.Expression(), "--yes") })
	}
	wg.Wait()
	got := strings.SplitAfter(r.read("mine"), "\n")
	for line := range strings.Lines(want) {
		if n := strings.Count(strings.Join(got, ""), line); n != 1 {
			t.Errorf("the file has this line %d times: %s", n, line)
		}
	}
	if len(got) != 21 {
		t.Errorf("%d lines", len(got)-1)
	}
}

func TestTrustUsage(t *testing.T) {
	t.Parallel()
	r, _ := newTrustRun(t, 1)
	r.common = nil
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"scna"}, `fleetssh: error: unknown verb "scna"`},
		{[]string{"scan"}, "fleetssh: error: no host selected"},
		{[]string{"scan", "web1"}, "fleetssh: error: trust scan takes no arguments, only options"},
		{[]string{"accept", "a", "b"}, "fleetssh: error: trust accept takes one file"},
		{[]string{"accept", "a", "-w", "b"}, "fleetssh: error: keys come from a or from hosts, not from both"},
		{[]string{"accept", "a", "--replace", "b["}, `fleetssh: error: --replace: host set "b[": offset 1: missing "]"`},
	} {
		r.run(exit.Usage, test.args[0], test.args[1:]...)
		r.says(test.want)
	}
	r.run(exit.Failed, "accept", r.file("missing"))
	r.run(exit.Failed, "accept", r.write("hashed", "|1|JfKTdBh7rNbXkVAQCRp4OQoPfmI=|USECr3SWf1JUPsms5AqfD5QfxkM= ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA=="))
	r.says("fleetssh: error: keys: " + r.file("hashed") + ":1: the name of the host is hashed")
}

// Text from a file cannot control the terminal.
func TestTrustShowsHarmlessText(t *testing.T) {
	t.Parallel()
	r, _ := newTrustRun(t, 1)
	line := r.read("known_hosts")
	_, key, _ := strings.Cut(strings.TrimSpace(line), " ")
	r.run(exit.Failed, "accept", r.write("keys", "web\x1b[2J "+key+"\n"))
	if strings.Contains(r.out+r.stderr, "\x1b") {
		t.Errorf("%q", r.out+r.stderr)
	}
}

// If the connection breaks during a scan, the keys that were received are kept, and the scan is
// marked as partial.
func TestTrustOfPartialScan(t *testing.T) {
	t.Parallel()
	var keys []ssh.Signer
	for _, kind := range []string{sshdtest.KindED25519, sshdtest.KindECDSA} {
		keys = append(keys, sshdtest.NewKey(t, kind).Signer)
	}
	s, err := simfleet.Start(simfleet.Host{HostKeys: keys})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r := &trustRun{t: t, dir: t.TempDir()}
	known := r.write("known_hosts", knownLine(fmt.Sprintf("[%s]:%d", s.Host(), s.Port()), keys[1].PublicKey()))
	kept := r.write("keys", "#partial ", strings.SplitN(r.read("known_hosts"), " ", 2)[0], "\n", knownLine(fmt.Sprintf("[%s]:%d", s.Host(), s.Port()), keys[0].PublicKey()))
	r.common = []string{"-F", "none", "--known-hosts", known}
	// The scan broke off before the known key, so that the host may still have it: it counts as
	// known, and nothing is added.
	r.run(exit.Unreachable, "accept", kept, "--yes")
	r.says("fleetssh: nothing to add", "fleetssh: 1 host: 1 known")
}
