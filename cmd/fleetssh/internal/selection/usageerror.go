package selection

import (
	"fmt"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/exit"
)

// UsageError turns an error that the library returned before it contacted a host into a usage error. It
// replaces the index of the host by its label.
func UsageError(err error, hosts []Host) error {
	if err == nil {
		return nil
	}
	label := func(i int) string {
		if i < 0 || i >= len(hosts) {
			return ""
		}
		return hosts[i].Label
	}
	switch e := err.(type) {
	case *fleetssh.HostArgumentError:
		if name := label(e.Index); name != "" {
			text := name + ": "
			if e.Name != "" {
				text += fmt.Sprintf("placeholder %q: ", e.Name)
			}
			return exit.UsageError("", "%s%s", text, e.Reason)
		}
	case *fleetssh.ConfigError:
		if name := label(e.Index); name != "" {
			return exit.UsageError("", "%s: %s: %s", name, e.Field, e.Reason)
		}
	}
	return exit.UsageError("", "%v", err)
}
