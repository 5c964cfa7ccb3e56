package gss

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const defaultConfig = "/etc/krb5.conf"

// config gives access to the settings of krb5.conf. It does not change.
type config struct {
	*profile
	list     string // the list of files, as in KRB5_CONFIG
	resolver *net.Resolver
}

// readConfig reads a list of files as in KRB5_CONFIG. "" means the value of that variable, or
// /etc/krb5.conf if it is not set.
func readConfig(list string) (*config, error) {
	list = cmp.Or(list, os.Getenv("KRB5_CONFIG"), defaultConfig)
	p, err := readProfile(filepath.SplitList(list))
	if err != nil {
		return nil, err
	}
	return &config{p, list, net.DefaultResolver}, nil
}

// setting returns a setting of [libdefaults]. A subsection for the realm takes precedence.
func (c *config) setting(realm, name string) string {
	if realm != "" {
		if own := c.value("libdefaults", realm, name); own != "" {
			return own
		}
	}
	return c.value("libdefaults", name)
}

func (c *config) duration(realm, name string, byDefault time.Duration) time.Duration {
	if d, ok := parseDuration(c.setting(realm, name)); ok {
		return d
	}
	return byDefault
}

func (c *config) defaultRealm() string { return c.setting("", "default_realm") }

func (c *config) clockSkew() time.Duration { return c.duration("", "clockskew", 5*time.Minute) }

func (c *config) ticketLifetime(realm string) time.Duration {
	return c.duration(realm, "ticket_lifetime", 24*time.Hour)
}

func (c *config) renewLifetime(realm string) time.Duration {
	return c.duration(realm, "renew_lifetime", 0)
}

// forwardable reports whether to request forwardable TGTs. Unlike with kinit, which writes TGTs to
// a cache, the default is true.
func (c *config) forwardable(realm string) bool {
	return parseBool(c.setting(realm, "forwardable"), true)
}

// etypes returns the encryption types to request: those in the setting name that are permitted and
// supported.
func (c *config) etypes(name string) ([]int32, error) {
	permitted := defaultEtypes()
	if value := c.setting("", "permitted_enctypes"); value != "" {
		permitted = parseEtypes(words(value))
	}
	list := permitted
	if value := c.setting("", name); value != "" {
		list = slices.DeleteFunc(parseEtypes(words(value)), func(e int32) bool { return !slices.Contains(permitted, e) })
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s permits none of the supported encryption types, which are the AES types", c.list)
	}
	return list, nil
}

// maxDatagram returns the size above which a request is sent by TCP first.
func (c *config) maxDatagram() int {
	limit, err := strconv.Atoi(c.setting("", "udp_preference_limit"))
	if err != nil || limit < 0 {
		return 1465
	}
	return min(limit, 32700)
}

// realmOf returns the realm to which [domain_realm] maps a host, or "". It looks up the name of the
// host, then each parent domain with a leading dot and without.
func (c *config) realmOf(host string) string {
	for name := host; name != ""; {
		if realm := c.value("domain_realm", name); realm != "" {
			return realm
		}
		if rest, found := strings.CutPrefix(name, "."); found {
			name = rest
			continue
		}
		i := strings.IndexByte(name, '.')
		if i < 0 {
			break
		}
		name = name[i:]
	}
	return ""
}

// lookUpRealm looks up the realm of a host in DNS, if krb5.conf sets dns_lookup_realm.
func (c *config) lookUpRealm(ctx context.Context, host string) string {
	if !parseBool(c.setting("", "dns_lookup_realm"), false) {
		return ""
	}
	for name := host; strings.Contains(name, "."); _, name, _ = strings.Cut(name, ".") {
		texts, err := c.resolver.LookupTXT(ctx, "_kerberos."+name+".")
		if err == nil && len(texts) > 0 && texts[0] != "" {
			return printable(texts[0])
		}
	}
	return ""
}

