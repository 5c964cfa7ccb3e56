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
func (l *authenticator) explain(allowed []string) {
	if len(l.tried) == 0 {
		l.note("nothing to offer of what the host takes: %s", sanitize.List(allowed))
	}
}

// note records why a login fails, and returns it.
func (l *authenticator) note(format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	l.notes = append(l.notes, err)
	return err
}

// refusal returns the failure of a refused login. cause, if not nil, is what ended it.
func (l *authenticator) refusal(cause error) *Failure {
	if l.badKey != nil && l.host.Auth.Identities.OnlyNamed() && !slices.ContainsFunc(l.tried, func(m string) bool { return m != "publickey" }) {
		return l.badKey // it is the one that was to be used
	}
	if l.ticketless != nil && !l.sent && !l.tellsRefusal {
		return l.ticketless
	}
	var notes []error
	for _, note := range l.creds.Notes() {
		notes = append(notes, KeyFileFailure("", note)) // the refusal names the host
	}
	notes = slices.Concat(notes, l.notes, l.unbuilt())
	if cause != nil {
		notes = append(notes, cause)
	}
	var keys []string
	for _, id := range l.shown {
		keys = append(keys, id.Describe())
	}
	f := l.host.failure(LoginRefused, "auth", nil)
	f.User, f.Tried, f.Keys, f.Banner, f.Notes = l.host.User, compress(l.tried), keys, l.banner.end(), notes
	return f
}

// unbuilt returns what the algorithms ask for and this client cannot do, if that could be why
// a key was refused: servers older than OpenSSH 7.2 take RSA keys with SHA-1 only.
func (l *authenticator) unbuilt() []error {
	if !l.host.Algorithms.WantsSHA1() {
		return nil
	}
	for i := range l.keys {
		if l.keys[i].Signer == nil {
			continue // it has not been decrypted
		}
		multi, ok := l.keys[i].Signer.(ssh.MultiAlgorithmSigner)
		if t := algorithms.PlainKey(l.keys[i].Signer.PublicKey()).Type(); t == ssh.KeyAlgoRSA && ok && !slices.Contains(multi.Algorithms(), t) {
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
