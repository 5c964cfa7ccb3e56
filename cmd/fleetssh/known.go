package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"fleetssh"
	"fleetssh/sshconfig"
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

// namesInSSHConfig returns the hosts that a configuration of ssh names without wildcards; an empty
// path stands for that of the user and that of the system. One that cannot be read names none: who
// needs it says why.
func namesInSSHConfig(path string) []string {
	var paths []string
	if path != "" {
		paths = []string{path}
	}
	file, err := sshconfig.Load(paths...)
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(file.Names(), func(name string) bool {
		_, err := fleetssh.ParseHost(name)
		return err != nil || strings.ContainsAny(name, ",[]&^@%")
	})
}
