package sshconfig_test

import (
	"fmt"
	"strings"
	"testing"

	"fleetssh"
)

// BenchmarkHost5000 resolves 5,000 hosts against 2,000 lines.
func BenchmarkHost5000(b *testing.B) {
	var text strings.Builder
	for i := range 480 {
		fmt.Fprintf(&text, "Host web%d db%d-*\n  HostName %%h.example.org\n  User u%d\n  IdentityFile ~/.ssh/key%d\n", i, i, i, i)
	}
	text.WriteString("Match host *.example.org exec true\n  Port 23\nMatch final host db*\n  ConnectTimeout 5\nHost gw\n  ProxyJump none\nHost *\n  ProxyJump gw\n  Ciphers +aes128-cbc\n")
	text.WriteString(strings.Repeat("  SendEnv LANG\n", 60))
	f := load(b, text.String())
	b.ReportAllocs()
	for b.Loop() {
		for i := range 5000 {
			if _, err := f.Host(fmt.Sprintf("db%d-%d", i%480, i), fleetssh.HostConfig{}); err != nil {
				b.Fatal(err)
			}
		}
	}
}
