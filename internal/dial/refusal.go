package dial

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/algorithms"
	"fleetssh/internal/sanitize"
)

// explain records a note if the host allows only methods that the client has no credentials for.
func (a *authenticator) explain(allowed []string) {
	if len(a.tried) == 0 {
		a.record("no credentials for the methods that the host allows: %s", sanitize.List(allowed))
	}
}

// record adds a note that may explain why the login fails, and returns it as an error.
func (a *authenticator) record(format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	a.notes = append(a.notes, err)
	return err
}

// refusal returns the failure of a refused login. cause, if not nil, is the error that ended it.
func (a *authenticator) refusal(cause error) *Failure {
	if a.badKey != nil && a.host.Auth.Identities.OnlyNamed() && !slices.ContainsFunc(a.tried, func(m string) bool { return m != "publickey" }) {
		return a.badKey // only the named keys may be used, and one of them cannot be decrypted
	}
	if a.noTicket != nil && !a.sent && !a.reportsRefusal {
		return a.noTicket
	}
	var notes []error
	for _, note := range a.creds.Notes() {
		notes = append(notes, keyFileFailure("", note)) // the refusal names the host
	}
	notes = slices.Concat(notes, a.notes, a.unbuilt())
	if cause != nil {
		notes = append(notes, cause)
	}
	var keys []string
	for _, id := range a.shown {
		keys = append(keys, id.Describe())
	}
	f := a.host.failure(LoginRefused, phaseAuth, nil)
	f.User, f.Tried, f.Keys, f.Banner, f.Notes = a.host.User, compress(a.tried), keys, a.banner.end(), notes
	return f
}

// unbuilt returns a note if the user allows an algorithm that this client does not support and
// that may be why a key was refused: servers older than OpenSSH 7.2 accept RSA keys only with
// SHA-1.
func (a *authenticator) unbuilt() []error {
	if !a.host.Algorithms.WantsSHA1() {
		return nil
	}
	for i := range a.keys {
		if a.keys[i].Signer == nil {
			continue // it has not been decrypted
		}
		multi, ok := a.keys[i].Signer.(ssh.MultiAlgorithmSigner)
		if t := algorithms.PlainKey(a.keys[i].Signer.PublicKey()).Type(); t == ssh.KeyAlgoRSA && ok && !slices.Contains(multi.Algorithms(), t) {
			return []error{errors.New("signing with SHA-1 (ssh-rsa), which PubkeyAcceptedAlgorithms (UserKeys) allows, is not supported: use a key of another type, or share the connection of an OpenSSH master (ControlPath)")}
		}
	}
	return nil
}

// compress merges repeated methods, such as "publickey x4".
func compress(methods []string) []string {
	var out []string
	for i := 0; i < len(methods); {
		k := i
		for k < len(methods) && methods[k] == methods[i] {
			k++
		}
		name := methods[i]
		if k-i > 1 {
			name = fmt.Sprintf("%s x%d", name, k-i)
		}
		out = append(out, name)
		i = k
	}
	return out
}
