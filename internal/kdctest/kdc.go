package kdctest

import (
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"fleetssh/internal/sshdtest"
)

// DefaultRealm is the realm of a KDC if Options has none.
const DefaultRealm = "FLEET.TEST"

// Options configure a KDC. The zero value means the realm FLEET.TEST with the host localhost, AES
// keys, and tickets that are forwardable and renewable.
type Options struct {
	Realm string // "" means DefaultRealm

	// Enctypes are the types of the keys that the KDC makes, as in supported_enctypes. "" means
	// aes256-cts-hmac-sha1-96 and aes128-cts-hmac-sha1-96.
	Enctypes string

	// LibDefaults has lines for [libdefaults] in the krb5.conf of clients. They come first, and
	// the first value of a name counts.
	LibDefaults []string

	// RealmLines are lines for the realm in [realms], such as auth_to_local.
	RealmLines []string

	// Referrals maps hosts to other realms, in the krb5.conf of the KDC: the KDC refers clients
	// that ask for such a host to its realm.
	Referrals map[string]string

	// Hosts are more hosts in the realm, besides localhost.
	Hosts []string
}

// KDC is a running krb5kdc.
type KDC struct {
	Realm   string
	Address string // 127.0.0.1:port, for TCP and UDP
	Dir     string // readable by all users, removed with the KDC
	Config  string // the path of the krb5.conf for clients

	opt     Options
	realms  map[string]string // addresses of KDCs by realm
	hosts   map[string]string // realms by host, for [domain_realm]
	logFile string
	cmd     *exec.Cmd
	exited  chan struct{}
}

const portTries = 20

// Start starts a KDC without principals of users. The KDC ends with the test. The test fails if
// krb5kdc is not installed.
func Start(t testing.TB, opt Options) *KDC {
	t.Helper()
	if opt.Realm == "" {
		opt.Realm = DefaultRealm
	}
	if opt.Enctypes == "" {
		opt.Enctypes = "aes256-cts-hmac-sha1-96:normal aes128-cts-hmac-sha1-96:normal"
	}
	k := &KDC{
		Realm: opt.Realm, Dir: sshdtest.SharedDir(t), opt: opt,
		realms: make(map[string]string), hosts: map[string]string{"localhost": opt.Realm},
	}
	k.Config = filepath.Join(k.Dir, "krb5.conf")
	k.logFile = filepath.Join(k.Dir, "kdc.log")
	for _, host := range opt.Hosts {
		k.hosts[host] = opt.Realm
	}
	k.Address = freeAddress(t)
	k.configure(t)
	k.run(t, "kdb5_util", "create", "-r", k.Realm, "-s", "-P", "master")
	k.Restart(t)
	t.Cleanup(func() {
		k.Stop()
		if t.Failed() {
			t.Logf("log of the KDC of %s:\n%s", k.Realm, k.Log())
		}
	})
	return k
}

// Restart starts a stopped KDC again, on the same port if that is free. It appends to the log.
func (k *KDC) Restart(t testing.TB) {
	t.Helper()
	for try := 1; !k.listen(t); try++ {
		if try == portTries {
			t.Fatalf("krb5kdc does not start:\n%s", k.Log())
		}
		k.Address = freeAddress(t)
		k.configure(t)
	}
}

// listen runs krb5kdc and reports whether it got its port.
func (k *KDC) listen(t testing.TB) bool {
	t.Helper()
	const started = "commencing operation"
	before := strings.Count(k.Log(), started)
	k.cmd = exec.Command(program(t, "krb5kdc"), "-n", "-r", k.Realm, "-P", filepath.Join(k.Dir, "kdc.pid"))
	k.cmd.Env = k.env()
	must(t, k.cmd.Start())
	k.exited = make(chan struct{})
	go func(cmd *exec.Cmd, exited chan struct{}) {
		_ = cmd.Wait() // the log says why it ended
		close(exited)
	}(k.cmd, k.exited)
	sshdtest.Eventually(t, sshdtest.Patience, "krb5kdc is up, or has ended", func() bool {
		return !k.running() || strings.Count(k.Log(), started) > before
	})
	return k.running()
}

func (k *KDC) running() bool {
	select {
	case <-k.exited:
		return false
	default:
		return true
	}
}

// Stop stops the KDC. It may be called more than once.
func (k *KDC) Stop() {
	if !k.running() {
		return
	}
	_ = k.cmd.Process.Signal(syscall.SIGTERM) // fails only if the KDC has ended
	select {
	case <-k.exited:
	case <-time.After(5 * time.Second):
		_ = k.cmd.Process.Kill()
		<-k.exited
	}
}

