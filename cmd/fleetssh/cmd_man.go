package main

import (
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"fleetssh/cmd/fleetssh/internal/atomicfile"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/help"
	"fleetssh/cmd/fleetssh/internal/termline"
)

const manHelp = `Write manual pages for all verbs. They contain the texts of --help.

  fleetssh man ~/.local/share/man/man1
  man fleetssh-run

usage: fleetssh man [DIR]

The pages go to DIR, which is created if it is missing, or to the current
directory. Existing pages are overwritten.

`

func newMan(c *app) *cobra.Command {
	return &cobra.Command{
		Use:  "man",
		Long: manHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := "."
			switch len(args) {
			case 0:
			case 1:
				dir = args[0]
			default:
				return exit.UsageError("fleetssh man --help", "man takes one directory")
			}
			return writeManual(cmd.Root(), dir, c.screen)
		},
	}
}

// writeManual writes a page for the program and one for each verb, and shows their names.
func writeManual(root *cobra.Command, dir string, screen *termline.Screen) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	for _, cmd := range append(help.Verbs(root), root) {
		name := filepath.Join(dir, help.PageName(cmd)+".1")
		if err := atomicfile.Write(name, 0o666, atomicfile.Text([]byte(help.Page(cmd)))); err != nil {
			return err
		}
		screen.Out("", termline.Visible(name))
	}
	return nil
}
