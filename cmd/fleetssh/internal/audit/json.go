package audit

import (
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/display"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// jsonCheck is the result of check for one host.
type jsonCheck struct {
	Type        string             `json:"type"`
	Time        time.Time          `json:"time"`
	Host        string             `json:"host"`
	Index       int                `json:"index"`
	OK          bool               `json:"ok"`
	Outcome     string             `json:"outcome"`
	Error       *results.JSONError `json:"error"`
	Attempts    int                `json:"attempts"`
	ProxyMS     float64            `json:"proxy_ms,omitempty"`
	ResolveMS   float64            `json:"resolve_ms"`
	ConnectMS   float64            `json:"connect_ms"` // the total, as in the results of run
	HandshakeMS float64            `json:"handshake_ms"`
	AuthMS      float64            `json:"auth_ms"`

	*jsonLogin             // of the host
	Hops       []jsonLogin `json:"hops,omitempty"` // in the order of the route
}

// jsonLogin describes a login.
type jsonLogin struct {
	Hop         string          `json:"hop,omitempty"`
	Methods     []string        `json:"methods,omitempty"`
	Allowed     []string        `json:"allowed_methods,omitempty"` // before any was tried
	Key         string          `json:"key,omitempty"`
	HostKey     string          `json:"host_key,omitempty"`
	HostKeyType string          `json:"host_key_type,omitempty"`
	Banner      string          `json:"banner,omitempty"`
	Master      string          `json:"master,omitempty"`
	Version     string          `json:"version,omitempty"`
	KeyExchange string          `json:"key_exchange,omitempty"`
	PostQuantum *bool           `json:"post_quantum,omitempty"` // of the key exchange
	Out         *jsonDirection  `json:"to_host,omitempty"`
	In          *jsonDirection  `json:"from_host,omitempty"`
	Offered     *jsonAlgorithms `json:"offered,omitempty"` // by the host
}

// jsonDirection is what protects one direction.
type jsonDirection struct {
	Cipher string `json:"cipher"`
	MAC    string `json:"mac,omitempty"` // empty: the cipher needs none
}

// jsonAlgorithms are the algorithms that a host has, its most preferred first.
type jsonAlgorithms struct {
	KeyExchanges []string `json:"key_exchanges"`
	HostKeys     []string `json:"host_keys"`
	Ciphers      []string `json:"ciphers"`
	MACs         []string `json:"macs"`
}

func newJSONLogin(l *fleetssh.Login) *jsonLogin {
	j := &jsonLogin{Methods: l.Methods, Allowed: l.Allowed, Master: l.Master, Banner: l.Banner, Version: l.Version}
	if l.Key != nil {
		j.Key = ssh.FingerprintSHA256(l.Key)
	}
	if l.HostKey != nil {
		j.HostKey, j.HostKeyType = ssh.FingerprintSHA256(l.HostKey), l.HostKey.Type()
	}
	if a := &l.Algorithms; a.KeyExchange != "" {
		safe := isPostQuantum(a.KeyExchange)
		j.KeyExchange, j.PostQuantum = a.KeyExchange, &safe
		j.Out, j.In = &jsonDirection{a.Write.Cipher, a.Write.MAC}, &jsonDirection{a.Read.Cipher, a.Read.MAC}
	}
	if o := &l.Offered; o.KeyExchanges != nil {
		j.Offered = &jsonAlgorithms{o.KeyExchanges, o.HostKeys, o.Ciphers, o.MACs}
	}
	return j
}

// PutHost returns a function that shows the result of a host as an object.
func PutHost(screen *termline.Screen, t *results.Summary) func(*results.Result) {
	return func(r *results.Result) {
		o := jsonCheck{
			Type: "check", Time: time.Now(),
			Host: t.Hosts[r.Index].Name, Index: r.Index,
			OK: r.OK, Outcome: r.LoginOutcome(), Error: r.JSONError(), Attempts: r.Timing.Attempts,
			ResolveMS:   results.Milliseconds(r.Timing.Resolve),
			ConnectMS:   results.Milliseconds(results.ConnectTime(r.Timing)),
			HandshakeMS: results.Milliseconds(r.Timing.Handshake),
			AuthMS:      results.Milliseconds(r.Timing.Auth),
			ProxyMS:     results.Milliseconds(r.Timing.Proxy),
		}
		for i := range r.Logins {
			l := newJSONLogin(&r.Logins[i])
			if i == len(r.Logins)-1 {
				o.jsonLogin = l
				break
			}
			l.Hop = r.Logins[i].Host.String()
			o.Hops = append(o.Hops, *l)
		}
		display.PutJSON(screen, o)
	}
}

// PutTotal shows the last object.
func PutTotal(screen *termline.Screen, t *results.Summary) {
	s := t.JSONSummary()
	s.Outcomes = make(map[string]int)
	for i := range t.Results {
		s.Outcomes[t.Results[i].LoginOutcome()]++
	}
	display.PutJSON(screen, s)
}
