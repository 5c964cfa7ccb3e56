package gss

import (
	"encoding/hex"
	"testing"
)

// TestShortSecrets passes inputs on which gokrb5 panics.
func TestShortSecrets(t *testing.T) {
	t.Parallel()
	for _, etype := range append(defaultEtypes(), 0, 16, 23, -1) {
		for n := range 40 {
			k := key{etype, make([]byte, n)}
			k.encrypt(1, nil)
			k.decrypt(1, make([]byte, n))
			k.decrypt(1, make([]byte, 100))
			k.checksum(1, nil)
		}
		passwordKey(etype, "x", "", []byte{1})
		if _, err := passwordKey(etype, "x", "", []byte{255, 255, 255, 255}); err == nil {
			t.Errorf("%d: a KDC can demand hours of computing", etype)
		}
	}
}

// TestPasswordKey derives the keys of RFC 3962, appendix B.
func TestPasswordKey(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		etype      int32
		iterations []byte
		want       string
	}{
		{aes128SHA1, []byte{0, 0, 0, 1}, "42263c6e89f4fc28b8df68ee09799f15"},
		{aes256SHA1, []byte{0, 0, 0, 1}, "fe697b52bc0d3ce14432ba036a92e65bbb52280990a2fa27883998d72af30161"},
		{aes128SHA1, []byte{0, 0, 4, 0xb0}, "4c01cd46d632d01e6dbe230a01ed642a"},
		{aes256SHA1, []byte{0, 0, 4, 0xb0}, "55a6ac740ad17b4846941051e1e8b0a7548d93b0ab30a8bc3ff16280382b8c2a"},
	} {
		k, err := passwordKey(test.etype, "password", "ATHENA.MIT.EDUraeburn", test.iterations)
		if got := hex.EncodeToString(k.value); err != nil || got != test.want {
			t.Errorf("%s: %s, %v, want %s", etypeName(test.etype), got, err, test.want)
		}
	}
}

// TestRoundTrip encrypts and decrypts with keys of every type.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for _, etype := range defaultEtypes() {
		s, _ := sizesOf(etype)
		k := key{etype, make([]byte, s.key)}.newKey()
		for _, plain := range []string{"", "x", "sixteen bytes  .", "more than sixteen bytes"} {
			cipher, err := k.encrypt(1, []byte(plain))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := k.decrypt(1, cipher); err != nil || string(got) != plain {
				t.Errorf("%s: %q, %v, want %q", etypeName(etype), got, err, plain)
			}
			if _, err := k.decrypt(2, cipher); err == nil {
				t.Errorf("%s: decrypted with another key usage", etypeName(etype))
			}
		}
		if sum, _, err := k.checksum(1, nil); err != nil || len(sum) != s.sum {
			t.Errorf("%s: checksum of %d bytes, %v, want %d", etypeName(etype), len(sum), err, s.sum)
		}
	}
}
