package main

import (
	"errors"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fleetssh/cmd/fleetssh/internal/dshbak"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/termline"
)

const dshbakHelp = `Group lines such as "web1: text" by host.

  pdsh -w web[1-20] uname -r | fleetssh dshbak -c
  fleetssh run -w web[1-20] uname -r > log; fleetssh dshbak log
  fleetssh run -w web[1-20] dmesg | fleetssh dshbak -f -d logs/today

usage: fleetssh dshbak [options] [FILE...]

Files are read one after another; without files, or for -, standard input is. The
host ends at the colon after the first word; lines without one are dropped.

Options:
  -c, --coalesce            show identical output once, below the set of its hosts
  -d, --directory DIR       write one file per host to DIR; existing files are
                            overwritten
  -f, --force               with -d: create DIR if it is missing

Beyond 32 MiB of different lines, the rest is kept in a temporary file.

`

// dshbakOptions are the flags of dshbak.
type dshbakOptions struct {
	coalesce  bool
	directory string
	force     bool
}

func (o *dshbakOptions) register(flags *pflag.FlagSet) {
	flags.BoolVarP(&o.coalesce, "coalesce", "c", false, "")
	flags.StringVarP(&o.directory, "directory", "d", "", "")
	flags.BoolVarP(&o.force, "force", "f", false, "")
}

func newDshbak(c *app) *cobra.Command {
	o := new(dshbakOptions)
	cmd := &cobra.Command{
		Use:    "dshbak",
		Hidden: true,
		Long:   dshbakHelp,
		RunE:   func(_ *cobra.Command, args []string) error { return o.run(c, args) },
	}
	o.register(cmd.Flags())
	return cmd
}

func (o *dshbakOptions) run(c *app, files []string) (err error) {
	switch {
	case o.coalesce && o.directory != "":
		return exit.UsageError("", "-c and -d exclude each other")
	case o.force && o.directory == "":
		return exit.UsageError("", "-f needs -d")
	}
	to, err := o.sink(c.screen)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	if len(files) == 0 {
		files = []string{"-"}
	}
	for _, name := range files {
		if err := dshbak.Read(c.in, name, to.Line); err != nil {
			return err
		}
	}
	if err := to.End(); err != nil {
		return err
	}
	if err := c.screen.Failure(); err != nil {
		return exit.OutputError(err)
	}
	return nil
}

func (o *dshbakOptions) sink(screen *termline.Screen) (dshbak.Sink, error) {
	if o.directory == "" {
		return dshbak.NewBlocks(screen, o.coalesce), nil
	}
	if o.force {
		if err := os.MkdirAll(o.directory, 0o777); err != nil {
			return nil, err
		}
	}
	root, err := os.OpenRoot(o.directory)
	if errors.Is(err, os.ErrNotExist) && !o.force {
		return nil, &exit.Error{Code: exit.Failed, Text: err.Error(), Hint: "-f creates it"}
	}
	if err != nil {
		return nil, err
	}
	return dshbak.NewFiles(root), nil
}
