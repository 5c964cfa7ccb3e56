package knownhosts_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// fleet returns a file of 10,000 lines, two for each of 5,000 hosts, and the
// Ed25519 keys of these.
func fleet(b *testing.B) (file string, shown []ssh.PublicKey) {
	b.Helper()
	var text strings.Builder
	for i := range 5000 {
		public, _, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		key, err := ssh.NewPublicKey(public)
		if err != nil {
			b.Fatal(err)
		}
		shown = append(shown, key)
		fmt.Fprintf(&text, "web%d.example.org {rsa}\nweb%d.example.org %s\n", i, i, keyText(key))
	}
	return fill(text.String()), shown
}

func BenchmarkRead(b *testing.B) {
	file, _ := fleet(b)
	for name, text := range map[string]string{"plain": file, "hashed": hash(file)} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				read(b, text)
			}
		})
	}
}

// BenchmarkCheck measures Algorithms and Check for 5,000 hosts against 10,000 lines.
func BenchmarkCheck(b *testing.B) {
	file, shown := fleet(b)
	for name, text := range map[string]string{"plain": file, "hashed": hash(file)} {
		b.Run(name, func(b *testing.B) {
			db := read(b, text)
			for b.Loop() {
				for i, key := range shown {
					host := fmt.Sprintf("web%d.example.org", i)
					db.Algorithms(host, 22)
					if err := db.Check(host, 22, key); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*len(shown)), "µs/host")
		})
	}
}

// BenchmarkUnknown measures the expensive case: each time another unknown host, against 10,000
// hashed lines.
func BenchmarkUnknown(b *testing.B) {
	file, _ := fleet(b)
	db := read(b, hash(file))
	i := 0
	for b.Loop() {
		i++
		if db.Check(fmt.Sprintf("db%d.example.org", i), 22, key("ed")) == nil {
			b.Fatal("known")
		}
	}
}

// BenchmarkAdd measures adding new hosts to a growing file.
func BenchmarkAdd(b *testing.B) {
	path := b.TempDir() + "/known_hosts"
	db := read(b, "")
	i := 0
	for b.Loop() {
		i++
		if err := db.Add(path, fmt.Sprintf("web%d", i), 22, key("ed")); err != nil {
			b.Fatal(err)
		}
	}
}
