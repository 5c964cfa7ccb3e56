package fleetssh

import (
	"context"

	"fleetssh/internal/identity"
)

// CheckKeys reports whether the keys and certificates that host insists on, which
// are those of [Auth] KeyFile, KeyData, Signers, CertFile and CertData, can be used: the
// error is the [*PKeyFileError] with which [Dial] would end, or that of ctx. It reads
// files, asks the SSH agent what it holds, and decrypts a key whose passphrase is
// given; it contacts no host and asks nobody. Hops are not looked at.
func CheckKeys(ctx context.Context, host HostConfig) error {
	d := newDialer(nil, 0)
	defer d.close()
	_, err := d.credentials(ctx, &host, host.User)
	return err
}

// credentials reads the keys of host. The error is a *PKeyFileError, or that of
// ctx. Nothing has been contacted then but the agent.
func (d *dialer) credentials(ctx context.Context, host *HostConfig, user string) (*identity.Credentials, error) {
	a := &host.Auth
	config := &identity.Config{
		User:    user,
		KeyFile: a.KeyFile, CertFile: a.CertFile, KeyData: a.KeyData, CertData: a.CertData, Signers: a.Signers,
		Identities: a.Identities, CertFiles: a.CertFiles, IdentitiesOnly: a.IdentitiesOnly, NoDefaultKeys: a.NoDefaultKeys,
		Secrets: host.secrets(), Algorithms: host.algorithms(),
	}
	if !a.NoAgent && (!a.ownKeys() || a.KeyFile != "" || len(a.KeyData) > 0) {
		config.Agent = d.agent(a.agentSocket())
	}
	c, err := identity.Read(ctx, &d.keys, config)
	return c, keyFileError(host.name(), err)
}
