package audit

import (
	"slices"
	"strings"

	"fleetssh"
)

// isPostQuantum reports whether a key exchange withstands quantum computers: it is a hybrid with ML-KEM
// (draft-ietf-sshm-mlkem-hybrid-kex) or with Streamlined NTRU Prime.
func isPostQuantum(keyExchange string) bool {
	return strings.HasPrefix(keyExchange, "mlkem") || strings.HasPrefix(keyExchange, "sntrup")
}

// postQuantumText says whether the key exchange of a login is post-quantum, and if not, whether the host
// has one that is.
func postQuantumText(l *fleetssh.Login) string {
	if isPostQuantum(l.Algorithms.KeyExchange) {
		return "yes"
	}
	if i := slices.IndexFunc(l.Offered.KeyExchanges, isPostQuantum); i >= 0 {
		return "no, though the host has " + l.Offered.KeyExchanges[i]
	}
	if len(l.Offered.KeyExchanges) == 0 {
		return "no"
	}
	return "no, the host has none"
}
