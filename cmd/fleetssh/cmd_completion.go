package main

import (
	"slices"

	"github.com/spf13/cobra"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/help"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/cmd/fleetssh/internal/settings"
	"fleetssh/cmd/fleetssh/internal/termline"
)

const completionHelp = `Write a script that completes verbs, options, hosts and groups in a shell.

  source <(fleetssh completion bash)                         in ~/.bashrc
  source <(fleetssh completion zsh)                          in ~/.zshrc
  fleetssh completion fish | source                          in config.fish
  fleetssh completion powershell | Out-String | iex          in $PROFILE

usage: fleetssh completion bash|zsh|fish|powershell

The script for bash needs no other package. In zsh, load it after compinit. It
also defines the alias fleetssh='noglob fleetssh' there, so that web[1-20] needs
no quotes. zsh then expands no patterns at all; put expands those of local files.

`

func newCompletion(c *app) *cobra.Command {
	return &cobra.Command{
		Use:       "completion",
		Long:      completionHelp,
		ValidArgs: help.Shells,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return exit.UsageError("fleetssh completion --help", "no shell given")
			}
			return help.WriteScript(cmd.Root(), args[0], screenWriter{c.screen})
		},
	}
}

// screenWriter writes to standard output through the screen.
type screenWriter struct{ screen *termline.Screen }

func (p screenWriter) Write(text []byte) (int, error) {
	p.screen.Print(text)
	return len(text), nil
}

// completionNames returns what a shell may complete: the hosts and groups of the inventory
// that the flags or the settings name, the hosts of ssh_config, and those of known_hosts. Files that
// cannot be read are ignored.
func completionNames(s *settings.Defaults) help.NameSource {
	return func(cmd *cobra.Command) (hosts, groups []string) {
		_ = s.Apply(cmd) // the command itself reports errors in the settings
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
		hosts = append(hosts, help.KnownHosts(cmd)...)
		slices.Sort(hosts)
		return slices.Compact(hosts), groups
	}
}
