package sshconfig

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"
)

// lookupTimeout bounds a look-up.
const lookupTimeout = 10 * time.Second

// canonicalizes reports whether CanonicalizeHostname is on.
func (p *pass) canonicalizes() bool {
	mode := p.one(keyCanonicalize)
	return mode == "yes" || mode == "always"
}

// setCanonicalDefaults sets the defaults of CanonicalizeHostname and related keywords. The second
// pass cannot change them.
func (p *pass) setCanonicalDefaults() {
	for _, d := range []struct {
		key   *keyword
		value string
	}{{keyCanonicalize, "no"}, {keyCanonicalMaxDots, "1"}, {keyCanonicalFallback, "yes"}} {
		if p.first(d.key) == nil {
			p.got[d.key.index] = []*line{{at: origin{file: fromDefault}, key: d.key, values: []string{d.value}, text: d.value}}
		}
	}
}

// canonical returns the canonical name of a host: an address in its usual spelling, or a name in
// lower case with a domain as CanonicalizeHostname demands.
func (p *pass) canonical(host string, proxied bool) (string, error) {
	if address, ok := numericAddress(host); ok && p.mayUse(address) {
		return address.String(), nil
	}
	host = strings.ToLower(host)
	direct := !proxied && !p.hasJump() && (p.one(keyProxyCommand) == "" || isNone(p.one(keyProxyCommand)))
	if !direct && p.one(keyCanonicalize) != "always" {
		return host, nil
	}
	if p.canonicalizes() {
		full, found, err := p.qualify(host)
		if found != "" || err != nil {
			return p.follow(full, found), err
		}
	}
	if len(p.cnameRules()) > 0 {
		if found, err := p.file.lookup(p.ctx, host); err == nil {
			return p.follow(host, found.name), nil
		}
	}
	return host, nil
}

// mayUse reports whether AddressFamily allows an address.
func (p *pass) mayUse(a netip.Addr) bool {
	switch p.one(keyAddressFamily) {
	case "inet":
		return a.Is4()
	case "inet6":
		return a.Is6()
	}
	return true
}

// qualify tries the domains of CanonicalDomains. name is the canonical name (CNAME) of the full
// name, empty if none exists.
func (p *pass) qualify(host string) (full, name string, err error) {
	if name, anchored := strings.CutSuffix(host, "."); anchored {
		if f, err := p.file.lookup(p.ctx, host); err == nil {
			return name, f.name, nil
		}
		return host, "", p.fallbackError(host)
	}
	most, err := strconv.Atoi(p.one(keyCanonicalMaxDots))
	if err != nil || strings.Count(host, ".") > most {
		return host, "", nil
	}
	if l := p.first(keyCanonicalDomains); l != nil {
		for _, domain := range l.values {
			if isNone(domain) {
				break
			}
			full := host + "." + domain
			if f, err := p.file.lookup(p.ctx, full); err == nil {
				return strings.TrimSuffix(full, "."), f.name, nil
			}
		}
	}
	return host, "", p.fallbackError(host)
}

// fallbackError returns the error for a host in none of the domains, nil if that is allowed.
func (p *pass) fallbackError(host string) error {
	if l := p.first(keyCanonicalFallback); l != nil && l.values[0] == "no" {
		return l.at.errorf("%s is not in any of the CanonicalDomains, and CanonicalizeFallbackLocal is no", host)
	}
	return nil
}

// cnameRules returns the rules of CanonicalizePermittedCNAMEs.
func (p *pass) cnameRules() []string {
	l := p.first(keyPermittedCNAMEs)
	if l == nil || isNone(l.values[0]) {
		return nil
	}
	return l.values
}

// follow returns the CNAME of a host if CanonicalizePermittedCNAMEs permits it, otherwise the host.
func (p *pass) follow(host, cname string) string {
	cname = strings.ToLower(strings.TrimSuffix(cname, "."))
	for _, rule := range p.cnameRules() {
		from, to, _ := strings.Cut(strings.ToLower(rule), ":")
		if matchesList(from, host) && matchesList(to, cname) {
			return cname
		}
	}
	return host
}

// found is the result of a look-up: the canonical name.
type found struct{ name string }

// lookup looks up a name, once for all callers.
func (f *File) lookup(ctx context.Context, name string) (found, error) {
	f.mu.Lock()
	if f.lookups == nil {
		f.lookups = make(map[string]func() (found, error))
	}
	answer := f.lookups[name]
	if answer == nil {
		answer = sync.OnceValues(func() (found, error) { return f.ask(ctx, name) })
		f.lookups[name] = answer
	}
	f.mu.Unlock()
	return answer()
}

func (f *File) ask(ctx context.Context, name string) (found, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	resolver := f.Resolver
	if resolver == nil {
		resolver = net.DefaultResolver
	}
	if addresses, err := resolver.LookupHost(ctx, name); err != nil || len(addresses) == 0 {
		return found{}, fmt.Errorf("%s has no address: %w", name, err)
	}
	if cname, err := resolver.LookupCNAME(ctx, name); err == nil {
		return found{cname}, nil
	}
	return found{name}, nil
}

// numericAddress parses an address in any spelling that C libraries accept (inet_aton), such as
// "127.1".
func numericAddress(s string) (a netip.Addr, ok bool) {
	if a, err := netip.ParseAddr(s); err == nil {
		return a, true
	}
	parts := strings.Split(s, ".")
	if len(parts) > 4 {
		return a, false
	}
	var address uint64
	for i, part := range parts {
		if part == "" || part[0] < '0' || part[0] > '9' || strings.Contains(part, "_") || !plainBase(part) {
			return a, false
		}
		n, err := strconv.ParseUint(part, 0, 32)
		bits := 8
		if i == len(parts)-1 {
			bits = 8 * (5 - len(parts))
		}
		if err != nil || n >= 1<<bits {
			return a, false
		}
		address = address<<bits | n
	}
	return netip.AddrFrom4([4]byte{byte(address >> 24), byte(address >> 16), byte(address >> 8), byte(address)}), true
}

// plainBase refuses binary and octal numbers in the syntax of Go.
func plainBase(part string) bool {
	return len(part) < 2 || part[0] != '0' || !strings.ContainsAny(part[1:2], "bBoO")
}
