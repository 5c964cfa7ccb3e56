package main

import (
	"encoding/json"
	"runtime"
	"runtime/debug"
	"testing"

	"fleetssh/cmd/fleetssh/internal/exit"
)

func TestVersion(t *testing.T) {
	t.Parallel()
	recorded := &debug.BuildInfo{
		Main: debug.Module{Version: "v1.4.0"},
		Settings: []debug.BuildSetting{
			{Key: "vcs.revision", Value: "0123456789abcdef0123456789abcdef01234567"},
			{Key: "vcs.modified", Value: "true"},
		},
	}
	system := ", " + runtime.Version() + ", " + runtime.GOOS + "/" + runtime.GOARCH
	for _, test := range []struct {
		name, version, commit string
		recorded              *debug.BuildInfo
		want                  string
	}{
		{"nothing known", "", "", nil, "fleetssh unknown"},
		{"recorded by Go", "", "", recorded, "fleetssh 1.4.0, commit 0123456789ab with changes"},
		{"without version control", "", "", &debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}, "fleetssh (devel)"},
		{"set by the linker", "1.5.0", "abcdefabcdef", recorded, "fleetssh 1.5.0, commit abcdefabcdef"},
		{"changed files", "1.5.0", "abcdefabcdef-dirty", nil, "fleetssh 1.5.0, commit abcdefabcdef with changes"},
		{"version alone", "1.5.0", "", nil, "fleetssh 1.5.0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := newBuildInfo(test.version, test.commit, test.recorded).String(); got != test.want+system {
				t.Errorf("%q, want %q", got, test.want+system)
			}
		})
	}
}

func TestVersionVerb(t *testing.T) {
	t.Parallel()
	code, text, _ := runProgram(t, "version")
	for _, flag := range []string{"--version", "-V"} {
		if otherCode, other, _ := runProgram(t, flag); code != exit.OK || otherCode != code || other != text {
			t.Errorf("%s: exit code %d, %q; version: %d, %q", flag, otherCode, other, code, text)
		}
	}
	code, object, _ := runProgram(t, "version", "--format", "json")
	var info buildInfo
	if err := json.Unmarshal([]byte(object), &info); code != exit.OK || err != nil {
		t.Fatalf("exit code %d, %v: %q", code, err, object)
	}
	if info.String()+"\n" != text {
		t.Errorf("json says %+v, text %q", info, text)
	}
}
