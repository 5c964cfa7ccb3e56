package conn

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// kexInit returns a first packet of a host that offers these key exchanges.
func kexInit(keyExchanges ...string) []byte {
	lists := ssh.Marshal(struct {
		KeyExchanges, HostKeys []string
		Ciphers, CiphersBack   []string
		MACs, MACsBack         []string
		C, D, L, M             []string
		Follows                bool
		Reserved               uint32
	}{KeyExchanges: keyExchanges, HostKeys: []string{"ssh-ed25519"}, Ciphers: []string{"aes128-ctr"}, MACs: []string{"hmac-sha2-256"}})
	const padding = 4
	payload := slices.Concat([]byte{msgKexInit}, make([]byte, cookieSize), lists, make([]byte, padding))
	packet := binary.BigEndian.AppendUint32(nil, uint32(1+len(payload)))
	return slices.Concat(packet, []byte{padding}, payload)
}

// The offer is read from what follows the version line, however the bytes arrive.
func TestOffer(t *testing.T) {
	t.Parallel()
	good := kexInit("mlkem768x25519-sha256", "bad\x1b[2Jname", "", strings.Repeat("x", maxName+1), "curve25519-sha256")
	ignore := slices.Clone(good)
	ignore[5] = 2 // SSH_MSG_IGNORE
	long := slices.Clone(good)
	long[0] = 0xff
	for _, test := range []struct {
		name string
		sent []byte
		want string // key exchanges, host keys, ciphers, MACs
	}{
		{"complete", good, "[mlkem768x25519-sha256 curve25519-sha256] [ssh-ed25519] [aes128-ctr] [hmac-sha2-256]"},
		{"and more packets", append(slices.Clone(good), good...), "[mlkem768x25519-sha256 curve25519-sha256] [ssh-ed25519] [aes128-ctr] [hmac-sha2-256]"},
		{"cut", good[:len(good)-1], "[] [] [] []"},
		{"another packet", ignore, "[] [] [] []"},
		{"too long", long, "[] [] [] []"},
		{"padding only", []byte{0, 0, 0, 2, 255, msgKexInit}, "[] [] [] []"},
		{"a packet of no length", []byte{0, 0, 0, 0, 0, 0}, "[] [] [] []"},
		{"not lists", append([]byte{0, 0, 0, 24, 0, msgKexInit}, bytes.Repeat([]byte{0xff}, 22)...), "[] [] [] []"},
	} {
		for _, piece := range []int{1, 7, 100_000} {
			var g Greeting
			sent := append([]byte("welcome\r\nSSH-2.0-OpenSSH_9.6\r\n"), test.sent...)
			for part := range slices.Chunk(sent, piece) {
				if err := g.record(part); err != nil {
					t.Fatal(err)
				}
			}
			offered := g.Offer().Algorithms()
			if got := fmt.Sprint(offered.KeyExchanges, offered.HostKeys, offered.Ciphers, offered.MACs); got != test.want {
				t.Errorf("%s, in pieces of %d: %s, want %s", test.name, piece, got, test.want)
			}
			if g.Version() != "SSH-2.0-OpenSSH_9.6" {
				t.Errorf("version %q", g.Version())
			}
		}
	}
}

// FuzzOffer reads any packet.
func FuzzOffer(f *testing.F) {
	f.Add(kexInit("curve25519-sha256"))
	f.Add([]byte{0, 0, 0, 2, 255, msgKexInit})
	f.Fuzz(func(t *testing.T, packet []byte) {
		var r offerReader
		for part := range slices.Chunk(packet, 11) {
			r.record(part)
		}
		if len(r.packet) > maxPacket {
			t.Errorf("it keeps %d bytes", len(r.packet))
		}
		if offer := r.offer.Load(); offer != nil {
			for _, name := range offer.Algorithms().KeyExchanges {
				if strings.ContainsFunc(name, func(c rune) bool { return c <= ' ' || c > '~' }) {
					t.Errorf("the name %q", name)
				}
			}
		}
	})
}
