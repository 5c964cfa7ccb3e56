package charset

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestFind(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"": "UTF-8", "utf-8": "UTF-8", "UTF8": "UTF-8", "ISO-8859-1": "ISO-8859-1", "UTF-16LE": "UTF-16LE", "Shift_JIS": "Shift_JIS",
	} {
		set, err := Find(name)
		if err != nil || set.Name() != want {
			t.Errorf("%q: %v, %v", name, set.Name(), err)
		}
	}
	for name, text := range map[string]string{"nosuch": "not known", "UTF-16": "order of bytes"} {
		if _, err := Find(name); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// Encoded text is decoded line by line, wherever it is cut.
func TestRoundTrip(t *testing.T) {
	for _, name := range []string{"UTF-8", "ISO-8859-1", "UTF-16LE", "UTF-16BE", "Shift_JIS"} {
		set, err := Find(name)
		if err != nil {
			t.Fatal(err)
		}
		rapid.Check(t, func(t *rapid.T) {
			lines := rapid.SliceOf(rapid.StringMatching(`[a-z~!-9 ]{0,20}`)).Draw(t, "lines")
			data, err := set.Encode(strings.Join(append(lines, ""), "\r\n"))
			if err != nil {
				t.Fatal(err)
			}
			cut := rapid.IntRange(0, len(data)).Draw(t, "cut")
			if end := set.LastLineEnd([]byte(data[:cut]), []byte(data[cut:])); cut < len(data) && end != len(data)-cut {
				t.Fatalf("the last line ends at %d of %d", end, len(data)-cut)
			}
			for _, want := range lines {
				line, rest, found := set.CutLine(data)
				text, ok := set.Decode(line)
				if !found || !ok || text != want {
					t.Fatalf("%q, %v, %v; want %q", text, found, ok, want)
				}
				data = rest
			}
			if data != "" {
				t.Fatalf("%q is left", data)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("UTF-16LE", "a\x00\n\x00")
	f.Add("Shift_JIS", "\x81\xff\n")
	f.Add("", "\xff\n\n")
	f.Fuzz(func(t *testing.T, name, data string) {
		set, err := Find(name)
		if err != nil {
			return
		}
		n := 0
		for rest, found := data, true; found; n++ {
			var line string
			line, rest, found = set.CutLine(rest)
			if text, ok := set.Decode(line); !ok && text != line {
				t.Errorf("%q is not valid and changed to %q", line, text)
			}
		}
		if n > len(data)+1 {
			t.Errorf("%d lines in %d bytes", n, len(data))
		}
	})
}
