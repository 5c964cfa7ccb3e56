package gss

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// maxReferrals limits how many referrals between realms are followed.
const maxReferrals = 10

// getTicket gets a ticket from the KDC for which tgt was issued (RFC 4120, section 3.3).
func (x *exchanger) getTicket(ctx context.Context, tgt *ticket, server principal, options uint32) (*ticket, error) {
	etypes, err := x.config.etypes("default_tgs_enctypes")
	if err != nil {
		return nil, err
	}
	server.realm, _ = tgt.server.tgsFor()
	request := &kdcRequest{kind: msgTGSRequest, options: options, server: server, till: tgt.end, nonce: newNonce(), etypes: etypes}
	body, err := request.body()
	if err != nil {
		return nil, err
	}
	a := authenticator{time: x.clock.now()}
	if a.checksum, a.sumType, err = tgt.key.checksum(usageTGSChecksum, body); err != nil {
		return nil, err
	}
	proof, err := tgt.apRequest(a, usageTGSAuthenticator, 0)
	if err != nil {
		return nil, err
	}
	request.padata = []padata{{paTGSRequest, proof}}
	reply, err := x.ask(ctx, request)
	if err != nil {
		return nil, adviseTicket(err)
	}
	t, err := reply.open(tgt.key, usageTGSReply, request)
	if err != nil {
		return nil, fmt.Errorf("reply of the KDC: %w", err)
	}
	if !t.client.equal(tgt.client) {
		return nil, fmt.Errorf("the KDC returned a ticket of %s", printable(t.client.String()))
	}
	return t, nil
}

// adviseTicket adds a hint to an error of getting a service ticket.
func adviseTicket(err error) error {
	kerr := (*kdcError)(nil)
	if !errors.As(err, &kerr) {
		return err
	}
	switch kerr.code {
	case codeServiceUnknown:
		return advise(err, "is the host in this realm? if it has another name there, set the server identity to that name")
	case codeTicketExpired:
		return advise(err, hintKinit)
	case codeSkew, codeTicketNotYet, codeNotYetValid:
		return adviseSkew(kerr)
	case codeEtype:
		return advise(err, "the host needs an AES key in the realm")
	}
	return err
}

// hostTicket gets a ticket for a host by the given name or, if the KDC does not know that name, by
// the canonical name in DNS.
func (id *identity) hostTicket(ctx context.Context, host string) (*ticket, error) {
	t, err := id.serviceTicket(ctx, host)
	if kerr := (*kdcError)(nil); errors.As(err, &kerr) && kerr.code == codeServiceUnknown {
		if name, ok := id.config.canonicalName(ctx, host); ok {
			if t, err := id.serviceTicket(ctx, name); err == nil {
				return t, nil
			}
		}
	}
	return t, err
}

// serviceTicket gets a ticket from the cache, or from the KDCs: of the client's realm, of realms
// that it refers to, and of the host's realm.
func (id *identity) serviceTicket(ctx context.Context, host string) (*ticket, error) {
	server, mapped := id.service(host)
	if t := id.cached(server, mapped); t != nil {
		return t, nil
	}
	if !mapped {
		if realm := id.config.lookUpRealm(ctx, host); realm != "" {
			server.realm = realm
		}
	}
	tgt, err := id.tgtFor(ctx, server.realm)
	if err != nil {
		return nil, err
	}
	for range maxReferrals {
		t, err := id.getTicket(ctx, tgt, server, flagCanonicalize)
		if err != nil {
			return nil, err
		}
		if t.server.sameName(server) {
			return t, nil
		}
		// A referral is a TGT for another realm (RFC 6806, section 8).
		realm, ok := t.server.tgsFor()
		if !ok {
			return nil, fmt.Errorf("the KDC returned a ticket for %s", printable(t.server.String()))
		}
		tgt = t
		server.realm = realm
	}
	return nil, fmt.Errorf("more than %d referrals between KDCs", maxReferrals)
}

// service returns the principal of a host, and whether krb5.conf maps the host to its realm. If
// not, the realm is that of the client.
func (id *identity) service(host string) (server principal, mapped bool) {
	realm := id.config.realmOf(host)
	server = principal{nameHost, []string{"host", host}, realm}
	if realm == "" {
		server.realm = id.client.realm
	}
	return server, realm != ""
}

// cached returns a usable ticket from the cache, or nil. If krb5.conf does not map the host to a
// realm, the ticket may be for any realm.
func (id *identity) cached(server principal, mapped bool) *ticket {
	if id.cache == nil {
		return nil
	}
	now, skew := time.Now(), id.config.clockSkew()
	if t := id.cache.find(server, now, skew); t != nil || mapped {
		return t
	}
	for _, t := range id.cache.tickets {
		if t.server.sameName(server) {
			if found := id.cache.find(t.server, now, skew); found != nil {
				return found
			}
		}
	}
	return nil
}

// tgtFor returns a TGT for a realm: the client's own, or one that trusts it directly or through
// other realms, as the KDCs refer to them.
func (id *identity) tgtFor(ctx context.Context, realm string) (*ticket, error) {
	tgt, err := id.tgt(ctx)
	if err != nil || realm == id.client.realm {
		return tgt, err
	}
	return id.tickets.do(ctx, "krbtgt/"+realm, func(ctx context.Context) (*ticket, error) {
		at := id.client.realm
		for range maxReferrals {
			next := id.cached(tgsPrincipal(realm, at), true)
			if next == nil {
				if next, err = id.getTicket(ctx, tgt, tgsPrincipal(realm, at), flagCanonicalize); err != nil {
					return nil, noTrust(err, at, realm)
				}
			}
			tgt = next
			var ok bool
			if at, ok = tgt.server.tgsFor(); !ok {
				return nil, fmt.Errorf("the KDC returned a ticket for %s", printable(tgt.server.String()))
			}
			if at == realm {
				return tgt, nil
			}
		}
		return nil, fmt.Errorf("more than %d referrals between KDCs", maxReferrals)
	})
}

// noTrust returns an error that explains why a KDC does not know the ticket-granting service of
// another realm.
func noTrust(err error, from, to string) error {
	if kerr := (*kdcError)(nil); errors.As(err, &kerr) && kerr.code == codeServiceUnknown {
		return &Error{Realm: from, Err: fmt.Errorf("%s does not trust %s: %w", to, from, kerr), Hint: "is [domain_realm] in krb5.conf right?"}
	}
	return err
}
