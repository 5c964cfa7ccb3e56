package display

import (
	"bufio"
	"fmt"
	"strings"

	"fleetssh/cmd/fleetssh/internal/fold"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// Plan shows what --dry-run says about hosts. In a batch, hosts with the same text share it.
type Plan struct {
	Screen  *termline.Screen
	Hosts   []selection.Host
	Sizes   []int // of the batches
	Verbose bool  // each host has lines of its own
}

// maxPlanTexts is how many different texts of a batch are held at once.
const maxPlanTexts = 10_000

// Show shows the text of each host, batch by batch, and returns how many different ones there are; more
// than maxPlanTexts of them are not told apart from ones before.
func (p *Plan) Show(text func(i int) (string, error)) (different int, err error) {
	i := 0
	seen := make(map[string]bool)
	for n, size := range p.Sizes {
		if len(p.Sizes) > 1 {
			p.Screen.Message(fmt.Sprintf("batch %d of %d: %s", n+1, len(p.Sizes), selection.CountHosts(size)))
		}
		var batch fold.Texts[string]
		for end := i + size; i < end; i++ {
			line, err := text(i)
			if err != nil {
				return 0, err
			}
			if !seen[line] {
				different++
			}
			if len(seen) < maxPlanTexts {
				seen[line] = true
			}
			batch.Add(line, p.Hosts[i].Label)
			if p.Verbose || batch.Len() == maxPlanTexts {
				p.show(&batch)
				batch = fold.Texts[string]{}
			}
		}
		p.show(&batch)
	}
	return different, nil
}

// show shows texts after the hosts that share them.
func (p *Plan) show(batch *fold.Texts[string]) {
	for text, labels := range batch.All() {
		prefix := p.Screen.Paint(termline.Label, results.CountedNames(labels)) + ": "
		scanner := bufio.NewScanner(strings.NewReader(text))
		scanner.Buffer(nil, len(text)+1)
		for scanner.Scan() {
			p.Screen.Out(prefix, scanner.Text())
		}
	}
}

// Total shows what the hosts have in common, if there are several.
func (p *Plan) Total(text string) {
	if len(p.Hosts) > 1 {
		p.Screen.Out("", selection.CountHosts(len(p.Hosts))+": "+text)
	}
}
