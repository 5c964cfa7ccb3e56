package gss

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// secret authenticates the client to the KDC: a password, or the keys from a keytab.
type secret struct {
	password string
	keys     map[int32]key // by encryption type; nil for a password
}

// Format writes a constant text, for every verb.
func (s secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, "(secret)") }

// etypes returns the types in list for which there is a key.
func (s secret) etypes(list []int32) []int32 {
	if s.keys == nil {
		return list
	}
	return slices.DeleteFunc(slices.Clone(list), func(e int32) bool {
		_, have := s.keys[e]
		return !have
	})
}

// etypeInfo is an ETYPE-INFO2-ENTRY: how to derive the client's key (RFC 4120, section 5.2.7.5).
type etypeInfo struct {
	etype  int32
	salt   string
	salted bool
	params []byte
}

// key returns the client's key of one encryption type.
func (s secret) key(client principal, info etypeInfo) (key, error) {
	if s.keys != nil {
		k, ok := s.keys[info.etype]
		if !ok {
			return key{}, advise(fmt.Errorf("the keytab has no key of type %s for %s", etypeName(info.etype), client), hintKeytab)
		}
		return k, nil
	}
	if !info.salted {
		// The default salt is the realm and the names without separators (RFC 4120, section
		// 4).
		info.salt = client.realm
		for _, name := range client.names {
			info.salt += name
		}
	}
	return passwordKey(info.etype, s.password, info.salt, info.params)
}

// refused returns the hint if the KDC refuses the secret.
func (s secret) refused() string {
	if s.keys != nil {
		return hintKeytab
	}
	return "is the password right?"
}

const hintKeytab = "the keytab is out of date: get a new one"

// chooseEtype returns the first entry in the KDC's hints whose type is permitted.
func chooseEtype(hints []padata, permitted []int32) (etypeInfo, bool) {
	var chosen etypeInfo
	found := false
	for _, pa := range hints {
		if pa.kind != paEtypeInfo2 {
			continue
		}
		failed := false
		d := decoder{pa.value, &failed}
		entries := 0
		d.sequence().each(func(d *decoder) {
			s := d.sequence()
			info := etypeInfo{etype: s.int32(0)}
			info.salted = s.rest.PeekASN1Tag(contextTag(1))
			info.salt = s.optionalText(1)
			if s.rest.PeekASN1Tag(contextTag(2)) {
				info.params = s.bytes(2)
			}
			if entries++; entries > maxPAData {
				d.check(false)
			}
			if !failed && !found && slices.Contains(permitted, info.etype) {
				chosen, found = info, true
			}
		})
	}
	return chosen, found
}

// getTGT gets a TGT with the client's secret (RFC 4120, section 3.1).
func (x *exchanger) getTGT(ctx context.Context, client principal, s secret) (*ticket, error) {
	permitted, err := x.config.etypes("default_tkt_enctypes")
	if err != nil {
		return nil, err
	}
	now := time.Now()
	request := &kdcRequest{
		kind: msgASRequest, client: client, server: tgsPrincipal(client.realm, client.realm),
		till: now.Add(x.config.ticketLifetime(client.realm)), nonce: newNonce(), etypes: s.etypes(permitted),
	}
	if len(request.etypes) == 0 {
		return nil, advise(fmt.Errorf("the keytab has no key of %s of a permitted type", client), hintKeytab)
	}
	request.options = flagRenewableOK
	if x.config.forwardable(client.realm) {
		request.options |= flagForwardable
	}
	if renew := x.config.renewLifetime(client.realm); renew > 0 {
		request.options |= flagRenewable
		request.renewTill = now.Add(renew)
	}

	// The first request has no pre-authentication: the error says which key and salt to use.
	reply, err := x.ask(ctx, request)
	var k key
	if kerr := (*kdcError)(nil); errors.As(err, &kerr) && kerr.code == codePreauthRequired {
		if k, err = request.prove(s, kerr.padata); err != nil {
			return nil, err
		}
		reply, err = x.ask(ctx, request)
	}
	if err != nil {
		return nil, adviseTGT(err, s)
	}
	if k.etype != reply.part.etype {
		info, ok := chooseEtype(reply.padata, []int32{reply.part.etype})
		if !ok {
			info = etypeInfo{etype: reply.part.etype}
		}
		if k, err = s.key(client, info); err != nil {
			return nil, err
		}
	}
	tgt, err := reply.open(k, usageASReply, request)
	if errors.Is(err, errIntegrity) {
		return nil, advise(&secretRefused{errors.New("the KDC encrypted its reply with another password or key")}, s.refused())
	}
	if err != nil {
		return nil, err
	}
	if !tgt.client.equal(client) || !tgt.server.equal(request.server) {
		return nil, fmt.Errorf("the KDC returned a ticket of %s for %s", printable(tgt.client.String()), printable(tgt.server.String()))
	}
	if tgt.start.IsZero() {
		tgt.start = tgt.authTime
	}
	return tgt, x.checkClock(tgt.begins())
}

