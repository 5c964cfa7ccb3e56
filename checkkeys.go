package fleetssh

import "context"

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
