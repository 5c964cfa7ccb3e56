package placeholder

import (
	"errors"
	"strings"
	"testing"
)

func TestExpand(t *testing.T) {
	t.Parallel()
	named := map[string]string{"disk": "/dev/sd a", "n": "7"}
	for _, test := range []struct {
		name, line string
		list       []string
		want       string
		fault      string // the Name of the error, and its reason if it has none
	}{
		{"nothing", "uptime", nil, "uptime", ""},
		{"list", "echo %s %s", []string{"a", "b"}, "echo a b", ""},
		{"quoted", "echo %q", []string{"it's"}, `echo 'it'\''s'`, ""},
		{"named", "smartctl %(disk)q -n %(n)s", nil, "smartctl '/dev/sd a' -n 7", ""},
		{"both forms", "%s %(n)s %s", []string{"a", "b"}, "a 7 b", ""},
		{"named twice", "%(n)s%(n)s", nil, "77", ""},
		{"percent", "date +%%s", nil, "date +%s", ""},
		{"percent before a verb", "%%%s", []string{"x"}, "%x", ""},
		{"a value is not expanded again", "%s", []string{"%s %(n)s"}, "%s %(n)s", ""},
		{"too few", "%s %s", []string{"a"}, "", "%s"},
		{"too many", "%s", []string{"a", "b"}, "", "2 values given, the line takes 1"},
		{"values without placeholder", "uptime", []string{"a"}, "", "1 values given, the line takes 0"},
		{"missing name", "%(nope)s", nil, "", "%(nope)s"},
		{"unknown verb", "%d", []string{"1"}, "", "%d"},
		{"unknown verb with a name", "%(n)d", nil, "", "%(n)d"},
		{"named percent", "%(n)%", nil, "", "%(n)%"},
		{"at the end", "100%", nil, "", "%"},
		{"name at the end", "%(n)", nil, "", "%(n)"},
		{"unclosed name", "%(n s", nil, "", "%(n s"},
		{"NUL in a value", "%s", []string{"a\x00b"}, "", "%s"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := Expand(test.line, test.list, named)
			if test.fault == "" {
				if err != nil || got != test.want {
					t.Fatalf("got %q, %v, want %q", got, err, test.want)
				}
				return
			}
			fault, ok := errors.AsType[*Error](err)
			if !ok || fault.Name != test.fault && fault.Reason != test.fault {
				t.Fatalf("error %v, want one about %q", err, test.fault)
			}
		})
	}
}

// FuzzExpand checks that doubling each percent sign of a line protects the line, and that Expand
// accepts any input.
func FuzzExpand(f *testing.F) {
	f.Add("echo %s %(a)q 100%%", "v")
	f.Add("%", "")
	f.Add("%(", "%(")
	f.Fuzz(func(t *testing.T, line, value string) {
		escaped := strings.ReplaceAll(line, "%", "%%")
		if got, err := Expand(escaped, nil, nil); err != nil || got != line {
			t.Fatalf("Expand(%q) = %q, %v, want %q", escaped, got, err, line)
		}
		got, err := Expand(line, []string{value}, map[string]string{"a": value})
		if err == nil && !strings.Contains(value, "\x00") && strings.Count(line, "%s") == 1 && strings.Count(line, "%") == 1 {
			if want := strings.Replace(line, "%s", value, 1); got != want {
				t.Fatalf("Expand(%q, %q) = %q, want %q", line, value, got, want)
			}
		}
	})
}
