package main

import (
	"slices"

	"github.com/spf13/cobra"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/help"
	"fleetssh/cmd/fleetssh/internal/selection"
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
	f := selection.ExprFlags{Inventories: list("inventory"), Hostfiles: list("hostfile")}
	if inv, err := f.Inventory(fleetssh.HostConfig{}); err == nil && inv != nil {
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
	hosts = append(hosts, selection.NamesInSSHConfig(path)...)
	hosts = append(hosts, help.HostsWithKeys(cmd)...)
	slices.Sort(hosts)
	return slices.Compact(hosts), groups
}
