package gss

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// Context is the security context of one connection. It implements [ssh.GSSAPIClient], whose
// methods must be called by one goroutine. Begun, Err, DelegationErr and Service may be called
// concurrently.
//
// The SSH library does not return the errors of those methods: Err and DelegationErr do.
//
// [ssh.GSSAPIClient]: https://pkg.go.dev/golang.org/x/crypto/ssh#GSSAPIClient
type Context struct {
	ctx         context.Context
	credentials *Credentials
	delegate    bool

	session       key
	authenticator authenticator
	reply         *apReply // nil until the server has authenticated itself
	signed        uint64   // the number of messages signed
	emptyTokens   int      // the number of calls without a token

	mu            sync.Mutex // protects what follows
	begun         bool
	service       string
	principal     string
	err           error
	delegationErr error
}

// NewContext returns the security context for one connection. If delegate is set, it delegates a
// TGT to the host if that is possible. Requests to KDCs end with ctx.
func (c *Credentials) NewContext(ctx context.Context, delegate bool) *Context {
	return &Context{ctx: ctx, credentials: c, delegate: delegate}
}

// Format writes the service for every verb, and no secret.
func (x *Context) Format(s fmt.State, _ rune) { fmt.Fprint(s, "context{"+x.Service()+"}") }

// Begun reports whether InitSecContext has returned a token to send. If the server then refuses the
// login, the SSH library may misread its messages: do not try another method on the connection.
func (x *Context) Begun() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.begun
}

// Err returns why the context failed, as an *Error, or nil. A refusal by the server, which the SSH
// library gets, is not a failure of the context.
func (x *Context) Err() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.err
}

// DelegationErr returns why no TGT was delegated although delegation was requested, as an *Error,
// or nil. The login continues without delegation.
func (x *Context) DelegationErr() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.delegationErr
}

// Service returns the service principal of the ticket, such as "host/web1.example.com@REALM", or ""
// if it is not known yet.
func (x *Context) Service() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.service
}

// maxEmptyTokens limits the calls of InitSecContext without a token.
const maxEmptyTokens = 4

// InitSecContext returns the token for the server on the first call, and checks the token of the
// server on the second (RFC 4462, section 3.4). target is "host@" and the name of the host. The
// last argument is ignored: NewContext decides whether to delegate.
func (x *Context) InitSecContext(target string, token []byte, _ bool) (out []byte, needContinue bool, err error) {
	op := opAnswer
	switch {
	case x.reply != nil:
		err = errors.New("the server has answered already")
	case !x.Begun():
		op = opTicket
		out, err = x.begin(target)
	case len(token) == 0 && x.emptyTokens < maxEmptyTokens:
		// The SSH library calls again after an error message of the server, which is
		// followed by the refusal.
		x.emptyTokens++
		return nil, true, nil
	default:
		err = x.finish(token)
	}
	if err != nil {
		return nil, false, x.fail(err, op)
	}
	return out, out != nil, nil
}

// fail records the first error for Err, and returns err as an *Error.
func (x *Context) fail(err error, op string) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if err = complete(err, Error{Op: op, Service: x.service, Principal: x.principal}); x.err == nil {
		x.err = err
	}
	return err
}

// begin gets the service ticket and returns the first token.
func (x *Context) begin(target string) ([]byte, error) {
	host, ok := strings.CutPrefix(target, "host@")
	if !ok {
		return nil, fmt.Errorf("%q is not the service of a host", printable(target))
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

// cred returns the KRB-CRED message that delegates a TGT to the server, or nil if delegation was
// not requested or is not possible.
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

// finish checks the token of the server, which proves that it could decrypt the ticket.
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
		return errors.New("the server answered another request")
	}
	x.reply = reply
	return nil
}

// adviseServer adds a hint to an error that the server sent.
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

// GetMIC returns the MIC of the login request (RFC 4462, section 3.5).
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

// DeleteSecContext drops the keys. The context cannot be used afterwards.
func (x *Context) DeleteSecContext() error {
	x.session, x.authenticator.subkey, x.reply = key{}, key{}, nil
	return nil
}
