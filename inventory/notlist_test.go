package inventory

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fleetssh"
)

// A file that is not a list of hosts is not read as one; the error says what it is.
func TestNoList(t *testing.T) {
	t.Parallel()
	vault := "$ANSIBLE_VAULT;1.1;AES256\n33363965326261303234626463623963633531343539616138316433353830356566396130353436\n"
	for _, test := range []struct{ name, text, want string }{
		{"list", vault, "list:1: it is encrypted by ansible-vault"},
		{"hosts", "\ufeff" + vault, "it is encrypted by ansible-vault"},
		{"a.yml", vault, "it is encrypted by ansible-vault"},
		{"groups.conf", vault, "it is encrypted by ansible-vault"},
		{"list", "\x7fELF\x02\x01\x01\x00\x00", "it is not a text file"},
		{"list", "compute: n[1-4]\n", `"compute:" begins a group, as in group files of ClusterShell`},
		{"list", "{\n", `the host name holds "{"`},
		{"list", "<html>\n", `the host name holds "<"`},
	} {
		path := filepath.Join(t.TempDir(), test.name)
		if err := os.WriteFile(path, []byte(test.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path, fleetssh.HostConfig{}); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("Load of %s: %v, want %s", test.name, err, test.want)
		}
		if test.name != "list" {
			continue
		}
		if _, err := ParseHosts(strings.NewReader(test.text), "list", fleetssh.HostConfig{}); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("ParseHosts: %v, want %s", err, test.want)
		}
	}
	if _, err := Load("h1,h2,", fleetssh.HostConfig{}); err == nil || !strings.HasSuffix(err.Error(), "to name hosts, use -w h1,h2") {
		t.Errorf("%v", err)
	}
}

// An empty file has no hosts, in any format.
func TestEmptyYAML(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "---\n", "# nothing\n", "---\n...\n"} {
		inv := mustLoad(t, "-- a.yml --\n"+text, fleetssh.HostConfig{})
		if names, err := inv.Names(); err != nil || len(names) != 0 {
			t.Errorf("%q: %v, %v", text, names, err)
		}
	}
}

// A backslash before a letter is an ordinary character in a list of hosts.
func TestBackslash(t *testing.T) {
	t.Parallel()
	list := "CORP\\alice@h1:23312\nh2 user=CORP\\bob\nh3 user='CORP\\carl'\nh4 user=a\\ b\nh5 user=\"CORP\\dan\"\nh6 key=/a\\#b\n"
	inv, err := ParseHosts(strings.NewReader(list), "list", fleetssh.HostConfig{})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"h1": `CORP\alice`, "h2": `CORP\bob`, "h3": `CORP\carl`, "h4": "a b", "h5": `CORP\dan`} {
		hosts, err := inv.Select(name)
		if err != nil || hosts[0].User != want {
			t.Errorf("%s: %q, %v", name, hosts[0].User, err)
		}
	}
}

// An error shows the standard error of an upcall in one line, even if the upcall exits with 0 and
// prints no hosts.
func TestUpcallComplains(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	conf := "[Main]\ndefault: x\n[x]\nmap: echo 'no such' >&2; echo 'group $GROUP' >&2\nlist: echo 'trouble' >&2; exit 3\n"
	if err := os.WriteFile(filepath.Join(dir, "groups.conf"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	inv, err := Load(filepath.Join(dir, "groups.conf"), fleetssh.HostConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := inv.Groups("web"); err == nil || !strings.HasSuffix(err.Error(), "it wrote only to standard error: no such; group web") {
		t.Errorf("%v", err)
	}
	if _, err := inv.GroupNames(); err == nil || !strings.Contains(err.Error(), "exit status 3: trouble") {
		t.Errorf("%v", err)
	}
}
