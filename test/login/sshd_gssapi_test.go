package login

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/kdctest"
	"fleetssh/internal/simfleet"
	"fleetssh/internal/sshdtest"
)

const kerberosPassword = "a Kerberos password"

// kerberos is a realm and a server in it.
type kerberos struct {
	*kdctest.KDC
	keytab string // of the service
	server *sshdtest.Server
	user   string
	host   fleetssh.HostConfig // logs in to the server with a key
}

// startKerberos starts a realm with the current user and a server in it.
func startKerberos(t testing.TB) *kerberos {
	t.Helper()
	k := &kerberos{KDC: kdctest.Start(t, kdctest.Options{}), user: sshdtest.CurrentUser(t)}
	k.AddPrincipal(t, k.user, kerberosPassword)
	k.keytab = k.AddService(t, "host/localhost")
	k.server, k.host = k.startServer(t, k.keytab)
	return k
}

// startServer starts another server of the realm, with a keytab. The server accepts tickets of the
// current user, and the key in the returned configuration, which has no ticket.
func (k *kerberos) startServer(t testing.TB, keytab string) (*sshdtest.Server, fleetssh.HostConfig) {
	t.Helper()
	s, host := fleettest.StartSSHD(t, sshdtest.Options{
		Config: []string{"GSSAPIAuthentication yes", "GSSAPIStrictAcceptorCheck no", "LogLevel DEBUG1"},
		Env:    append(k.Env(), "KRB5_KTNAME=FILE:"+keytab),
	})
	host.Host = "localhost"
	host.HostKeys = fleettest.Trust(t, fleettest.KnownLines(fmt.Sprintf("[localhost]:%d", s.Port), fleettest.KeysOf(s)...)...)
	return s, host
}

// tickets returns a host configuration whose only credentials are tickets from a source.
func (k *kerberos) tickets(g fleetssh.GSSAPI) fleetssh.HostConfig {
	g.Config = k.Config
	host := k.host
	host.Auth = fleetssh.Auth{GSSAPI: &g, NoAgent: true, NoDefaultKeys: true}
	return host
}

// cache returns a new credential cache with a ticket of the user.
func (k *kerberos) cache(t testing.TB, options ...string) string {
	t.Helper()
	cache := "FILE:" + filepath.Join(t.TempDir(), "cc")
	k.Kinit(t, cache, k.user, kerberosPassword, options...)
	return cache
}

func TestSSHDGSSAPI(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	k := startKerberos(t)
	keytab := filepath.Join(t.TempDir(), "keytab")
	k.Keytab(t, keytab, k.user)
	dir := "DIR:" + t.TempDir()
	k.AddPrincipal(t, "somebody", kerberosPassword)
	k.Kinit(t, dir, "somebody", kerberosPassword)
	k.Kinit(t, dir, k.user, kerberosPassword)
	k.Kswitch(t, dir, "somebody")
	for _, test := range []struct {
		name string
		from fleetssh.GSSAPI
	}{
		{"password", fleetssh.GSSAPI{ClientIdentity: k.user, Password: kerberosPassword}},
		{"keytab", fleetssh.GSSAPI{Keytab: keytab}},
		{"keytab and identity", fleetssh.GSSAPI{Keytab: keytab, ClientIdentity: k.user + "@" + k.Realm}},
		{"cache", fleetssh.GSSAPI{Cache: k.cache(t)}},
		{"one of several caches", fleetssh.GSSAPI{Cache: dir, ClientIdentity: k.user}},
		{"server identity", fleetssh.GSSAPI{Cache: k.cache(t), ServerIdentity: "localhost"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			host := k.tickets(test.from)
			c := fleettest.Dial(t, host)
			fleettest.Equal(t, "methods", strings.Join(c.Logins()[0].Methods, " "), "gssapi-with-mic")
			fleettest.Contains(t, fleettest.Output(t, c, "klist 2>&1; true"), "No credentials cache")
			k.tickets(test.from)
			delegating := test.from
			delegating.Delegate = true
			c = fleettest.Dial(t, k.tickets(delegating))
			fleettest.Contains(t, fleettest.Output(t, c, "klist -f"), "Default principal: "+k.user+"@"+k.Realm, "Flags: Ff")
			fleettest.Equal(t, "warnings", len(c.Logins()[0].Warnings), 0)
		})
	}
	t.Run("server identity of an address", func(t *testing.T) {
		host := k.tickets(fleetssh.GSSAPI{Cache: k.cache(t), ServerIdentity: "localhost"})
		host.Host, host.HostKeys = k.server.Host, fleettest.Trust(t, fleettest.KnownLines(k.server.Address(), fleettest.KeysOf(k.server)...)...)
		fleettest.Dial(t, host)
		host.Auth.GSSAPI.ServerIdentity = ""
		e := fleettest.DialFails[*fleetssh.AuthenticationError](t, host)
		fleettest.Contains(t, e.Error(), "127.0.0.1", "server identity")
	})
	k.server.Logged(t, 13, "Accepted gssapi-with-mic for "+k.user)
}

