package main

import (
	"github.com/spf13/cobra"

	"fleetssh/cmd/fleetssh/internal/display"
	"fleetssh/cmd/fleetssh/internal/record"
	"fleetssh/cmd/fleetssh/internal/selection"
)

const getHelp = `Copy files and directories from all hosts, into one directory per host.

  fleetssh get -w web[1-20] /etc/hostname names
  fleetssh get -w web[1-20] -r -P '/var/log/app' '/etc/app*' backup
  fleetssh get -w web[1-20] /etc/app/app.conf 'conf/%(host)s.conf'
  fleetssh get -w web[1-20] --resume --limit-rate 50M /var/tmp/core .

usage: fleetssh get [options] REMOTE... LOCAL

The files of web1 go to LOCAL/web1. If LOCAL contains %(host)s, or another value
that differs between hosts, they go where LOCAL says; a name clash is reported
before any host is contacted. REMOTE is relative to the home directory; *, ? and
[...] in it match names on the host: quote them, or your local shell expands them.
"dir/." means the contents of dir. Existing files are replaced; with -P, --resume
or --verify, identical files are skipped.

` + copyHelp + `
` + selection.Help + `
` + copySafetyHelp + `
` + display.CopyHelp + `
` + record.Help + copyEndHelp

func newGet(c *app) *cobra.Command { return newCopy(c, "get", getHelp) }
