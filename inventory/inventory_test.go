package inventory

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"fleetssh"
	"fleetssh/hostset"
)

const site = `-- hosts --
[web]
web[1:12]
[db]
db[01:02] ansible_user=postgres
[prod:children]
web
db
[all:vars]
zone=a
[web:vars]
zone=b
n=5
list=[1, "x"]
secure=True
nothing=None
`

func TestSelect(t *testing.T) {
	t.Parallel()
	inv := mustLoad(t, site, fleetssh.HostConfig{User: "me"})
	tests := []struct {
		expr, want string
	}{
		{"@db", "postgres@db01 postgres@db02"},
		{"web[9-11]", "me@web9 me@web10 me@web11"},
		{"@prod!web*", "postgres@db01 postgres@db02"},
		{"@*&web?&@prod!web[2-9]", "me@web1"},
		{"@all!@web", "postgres@db01 postgres@db02"},
		{"root@web1:2222,db01", "postgres@db01 root@web1:2222"},
		{"@ungrouped", ""},
		{"", ""},
	}
	for _, tt := range tests {
		hosts, err := inv.Select(tt.expr)
		var names []string
		for _, h := range hosts {
			names = append(names, h.String())
		}
		if got := strings.Join(names, " "); err != nil || got != tt.want {
			t.Errorf("Select(%q) = %q, %v, want %q", tt.expr, got, err, tt.want)
		}
	}
}

func TestSelectErrors(t *testing.T) {
	t.Parallel()
	inv := mustLoad(t, site, fleetssh.HostConfig{})
	tests := []struct {
		expr, want string
	}{
		{"wbe1", `the inventory has no host "wbe1"; did you mean web1?`},
		{"web1,x1,x2,x3,x4,x5,x6,x7", `the inventory has no host "x1", "x2", "x3", "x4", "x5" and 2 more`},
		{"somewhere.else.example.com", `the inventory has no host "somewhere.else.example.com"`},
		{"@pord", `host set "@pord": offset 0: @pord: the inventory has no group "pord"; did you mean prod?`},
		{"web[1-", `host set "web[1-": offset 3: missing "]"`},
		{"root@nowhere", `the inventory has no host "root@nowhere"`},
	}
	for _, tt := range tests {
		_, err := inv.Select(tt.expr)
		var unknown *UnknownError
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) || strings.Contains(tt.want, "no ") && !errors.As(err, &unknown) {
			t.Errorf("Select(%q): %v, want %s", tt.expr, err, tt.want)
		}
	}
}

func TestVars(t *testing.T) {
	t.Parallel()
	inv := mustLoad(t, site, fleetssh.HostConfig{})
	for name, want := range map[string]map[string]any{
		"web1": {"zone": "b", "n": json.Number("5"), "list": []any{json.Number("1"), "x"}, "secure": true, "nothing": nil},
		"db01": {"zone": "a", "ansible_user": "postgres"},
	} {
		if got := inv.vars(inv.graph.hosts[name]); !reflect.DeepEqual(got, want) {
			t.Errorf("%s has %v", name, got)
		}
	}
}

func TestVarsOfVault(t *testing.T) {
	t.Parallel()
	inv := mustLoad(t, "-- a.yml --\nweb: {hosts: {a: }}\n-- group_vars/web/vault.yml --\n$ANSIBLE_VAULT;1.1;AES256\n6162\n-- group_vars/web/open.yml --\nx: 1\ny: !vault sealed\nz: [!vault sealed]\n", fleetssh.HostConfig{})
	want := map[string]any{"x": json.Number("1"), "y": sealed{}, "z": []any{sealed{}}}
	if got := inv.vars(inv.graph.hosts["a"]); !reflect.DeepEqual(got, want) {
		t.Errorf("a has %v", got)
	}
}

func TestGroupsOf(t *testing.T) {
	t.Parallel()
	inv := mustLoad(t, site, fleetssh.HostConfig{})
	got, err := inv.GroupsOf("web1")
	if want := []string{"all", "prod", "web"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("web1 is in %q, %v", got, err)
	}
	src := mustLoad(t, "-- a.yaml --\na:\n  x: n[1-2]\n  y: '@x,n3'\nb:\n  z: '@a:y'\n", fleetssh.HostConfig{})
	got, err = src.GroupsOf("n1")
	if want := []string{"b:z", "x", "y"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("n1 is in %q, %v", got, err)
	}
}

