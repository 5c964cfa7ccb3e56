package inventory

import (
	"strings"
	"testing"

	"fleetssh"
	"fleetssh/hostset"
)

const racks = `-- hosts.yml --
all:
  vars:
    dc: fra
  children:
    web:
      vars: {role: web, cores: 4, ready: yes, tags: [edge, public]}
      hosts:
        web1: {version: "1.10"}
        web2: {version: "1.1", cores: 16, ready: no}
    db:
      vars: {role: db, nested: {a: b}}
      hosts:
        db1: {note: "{{ dc }}", password: !vault "x"}
        db2: {empty: null}
-- group_vars/db.yml --
role: database
`

func TestWhere(t *testing.T) {
	t.Parallel()
	inv := mustLoad(t, racks, fleetssh.HostConfig{})
	for _, test := range []struct {
		conditions string // separated by ;
		want       string
	}{
		{"role=web", "web[1-2]"},
		{"role==web", "web[1-2]"},
		{" role = web ", "web[1-2]"},
		{"role=database", "db[1-2]"}, // group_vars wins
		{"role=db", ""},
		{"role=d*", "db[1-2]"},
		{"role=we?", "web[1-2]"},
		{"role=we", ""},
		{"role=web,database", "db[1-2],web[1-2]"},
		{"role!=web", "alien,db[1-2],root@other:22"},
		{"role!=web,database", "alien,root@other:22"},
		{"dc=fra", "db[1-2],web[1-2]"},
		{"role=*", "db[1-2],web[1-2]"},
		{"role!=*", "alien,root@other:22"},
		{"cores=16", "web2"},
		{"cores>=4", "web[1-2]"},
		{"cores>4", "web2"},
		{"cores<=4", "web1"},
		{"cores<4.5", "web1"},
		{"role>1", ""},
		{"ready=true", "web1"},
		{"ready=no", "web2"},
		{"version=1.1", "web2"}, // as it is written
		{"tags=edge", "web[1-2]"},
		{"tags=inner", ""},
		{"tags!=edge", "alien,db[1-2],root@other:22"},
		{"role=web;cores=4", "web1"},
		{"empty=*", "db2"},
		{"rloe=web", `the inventory has no variable "rloe"; did you mean role?`},
		{"shoe=1", `the inventory has no variable "shoe"`},
		{"note=x", "host db1: note: its value is a template; templates are not evaluated"},
		{"password=x", "host db1: password: its value is encrypted by ansible-vault"},
		{"nested=x", "host db1: nested: its value is a dictionary or a list of lists, which no condition can compare"},
		{"role", `"role" is not a condition: write NAME=VALUE or NAME!=VALUE`},
		{"=web", `"=web" has no variable before =web`},
		{"role=", `"role=" has no value after =`},
		{"role=a,,b", `"role=a,,b" has an empty value`},
		{"role!web", `"role!web" has no operator: =, !=, <, <=, > or >=`},
		{"role=a && dc=b", `"role=a && dc=b" has several conditions: && and || are not understood`},
		{"cores>many", `"cores>many": "many" is not a number`},
		{"cores>NaN", `"cores>NaN": "NaN" is not a number`},
		{"my role=web", `"my role" is not the name of a variable`},
	} {
		set := hostset.Of("web1", "web2", "db1", "db2", "alien", "root@other:22")
		var conditions []Condition
		var err error
		for text := range strings.SplitSeq(test.conditions, ";") {
			var c Condition
			if c, err = ParseCondition(text); err != nil {
				break
			}
			if c.String() != text {
				t.Errorf("String of %q: %q", text, c)
			}
			conditions = append(conditions, c)
		}
		if err == nil {
			set, err = inv.Where(set, conditions...)
		}
		got := set.String()
		if err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%s: %s, want %s", test.conditions, got, test.want)
		}
	}
}

// In "user@host:port", host is the name in the inventory.
func TestWhereWithUserAndPort(t *testing.T) {
	t.Parallel()
	inv := mustLoad(t, racks, fleetssh.HostConfig{})
	c, err := ParseCondition("role=web")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := inv.Where(hostset.Of("root@web1:2222", "root@db1"), c); err != nil || got.String() != "root@web1:2222" {
		t.Errorf("%v, %v", got, err)
	}
}

// The parser of conditions accepts or refuses every text.
func FuzzParseCondition(f *testing.F) {
	for _, text := range []string{"role=db", "a!=b,c", "m>=6", "x=*?", "=", "!", "a=\\", "a=[", "a=\xff"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseCondition(text)
		if err != nil {
			return
		}
		if _, err := c.holds("x", true); err != nil {
			t.Error(err)
		}
	})
}
