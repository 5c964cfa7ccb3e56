package main

import (
	"github.com/spf13/cobra"

	"fleetssh/cmd/fleetssh/internal/display"
	"fleetssh/cmd/fleetssh/internal/record"
	"fleetssh/cmd/fleetssh/internal/selection"
)

const getHelp = `Copy files and directories from all hosts, into a folder for each of them.

  fleetssh get -w web[1-20] /etc/hostname names
  fleetssh get -w web[1-20] -r -P '/var/log/app' '/etc/app*' backup
  fleetssh get -w web[1-20] /etc/app/app.conf 'conf/%(host)s.conf'
  fleetssh get -w web[1-20] --resume --limit-rate 50M /var/tmp/core .

usage: fleetssh get [options] REMOTE... LOCAL

The files of web1 go into LOCAL/web1. Where LOCAL says %(host)s, or another
value that differs from host to host, they go where that says instead; that two
hosts would write to the same place is an error before anything is contacted. In
REMOTE, which counts from the home directory, *, ? and [...] stand for the names
on the host that they match: quote them, or the shell here expands them. "dir/."
stands for what is in dir. A file that is there already is replaced; with -P,
--resume or --verify one that is the same is left alone.

` + copyHelp + `
` + selection.Help + `
` + copySafetyHelp + `
` + display.CopyHelp + `
` + record.Help + copyEndHelp

func newGet(c *call) *cobra.Command { return newCopy(c, "get", getHelp) }