// canonicalName returns the canonical name of a host in DNS if that is another name, unless
// krb5.conf turns dns_canonicalize_hostname off. It is used only for hosts whose given name the KDC
// does not know: true has the meaning of "fallback", so that forged DNS answers cannot replace a
// ticket for the given name. Addresses are not looked up, as with rdns = false.
func (c *config) canonicalName(ctx context.Context, host string) (string, bool) {
	if !parseBool(c.setting("", "dns_canonicalize_hostname"), true) {
		return "", false
	}
	name, err := c.resolver.LookupCNAME(ctx, host)
	if err != nil {
		return "", false
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	return name, name != host && name != ""
}

// address is the address of a KDC.
type address struct {
	hostPort string
	network  string // "tcp" or "udp", or "" for both
}

// maxKDCs limits how many KDCs of a realm are tried.
const maxKDCs = 16

// kdcs returns the addresses of the KDCs of a realm, from krb5.conf or, if there are none, from DNS
// (RFC 4120, section 7.2.3.2).
func (c *config) kdcs(ctx context.Context, realm string) ([]address, error) {
	var list []address
	values := c.values("realms", realm, "kdc")
	for _, value := range values {
		if a, ok := parseAddress(value); ok {
			list = append(list, a)
		}
	}
	switch {
	case len(list) > 0:
	case len(values) > 0:
		return nil, fmt.Errorf("none of the KDCs of %s in %s has a supported address", realm, c.list)
	case !parseBool(c.setting("", "dns_lookup_kdc"), true):
		return nil, fmt.Errorf("%s has no KDC for realm %s", c.list, realm)
	default:
		list = c.lookUpKDCs(ctx, realm)
		if len(list) == 0 {
			return nil, fmt.Errorf("neither %s nor DNS has a KDC for realm %s", c.list, realm)
		}
	}
	return list[:min(len(list), maxKDCs)], nil
}

// parseAddress parses the address of a KDC in krb5.conf: "host", "host:port", "[v6]:port" or
// "tcp/host:port". KDC proxies ("https://…") are not supported.
func parseAddress(value string) (address, bool) {
	fields := strings.Fields(value)
	if len(fields) == 0 || strings.Contains(fields[0], "://") {
		return address{}, false
	}
	a := address{hostPort: fields[0]}
	if network, rest, found := strings.Cut(a.hostPort, "/"); found {
		if network != "tcp" && network != "udp" {
			return address{}, false
		}
		a = address{rest, network}
	}
	if _, _, err := net.SplitHostPort(a.hostPort); err != nil {
		a.hostPort = net.JoinHostPort(strings.Trim(a.hostPort, "[]"), "88")
	}
	return a, true
}

func (c *config) lookUpKDCs(ctx context.Context, realm string) []address {
	var list []address
	for _, network := range []string{"udp", "tcp"} {
		_, records, err := c.resolver.LookupSRV(ctx, "kerberos", network, realm+".")
		if err != nil {
			continue
		}
		for _, r := range records {
			host := strings.TrimSuffix(r.Target, ".")
			if host != "" { // a target of "." means that there is no KDC (RFC 2782)
				list = append(list, address{net.JoinHostPort(host, strconv.Itoa(int(r.Port))), network})
			}
		}
	}
	return list
}

// cacheName returns the name of the default cache of the user.
func (c *config) cacheName() (string, error) {
	if name := os.Getenv("KRB5CCNAME"); name != "" {
		return name, nil
	}
	return expand(cmp.Or(c.setting("", "default_ccache_name"), "FILE:/tmp/krb5cc_%{uid}"))
}

// clientKeytab returns the name of the client keytab in the environment or in krb5.conf, or "".
func (c *config) clientKeytab() string {
	if name := os.Getenv("KRB5_CLIENT_KTNAME"); name != "" {
		return name
	}
	name, err := expand(c.setting("", "default_client_keytab_name"))
	if err != nil {
		return ""
	}
	return name
}

func (c *config) kcmSocket() string {
	return cmp.Or(c.setting("", "kcm_socket"), "/var/run/.heim_org.h5l.kcm-socket")
}

// expand replaces parameters such as %{uid} (krb5.conf(5), section PARAMETER EXPANSION).
func expand(name string) (string, error) {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(name, "%{")
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		parameter, after, closed := strings.Cut(rest, "}")
		if !closed {
			return "", fmt.Errorf("%%{%s has no closing brace", rest)
		}
		value, err := parameterValue(parameter)
		if err != nil {
			return "", err
		}
		b.WriteString(value)
		name = after
	}
}

func parameterValue(parameter string) (string, error) {
	switch parameter {
	case "uid":
		return strconv.Itoa(os.Getuid()), nil
	case "euid", "USERID":
		return strconv.Itoa(os.Geteuid()), nil
	case "username":
		u, err := user.LookupId(strconv.Itoa(os.Geteuid()))
		if err != nil {
			return "", err
		}
		return u.Username, nil
	case "TEMP":
		return strings.TrimSuffix(os.TempDir(), "/"), nil
	case "null":
		return "", nil
	}
	return "", fmt.Errorf("unknown parameter %%{%s}", parameter)
}
