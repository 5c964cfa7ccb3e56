package fleetssh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/sanitize"
)

// PKeyFileError means that a private key or certificate cannot be used: it is missing,
// malformed, encrypted with another passphrase, expired, or does not match its key. Path is
// empty for a key in memory. Only the SSH agent has been contacted. If [Auth] Ask has been
// asked for the passphrase, the host has been contacted too.
type PKeyFileError struct {
	Host string // as in HostConfig, the alias if there is one
	Path string
	Err  error
}

// UnknownHostError means that a host name cannot be resolved.
type UnknownHostError struct {
	Host     string
	Attempts int
	Err      error
}

// ConnectionError means that the host could not be connected to, or that the connection was
// lost. Phase says when: [PhaseConnect], [PhaseHandshake] or [PhaseAuth] while connecting,
// [PhaseProxy] while waiting for a hop, [PhaseForward] in a tunnel, or when a hop was lost
// during the login to the host, [PhaseListen] in [Client.ForwardRemote], [PhaseOpen] to
// [PhaseSubsystem] while starting a command, and [PhaseRun] while a command was running.
type ConnectionError struct {
	Host     string
	Port     int
	Phase    Phase
	Attempts int
	Said     string // what the host sent before or instead of its SSH version: sanitized and cut
	Err      error
}

// HostKeyError means that the key of the host is not trusted.
type HostKeyError struct {
	Host string
	Port int
	Key  ssh.PublicKey // the key that the host has shown
	Err  error         // the reason, with the file and line of each known key

	// Known, if not empty, holds the algorithms of the keys that are known for the host if the
	// host has shown a key of another type. [Dial] then connects once more and requests these.
	Known []string
}

// AuthenticationError means that the host refused the login.
type AuthenticationError struct {
	Host  string
	Port  int
	User  string
	Tried []string // methods, in the order they were tried
	Keys  []string // the origin and the fingerprint of each key that was offered, as text

	// Banner is the text that the host sent before the login, as in [Login] Banner.
	Banner string

	// Expired reports that the password was right but must be changed first. ssh can change it.
	Expired bool

	Err error // a possible reason, such as a certificate for another user; or nil
}

// PasswordError means that the client did not send a password that several hosts share,
// because another host has refused it. See [ParallelClient.PasswordsDiffer]. The password of
// [GSSAPI] is not tried again after the KDC has refused it once for any host.
type PasswordError struct {
	Host      string
	Port      int
	User      string // the owner of the password
	Phase     Phase  // PhaseAuth or PhaseSudo
	RefusedBy string // the host that has refused it, or "the KDC of REALM"
	Kerberos  bool   // whether it is the password of GSSAPI
}

// ProxyError means that a hop in front of the host failed, or a proxy used by [DialProxy] or
// [DialCommand]. Err says what went wrong at Hop, and is any of the other errors. A failure
// behind the last hop is an error of the host itself.
type ProxyError struct {
	Host string
	Hop  string
	Err  error
}

// TimeoutError means that a step took too long. It matches [context.DeadlineExceeded], and is a
// [net.Error] whose Timeout is true. With [PhaseWait] and [PhaseRead], the caller's wait has
// ended and the command continues to run.
type TimeoutError struct {
	Host     string
	Port     int
	Phase    Phase
	After    time.Duration
	Attempts int    // attempts to connect; zero once connected
	Said     string // as in ConnectionError
	Err      error  // context.Canceled if the wait was cancelled; nil if the time was up
}

// SessionError means that the host refused a session, a terminal, a command or a tunnel,
// that sudo refused the password, or that a command was stopped. A hop that refuses to
// forward has [PhaseForward].
type SessionError struct {
	Host  string
	Port  int
	Phase Phase
	Err   error
}

// ErrTerminalRequired is the Err of a [SessionError] with [PhaseSudo] if sudo on the host
// requires a terminal (requiretty in sudoers). Set [Command.PTY] in that case.
var ErrTerminalRequired = errors.New("sudo wants a terminal")

// HostArgumentError means that the host arguments do not match the hosts or the command line.
// No host has been contacted.
type HostArgumentError struct {
	Index  int    // of the host in ParallelClient.Hosts, or -1 if the number of entries is wrong
	Name   string // the placeholder at fault, as written in the line
	Reason string
}

// ConfigError means that a setting of a host or of a command cannot be used. No host has been
// contacted. As the error of a single host of many ([HostConfig.Unusable]), it means that this
// host has not been contacted.
type ConfigError struct {
	Index  int    // of the host in ParallelClient.Hosts, or -1
	Field  string // such as "HostConfig.Port"; or an argument, such as "listen"
	Reason string
	Err    error // the cause, such as [HostConfig.Unusable]; or nil
}

// ExitError means that a command ran and did not end with exit code zero.
type ExitError struct {
	Host   string
	Code   int        // -1 if there is none
	Signal ssh.Signal // the signal that ended the command, or empty
	Stderr []byte     // the last 4 KiB of standard error, from Client.Output only
}

