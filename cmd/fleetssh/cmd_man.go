package main

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"fleetssh/cmd/fleetssh/internal/atomicfile"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/termline"
	"fleetssh/cmd/fleetssh/internal/topic"
)

const manHelp = `Write manual pages for all verbs and topics. They contain the texts of --help.

  fleetssh man ~/.local/share/man/man1
  man fleetssh-run
  man 7 fleetssh-hosts

usage: fleetssh man [DIR]

The pages go to DIR, which is created if it is missing, or to the current
directory. If DIR is called man1, pages of topics (section 7) go to man7 beside
it. Existing pages are overwritten.

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

// writeManual writes a page for the program and one for each verb and topic, and shows their names.
func writeManual(root *cobra.Command, dir string, screen *termline.Screen) error {
	pages := topic.Pages(root)
	for _, name := range slices.Sorted(maps.Keys(pages)) {
		to := dir
		if filepath.Base(dir) == "man1" && strings.HasSuffix(name, ".7") {
			to = filepath.Join(filepath.Dir(dir), "man7") // where man looks for it
		}
		if err := os.MkdirAll(to, 0o777); err != nil {
			return err
		}
		file := filepath.Join(to, name)
		if err := atomicfile.Write(file, 0o666, atomicfile.Text([]byte(pages[name]))); err != nil {
			return err
		}
		screen.Out("", termline.Visible(file))
	}
	return nil
}
