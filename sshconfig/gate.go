package sshconfig

import (
	"cmp"
	"context"
	"os"
	"slices"
	"strings"

	"fleetssh"
)

// A gateCommand is a ProxyCommand that is "ssh -W %h:%p gate", with options that are all
// understood: it means the same as a hop, which all hosts can share, where ssh would be
// started for each host and log in to the gate each time.
type gateCommand struct {
	config  string   // what -F names; empty: the default files
	options []string // as lines, in the order in which ssh takes them: the first counts
	host    string
}

// parseGate reads a ProxyCommand. ok is false if it is anything else, or may be.
func parseGate(line string, t *tokens) (g gateCommand, ok bool) {
	words, ok := plainWords(strings.TrimSuffix(strings.TrimSpace(line), "2>/dev/null"))
	if !ok {
		return g, false
	}
	if len(words) > 0 && words[0] == "exec" {
		words = words[1:]
	}
	if len(words) < 2 || words[0] != "ssh" && words[0] != "/usr/bin/ssh" {
		return g, false
	}
	words = words[1:]
	target := ""
	for len(words) > 0 {
		word := words[0]
		words = words[1:]
		if len(word) < 2 || word[0] != '-' {
			if g.host != "" || word == "" || word == "-" {
				return g, false // a command for the gate
			}
			if word, err := expandPercent(word, t.few); err != nil || !g.destination(word) {
				return g, false
			}
			continue
		}
		// Letters without a value may stand together, as in -qT; the rest of a word
		// behind one with a value is that.
		for word = word[1:]; word != ""; {
			letter := word[:1]
			word = word[1:]
			if strings.Contains("aCNqTx", letter) {
				continue // it changes nothing about a channel to the target
			}
			if line := map[string]string{"4": "AddressFamily inet", "6": "AddressFamily inet6", "k": "GSSAPIDelegateCredentials no"}[letter]; line != "" {
				g.options = append(g.options, line)
				continue
			}
			value := word
			if word = ""; value == "" {
				if len(words) == 0 {
					return g, false
				}
				value, words = words[0], words[1:]
			}
			if letter == "W" {
				target = value
				continue
			}
			value, err := expandPercent(value, t.few)
			if err != nil || !g.option(letter, value) {
				return g, false
			}
		}
	}
	return g, g.host != "" && (target == "%h:%p" || target == "[%h]:%p")
}

// destination takes [user@]host, or a URI.
func (g *gateCommand) destination(word string) bool {
	hop, err := parseHop(word)
	if err != nil || strings.Contains(word, ":") && !strings.HasPrefix(word, "ssh://") {
		return false // ssh takes a colon for a part of the name
	}
	g.host = hop.host
	if hop.user != "" {
		g.options = append(g.options, "User "+hop.user)
	}
	if hop.port != 0 {
		g.options = append(g.options, "Port "+strings.TrimPrefix(hopName{port: hop.port}.String(), ":"))
	}
	return true
}

// option takes an option with a value.
func (g *gateCommand) option(letter, value string) bool {
	if value == "" || strings.ContainsAny(value, "\"'\\\n") {
		return false
	}
	keyword := map[string]string{"l": "User", "p": "Port", "i": "IdentityFile", "J": "ProxyJump"}[letter]
	switch {
	case keyword != "":
		g.options = append(g.options, keyword+` "`+value+`"`)
	case letter == "F":
		g.config = value
	case letter == "o":
		name, _ := cutKeyword(value)
		k := keywords[name]
		if k == nil || k.role == unsupported || slices.Contains(gateRefused, name) {
			return false
		}
		g.options = append(g.options, value)
	default:
		return false
	}
	return true
}

// gateRefused are keywords that make ssh do more than to carry bytes.
var gateRefused = []string{"controlmaster", "controlpersist", "forkafterauthentication", "permitlocalcommand", "addkeystoagent"}

