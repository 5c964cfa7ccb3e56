package tunnel

import (
	"net/netip"
	"strconv"
	"strings"
)

// FindHost returns which of n hosts a proxy connects to for a name: the hosts with that alias; if
// there are none, the hosts with that address; otherwise host number 3 for "3.web1", if web1 is
// its alias or address. names returns alias and address of host number i.
func FindHost(name string, n int, names func(i int) (alias, host string)) []int {
	wanted := canonical(name)
	var byAlias, byHost []int
	for i := range n {
		alias, host := names(i)
		switch {
		case alias != "" && canonical(alias) == wanted:
			byAlias = append(byAlias, i)
		case canonical(host) == wanted:
			byHost = append(byHost, i)
		}
	}
	switch {
	case byAlias != nil:
		return byAlias
	case byHost != nil:
		return byHost
	}
	number, rest, _ := strings.Cut(name, ".")
	i, err := strconv.Atoi(number)
	if err != nil || i < 0 || i >= n || strconv.Itoa(i) != number {
		return nil
	}
	alias, host := names(i)
	rest = canonical(rest)
	if rest != "" && (canonical(alias) == rest || canonical(host) == rest) {
		return []int{i}
	}
	return nil
}

// canonical returns the canonical spelling of a name or an address.
func canonical(name string) string {
	if addr, err := netip.ParseAddr(name); err == nil {
		return addr.Unmap().String()
	}
	return strings.ToLower(strings.TrimSuffix(name, "."))
}
