package keyaudit

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh"
)

// keyOf returns the same key for the same seed.
func keyOf(t *testing.T, seed byte) ssh.PublicKey {
	t.Helper()
	key, err := ssh.NewPublicKey(ed25519.NewKeyFromSeed([]byte(strings.Repeat(string(seed), ed25519.SeedSize))).Public())
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// user answers questions, one after the other.
type user struct {
	answers []string
	asked   []string
	takes   time.Duration // for each answer
}

func (u *user) ask(ctx context.Context, prompt string, _ bool) (string, error) {
	u.asked = append(u.asked, prompt)
	select {
	case <-time.After(u.takes):
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	if len(u.answers) == 0 {
		return "", errors.New("end of input")
	}
	answer := u.answers[0]
	u.answers = u.answers[1:]
	return answer, nil
}

// confirmAll has hosts web1 and up confirmed, each after a time, and returns which are trusted.
func confirmAll(ctx context.Context, c *Confirmation, keys []ssh.PublicKey, after func(i int) time.Duration) string {
	trusted := make([]bool, len(keys))
	var wg sync.WaitGroup
	for i, key := range keys {
		wg.Go(func() {
			time.Sleep(after(i))
			trusted[i] = c.Confirm(ctx, fleetssh.NewHostKey{Host: fmt.Sprintf("web%d", i+1), Key: key, File: "/home/ann/.ssh/known_hosts"})
		})
	}
	wg.Wait()
	return fmt.Sprint(trusted)
}

func atOnce(int) time.Duration { return 0 }

// Hosts that come within a second are asked about together, and hosts with one key share a line.
func TestConfirmTogether(t *testing.T) {
	t.Parallel()
	a, b, c := keyOf(t, 'a'), keyOf(t, 'b'), keyOf(t, 'c')
	fa, fb, fc := ssh.FingerprintSHA256(a), ssh.FingerprintSHA256(b), ssh.FingerprintSHA256(c)
	question := "The authenticity of 5 hosts can't be established: their keys are not known.\n" +
		"  web[2-4] show the same key, ssh-ed25519 " + fb + ": copies of one image, one host under several names, or a man-in-the-middle attack\n" +
		"  web1: ssh-ed25519 " + fa + "\n" +
		"  web5: ssh-ed25519 " + fc + "\n" +
		"Compare the fingerprints with what the administrator of the hosts says.\n" +
		"Trust them, and add them to /home/ann/.ssh/known_hosts (yes/no/[fingerprint])? "
	for _, test := range []struct {
		answers       []string
		trusted, last string
	}{
		{[]string{"yes"}, "[true true true true true]", question},
		{[]string{"no"}, "[false false false false false]", question},
		{[]string{fb}, "[false true true true false]", question},
		{[]string{" " + fa + "  " + fc}, "[true false false false true]", question},
		{nil, "[false false false false false]", question},
		{[]string{"", "list", "y", " YES "}, "[true true true true true]", "Please type 'yes', 'no' or the fingerprint: "},
		{[]string{fa + " SHA256:x", "no"}, "[false false false false false]", "no host shows SHA256:x\nPlease type 'yes', 'no' or the fingerprint: "},
	} {
		synctest.Test(t, func(t *testing.T) {
			u := &user{answers: test.answers}
			trusted := confirmAll(t.Context(), &Confirmation{Ask: u.ask, Hosts: 9}, []ssh.PublicKey{a, b, b, b, c}, func(i int) time.Duration {
				return time.Duration(5-i) * 900 * time.Millisecond
			})
			if trusted != test.trusted || len(u.answers) > 0 || u.asked[0] != question || u.asked[len(u.asked)-1] != test.last {
				t.Errorf("%q: %s, asked %q", test.answers, trusted, u.asked)
			}
		})
	}
}

// A single host is asked about at once. A host that comes later is asked about on its own, unless the
// user has said no.
func TestConfirmLater(t *testing.T) {
	t.Parallel()
	a, b := keyOf(t, 'a'), keyOf(t, 'b')
	synctest.Test(t, func(t *testing.T) {
		u, begun := &user{answers: []string{"yes"}}, time.Now()
		trusted := confirmAll(t.Context(), &Confirmation{Ask: u.ask, Hosts: 1}, []ssh.PublicKey{a}, atOnce)
		if want := "The authenticity of host 'web1' can't be established: its key is not known.\n" +
			"  web1: ssh-ed25519 " + ssh.FingerprintSHA256(a) + "\n" +
			"Compare the fingerprint with what the administrator of the host says.\n" +
			"Trust it, and add it to /home/ann/.ssh/known_hosts (yes/no/[fingerprint])? "; trusted != "[true]" || u.asked[0] != want || time.Since(begun) > 0 {
			t.Errorf("%s after %v, asked %q", trusted, time.Since(begun), u.asked)
		}
	})
	for answer, want := range map[string]struct {
		trusted   string
		questions int
	}{"yes": {"[true false]", 2}, "no": {"[false false]", 1}} {
		synctest.Test(t, func(t *testing.T) {
			u := &user{answers: []string{answer, "no"}, takes: time.Hour}
			trusted := confirmAll(t.Context(), &Confirmation{Ask: u.ask, Hosts: 9}, []ssh.PublicKey{a, b}, func(i int) time.Duration { return time.Duration(i) * time.Minute })
			if trusted != want.trusted || len(u.asked) != want.questions {
				t.Errorf("%q: %s, asked %q", answer, trusted, u.asked)
			}
		})
	}
}

// A question ends with the context of the host on whose behalf it is asked. Another host asks again.
func TestConfirmEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		u := &user{answers: []string{"yes"}, takes: time.Minute}
		c := &Confirmation{Ask: u.ask, Hosts: 9}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() {
			if trusted := confirmAll(ctx, c, []ssh.PublicKey{keyOf(t, 'a'), keyOf(t, 'b')}, atOnce); trusted != "[false false]" {
				t.Errorf("after the end: %s", trusted)
			}
		})
		time.Sleep(10 * time.Millisecond)
		if !c.Confirm(t.Context(), fleetssh.NewHostKey{Host: "db1", Key: keyOf(t, 'c')}) {
			t.Error("the host that has not ended is not trusted")
		}
		wg.Wait()
		if last := u.asked[len(u.asked)-1]; len(u.asked) != 2 || !strings.Contains(last, "host 'db1'") || !strings.Contains(last, "remember it for this run") {
			t.Errorf("asked %q", u.asked)
		}
	})
}

// A question has a limited number of lines; "list" shows all.
func TestConfirmMany(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var keys []ssh.PublicKey
		for i := range 60 {
			keys = append(keys, keyOf(t, byte(i)))
		}
		u := &user{answers: []string{"list", "yes"}}
		confirmAll(t.Context(), &Confirmation{Ask: u.ask, Hosts: len(keys)}, keys, atOnce)
		if n := strings.Count(u.asked[0], "\n"); n != maxShownKeys+3 || !strings.Contains(u.asked[0], "\n  and 40 more; \"list\" shows all\n") {
			t.Errorf("%d lines:\n%s", n, u.asked[0])
		}
		if n := strings.Count(u.asked[1], "\n  web"); n != len(keys) {
			t.Errorf("the list has %d lines", n)
		}
	})
}
