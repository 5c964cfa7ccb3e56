package gss

import (
	"errors"
	"testing"
	"time"
)

// TestRefusedSecretIsNotSentAgain checks that both errors by which KDCs refuse a password are
// cached for good. In the reply for a service ticket, the same code means something else and
// expires.
func TestRefusedSecretIsNotSentAgain(t *testing.T) {
	t.Parallel()
	for _, code := range []int32{codePreauthFailed, codeIntegrity} {
		err := adviseTGT(&kdcError{code: code}, secret{password: "x"})
		if until := failureFresh(err); time.Until(until) < 24*time.Hour {
			t.Errorf("code %d is cached for only %v", code, time.Until(until))
		}
		if kerr := (*kdcError)(nil); !errors.As(err, &kerr) {
			t.Errorf("code %d: the error does not wrap the error of the KDC", code)
		}
	}
	if until := failureFresh(adviseTicket(&kdcError{code: codeIntegrity})); time.Until(until) > kdcErrorTTL {
		t.Errorf("an error about a service ticket is cached for %v", time.Until(until))
	}
}
