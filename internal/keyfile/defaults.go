package keyfile

import (
	"path/filepath"
	"slices"

	"fleetssh/internal/account"
)

// defaultNames are the files in ~/.ssh that are offered if nothing else is
// named. The private half of those ending in _sk is in hardware: the agent signs with
// it.
var defaultNames = []string{"id_ed25519", "id_ecdsa", "id_rsa", "id_ed25519_sk", "id_ecdsa_sk"}

// DefaultNames returns the names of the default key files in ~/.ssh.
func DefaultNames() []string { return slices.Clone(defaultNames) }

// DefaultFiles returns the paths of the files that are offered if none are named.
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
