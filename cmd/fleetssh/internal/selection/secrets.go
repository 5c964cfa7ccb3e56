package selection

import (
	"context"
	"errors"
	"fmt"

	"fleetssh"
)

// SudoPasswords returns the function that supplies sudo passwords: from the inventory, and for other
// hosts from flags. It is nil if there is no password; then sudo asks the command's own standard input.
func (e *Env) SudoPasswords(ctx context.Context, hosts []Host, flags *PasswordFlags) (func(context.Context, fleetssh.HostConfig) (string, error), error) {
	type known struct {
		password string
		err      error
	}
	own := make(map[string]known)
	for i := range hosts {
		if h := &hosts[i]; h.sudo != "" || h.sudoErr != nil {
			own[h.Config.String()] = known{h.sudo, h.sudoErr}
		}
	}
	shared, err := flags.read(ctx, e, false)
	if err != nil {
		return nil, err
	}
	if shared == "" && len(own) == 0 {
		return nil, nil
	}
	return func(_ context.Context, host fleetssh.HostConfig) (string, error) {
		if k, ok := own[host.String()]; ok && k.err == nil {
			return k.password, nil
		} else if ok && shared == "" {
			return "", k.err
		}
		if shared == "" {
			return "", errors.New("sudo asks for a password, but none is known for this host")
		}
		return shared, nil
	}, nil
}

// SetPasswordPolicy sets how a client handles passwords that its hosts share.
func (f *Flags) SetPasswordPolicy(env *Env, client *fleetssh.ParallelClient) {
	client.PasswordsDiffer = f.passwordsDiffer
	if !f.canAsk {
		return
	}
	client.AskAgain = func(ctx context.Context, r fleetssh.RefusedPassword) (string, error) {
		who, what := r.Host.String(), "password: "
		if r.Sudo {
			who, what = "sudo on "+who, "sudo password: "
		}
		if r.Kerberos {
			return env.askSecret(ctx, fmt.Sprintf("the KDC has refused the password of %s\nKerberos password of %s: ", r.User, r.User))
		}
		return env.askSecret(ctx, fmt.Sprintf("%s has refused the password of %s; no other host got it\n%s", who, r.User, what))
	}
}
