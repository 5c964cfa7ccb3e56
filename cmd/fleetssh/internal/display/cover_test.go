package display

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// The blocks that are shown after a full-screen view are in the record before, with the same numbers.
func TestBlocksAreRecordedBeforeTheyAreShown(t *testing.T) {
	t.Parallel()
	for _, diff := range []bool{false, true} {
		var blocks []string
		var out bytes.Buffer
		screen := termline.New(&out, &out)
		v := View{
			Screen: screen, Summary: results.New([]selection.Host{{Label: "a"}, {Label: "b"}, {Label: "c"}, {Label: "d"}}), Label: true, diff: diff, late: true,
			Block: func(number int, hosts []int) { blocks = append(blocks, fmt.Sprint(number, hosts)) },
		}
		d := newFold(v).(*foldDisplay)
		for i, text := range []string{"x", "y", "y"} {
			d.Show(fleetssh.Event{Kind: fleetssh.StdoutLine, Index: i, Text: text})
		}
		for i := range 4 { // the last one wrote nothing, and has no block
			d.Finished(&results.Result{Index: i, OK: true})
		}
		screen.Flush()
		if out.Len() > 0 {
			t.Errorf("shown under the view: %q", out.String())
		}
		d.recordBlocks()
		recorded := slices.Clone(blocks)
		d.Close()
		screen.Flush()
		if len(recorded) != 2 || !slices.Equal(blocks, recorded) {
			t.Errorf("diff %v: recorded %v before and %v after", diff, recorded, blocks)
		}
		if diff && recorded[0] != "1 [1 2]" {
			t.Errorf("with --diff, the most common output is not block 1: %v", recorded)
		}
		if !strings.Contains(out.String(), "b,c (2)") {
			t.Errorf("shown: %q", out.String())
		}
	}
}
