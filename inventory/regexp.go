package inventory

import (
	"regexp"
	"sync"
)

// lazyRegexp returns a regular expression that is compiled when it is first used. Most runs of a
// program read no inventory, and compiling all expressions takes longer than starting the program.
func lazyRegexp(expr string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
}
