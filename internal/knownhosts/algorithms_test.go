package knownhosts_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"fleetssh/internal/knownhosts"
)

// short abbreviates algorithms: "ed* ec* rsa*" are certificate algorithms.
func short(algorithms []string) string {
	var words []string
	for _, a := range algorithms {
		word := map[string]string{
			"ssh-ed25519": "ed", "ecdsa-sha2-nistp256": "ec256", "ecdsa-sha2-nistp384": "ec384",
			"ecdsa-sha2-nistp521": "ec521", "rsa-sha2-512": "rsa512", "rsa-sha2-256": "rsa256",
		}[strings.TrimSuffix(a, "-cert-v01@openssh.com")]
		if strings.HasSuffix(a, "-cert-v01@openssh.com") {
			word += "*"
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

const (
	certificates = "ed* ec256* ec384* ec521* rsa512* rsa256* "
	edFirst      = "ed ec256 ec384 ec521 rsa512 rsa256"
	ecFirst      = "ec256 ed ec384 ec521 rsa512 rsa256"
	rsaFirst     = "rsa512 rsa256 ed ec256 ec384 ec521"
)

func TestAlgorithms(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, file, want string
	}{
		{"nothing", "", ""},
		{"other host", "other {ed}", ""},
		{"ed25519", "[web]:2222 {ed}", edFirst},
		{"ecdsa", "[web]:2222 {ec}", ecFirst},
		{"rsa", "[web]:2222 {rsa}", rsaFirst},
		{"two", "[web]:2222 {rsa}\n[web]:2222 {ec}", "ec256 rsa512 rsa256 ed ec384 ec521"},
		{"plain name; OpenSSH does not look", "web {rsa}", rsaFirst},
		{"port before plain name", "web {rsa}\n[web]:2222 {ec}", ecFirst},
		{"pattern for plain name", "w* {rsa}", rsaFirst},
		{"pattern for port", "[w*]:2222 {rsa}", rsaFirst},
		{"star", "* {rsa}", rsaFirst},
		{"revoked", "@revoked * {rsa}", certificates + edFirst},
		{"revoked for another host", "@revoked other {rsa}\nweb {rsa}", rsaFirst},
		{"revoked, and known", "@revoked * {ca}\nweb {rsa}", certificates + rsaFirst},
		{"authority", "@cert-authority * {rsaca}", certificates + edFirst},
		{"authority by plain name", "@cert-authority web {ca}", certificates + edFirst},
		{"authority and key", "@cert-authority web {ca}\n[web]:2222 {rsa}", certificates + rsaFirst},
		{"dsa only", "web ssh-dss AAAAB3NzaC1kc3M=", edFirst},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for _, file := range []string{test.file, hash(test.file)} {
				if got := short(read(t, file).Algorithms("web", 2222)); got != test.want {
					t.Errorf("got  %s\nwant %s", got, test.want)
				}
			}
		})
	}
}

// A file with many hashed lines is not searched before the connection. The types guessed from it
// may be wrong for a host, and the error corrects them.
func TestAlgorithmsOfManyHashedLines(t *testing.T) {
	t.Parallel()
	var file strings.Builder
	for i := range 300 {
		fmt.Fprintf(&file, "host%d {ed}\nhost%d {ec}\n", i, i)
	}
	file.WriteString("old {rsa}\nboth {rsa}\nboth {ed}\n[ported]:2222 {rsa}\nplain {rsa}\n")
	db := read(t, hash(file.String())+"clear {rsa}\n@cert-authority certified {ca}\n")
	tests := []struct {
		host       string
		port       int
		algorithms string
		shown      string
		want       string
		retry      string
	}{
		{"host7", 22, "ed ec256 rsa512 rsa256 ec384 ec521", "ed", "ok", ""},
		{"host7", 22, "ed ec256 rsa512 rsa256 ec384 ec521", "ed2", "changed", ""},
		{"host7", 22, "ed ec256 rsa512 rsa256 ec384 ec521", "rsa", "changed", "ed ec256"},
		{"old", 22, "ed ec256 rsa512 rsa256 ec384 ec521", "ed", "changed", "rsa512 rsa256"},
		{"old", 22, "ed ec256 rsa512 rsa256 ec384 ec521", "rsa", "ok", ""},
		{"both", 22, "ed ec256 rsa512 rsa256 ec384 ec521", "ed", "ok", ""},
		{"both", 22, "ed ec256 rsa512 rsa256 ec384 ec521", "ec", "changed", "ed rsa512 rsa256"},
		{"ported", 2222, "ed ec256 rsa512 rsa256 ec384 ec521", "ed", "changed", "rsa512 rsa256"},
		{"plain", 2222, "ed ec256 rsa512 rsa256 ec384 ec521", "ed", "unknown", "rsa512 rsa256"},
		{"plain", 2222, "ed ec256 rsa512 rsa256 ec384 ec521", "rsa", "ok", ""},
		{"unknown", 22, "ed ec256 rsa512 rsa256 ec384 ec521", "ed", "unknown", ""},
		{"clear", 22, "rsa512 rsa256 ed ec256 ec384 ec521", "rsa", "ok", ""},
		{"certified", 22, certificates + "ed ec256 rsa512 rsa256 ec384 ec521", "ed", "unknown", ""},
	}
	for _, test := range tests {
		t.Run(fmt.Sprintf("%s %d shows %s", test.host, test.port, test.shown), func(t *testing.T) {
			t.Parallel()
			if got := short(db.Algorithms(test.host, test.port)); got != test.algorithms {
				t.Errorf("algorithms %s, want %s", got, test.algorithms)
			}
			err := db.Check(test.host, test.port, key(test.shown))
			if got := outcome(t, err); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
			var e *knownhosts.KeyError
			if errors.As(err, &e); e != nil && short(e.Retry) != test.retry {
				t.Errorf("retry with %s, want %s", short(e.Retry), test.retry)
			}
		})
	}
}

// A useless certificate must not hide a plain key of another type.
func TestRetryAfterCertificate(t *testing.T) {
	t.Parallel()
	db := read(t, "@cert-authority * {ca}\nweb {rsa}")
	err := db.Check("web", 22, certify(t, "ed", "ca2"))
	var e *knownhosts.KeyError
	if !errors.As(err, &e) || short(e.Retry) != "rsa512 rsa256" {
		t.Errorf("%v, %v", err, e.Retry)
	}
}

func TestAlgorithmsAreTheCallers(t *testing.T) {
	t.Parallel()
	db := read(t, "web {ed}")
	first := db.Algorithms("web", 22)
	want := slices.Clone(first)
	clear(first)
	if got := db.Algorithms("web", 22); !slices.Equal(got, want) {
		t.Error(got)
	}
}
