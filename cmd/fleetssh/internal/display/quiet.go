package display

import (
	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/results"
)

// quietDisplay shows no output of hosts, only those that failed, at the end.
type quietDisplay struct{ View }

// NewQuiet returns a display that shows only the hosts that failed, at the end.
func NewQuiet(v View) Display { return &quietDisplay{v} }

func (*quietDisplay) Show(fleetssh.Event) {}

func (*quietDisplay) Finished(*results.Result) {}

func (d *quietDisplay) Close() { d.Tally.ShowFailures(d.Screen) }
