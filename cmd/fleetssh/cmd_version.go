package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"fleetssh/cmd/fleetssh/internal/exit"
)

const versionHelp = `Show version, revision and platform of this program.

  fleetssh version

`

func newVersion(c *app) *cobra.Command {
	return &cobra.Command{
		Use:  "version",
		Long: versionHelp,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return exit.UsageError("fleetssh version --help", "version takes no arguments")
			}
			c.screen.Print([]byte(versionText()))
			return nil
		},
	}
}

// versionText is one line: version, revision, Go, platform.
func versionText() string {
	version, revision := "unknown", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		version = info.Main.Version
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				revision = ", revision " + s.Value[:min(12, len(s.Value))] + revision
			case "vcs.modified":
				if s.Value == "true" {
					revision += " with changes"
				}
			}
		}
	}
	return fmt.Sprintf("fleetssh %s%s, %s, %s/%s\n", version, revision, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
