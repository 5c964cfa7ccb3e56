package dial

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/algorithms"
	"fleetssh/internal/identity"
	"fleetssh/internal/sanitize"
)

// What ssh -v shows is logged at the debug level: what is offered to a host, what the host says, and
// when. The records have no secrets: neither passwords and passphrases nor answers of the user.

// traces reports whether debug records are logged. It guards what would cost something otherwise.
func (d *Dialer) traces() bool { return d.log.Enabled(context.Background(), slog.LevelDebug) }

// traceAddresses logs the addresses of a host.
func (a *attempt) traceAddresses(addrs []netip.AddrPort) {
	if !a.d.traces() {
		return
	}
	texts := make([]string, len(addrs))
	for i, addr := range addrs {
		texts[i] = addr.String()
	}
	a.d.debug("connecting", a.host, "addresses", texts)
}

// traceOffer logs the algorithms that the client offers.
func (a *attempt) traceOffer(config *ssh.ClientConfig) {
	if a.d.traces() {
		a.d.debug("the client offers", a.host, "version", clientVersion, "key_exchange", config.KeyExchanges,
			"host_key", config.HostKeyAlgorithms, "cipher", config.Ciphers, "mac", config.MACs)
	}
}

// traceHost logs what the host has said before its key, once for each connection. It must not be called
// before the version exchange is done, or has failed.
func (a *attempt) traceHost() {
	if a.heard || !a.d.traces() {
		return
	}
	a.heard = true
	if text := sanitize.Line(a.greeting.Text()); text != "" {
		a.d.debug("the host says before SSH begins", a.host, "text", text)
	}
	version := a.greeting.Version()
	if version == "" {
		return
	}
	offer := a.greeting.Offer().Algorithms()
	a.d.debug("the host offers", a.host, "version", version, "key_exchange", offer.KeyExchanges,
		"host_key", offer.HostKeys, "cipher", offer.Ciphers, "mac", offer.MACs)
}

// traceHostKey logs the key of the host, and why it is trusted or not.
func (a *attempt) traceHostKey(key ssh.PublicKey, err error) {
	if !a.d.traces() {
		return
	}
	shown := keyText(key)
	if cert, ok := key.(*ssh.Certificate); ok {
		shown += ", certified by " + keyText(cert.SignatureKey)
	}
	switch {
	case errors.Is(err, errScanned):
		a.d.debug("the host shows its key", a.host, "key", shown)
		return
	case err != nil:
		a.d.debug("the host key is not trusted", a.host, "key", shown, "error", a.d.public(err))
		return
	}
	var known []string
	if keys := &a.host.HostKeys; keys.Files != nil {
		listed, authorities := keys.Files.DB.Lookup(keys.Name, keys.Port)
		for _, k := range slices.Concat(listed, authorities) {
			if k.Fingerprint == ssh.FingerprintSHA256(algorithms.PlainKey(key)) || len(authorities) > 0 {
				known = append(known, k.Place())
			}
		}
	}
	a.d.debug("the host key is trusted", a.host, "key", shown, "known", known)
}

// keyText returns a key as ssh-keygen -l does.
func keyText(key ssh.PublicKey) string {
	key = algorithms.PlainKey(key)
	return key.Type() + " " + ssh.FingerprintSHA256(key)
}

// traceKeysExchanged logs the algorithms in use, and the methods that the host allows, before the first
// offer.
func (a *authenticator) traceKeysExchanged(c *ssh.ClientAuthContext) {
	if !a.d.traces() || a.tries > 0 || a.partial > 0 {
		return
	}
	n := &c.Algorithms
	args := []any{"key_exchange", n.KeyExchange, "host_key", n.HostKey, "cipher", bothWays(n.Write.Cipher, n.Read.Cipher)}
	if n.Write.MAC+n.Read.MAC != "" {
		args = append(args, "mac", bothWays(n.Write.MAC, n.Read.MAC))
	}
	a.d.debug("keys are exchanged", a.host, args...)
	a.d.debug("logging in", a.host, "user", a.host.User, "allowed", sanitize.List(c.AllowedMethods))
}

// bothWays returns the algorithms for what is written and for what is read.
func bothWays(write, read string) string {
	if write == read {
		return write
	}
	return write + " out, " + read + " in"
}

// traceKeys logs the keys that may be offered, in their order.
func (a *authenticator) traceKeys() {
	if !a.d.traces() {
		return
	}
	var keys []string
	for i := range a.keys {
		keys = append(keys, identityText(a.keys[i].Identity))
	}
	a.d.debug("keys to offer", a.host, "keys", keys)
	for _, note := range a.creds.Notes() {
		a.d.debug("a key is left out", a.host, "error", a.d.public(keyFileFailure(a.host.Name, note)))
	}
}

// identityText returns a key to log in with, and where it is from.
func identityText(id *identity.Identity) string {
	if id.Signer == nil {
		return "encrypted, from " + id.Source
	}
	key := id.Signer.PublicKey()
	return key.Type() + " " + ssh.FingerprintSHA256(algorithms.PlainKey(key)) + " from " + id.Source
}

// traceMethod logs what is offered next.
func (a *authenticator) traceMethod(method string) {
	if !a.d.traces() {
		return
	}
	args := []any{"method", method}
	if method == "publickey" && len(a.shown) > 0 {
		args = append(args, "key", identityText(a.shown[len(a.shown)-1]))
	}
	a.d.debug("offering", a.host, args...)
}

// traceVerdict logs the answer of the host to the last offer. allowed are the methods that remain.
func (a *authenticator) traceVerdict(allowed []string, accepted bool) {
	if !a.d.traces() || len(a.tried) == 0 {
		return
	}
	text := "refused"
	if accepted {
		text = "accepted, and the host wants more"
	}
	a.d.debug(text, a.host, "method", a.tried[len(a.tried)-1], "allowed", sanitize.List(allowed))
}

// traceQuestions logs the questions of the host, not the answers.
func (a *authenticator) traceQuestions(instruction string, prompts []string) {
	if !a.d.traces() {
		return
	}
	args := []any{"questions", fmt.Sprint(len(prompts))}
	if instruction != "" {
		args = append(args, "instruction", sanitize.Line(instruction))
	}
	for _, prompt := range prompts {
		args = append(args, "question", sanitize.Line(prompt))
	}
	a.d.debug("the host asks", a.host, args...)
}

// traceConnected logs a connection that is logged in, and how long its phases took.
func (d *Dialer) traceConnected(host *Config, login *Login, took time.Duration) {
	if !d.traces() {
		return
	}
	if login.Banner != "" {
		d.debug("the host shows a banner", host, "text", login.Banner)
	}
	args := []any{"attempts", login.Timing.Attempts, "took", took, "methods", sanitize.List(login.Methods)}
	d.debug("connected", host, append(args, phaseArgs(&login.Timing)...)...)
}

// traceFailed logs an attempt that has failed.
func (d *Dialer) traceFailed(host *Config, t *Timing, err error, retry bool) {
	if d.traces() {
		d.debug("connection failed", host, append([]any{"attempt", t.Attempts, "error", d.public(err), "retry", retry}, phaseArgs(t)...)...)
	}
}

// phaseArgs returns how long the phases took that were reached.
func phaseArgs(t *Timing) (args []any) {
	for _, phase := range []struct {
		name string
		took time.Duration
	}{{"hop", t.Proxy}, {"resolve", t.Resolve}, {"connect", t.Connect}, {"handshake", t.Handshake}, {"auth", t.Auth}} {
		if phase.took > 0 {
			args = append(args, phase.name, phase.took)
		}
	}
	return args
}
