package main

import (
	"bufio"
	"fmt"
	"strings"

	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// mostPlanned is how many hosts have a line each in what --dry-run shows. If there are more, those
// with equal ones share it.
const mostPlanned = 100

// showPlan shows what would be done on each host, and in which batch.
func showPlan(screen *termline.Screen, hosts []selection.Host, sizes []int, plan func(i int) (string, error)) error {
	i := 0
	for n, size := range sizes {
		if len(sizes) > 1 {
			screen.Message(fmt.Sprintf("batch %d of %d: %s", n+1, len(sizes), selection.CountHosts(size)))
		}
		var labels []string // of hosts with the text before
		before := ""
		for end := i + size; i < end; i++ {
			text, err := plan(i)
			if err != nil {
				return err
			}
			if text != before || len(hosts) <= mostPlanned {
				showPlanned(screen, labels, before)
				labels, before = nil, text
			}
			labels = append(labels, hosts[i].Label)
		}
		showPlanned(screen, labels, before)
	}
	return nil
}

// showPlanned shows a text behind the hosts that it is for.
func showPlanned(screen *termline.Screen, labels []string, text string) {
	if len(labels) == 0 {
		return
	}
	prefix := screen.Paint(termline.Label, results.CountedNames(labels)) + ": "
	scanner := bufio.NewScanner(strings.NewReader(text))
	scanner.Buffer(nil, len(text)+1)
	for scanner.Scan() {
		screen.Out(prefix, scanner.Text())
	}
}
