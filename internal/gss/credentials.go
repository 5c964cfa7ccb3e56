package gss

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Credentials are the tickets of one identity. They are shared by any number of
// connections and goroutines: there is one TGT, and one ticket for each service, got
// when first needed and kept in memory while valid. Nothing is written to the cache,
// and no ticket of it is renewed: when the TGT has expired, the cache is read again, in
// the hope that somebody has run kinit. One that was got with a password or a keytab is
// got again.
type Credentials struct {
	opt      Options
	slots    chan struct{}
	clock    clock
	configs  flights[*config]
	identity flights[*identity]
	tickets  flights[*ticket] // "" is the TGT
}

// NewCredentials returns credentials that read nothing before they are used.
func NewCredentials(o Options) *Credentials {
	return &Credentials{
		opt:   o,
		slots: make(chan struct{}, maxExchanges),
		configs: flights[*config]{fresh: func(_ *config, err error) time.Time {
			if err != nil {
				return failureFresh(err)
			}
			return time.Now().AddDate(100, 0, 0)
		}},
		identity: flights[*identity]{fresh: func(id *identity, err error) time.Time {
			if err != nil {
				return failureFresh(err)
			}
			return id.until()
		}},
		tickets: flights[*ticket]{fresh: func(t *ticket, err error) time.Time {
			if err != nil {
				return failureFresh(err)
			}
			return t.end
		}},
	}
}

// Format writes where the tickets come from, for every verb, and no secret.
func (c *Credentials) Format(s fmt.State, _ rune) { fmt.Fprint(s, "credentials"+c.opt.String()) }

// Principal reads the cache or keytab and returns whose tickets they are, as
// "alice@REALM". It asks no KDC. The error is an *Error.
func (c *Credentials) Principal(ctx context.Context) (string, error) {
	id, err := c.load(ctx)
	if err != nil {
		return "", complete(err, Error{Op: opFind, Principal: c.opt.Client})
	}
	return id.client.String(), nil
}

// Prove gets the TGT, unless there is one, and so tells whether the KDC takes the secret:
// [Refused] knows its error, an *Error. However many call it, the KDC is asked once.
func (c *Credentials) Prove(ctx context.Context) error {
	id, err := c.load(ctx)
	if err != nil {
		return complete(err, Error{Op: opFind, Principal: c.opt.Client})
	}
	_, err = id.tgt(ctx)
	return complete(err, Error{Op: opTGT, Principal: id.client.String()})
}

// load returns what was read, or reads it.
func (c *Credentials) load(ctx context.Context) (*identity, error) {
	cfg, err := c.configs.do(ctx, "", func(context.Context) (*config, error) { return readConfig(c.opt.Config) })
	if err != nil {
		return nil, complete(err, Error{Op: opConfig})
	}
	return c.identity.do(ctx, "", func(ctx context.Context) (*identity, error) { return c.loadIdentity(ctx, cfg) })
}

// serviceTicket returns a ticket for a host, together with whose it is, and the name
// of the service as far as it is known.
func (c *Credentials) serviceTicket(ctx context.Context, host string) (*identity, *ticket, string, error) {
	service := "host/" + host
	name, err := hostName(host)
	if err != nil {
		return nil, nil, service, complete(err, Error{Op: opTicket, Service: service, Principal: c.opt.Client})
	}
	id, err := c.load(ctx)
	if err != nil {
		return nil, nil, service, complete(err, Error{Op: opFind, Principal: c.opt.Client})
	}
	server, _ := id.service(name)
	service = server.String()
	t, err := c.tickets.do(ctx, "host/"+name, func(ctx context.Context) (*ticket, error) { return id.hostTicket(ctx, name) })
	if err != nil {
		return id, nil, service, complete(err, Error{Op: opTicket, Service: service, Principal: id.client.String(), Realm: server.realm})
	}
	return id, t, t.server.String(), nil
}

// hostName returns the name of a host as realms know it.
func hostName(host string) (string, error) {
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	if _, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		return "", advise(errors.New("realms know hosts by name, and this is an IP address"), "give the host's name as the server identity")
	}
	if name == "" || len(name) > 255 {
		return "", errors.New("no name of a host")
	}
	return name, nil
}

// describeTimeout is a limit to the time for reading caches that a daemon keeps.
const describeTimeout = 5 * time.Second

// Describe says what would be used to log in to a host, which may be "", without
// asking a KDC: it reads krb5.conf and the cache or the keytab.
func (c *Credentials) Describe(serverHost string) Description {
	ctx, cancel := context.WithTimeout(context.Background(), describeTimeout)
	defer cancel()
	d := Description{Source: c.opt.source(c.opt.Cache), Principal: c.opt.Client}
	id, err := c.load(ctx)
	if err != nil {
		d.Err = complete(err, Error{Op: opFind, Principal: c.opt.Client})
		return d
	}
	name, err := hostName(serverHost)
	if serverHost == "" {
		err = nil
	}
	id.describe(&d, name)
	switch {
	case err != nil:
		d.Err = complete(err, Error{Op: opTicket, Service: "host/" + serverHost})
	case d.Err != nil:
		d.Err = complete(d.Err, Error{Op: opFind, Principal: d.Principal})
	}
	return d
}
