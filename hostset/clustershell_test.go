package hostset

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// An answer is ClusterShell's result for an expression.
type answer struct {
	Names []string
	Fold  string
	Count int
	Error string
}

// clusterShellGroups are the groups that the expressions below use, by source. The first source is
// the default.
var clusterShellGroups = map[string]map[string]string{
	"a": {
		"all":  "web[1-12],db[01-12],r[1-3]n[1-4],r1n1-ib0,web",
		"web":  "web[1-4]",
		"db":   "db[01-03]",
		"r1":   "r1n[1-4]",
		"r2":   "r2n[1-4]",
		"both": "@web,@b:db!web2",
	},
	"b": {"all": "db[7-9]", "db": "db7", "r1": "r9n9"},
}

// askClusterShell returns ClusterShell's answer to each expression.
func askClusterShell(t *testing.T, exprs []string) []answer {
	t.Helper()
	// Debian's packages are for its own python3, which need not be the one in PATH.
	python := ""
	for _, candidate := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(candidate, "-c", "import ClusterShell").Run() == nil {
			python = candidate
			break
		}
	}
	if python == "" {
		t.Fatal("no python3 with ClusterShell, which is what we compare with: run .ci/prepare")
	}
	var input bytes.Buffer
	enc := json.NewEncoder(&input)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(map[string]any{"sources": clusterShellGroups}); err != nil {
		t.Fatal(err)
	}
	for _, expr := range exprs {
		if err := enc.Encode(map[string]string{"expr": expr}); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(python, "testdata/ask_clustershell.py")
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = &input, &stderr
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.Bytes())
	}
	var answers []answer
	lines := bufio.NewScanner(bytes.NewReader(output))
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var a answer
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			t.Fatal(err)
		}
		answers = append(answers, a)
	}
	if len(answers) != len(exprs) {
		t.Fatalf("%d answers to %d expressions", len(answers), len(exprs))
	}
	return answers
}

// sourcedGroups resolves clusterShellGroups as ClusterShell does.
func sourcedGroups(name string) (string, error) {
	source, group, found := strings.Cut(name, ":")
	if !found {
		source, group = "a", name
	}
	if group == "*" {
		group = "all"
	}
	expr, ok := clusterShellGroups[source][group]
	if !ok {
		return "", errUnknown
	}
	return expr, nil
}

// An author writes random expressions.
type author struct{ *rand.Rand }

func (a author) oneOf(choices ...string) string { return choices[a.IntN(len(choices))] }

// span returns one part of a bracket. Both ends have the same padding.
func (a author) span() string {
	first := a.IntN(30)
	last := first + a.IntN(15)
	format := a.oneOf("%d", "%d", "%d", "%02d", "%03d")
	switch a.IntN(4) {
	case 0:
		return fmt.Sprintf(format, first)
	case 1:
		return fmt.Sprintf(format+"-"+format+"/%d", first, last, 1+a.IntN(4))
	default:
		return fmt.Sprintf(format+"-"+format, first, last)
	}
}

func (a author) bracket() string {
	spans := make([]string, 1+a.IntN(3))
	for i := range spans {
		spans[i] = a.span()
	}
	return "[" + strings.Join(spans, ",") + "]"
}

func (a author) term() string {
	switch a.IntN(12) {
	case 0:
		return "@" + a.oneOf("web", "db", "r1", "r[1-2]", "both", "*", "a:web", "b:db", "b:*", "b:r1")
	case 1:
		return a.oneOf("web*", "web?", "*n1", "r?n*", "db0*", "r[1-2]n?", "*", "*-ib0", "w*b*1")
	case 2:
		return a.oneOf("web", "db", "n1", "web03", "web3", "r1n2")
	case 3, 4, 5:
		return a.oneOf("r", "n", "web") + a.bracket() + a.oneOf("n", "c", "-") + a.bracket() + a.oneOf("", "", "-ib0")
	case 6:
		return a.oneOf("r", "n") + a.bracket() + "n" + "[" + a.span() + "]" + "c[1-2,4]"
	default:
		return a.oneOf("web", "db", "n", "r1n", "") + a.bracket() + a.oneOf("", "", "", ".example.com", "-ib0")
	}
}