// OutcomeError means that a host did not complete its work: see [Outcome.Err]. It matches
// [context.DeadlineExceeded] if the host timed out, and [context.Canceled] if it was cancelled.
type OutcomeError struct{ Outcome Outcome }

// CopyError means that a file could not be copied.
type CopyError struct {
	Host  string // empty if no host was contacted
	Op    CopyOp // the operation that failed
	Path  string
	Local bool // whether Path is on this machine, not on the host
	Err   error
	More  int // number of further files of the same host that could not be copied
}

// HostsError holds the failures of several hosts. Its text is their number and the first
// failure, with the name of the host. errors.As and errors.Is examine all failures.
type HostsError struct {
	Failed []HostFailure // in the order of the hosts
	Total  int           // number of hosts worked on
}

// HostFailure is the failure of one host in a [HostsError].
type HostFailure struct {
	Index int    // of the host in ParallelClient.Hosts; for Join, of its output
	Host  string // its alias, or its name
	Err   error
}

// text returns the error in words that name the host.
func (f *HostFailure) text() string {
	text := f.Err.Error()
	isName := func(r rune) bool {
		return r == '-' || r == '.' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r)
	}
	for rest := text; ; {
		before, after, found := strings.Cut(rest, f.Host)
		if !found || f.Host == "" {
			return f.Host + ": " + text
		}
		last, _ := utf8.DecodeLastRuneInString(before)
		next, _ := utf8.DecodeRuneInString(after)
		if !isName(last) && !isName(next) {
			return text
		}
		rest = after
	}
}

// Error implements [error].
func (e *PKeyFileError) Error() string {
	what := "key in memory"
	if e.Path != "" {
		what = "key file " + e.Path
	}
	if e.Host == "" {
		return fmt.Sprintf("%s: %v", what, e.Err)
	}
	return fmt.Sprintf("%s: %s: %v", e.Host, what, e.Err)
}

// Error implements [error].
func (e *UnknownHostError) Error() string {
	return fmt.Sprintf("resolve %s: %v%s", e.Host, e.Err, afterAttempts(e.Attempts))
}

// Error implements [error].
func (e *ConnectionError) Error() string {
	return fmt.Sprintf("%s %s: %v%s%s", e.Phase.text(), hostPort(e.Host, e.Port), e.Err, saidText(e.Said), afterAttempts(e.Attempts))
}

// Error implements [error].
func (e *HostKeyError) Error() string {
	return fmt.Sprintf("host key of %s: %v", hostPort(e.Host, e.Port), e.Err)
}

