package gss

import (
	"errors"
	"strings"
)

// Error is the type of the errors of this package.
type Error struct {
	Op        string // what was attempted: "get a ticket"
	Principal string // the client principal, if it is known: "alice@REALM"
	Realm     string // the realm of the KDC that was asked; empty: none was
	Service   string // the service principal: "host/web1@REALM"
	Hint      string // what the user can do, such as "run kinit"; or empty
	Err       error  // what went wrong
}

// The operations.
const (
	opConfig   = "read the Kerberos configuration"
	opFind     = "find tickets"
	opTGT      = "get a ticket-granting ticket"
	opTicket   = "get a ticket"
	opDelegate = "delegate a ticket"
	opAnswer   = "verify the server"
	opSign     = "sign the login"
)

// Error returns the fields in one line, without repetition. It leaves out the service if the
// failure does not depend on the host, so that all hosts have the same message.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	anyHost := e.Op == opConfig || e.Op == opFind || e.Op == opTGT
	if e.Service != "" && !anyHost {
		b.WriteString(" for " + e.Service)
	}
	if e.Principal != "" {
		b.WriteString(" as " + e.Principal)
	}
	if text := b.String() + e.Err.Error(); e.Realm != "" && !strings.Contains(text, e.Realm) {
		b.WriteString(" in realm " + e.Realm)
	}
	b.WriteString(": " + e.Err.Error())
	if e.Hint != "" {
		b.WriteString("; " + e.Hint)
	}
	return b.String()
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// hintKinit is the hint if there is no usable ticket.
const hintKinit = "run kinit"

// advise adds a hint to an error. complete moves it to the final Error.
func advise(err error, hint string) error { return &Error{Err: err, Hint: hint} }

// complete returns err as an *Error with the fields of with. Fields that an *Error in err has set
// take precedence.
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
