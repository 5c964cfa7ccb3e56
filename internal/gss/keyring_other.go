//go:build !linux

package gss

import (
	"errors"
	"runtime"
)

// keyringCollection is of Linux alone.
func keyringCollection(string) collection {
	return collection{primary: func() (*cache, error) {
		return nil, errors.New("KEYRING caches are in the kernel of Linux, and this is " + runtime.GOOS)
	}}
}
