package gss

import (
	"errors"
	"strings"
)

// Error is what any failure here becomes.
type Error struct {
	Op        string // what was attempted: "get a ticket"
	Principal string // the client, as far as it is known: "alice@REALM"
	Realm     string // whose KDC was asked, if one was
	Service   string // what a ticket was wanted for: "host/web1@REALM"
	Hint      string // what the user can do, if that is known: "run kinit"
	Err       error  // what went wrong
}

// The operations.
const (
	opConfig   = "read the Kerberos configuration"
	opFind     = "find tickets"
	opTGT      = "get a ticket-granting ticket"
	opTicket   = "get a ticket"
	opDelegate = "delegate"
	opAnswer   = "verify the server"
	opSign     = "sign the login"
)

// Error says all of it in one line, each thing once. What is wrong for all hosts alike
// is said without the service, so that it reads the same for all of them.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	alike := e.Op == opConfig || e.Op == opFind || e.Op == opTGT
	if e.Service != "" && !alike {
		b.WriteString(" for " + e.Service)
	}
	if e.Principal != "" {
		b.WriteString(" as " + e.Principal)
	}
	if said := b.String() + e.Err.Error(); e.Realm != "" && !strings.Contains(said, e.Realm) {
		b.WriteString(" in realm " + e.Realm)
	}
	b.WriteString(": " + e.Err.Error())
	if e.Hint != "" {
		b.WriteString("; " + e.Hint)
	}
	return b.String()
}

// Unwrap returns what went wrong.
func (e *Error) Unwrap() error { return e.Err }

// hintKinit is the advice for whoever has no ticket that could be used.
const hintKinit = "run kinit"

// advise attaches a hint to an error, for complete to find.
func advise(err error, hint string) error { return &Error{Err: err, Hint: hint} }

// complete makes an *Error of any error: what has been said further down stays, and
// the rest is filled in.
func complete(err error, with Error) error {
	if err == nil {
		return nil
	}
	with.Err = err
	if inner := (*Error)(nil); errors.As(err, &inner) {
		fill := func(to *string, from string) {
			if from != "" {
				*to = from
			}
		}
		fill(&with.Op, inner.Op)
		fill(&with.Principal, inner.Principal)
		fill(&with.Realm, inner.Realm)
		fill(&with.Service, inner.Service)
		fill(&with.Hint, inner.Hint)
		with.Err = inner.Err
	}
	return &with
}
