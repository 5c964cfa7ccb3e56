package keyfile

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/sanitize"
)

// ParseCertificate parses a certificate in the format of a .pub file.
func ParseCertificate(raw []byte) (*ssh.Certificate, error) {
	key, _, _, _, err := ssh.ParseAuthorizedKey(raw)
	if err != nil {
		return nil, errors.New("not a certificate")
	}
	cert, ok := key.(*ssh.Certificate)
	if !ok {
		return nil, errors.New("a public key, not a certificate")
	}
	return cert, nil
}

// CheckCertificate returns an error if a certificate is not a user certificate or is not valid now.
// It does not check the user: see [CheckUser].
func CheckCertificate(cert *ssh.Certificate, now time.Time) error {
	if cert.CertType != ssh.UserCert {
		return errors.New("a host certificate, not a user certificate")
	}
	return checkTime(cert, now)
}

// checkTime returns an error if a certificate is not valid at a time. An SSH server would refuse it
// without giving the reason.
func checkTime(cert *ssh.Certificate, now time.Time) error {
	const layout = "2006-01-02 15:04:05 MST"
	t := uint64(now.Unix())
	if t < cert.ValidAfter {
		return fmt.Errorf("certificate not valid before %s", time.Unix(int64(cert.ValidAfter), 0).UTC().Format(layout))
	}
	if cert.ValidBefore != ssh.CertTimeInfinity && t >= cert.ValidBefore {
		return fmt.Errorf("certificate expired %s", time.Unix(int64(cert.ValidBefore), 0).UTC().Format(layout))
	}
	return nil
}

// CheckUser returns an error if cert does not name user. The login may succeed nevertheless: sshd
// can map principals to users (AuthorizedPrincipalsFile).
func CheckUser(cert *ssh.Certificate, user string) error {
	if len(cert.ValidPrincipals) == 0 || slices.Contains(cert.ValidPrincipals, user) {
		return nil
	}
	return fmt.Errorf("certificate is for %s, not for user %s", sanitize.List(cert.ValidPrincipals), user)
}
