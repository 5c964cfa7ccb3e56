package inventory

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"fleetssh"
)

// load loads the first file of an archive, or the named one.
func load(t *testing.T, archive string, base fleetssh.HostConfig, name ...string) (*Inventory, error) {
	t.Helper()
	files := txtar.Parse([]byte(archive))
	folder := unpack(t, files)
	path := files.Files[0].Name
	if len(name) > 0 {
		path = name[0]
	}
	return Load(filepath.Join(folder, path), base)
}

func mustLoad(t *testing.T, archive string, base fleetssh.HostConfig, name ...string) *Inventory {
	t.Helper()
	inv, err := load(t, archive, base, name...)
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

func TestLoadKnowsTheFormat(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		archive string
		groups  string
		hosts   string
	}{
		{"list of hosts", "-- list --\nweb[1-2]\n[3-4]\n[::1]:22\n", "all ungrouped", "3 4 ::1 web1 web2"},
		{"section", "-- list --\nweb1\n[db]\ndb[1:2]\n", "all db ungrouped", "db1 db2 web1"},
		{"variable", "-- list --\nweb1 ansible_port=22\n", "all ungrouped", "web1"},
		{"named hosts", "-- hosts --\nweb[1:2] a=b\n", "all ungrouped", "web1 web2"},
		{"ini", "-- a.ini --\nweb[1:2]\n", "all ungrouped", "web1 web2"},
		{"yaml", "-- a.yml --\nweb: {hosts: {'web[1:2]': }}\n", "all ungrouped web", "web1 web2"},
		{"json", "-- a.json --\n{\"web\": {\"hosts\": {\"web[1:2]\": {}}}}\n", "all ungrouped web", "web1 web2"},
		{"groups in yaml", "-- a.yaml --\nsrc:\n  web: web[1-2]\n  two: [web1, db1]\n", "all two ungrouped web", "db1 web1 web2"},
		{"groups.conf", "-- groups.conf --\n[src]\nmap: echo web1\nlist: echo web\n", "all ungrouped web", "web1"},
		{"executable", "-- list --\n#!/bin/sh\necho '{\"web\": [\"web1\"], \"_meta\": {\"hostvars\": {}}}'\n", "all ungrouped web", "web1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			inv := mustLoad(t, tt.archive, fleetssh.HostConfig{})
			groups, err := inv.GroupNames()
			if got := strings.Join(groups, " "); err != nil || got != tt.groups {
				t.Errorf("the groups are %q, %v, want %q", got, err, tt.groups)
			}
			hosts, err := inv.Names()
			if got := strings.Join(hosts, " "); err != nil || got != tt.hosts {
				t.Errorf("the hosts are %q, %v, want %q", got, err, tt.hosts)
			}
		})
	}
}

