package presence

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/internal/sanitize"
)

// RebootLine reboots any of the usual systems. Where systemctl works, it returns at once.
const RebootLine = "systemctl reboot 2>/dev/null || shutdown -r now 2>/dev/null || reboot"

// bootIDLine asks Linux, macOS and the BSDs for what changes with each boot. On the BSDs that is only
// the time of the boot.
const bootIDLine = "cat /proc/sys/kernel/random/boot_id 2>/dev/null || sysctl -n kern.bootsessionuuid 2>/dev/null || sysctl -n kern.boottime"

// maxUnsent is how many attempts there are to log in before the reboot.
const maxUnsent = 3

// Reboot reboots hosts and knows when they are back: when they tell another boot ID.
type Reboot struct {
	Watch   *Watch
	Command fleetssh.Command // reboots a host
	Before  func(i int)      // is called before the command is sent to host number i; calls overlap

	states []rebootState
}

// rebootState is what is known of one host. It has one user at a time.
type rebootState struct {
	bootID   string // before the reboot
	sent     bool   // the command may have been run
	attempts int    // before it was sent
}

// FailedError says that the command that reboots a host did not do so.
type FailedError struct {
	Outcome fleetssh.Outcome
	Reason  string // the last line of its standard error
	Err     error  // the reason why it did not start; nil: it did
}

// Error implements [error].
func (e *FailedError) Error() string { return e.Reason }

// Unwrap returns why the command did not start.
func (e *FailedError) Unwrap() error { return e.Err }

// Begin prepares for the hosts of the watch. It must be called before Attempt.
func (r *Reboot) Begin() {
	r.states = make([]rebootState, len(r.Watch.Client.Hosts))
	r.Command.Timeout, r.Command.MaxOutput = commandLimit, maxOutput
}

// Attempt is an [Attempt]. The first one that can log in sends the command; the later ones see whether
// the host is back.
func (r *Reboot) Attempt(ctx context.Context, i int) error {
	s := &r.states[i]
	c, err := r.Watch.login(ctx, i)
	if err != nil {
		if s.attempts++; !s.sent && s.attempts == maxUnsent && ctx.Err() == nil {
			return &unreachable{err}
		}
		return err
	}
	defer c.Close()
	id, err := bootID(ctx, c)
	switch {
	case err != nil && !s.sent:
		return &FailedError{Outcome: fleetssh.Outcome{Kind: fleetssh.NotStarted, Phase: fleetssh.PhaseRun}, Reason: "its boot ID cannot be found out: " + err.Error()}
	case err != nil:
		return &NotYet{Reason: "its boot ID cannot be found out: " + err.Error()}
	case !s.sent:
		return r.send(ctx, i, c, id)
	case sameBoot(s.bootID, id):
		return &NotYet{Reason: "its boot ID has not changed"}
	}
	return nil
}

// Result returns the result of a host whose watch has ended. A host that was told to reboot when the
// user stopped the program may do so.
func (r *Reboot) Result(e End, index int) results.Result {
	words := Words{Ended: "rebooted, back", Failed: "not back"}
	result := words.Result(e, index, &r.Watch.Client.Hosts[e.Index])
	if result.Outcome.Kind == fleetssh.Cancelled && r.states[e.Index].sent {
		result.Outcome.Phase = ""
		result.Waited.Failed = "told to reboot, and not waited for"
	}
	if failed, ok := errors.AsType[*FailedError](e.Err); ok && failed.Outcome.Kind == fleetssh.Exited {
		result.Problem.Hint = "--sudo reboots as root"
		if r.Command.Sudo {
			result.Problem.Hint = ""
			if r.Command.SudoPassword == nil {
				result.Problem.Hint = "if sudo asks for a password, add --ask-sudo-pass"
			}
		}
	}
	return result
}

// unreachable is the final error of a login before the reboot.
type unreachable struct{ error }

// send sends the command. The host may go away before it can tell how the command ended.
func (r *Reboot) send(ctx context.Context, i int, c *fleetssh.Client, id string) error {
	s := &r.states[i]
	if r.Before != nil {
		r.Before(i)
	}
	s.bootID, s.sent = id, true
	e := runOn(ctx, c, r.Command)
	switch e.Kind {
	case fleetssh.Exited:
		if e.ExitCode != 0 {
			return &FailedError{Outcome: e.Outcome, Reason: lastLine(e.stderr)}
		}
	case fleetssh.NotStarted, fleetssh.Unreachable:
		return &FailedError{Outcome: e.Outcome, Err: e.err, Reason: e.err.Error()}
	case fleetssh.Cancelled:
		return ctx.Err()
	}
	return &NotYet{Reason: "its boot ID has not changed"}
}

// lastLine returns the last line of a text.
func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return sanitize.Line(lines[len(lines)-1])
}

// maxBootID is the longest boot ID, in bytes.
const maxBootID = 200

// bootID asks a host for its boot ID.
func bootID(ctx context.Context, c *fleetssh.Client) (string, error) {
	e := runOn(ctx, c, fleetssh.Command{Line: bootIDLine, Shell: "sh -c", Timeout: commandLimit, MaxOutput: maxOutput})
	id := strings.TrimSpace(e.stdout)
	switch {
	case !e.OK():
		return "", errors.New(e.text())
	case id == "" || len(id) > maxBootID || strings.Contains(id, "\n"):
		return "", errors.New("the answer is none")
	}
	return id, nil
}

// clockSteps is by how many seconds the time of a boot may change without a boot: it follows the clock.
const clockSteps = 60

// sameBoot reports whether two boot IDs are of the same boot.
func sameBoot(a, b string) bool {
	if a == b {
		return true
	}
	before, ok := bootTime(a)
	after, alsoOK := bootTime(b)
	return ok && alsoOK && after-before <= clockSteps && before-after <= clockSteps
}

// bootTime returns the seconds of "{ sec = 1760000000, usec = 0 } …" or, on OpenBSD, of "1760000000".
func bootTime(id string) (seconds int64, ok bool) {
	_, rest, found := strings.Cut(id, "sec = ")
	if !found {
		rest = id
	}
	digits, _, _ := strings.Cut(rest, ",")
	seconds, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
	return seconds, err == nil
}
