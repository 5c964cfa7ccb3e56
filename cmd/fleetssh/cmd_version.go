package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/settings"
)

const versionHelp = `Show version, commit, Go version and system of this program.

  fleetssh version
  fleetssh --version
  fleetssh version --format json | jq -r .version

usage: fleetssh version [options]

Output:
      --format FORMAT       text: one line (default)
                            json: one object with version, commit, modified, go,
                            os and arch

modified means that the source differed from the commit.

fleetssh --version and fleetssh -V are the same as fleetssh version.

`

// The linker sets these in builds of the Makefile. A build without them takes what Go has recorded.
var version, commit string

// buildInfo tells which build of the program runs.
type buildInfo struct {
	Version  string `json:"version"`
	Commit   string `json:"commit"`   // 12 digits; empty: not known
	Modified bool   `json:"modified"` // the source differed from the commit
	Go       string `json:"go"`
	OS       string `json:"os"`
	Arch     string `json:"arch"`
}

func newVersion(c *app) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:  "version",
		Long: versionHelp,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return exit.UsageError("fleetssh version --help", "version takes no arguments")
			}
			recorded, _ := debug.ReadBuildInfo()
			info := newBuildInfo(version, commit, recorded)
			if format == "json" {
				object, err := json.Marshal(info)
				if err != nil {
					return err
				}
				c.screen.Print(append(object, '\n'))
				return nil
			}
			c.screen.Print([]byte(info.String() + "\n"))
			return nil
		},
	}
	registerTextFormat(cmd.Flags(), &format)
	// The version can be shown when the file of settings is wrong, and does not change with it.
	cmd.Flags().Lookup("format").Annotations = map[string][]string{settings.NotInFile: nil}
	return cmd
}

// newBuildInfo describes a build. Values of the linker win over those that Go has recorded, which may
// be nil.
func newBuildInfo(version, commit string, recorded *debug.BuildInfo) buildInfo {
	info := buildInfo{Version: version, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	info.Commit, info.Modified = strings.CutSuffix(commit, "-dirty")
	if recorded != nil {
		if info.Version == "" {
			info.Version = strings.TrimPrefix(recorded.Main.Version, "v")
		}
		for _, s := range recorded.Settings {
			switch {
			case commit != "":
			case s.Key == "vcs.revision":
				info.Commit = s.Value[:min(12, len(s.Value))]
			case s.Key == "vcs.modified":
				info.Modified = s.Value == "true"
			}
		}
	}
	if info.Version == "" {
		info.Version = "unknown"
	}
	return info
}

// String returns the build in one line.
func (i buildInfo) String() string {
	from := ""
	if i.Commit != "" {
		from = ", commit " + i.Commit
		if i.Modified {
			from += " with changes"
		}
	}
	return fmt.Sprintf("fleetssh %s%s, %s, %s/%s", i.Version, from, i.Go, i.OS, i.Arch)
}
