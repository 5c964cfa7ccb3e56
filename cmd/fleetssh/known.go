package main

import (
	"slices"

	"github.com/spf13/cobra"

	"fleetssh"
)

// knownNames returns what a shell may complete: the hosts and groups of the inventory
// that the flags or the settings name, the hosts of ssh's configuration, and those of
// known_hosts. What cannot be read has none.
func (s *settings) knownNames(cmd *cobra.Command) (hosts, groups []string) {
	_ = s.apply(cmd) // a mistake in the settings is told when the command runs
	list := func(flag string) []string {
		values, err := cmd.Flags().GetStringArray(flag)
		if err != nil {
			return nil // the verb has none
		}
		return values
	}
	f := selectFlags{inventories: list("inventory"), hostfiles: list("hostfile")}
	if inv, err := f.inventory(fleetssh.HostConfig{}); err == nil && inv != nil {
		if names, err := inv.Names(); err == nil {
			hosts = append(hosts, names...)
		}
		if names, err := inv.GroupNames(); err == nil {
			groups = names
		}
	}
	path := ""
	if flag := cmd.Flags().Lookup("ssh-config"); flag != nil {
		path = flag.Value.String()
	}
	hosts = append(hosts, namesInSSHConfig(path)...)
	byKey, _ := knownByKey(cmd)
	hosts = append(hosts, byKey...)
	slices.Sort(hosts)
	return slices.Compact(hosts), groups
}
