package simfleet

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/ssh"
)

// errDenied is why a login failed; x/crypto does not send it to the client.
var errDenied = errors.New("permission denied")

// newConfig returns the x/crypto configuration of a host. All its connections share it.
func newConfig(h *Host, keys []ssh.Signer, st *stats) *ssh.ServerConfig {
	a := authenticator{host: h}
	first := a.first()
	config := &ssh.ServerConfig{
		Config:                      h.Config,
		ServerVersion:               h.Version,
		MaxAuthTries:                h.MaxAuthTries,
		PublicKeyCallback:           first.PublicKeyCallback,
		PasswordCallback:            first.PasswordCallback,
		KeyboardInteractiveCallback: first.KeyboardInteractiveCallback,
		GSSAPIWithMICConfig:         first.GSSAPIWithMICConfig,
		AuthLogCallback: func(_ ssh.ConnMetadata, method string, err error) {
			var partial *ssh.PartialSuccessError
			if err != nil && method != "none" && !errors.As(err, &partial) {
				st.authFailure(method)
			}
		},
	}
	if h.Banner != "" {
		config.BannerCallback = func(ssh.ConnMetadata) string { return h.Banner }
	}
	for _, key := range keys {
		config.AddHostKey(key)
	}
	return config
}

// authenticator decides who may log in to a host.
type authenticator struct {
	host *Host
}

// pass is called when a method succeeds: either the login is complete, or another method must
// follow.
type pass func(*ssh.Permissions) (*ssh.Permissions, error)

// first returns the methods offered at the beginning of a login.
func (a authenticator) first() ssh.ServerAuthCallbacks {
	if len(a.host.RequireAll) > 0 {
		return a.step(0)
	}
	var methods []string
	if a.host.Password != "" {
		methods = append(methods, "password")
	}
	if len(a.host.Prompts) > 0 {
		methods = append(methods, "keyboard-interactive")
	}
	// x/crypto refuses to serve without any method, so a host that accepts nobody offers public
	// keys, as sshd does.
	if len(a.host.AuthorizedKeys)+len(a.host.UserCAs) > 0 || len(methods) == 0 && a.host.GSSAPI == nil {
		methods = append(methods, "publickey")
	}
	callbacks := a.callbacks(methods, func(p *ssh.Permissions) (*ssh.Permissions, error) { return p, nil })
	callbacks.GSSAPIWithMICConfig = a.host.GSSAPI
	return callbacks
}

// step returns the one method offered after i methods of RequireAll have succeeded.
func (a authenticator) step(i int) ssh.ServerAuthCallbacks {
	return a.callbacks(a.host.RequireAll[i:i+1], func(p *ssh.Permissions) (*ssh.Permissions, error) {
		if i+1 == len(a.host.RequireAll) {
			return p, nil
		}
		return nil, &ssh.PartialSuccessError{Next: a.step(i + 1)}
	})
}

func (a authenticator) callbacks(methods []string, ok pass) ssh.ServerAuthCallbacks {
	var c ssh.ServerAuthCallbacks
	for _, method := range methods {
		switch method {
		case "publickey":
			c.PublicKeyCallback = a.publicKey(ok)
		case "password":
			c.PasswordCallback = func(meta ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
				if a.host.Password == "" || string(password) != a.host.Password || !a.allows(meta.User()) {
					return nil, errDenied
				}
				return ok(nil)
			}
		case "keyboard-interactive":
			c.KeyboardInteractiveCallback = a.keyboardInteractive(ok)
		}
	}
	return c
}

func (a authenticator) publicKey(ok pass) func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) {
	checker := ssh.CertChecker{
		IsUserAuthority: func(key ssh.PublicKey) bool { return containsKey(a.host.UserCAs, key) },
		UserKeyFallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			if !containsKey(a.host.AuthorizedKeys, key) {
				return nil, errDenied
			}
			return nil, nil
		},
	}
	return func(meta ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if !a.allows(meta.User()) {
			return nil, errDenied
		}
		permissions, err := checker.Authenticate(meta, key)
		if err != nil {
			return nil, err
		}
		return ok(permissions)
	}
}

func (a authenticator) keyboardInteractive(ok pass) func(ssh.ConnMetadata, ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
	return func(meta ssh.ConnMetadata, challenge ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
		for _, round := range a.host.Prompts {
			questions, echos := make([]string, len(round)), make([]bool, len(round))
			for i, prompt := range round {
				questions[i], echos[i] = prompt.Text, prompt.Echo
			}
			answers, err := challenge("", "", questions, echos)
			if err != nil {
				return nil, err
			}
			for i, prompt := range round {
				if answers[i] != prompt.Answer {
					return nil, fmt.Errorf("prompt %q: %w", prompt.Text, errDenied)
				}
			}
		}
		if len(a.host.Prompts) == 0 || !a.allows(meta.User()) {
			return nil, errDenied
		}
		return ok(nil)
	}
}

func (a authenticator) allows(user string) bool {
	return len(a.host.Users) == 0 || slices.Contains(a.host.Users, user)
}

func containsKey(keys []ssh.PublicKey, key ssh.PublicKey) bool {
	wanted := key.Marshal()
	return slices.ContainsFunc(keys, func(k ssh.PublicKey) bool { return bytes.Equal(k.Marshal(), wanted) })
}
