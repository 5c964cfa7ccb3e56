package tunnel

import (
	"context"
	"fmt"
	"time"
)

// Keeper keeps a host listening for a tunnel. When the connection is lost it asks again,
// after pauses of one second at first and 30 at most.
type Keeper struct {
	Tunnel *Tunnel
	At     Address      // where to listen; a port that the host chooses is kept
	Host   fmt.Stringer // as it is logged

	// Ask has the host listen, and returns a tunnel that ends with the connection.
	Ask func(ctx context.Context, at Address) (*Tunnel, error)

	// Refused reports whether an error of Ask is the host's answer, which Keeper logs. [Gate]
	// logs that there is no connection.
	Refused func(error) bool

	now *Tunnel // what Ask has returned; nil: the host does not listen
}

// Listen asks the host to listen, for the first time. Run asks again.
func (k *Keeper) Listen(ctx context.Context) error {
	now, err := k.Ask(ctx, k.At)
	if err != nil {
		return err
	}
	k.now = now
	k.Tunnel.SetAddr(now.Addr())
	if k.At.Path == "" && k.At.Port == 0 {
		if address, parseErr := parse(now.Addr().String()); parseErr == nil {
			k.At.Port = address.Port
		}
	}
	return nil
}

// relistenPause is how long to wait, at first and at most, before a host is asked again
// to listen.
const relistenPause, longRelistenPause = time.Second, 30 * time.Second

// Run keeps the host listening until the tunnel ends, on a goroutine of the tunnel.
func (k *Keeper) Run() {
	if !k.Tunnel.Go(k.run) && k.now != nil {
		k.now.Close()
	}
}

func (k *Keeper) run() {
	ctx := k.Tunnel.ctx
	pause := relistenPause
	for {
		if k.now != nil {
			select {
			case <-k.now.ctx.Done():
			case <-ctx.Done():
			}
			k.now.Close()
			k.now, pause = nil, relistenPause
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		pause = min(2*pause, longRelistenPause)
		err := k.Listen(ctx)
		if err == nil {
			k.Tunnel.Worked(k.Host)
		} else if k.Refused(err) {
			k.Tunnel.Failed(k.Host, err)
		}
	}
}
