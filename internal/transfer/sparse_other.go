//go:build !unix

package transfer

import "os"

// isSparse reports whether a file has holes, which is unknown on this system.
func isSparse(os.FileInfo) bool { return false }

// suspectSize reports whether the size of a file may be wrong.
func suspectSize(info os.FileInfo) bool { return info.Size() == 0 }

func openRegular(path string) (*os.File, error) { return os.Open(path) }