func (a author) expression() string {
	var expr strings.Builder
	for i := range 1 + a.IntN(5) {
		if i > 0 {
			expr.WriteString(a.oneOf(",", ",", "!", "&", "^"))
		}
		expr.WriteString(a.term())
	}
	return expr.String()
}

// names returns a random part of a product, which no single term denotes.
func (a author) names() string {
	rows, columns := 1+a.IntN(5), 1+a.IntN(8)
	chance := 1 + a.IntN(10)
	format := a.oneOf("r%dn%d", "r%02dn%d", "r%dn%03d", "10.0.%d.%d")
	var names []string
	for row := range rows {
		for column := range columns {
			if a.IntN(10) < chance {
				names = append(names, fmt.Sprintf(format, row, column))
			}
		}
	}
	return strings.Join(names, ",")
}

// TestLikeClusterShell compares with ClusterShell which and how many names expressions have, and
// how short they are folded.
func TestLikeClusterShell(t *testing.T) {
	t.Parallel()
	a := author{rand.New(rand.NewPCG(1, 2))}
	exprs := make([]string, 0, 3000)
	for len(exprs) < cap(exprs) {
		if expr := a.expression(); len(exprs)%4 > 0 {
			exprs = append(exprs, expr)
		} else if names := a.names(); names != "" {
			exprs = append(exprs, names)
		}
	}
	ours, theirs, longer, shorter := 0, 0, 0, 0
	for i, want := range askClusterShell(t, exprs) {
		s, err := Parse(exprs[i], sourcedGroups)
		if err != nil || want.Error != "" {
			t.Errorf("%s: %v, ClusterShell: %s", exprs[i], err, want.Error)
			continue
		}
		names := inOrder(want.Names)
		if !slices.Equal(s.Names(), names) || s.Len() != want.Count {
			t.Errorf("%s\nis            %q\nClusterShell: %q", exprs[i], s.Names(), names)
		}
		our := len(s.String())
		ours, theirs = ours+our, theirs+len(want.Fold)
		switch {
		case our > len(want.Fold):
			longer++
			t.Logf("longer: %s\nthan    %s", s, want.Fold)
		case our < len(want.Fold):
			shorter++
		}
	}
	t.Logf("%d bytes, ClusterShell %d; longer in %d, shorter in %d of %d", ours, theirs, longer, shorter, len(exprs))
	if ours > theirs || longer > len(exprs)/100 {
		t.Errorf("folded to %d bytes, by ClusterShell to %d; longer in %d cases", ours, theirs, longer)
	}
}

// TestUnlikeClusterShell lists the intended differences. "error" means that parsing fails.
func TestUnlikeClusterShell(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		expr   string
		ours   string // folded
		theirs string
	}{
		{"white space is a union", "a b", "a,b", "a b"},
		{"no white space in brackets", "n[1, 2]", "error", "n[1-2]"},
		{"commas too many", ",a,,b,", "a,b", "error"},
		{"padding of the first number only", "n[001-2]", "n[001-002]", "error"},
		{"padding that ends within the range", "n[09-100/91]", "n[09,100]", "error"},
		{"no negative numbers", "n[-1-2]", "error", "n[-1-2]"},
		{"brackets side by side", "n[0-1][0-1]", "n[00-01,10-11]", "error"},
		{"addresses", "[::1]:[22-23]", "[::1]:[22-23]", "error"},
		{"unknown groups", "@nix", "error", ""},
		{"no wildcards in the names of groups", "@w*", "error", ""},
		{"no sets of group names", "@@b", "error", "all,db,r1"},
	}
	exprs := make([]string, len(tests))
	for i := range exprs {
		exprs[i] = tests[i].expr
	}
	answers := askClusterShell(t, exprs)
	for i, tt := range tests {
		ours, theirs := "error", answers[i].Fold
		if s, err := Parse(tt.expr, sourcedGroups); err == nil {
			ours = s.String()
		}
		if answers[i].Error != "" {
			theirs = "error"
		}
		if ours != tt.ours || theirs != tt.theirs {
			t.Errorf("%s: %s is %q, want %q; to ClusterShell %q, want %q", tt.name, tt.expr, ours, tt.ours, theirs, tt.theirs)
		}
	}
}
