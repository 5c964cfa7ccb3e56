package sshconfig

import (
	"cmp"
	"context"
	"net"
	"os"
	"slices"
	"strings"

	"fleetssh"
)

// An sshCommand is a ProxyCommand of the form "ssh -W %h:%p HOP" whose options are all understood.
// It means the same as a hop of ProxyJump: hosts can share one connection to the hop, instead of
// an ssh process and a login for each host.
type sshCommand struct {
	config  string   // the argument of -F; empty: the default files
	options []string // as lines, in ssh's order of precedence: the first wins
	host    string
}

// parseSSHCommand parses a ProxyCommand. ok is false unless it is certainly an sshCommand.
func parseSSHCommand(line string, t *tokens) (g sshCommand, ok bool) {
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
				return g, false // a command to run on the hop
			}
			if word, err := expandPercent(word, t.basic); err != nil || !g.destination(word) {
				return g, false
			}
			continue
		}
		// Options without a value can be combined, as in -qT. The rest of a word after
		// an option with a value is the value.
		for word = word[1:]; word != ""; {
			letter := word[:1]
			word = word[1:]
			if strings.Contains("aCNqTx", letter) {
				continue // it does not affect a channel to the target
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
			value, err := expandPercent(value, t.basic)
			if err != nil || !g.option(letter, value) {
				return g, false
			}
		}
	}
	return g, g.host != "" && (target == "%h:%p" || target == "[%h]:%p")
}

// destination parses [user@]host, or a URI.
func (g *sshCommand) destination(word string) bool {
	hop, err := parseHop(word)
	if err != nil || strings.Contains(word, ":") && !strings.HasPrefix(word, "ssh://") {
		return false // for ssh, a colon is part of the name
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

// option parses an option with a value.
func (g *sshCommand) option(letter, value string) bool {
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
		if k == nil || k.role == unsupported || slices.Contains(refusedKeywords, name) {
			return false
		}
		g.options = append(g.options, value)
	default:
		return false
	}
	return true
}

// refusedKeywords are keywords that make ssh do more than carry bytes.
var refusedKeywords = []string{"controlmaster", "controlpersist", "forkafterauthentication", "permitlocalcommand", "addkeystoagent"}

// plainWords splits a line as a shell does, and expands a leading "~/". ok is false if a shell
// would do anything else with the line.
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
		case c == '[' || c == ']': // [%h]:%p is not a file name pattern
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

// commandHop returns the hop that a ProxyCommand means, nil if it is not an sshCommand. As for the
// ssh that the command would start, Options and Hops do not apply, except timeouts and Auth.Ask of
// Hops.
func (f *File) commandHop(ctx context.Context, s *Settings, line string, chain []hopKey) (*fleetssh.HostConfig, error) {
	t := tokens{alias: s.Alias, host: s.HostName, user: s.User, port: s.Port}
	g, ok := parseSSHCommand(line, &t)
	if !ok || s.one(keyProxyUseFdpass) == "yes" {
		return nil, nil
	}
	file, err := f.other(g.config)
	if err != nil {
		return nil, err
	}
	key := strings.Join(append(g.options, g.host), "\x00")
	file.mu.Lock()
	hop := file.commandHops[key]
	file.mu.Unlock()
	if hop != nil {
		return hop, nil
	}
	step := hopKey{hopName: hopName{host: g.host}}
	if slices.Contains(chain, step) || len(chain) >= maxHops {
		return nil, ErrLoop
	}
	options := &parsedFile{sections: []section{{}}}
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
	config, err := file.apply(ctx, gs, base, append(slices.Clip(chain), step))
	if err != nil {
		return nil, err
	}
	config.SendEnv = nil // no session is opened on the hop
	config.ConnectTimeout = cmp.Or(config.ConnectTimeout, f.Hops.ConnectTimeout)
	config.Attempts = cmp.Or(config.Attempts, f.Hops.Attempts)
	file.mu.Lock()
	defer file.mu.Unlock()
	if first := file.commandHops[key]; first != nil {
		return first, nil // another goroutine was faster
	}
	if file.commandHops == nil {
		file.commandHops = make(map[string]*fleetssh.HostConfig)
	}
	file.commandHops[key] = &config
	return &config, nil
}

// other returns the configuration that ssh reads with a given argument of -F.
func (f *File) other(config string) (*File, error) {
	if config == f.named {
		return f, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.otherFiles == nil {
		f.otherFiles = make(map[string]*File)
	}
	if other := f.otherFiles[config]; other != nil {
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
	other.otherFiles = map[string]*File{f.named: f}
	f.otherFiles[config] = other
	return other, nil
}

// proxyCommand returns a DialContext function that runs a ProxyCommand.
func (f *File) proxyCommand(s *Settings, line string) (func(context.Context, string, string) (net.Conn, error), error) {
	known := tokens{alias: "n", host: "h", user: "r"}
	if _, err := expandPercent(line, known.basic); err != nil {
		return nil, err
	}
	return fleetssh.DialProxyCommand(fleetssh.ProxyCommand{
		Line: line, User: s.User, Alias: s.Alias, UseFdpass: s.one(keyProxyUseFdpass) == "yes", Terminal: f.Terminal,
	})
}
