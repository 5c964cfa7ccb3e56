//go:build !unix

package main

import "os"

// onEnter does nothing: waiting for input cannot be ended here.
func onEnter(*os.File, <-chan struct{}, func() bool, func()) {}
