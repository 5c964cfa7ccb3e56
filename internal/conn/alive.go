package conn

import (
	"sync/atomic"
	"time"
)

const (
	// probeIntervals is how many times KeepAlive a host may take to answer a probe,
	// as OpenSSH's ServerAliveCountMax.
	probeIntervals = 3

	// trickleIntervals is how many times KeepAlive it may take if meanwhile something
	// comes from it, however little.
	trickleIntervals = 4 * probeIntervals

	// mostAhead is how many bytes may come before the answer to a probe. Servers and
	// systems hold no more than a few megabytes of what was written before it.
	mostAhead = 16 << 20
)

// pulse tells whether the host of a connection is alive, by probing it. Bytes that come do not
// count as life for ever: a host that does not read may still send some, and only an answer
// shows that it reads. On a slow line much may be on the way before the answer, in both
// directions.
type pulse struct {
	conn   *Conn
	every  time.Duration
	out    atomic.Bool // a probe is on the way, or its answer
	missed int         // intervals since, in which too little has moved; one in which nothing has come counts as several

	carried  int64 // at the last beat
	received int64 // likewise, bytes that had come
	in       int64 // bytes that had come when the probe went out
	asked    time.Time
}

// beat is called once in every interval. It returns false if the host is dead.
func (p *pulse) beat() bool {
	wire := p.conn.wire
	before, now := p.carried, wire.carried()
	silent := p.received == wire.in.Load()
	p.carried, p.received = now, wire.in.Load()
	if !p.out.Load() {
		p.missed, p.in, p.asked = 0, p.received, time.Now()
		p.out.Store(true)
		p.conn.wg.Go(func() {
			p.conn.probe()
			p.out.Store(false)
		})
		return true
	}
	switch {
	case now-before >= int64(Slowest*p.every.Seconds()) && p.received-p.in <= mostAhead:
		p.missed = 0
	case silent:
		p.missed += trickleIntervals / probeIntervals
	default:
		p.missed++
	}
	return p.missed < trickleIntervals
}

// waited returns for how long the host has not answered.
func (p *pulse) waited() time.Duration { return time.Since(p.asked).Round(p.every / 10) }

// probe asks the host for a sign of life, as OpenSSH's ServerAliveInterval does.
// Any answer is one. The wait for it ends with the connection at the latest.
func (c *Conn) probe() {
	c.Link().SendRequest("keepalive@openssh.com", true, nil)
}
