package display

import (
	"fmt"
	"slices"
	"strings"

	"github.com/aymanbagabas/go-udiff"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/fold"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// foldDisplay shows identical output of hosts once, below their names, as soon as the group is
// complete.
type foldDisplay struct {
	View
	fold   *fold.Fold
	failed bool         // a line could not be stored
	groups []fold.Group // to be shown at the end
	blocks int          // how many blocks were shown

	recorded bool // the blocks are in the record already
}

func newFold(v View) Display {
	return &foldDisplay{View: v, fold: fold.New(len(v.Summary.Hosts))}
}

func (d *foldDisplay) Show(ev fleetssh.Event) {
	stream := fold.Stdout
	switch ev.Kind {
	case fleetssh.StdoutLine:
	case fleetssh.StderrLine:
		stream = fold.Stderr
	default:
		return
	}
	if ev.Err != nil && OutputLost(ev.Err) {
		d.Screen.Message("fleetssh: warning: " + ev.Err.Error())
		return
	}
	if err := d.fold.Line(ev.Index, stream, ev.Text); err != nil && !d.failed {
		d.failed = true
		d.Screen.Message("fleetssh: warning: some output could not be folded: " + err.Error())
	}
}

func (d *foldDisplay) Finished(r *results.Result) {
	status := ""
	if !r.OK {
		status, _ = r.Title()
	}
	d.fold.End(r.Index, status)
	groups := d.fold.Complete()
	if d.diff || d.late {
		d.groups = append(d.groups, groups...)
		return
	}
	for _, g := range groups {
		d.group(g)
	}
}

// rule stands above and below the set of hosts, as ClusterShell and dshbak have it.
const rule = "---------------"

// group shows one group, unless its hosts wrote nothing: failed hosts are listed at the end anyway.
func (d *foldDisplay) group(g fold.Group) {
	if g.Empty() {
		return
	}
	hosts, title := d.title(g)
	d.number(g)
	d.header(title, g.Status != "")
	d.lines(g, fold.Stdout, func(line string) { d.Screen.Out("", line) })
	prefix := d.Screen.PaintErr(termline.Failure, hosts) + ": "
	d.lines(g, fold.Stderr, func(line string) { d.Screen.Err(prefix, line) })
}

// title returns the hosts of a group as a set, and a title with the set, the number of hosts and how
// they failed.
func (d *foldDisplay) title(g fold.Group) (hosts, title string) {
	hosts = d.Summary.Fold(g.Hosts)
	title = fmt.Sprintf("%s (%d)", hosts, len(g.Hosts))
	if g.Status != "" {
		title += ": " + termline.Visible(g.Status) // a host can send any text as the name of a signal
	}
	return hosts, title
}

// number gives the group, which is about to be shown, the number of its block.
func (d *foldDisplay) number(g fold.Group) {
	d.blocks++
	if d.Block != nil && !d.recorded {
		d.Block(d.blocks, g.Hosts)
	}
}

// recordBlocks records the blocks that Close will show, in their order.
func (d *foldDisplay) recordBlocks() {
	if d.diff {
		d.sort()
	}
	for _, g := range d.groups {
		if !g.Empty() {
			d.number(g)
		}
	}
	d.recorded, d.blocks = true, 0
}

// header shows the set of hosts between two rules. On a terminal, the upper rule has the number of the
// block, for @last:block=N. Programs get the plain rules of ClusterShell and dshbak.
func (d *foldDisplay) header(title string, failed bool) {
	if !d.Label {
		return
	}
	upper := rule
	if d.Block != nil && d.Screen.OutIsTerminal() {
		upper = BlockRule(d.blocks)
	}
	ShowHeader(d.Screen, upper, title, failed)
}

// BlockRule returns the upper rule of a block with its number.
func BlockRule(number int) string { return fmt.Sprintf("%s block %d", rule, number) }

// ShowHeader shows the title of a block between two rules.
func ShowHeader(screen *termline.Screen, upper, title string, failed bool) {
	style := termline.Heading
	if failed {
		style = termline.Failure
	}
	for _, line := range []string{upper, title, rule} {
		screen.Out(screen.Paint(style, line), "")
	}
}

// lines calls show for the lines of a stream.
func (d *foldDisplay) lines(g fold.Group, s fold.Stream, show func(string)) {
	err := g.Lines(s, func(line string) bool {
		show(line)
		return true
	})
	if err != nil {
		d.Screen.Message("fleetssh: warning: folded output could not be read back: " + err.Error())
	}
}

func (d *foldDisplay) Close() {
	if d.diff {
		d.differences()
	} else {
		for _, g := range d.groups {
			d.group(g)
		}
	}
	if err := d.fold.Close(); err != nil {
		d.Screen.Message("fleetssh: warning: " + err.Error())
	}
	d.Summary.ShowFailures(d.Screen)
}

// maxDiff is the longest output that is compared, in bytes: a diff takes memory and time.
const maxDiff = 1 << 20

// sort puts the most common output first.
func (d *foldDisplay) sort() {
	slices.SortStableFunc(d.groups, func(a, b fold.Group) int { return len(b.Hosts) - len(a.Hosts) })
}

// differences shows the most common output, and how the others differ from it.
func (d *foldDisplay) differences() {
	d.sort()
	common := slices.IndexFunc(d.groups, func(g fold.Group) bool { return !g.Empty() })
	if common < 0 {
		return
	}
	d.group(d.groups[common])
	_, name := d.title(d.groups[common])
	text, short := d.text(d.groups[common])
	for _, g := range d.groups[common+1:] {
		if g.Empty() {
			continue
		}
		_, title := d.title(g)
		other, alsoShort := d.text(g)
		if !short || !alsoShort {
			d.group(g) // in full
			continue
		}
		difference := udiff.Unified(name, title, text, other)
		if difference == "" { // standard error or the status differs
			d.group(g)
			continue
		}
		d.number(g)
		if d.Block != nil && d.Label && d.Screen.OutIsTerminal() {
			d.Screen.Out(d.Screen.Paint(termline.Heading, BlockRule(d.blocks)), "")
		}
		for line := range strings.Lines(difference) {
			ShowDiffLine(d.Screen, strings.TrimSuffix(line, "\n"))
		}
	}
}

// ShowDiffLine shows a line of a diff.
func ShowDiffLine(screen *termline.Screen, line string) {
	mark, rest := line[:min(1, len(line))], line[min(1, len(line)):]
	switch {
	case strings.HasPrefix(line, "--- "), strings.HasPrefix(line, "+++ "), strings.HasPrefix(line, "@@ "):
		screen.Out("", line)
	case mark == "+":
		screen.Out(screen.Paint(termline.Added, mark), rest)
	case mark == "-":
		screen.Out(screen.Paint(termline.Removed, mark), rest)
	default:
		screen.Out("", line)
	}
}

// text returns what a group wrote to standard output. ok is false if it is too long to be compared.
func (d *foldDisplay) text(g fold.Group) (text string, ok bool) {
	var b strings.Builder
	d.lines(g, fold.Stdout, func(line string) {
		if b.Len() <= maxDiff {
			b.WriteString(line + "\n")
		}
	})
	return b.String(), b.Len() <= maxDiff
}
