package display

import (
	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/results"
)

// quietDisplay shows nothing of what hosts write: only who failed, at the end.
type quietDisplay struct{ View }

// NewQuiet returns a display that shows nothing but who failed, at the end.
func NewQuiet(v View) Display { return &quietDisplay{v} }

func (*quietDisplay) Show(fleetssh.Event) {}

func (*quietDisplay) Finished(*results.Result) {}

func (d *quietDisplay) Close() { d.Tally.ShowFailures(d.Screen) }
