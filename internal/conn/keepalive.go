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

	// maxBeforeAnswer is how many bytes may come before the answer to a probe. Servers and
	// systems hold no more than a few megabytes of what was written before it.
	maxBeforeAnswer = 16 << 20
)

// prober probes the host of a connection and decides whether it is alive. Received bytes prove
// life only for a while: a host that does not read may still send, and only an answer shows
// that it reads. On a slow line, much data may be on the way before the answer, in both
// directions.
type prober struct {
	conn    *Conn
	every   time.Duration
	pending atomic.Bool // a probe has no answer yet
	missed  int         // intervals since the probe in which too little moved; a silent one counts as several

	carried  int64 // bytes carried, at the last tick
	received int64 // bytes received, at the last tick
	sentAt   time.Time
	sentWith int64 // bytes received when the probe was sent
}

// tick is called once in every interval. It returns false if the host is dead.
func (p *prober) tick() bool {
	wire := p.conn.wire
	before, now := p.carried, wire.carried()
	silent := p.received == wire.in.Load()
	p.carried, p.received = now, wire.in.Load()
	if !p.pending.Load() {
		p.missed, p.sentWith, p.sentAt = 0, p.received, time.Now()
		p.pending.Store(true)
		p.conn.wg.Go(func() {
			p.conn.probe()
			p.pending.Store(false)
		})
		return true
	}
	switch {
	case now-before >= int64(MinRate*p.every.Seconds()) && p.received-p.sentWith <= maxBeforeAnswer:
		p.missed = 0
	case silent:
		p.missed += trickleIntervals / probeIntervals
	default:
		p.missed++
	}
	return p.missed < trickleIntervals
}

// waited returns how long the answer has been missing.
func (p *prober) waited() time.Duration { return time.Since(p.sentAt).Round(p.every / 10) }

// probe asks the host for a sign of life, as OpenSSH's ServerAliveInterval does. Any answer,
// a refusal too, is one. The wait for it ends with the connection at the latest.
func (c *Conn) probe() {
	c.Link().SendRequest("keepalive@openssh.com", true, nil)
}