// Error implements [error].
func (e *AuthenticationError) Error() string {
	tried := "no method both sides know"
	if len(e.Tried) > 0 {
		tried = "tried " + strings.Join(e.Tried, ", ")
	}
	if e.Expired {
		return fmt.Sprintf("log in to %s as %s: the password has expired and must be changed", hostPort(e.Host, e.Port), e.User)
	}
	text := fmt.Sprintf("log in to %s as %s: refused (%s)", hostPort(e.Host, e.Port), e.User, tried)
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Error implements [error].
func (e *PasswordError) Error() string {
	what := "sudo on " + hostPort(e.Host, e.Port)
	if e.Phase == PhaseAuth {
		what = "log in to " + hostPort(e.Host, e.Port) + " as " + e.User
	}
	if e.Kerberos {
		return fmt.Sprintf("log in to %s: %s refused the password of %s; it was not tried again", hostPort(e.Host, e.Port), e.RefusedBy, e.User)
	}
	return fmt.Sprintf("%s: the password was refused by %s; it was not sent here", what, e.RefusedBy)
}

// Error implements [error].
func (e *ProxyError) Error() string {
	return fmt.Sprintf("reach %s: hop failed: %v", e.Host, e.Err)
}

// Error implements [error].
func (e *TimeoutError) Error() string {
	after, end := "", "timed out"
	if e.Err != nil {
		end = e.Err.Error()
	}
	if e.After > 0 {
		after = " after " + e.After.Round(time.Millisecond).String()
	}
	return fmt.Sprintf("%s %s: %s%s%s%s", e.Phase.text(), hostPort(e.Host, e.Port), end, after, saidText(e.Said), afterAttempts(e.Attempts))
}

// Error implements [error].
func (e *SessionError) Error() string {
	what := e.Phase.text()
	if what == string(e.Phase) {
		what += " on"
	}
	return fmt.Sprintf("%s %s: %v", what, hostPort(e.Host, e.Port), e.Err)
}

// Error implements [error].
func (e *HostArgumentError) Error() string {
	text := "host arguments"
	if e.Index >= 0 {
		text = fmt.Sprintf("arguments of host %d", e.Index)
	}
	if e.Name != "" {
		text += fmt.Sprintf(": placeholder %q", e.Name)
	}
	return text + ": " + e.Reason
}

// Unwrap returns the cause, or nil.
func (e *ConfigError) Unwrap() error { return e.Err }

// Error implements [error].
func (e *ConfigError) Error() string {
	if e.Index >= 0 {
		return fmt.Sprintf("host %d: %s: %s", e.Index, e.Field, e.Reason)
	}
	return e.Field + ": " + e.Reason
}

// Error implements [error].
func (e *ExitError) Error() string {
	text := fmt.Sprintf("command on %s exited with code %d", e.Host, e.Code)
	if e.Signal != "" {
		text = fmt.Sprintf("command on %s was ended by signal %s", e.Host, e.Signal)
	}
	if len(e.Stderr) > 0 {
		text += ": " + strings.TrimRight(string(e.Stderr), "\r\n")
	}
	return text
}

// Error implements [error].
func (e *OutcomeError) Error() string { return e.Outcome.String() }

// Is makes an OutcomeError match the errors of the context package.
func (e *OutcomeError) Is(target error) bool {
	switch e.Outcome.Kind {
	case TimedOut:
		return target == context.DeadlineExceeded
	case Cancelled:
		return target == context.Canceled
	}
	return false
}

// Error implements [error].
func (e *CopyError) Error() string {
	text := string(e.Op) + " " + strconv.QuoteToGraphic(sanitize.Cut(e.Path, sanitize.MaxLine)) // which a host may have given
	if !e.Local && e.Host != "" {
		text += " on " + e.Host
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	if e.More > 0 {
		text += fmt.Sprintf(" (and %d more files)", e.More)
	}
	return text
}

// Unwrap returns the cause.
func (e *CopyError) Unwrap() error { return e.Err }

// Error implements [error].
func (e *HostsError) Error() string {
	if len(e.Failed) == 0 {
		return fmt.Sprintf("0 of %d hosts failed", e.Total)
	}
	first := e.Failed[0].text()
	if len(e.Failed) == 1 && e.Total == 1 {
		return first
	}
	return fmt.Sprintf("%d of %d hosts failed; first: %s", len(e.Failed), e.Total, first)
}

// Unwrap returns the cause.
func (e *PKeyFileError) Unwrap() error { return e.Err }

// Unwrap returns the cause.
func (e *UnknownHostError) Unwrap() error { return e.Err }

// Unwrap returns the cause.
func (e *ConnectionError) Unwrap() error { return e.Err }

// Unwrap returns the cause.
func (e *HostKeyError) Unwrap() error { return e.Err }

// Unwrap returns the cause.
func (e *AuthenticationError) Unwrap() error { return e.Err }

// Unwrap returns the cause.
func (e *ProxyError) Unwrap() error { return e.Err }

// Unwrap returns the cause.
func (e *SessionError) Unwrap() error { return e.Err }

// Unwrap returns the error of every failed host.
func (e *HostsError) Unwrap() []error {
	errs := make([]error, len(e.Failed))
	for i, f := range e.Failed {
		errs[i] = f.Err
	}
	return errs
}

// Unfinished returns the indexes of the hosts whose command was still running when Join
// stopped waiting. Their failures hold a [*TimeoutError]. All other hosts have finished.
func (e *HostsError) Unfinished() []int {
	var hosts []int
	for _, f := range e.Failed {
		if t, ok := errors.AsType[*TimeoutError](f.Err); ok && t.Phase == PhaseWait {
			hosts = append(hosts, f.Index)
		}
	}
	return hosts
}

// Unwrap returns the cause, or nil if the time was up.
func (e *TimeoutError) Unwrap() error { return e.Err }

// Is makes a TimeoutError match [context.DeadlineExceeded] and
// [os.ErrDeadlineExceeded], unless the wait was cancelled.
func (e *TimeoutError) Is(target error) bool {
	if e.Err != nil {
		return false
	}
	return target == context.DeadlineExceeded || target == os.ErrDeadlineExceeded
}

// Timeout implements [net.Error].
func (e *TimeoutError) Timeout() bool { return true }

// Temporary implements [net.Error].
func (e *TimeoutError) Temporary() bool { return true }

var _ net.Error = (*TimeoutError)(nil)

// joinErrors returns one error for several, in one line, and nil for none.
func joinErrors(errs []error) error {
	switch len(errs) {
	case 0:
		return nil
	case 1:
		return errs[0]
	}
	return errorList(errs)
}

type errorList []error

func (l errorList) Error() string {
	texts := make([]string, len(l))
	for i, err := range l {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

func (l errorList) Unwrap() []error { return l }

func afterAttempts(n int) string {
	if n < 2 {
		return ""
	}
	return fmt.Sprintf(" (%d attempts)", n)
}

func hostPort(host string, port int) string {
	if port == 0 {
		return host
	}
	return net.JoinHostPort(host, strconv.Itoa(port))
}

// saidText returns the part of an error message that quotes what a host sent.
func saidText(said string) string {
	if said == "" {
		return ""
	}
	return fmt.Sprintf(`: it said "%s"`, said)
}
