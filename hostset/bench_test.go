package hostset

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

func BenchmarkParse(b *testing.B) {
	var list strings.Builder
	for _, i := range rand.New(rand.NewPCG(1, 2)).Perm(100_000) {
		fmt.Fprintf(&list, "web%d.example.com\n", i)
	}
	for name, expr := range map[string]string{
		"range":   "n[0-99999]",
		"product": "r[1-100]c[1-10]n[1-100]",
		"algebra": "n[0-99999]!n[500-700]&n[100-90000]",
		"list":    list.String(),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				mustParse(b, expr)
			}
		})
	}
}

func BenchmarkString(b *testing.B) {
	for name, expr := range map[string]string{
		"range":   "n[0-99999]",
		"product": "r[1-100]c[1-10]n[1-100]",
		"ragged":  "a[1-316]b[1-316]!a[1-316/3]b[1-316/7]!a[1-316/7]b[1-316/2]",
		"IPv4":    "10.0.[0-199].[1-250],10.[1-200].[1-250].7",
	} {
		s := mustParse(b, expr)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = s.String()
			}
		})
	}
}

func BenchmarkContains(b *testing.B) {
	s := mustParse(b, "n[0-99999]")
	for b.Loop() {
		s.Contains("n73712")
	}
}

func BenchmarkUnion(b *testing.B) {
	s, t := mustParse(b, "n[0-99999]"), mustParse(b, "n[50000-149999]")
	for b.Loop() {
		s.Union(t)
	}
}
