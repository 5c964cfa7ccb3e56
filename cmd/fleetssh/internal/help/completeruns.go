package help

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"fleetssh/cmd/fleetssh/internal/journal"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// runsCompleted is how many runs are suggested.
const runsCompleted = 20

// latestRuns returns the latest runs, the last one first. It returns none if they cannot be read.
func latestRuns() []journal.Info {
	dir, err := journal.Dir()
	if err != nil {
		return nil
	}
	runs, err := journal.List(dir)
	if err != nil {
		return nil
	}
	slices.Reverse(runs)
	return runs[:min(len(runs), runsCompleted)]
}

// CompleteRuns completes the arguments of a verb that takes up to most runs. It suggests "last" and
// the IDs of the latest runs, with their commands.
func CompleteRuns(most int) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		const how = cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
		if len(args) >= most {
			return nil, how
		}
		var found []string
		for i, run := range latestRuns() {
			what := "\t" + termline.Visible(run.OneLine())
			if i == 0 && strings.HasPrefix("last", word) {
				found = append(found, "last"+what)
			}
			if strings.HasPrefix(run.ID, word) {
				found = append(found, run.ID+what)
			}
		}
		return found, how
	}
}

// classesOfRuns returns the host sets of earlier runs that complete a word after "@", such as
// "last:failed". Sets of older runs are suggested if the word begins with a digit.
func classesOfRuns(word string) []string {
	runs := latestRuns()
	if len(runs) == 0 {
		return nil
	}
	ids := []string{"last"}
	if word != "" && '0' <= word[0] && word[0] <= '9' {
		ids = nil
		for _, run := range runs {
			ids = append(ids, run.ID)
		}
	}
	var names []string
	for _, id := range ids {
		for _, class := range journal.Classes {
			names = append(names, id+":"+class)
		}
	}
	return names
}
