package inventory

import "fleetssh"

// Lookup returns a function that tells the settings of one host over the base, as
// [Inventory.Select] does, and whether the inventory knows it. What sources of groups
// were asked by then counts. The error of Lookup is a [*ParseError] for an upcall that
// failed; that of the function is a [*SettingError].
func (inv *Inventory) Lookup() (find func(name string) (config fleetssh.HostConfig, known bool, err error), err error) {
	knows, err := inv.knower()
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
