package inventory

import (
	"regexp"
	"sync"
)

// pattern returns a regular expression that is compiled at its first use: most runs of a
// program read no inventory, and compiling all of them takes longer than starting it.
func pattern(expr string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
}
