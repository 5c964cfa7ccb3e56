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

// maxHops is the longest chain of hops, as in [fleetssh.HostConfig].
const maxHops = 16

// A hopName is a hop in ProxyJump: [user@]host[:port], or a URI.
type hopName struct {
	user, host string
	port       int // 0 if none is given
}

// String returns [user@]host[:port].
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

// hopKey identifies a hop. The same hop behind the same hop is one connection.
type hopKey struct {
	hopName
	via *fleetssh.HostConfig
}

// readJumps returns the value of ProxyJump in a normalized form.
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

// parseJumps parses a list of hops, in the order of connecting. Names may contain tokens.
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
			return hop, fmt.Errorf("unexpected %q after the brackets", after)
		}
	case strings.Count(s, ":") > 1:
		return hop, errors.New("an IPv6 address needs brackets")
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

// proxy returns the last hop of ProxyJump, nil if there is none. chain is the hops that are being
// resolved already.
func (f *File) proxy(ctx context.Context, s *Settings, chain []hopKey) (*fleetssh.HostConfig, error) {
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
		if last, err = f.hop(ctx, hopKey{name, last}, chain); err != nil {
			return nil, l.at.errorf("ProxyJump %s: %w", name.host, err)
		}
	}
	return last, nil
}

// hop returns the HostConfig of a hop, which all hosts share. Its settings come from the files
// like those of a host. The hop before it, if there is one, takes precedence over ProxyJump and
// ProxyCommand in the files.
func (f *File) hop(ctx context.Context, key hopKey, chain []hopKey) (*fleetssh.HostConfig, error) {
	f.mu.Lock()
	hop := f.hops[key]
	f.mu.Unlock()
	if hop != nil {
		return hop, nil
	}
	if slices.Contains(chain, key) || len(chain) >= maxHops {
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
	config, err := f.apply(ctx, s, base, append(slices.Clip(chain), key))
	if err != nil {
		return nil, err
	}
	config.Auth = config.Auth.Suggested()
	f.mu.Lock()
	defer f.mu.Unlock()
	if first := f.hops[key]; first != nil {
		return first, nil // another goroutine was faster
	}
	if f.hops == nil {
		f.hops = make(map[hopKey]*fleetssh.HostConfig)
	}
	f.hops[key] = &config
	return &config, nil
}

// Hop returns the configuration of a hop that was configured elsewhere, such as in an inventory:
// hop, with the settings of the files in all fields that are zero, like [File.Host]. It does the
// same for the hops before it. As for the hops of ProxyJump, the lines of [File.Options] do not
// apply. HostKeys and Auth.GSSAPI of the hop default to those of Hops.
//
// Hop returns the same pointer for the same hop, so that hosts that share a hop still share its
// connection. It returns nil for a nil hop.
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
		return first, nil // another goroutine was faster
	}
	if f.given == nil {
		f.given = make(map[*fleetssh.HostConfig]*fleetssh.HostConfig)
	}
	f.given[hop] = &config
	return &config, nil
}
