package fleetssh

import (
	"golang.org/x/crypto/ssh"
)

// ControlSockets returns where the socket of a master may be.
func ControlSockets(h HostConfig) []string {
	paths, err := h.controlSockets()
	if err != nil {
		panic(err)
	}
	return paths
}

// ParseKeyFile says what is in a key file: which key it is, and whether its private half
// is open or locked.
func ParseKeyFile(path string, data []byte) (public ssh.PublicKey, open, locked bool, err error) {
	f := parseKeyFile(path, data)
	return f.public, f.signer != nil, f.locked != nil, f.err
}

// UnlockKeyFile decrypts a key file that is locked.
func UnlockKeyFile(data []byte, passphrase string) (ssh.Signer, error) {
	return unlock(parseKeyFile("", data).locked, passphrase)
}