// A ticket logs in to the account of its own principal only. An sshd that runs as root serves
// several accounts.
func TestSSHDGSSAPIAccounts(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	k := startKerberos(t)
	account := k.user
	if os.Geteuid() == 0 {
		sshdtest.Accounts(t)
		account = sshdtest.Alice
		k.AddPrincipal(t, account, kerberosPassword)
	}
	k.AddPrincipal(t, "stranger", kerberosPassword)
	host := k.tickets(fleetssh.GSSAPI{ClientIdentity: account, Password: kerberosPassword, Delegate: true})
	host.User = account
	fleettest.Contains(t, fleettest.Output(t, fleettest.Dial(t, host), "id -un; klist -f"), account+"\n", "Flags: Ff")
	// A valid ticket of another principal is refused, and the next method works on the same
	// connection.
	wrong := k.tickets(fleetssh.GSSAPI{ClientIdentity: "stranger", Password: kerberosPassword})
	e := fleettest.DialFails[*fleetssh.AuthenticationError](t, wrong)
	fleettest.Contains(t, e.Error(), "tried gssapi-with-mic", "does not let stranger@"+k.Realm+" in as "+k.user)
	before := strings.Count(k.server.Log(), "Connection from")
	wrong.Auth.Signers = k.host.Auth.Signers
	c := fleettest.Dial(t, wrong)
	fleettest.Equal(t, "methods", strings.Join(c.Logins()[0].Methods, " "), "publickey")
	k.server.Logged(t, before+1, "Connection from")
}

