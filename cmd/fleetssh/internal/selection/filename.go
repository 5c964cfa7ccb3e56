package selection

import (
	"fmt"
	"strings"
)

// FileNames returns a name for the file of each host. Hosts that differ have different ones, also
// where names of files lack what tells them apart.
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

// FileName makes a file name of a label: nothing in it leads out of the folder, or is
// hidden in it.
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
