package inventory

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"fleetssh"
	"fleetssh/hostset"
)

// nodeset returns the output of ClusterShell's command.
func nodeset(t *testing.T, folder string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("nodeset"); err != nil {
		t.Fatalf("%v: ClusterShell is what we compare with: run .ci/prepare", err)
	}
	cmd := exec.Command("nodeset", append([]string{"--groupsconf=" + filepath.Join(folder, "groups.conf")}, args...)...)
	cmd.Env = append(os.Environ(), "CLUSTERSHELL_CFGDIR="+folder)
	output, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("nodeset %q: %v: %s", args, err, output)
	}
	return strings.TrimSpace(string(output))
}

func clusterShellFolder(t *testing.T) string {
	t.Helper()
	archive, err := txtar.ParseFile("testdata/clustershell.txtar")
	if err != nil {
		t.Fatal(err)
	}
	return unpack(t, archive)
}

// TestLikeClusterShell compares the groups of a groups.conf with ClusterShell.
func TestLikeClusterShell(t *testing.T) {
	t.Parallel()
	folder := clusterShellFolder(t)
	inv, err := Load(filepath.Join(folder, "groups.conf"), fleetssh.HostConfig{})
	if err != nil {
		t.Fatal(err)
	}
	exprs := []string{
		"@flat:both,@cross", "@yaml:list", "@*!@db", "@other:*,@extra:one", "@east:a,@west:a,@io[1-2]!n9", "n1*&@compute,@none",
	}
	for _, expr := range exprs {
		want := nodeset(t, folder, "-f", expr)
		set, err := hostset.Parse(expr, inv.Groups)
		if err != nil || set.String() != want {
			t.Errorf("%s is %s, %v; for ClusterShell %s", expr, set, err, want)
		}
	}
	names, err := inv.GroupNames()
	if err != nil {
		t.Fatal(err)
	}
	for listed := range strings.FieldsSeq(nodeset(t, folder, "-L")) {
		listed = strings.TrimPrefix(strings.TrimPrefix(listed, "@"), "flat:")
		if !hostset.Of(names...).Contains(listed) {
			t.Errorf("the groups are %q, without %q", names, listed)
		}
	}
	groups, err := inv.GroupsOf("n9")
	if want := strings.ReplaceAll(nodeset(t, folder, "-l", "n9"), "@", ""); err != nil || !hostset.Of(groups...).Contains(want) {
		t.Errorf("n9 is in %q, %v; for ClusterShell in %s", groups, err, want)
	}
}
