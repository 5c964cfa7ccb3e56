package selection

import (
	"slices"
	"testing"

	"fleetssh"
)

func TestLabels(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		exprs []string
		want  []string
	}{
		{"plain", []string{"web[1-2]"}, []string{"web1", "web2"}},
		{"user and port are left out", []string{"ann@web1:2222"}, []string{"web1"}},
		{"the port tells them apart", []string{"web1", "web1:2222"}, []string{"web1:22", "web1:2222"}},
		{"the index tells them apart", []string{"ann@web1,bob@web1,web2"}, []string{"web1#0", "web1#1", "web2"}},
		{"some by port, some by index", []string{"ann@web1,bob@web1,web1:2222"}, []string{"web1#0", "web1#1", "web1:2222"}},
		{"IPv6", []string{"[::1]:22,[::1]:23,[::2]"}, []string{"[::1]:22", "[::1]:23", "::2"}},
		{"natural order", []string{"web10,web9"}, []string{"web9", "web10"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			entries, err := (&ExprFlags{Exprs: tt.exprs}).Select(fleetssh.HostConfig{})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, e := range entries {
				got = append(got, e.Label)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("labels %q, want %q", got, tt.want)
			}
		})
	}
}