func TestLoadErrors(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", 200) + strings.Repeat("]", 200)
	bomb := "web:\n  vars:\n    a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := 1; i < 12; i++ {
		bomb += fmt.Sprintf("    a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i-1), 10), ","))
	}
	mergeBomb := "web:\n  vars:\n    a0: &a0 {x: 1}\n"
	for i := 1; i < 40; i++ {
		mergeBomb += fmt.Sprintf("    a%d: &a%d {<<: [*a%d, *a%d]}\n", i, i, i-1, i-1)
	}
	tests := []struct {
		name    string
		archive string
		want    string // in the text, behind the folder
	}{
		{"host list", "-- l --\nok\nweb[1-\n", `/l:2: host set "web[1-": offset 3: missing "]"`},
		{"no setting", "-- l --\nweb1 22\n", `/l:1: "22" is not key=value`},
		{"unknown setting", "-- l --\n\nweb1 prot=22\n", `/l:2: unknown key "prot"; the keys are user, port,`},
		{"port of a list", "-- l --\nweb1 port=99999\n", `/l:1: port "99999" is not a number from 1 to 65535`},
		{"alias of several", "-- l --\nweb[1-2] alias=w\n", `/l:1: alias and address must not be given for several hosts`},
		{"alias that is no name", "-- l --\nweb1 alias=a,b\n", `/l:1: "a,b" is not a valid host name`},
		{"hop", "-- l --\nweb1 jump=a:b:c\n", `/l:1: host "a:b:c"`},
		{"open quote", "-- l --\nweb1 user=\"x\n", `/l:1: missing closing quote`},
		{"too many in a list", "-- l --\na[1-1000001]\n", `/l:1: host set "a[1-1000001]": offset 2: more than 1,000,000 names`},

		{"undefined child", "-- hosts --\n[a:children]\nb\n", `/hosts:2: [a:children] contains "b", but the group "b" is not defined`},
		{"circle", "-- hosts --\n[a:children]\nb\n[b:children]\nc\n[c:children]\nb\n", `group "b" contains itself`},
		{"itself", "-- hosts --\n[a:children]\na\n", `/hosts:2: group "a" contains itself`},
		{"all in a group", "-- hosts --\n[a:children]\nall\n", `contains itself`},
		{"huge range", "-- hosts --\nn[1:99999999]\n", `/hosts:1: range [1:99999999]: more than 1000000 hosts`},
		{"huge product", "-- hosts --\nn[1:9999][1:9999]\n", `/hosts:1: more than 1000000 hosts`},
		{"huge number", "-- hosts --\nn[1:99999999999999999999]\n", `/hosts:1: range [1:99999999999999999999]: "99999999999999999999" is neither`},
		{"backwards", "-- hosts --\nn[9:1]\n", `/hosts:1: range [9:1]: it ends before it starts`},
		{"step", "-- hosts --\nn[1:9:0]\n", `/hosts:1: range [1:9:0]: "0" is not a valid step`},
		{"open range", "-- hosts --\nn[1:9\n", `/hosts:1: "n[1:9": missing "]"`},
		{"name", "-- hosts --\na&b\n", `/hosts:1: "a&b" is not a valid host name`},
		{"terminal", "-- hosts --\n\x1b[2J\n", `/hosts:1: `},
		{"priority", "-- hosts --\n[a]\n[a:vars]\nansible_group_priority=high\n", `/hosts:3: "high" is not a whole number`},

		{"yaml syntax", "-- a.yml --\nweb:\n  hosts: [\n", `/a.yml:`},
		{"yaml list", "-- a.yml --\n- a\n", `/a.yml: it is not a dictionary of groups`},
		{"yaml plugin", "-- a.yml --\nplugin: ec2\n", `/a.yml:1: it configures an Ansible plugin`},
		{"yaml key", "-- a.yml --\nweb:\n  hsots: {a: }\n", `/a.yml:2: group "web" contains "hsots"`},
		{"yaml bomb", "-- a.yml --\n" + bomb, `aliases expand to too many values`},
		{"yaml bomb of merges", "-- a.yml --\n" + mergeBomb, `aliases expand to too many values`},
		{"yaml too deep", "-- a.yml --\nweb: {vars: {a: " + deep + "}}\n", `/a.yml:1: nested more than 64 deep`},
		{"yaml that holds itself", "-- a.yml --\nweb: &w\n  vars: {a: *w}\n", `/a.yml`},
		{"yaml children of themselves", "-- a.yml --\nweb: &w\n  children: {web2: *w}\n", `/a.yml`},
		{"yaml circle", "-- a.yml --\na: {children: {b: {children: {a: }}}}\n", `contains itself`},
		{"two documents", "-- a.yml --\na:\n---\nb:\n", `/a.yml:2: a second document`},
		{"yaml tag", "-- a.yml --\na: {vars: {x: !ruby/object y}}\n", `/a.yml:1: unknown tag; a value that begins with "!" needs quotes`},

		{"no JSON", "-- l --\n#!/bin/sh\necho hello\n", `/l: --list: not the expected JSON`},
		{"exit status", "-- l --\n#!/bin/sh\necho bad luck >&2\nexit 3\n", `/l: --list: exit status 3: bad luck`},
		{"too much output", "-- l --\n#!/bin/sh\nexec cat /dev/zero\n", `/l: --list: it wrote more than 64 MiB`},
		{"JSON of another kind", "-- l --\n#!/bin/sh\necho '{\"web\": {\"hosts\": 5}}'\n", `/l: --list: group "web": not the expected JSON`},
		{"JSON circle", "-- l --\n#!/bin/sh\necho '{\"a\": {\"children\": [\"b\"]}, \"b\": {\"children\": [\"a\"]}}'\n", `contains itself`},
		{"JSON name", "-- l --\n#!/bin/sh\necho '{\"a\": [\"x\\u0000y\"]}'\n", `is not a valid host name`},

		{"no map", "-- a.conf --\n[src]\nlist: echo a\n", `/a.conf:1: [src] has no upcall "map"`},
		{"no section", "-- a.conf --\nmap: echo a\n", `/a.conf:1: "map: echo a" comes before the first section`},
		{"no such default", "-- a.conf --\n[Main]\ndefault: x\n", `/a.conf:1: the default source "x" does not exist`},
		{"section twice", "-- a.conf --\n[a]\nmap: x\n[a]\nmap: x\n", `/a.conf:3: [a] is defined twice`},
		{"source twice", "-- a.conf --\n[a,b]\nmap: x\n[b,c]\nmap: x\n", `/a.conf:3: source "b" is defined twice`},
		{"key twice", "-- a.conf --\n[a]\nmap: x\nmap: x\n", `/a.conf:3: "map" is defined twice`},
		{"no key", "-- a.conf --\n[a]\nmap\n", `/a.conf:2: "map" is not a key and a value`},

		{"variables that are none", "-- hosts --\na\n-- group_vars/all.yml --\n- a\n", `/group_vars/all.yml:1: it is not a dictionary of variables`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := load(t, tt.archive, fleetssh.HostConfig{})
			var fault *ParseError
			if !errors.As(err, &fault) || !strings.Contains(err.Error(), tt.want) || strings.ContainsAny(err.Error(), "\x1b\n") {
				t.Errorf("got  %.300v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestLoadFileErrors(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	_, err := Load(filepath.Join(folder, "none"), fleetssh.HostConfig{})
	if !errors.Is(err, fs.ErrNotExist) || strings.Count(err.Error(), folder) != 1 {
		t.Errorf("a file that is not there: %v", err)
	}
	script := filepath.Join(folder, "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(script, fleetssh.HostConfig{}); err == nil || !strings.Contains(err.Error(), "not executable") {
		t.Errorf("a script that is not executable: %v", err)
	}
	large := filepath.Join(folder, "large")
	f, err := os.Create(large)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(maxFile + 1); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(large, fleetssh.HostConfig{}); err == nil || !strings.Contains(err.Error(), "more than 64 MiB") {
		t.Errorf("a large file: %v", err)
	}
}

func TestMembershipsAreBounded(t *testing.T) {
	t.Parallel()
	inv := newInventory("file", fleetssh.HostConfig{})
	inv.graph.links = maxLinks - 2
	err := (&reader{inv: inv, path: "hosts", text: "[a]\nh1 x=1\nh2\n"}).ini()
	if err == nil || err.Error() != "inventory hosts:3: more than 5000000 memberships and variables" {
		t.Error(err)
	}
}

// An upcall that does not end is killed.
func TestRunEnds(t *testing.T) {
	t.Parallel()
	s := &source{name: "slow", path: "groups.conf", upcalls: map[string]string{"map": "exec sleep 1000"}, limit: 50 * time.Millisecond}
	_, err := s.hosts("web")
	if err == nil || !strings.Contains(err.Error(), "[slow] upcall map web: it did not finish in time") {
		t.Error(err)
	}
}
