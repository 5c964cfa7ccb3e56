package selection

import (
	"fmt"
	"strings"
)

// FileNames returns a file name for each host. They differ, even if the labels differ only in
// characters that file names cannot have.
func FileNames(hosts []Host) []string {
	names := make([]string, len(hosts))
	taken := make(map[string]bool)
	for i := range hosts {
		name := FileName(hosts[i].Label)
		for taken[name] {
			name += fmt.Sprintf("#%d", i)
		}
		taken[name], names[i] = true, name
	}
	return names
}

// FileName returns a file name for a label. It has no path separators, and is not a hidden file.
func FileName(label string) string {
	name := strings.Map(func(r rune) rune {
		if r == '/' || r == '\\' || r == 0 {
			return '_'
		}
		return r
	}, label)
	if strings.HasPrefix(name, ".") {
		name = "_" + name[1:]
	}
	return name
}
