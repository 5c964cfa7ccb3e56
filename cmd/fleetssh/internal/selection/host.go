package selection

import (
	"fmt"
	"net"
	"strconv"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/termline"
	"fleetssh/hostset"
)

// Host is one host of a run.
type Host struct {
	Config fleetssh.HostConfig
	Name   string // the alias, or the name as given, without user and port
	Label  string // the name, with the port or the index if other hosts share it

	ownConfig     bool     // the inventory has ssh options for it
	sudo          string   // the sudo password from the inventory; empty: none
	sudoErr       error    // why it cannot be used
	Given         string   // the name as given, with user and port
	KeyFiles      KeyFiles // the files in which its key is looked up
	IgnoredLookup string   // an ignored line of ssh_config that would look up its key in DNS; or empty
	Flags         *Flags   // the flags that selected it
}

// excluded are the hosts of -x, by name.
type excluded map[string][]fleetssh.HostConfig

func parseExclusions(set hostset.Set) (excluded, error) {
	x := make(excluded)
	for name := range set.All() {
		h, err := fleetssh.ParseHost(name)
		if err != nil {
			return nil, exit.UsageError("", "%v", err)
		}
		x[h.Host] = append(x[h.Host], h)
	}
	return x, nil
}

// has reports whether a host is excluded. User and port are compared if -x names them.
func (x excluded) has(h *fleetssh.HostConfig) bool {
	for _, e := range x[h.Host] {
		if (e.User == "" || e.User == h.User) && (e.Port == 0 || e.Port == PortOf(h)) {
			return true
		}
	}
	return false
}

// PortOf returns the port of a host, 22 if it names none.
func PortOf(h *fleetssh.HostConfig) int {
	if h.Port == 0 {
		return 22
	}
	return h.Port
}

// setLabels gives every host the shortest unique label. The library names the directories of downloads
// by a similar rule (hostDirs): for file systems, without the brackets of IPv6 addresses.
func setLabels(entries []Host) {
	byName := make(map[string]int)
	byAddress := make(map[string]int)
	address := func(e *Host) string { return net.JoinHostPort(e.Name, strconv.Itoa(PortOf(&e.Config))) }
	for i := range entries {
		byName[entries[i].Name]++
		byAddress[address(&entries[i])]++
	}
	for i := range entries {
		e := &entries[i]
		label := e.Name
		switch {
		case byName[label] == 1:
		case byAddress[address(e)] == 1:
			label = address(e)
		default:
			label = fmt.Sprintf("%s#%d", e.Name, i)
		}
		e.Label = termline.Visible(label)
	}
}

// Configs returns the configurations of the hosts for the library.
func Configs(entries []Host) []fleetssh.HostConfig {
	configs := make([]fleetssh.HostConfig, len(entries))
	for i := range entries {
		configs[i] = entries[i].Config
	}
	return configs
}

// FoldNames formats names as a host set, such as web[1-3].
func FoldNames(names []string) string { return termline.Visible(hostset.Of(names...).String()) }

// CountHosts formats a number of hosts, such as "3 hosts".
func CountHosts(n int) string {
	if n == 1 {
		return "1 host"
	}
	return fmt.Sprint(n, " hosts")
}
