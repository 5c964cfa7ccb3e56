package inventory

import "fleetssh"

// Lookup returns a function that returns the configuration of one host, as [Inventory.Select]
// does, and reports whether the host is in the inventory. The function may be called by multiple
// goroutines at once. It knows the hosts that were known when Lookup was called, including those
// of groups that sources had been asked for by then. The error of Lookup is a [*ParseError] if an
// upcall fails; the error of the function is a [*SettingError].
func (inv *Inventory) Lookup() (find func(name string) (config fleetssh.HostConfig, known bool, err error), err error) {
	knows, err := inv.knownHosts()
	if err != nil {
		return nil, err
	}
	return func(name string) (fleetssh.HostConfig, bool, error) {
		if !knows(name) {
			return fleetssh.HostConfig{}, false, nil
		}
		config, err := inv.config(name)
		return config, true, err
	}, nil
}
