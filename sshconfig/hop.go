package sshconfig

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"fleetssh"
)

// maxHops is how many hops may lead to one another, as in [fleetssh.HostConfig].
const maxHops = 16

// A hopName is how ProxyJump names a hop: [user@]host[:port], or as a URI.
type hopName struct {
	user, host string
	port       int // 0 if none is named
}

// String writes the name as [user@]host[:port].
func (h hopName) String() string {
	s := h.host
	if strings.Contains(s, ":") {
		s = "[" + s + "]"
	}
	if h.port != 0 {
		s += ":" + strconv.Itoa(h.port)
	}
	if h.user != "" {
		s = h.user + "@" + s
	}
	return s
}

// hopKey tells hops apart: the same hop by the same way is one connection.
type hopKey struct {
	hopName
	via *fleetssh.HostConfig
}

// readJumps returns the value of ProxyJump with all hops written in one way.
func readJumps(text string) (string, error) {
	if isNone(text) {
		return "none", nil
	}
	hops, err := parseJumps(text)
	if err != nil {
		return "", err
	}
	names := make([]string, len(hops))
	for i, hop := range hops {
		names[i] = hop.String()
	}
	return strings.Join(names, ","), nil
}

// parseJumps reads a list of hops, the first to connect to first. Names may hold
// tokens.
func parseJumps(text string) ([]hopName, error) {
	var hops []hopName
	for name := range strings.SplitSeq(text, ",") {
		hop, err := parseHop(name)
		if err != nil {
			return nil, fmt.Errorf("hop %q: %w", name, err)
		}
		hops = append(hops, hop)
	}
	if len(hops) > maxHops {
		return nil, fmt.Errorf("more than %d hops", maxHops)
	}
	return hops, nil
}

func parseHop(s string) (hop hopName, err error) {
	if uri, ok := strings.CutPrefix(s, "ssh://"); ok {
		s = strings.TrimSuffix(uri, "/")
	}
	if at := strings.LastIndexByte(s, '@'); at >= 0 {
		hop.user, s = s[:at], s[at+1:]
		if err := checkUser(hop.user); err != nil {
			return hop, err
		}
	}
	var name, port string
	var hasPort bool
	switch inner, bracket := strings.CutPrefix(s, "["); {
	case bracket:
		var after string
		var closed bool
		if name, after, closed = strings.Cut(inner, "]"); !closed {
			return hop, errors.New(`a "]" is missing`)
		}
		if port, hasPort = strings.CutPrefix(after, ":"); !hasPort && after != "" {
			return hop, fmt.Errorf("%q behind the brackets", after)
		}
	case strings.Count(s, ":") > 1:
		return hop, errors.New("an IPv6 address stands in brackets")
	default:
		name, port, hasPort = strings.Cut(s, ":")
	}
	hop.host = name
	if hasPort {
		if hop.port, err = parsePort(port); err != nil {
			return hop, err
		}
	}
	return hop, checkHostName(name)
}

// checkLoop refuses a host that is its own last hop, as ssh does.
func (s *Settings) checkLoop() error {
	l := s.first(keyProxyJump)
	if l == nil || l.at.file == fromCaller || isNone(l.values[0]) {
		return nil
	}
	hops, err := parseJumps(l.values[0])
	if err != nil {
		return l.at.errorf("ProxyJump: %w", err)
	}
	last := hops[len(hops)-1]
	if last.host == s.HostName && (last.port == s.Port || last.port == 0 && s.Port == 22) && (last.user == "" || last.user == s.User) {
		return l.at.errorf("ProxyJump %s: %w", last, ErrLoop)
	}
	return nil
}

