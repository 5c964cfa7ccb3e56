package tunnel

import (
	"slices"
	"testing"
)

func TestFindHost(t *testing.T) {
	t.Parallel()
	hosts := [][2]string{{"", "web1"}, {"web2", "10.0.0.2"}, {"", "web1"}, {"web1.old", "::ffff:10.0.0.3"}, {"10.0.0.2", "db"}}
	for name, want := range map[string][]int{
		"web1":       {0, 2},
		"WEB1.":      {0, 2},
		"2.web1":     {2},
		"1.web1":     nil,
		"02.web1":    nil,
		"9.web1":     nil,
		"2.":         nil,
		"web1.old":   {3},
		"10.0.0.3":   {3},
		"10.0.0.2":   {4}, // an alias takes precedence over an address
		"1.10.0.0.2": {1},
		"":           nil,
	} {
		got := FindHost(name, len(hosts), func(i int) (alias, host string) { return hosts[i][0], hosts[i][1] })
		if !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", name, got, want)
		}
	}
}
