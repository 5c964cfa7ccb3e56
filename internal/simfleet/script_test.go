package simfleet

import (
	"strings"
	"testing"
)

func TestScriptLoader(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ line, in, text, rest string }{
		{`n=5; f=; and more; exec /bin/sh $p/3 "$@" 3<&3`, "12345rest", "12345", "rest"},
		{`n=0; f=; and more; exec /bin/sh $p/3 "$@" 3<&3`, "rest", "", "rest"},
		{`n=5; f=; and more; exec /bin/bash $p/3 "$@" 3<&3`, "123", "stderr only 3 bytes have arrived; exit 126", ""},
		{`n=5; f=; and more; exec /usr/bin/perl $p/3 "$@" 3<&3`, "12345", "stderr perl: not found; exit 127", ""},
		{`n=5; f=; and more; exec /bin/bash '-e x' $p/3 "$@" 3<&3`, "12345", "12345", ""},
		{`n=5; f=; and more; exec /usr/bin/env bash $p/3 "$@" 3<&3`, "12345", "12345", ""},
		{`n=5; f=; and more; exec /usr/bin/env 'python3 -u' $p/3 "$@" 3<&3`, "12345", "stderr python3: not found; exit 127", ""},
	} {
		in := strings.NewReader(test.in)
		p := &process{streams: streams{stdin: in}}
		text, ok := p.script(test.line)
		rest := test.in[len(test.in)-in.Len():]
		if !ok || text != test.text || rest != test.rest {
			t.Errorf("%s: %q, %v, and left %q", test.line, text, ok, rest)
		}
	}
	for _, line := range []string{"", "echo n=5; f=; exec /bin/sh", `n=5; exec /bin/sh $p/3 "$@" 3<&3`} {
		if _, ok := (&process{}).script(line); ok {
			t.Errorf("%q counts as a script loader", line)
		}
	}
}