// proxy returns the last hop on the way to a host, nil if there is none. way are the
// hops that are being looked up already.
func (f *File) proxy(ctx context.Context, s *Settings, way []hopKey) (*fleetssh.HostConfig, error) {
	l := s.first(keyProxyJump)
	if l == nil || isNone(l.values[0]) {
		return nil, nil
	}
	names, err := parseJumps(l.values[0])
	if err != nil {
		return nil, l.at.errorf("ProxyJump: %w", err)
	}
	var last *fleetssh.HostConfig
	for _, name := range names {
		if last, err = f.hop(ctx, hopKey{name, last}, way); err != nil {
			return nil, l.at.errorf("ProxyJump %s: %w", name.host, err)
		}
	}
	return last, nil
}

// hop returns the one HostConfig of a hop. Its name is looked up in the files as that
// of a host is; the hop before it, if there is one, takes the place of what they say
// about the way to it.
func (f *File) hop(ctx context.Context, key hopKey, way []hopKey) (*fleetssh.HostConfig, error) {
	f.mu.Lock()
	hop := f.hops[key]
	f.mu.Unlock()
	if hop != nil {
		return hop, nil
	}
	if slices.Contains(way, key) || len(way) >= maxHops {
		return nil, ErrLoop
	}
	r := request{ctx: ctx, alias: key.host, user: key.user, port: key.port, withoutOptions: true}
	if key.via != nil {
		r.jump = strings.ReplaceAll(hopName{host: key.via.Host}.String(), "%", "%%")
	}
	s, err := f.resolve(r)
	if err != nil {
		return nil, err
	}
	base := f.Hops
	base.Host, base.Alias, base.HostKeyAlias = "", "", ""
	base.User, base.Port, base.ControlPath, base.ForwardAgent = key.user, key.port, "", false
	base.Proxy, base.DialContext = key.via, nil
	config, err := f.apply(ctx, s, base, append(slices.Clip(way), key))
	if err != nil {
		return nil, err
	}
	config.Auth = config.Auth.Suggested()
	f.mu.Lock()
	defer f.mu.Unlock()
	if first := f.hops[key]; first != nil {
		return first, nil // somebody else was faster
	}
	if f.hops == nil {
		f.hops = make(map[hopKey]*fleetssh.HostConfig)
	}
	f.hops[key] = &config
	return &config, nil
}

// Hop returns a hop that was named elsewhere, in an inventory, with the settings for its name
// applied over it, and over those that lead to it: what Host does, but as for the hops of
// ProxyJump, without the lines of [File.Options]. Whose keys to trust, and tickets, are those of
// [File.Hops] where the hop has none. The same pointer has the same result, so that
// the connection of a hop that hosts share stays shared. A nil hop has a nil result.
func (f *File) Hop(ctx context.Context, hop *fleetssh.HostConfig) (*fleetssh.HostConfig, error) {
	if hop == nil {
		return nil, nil
	}
	f.mu.Lock()
	done := f.given[hop]
	f.mu.Unlock()
	if done != nil {
		return done, nil
	}
	config := *hop
	if config.HostKeys == nil {
		config.HostKeys = f.Hops.HostKeys
	}
	if config.Auth.GSSAPI == nil {
		config.Auth.GSSAPI = f.Hops.Auth.GSSAPI
	}
	var err error
	if config.Proxy, err = f.Hop(ctx, hop.Proxy); err != nil {
		return nil, err
	}
	s, err := f.resolve(request{
		ctx: ctx, alias: hop.Host, user: hop.User, port: hop.Port, hostKeyAlias: hop.HostKeyAlias,
		proxied: hop.Proxy != nil || hop.DialContext != nil, withoutOptions: true,
	})
	if err != nil {
		return nil, err
	}
	if config, err = f.apply(ctx, s, config, nil); err != nil {
		return nil, err
	}
	config.Auth = config.Auth.Suggested()
	f.mu.Lock()
	defer f.mu.Unlock()
	if first := f.given[hop]; first != nil {
		return first, nil // somebody else was faster
	}
	if f.given == nil {
		f.given = make(map[*fleetssh.HostConfig]*fleetssh.HostConfig)
	}
	f.given[hop] = &config
	return &config, nil
}
