package gss

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// Context is the security context of one connection. It is a [ssh.GSSAPIClient], to be
// used by one goroutine; what it has to say about itself may be asked by others too.
//
// The SSH library hides the errors of its methods: they are to be had from Err and
// DelegationErr.
//
// [ssh.GSSAPIClient]: https://pkg.go.dev/golang.org/x/crypto/ssh#GSSAPIClient
type Context struct {
	ctx         context.Context
	credentials *Credentials
	delegate    bool

	session       key
	authenticator authenticator
	reply         *apReply // nil until the server has proved who it is
	signed        uint64   // messages until now
	silences      int      // calls without a token where there should be one

	mu            sync.Mutex // protects what follows
	begun         bool
	service       string
	principal     string
	err           error
	delegationErr error
}

// NewContext returns the security context for one connection, which delegates the TGT
// to the host if that is asked for and possible. The context ends the traffic with
// KDCs.
func (c *Credentials) NewContext(ctx context.Context, delegate bool) *Context {
	return &Context{ctx: ctx, credentials: c, delegate: delegate}
}

// Format writes the service, for every verb, and no secret.
func (x *Context) Format(s fmt.State, _ rune) { fmt.Fprint(s, "context{"+x.Service()+"}") }

// Begun reports whether a token has been handed out, to be sent to the server. From
// then on the SSH library may be out of step with a server that refuses: no other
// method should be tried on the connection.
func (x *Context) Begun() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.begun
}

// Err returns why the context failed, an *Error, or nil if it did not. That the server
// refuses, which it says to the SSH library, is no failure of the context.
func (x *Context) Err() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.err
}

// DelegationErr returns why no TGT was delegated though it was asked for, an *Error, or
// nil. The login goes on without.
func (x *Context) DelegationErr() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.delegationErr
}

// Service returns what the ticket is for, as "host/web1.example.com@REALM", or "" as
// long as that is not known.
func (x *Context) Service() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.service
}

// maxSilences is a limit to calls without a token.
const maxSilences = 4

// InitSecContext returns the token for the server, at the first call, and checks the
// server's answer at the second (RFC 4462 section 3.4). target is "host@" with the
// name of the host. Whether to delegate is what NewContext was told.
func (x *Context) InitSecContext(target string, token []byte, _ bool) (out []byte, needContinue bool, err error) {
	op := opAnswer
	switch {
	case x.reply != nil:
		err = errors.New("the server has answered already")
	case !x.Begun():
		op = opTicket
		out, err = x.begin(target)
	case len(token) == 0 && x.silences < maxSilences:
		// The SSH library asks again after a message about an error, behind which the
		// refusal comes.
		x.silences++
		return nil, true, nil
	default:
		err = x.finish(token)
	}
	if err != nil {
		return nil, false, x.fail(err, op)
	}
	return out, out != nil, nil
}

// fail keeps an error for Err, and returns it.
func (x *Context) fail(err error, op string) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if err = complete(err, Error{Op: op, Service: x.service, Principal: x.principal}); x.err == nil {
		x.err = err
	}
	return err
}

func (x *Context) begin(target string) ([]byte, error) {
	host, ok := strings.CutPrefix(target, "host@")
	if !ok {
		return nil, fmt.Errorf("%q is not the name of a host's service", printable(target))
	}
	id, t, service, err := x.credentials.serviceTicket(x.ctx, host)
	x.mu.Lock()
	x.service = service
	if id != nil {
		x.principal = id.client.String()
	}
	x.mu.Unlock()
	if err != nil {
		return nil, err
	}
	x.session = t.key
	x.authenticator = authenticator{
		time: x.credentials.clock.now(), subkey: t.key.newKey(), sequence: newSequence(),
		checksum: contextChecksum(contextMutual|contextInteg, x.cred(id)), sumType: contextChecksumType,
	}
	request, err := t.apRequest(x.authenticator, usageAuthenticator, apMutual)
	if err != nil {
		return nil, err
	}
	token, err := frame(tokenAPRequest, request)
	if err != nil {
		return nil, err
	}
	x.mu.Lock()
	x.begun = true
	x.mu.Unlock()
	return token, nil
}

// cred returns the KRB-CRED with a TGT for the server, or nil if none is to be
// delegated, or none can be.
func (x *Context) cred(id *identity) []byte {
	if !x.delegate {
		return nil
	}
	tgt, err := id.forwardedTGT(x.ctx)
	var cred []byte
	if err == nil {
		cred, err = credMessage(tgt, x.session)
	}
	if err != nil {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.delegationErr = complete(err, Error{Op: opDelegate, Service: x.service, Principal: x.principal, Realm: id.client.realm})
		return nil
	}
	return cred
}

// finish checks that the server could read the ticket.
func (x *Context) finish(token []byte) error {
	kind, message, err := unframe(token)
	if err != nil {
		return err
	}
	switch kind {
	case tokenAPReply:
	case tokenError:
		kerr, err := parseError(message)
		if err != nil {
			return err
		}
		return adviseServer(kerr)
	default:
		return errMalformed
	}
	reply, err := openAPReply(message, x.session)
	if err != nil {
		return err
	}
	if !reply.answers(x.authenticator) {
		return errors.New("the server's answer is to another request")
	}
	x.reply = reply
	return nil
}

// adviseServer says what to do about an error of the server.
func adviseServer(kerr *kdcError) error {
	switch kerr.code {
	case codeSkew, codeTicketNotYet:
		if err := clockError(kerr.time, 0); err != nil {
			return advise(fmt.Errorf("%w: the host's clock differs by %v", kerr, time.Since(kerr.time).Abs().Round(time.Second)), hintClock)
		}
	case codeIntegrity:
		return advise(kerr, "is the keytab of the host up to date?")
	case codeTicketExpired:
		return advise(kerr, hintKinit)
	}
	return kerr
}

// GetMIC signs what the SSH library says about the login (RFC 4462 section 3.5).
func (x *Context) GetMIC(message []byte) ([]byte, error) {
	if x.reply == nil {
		return nil, x.fail(errors.New("the server has not answered"), opSign)
	}
	k, byAcceptor := x.authenticator.subkey, false
	if x.reply.subkey.value != nil {
		k, byAcceptor = x.reply.subkey, true
	}
	token, err := mic(k, byAcceptor, uint64(x.authenticator.sequence)+x.signed, message)
	if err != nil {
		return nil, x.fail(err, opSign)
	}
	x.signed++
	return token, nil
}

// DeleteSecContext forgets the keys. The context cannot be used any more.
func (x *Context) DeleteSecContext() error {
	x.session, x.authenticator.subkey, x.reply = key{}, key{}, nil
	return nil
}
