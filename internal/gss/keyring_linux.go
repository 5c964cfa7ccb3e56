package gss

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Names and layout follow MIT's src/lib/krb5/ccache/cc_keyring.c. The name of a cache is
// "anchor:collection:cache". It may be shortened to "anchor:collection", or to "collection" in the
// legacy form. The anchor is a keyring of the kernel that contains a keyring for the collection.
// The collection contains a key with the name of the default cache, and a keyring for each cache. A
// cache contains a key for the principal and one for each ticket.

const (
	keyringPrefix    = "_krb_" // of the names of collections
	keyringPrimary   = "krb_ccache:primary"
	keyringPrincipal = "__krb5_princ__"
	keyringOffsets   = "__krb5_time_offsets__"
	keyringMaxKey    = 1 << 20 // limits the bytes of a key
)

// keyringName is the name of a cache or collection.
type keyringName struct {
	anchor, collection, cache string
}

// parseKeyringName parses the part after "KEYRING:".
func parseKeyringName(rest string) keyringName {
	anchor, more, found := strings.Cut(rest, ":")
	if !found {
		return keyringName{anchor: "legacy", collection: rest}
	}
	collection, cache, _ := strings.Cut(more, ":")
	return keyringName{anchor, collection, cache}
}

func keyringCollection(rest string) collection {
	name := parseKeyringName(rest)
	primary := func() (c *cache, err error) {
		onThread(func() { c, err = name.readPrimary() })
		return c, err
	}
	if name.cache != "" {
		return collection{primary: primary}
	}
	return collection{primary: primary, all: func(yield func(*cache) bool) {
		var caches []*cache
		onThread(func() { caches = name.readAll() })
		for _, c := range caches {
			if !yield(c) {
				return
			}
		}
	}}
}

// onThread calls a function on one OS thread: to open a persistent keyring, it must be linked to a
// keyring that may belong to a thread.
func onThread(f func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	f()
}

// open returns the ID of the keyring of the collection.
func (n keyringName) open() (id int, err error) {
	anchors := map[string]int{
		"legacy": unix.KEY_SPEC_SESSION_KEYRING, "session": unix.KEY_SPEC_SESSION_KEYRING, "user": unix.KEY_SPEC_USER_KEYRING,
		"process": unix.KEY_SPEC_PROCESS_KEYRING, "thread": unix.KEY_SPEC_THREAD_KEYRING,
	}
	if n.anchor == "persistent" {
		uid := os.Geteuid()
		if n.collection != "" {
			if uid, err = strconv.Atoi(n.collection); err != nil {
				return 0, fmt.Errorf("%q is not a user ID", n.collection)
			}
		}
		anchor, err := unix.KeyctlInt(unix.KEYCTL_GET_PERSISTENT, uid, unix.KEY_SPEC_PROCESS_KEYRING, 0, 0)
		if err != nil {
			return 0, keyringError(err)
		}
		return search(anchor, "keyring", "_krb")
	}
	anchor, known := anchors[n.anchor]
	if !known {
		return 0, fmt.Errorf("keyring type %q is not known; use persistent, session, user, process or thread", n.anchor)
	}
	return search(anchor, "keyring", keyringPrefix+n.collection)
}

func (n keyringName) readPrimary() (*cache, error) {
	id, err := n.open()
	if errors.Is(err, errNoCache) && n.anchor == "legacy" {
		// Old versions of MIT had no collections: the anchor contained the cache.
		return n.read(unix.KEY_SPEC_SESSION_KEYRING, n.collection)
	}
	if err != nil {
		return nil, err
	}
	name := n.cache
	if name == "" {
		if name, err = readPrimaryName(id); err != nil {
			return nil, err
		}
	}
	c, err := n.read(id, name)
	if errors.Is(err, errNoCache) && n.anchor == "legacy" {
		return n.read(unix.KEY_SPEC_SESSION_KEYRING, name)
	}
	return c, err
}

