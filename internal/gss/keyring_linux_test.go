package gss

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"fleetssh/internal/kdctest"
	"fleetssh/internal/sshdtest"
)

// TestCaches reads caches of each type, written by MIT's programs, and selects a cache of a
// collection by identity.
func TestCaches(t *testing.T) {
	t.Parallel()
	all := t
	sshdtest.CheckLeaks(t)
	socket, noKCM := kdctest.StartKCM(t)
	if noKCM != nil {
		socket = filepath.Join(t.TempDir(), "none")
	}
	k := kdctest.Start(t, kdctest.Options{LibDefaults: []string{"kcm_socket = " + socket}})
	for _, name := range []string{"alice", "bob"} {
		k.AddPrincipal(t, name, testPassword)
	}
	k.AddService(t, "host/localhost")
	dir := filepath.Join(k.Dir, "dir")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	noKeys := keyringRefused()
	keyring := fmt.Sprintf("fleetssh%d", os.Getpid())
	kinds := []struct {
		name       string
		collection string
		refused    error // why this process cannot use the type; or nil
	}{
		{"DIR", "DIR:" + dir, nil},
		{"KCM", "KCM:", noKCM},
		{"KEYRING user", "KEYRING:user:" + keyring, noKeys},
		{"KEYRING session", "KEYRING:session:" + keyring, noKeys},
		{"KEYRING persistent", fmt.Sprintf("KEYRING:persistent:%d", unusedUID), persistentRefused(noKeys)},
	}
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			o := Options{Config: k.Config, Cache: kind.collection}
			if kind.refused != nil {
				_, err := NewCredentials(o).Principal(t.Context())
				if err == nil || !strings.Contains(err.Error(), "cannot be reached") && !strings.Contains(err.Error(), "read keyrings") {
					t.Errorf("%v, where %v", err, kind.refused)
				}
				return
			}
			removeKeyring(all, k, kind.collection)
			for _, name := range []string{"alice", "bob"} {
				k.Kinit(t, kind.collection, name, testPassword)
			}
			for _, name := range []string{"alice", "bob"} {
				k.Kswitch(t, kind.collection, name)
				wantPrincipal(t, o, name+"@FLEET.TEST")
				wantTicket(t, o)
			}
			for _, name := range []string{"alice", "bob@FLEET.TEST"} {
				o.Client = name
				wantPrincipal(t, o, strings.TrimSuffix(name, "@FLEET.TEST")+"@FLEET.TEST")
				wantTicket(t, o)
			}
			o.Client = "carol"
			if _, err := NewCredentials(o).Principal(t.Context()); err == nil || !strings.Contains(err.Error(), "run kinit carol@FLEET.TEST") {
				t.Errorf("unknown client: %v", err)
			}
		})
	}
	t.Run("one of DIR", func(t *testing.T) {
		files, err := filepath.Glob(filepath.Join(dir, "tkt*"))
		if err != nil || len(files) != 2 {
			t.Fatalf("files %v, %v", files, err)
		}
		seen := make(map[string]bool)
		for _, file := range files {
			name, err := NewCredentials(Options{Config: k.Config, Cache: "DIR::" + file}).Principal(t.Context())
			if err != nil {
				t.Error(err)
			}
			seen[name] = true
		}
		if len(seen) != 2 {
			t.Errorf("found %v", seen)
		}
	})
	t.Run("legacy KEYRING", func(t *testing.T) {
		if noKeys != nil {
			t.Logf("keyrings cannot be used: %v", noKeys)
			return
		}
		o := Options{Config: k.Config, Cache: "KEYRING:" + keyring + "old"}
		removeKeyring(t, k, o.Cache)
		k.Kinit(t, o.Cache, "alice", testPassword)
		wantPrincipal(t, o, "alice@FLEET.TEST")
		wantTicket(t, o)
	})
}

// keyringRefused returns why this process cannot use keyrings, as in many containers, or nil.
func keyringRefused() error {
	_, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_USER_KEYRING, true)
	return err
}

// unusedUID is a user ID without a user. The tests use its persistent keyring, because the keyring
// of the current user may contain tickets. Only root can open it.
var unusedUID = 1_900_000_000 + os.Getpid()

func persistentRefused(noKeys error) error {
	if noKeys == nil && os.Geteuid() != 0 {
		return errors.New("only root can open the persistent keyrings of other users")
	}
	return noKeys
}

// removeKeyring removes a collection from the kernel after the test.
func removeKeyring(t testing.TB, k *kdctest.KDC, cache string) {
	t.Helper()
	rest, ok := strings.CutPrefix(cache, "KEYRING:")
	if !ok {
		return
	}
	t.Cleanup(func() {
		k.Kdestroy(t, cache)
		onThread(func() {
			anchor := unix.KEY_SPEC_SESSION_KEYRING
			switch {
			case strings.HasPrefix(rest, "user:"):
				anchor = unix.KEY_SPEC_USER_KEYRING
			case strings.HasPrefix(rest, "persistent:"):
				anchor, _ = unix.KeyctlInt(unix.KEYCTL_GET_PERSISTENT, unusedUID, unix.KEY_SPEC_PROCESS_KEYRING, 0, 0)
			}
			if id, err := parseKeyringName(rest).open(); err == nil {
				unix.KeyctlInt(unix.KEYCTL_UNLINK, id, anchor, 0, 0)
			}
		})
	})
}
