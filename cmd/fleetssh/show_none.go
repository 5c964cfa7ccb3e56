package main

import (
	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/results"
)

// quietDisplay shows nothing of what hosts write: only who failed, at the end.
type quietDisplay struct{ view }

func newQuiet(v view) display { return &quietDisplay{v} }

func (*quietDisplay) show(fleetssh.Event) {}

func (*quietDisplay) finished(*results.Result) {}

func (d *quietDisplay) close() { d.tally.ShowFailures(d.screen) }
