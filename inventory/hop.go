package inventory

import (
	"fmt"
	"path/filepath"
	"strings"

	"fleetssh"
	"fleetssh/internal/account"
)

// parseHops reads the hops of ProxyJump, none for "none".
func parseHops(text string) ([]fleetssh.HostConfig, error) {
	const maxHops = 16
	if strings.EqualFold(text, "none") {
		return nil, nil
	}
	var hops []fleetssh.HostConfig
	for one := range strings.SplitSeq(text, ",") {
		given, err := fleetssh.ParseHost(strings.TrimPrefix(strings.TrimSpace(one), "ssh://"))
		if err != nil {
			return nil, err
		}
		if hops = append(hops, given); len(hops) > maxHops {
			return nil, fmt.Errorf("more than %d hops", maxHops)
		}
	}
	return hops, nil
}

// jump makes a host be reached through hops, which all hosts that name them so
// share. A hop has the keys and the patience of the base, and a user and a port of
// its own; a key that the base insists on is a suggestion to the hop. What is a secret
// for the host alone is not for the hop.
func (inv *Inventory) jump(config *fleetssh.HostConfig, text string) error {
	hops, err := parseHops(text)
	if err != nil {
		return err
	}
	config.Proxy = nil
	if len(hops) == 0 {
		return nil
	}
	inv.mu.Lock()
	defer inv.mu.Unlock()
	last := inv.hops[text]
	if last == nil {
		for _, given := range hops {
			hop := inv.hopBase()
			hop.Host, hop.User, hop.Port = given.Host, given.User, given.Port
			hop.Auth = hop.Auth.Suggested()
			if hop.Proxy = last; last != nil {
				hop.DialContext = nil // it is for the first
			}
			last = &hop
		}
		inv.hops[text] = last
	}
	config.Proxy, config.DialContext = last, nil
	return nil
}

// hopBase returns what hops start from: the base without what is for hosts alone.
func (inv *Inventory) hopBase() fleetssh.HostConfig {
	hop := inv.base
	hop.Alias, hop.Host, hop.User, hop.Port = "", "", "", 0
	hop.ForwardAgent, hop.ControlPath, hop.Auth.Password = false, "", ""
	if hop.Auth.GSSAPI != nil {
		g := *hop.Auth.GSSAPI
		g.Delegate, g.ServerIdentity = false, ""
		hop.Auth.GSSAPI = &g
	}
	return hop
}

// password returns the first line of a file that nobody else can read.
func (inv *Inventory) password(path string) (string, error) {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	if password, ok := inv.passwords[path]; ok {
		return password, nil
	}
	name := path
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		home, err := account.Home()
		if err != nil {
			return "", err
		}
		name = filepath.Join(home, rest)
	}
	password, err := account.ReadSecret(name)
	if err != nil {
		return "", err
	}
	inv.passwords[path] = password
	return password, nil
}
