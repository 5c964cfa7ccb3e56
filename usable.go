package fleetssh

import "golang.org/x/crypto/ssh"

// usable returns signer as far as the host may see it, or why it must not be offered.
// Everything that is offered goes through it, wherever it comes from; what must not be
// is left out with a note.
func (h *HostConfig) usable(signer ssh.Signer) (ssh.Signer, error) {
	if plainKey(signer.PublicKey()).Type() == ssh.InsecureKeyAlgoDSA {
		return nil, errDSA
	}
	return h.Algorithms.permit(signer)
}
