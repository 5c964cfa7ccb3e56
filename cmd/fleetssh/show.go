package main

import (
	"fleetssh"
	"fleetssh/internal/termline"
)

// A display shows what happens on the hosts. One goroutine calls it.
type display interface {
	show(fleetssh.Event)
	// finished shows how a host ended; show is not called for that.
	finished(*result)
	close() // shows the totals
}

// view is what displays are made from.
type view struct {
	screen  *termline.Screen
	tally   *tally
	command string // as the user gave it
	label   bool   // lines stand behind the name of their host
}

// formats are the values of --format.
var formats = map[string]func(view) display{
	"stream": newStream,
	"json":   newJSON,
}
