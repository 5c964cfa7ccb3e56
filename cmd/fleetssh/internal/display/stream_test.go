package display

import (
	"testing"

	"fleetssh/cmd/fleetssh/internal/selection"
)

// One long name does not push the lines of all hosts.
func TestLabelPadding(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		labels []string
		want   []int // spaces
	}{
		{[]string{"web1"}, []int{0}},
		{[]string{"web1", "web12", "db1"}, []int{1, 0, 2}},
		{[]string{"語1", "web"}, []int{0, 0}},
		{[]string{"a", "b", "c", "backup-server-01.dc2.example.com"}, []int{0, 0, 0, 0}},
		{[]string{"web1", "web2", "web10", "backup-server-01.dc2.example.com"}, []int{1, 1, 0, 0}},
		{[]string{"web-server-1.dc2.example.com", "web-server-22.dc2.example.com"}, []int{1, 0}},
	} {
		hosts := make([]selection.Host, len(test.labels))
		for i := range hosts {
			hosts[i].Label = test.labels[i]
		}
		padding := labelPadding(hosts)
		for i, label := range test.labels {
			if got := len(padding(label)); got != test.want[i] {
				t.Errorf("%q: %d spaces after %s, want %d", test.labels, got, label, test.want[i])
			}
		}
	}
}
