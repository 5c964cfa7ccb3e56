package keyfile

import (
	"path/filepath"
	"slices"

	"fleetssh/internal/account"
)

// defaultNames are the key files in ~/.ssh that are offered if no keys are named. For the names
// with _sk, the private half is on a FIDO token, and the agent signs with it.
var defaultNames = []string{"id_ed25519", "id_ecdsa", "id_rsa", "id_ed25519_sk", "id_ecdsa_sk"}

// DefaultNames returns the names of the default key files in ~/.ssh.
func DefaultNames() []string { return slices.Clone(defaultNames) }

// DefaultFiles returns the paths of the default key files, or nil if the home directory is not
// known.
func DefaultFiles() []string {
	home, err := account.Home()
	if err != nil {
		return nil
	}
	paths := make([]string, len(defaultNames))
	for i, name := range defaultNames {
		paths[i] = filepath.Join(home, ".ssh", name)
	}
	return paths
}
