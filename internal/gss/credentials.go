package gss

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Credentials are the tickets of one identity. Any number of connections may share them, and their
// methods may be called concurrently. There is one TGT and one ticket for each service. Each is
// requested when first needed, and kept in memory while valid. The cache is never written, and its
// tickets are not renewed. When the TGT from a cache has expired, the cache is read again: the user
// may have run kinit. A TGT from a password or keytab is requested again.
type Credentials struct {
	opt      Options
	slots    chan struct{}
	clock    clock
	configs  flights[*config]
	identity flights[*identity]
	tickets  flights[*ticket] // the TGT has the name ""
}

// NewCredentials returns credentials. It reads no files: the first use does.
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
			return id.validUntil()
		}},
		tickets: flights[*ticket]{fresh: func(t *ticket, err error) time.Time {
			if err != nil {
				return failureFresh(err)
			}
			return t.end
		}},
	}
}

// Format writes the options for every verb, without the password.
func (c *Credentials) Format(s fmt.State, _ rune) { fmt.Fprint(s, "credentials"+c.opt.String()) }

// Principal returns the client principal, such as "alice@REALM". It reads the cache or keytab, and
// does not contact a KDC. The error is an *Error.
func (c *Credentials) Principal(ctx context.Context) (string, error) {
	id, err := c.load(ctx)
	if err != nil {
		return "", complete(err, Error{Op: opFind, Principal: c.opt.Client})
	}
	return id.client.String(), nil
}

// Prove gets the TGT, unless there is one already. The error is an *Error; [Refused] reports
// whether the KDC refused the password or key. Concurrent calls send one request to the KDC.
func (c *Credentials) Prove(ctx context.Context) error {
	id, err := c.load(ctx)
	if err != nil {
		return complete(err, Error{Op: opFind, Principal: c.opt.Client})
	}
	_, err = id.tgt(ctx)
	return complete(err, Error{Op: opTGT, Principal: id.client.String()})
}

// load returns the identity, and reads it if necessary.
func (c *Credentials) load(ctx context.Context) (*identity, error) {
	cfg, err := c.configs.do(ctx, "", func(context.Context) (*config, error) { return readConfig(c.opt.Config) })
	if err != nil {
		return nil, complete(err, Error{Op: opConfig})
	}
	return c.identity.do(ctx, "", func(ctx context.Context) (*identity, error) { return c.loadIdentity(ctx, cfg) })
}

// serviceTicket returns a ticket for a host, the identity it belongs to, and the name of the
// service. After an error, identity and name are as far as they are known.
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

// hostName returns the name of a host as it is in service principals: lower case, no final dot.
func hostName(host string) (string, error) {
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	if _, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		return "", advise(errors.New("a ticket is for the name of a host, and this is an IP address"), "set the server identity to the host's name")
	}
	if name == "" || len(name) > 255 {
		return "", errors.New("not a host name")
	}
	return name, nil
}

// describeTimeout limits the time for reading a cache from a daemon.
const describeTimeout = 5 * time.Second

// Describe describes how a login to a host would go; serverHost may be "". It reads krb5.conf and
// the cache or keytab, and does not contact a KDC.
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
