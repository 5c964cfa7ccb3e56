//go:build !linux

package gss

import (
	"errors"
	"runtime"
)

// keyringCollection returns an error: only Linux has kernel keyrings.
func keyringCollection(string) collection {
	return collection{primary: func() (*cache, error) {
		return nil, errors.New("KEYRING caches are supported only on Linux, not on " + runtime.GOOS)
	}}
}
