package fleettest

import "math/rand/v2"

// Noise returns n random bytes, the same in every call.
func Noise(n int) []byte {
	data := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(data)
	return data
}

// Zeros is a reader of endless zeros.
type Zeros struct{}

// Read implements [io.Reader].
func (Zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
