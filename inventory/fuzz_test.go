package inventory

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"fleetssh"
	"fleetssh/hostset"
)

// readText reads text as a file without files of variables.
func readText(text string, read func(*reader) error) (*Inventory, error) {
	inv := newInventory("file", fleetssh.HostConfig{})
	r := &reader{inv: inv, path: "file", text: text}
	if err := read(r); err != nil {
		return nil, err
	}
	return inv, r.at(0, inv.graph.complete())
}

// fuzz tests a format: hosts that were read can be selected, and errors can be printed.
func fuzz(f *testing.F, read func(*reader) error, seeds ...string) {
	for _, seed := range seeds {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Count(text, "[")+strings.Count(text, ":") > 200 {
			return // only slow
		}
		inv, err := readText(text, read)
		if err != nil {
			if strings.ContainsFunc(err.Error(), func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Fatalf("%q cannot be printed", err)
			}
			return
		}
		if len(inv.graph.hosts) > 2000 || len(inv.sources) > 0 && inv.sources[0].upcalls != nil {
			return // slow, or it would run programs
		}
		for name := range inv.graph.hosts {
			hosts, err := inv.Select(name)
			if err == nil && len(hosts) != 1 {
				t.Fatalf("%q selects %v", name, hosts)
			}
		}
		for name := range inv.graph.groups {
			expr, err := inv.Groups(name)
			if err != nil || len(inv.sources) > 0 {
				continue // the answer of a source may be invalid
			}
			if _, err := hostset.Parse(expr, nil); err != nil {
				t.Fatalf("group %q is %q: %v", name, expr, err)
			}
		}
	})
}

func FuzzHostFile(f *testing.F) {
	fuzz(f, (*reader).hostLines, "web[1-3] user=a # c\n[::1]:22 alias=b\nu@h:1 key=~/k jump=a,b\n", `h key="a b" cert=c\ d`)
}

func FuzzAnsibleINI(f *testing.F) {
	fuzz(f, (*reader).ini, "h\n[a]\nweb[01:03:2]:22 x=1\n[b:children]\na\n[a:vars]\nx=[1, {'a': None}]\n", "[::1]:22 a='x y' ansible_ssh_common_args='-J a'")
}

func FuzzYAML(f *testing.F) {
	fuzz(f, (*reader).yaml, "all: {hosts: {a: {x: 1}, 'b[1:2]': }, children: {c: {vars: {<<: {y: 2}}}}}", "src: {a: n1, b: [n2, '@a']}", "a: &a {vars: {x: *a}}", "a:\n  hosts: x\n")
}

func FuzzGroupsConf(f *testing.F) {
	fuzz(f, (*reader).groupsConf, "[Main]\ndefault: a\n[a,b]\nmap: echo $GROUP\n  more\nlist = echo\n")
}

func FuzzScript(f *testing.F) {
	fuzz(f, func(r *reader) error {
		s := &scriptReader{r, make(map[string]*host)}
		_, err := s.list([]byte(r.text))
		return r.at(0, err)
	}, `{"a": ["h"], "b": {"hosts": ["h"], "vars": {"x": 1}, "children": ["a"]}, "_meta": {"hostvars": {"h": {"y": [null]}}}}`, `{"h": {"x": 1}}`)
}

func FuzzVarFile(f *testing.F) {
	path := filepath.Join(f.TempDir(), "vars.yml")
	f.Add("a: 1\nb: [yes, 010, 1:30]\n")
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		vars := make(map[string]any)
		if decodeVars(path, vars) == nil {
			if _, err := json.Marshal(vars); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// FuzzLiteral checks that a literal can be written as JSON, and that JSON is read as itself.
func FuzzLiteral(f *testing.F) {
	for _, seed := range []string{"[1, 'a', {\"b\": None}]", "(1, -2.5e3)", `"\x41\u00e9\101\N"`, "0x_1f", "1_0", "r'\\'", "'''a''' b", "{1, 2}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		value := literal(text)
		if _, err := json.Marshal(value); err != nil {
			t.Fatalf("literal(%q) = %#v: %v", text, value, err)
		}
	})
}

func FuzzWords(f *testing.F) {
	f.Add(`a "b c" d\ e 'f' # g`)
	f.Fuzz(func(t *testing.T, line string) {
		all, err := words(line)
		if err != nil {
			return
		}
		// Words can be written so that they are split again.
		var quoted []string
		for _, word := range all {
			quoted = append(quoted, "'"+strings.ReplaceAll(word, "'", `'"'"'`)+"'")
		}
		again, err := words(strings.Join(quoted, " "))
		if err != nil || strings.Join(again, "\x00") != strings.Join(all, "\x00") {
			t.Fatalf("%q is cut to %q, and again to %q, %v", line, all, again, err)
		}
	})
}
