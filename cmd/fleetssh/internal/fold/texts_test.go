package fold

import (
	"fmt"
	"iter"
	"testing"
)

func TestTexts(t *testing.T) {
	t.Parallel()
	var texts Texts[int]
	for i, text := range []string{"b", "a", "c", "a", "a", "c"} {
		texts.Add(text, i)
	}
	texts.Add("about none")
	for _, test := range []struct {
		name string
		all  iter.Seq2[string, []int]
		want string
	}{
		{"in the order of arrival", texts.All(), "b[0] a[1 3 4] c[2 5] about none[] "},
		{"the largest first", texts.BySize(), "a[1 3 4] c[2 5] b[0] about none[] "},
	} {
		got := ""
		for text, hosts := range test.all {
			got += fmt.Sprint(text, hosts, " ")
		}
		if got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
	if texts.Len() != 4 {
		t.Errorf("%d texts", texts.Len())
	}
}
