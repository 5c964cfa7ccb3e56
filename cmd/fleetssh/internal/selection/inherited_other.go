//go:build !unix

package selection

// inherited reports whether a descriptor was open when the program started. On this system there are no
// numbered descriptors.
func inherited(int) bool { return false }
