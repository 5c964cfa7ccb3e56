//go:build !windows && (!unix || aix || solaris)

package knownhosts

import "os"

// lock does nothing, because these systems have no lock that belongs to the open file. Lines
// stay complete, but two processes may both add a host.
func lock(*os.File) error { return nil }