// A merge does not change the merged inventories.
func TestMerge(t *testing.T) {
	t.Parallel()
	list, err := ParseHosts(strings.NewReader("web1 user=lister port=29\nextra\n"), "-", fleetssh.HostConfig{})
	if err != nil {
		t.Fatal(err)
	}
	groups := mustLoad(t, "-- a.yaml --\nracks:\n  r1: web[1-3]\n  all: web[1-20]\n", fleetssh.HostConfig{})
	inv, err := Merge(mustLoad(t, site, fleetssh.HostConfig{User: "me"}), list, groups)
	if err != nil {
		t.Fatal(err)
	}
	hosts, err := inv.Select("@r1,extra,web20,db01")
	var got []string
	for _, h := range hosts {
		got = append(got, h.String())
	}
	want := []string{"postgres@db01", "me@extra", "lister@web1:29", "me@web2", "me@web3", "me@web20"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	if _, err := Merge(groups, groups); err == nil || !strings.Contains(err.Error(), `source "racks" is defined twice`) {
		t.Error(err)
	}
	a := mustLoad(t, "-- hosts --\n[a:children]\nb\n[b]\n", fleetssh.HostConfig{})
	b := mustLoad(t, "-- hosts --\n[b:children]\na\n[a]\n", fleetssh.HostConfig{})
	if _, err := Merge(a, b); err == nil || !strings.Contains(err.Error(), "contains itself") {
		t.Error(err)
	}
}

func TestSourceErrors(t *testing.T) {
	t.Parallel()
	conf := `-- groups.conf --
[a]
map: case "$GROUP" in good) echo n1;; self) echo @self;; bad) echo 'n[1';; fail) echo no luck >&2; exit 3;; cross) echo @b:cross;; esac
[b]
map: echo '@a:cross'
`
	inv := mustLoad(t, conf, fleetssh.HostConfig{})
	tests := []struct {
		expr, want string
	}{
		{"@fail", "/groups.conf:1: [a] upcall map fail: exit status 3: no luck"},
		{"@self", "group contains itself: @a:self, @a:self"},
		{"@cross", "group contains itself"},
		{"@bad", `missing "]"`},
		{"@*", "[a] all hosts: the source has neither an upcall all nor list"},
		{"@b:*", "[b] all hosts: the source has neither an upcall all nor list"},
		{"n*", "[a] all hosts: the source has neither an upcall all nor list"},
		{"@x$(id)", "the name contains characters that are not safe in a shell command"},
		{"@x'y", "the name contains characters that are not safe in a shell command"},
		{"@-x", "the name contains characters that are not safe in a shell command"},
		{"@c:x", `the inventory has no group "c:x"`},
	}
	for _, tt := range tests {
		if _, err := inv.Select(tt.expr); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Select(%q): %v, want %s", tt.expr, err, tt.want)
		}
	}
	// The source cannot list all hosts, so any host name is accepted.
	if hosts, err := inv.Select("@good,u@other:23"); err != nil || len(hosts) != 2 || hosts[1].String() != "u@other:23" && hosts[0].String() != "u@other:23" {
		t.Errorf("%v, %v", hosts, err)
	}
	wild := mustLoad(t, "-- a.yaml --\ns:\n  all: web*\n  w: web*\n", fleetssh.HostConfig{})
	if _, err := wild.Select("@w"); err == nil || !strings.Contains(err.Error(), "wildcards cannot define all hosts") {
		t.Error(err)
	}
}

func TestUpcallsAreAskedOnce(t *testing.T) {
	t.Parallel()
	inv := mustLoad(t, "-- groups.conf --\n[a]\nmap: echo x >>asked; echo n1; cat asked | wc -l | sed s/^/m/\nall: echo n1,m[1-9]\n", fleetssh.HostConfig{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if hosts, err := inv.Select("@g!x"); err != nil || len(hosts) != 2 || hosts[0].Host != "m1" {
				t.Errorf("%v, %v", hosts, err)
			}
		})
	}
	wg.Wait()
}

func TestInventoryIsForAnyNumberOfGoroutines(t *testing.T) {
	t.Parallel()
	inv := mustLoad(t, site, fleetssh.HostConfig{})
	want, err := inv.Select("@*")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			got, err := inv.Select("@*")
			if err != nil || !reflect.DeepEqual(got, want) || inv.vars(inv.graph.hosts["web1"])["zone"] != "b" {
				t.Error(got, err)
			}
		})
	}
	wg.Wait()
}

var _ hostset.Groups = (*Inventory)(nil).Groups
