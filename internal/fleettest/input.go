package fleettest

import "math/rand/v2"

// Noise returns bytes of every kind.
func Noise(n int) []byte {
	data := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(data)
	return data
}

// Zeros is a reader of zeros without end.
type Zeros struct{}

// Read implements [io.Reader].
func (Zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
