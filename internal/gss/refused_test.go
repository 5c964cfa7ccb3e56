package gss

import (
	"errors"
	"testing"
	"time"
)

// TestRefusedSecretIsNotSentAgain has KDCs refuse a password in either of their ways; in
// the answer for a service the same code means something else, and is forgotten.
func TestRefusedSecretIsNotSentAgain(t *testing.T) {
	t.Parallel()
	for _, code := range []int32{codePreauthFailed, codeIntegrity} {
		err := adviseTGT(&kdcError{code: code}, secret{password: "x"})
		if until := failureFresh(err); time.Until(until) < 24*time.Hour {
			t.Errorf("code %d is forgotten after %v", code, time.Until(until))
		}
		if kerr := (*kdcError)(nil); !errors.As(err, &kerr) {
			t.Errorf("code %d is no error of the KDC any more", code)
		}
	}
	if until := failureFresh(adviseTicket(&kdcError{code: codeIntegrity})); time.Until(until) > forLong {
		t.Errorf("an error about a service ticket is remembered for %v", time.Until(until))
	}
}