// plainWords splits a line as a shell does. ok is false if the shell would do anything but
// that, and put the home directory for a leading "~/".
func plainWords(line string) (words []string, ok bool) {
	var b strings.Builder
	var quote byte
	begun := false
	end := func() {
		if begun {
			words = append(words, b.String())
		}
		b.Reset()
		begun = false
	}
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case quote != 0 && c == quote:
			quote = 0
		case quote == '"' && strings.IndexByte("$`\\!", c) >= 0:
			return nil, false
		case quote != 0:
			b.WriteByte(c)
		case c == ' ' || c == '\t':
			end()
		case c == '\'' || c == '"':
			quote, begun = c, true
		case c == '~' && !begun && strings.HasPrefix(line[i:], "~/") && os.Getenv("HOME") != "":
			b.WriteString(os.Getenv("HOME"))
			begun = true
		case c == '[' || c == ']': // [%h]:%p is no pattern of a file
			if !strings.HasPrefix(line[i:], "[%h]:%p") && !strings.HasPrefix(line[i:], "]:%p") {
				return nil, false
			}
			b.WriteByte(c)
			begun = true
		case strings.IndexByte("|&;<>()$`\\*?{}#~!\n", c) >= 0:
			return nil, false
		default:
			b.WriteByte(c)
			begun = true
		}
	}
	end()
	return words, quote == 0
}

// gate returns the hop that a ProxyCommand stands for, nil if it is no such command. The
// flags of the caller are not for it, as they would not be for the ssh that it names: only
// how long to wait and whom to ask is taken from Hops.
func (f *File) gate(ctx context.Context, s *Settings, line string, way []hopKey) (*fleetssh.HostConfig, error) {
	t := tokens{alias: s.Alias, host: s.HostName, user: s.User, port: s.Port}
	g, ok := parseGate(line, &t)
	if !ok || s.one(keyProxyUseFdpass) == "yes" {
		return nil, nil
	}
	file, err := f.other(g.config)
	if err != nil {
		return nil, err
	}
	key := strings.Join(append(g.options, g.host), "\x00")
	file.mu.Lock()
	gate := file.gates[key]
	file.mu.Unlock()
	if gate != nil {
		return gate, nil
	}
	step := hopKey{hopName: hopName{host: g.host}}
	if slices.Contains(way, step) || len(way) >= maxHops {
		return nil, ErrLoop
	}
	options := &unit{sections: []section{{}}}
	for _, text := range g.options {
		r := &reader{local: f.local}
		if err := r.line(options, text, origin{file: "ssh -W"}, true, 0); err != nil {
			return nil, err
		}
	}
	gs, err := file.resolve(request{ctx: ctx, alias: g.host, options: options})
	if err != nil {
		return nil, err
	}
	base := fleetssh.HostConfig{RetryDelay: f.Hops.RetryDelay}
	base.Auth.Ask = f.Hops.Auth.Ask
	config, err := file.apply(ctx, gs, base, append(slices.Clip(way), step))
	if err != nil {
		return nil, err
	}
	config.SendEnv = nil // no session is opened there
	config.ConnectTimeout = cmp.Or(config.ConnectTimeout, f.Hops.ConnectTimeout)
	config.Attempts = cmp.Or(config.Attempts, f.Hops.Attempts)
	file.mu.Lock()
	defer file.mu.Unlock()
	if first := file.gates[key]; first != nil {
		return first, nil // somebody else was faster
	}
	if file.gates == nil {
		file.gates = make(map[string]*fleetssh.HostConfig)
	}
	file.gates[key] = &config
	return &config, nil
}

// other returns the configuration that an ssh reads which is started with -F, or without.
func (f *File) other(config string) (*File, error) {
	if config == f.named {
		return f, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.others == nil {
		f.others = make(map[string]*File)
	}
	if other := f.others[config]; other != nil {
		return other, nil
	}
	var paths []string
	if config != "" {
		paths = []string{config}
	}
	other, err := f.local.load(paths)
	if err != nil {
		return nil, err
	}
	other.Hops, other.Resolver, other.Terminal = f.Hops, f.Resolver, f.Terminal
	other.others = map[string]*File{f.named: f}
	f.others[config] = other
	return other, nil
}