// Delegated credentials log in to another host from the first one.
func TestSSHDGSSAPISecondHop(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	k := startKerberos(t)
	second, _ := k.startServer(t, k.keytab)
	known := filepath.Join(second.Dir, "known_hosts")
	lines := strings.Join(fleettest.KnownLines(fmt.Sprintf("[localhost]:%d", second.Port), fleettest.KeysOf(second)...), "\n")
	if err := os.WriteFile(known, []byte(lines+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	c := fleettest.Dial(t, k.tickets(fleetssh.GSSAPI{Cache: k.cache(t), Delegate: true}))
	line := fmt.Sprintf("KRB5_CONFIG=%s ssh -F none -o BatchMode=yes -o GSSAPIAuthentication=yes -o PreferredAuthentications=gssapi-with-mic -o UserKnownHostsFile=%s -p %d localhost echo there",
		k.Config, known, second.Port)
	fleettest.Equal(t, "output", fleettest.Output(t, c, line), "there\n")
	second.Logged(t, 1, "Accepted gssapi-with-mic for "+k.user)
}

// Tickets log in to the hop and to the hosts behind it without being delegated to the hop.
func TestSSHDGSSAPIThroughHops(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	k := startKerberos(t)
	hop := k.tickets(fleetssh.GSSAPI{Cache: k.cache(t)})
	target, host := k.startServer(t, k.keytab)
	host.Auth = hop.Auth
	host.Proxy = &hop
	p := fleettest.NewFleet(t, host, host, host, host, host)
	if err := p.Connect(fleettest.Soon(t)); err != nil {
		t.Fatal(err)
	}
	k.server.Logged(t, 1, "Accepted gssapi-with-mic")
	target.Logged(t, 5, "Accepted gssapi-with-mic")
	fleettest.Equal(t, "requests", len(k.Requests(kdctest.TGS, "ISSUE", "host/localhost")), 1)
}

// If the host refuses a ticket, the client tries the other methods on a second connection.
func TestSSHDGSSAPIRefused(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	k := startKerberos(t)
	wrong, host := k.startServer(t, k.WrongKeytab(t, "host/localhost"))
	key := host.Auth
	only := fleetssh.Auth{NoAgent: true, NoDefaultKeys: true}
	only.GSSAPI = &fleetssh.GSSAPI{Config: k.Config, Cache: k.cache(t)}
	host.Auth = only
	e := fleettest.DialFails[*fleetssh.AuthenticationError](t, host)
	fleettest.Contains(t, e.Error(), "tried gssapi-with-mic", "host/localhost@"+k.Realm, "keytab")
	host.Auth.Signers = key.Signers
	before := strings.Count(wrong.Log(), "Connection from")
	c := fleettest.Dial(t, host)
	fleettest.Equal(t, "methods", strings.Join(c.Logins()[0].Methods, " "), "publickey")
	fleettest.Equal(t, "output", fleettest.Output(t, c, "echo in"), "in\n")
	wrong.Logged(t, before+2, "Connection from") // one with the ticket, one without

	t.Run("password", func(t *testing.T) {
		password := sshdtest.Accounts(t)
		host := host
		host.User, host.Auth = sshdtest.Alice, only
		host.Auth.Password = password
		fleettest.Equal(t, "output", fleettest.Output(t, fleettest.Dial(t, host), "id -un"), sshdtest.Alice+"\n")
	})
	t.Run("many at once", func(t *testing.T) {
		p := fleettest.NewFleet(t, slices.Repeat([]fleetssh.HostConfig{host}, 20)...)
		if err := p.Connect(fleettest.Soon(t)); err != nil {
			t.Fatal(err)
		}
	})
}

// The error names what is wrong with the ticket and what to do, and the client tries the next
// method on the same connection.
func TestSSHDGSSAPINoTicket(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	k := startKerberos(t)
	stopped := kdctest.Start(t, kdctest.Options{})
	stopped.AddPrincipal(t, k.user, kerberosPassword)
	stoppedCache := "FILE:" + filepath.Join(t.TempDir(), "cc")
	stopped.Kinit(t, stoppedCache, k.user, kerberosPassword)
	stopped.Stop()
	expired := k.cache(t, "-l", "1s")
	sshdtest.Eventually(t, fleettest.Patience, "the ticket to expire", func() bool {
		return exec.Command("klist", "-s", expired).Run() != nil
	})
	for _, test := range []struct {
		name  string
		from  fleetssh.GSSAPI
		wants []string
	}{
		{"no ticket", fleetssh.GSSAPI{Cache: "FILE:" + filepath.Join(t.TempDir(), "none")}, []string{"run kinit"}},
		{"expired", fleetssh.GSSAPI{Cache: expired}, []string{"expired", "kinit", k.user + "@" + k.Realm}},
		{"unknown service", fleetssh.GSSAPI{Cache: k.cache(t), ServerIdentity: "nosuch.fleet.test"}, []string{"host/nosuch.fleet.test@" + k.Realm}},
		{"unknown identity", fleetssh.GSSAPI{Cache: k.cache(t), ClientIdentity: "nobody"}, []string{"nobody@" + k.Realm}},
		{"unknown principal", fleetssh.GSSAPI{Password: "x", ClientIdentity: "nobody"}, []string{"nobody@" + k.Realm}},
		{"wrong password", fleetssh.GSSAPI{Password: "wr0ng", ClientIdentity: k.user}, []string{k.user + "@" + k.Realm, "password"}},
		{"no KDC", fleetssh.GSSAPI{Cache: stoppedCache, Config: stopped.Config}, []string{stopped.Address}},
		{"no keytab", fleetssh.GSSAPI{Keytab: "/nonexistent/keytab"}, []string{"/nonexistent/keytab"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			host := k.tickets(test.from)
			if test.from.Config != "" {
				host.Auth.GSSAPI.Config = test.from.Config
			}
			e := fleettest.DialFails[*fleetssh.AuthenticationError](t, host)
			fleettest.Contains(t, e.Error(), test.wants...)
			if strings.Contains(e.Error(), "wr0ng") {
				t.Error("the error contains the password")
			}
			before := strings.Count(k.server.Log(), "Connection from")
			host.Auth.Signers = k.host.Auth.Signers
			fleettest.Dial(t, host)
			k.server.Logged(t, before+1, "Connection from")
		})
	}
}

// With IfTicket and without a ticket, the client neither tries GSS-API nor mentions it in the
// error.
func TestSSHDGSSAPIIfTicket(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	k := startKerberos(t)
	e := fleettest.DialFails[*fleetssh.AuthenticationError](t, k.tickets(fleetssh.GSSAPI{IfTicket: true, Cache: "FILE:" + filepath.Join(t.TempDir(), "none")}))
	if strings.Contains(e.Error(), "kinit") || len(e.Tried) > 0 {
		t.Error(e)
	}
	fleettest.Dial(t, k.tickets(fleetssh.GSSAPI{IfTicket: true, Cache: k.cache(t)}))
}

// A ticket that is not forwardable logs in, and a warning says that it was not delegated.
func TestSSHDGSSAPINotForwardable(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	k := startKerberos(t)
	c := fleettest.Dial(t, k.tickets(fleetssh.GSSAPI{Cache: k.cache(t, "-F"), Delegate: true}))
	fleettest.Contains(t, fleettest.Output(t, c, "klist 2>&1; true"), "No credentials cache")
	warnings := c.Logins()[0].Warnings
	fleettest.Equal(t, "warnings", len(warnings), 1)
	fleettest.Contains(t, warnings[0], "forwardable", "kinit -f")
}

// Thirty logins at once make one request of each kind to the KDC.
func TestSSHDGSSAPIManyAtOnce(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	k := startKerberos(t)
	host := k.tickets(fleetssh.GSSAPI{ClientIdentity: k.user, Password: kerberosPassword})
	p := fleettest.NewFleet(t, slices.Repeat([]fleetssh.HostConfig{host}, 30)...)
	for range 2 {
		if _, err := p.RunCommand(fleettest.Soon(t), fleetssh.Command{Line: "true"}); err != nil {
			t.Fatal(err)
		}
		if err := p.Join(fleettest.Soon(t), nil); err != nil {
			t.Fatal(err)
		}
	}
	fleettest.Equal(t, "requests for a TGT", len(k.Requests(kdctest.AS, "ISSUE")), 1)
	fleettest.Equal(t, "requests for the service", len(k.Requests(kdctest.TGS, "ISSUE")), 1)
	k.server.Logged(t, 30, "Accepted gssapi-with-mic")
}

// garbageAcceptor is a GSS-API acceptor that answers with an arbitrary token.
type garbageAcceptor struct{ token []byte }

func (a garbageAcceptor) AcceptSecContext([]byte) ([]byte, string, bool, error) {
	return a.token, "", true, nil
}
func (garbageAcceptor) VerifyMIC([]byte, []byte) error { return errors.New("never") }
func (garbageAcceptor) DeleteSecContext() error        { return nil }

// A hostile server can make the login with a ticket fail, but not the methods that follow.
func TestSSHDGSSAPIHostileServer(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	k := startKerberos(t)
	g := &fleetssh.GSSAPI{Config: k.Config, Cache: k.cache(t), ServerIdentity: "localhost"}
	oid := []byte{0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x02}
	framed := func(body ...byte) []byte {
		body = slices.Concat(oid, []byte{0x02, 0x00}, body)
		return append([]byte{0x60, byte(len(body))}, body...)
	}
	for name, token := range map[string][]byte{
		"one byte":         {0x60},
		"no mechanism":     {0x60, 0x00},
		"only the frame":   framed(),
		"not ASN.1":        framed(0xff, 0xff, 0xff),
		"huge length":      {0x60, 0x84, 0xff, 0xff, 0xff, 0xff, 0x06},
		"short ciphertext": framed(0x6f, 0x18, 0x30, 0x16, 0xa0, 0x03, 0x02, 0x01, 0x05, 0xa1, 0x03, 0x02, 0x01, 0x0f, 0xa2, 0x0a, 0x30, 0x08, 0xa0, 0x03, 0x02, 0x01, 0x12, 0xa2, 0x01, 0x04),
		"much":             append(framed(0x6f), make([]byte, 30<<10)...),
	} {
		t.Run(name, func(t *testing.T) {
			s := fleettest.NewServer(t, func(h *simfleet.Host) {
				h.GSSAPI = &ssh.GSSAPIWithMICConfig{
					AllowLogin: func(ssh.ConnMetadata, string) (*ssh.Permissions, error) { return nil, nil },
					Server:     garbageAcceptor{token},
				}
			})
			host := s.Config()
			signers := host.Auth.Signers
			host.Auth = fleetssh.Auth{GSSAPI: g, NoAgent: true, NoDefaultKeys: true}
			_, err := fleetssh.Dial(fleettest.Soon(t), host)
			fleettest.Contains(t, fleettest.AsError[*fleetssh.AuthenticationError](t, err).Error(), "gssapi-with-mic", "host/localhost@"+k.Realm)
			host.Auth.Signers = signers
			c, err := fleetssh.Dial(fleettest.Soon(t), host)
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
		})
	}
}

func TestGSSAPIConfig(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		g     fleetssh.GSSAPI
		field string
	}{
		{fleetssh.GSSAPI{Password: "s3cret"}, "ClientIdentity"},
		{fleetssh.GSSAPI{Password: "s3cret", ClientIdentity: "a", Keytab: "f"}, "Password"},
		{fleetssh.GSSAPI{Cache: "FILE:/x", Keytab: "f"}, "Cache"},
	} {
		_, err := fleetssh.Dial(t.Context(), fleetssh.HostConfig{Host: "a", Auth: fleetssh.Auth{GSSAPI: &test.g}})
		if e := fleettest.AsError[*fleetssh.ConfigError](t, err); e.Field != "HostConfig.Auth.GSSAPI."+test.field {
			t.Error(e)
		}
	}
}
