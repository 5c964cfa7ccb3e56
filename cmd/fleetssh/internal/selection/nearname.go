package selection

import (
	"fleetssh"
	"fleetssh/internal/knownhosts"
	"fleetssh/internal/nearest"
)

// Nearest returns the known names that are most similar to the name of a host that does not exist: hosts
// of the inventory, of ssh_config, and in known_hosts unless they are hashed. It reads files.
func (f *Flags) Nearest(name string) []string {
	var names []string
	if f.inventory != nil {
		names, _ = f.inventory.Names() // an incomplete list is good enough for a suggestion
	}
	if f.sshConfigNames != nil {
		names = append(names, f.sshConfigNames()...)
	}
	files := fleetssh.KnownHosts{}
	if f.KnownHosts != "" {
		files.Files = []string{f.KnownHosts}
	}
	known := new(knownhosts.DB)
	for _, path := range files.Paths() {
		known.TryFile(path)
	}
	return nearest.Names(name, append(names, known.Names()...))
}