// prove adds an encrypted timestamp to the request (RFC 4120, section 5.2.7.2).
func (r *kdcRequest) prove(s secret, hints []padata) (key, error) {
	info, ok := chooseEtype(hints, r.etypes)
	if !ok {
		info = etypeInfo{etype: r.etypes[0]}
	}
	if !slices.ContainsFunc(hints, func(pa padata) bool { return pa.kind == paEncTimestamp }) {
		return key{}, advise(errors.New("the KDC requires a method that is not supported, such as a smart card or a one-time password"), hintKinit)
	}
	k, err := s.key(r.client, info)
	if err != nil {
		return key{}, err
	}
	now := time.Now()
	stamp, err := sequenceOf(func(e encoder) {
		e.time(0, now)
		e.int(1, micros(now))
	})
	if err != nil {
		return key{}, err
	}
	cipher, err := k.encrypt(usageTimestamp, stamp)
	if err != nil {
		return key{}, err
	}
	proof, err := sequenceOf(func(e encoder) {
		e.int(0, int64(k.etype))
		e.bytes(2, cipher)
	})
	if err != nil {
		return key{}, err
	}
	r.nonce = newNonce()
	r.padata = []padata{{paEncTimestamp, proof}}
	for _, pa := range hints {
		if pa.kind == paFXCookie { // the state of a stateless KDC (RFC 6113, section 5.2)
			r.padata = append(r.padata, pa)
		}
	}
	return k, nil
}

// micros returns the microseconds within the second.
func micros(t time.Time) int64 { return int64(t.Nanosecond() / 1000) }

// ask sends a request to the KDCs of the server's realm and parses the reply.
func (x *exchanger) ask(ctx context.Context, request *kdcRequest) (*kdcReply, error) {
	data, err := request.encode()
	if err != nil {
		return nil, err
	}
	data, err = x.exchange(ctx, request.server.realm, data)
	if err != nil {
		return nil, err
	}
	reply, err := parseReply(data, request.kind)
	if errors.Is(err, errMalformed) {
		return nil, fmt.Errorf("reply of the KDC: %w", err)
	}
	return reply, err
}

// checkClock returns an error if the current time of the KDC differs by more than the allowed skew.
func (x *exchanger) checkClock(theirs time.Time) error {
	return clockError(theirs, x.config.clockSkew())
}

func clockError(theirs time.Time, allowed time.Duration) error {
	difference := time.Since(theirs).Round(time.Second)
	if difference.Abs() <= allowed {
		return nil
	}
	return advise(fmt.Errorf("the clocks of this machine and the KDC differ by %v", difference.Abs()), hintClock)
}

const hintClock = "set the clock"

// secretRefused means that the KDC refused the password or key.
type secretRefused struct{ err error }

func (e *secretRefused) Error() string { return e.err.Error() }
func (e *secretRefused) Unwrap() error { return e.err }

// Refused reports whether err means that the KDC refused the password or key.
func Refused(err error) bool {
	e := (*secretRefused)(nil)
	return errors.As(err, &e)
}

// adviseTGT adds a hint to an error of getting a TGT.
func adviseTGT(err error, s secret) error {
	kerr := (*kdcError)(nil)
	if !errors.As(err, &kerr) {
		return err
	}
	switch kerr.code {
	case codeClientUnknown:
		return advise(err, "is the client's name right, and its realm?")
	case codePreauthFailed, codeIntegrity:
		return advise(&secretRefused{err}, s.refused())
	case codePasswordExpired:
		return advise(err, "change it with kpasswd")
	case codeRevoked, codeClientExpired:
		return advise(err, "ask the administrator of the realm")
	case codeEtype:
		return advise(err, "the account needs an AES key: set its password again")
	case codeWrongRealm:
		return advise(err, "give the name of the client with that realm")
	case codeSkew:
		return adviseSkew(kerr)
	}
	return err
}

// adviseSkew returns an error that says by how much the clocks differ.
func adviseSkew(kerr *kdcError) error {
	if err := clockError(kerr.time, 0); err != nil {
		return err
	}
	return advise(kerr, hintClock)
}
