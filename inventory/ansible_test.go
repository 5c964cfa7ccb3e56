package inventory

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"fleetssh"
	"fleetssh/hostset"
	"fleetssh/internal/sshdtest"
)

// An ansibleAnswer is Ansible's view of an inventory.
type ansibleAnswer struct {
	Groups map[string][]string
	Vars   map[string]map[string]any
	Error  string
}

// pythonWith returns a python3 with a module.
func pythonWith(t *testing.T, module string) string {
	t.Helper()
	// Debian's packages are for its own python3, which need not be the one in PATH.
	for _, candidate := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(candidate, "-c", "import "+module).Run() == nil {
			return candidate
		}
	}
	t.Fatalf("no python3 with %s, which is what we compare with: run .ci/prepare", module)
	return ""
}

// askAnsible returns Ansible's view of each list of files.
func askAnsible(t *testing.T, inventories [][]string) []ansibleAnswer {
	t.Helper()
	var input bytes.Buffer
	for _, paths := range inventories {
		if err := json.NewEncoder(&input).Encode(paths); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(pythonWith(t, "ansible.inventory.manager"), "testdata/ask_ansible.py")
	config := filepath.Join(t.TempDir(), "ansible.cfg")
	if err := os.WriteFile(config, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), "ANSIBLE_HOME="+t.TempDir(), "ANSIBLE_LOCAL_TEMP="+t.TempDir(), "ANSIBLE_CONFIG="+config)
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = &input, &stderr
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.Bytes())
	}
	var answers []ansibleAnswer
	lines := bufio.NewScanner(bytes.NewReader(output))
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var a ansibleAnswer
		if err := decodeJSON(lines.Bytes(), &a); err != nil {
			t.Fatalf("%v: %s", err, lines.Bytes())
		}
		answers = append(answers, a)
	}
	if len(answers) != len(inventories) {
		t.Fatalf("%d answers to %d inventories: %s", len(answers), len(inventories), stderr.Bytes())
	}
	return answers
}

// loadAll loads files in order.
func loadAll(paths []string) (*Inventory, error) {
	var all []*Inventory
	for _, path := range paths {
		inv, err := Load(path, fleetssh.HostConfig{})
		if err != nil {
			return nil, err
		}
		all = append(all, inv)
	}
	return Merge(all[0], all[1:]...)
}

// answerOf returns our view of an inventory in Ansible's form.
func answerOf(t *testing.T, inv *Inventory) ansibleAnswer {
	t.Helper()
	a := ansibleAnswer{Groups: make(map[string][]string), Vars: make(map[string]map[string]any)}
	groups, err := inv.GroupNames()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range groups {
		expr, err := inv.Groups(name)
		if err != nil {
			t.Fatal(err)
		}
		set, err := hostset.Parse(expr, nil)
		if err != nil {
			t.Fatal(err)
		}
		a.Groups[name] = set.Names()
		slices.Sort(a.Groups[name])
	}
	for name, h := range inv.graph.hosts {
		text, err := json.Marshal(inv.vars(h))
		if err != nil {
			t.Fatal(err)
		}
		var vars map[string]any
		if err := decodeJSON(text, &vars); err != nil {
			t.Fatal(err)
		}
		a.Vars[name] = vars
	}
	return a
}

// sameNumbers normalizes numbers with a point.
func sameNumbers(value any) any {
	switch v := value.(type) {
	case json.Number:
		if strings.ContainsAny(v.String(), ".eE") {
			f, err := v.Float64()
			return fmt.Sprint(f, err)
		}
	case []any:
		for i := range v {
			v[i] = sameNumbers(v[i])
		}
	case map[string]any:
		for key := range v {
			v[key] = sameNumbers(v[key])
		}
	}
	return value
}

