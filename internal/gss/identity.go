package gss

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"
)

// identity is the client principal with its tickets or its secret. It does not change.
type identity struct {
	exchanger
	client  principal
	cache   *cache // nil if there is a secret
	source  string // a description of the cache or secret
	secret  secret
	tickets *flights[*ticket]
}

// loadIdentity reads the cache or keytab. It does not contact a KDC.
func (c *Credentials) loadIdentity(ctx context.Context, cfg *config) (*identity, error) {
	id := &identity{exchanger: exchanger{cfg, c.slots, &c.clock}, tickets: &c.tickets}
	var wanted *principal
	if c.opt.Client != "" {
		p := parsePrincipal(c.opt.Client, cfg.defaultRealm())
		if p.realm == "" {
			return nil, errNoRealm
		}
		wanted = &p
	}
	id.source = c.opt.source("")
	switch {
	case c.opt.Password != "":
		if wanted == nil {
			return nil, errors.New("a password needs the name of the client")
		}
		id.client, id.secret = *wanted, secret{password: c.opt.Password}
		return id, nil
	case c.opt.Keytab != "":
		return id, id.loadKeytab(c.opt.Keytab, wanted)
	}
	name := c.opt.Cache
	if name == "" {
		var err error
		if name, err = cfg.cacheName(); err != nil {
			return nil, fmt.Errorf("default_ccache_name of %s: %w", cfg.list, err)
		}
	}
	found, err := cfg.readCache(ctx, name, wanted)
	if err == nil {
		id.client, id.cache = found.principal, found
		id.source = c.opt.source(found.name)
		_, err = id.cachedTGT()
	}
	if err != nil && c.opt.Cache == "" {
		if keytab := cfg.clientKeytab(); keytab != "" {
			return c.loadClientKeytab(keytab, id, wanted)
		}
	}
	if id.cache != nil {
		return id, nil // without a TGT, the cache may still have a ticket for the service
	}
	return nil, err
}

// loadClientKeytab returns the identity from the client keytab. If the keytab cannot be read, or
// has no keys of the client, it returns id if that has a cache.
func (c *Credentials) loadClientKeytab(name string, id *identity, wanted *principal) (*identity, error) {
	other := &identity{exchanger: id.exchanger, tickets: id.tickets, source: Options{Keytab: name}.source("")}
	err := other.loadKeytab(name, wanted)
	if err == nil {
		return other, nil
	}
	if id.cache != nil {
		return id, nil
	}
	return nil, advise(fmt.Errorf("there is no ticket, and %w", err), hintKinit)
}

func (id *identity) loadKeytab(name string, wanted *principal) error {
	k, err := readKeytab(name)
	if err != nil {
		return err
	}
	id.client = k.entries[0].principal
	if wanted != nil {
		id.client = *wanted
	}
	id.secret.keys = k.keys(id.client)
	if len(id.secret.keys) == 0 {
		return fmt.Errorf("%s has no AES key of %s", id.source, id.client)
	}
	return nil
}

// tgt returns the TGT of the client, from the cache or from the KDC.
func (id *identity) tgt(ctx context.Context) (*ticket, error) {
	if id.cache != nil {
		return id.cachedTGT()
	}
	return id.tickets.do(ctx, "", func(ctx context.Context) (*ticket, error) {
		tgt, err := id.getTGT(ctx, id.client, id.secret)
		return tgt, complete(err, Error{Op: opTGT, Realm: id.client.realm})
	})
}

// cachedTGT returns the TGT from the cache. The error says why the cache has no usable one.
func (id *identity) cachedTGT() (*ticket, error) {
	tgt, err := id.findTGT()
	return tgt, complete(err, Error{Op: opFind, Principal: id.client.String()})
}

func (id *identity) findTGT() (*ticket, error) {
	server := tgsPrincipal(id.client.realm, id.client.realm)
	now := time.Now()
	if tgt := id.cache.find(server, now, id.config.clockSkew()); tgt != nil {
		return tgt, nil
	}
	var latest *ticket
	for _, t := range id.cache.tickets {
		if t.server.equal(server) && (latest == nil || t.end.After(latest.end)) {
			latest = t
		}
	}
	switch {
	case latest == nil:
		return nil, advise(fmt.Errorf("%s has no ticket-granting ticket", id.source), hintKinit)
	case !now.Before(latest.end):
		return nil, advise(fmt.Errorf("the ticket in %s expired at %s", id.source, latest.end.Format(time.DateTime)), hintKinit)
	case latest.flags&flagInvalid != 0:
		return nil, advise(fmt.Errorf("the ticket in %s is postdated", id.source), "run kinit -v")
	case !latest.key.supported():
		return nil, fmt.Errorf("the ticket in %s: %w", id.source, unsupportedEtype(latest.key.etype))
	}
	wait := latest.begins().Sub(now).Round(time.Minute)
	return nil, advise(fmt.Errorf("the ticket in %s becomes valid only in %v", id.source, wait), hintClock+", or "+hintKinit)
}

// forwardedTGT gets a TGT to delegate (RFC 4120, section 2.6).
func (id *identity) forwardedTGT(ctx context.Context) (*ticket, error) {
	tgt, err := id.tgt(ctx)
	if err != nil {
		return nil, err
	}
	if tgt.flags&flagForwardable == 0 {
		hint := "is forwardable allowed by krb5.conf and by the KDC?"
		if id.cache != nil {
			hint = hintKinit + " -f"
		}
		return nil, advise(errors.New("the ticket is not forwardable"), hint)
	}
	options := flagForwarded | flagForwardable | tgt.flags&flagRenewable
	return id.getTicket(ctx, tgt, tgt.server, options)
}

// validUntil returns when to read the cache again: when its TGT expires. The user may have run
// kinit by then.
func (id *identity) validUntil() time.Time {
	if id.cache == nil {
		return time.Now().AddDate(100, 0, 0)
	}
	if tgt, err := id.cachedTGT(); err == nil {
		return tgt.end
	}
	return time.Now().Add(otherFailureTTL)
}

// Description describes how a login would go: see [Credentials.Describe].
type Description struct {
	Source    string    // "cache FILE:/tmp/krb5cc_0", "keytab /etc/me.keytab", "password"
	Principal string    // "alice@REALM", or "" if it is not known
	Service   string    // the service principal: "host/web1@REALM"
	Until     time.Time // when the TGT expires; zero if there is none yet
	Renewable bool      // the TGT can be renewed, by kinit -R
	Forwards  bool      // the TGT can be delegated
	Err       error     // why there can be no ticket, as far as is known without a KDC
}

// describe fills in what is known without contacting a KDC.
func (id *identity) describe(d *Description, host string) {
	d.Source = cmp.Or(id.source, d.Source)
	d.Principal = id.client.String()
	if host != "" {
		server, _ := id.service(host)
		d.Service = server.String()
	}
	tgt, known := id.tickets.lookup("")
	if id.cache != nil {
		tgt, d.Err = id.cachedTGT()
		known = d.Err == nil
	}
	if known {
		d.Until = tgt.end
		d.Renewable = tgt.flags&flagRenewable != 0
		d.Forwards = tgt.flags&flagForwardable != 0
	}
}
