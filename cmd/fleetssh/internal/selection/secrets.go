package selection

import (
	"context"
	"errors"
	"fmt"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/internal/account"
)

// password returns the password for logins, from a file or the user. It is empty if no flag asks for
// one.
func (f *Flags) password(ctx context.Context, env *Env) (string, error) {
	switch {
	case f.PasswordFile != "":
		return readPasswordFile(f.PasswordFile)
	case f.AskPass && f.Offline:
		return dummySecret, nil
	case f.AskPass:
		return env.askSecret(ctx, "password: ")
	}
	return "", nil
}

// SudoPasswords returns the function that supplies sudo passwords: from the inventory, and for other
// hosts the one that the user is asked for, if asked is set. It is nil if there is no password; then
// sudo asks the command's own standard input.
func (e *Env) SudoPasswords(ctx context.Context, hosts []Host, asked bool) (func(context.Context, fleetssh.HostConfig) (string, error), error) {
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
	shared := ""
	if asked {
		var err error
		if shared, err = e.askSecret(ctx, "sudo password: "); err != nil {
			return nil, err
		}
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

// dummySecret replaces a secret that is not needed, because no host is contacted.
const dummySecret = "***"

// readPasswordFile returns the first line of a file. It refuses files that others can read.
func readPasswordFile(name string) (string, error) {
	password, err := account.ReadSecret(name)
	readable, isReadable := errors.AsType[*account.ReadableError](err)
	switch {
	case isReadable:
		return "", &exit.Error{Code: exit.Failed, Hint: "chmod 600 " + name,
			Text: fmt.Sprintf("password file %s: readable by others (mode %#o)", name, readable.Mode)}
	case err == account.ErrNoSecret:
		return "", fmt.Errorf("password file %s: %w", name, err)
	case err != nil:
		return "", fmt.Errorf("password file: %w", err)
	}
	return password, nil
}
