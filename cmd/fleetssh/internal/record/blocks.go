package record

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"fleetssh/cmd/fleetssh/internal/display"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/fold"
	"fleetssh/cmd/fleetssh/internal/journal"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// The blocks of a run are the groups of hosts with equal output. A run with -b numbers them from 1 in
// the order in which it shows them, which the record keeps. Those of any other run are folded from the
// recorded output, and numbered by size, the largest first. Hosts without output are in no block.

// Blocks returns the hosts of each block, by index.
func Blocks(run *journal.Run) ([][]int, error) {
	if blocks := recordedBlocks(run); blocks != nil {
		return blocks, nil
	}
	f, err := foldOf(run, Summary(run))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var blocks [][]int
	for _, g := range f.Complete() {
		if !g.Empty() {
			blocks = append(blocks, g.Hosts)
		}
	}
	return blocks, nil
}

// recordedBlocks returns the blocks that the run has shown.
func recordedBlocks(run *journal.Run) [][]int {
	var blocks [][]int
	for i := range run.Hosts {
		n := run.Hosts[i].Block
		if n < 1 || n > len(run.Hosts) { // there are no more blocks than hosts
			continue
		}
		for len(blocks) < n {
			blocks = append(blocks, nil)
		}
		blocks[n-1] = append(blocks[n-1], i)
	}
	return blocks
}

// foldOf folds the recorded output of a run, whose results are t. It must be closed.
func foldOf(run *journal.Run, t *results.Summary) (*fold.Fold, error) {
	f := fold.New(len(run.Hosts))
	streams := map[string]fold.Stream{"stdout": fold.Stdout, "stderr": fold.Stderr}
	for line, err := range Lines(run) {
		if err == nil {
			err = f.Line(line.Index, streams[line.Stream], line.Text)
		}
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("record of the output: %w", err)
		}
	}
	status := make([]string, len(run.Hosts))
	for i := range t.Results {
		if r := &t.Results[i]; !r.OK {
			status[r.Index], _ = r.Title()
		}
	}
	for i := range status {
		f.End(i, status[i])
	}
	return f, nil
}

// hostsOfBlock returns the hosts of the block with a number. condition is what the user wrote.
func hostsOfBlock(run *journal.Run, condition, number string) ([]journal.HostRun, error) {
	n, err := strconv.Atoi(number)
	if err != nil || n < 1 {
		return nil, fmt.Errorf("%s: %q is not the number of a block", condition, number)
	}
	blocks, err := Blocks(run)
	if err != nil {
		return nil, err
	}
	if n > len(blocks) {
		have := fmt.Sprintf("%d blocks", len(blocks))
		switch len(blocks) {
		case 0:
			have = "no block: no output was recorded"
		case 1:
			have = "only 1 block"
		}
		return nil, exit.UsageError("fleetssh runs show -b "+run.ID+" shows the blocks", "%s: the run has %s", condition, have)
	}
	var hosts []journal.HostRun
	for _, i := range blocks[n-1] {
		hosts = append(hosts, run.Hosts[i])
	}
	return hosts, nil
}

// ShowBlocks shows the blocks of a run with their numbers.
func ShowBlocks(screen *termline.Screen, run *journal.Run, t *results.Summary) error {
	blocks, err := Blocks(run)
	if err != nil {
		return err
	}
	var first []int
	for _, hosts := range blocks {
		first = append(first, hosts[:min(len(hosts), 1)]...)
	}
	texts, err := outputsOf(run, first)
	if err != nil {
		return err
	}
	titles := titlesOf(t)
	for n, hosts := range blocks {
		if len(hosts) == 0 { // the line about it is missing
			continue
		}
		title := fmt.Sprintf("%s (%d)", t.Fold(hosts), len(hosts))
		status := titles[hosts[0]]
		if status != "ok" {
			title += ": " + termline.Visible(status)
		}
		display.ShowHeader(screen, display.BlockRule(n+1), title, status != "ok")
		for line := range strings.Lines(texts[hosts[0]]) {
			screen.Out("", strings.TrimSuffix(line, "\n"))
		}
		if slices.ContainsFunc(hosts, func(i int) bool { return run.Hosts[i].Result.Cut }) {
			screen.Message("fleetssh: only the beginning of the output was recorded")
		}
	}
	return nil
}