// readPrimaryName returns the name of the default cache. Its key contains a version, a length and
// the name.
func readPrimaryName(collection int) (string, error) {
	id, err := search(collection, "user", keyringPrimary)
	if err != nil {
		return "", err
	}
	data, err := readKey(id)
	if err != nil {
		return "", err
	}
	r := &cacheReader{rest: data}
	ok := r.uint32() == 1
	name := string(r.bytes())
	if !ok || r.failed {
		return "", errMalformed
	}
	return name, nil
}

func (n keyringName) readAll() []*cache {
	collection, err := n.open()
	if err != nil {
		return nil
	}
	var caches []*cache
	for _, id := range members(collection) {
		if kind, name := describe(id); kind == "keyring" && len(caches) < maxCaches {
			if c, err := n.readKeyring(id, name); err == nil {
				caches = append(caches, c)
			}
		}
	}
	return caches
}

// read reads the cache with a name in a keyring.
func (n keyringName) read(parent int, name string) (*cache, error) {
	id, err := search(parent, "keyring", name)
	if err != nil {
		return nil, err
	}
	return n.readKeyring(id, name)
}

func (n keyringName) readKeyring(id int, name string) (*cache, error) {
	c := &cache{name: fmt.Sprintf("KEYRING:%s:%s:%s", n.anchor, n.collection, name)}
	found := false
	for _, id := range members(id) {
		kind, description := describe(id)
		if kind != "user" && kind != "big_key" || description == keyringOffsets {
			continue
		}
		data, err := readKey(id)
		if err != nil {
			continue // the key expired or was removed meanwhile
		}
		if description == keyringPrincipal {
			if c.principal, err = parsePrincipalRecord(data); err != nil {
				return nil, err
			}
			found = true
			continue
		}
		if t, err := parseTicket(data); err == nil && t != nil && len(c.tickets) < maxTickets {
			c.tickets = append(c.tickets, t)
		}
	}
	if !found {
		return nil, errNoCache
	}
	return c, nil
}

// search finds a key in a keyring or in the keyrings inside it.
func search(keyring int, kind, description string) (int, error) {
	id, err := unix.KeyctlSearch(keyring, kind, description, 0)
	if err != nil {
		return 0, keyringError(err)
	}
	return id, nil
}

// keyringError converts an error of keyctl. If the key does not exist, it returns errNoCache. In
// many containers, the kernel does not let a process read keyrings.
func keyringError(err error) error {
	switch {
	case errors.Is(err, unix.ENOKEY), errors.Is(err, unix.EKEYEXPIRED), errors.Is(err, unix.EKEYREVOKED):
		return errNoCache
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("the kernel does not let this process read keyrings: %w", err)
	}
	return fmt.Errorf("keyctl: %w", err)
}

// members returns the IDs of the keys in a keyring.
func members(keyring int) []int {
	data, err := readKey(keyring)
	if err != nil {
		return nil
	}
	var ids []int
	for ; len(data) >= 4; data = data[4:] {
		ids = append(ids, int(int32(binary.NativeEndian.Uint32(data))))
	}
	return ids
}

// describe returns the type and the description of a key.
func describe(id int) (kind, description string) {
	text, err := unix.KeyctlString(unix.KEYCTL_DESCRIBE, id)
	if err != nil {
		return "", ""
	}
	// "type;uid;gid;permissions;description": only the description may contain a semicolon.
	fields := strings.SplitN(text, ";", 5)
	if len(fields) < 5 {
		return "", ""
	}
	return fields[0], fields[4]
}

// readKey returns the payload of a key.
func readKey(id int) ([]byte, error) {
	buffer := make([]byte, 4096)
	for {
		n, err := unix.KeyctlBuffer(unix.KEYCTL_READ, id, buffer, 0)
		if err != nil {
			return nil, keyringError(err)
		}
		if n <= len(buffer) {
			return buffer[:n], nil
		}
		if n > keyringMaxKey {
			return nil, errMalformed
		}
		buffer = make([]byte, n)
	}
}
