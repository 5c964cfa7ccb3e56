package journal

import "time"

// Batch is how a batch of a rollout ended. The next one begins after its gates.
type Batch struct {
	Number    int       `json:"batch"` // from 1
	Batches   int       `json:"batches"`
	Began     time.Time `json:"began"`
	Hosts     int       `json:"hosts"`
	OK        int       `json:"ok"`
	Failed    int       `json:"failed"`
	ElapsedMS float64   `json:"elapsed_ms"`
}

// Gate is the result of a command that decided, after a batch, whether the rollout continues.
type Gate struct {
	Batch     int       `json:"batch"` // after which one
	Batches   int       `json:"batches"`
	Where     string    `json:"where"` // OnHosts or OnThisMachine
	Command   string    `json:"command"`
	Began     time.Time `json:"began"`
	Hosts     int       `json:"hosts"` // the hosts of the batch that did not fail
	OK        bool      `json:"ok"`
	Reason    string    `json:"reason,omitempty"` // why it failed
	Output    string    `json:"output,omitempty"` // if it failed, cut to 4 KiB
	ElapsedMS float64   `json:"elapsed_ms"`

	// Failed are the hosts on which it failed, as ranges of indexes: first and last. See [Ranges].
	Failed [][2]int `json:"failed,omitempty"`
}

// Where a gate runs.
const (
	OnHosts       = "hosts"
	OnThisMachine = "local"
)

// Elapsed returns how long the batch took.
func (b *Batch) Elapsed() time.Duration { return milliseconds(b.ElapsedMS) }

// FailedHosts returns the indexes of the hosts on which it failed.
func (g *Gate) FailedHosts() []int {
	var hosts []int
	for _, r := range g.Failed {
		for i := r[0]; i <= r[1]; i++ {
			hosts = append(hosts, i)
		}
	}
	return hosts
}

// Elapsed returns how long the gate took.
func (g *Gate) Elapsed() time.Duration { return milliseconds(g.ElapsedMS) }

type (
	batchLine struct {
		head
		Batch
	}
	gateLine struct {
		head
		Gate
	}
)

// maxBatches bounds the batches and gates of a run that are read: there are at most as many as hosts.
const maxBatches = maxHosts

// Batch records how a batch ended.
func (w *Writer) Batch(b Batch) error { return w.writeLine(batchLine{head{"batch", time.Now()}, b}) }

// Gate records the result of a gate.
func (w *Writer) Gate(g Gate) error {
	g.Command, g.Reason, g.Output = truncated(g.Command, maxText), truncated(g.Reason, maxText), truncated(g.Output, maxText)
	g.Failed = g.Failed[:min(len(g.Failed), rangesPerLine)]
	return w.writeLine(gateLine{head{"gate", time.Now()}, g})
}

// batch adds a batch. It reports whether the batch is valid.
func (r *reader) batch(l *batchLine) bool {
	if l.Number < 1 || len(r.run.Batches) >= maxBatches {
		return false
	}
	r.run.Batches = append(r.run.Batches, l.Batch)
	return true
}

// gate adds the result of a gate. It reports whether the result is valid.
func (r *reader) gate(l *gateLine) bool {
	if l.Batch < 1 || len(r.run.Gates) >= maxBatches {
		return false
	}
	next := 0
	for _, hosts := range l.Failed {
		if hosts[0] < next || hosts[1] < hosts[0] || r.host(hosts[1]) == nil {
			return false
		}
		next = hosts[1] + 1
	}
	r.run.Gates = append(r.run.Gates, l.Gate)
	return true
}
