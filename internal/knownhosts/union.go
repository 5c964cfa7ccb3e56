package knownhosts

import (
	"cmp"
	"errors"
	"slices"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/algorithms"
)

// A Union is several DBs that count as one: the files that all hosts share, and the lines that a
// [Command] has listed for one host.
type Union []*DB

// Check is [DB.Check]: a key is trusted if one DB lists it and none revokes it.
func (u Union) Check(host string, port int, key ssh.PublicKey) error {
	worst, trusted := &KeyError{Reason: Unknown, Key: key}, false
	for _, db := range u {
		var fault *KeyError
		switch {
		case !errors.As(db.Check(host, port, key), &fault):
			trusted = true
		case fault.Reason == Revoked:
			return fault
		default:
			worst = worst.merge(fault)
		}
	}
	if trusted {
		return nil
	}
	return worst
}

// merge returns the error for two DBs, neither of which lists the key.
func (e *KeyError) merge(o *KeyError) *KeyError {
	both := *e
	switch {
	case e.Reason == o.Reason:
		both.Known = slices.Concat(e.Known, o.Known)
	case o.Reason == Changed || e.Reason == Unknown:
		both.Reason, both.Known = o.Reason, o.Known
	}
	both.Known = both.Known[:min(len(both.Known), maxKnown)]
	if both.Err == nil {
		both.Err = o.Err
	}
	both.Unread = slices.Concat(e.Unread, o.Unread)
	// If a DB lists a key of the type that was shown, the key has changed, and there is no
	// retry.
	sameType := func(e *KeyError) bool { return e.Reason == Changed && e.Retry == nil }
	both.Retry = nil
	if !sameType(e) && !sameType(o) {
		both.Retry = slices.Concat(e.Retry, o.Retry)
		place := func(a string) int { return slices.Index(algorithms.HostKeys(), a) }
		slices.SortFunc(both.Retry, func(a, b string) int { return cmp.Compare(place(a), place(b)) })
		both.Retry = slices.Compact(both.Retry)
	}
	return &both
}

// Algorithms is [DB.Algorithms].
func (u Union) Algorithms(host string, port int) []string {
	names := hostNames(host, port)
	var types []string
	certified := false
	for _, db := range u {
		t, c := db.knownTypes(names)
		types, certified = append(types, t...), certified || c || db.revokes(names)
	}
	slices.SortFunc(types, byPreference)
	if len(types) == 0 {
		for _, db := range u {
			types = append(types, db.likelyTypes()...)
		}
	}
	return hostKeyAlgorithms(types, certified)
}