// Trust makes the other realm trust this one, and maps hosts to the other realm in the krb5.conf of
// this realm's clients.
func (k *KDC) Trust(t testing.TB, other *KDC, hosts ...string) {
	t.Helper()
	principal := "krbtgt/" + other.Realm + "@" + k.Realm
	for _, kdc := range []*KDC{k, other} {
		kdc.AddPrincipal(t, principal, "trust")
	}
	maps.Copy(k.realms, other.realms)
	for _, host := range hosts {
		k.hosts[host] = other.Realm
	}
	k.configure(t)
}

// Log returns the log of the KDC so far. It is empty if the KDC has not written one.
func (k *KDC) Log() string {
	data, _ := os.ReadFile(k.logFile)
	return string(data)
}

// The types of requests.
const (
	AS  = "AS_REQ"  // for a TGT
	TGS = "TGS_REQ" // for a service, or a TGT to forward
)

// Requests returns the lines of the log about requests of a type that contain all words. A line
// about an issued ticket contains "ISSUE".
func (k *KDC) Requests(kind string, words ...string) []string {
	var lines []string
	for line := range strings.Lines(k.Log()) {
		missing := func(word string) bool { return !strings.Contains(line, word) }
		if strings.Contains(line, "): "+kind+" (") && !slices.ContainsFunc(words, missing) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

// Env returns the variables that make MIT's programs and sshd use the realm, with their replay
// cache in Dir.
func (k *KDC) Env() []string {
	return []string{"KRB5_CONFIG=" + k.Config, "KRB5RCACHEDIR=" + k.Dir}
}

// configure writes the configuration of the KDC and its clients.
func (k *KDC) configure(t testing.TB) {
	t.Helper()
	k.realms[k.Realm] = k.Address
	write := func(name, format string, args ...any) {
		must(t, os.WriteFile(filepath.Join(k.Dir, name), fmt.Appendf(nil, format, args...), 0o644))
	}
	defaults := fmt.Sprintf(`	default_realm = %s
	dns_lookup_kdc = false
	dns_lookup_realm = false
	dns_canonicalize_hostname = false
	rdns = false
	forwardable = true
	udp_preference_limit = 1
	default_ccache_name = FILE:%s/none
`, k.Realm, k.Dir)
	for _, line := range slices.Backward(k.opt.LibDefaults) {
		defaults = "\t" + line + "\n" + defaults
	}
	var realms, hosts, referrals strings.Builder
	for _, realm := range slices.Sorted(maps.Keys(k.realms)) {
		fmt.Fprintf(&realms, "\t%s = {\n\t\tkdc = %s\n", realm, k.realms[realm])
		if realm == k.Realm {
			for _, line := range k.opt.RealmLines {
				fmt.Fprintf(&realms, "\t\t%s\n", line)
			}
		}
		fmt.Fprint(&realms, "\t}\n")
	}
	for _, host := range slices.Sorted(maps.Keys(k.hosts)) {
		fmt.Fprintf(&hosts, "\t%s = %s\n", host, k.hosts[host])
	}
	for _, host := range slices.Sorted(maps.Keys(k.opt.Referrals)) {
		fmt.Fprintf(&referrals, "\t%s = %s\n", host, k.opt.Referrals[host])
	}
	const config = "[libdefaults]\n%s[realms]\n%s[domain_realm]\n%s"
	write("krb5.conf", config, defaults, realms.String(), hosts.String())
	write("kdc-krb5.conf", config+"[logging]\n\tkdc = FILE:%s\n", defaults, realms.String(), referrals.String(), k.logFile)
	write("kdc.conf", `[kdcdefaults]
	kdc_listen = %[1]s
	kdc_tcp_listen = %[1]s
[realms]
	%[2]s = {
		database_name = %[3]s/principal
		key_stash_file = %[3]s/stash
		max_life = 10h
		max_renewable_life = 7d
		supported_enctypes = %[4]s
		default_principal_flags = +preauth,+forwardable,+renewable
	}
`, k.Address, k.Realm, k.Dir, k.opt.Enctypes)
}

// env returns the environment of the KDC and its administration programs.
func (k *KDC) env() []string {
	return append(os.Environ(), "KRB5_CONFIG="+filepath.Join(k.Dir, "kdc-krb5.conf"), "KRB5_KDC_PROFILE="+filepath.Join(k.Dir, "kdc.conf"))
}

// run runs an administration program of the KDC.
func (k *KDC) run(t testing.TB, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(program(t, name), args...)
	cmd.Env = k.env()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
}

// freeAddress returns an address whose port was just free for TCP and UDP.
func freeAddress(t testing.TB) string {
	t.Helper()
	for range portTries {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		address := listener.Addr().String()
		packets, err := net.ListenPacket("udp", address)
		listener.Close()
		if err == nil {
			packets.Close()
			return address
		}
	}
	t.Fatal("no port is free for both TCP and UDP")
	return ""
}

// program returns the path of a program. The test fails if it is not installed.
func program(t testing.TB, name string) string {
	t.Helper()
	return sshdtest.Program(t, name, "/usr/sbin/"+name, "/usr/local/sbin/"+name, "/sbin/"+name)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
