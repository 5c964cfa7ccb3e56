package record

import (
	"fmt"
	"time"

	"fleetssh/cmd/fleetssh/internal/display"
	"fleetssh/cmd/fleetssh/internal/journal"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// BatchEnded records how a batch ended. With --format json, it shows that, too.
func (r *Recorder) BatchEnded(b journal.Batch) {
	if r.writer != nil {
		r.warn(r.writer.Batch(b))
	}
	if r.json {
		display.PutJSON(r.screen, newJSONBatch(&b))
	}
}

// GateEnded records the result of a gate. With --format json, it shows that, too.
func (r *Recorder) GateEnded(g journal.Gate) {
	if r.writer != nil {
		r.warn(r.writer.Gate(g))
	}
	if r.json {
		display.PutJSON(r.screen, newJSONGate(&g, r.tally))
	}
}

// jsonBatch is how a batch ended.
type jsonBatch struct {
	Type string    `json:"type"`
	Time time.Time `json:"time"`
	journal.Batch
}

func newJSONBatch(b *journal.Batch) jsonBatch {
	return jsonBatch{Type: "batch", Time: b.Began.Add(b.Elapsed()), Batch: *b}
}

// jsonGate is the result of a gate.
type jsonGate struct {
	Type string    `json:"type"`
	Time time.Time `json:"time"`
	journal.Gate
	Failed []string `json:"failed"` // the names of the hosts
}

func newJSONGate(g *journal.Gate, t *results.Summary) jsonGate {
	j := jsonGate{Type: "gate", Time: g.Began.Add(g.Elapsed()), Gate: *g, Failed: []string{}}
	for _, i := range g.FailedHosts() {
		j.Failed = append(j.Failed, t.Hosts[i].Name)
	}
	return j
}

// eachStep calls batch and gate in the order in which they ended: the gates of a batch come after it.
func eachStep(run *journal.Run, batch func(*journal.Batch), gate func(*journal.Gate)) {
	gates := run.Gates
	for i := range run.Batches {
		b := &run.Batches[i]
		batch(b)
		for len(gates) > 0 && gates[0].Batch <= b.Number {
			gate(&gates[0])
			gates = gates[1:]
		}
	}
	for i := range gates { // the line of their batch is missing
		gate(&gates[i])
	}
}

// PutBatches shows the batches and gates of a run as the objects of run --format json.
func PutBatches(screen *termline.Screen, run *journal.Run, t *results.Summary) {
	eachStep(run, func(b *journal.Batch) { display.PutJSON(screen, newJSONBatch(b)) },
		func(g *journal.Gate) { display.PutJSON(screen, newJSONGate(g, t)) })
}

// ShowBatches calls show for each batch and each gate of a run, as text.
func ShowBatches(run *journal.Run, t *results.Summary, show func(name, text string)) {
	eachStep(run, func(b *journal.Batch) {
		show("batch", fmt.Sprintf("%d of %d: %s, %d ok, %d failed, in %s", b.Number, b.Batches, selection.CountHosts(b.Hosts), b.OK, b.Failed, results.ShortDuration(b.Elapsed())))
	}, func(g *journal.Gate) {
		where := "on " + selection.CountHosts(g.Hosts)
		if g.Where == journal.OnThisMachine {
			where = "on this machine"
		}
		text := where + ": ok"
		if !g.OK {
			text = where + " failed"
			if hosts := g.FailedHosts(); len(hosts) > 0 {
				text = "failed on " + t.Counted(hosts)
			}
			if g.Reason != "" {
				text += ": " + g.Reason
			}
		}
		show("gate", fmt.Sprintf("%s, in %s: %s", text, results.ShortDuration(g.Elapsed()), g.Command))
	})
}
