package main

import (
	"github.com/spf13/cobra"

	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/help"
	"fleetssh/cmd/fleetssh/internal/termline"
)

const completionHelp = `Write the script that lets a shell complete verbs, options, hosts and groups.

  source <(fleetssh completion bash)                         in ~/.bashrc
  source <(fleetssh completion zsh)                          in ~/.zshrc
  fleetssh completion fish | source                          in config.fish
  fleetssh completion powershell | Out-String | iex          in $PROFILE

usage: fleetssh completion bash|zsh|fish|powershell

The script for bash needs no other package. That for zsh goes behind compinit.

`

func newCompletion(c *call) *cobra.Command {
	return &cobra.Command{
		Use:       "completion",
		Long:      completionHelp,
		ValidArgs: help.Shells,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return exit.UsageError("fleetssh completion --help", "completion for which shell?")
			}
			return help.WriteScript(cmd.Root(), args[0], screenWriter{c.screen})
		},
	}
}

// screenWriter writes to standard output by way of the screen.
type screenWriter struct{ screen *termline.Screen }

func (p screenWriter) Write(text []byte) (int, error) {
	p.screen.Print(text)
	return len(text), nil
}
