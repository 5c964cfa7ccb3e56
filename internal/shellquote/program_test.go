package shellquote

import "testing"

func TestOneLine(t *testing.T) {
	t.Parallel()
	got := OneLine(`# a comment
if a; then
	b

	# another
	c
else
	case $d in
		e|f) g ;;
		*) h
	esac
fi
i() {
	{ j; } 2>/dev/null
	k=$(l)
}
m ||
n
`)
	want := `if a; then b; c; else case $d in e|f) g ;; *) h; esac; fi; i() { { j; } 2>/dev/null; k=$(l); }; m || n`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