// compare fails if our view differs from that of Ansible.
func compare(t *testing.T, name string, paths []string, want ansibleAnswer) {
	t.Helper()
	inv, err := loadAll(paths)
	if err != nil || want.Error != "" {
		if err == nil || want.Error == "" {
			t.Errorf("%s: %v; Ansible: %q", name, err, want.Error)
		}
		return
	}
	got := answerOf(t, inv)
	for group := range maps.Keys(want.Groups) {
		if !slices.Equal(got.Groups[group], want.Groups[group]) {
			t.Errorf("%s: group %q holds %q; for Ansible %q", name, group, got.Groups[group], want.Groups[group])
		}
	}
	if len(got.Groups) != len(want.Groups) {
		t.Errorf("%s: the groups are %q; for Ansible %q", name, slices.Sorted(maps.Keys(got.Groups)), slices.Sorted(maps.Keys(want.Groups)))
	}
	for host, vars := range want.Vars {
		for key, value := range vars {
			if !reflect.DeepEqual(sameNumbers(got.Vars[host][key]), sameNumbers(value)) {
				t.Errorf("%s: %q of %q is %#v; for Ansible %#v", name, key, host, got.Vars[host][key], value)
			}
		}
		if len(got.Vars[host]) != len(vars) {
			t.Errorf("%s: %q has the variables %q; for Ansible %q", name, host, slices.Sorted(maps.Keys(got.Vars[host])), slices.Sorted(maps.Keys(vars)))
		}
	}
}

