package fold

import (
	"iter"
	"slices"
)

// Texts groups hosts by a text about them: a result, a failure, a banner, a plan. Of is what stands for
// a host, its index or its name. The zero value is empty. It is not safe for concurrent use.
//
// Fold groups hosts by output that arrives line by line; Texts is for texts that are known as a whole.
type Texts[Of any] struct {
	texts []string        // in the order of arrival
	hosts map[string][]Of // by text
}

// Add adds a text about hosts. A text about no host is kept, too.
func (t *Texts[Of]) Add(text string, hosts ...Of) {
	if t.hosts == nil {
		t.hosts = make(map[string][]Of)
	}
	if _, known := t.hosts[text]; !known {
		t.texts = append(t.texts, text)
	}
	t.hosts[text] = append(t.hosts[text], hosts...)
}

// Len returns the number of different texts.
func (t *Texts[Of]) Len() int { return len(t.texts) }

// All yields each text with its hosts, in the order of arrival.
func (t *Texts[Of]) All() iter.Seq2[string, []Of] { return t.each(t.texts) }

// BySize yields each text with its hosts, the text of most hosts first.
func (t *Texts[Of]) BySize() iter.Seq2[string, []Of] {
	texts := slices.Clone(t.texts)
	slices.SortStableFunc(texts, func(a, b string) int { return len(t.hosts[b]) - len(t.hosts[a]) })
	return t.each(texts)
}

func (t *Texts[Of]) each(texts []string) iter.Seq2[string, []Of] {
	return func(yield func(string, []Of) bool) {
		for _, text := range texts {
			if !yield(text, t.hosts[text]) {
				return
			}
		}
	}
}
