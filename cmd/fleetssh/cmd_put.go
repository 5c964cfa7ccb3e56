package main

import (
	"github.com/spf13/cobra"

	"fleetssh/cmd/fleetssh/internal/display"
	"fleetssh/cmd/fleetssh/internal/record"
	"fleetssh/cmd/fleetssh/internal/selection"
)

const putHelp = `Copy files and directories to all hosts.

  fleetssh put -w web[1-20] app.conf /etc/app/app.conf
  fleetssh put -w web[1-20] -r --delete site /srv/www
  fleetssh put -w web[1-20] 'keys/%(host)s.pem' /etc/app/key.pem
  fleetssh put -w web[1-20] -P --verify --limit-rate 50M disk.img /var/tmp
  fleetssh put -w web[1-20] --resume disk.img /var/tmp

usage: fleetssh put [options] LOCAL... REMOTE

A REMOTE that is a directory, or ends in a slash, is where the files go to, as
is that of several LOCAL; otherwise it is the name of the copy. It counts from
the home directory. "dir/." stands for what is in dir. Links in directories are
copied as links. A file that is there already is replaced; with -P, --resume or
--verify one that is the same is left alone. On the host a file has its name
only when it is whole. Wildcards in LOCAL are for the shell here; REMOTE has
none.

` + copyHelp + `
` + selection.Help + `
` + copySafetyHelp + `
` + display.CopyHelp + `
` + record.Help + copyEndHelp

func newPut(c *call) *cobra.Command { return newCopy(c, "put", putHelp) }
