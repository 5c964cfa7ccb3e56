package record

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/flagvalue"
	"fleetssh/cmd/fleetssh/internal/journal"
	"fleetssh/hostset"
)

// Hosts returns the hosts of "@RUN:CLASS" as an expression. ok is false for names of another form.
func Hosts(name string) (expr string, ok bool, err error) {
	run, class, found := strings.Cut(name, ":")
	if !found {
		return "", false, nil
	}
	if !runName.MatchString(run) {
		// RUN may also be a group source of ClusterShell. A run takes precedence.
		known := isCondition(class) || slices.Contains(journal.Classes, strings.ReplaceAll(class, "-", "_"))
		if dir, err := journal.Dir(); !known || err != nil {
			return "", false, nil
		} else if _, err := journal.Open(dir, run); err != nil {
			return "", false, nil
		}
	}
	recorded, err := Open(run)
	if err != nil {
		return "", true, err
	}
	hosts, err := selectHosts(recorded, class)
	if err != nil {
		return "", true, err
	}
	return Targets(hosts).String(), true, nil
}

// The conditions besides the classes of hosts.
const (
	exitCondition = "exit="
	slowCondition = "slow>"

	blockCondition = "block="
)

// isCondition reports whether the text after "RUN:" is a condition.
func isCondition(text string) bool {
	return strings.HasPrefix(text, exitCondition) || strings.HasPrefix(text, slowCondition) || strings.HasPrefix(text, blockCondition)
}

// selectHosts returns the hosts of a class, or those that meet a condition: exit=3 (the command exited
// with this code), slow>30s (it ran longer than that) or block=2 (of the folded output).
func selectHosts(run *journal.Run, class string) ([]journal.HostRun, error) {
	if text, ok := strings.CutPrefix(class, blockCondition); ok {
		return hostsOfBlock(run, class, text)
	}
	var meets func(*journal.Result) bool
	if text, ok := strings.CutPrefix(class, exitCondition); ok {
		code, err := strconv.Atoi(text)
		if err != nil || code < 0 {
			return nil, fmt.Errorf("%s: %q is not an exit code", class, text)
		}
		meets = func(r *journal.Result) bool { return r.Outcome == "exited" && r.ExitCode == code }
	} else if text, ok := strings.CutPrefix(class, slowCondition); ok {
		var least time.Duration
		if err := (flagvalue.Duration{To: &least, OrZero: true}).Set(text); err != nil {
			return nil, fmt.Errorf("%s: %q is %v", class, text, err)
		}
		meets = func(r *journal.Result) bool { return r.RunMS > float64(least)/float64(time.Millisecond) }
	} else {
		return run.Select(class)
	}
	var hosts []journal.HostRun
	for i := range run.Hosts {
		if meets(&run.Hosts[i].Result) {
			hosts = append(hosts, run.Hosts[i])
		}
	}
	return hosts, nil
}

// Open reads the run with a name that the user has given.
func Open(name string) (*journal.Run, error) {
	dir, err := journal.Dir()
	if err != nil {
		return nil, err
	}
	run, err := journal.Open(dir, name)
	if unknown, ok := errors.AsType[*journal.NameError](err); ok {
		hint := "fleetssh runs lists what ran"
		if len(unknown.Near) > 0 {
			hint = "did you mean " + strings.Join(unknown.Near, " or ") + "?"
		}
		return nil, exit.UsageError(hint, "%v", err)
	}
	if run != nil {
		run.Args = RedactArgs(run.Args)
	}
	return run, err
}

// Targets returns the hosts as a set for -w.
func Targets(hosts []journal.HostRun) hostset.Set {
	names := make([]string, len(hosts))
	for i := range hosts {
		names[i] = TargetOf(&hosts[i].Host)
	}
	return hostset.Of(names...)
}

// TargetOf returns the name of a host for -w.
func TargetOf(h *journal.Host) string {
	name := h.Name
	switch {
	case h.Port != 0:
		name = net.JoinHostPort(name, strconv.Itoa(h.Port))
	case strings.Contains(name, ":"):
		name = "[" + name + "]"
	}
	if h.User != "" {
		name = h.User + "@" + name
	}
	return name
}

// runName matches names that only runs can have.
var runName = regexp.MustCompile(`^(last([-~][0-9]+)?|[0-9]{8}T[0-9.]*Z?(-[0-9a-f]*)?)$`)
