package tunnel

import (
	"context"
	"fmt"
	"time"
)

// Relistener keeps a host listening for a tunnel. When the connection is lost it asks the host
// again, after pauses that grow from one second to 30 seconds.
type Relistener struct {
	Tunnel *Tunnel
	At     Address      // where to listen; if the host chooses the port, later requests ask for that port
	Host   fmt.Stringer // as it is reported

	// Ask makes the host listen. It returns a tunnel that ends with the connection.
	Ask func(ctx context.Context, at Address) (*Tunnel, error)

	// Refused reports whether an error of Ask is the host's answer. Relistener reports only such
	// errors, since [Connector] reports that there is no connection.
	Refused func(error) bool

	current *Tunnel // returned by Ask; nil: the host does not listen
}

// Listen asks the host to listen, for the first time. Run asks again.
func (r *Relistener) Listen(ctx context.Context) error {
	now, err := r.Ask(ctx, r.At)
	if err != nil {
		return err
	}
	r.current = now
	r.Tunnel.SetAddr(now.Addr())
	if r.At.Path == "" && r.At.Port == 0 {
		if address, parseErr := parse(now.Addr().String()); parseErr == nil {
			r.At.Port = address.Port
		}
	}
	return nil
}

// relistenPause and maxRelistenPause are the first and the longest pause before a host is asked
// again.
const relistenPause, maxRelistenPause = time.Second, 30 * time.Second

// Run keeps the host listening until the tunnel ends, on a goroutine of the tunnel.
func (r *Relistener) Run() {
	if !r.Tunnel.Go(r.run) && r.current != nil {
		r.current.Close()
	}
}

func (r *Relistener) run() {
	ctx := r.Tunnel.ctx
	pause := relistenPause
	for {
		if r.current != nil {
			select {
			case <-r.current.ctx.Done():
			case <-ctx.Done():
			}
			r.current.Close()
			r.current, pause = nil, relistenPause
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		pause = min(2*pause, maxRelistenPause)
		err := r.Listen(ctx)
		if err == nil {
			r.Tunnel.TargetReached(r.Host)
		} else if r.Refused(err) {
			r.Tunnel.TargetFailed(r.Host, err)
		}
	}
}