// unpack writes the files of an archive. Files that begin with "#!" become executable.
func unpack(t *testing.T, archive *txtar.Archive) string {
	t.Helper()
	folder := t.TempDir()
	for _, file := range archive.Files {
		path := filepath.Join(folder, filepath.FromSlash(file.Name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if bytes.HasPrefix(file.Data, []byte("#!")) {
			sshdtest.WriteProgram(t, path, string(file.Data))
		} else if err := os.WriteFile(path, file.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// TestLikeAnsible compares our view with Ansible's for the inventories in testdata/ansible. The
// first line of an archive lists the files to load.
func TestLikeAnsible(t *testing.T) {
	t.Parallel()
	archives, err := filepath.Glob("testdata/ansible/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatal(err, len(archives))
	}
	var inventories [][]string
	for _, path := range archives {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		folder := unpack(t, archive)
		first, _, _ := strings.Cut(string(archive.Comment), "\n")
		var paths []string
		for name := range strings.FieldsSeq(first) {
			paths = append(paths, filepath.Join(folder, filepath.FromSlash(name)))
		}
		inventories = append(inventories, paths)
	}
	for i, want := range askAnsible(t, inventories) {
		compare(t, filepath.Base(archives[i]), inventories[i], want)
	}
}

// A writer writes random inventories.
type writer struct{ *rand.Rand }

func (w writer) oneOf(choices ...string) string { return choices[w.IntN(len(choices))] }

// literal returns text that may be a Python literal.
func (w writer) literal(depth int) string {
	switch n := w.IntN(14); {
	case n < 4 || depth > 3:
		return w.oneOf("1", "-7", "+3", "0", "00", "010", "0x1F", "-0o17", "0b101", "1_000", "1__0", "12345678901234567890",
			"1.5", "1.", ".5", "-2.5e3", "1e-7", "1e3", "01.5", "1e", "1_0.5", "0x", "5a", "- 4", "--1")
	case n < 7:
		return w.oneOf(`'a b'`, `"x'y"`, `'it\'s'`, `"tab\there"`, `'\x41\u00e9\101'`, `r'\n'`, `u'u'`, `'''long'''`, `'a' "b"`, `''`, `'open`, `"\q"`, `'é'`)
	case n < 9:
		return w.oneOf("True", "False", "None", "true", "yes", "None1", "plain text", "a,b", "x=y", "{{ template }}", "a#b", "1 # one", "é", "[", "()", "(1)", "(1,)", "1,2", "1,")
	case n < 11:
		return "[" + w.several(depth, w.literal) + w.oneOf("", "", ",") + "]"
	case n < 12:
		return "(" + w.several(depth, w.literal) + ", " + w.literal(depth+1) + ")"
	default:
		return "{" + w.several(depth, func(depth int) string {
			return w.oneOf("'k'", "1", `"two"`, "None", "'q'") + ": " + w.literal(depth)
		}) + "}"
	}
}

func (w writer) several(depth int, one func(int) string) string {
	parts := make([]string, 1+w.IntN(3))
	for i := range parts {
		parts[i] = one(depth + 1)
	}
	return strings.Join(parts, w.oneOf(",", ", "))
}

// ini returns an inventory in INI with many features.
func (w writer) ini() string {
	var out strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&out, format+"\n", args...) }
	host := func() string {
		return w.oneOf("web[1:3]", "web[01:05:2]", "db[a:c]", "h1", "h2", "h3.example.com", "h4:2222", "[::1]:22", "10.0.0.[1:2]:23", "x_:22", "rack[1:2]n[a:b]", "::1", "user@h5")
	}
	value := func() string {
		return w.oneOf("1", "text", `"two words"`, `'single'`, `"[1, 2]"`, `"'quoted'"`, `a\ b`, "True", "", `x"y"z`, "# comment", `"{'a': 1}"`, "[1,2]", `'a\b'`, `"a\b\\"`)
	}
	names := []string{"g0", "g1", "g2", "g3", "g4", "g5"}
	for range 1 + w.IntN(3) {
		line("%s v=%d %s=%s", host(), w.IntN(9), w.oneOf("a", "b"), value())
	}
	for i, name := range names {
		line("[%s]", name)
		for range w.IntN(3) {
			line("%s %s=%s", host(), w.oneOf("v", "w"), value())
		}
		if w.IntN(2) == 0 {
			line("[%s:vars]", name)
			line("v=%s", w.literal(0))
			line("%s = %d", w.oneOf("a", "b", "c", "d"), i)
			if w.IntN(3) == 0 {
				line("ansible_group_priority=%d", w.IntN(20)-5)
			}
		}
	}
	// Children have higher numbers, so there is no cycle.
	for i := range names {
		if i+1 < len(names) && w.IntN(2) == 0 {
			line("[%s:children]", names[i])
			for range 1 + w.IntN(2) {
				line("%s", names[i+1+w.IntN(len(names)-i-1)])
			}
		}
	}
	if w.IntN(2) == 0 {
		line("[all:vars]\nv=all\na=all\nz = %s", w.literal(0))
	}
	return out.String()
}

// yamlScalar returns a scalar that YAML 1.1 may interpret.
func (w writer) yamlScalar() string {
	return w.oneOf("1", "0", "010", "0x1f", "0b11", "1_000", "-5", "+5", "08", "1.5", "1.", ".5", "1e3", "1.5e+3", "1:30", "-2:00:00", "1:99",
		"yes", "No", "on", "OFF", "true", "y", "null", "~", "Null", `"1"`, "'yes'", "text", "2001-02-03", "!!str 5", "!!int 7", "0o17",
		"[1, two, {a: yes}]", "{a: 1, b: [x]}", "|\n          block\n          text\n", "123456789012345678901234567890", "\"\\u00e9\"", "a b: c", ".", "-", "_1", "1__0")
}

// yaml returns an inventory in YAML.
func (w writer) yaml() string {
	var out strings.Builder
	out.WriteString("all:\n  vars:\n")
	for i := range 8 {
		if scalar := w.yamlScalar(); scalar != "a b: c" && scalar != "-" {
			fmt.Fprintf(&out, "    v%d: %s\n", i, scalar)
		}
	}
	out.WriteString("  hosts:\n    h[1:3]:\n    h4: {a: 1}\n  children:\n")
	for i := range 3 {
		fmt.Fprintf(&out, "    g%d:\n      vars: {v%d: g%d, x: %d}\n      hosts:\n        %s: {b: %d}\n", i, w.IntN(8), i, i, w.oneOf("h1", "h[2:4]", "new:2222", "n[a:c]"), i)
		if w.IntN(2) == 0 {
			fmt.Fprintf(&out, "      children:\n        s%d: {hosts: h%d, vars: {x: s}}\n", w.IntN(3), i)
		}
	}
	return out.String()
}

// TestLikeAnsibleWithMadeUpInventories compares random inventories.
func TestLikeAnsibleWithMadeUpInventories(t *testing.T) {
	t.Parallel()
	w := writer{rand.New(rand.NewPCG(5, 6))}
	folder := t.TempDir()
	var inventories [][]string
	for i := range 60 {
		name, text := strconv.Itoa(i)+".ini", ""
		switch i % 4 {
		case 0:
			name, text = strconv.Itoa(i)+".yml", w.yaml()
		case 1:
			text = "h\n[all:vars]\n"
			for j := range 20 {
				text += fmt.Sprintf("v%d = %s\n", j, w.literal(0))
			}
		default:
			text = w.ini()
		}
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		inventories = append(inventories, []string{path})
	}
	failed := 0
	for i, want := range askAnsible(t, inventories) {
		if want.Error != "" {
			failed++
		}
		compare(t, filepath.Base(inventories[i][0]), inventories[i], want)
	}
	if failed > len(inventories)/4 {
		t.Errorf("Ansible cannot read %d of %d", failed, len(inventories))
	}
}
