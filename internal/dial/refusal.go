package dial

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/algorithms"
	"fleetssh/internal/sanitize"
)

// explain records what may help to understand a refusal.
func (a *authenticator) explain(allowed []string) {
	if len(a.tried) == 0 {
		a.record("nothing to offer of what the host takes: %s", sanitize.List(allowed))
	}
}

// record keeps why a login fails, and returns it.
func (a *authenticator) record(format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	a.notes = append(a.notes, err)
	return err
}

// refusal returns the failure of a refused login. cause, if not nil, is what ended it.
func (a *authenticator) refusal(cause error) *Failure {
	if a.badKey != nil && a.host.Auth.Identities.OnlyNamed() && !slices.ContainsFunc(a.tried, func(m string) bool { return m != "publickey" }) {
		return a.badKey // it is the one that was to be used
	}
	if a.ticketless != nil && !a.sent && !a.tellsRefusal {
		return a.ticketless
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

// unbuilt returns what the algorithms ask for and this client cannot do, if that could be why
// a key was refused: servers older than OpenSSH 7.2 take RSA keys with SHA-1 only.
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
			return []error{errors.New("signing with SHA-1 (ssh-rsa), which PubkeyAcceptedAlgorithms (UserKeys) allows, is not built: use a key of another type, or the connection of an ssh master")}
		}
	}
	return nil
}

// compress writes runs of one method as one: "publickey x4".
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
