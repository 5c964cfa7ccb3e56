package main

import "fleetssh"

// quietDisplay shows nothing of what hosts write: only who failed, at the end.
type quietDisplay struct{ view }

func newQuiet(v view) display { return &quietDisplay{v} }

func (*quietDisplay) show(fleetssh.Event) {}

func (*quietDisplay) finished(*result) {}

func (d *quietDisplay) close() { d.tally.showFailures(d.screen) }
