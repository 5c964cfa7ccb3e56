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
  make-config | fleetssh put -w web[1-20] - app.conf
  fleetssh put -w web[1-20] --sudo --mode 0640 --backup app.conf /etc/app.conf
  fleetssh put -w web[1-20] --check --diff app.conf /etc/app.conf

usage: fleetssh put [options] LOCAL... REMOTE

If REMOTE is a directory or ends in a slash, or if there are several LOCAL, the
files go into it; otherwise REMOTE is the name of the copy. It is relative to the
home directory. "dir/." means the contents of dir. Links inside directories are
copied as links. Existing files are replaced; with -P, --resume or --verify,
identical files are skipped. Files are written under a temporary name and renamed
when complete. Wildcards in LOCAL are expanded, by your shell or by fleetssh;
REMOTE has none. LOCAL may be - for standard input; if REMOTE is a directory, the
file in it is called stdin.

` + copyHelp + `
` + installHelp + `
` + checkFilesHelp + `
` + selection.Help + `
` + copySafetyHelp + `
` + display.CopyHelp + `
` + record.Help + copyEndHelp

func newPut(c *app) *cobra.Command { return newCopy(c, "put", putHelp) }
