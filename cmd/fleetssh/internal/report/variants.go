package report

import (
	"cmp"
	"slices"
	"strings"

	"github.com/aymanbagabas/go-udiff"
)

// variantView is a variant prepared for the page.
type variantView struct {
	Number         int
	Hosts          string
	Count          int
	Status         string
	Stdout, Stderr string
	Notes          []string
	Diff           []diffLine // from the most common one
	Compared       bool       // it was compared with the most common one
	Added, Removed int        // lines, in Diff
	Open           bool       // it is shown without a click
}

// diffLine is a line of a difference, of the kind "add", "del", "at" or "same".
type diffLine struct{ Kind, Text string }

// variantsOf returns the variants that fit, the number of others, and the number of hosts without
// output.
func variantsOf(all []Variant) (shown []variantView, more, silent int) {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b Variant) int { return cmp.Compare(b.Count, a.Count) })
	room := maxVariantBytes
	var common *Variant
	for i := range all {
		v := &all[i]
		if v.Stdout == "" && v.Stderr == "" {
			silent += v.Count
			continue
		}
		if len(shown) == maxVariants || room <= 0 {
			more++
			continue
		}
		out := newVariantView(v, len(shown)+1)
		out.Open = len(shown) < maxOpen
		if common == nil {
			common = v
		} else {
			out.compare(common, v)
		}
		room -= out.size()
		shown = append(shown, out)
	}
	return shown, more, silent
}

func newVariantView(v *Variant, number int) variantView {
	out := variantView{Number: number, Hosts: visible(v.Hosts, maxSet), Count: v.Count, Status: visible(v.Status, maxName)}
	out.Stdout, out.Stderr = visible(v.Stdout, maxVariant), visible(v.Stderr, maxVariant)
	if v.Cut {
		out.Notes = append(out.Notes, "Some of it was not recorded.")
	}
	if len(v.Stdout) > maxVariant || len(v.Stderr) > maxVariant {
		out.Notes = append(out.Notes, "Only the beginning is shown.")
	}
	return out
}

// compare sets how a variant differs from the most common one.
func (out *variantView) compare(common, v *Variant) {
	before, after := joined(common), joined(v)
	if len(before) > maxCompared || len(after) > maxCompared {
		out.Notes = append(out.Notes, "Too long to be compared.")
		return
	}
	out.Compared = true
	size := 0
	// The first two lines name files; there are none.
	for line := range strings.Lines(afterHeader(udiff.Unified("1", "2", before, after))) {
		if size += len(line); size > maxVariant {
			out.Notes = append(out.Notes, "Only the beginning of the difference is shown.")
			return
		}
		switch line[0] {
		case '+':
			out.Added++
		case '-':
			out.Removed++
		}
		kind := map[byte]string{'+': "add", '-': "del", '@': "at"}[line[0]]
		out.Diff = append(out.Diff, diffLine{cmp.Or(kind, "same"), visible(strings.TrimSuffix(line, "\n"), maxVariant)})
	}
}

func afterHeader(diff string) string {
	_, rest, _ := strings.Cut(diff, "\n")
	_, rest, _ = strings.Cut(rest, "\n")
	return rest
}

// joined returns both streams as one text.
func joined(v *Variant) string {
	var b strings.Builder
	b.WriteString(v.Stdout)
	for line := range strings.Lines(v.Stderr) {
		b.WriteString("[stderr] " + line)
	}
	return b.String()
}

func (out *variantView) size() int {
	n := len(out.Hosts) + len(out.Stdout) + len(out.Stderr)
	for _, line := range out.Diff {
		n += len(line.Text) + 40
	}
	return n
}
