package fleetssh

import (
	"sync/atomic"
	"time"
)

const (
	// probeIntervals is how many times KeepAlive a host may take to answer a probe,
	// as OpenSSH's ServerAliveCountMax.
	probeIntervals = 3

	// mostAhead is how many bytes may come before the answer to a probe. Servers and
	// systems hold no more than a few megabytes of what was written before it.
	mostAhead = 16 << 20
)

// pulse tells whether the host of a client is alive: it probes it all the time. That
// bytes come is no sign of life by itself: a host that does not read may send some for
// ever, and an answer is what shows that it reads. But on a slow line, much may be on the
// way before it, in both directions.
type pulse struct {
	client *Client
	every  time.Duration
	out    atomic.Bool // a probe is on the way, or its answer
	missed int         // intervals since, in which too little has moved

	carried int64 // at the last beat
	in      int64 // bytes that had come when the probe went out
}

// beat is called once in every interval. It returns false if the host is dead.
func (p *pulse) beat() bool {
	wire := p.client.wire
	before, now := p.carried, wire.carried()
	p.carried = now
	if !p.out.Load() {
		p.missed, p.in = 0, wire.in.Load()
		p.out.Store(true)
		p.client.wg.Go(func() {
			p.client.probe()
			p.out.Store(false)
		})
		return true
	}
	if now-before >= int64(slowest*p.every.Seconds()) && wire.in.Load()-p.in <= mostAhead {
		p.missed = 0
		return true
	}
	p.missed++
	return p.missed < probeIntervals
}

// probe asks the host for a sign of life, as OpenSSH's ServerAliveInterval does.
// Any answer is one. The wait for it ends with the connection at the latest.
func (c *Client) probe() {
	c.link().SendRequest("keepalive@openssh.com", true, nil)
}
