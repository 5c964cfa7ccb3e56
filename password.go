package fleetssh

import (
	"context"
	"fmt"

	"fleetssh/internal/password"
)

// RefusedPassword says which password was refused, to [ParallelClient.AskAgain].
type RefusedPassword struct {
	Host     HostConfig // that has refused it
	User     string     // whose password it is
	Sudo     bool       // it was sudo that has refused it
	Kerberos bool       // it was the KDC that has refused it, while Host was logged in to
	Try      int        // how many have been refused so far
}

// passwords returns where hosts share passwords, nil if each has its own opinion of them.
func (p *ParallelClient) passwords() *password.Table {
	if p.PasswordsDiffer {
		return nil
	}
	return new(password.Table)
}

// askInstead returns how another password is asked for in place of one that was refused. refused
// lacks the host, the user and the number of tries. The result is nil if nobody is asked.
func (d *dialer) askInstead(host *HostConfig, refused RefusedPassword) password.Prompt {
	ask := d.askAgain
	switch {
	case d.passwords == nil:
		return nil
	case ask != nil:
	case host.Auth.Ask == nil || refused.Sudo:
		return nil // AskAgain alone is asked for a password of sudo
	default:
		ask = host.Auth.askAgain
	}
	sudo, kerberos := refused.Sudo, refused.Kerberos
	return func(ctx context.Context, user string, try int) (string, error) {
		done, err := waitToAsk(ctx)
		if err != nil {
			return "", err
		}
		defer done()
		return ask(ctx, RefusedPassword{Host: *host, User: user, Sudo: sudo, Kerberos: kerberos, Try: try})
	}
}

// askAgain puts the question for another password to the user.
func (a *Auth) askAgain(ctx context.Context, r RefusedPassword) (string, error) {
	who := r.Host.name()
	if r.Kerberos {
		who = "The KDC"
	}
	return a.Ask(ctx, Question{Host: r.Host.name(), Prompt: fmt.Sprintf("%s has refused the password of %s. Another for all hosts: ", who, r.User)})
}
