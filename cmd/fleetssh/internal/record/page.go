package record

import (
	"slices"
	"strings"
	"time"

	"fleetssh/cmd/fleetssh/internal/fold"
	"fleetssh/cmd/fleetssh/internal/journal"
	page "fleetssh/cmd/fleetssh/internal/report"
	"fleetssh/cmd/fleetssh/internal/results"
)

// reportOf returns the content of the report about a run. kept says that the record stays, so that the
// run can be repeated.
func reportOf(run *journal.Run, kept bool) (page.Data, error) {
	t := Summary(run)
	d := page.Data{Run: run.ID, Command: run.Command, Begun: run.Time, Elapsed: run.Elapsed, Notes: Notes(run)}
	if kept && run.State != journal.UnderWay && Repeatable(run) == nil {
		d.Rerun = rerunLine(run)
	}
	output, err := foldOf(run, t)
	if err != nil {
		return d, err
	}
	defer output.Close()
	for _, g := range t.Failures() {
		p := g.First.Problem
		said, err := stderrOf(output, t, g.Hosts)
		if err != nil {
			return d, err
		}
		d.Groups = append(d.Groups, page.Group{
			Title: g.Title, Class: classOf(&run.Hosts[g.First.Index]), Hosts: t.Fold(g.Hosts), Count: len(g.Hosts),
			Reason: p.Reason, Differ: g.Differ, Detail: g.Detail, Hint: g.Hint, Stderr: said,
		})
	}
	if ok, err := run.Select("ok"); err == nil && len(ok) > 0 {
		d.Groups = append(d.Groups, page.Group{Title: "exit code 0", Class: page.OK, Hosts: t.Fold(Indexes(ok)), Count: len(ok)})
	}
	for i := range run.Hosts {
		h := &run.Hosts[i]
		d.Hosts = append(d.Hosts, page.Host{
			Label: t.Hosts[i].Label, Outcome: h.Result.Outcome, Class: classOf(h), Attempts: h.Result.Attempts,
			Connect: fromMilliseconds(h.Result.ConnectMS), Run: fromMilliseconds(h.Result.RunMS),
		})
		d.Hosts[i].From, d.Hosts[i].To = h.Span(run)
	}
	for i := range t.Results {
		r := &t.Results[i]
		title, _ := r.Title()
		d.Hosts[r.Index].Outcome, d.Hosts[r.Index].Message = title, r.Problem.Reason
	}
	d.Batches, d.Gates = batchesOf(run, t)
	d.Variants, err = variantsOf(run, t, output)
	return d, err
}

// rerunLine returns the command line that repeats a run: on the hosts that failed, or on all if none did.
func rerunLine(run *journal.Run) string {
	class := "--all"
	if failed, err := run.Select("failed"); err == nil && len(failed) > 0 {
		class = "--failed"
	}
	return "fleetssh rerun " + run.ID + " " + class
}

// classOf returns the class of a host in the report.
func classOf(h *journal.HostRun) page.Class {
	switch {
	case h.OK():
		return page.OK
	case h.Result.Uncertain() || h.Result.Outcome == "skipped" || h.Result.Outcome == journal.Waiting:
		return page.Unclear
	}
	return page.Failed
}

// batchesOf returns the batches of a run with their times, and their gates.
func batchesOf(run *journal.Run, t *results.Summary) (batches []page.Batch, gates []page.Gate) {
	since := func(at time.Time) time.Duration { return max(0, at.Sub(run.Time)) }
	for i := range run.Batches {
		b := &run.Batches[i]
		batches = append(batches, page.Batch{Number: b.Number, Hosts: b.Hosts, OK: b.OK, Failed: b.Failed, From: since(b.Began), Took: b.Elapsed()})
	}
	for i := range run.Gates {
		g := &run.Gates[i]
		if at := slices.IndexFunc(batches, func(b page.Batch) bool { return b.Number == g.Batch }); at >= 0 {
			batches[at].Gates += g.Elapsed()
		}
		failed := g.FailedHosts()
		gates = append(gates, page.Gate{
			Batch: g.Batch, Here: g.Where == journal.OnThisMachine, Command: g.Command, Hosts: g.Hosts, OK: g.OK,
			Failed: t.Fold(failed), Count: len(failed), Reason: g.Reason, Output: g.Output, Took: g.Elapsed(),
		})
	}
	for i := range batches {
		end := run.Elapsed
		if i+1 < len(batches) {
			end = batches[i+1].From
		}
		batches[i].Waited = max(0, end-batches[i].From-batches[i].Took-batches[i].Gates)
	}
	return batches, gates
}

const (
	maxStderr      = 2 << 10 // bytes that are shown of the standard error of a failed host, from the end
	maxStderrHosts = 1000    // hosts of a group whose standard error is looked at
	maxStderrTexts = 3       // different ones that are shown
)

// stderrOf returns the ends of what failed hosts wrote to standard error, the most common first.
func stderrOf(output *fold.Fold, t *results.Summary, hosts []int) ([]page.Stderr, error) {
	var texts fold.Texts[int]
	for _, i := range hosts[:min(len(hosts), maxStderrHosts)] {
		text, err := lastLines(output.Host(i), fold.Stderr, maxStderr)
		if err != nil {
			return nil, err
		}
		if text != "" {
			texts.Add(text, i)
		}
	}
	var said []page.Stderr
	for text, by := range texts.BySize() {
		if len(said) == maxStderrTexts {
			break
		}
		said = append(said, page.Stderr{Hosts: t.Fold(by), Count: len(by), Text: text, More: texts.Len() - maxStderrTexts})
	}
	return said, nil
}

// lastLines returns the last lines of a stream, at most n bytes.
func lastLines(g fold.Group, stream fold.Stream, n int) (string, error) {
	var last []string
	size := 0
	err := g.Lines(stream, func(line string) bool {
		if len(line) > n {
			line = strings.ToValidUTF8(line[:n], "") + " …"
		}
		last, size = append(last, line), size+len(line)+1
		for size > n && len(last) > 1 {
			size -= len(last[0]) + 1
			last = last[1:]
		}
		return true
	})
	if err != nil || len(last) == 0 {
		return "", err
	}
	return strings.Join(last, "\n") + "\n", nil
}

// variantsOf returns the different outputs of the hosts of a run.
func variantsOf(run *journal.Run, t *results.Summary, output *fold.Fold) ([]page.Variant, error) {
	var variants []page.Variant
	for _, g := range output.Complete() {
		v := page.Variant{Hosts: t.Fold(g.Hosts), Count: len(g.Hosts), Status: g.Status, Cut: run.Hosts[g.Hosts[0]].Result.Cut}
		for stream, to := range map[fold.Stream]*string{fold.Stdout: &v.Stdout, fold.Stderr: &v.Stderr} {
			var text strings.Builder
			err := g.Lines(stream, func(line string) bool {
				text.WriteString(line + "\n")
				return true
			})
			if err != nil {
				return nil, err
			}
			*to = text.String()
		}
		variants = append(variants, v)
	}
	return variants, nil
}
