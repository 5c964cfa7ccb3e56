package simfleet

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/nearest"
)

// FaultKind names one thing that goes wrong with a host.
type FaultKind string

// The faults, in the order of the phases of a connection.
const (
	// NoFault means that the host works.
	NoFault FaultKind = ""

	// ResetAccept resets every connection as soon as it is accepted.
	ResetAccept FaultKind = "reset-accept"
	// SilentAccept accepts the connection and never sends anything.
	SilentAccept FaultKind = "silent-accept"
	// GarbageVersion answers like a web server and closes.
	GarbageVersion FaultKind = "garbage-version"
	// LongVersion sends an endless first line.
	LongVersion FaultKind = "long-version"
	// DripVersion sends the version line one byte per Interval and works after that.
	DripVersion FaultKind = "drip-version"
	// StallKex sends the version line and then nothing.
	StallKex FaultKind = "stall-kex"
	// StallAuth never answers a login attempt.
	StallAuth FaultKind = "stall-auth"

	// StallPassword never answers a password.
	StallPassword FaultKind = "stall-password"
	// CutPassword resets the connection when a password arrives.
	CutPassword FaultKind = "cut-password"

	// StallOpen never answers the opening of a channel.
	StallOpen FaultKind = "stall-open"
	// RefuseOpen refuses the opening of a channel for Reason.
	RefuseOpen FaultKind = "refuse-open"
	// NoKeepAliveReply never answers a global request.
	NoKeepAliveReply FaultKind = "no-keepalive-reply"

	// RefusePTY refuses a pseudo terminal.
	RefusePTY FaultKind = "refuse-pty"
	// RefuseEnv refuses environment variables, as sshd refuses variables that AcceptEnv does not
	// list.
	RefuseEnv FaultKind = "refuse-env"
	// RefuseExec refuses to start a command, a shell or a subsystem.
	RefuseExec FaultKind = "refuse-exec"
	// StallExec never answers the start of a command and does not start it.
	StallExec FaultKind = "stall-exec"
	// NoStartReply starts a command, a shell or a subsystem, and never answers the request.
	NoStartReply FaultKind = "no-start-reply"
	// StallAfterStart confirms the start of a command and does not start it. From then on the host
	// discards its input and sends nothing; the connection stays open.
	StallAfterStart FaultKind = "stall-after-start"

	// NeverReadStdin never reads the command's input, so the window is never adjusted.
	NeverReadStdin FaultKind = "never-read-stdin"
	// IgnoreSignals confirms signals and does nothing.
	IgnoreSignals FaultKind = "ignore-signals"
	// DripOutput writes the output one byte per Interval.
	DripOutput FaultKind = "drip-output"
	// CutAfter resets the connection after Bytes bytes of output.
	CutAfter FaultKind = "cut-after"

	// StopReading stops reading at Phase, and sends nothing.
	StopReading FaultKind = "stop-reading"
	// StopReadingTrickle stops reading at Phase, and sends a small message once per Interval.
	StopReadingTrickle FaultKind = "stop-reading-trickle"

	// HugeWindow stops reading at Phase, and sends SSH_MSG_IGNORE once per Interval. Until then it
	// accepts every login, opens every channel with the largest window, and confirms the start of
	// every command. So do the faults from here to FloodSlowly.
	HugeWindow FaultKind = "huge-window"
	// StallRekey begins a key exchange and never continues it.
	StallRekey FaultKind = "stall-rekey"
	// FloodRequests sends global requests without end.
	FloodRequests FaultKind = "flood-requests"
	// FloodOpens opens channels without end.
	FloodOpens FaultKind = "flood-opens"
	// FloodPings sends SSH_MSG_PING (OpenSSH's PROTOCOL) without end.
	FloodPings FaultKind = "flood-pings"
	// FloodConfirmations confirms the first channel without end.
	FloodConfirmations FaultKind = "flood-confirmations"
	// FloodChannelRequests sends requests on the first channel without end.
	FloodChannelRequests FaultKind = "flood-channel-requests"
	// FloodSlowly sends one such request per Interval, so that the client's answers do not block.
	FloodSlowly FaultKind = "flood-slowly"

	// NoSFTP lacks the subsystem "sftp".
	NoSFTP FaultKind = "no-sftp"
	// NoSCP lacks the program scp.
	NoSCP FaultKind = "no-scp"
	// NoExtensions speaks SFTP without any extension, and refuses posix-rename.
	NoExtensions FaultKind = "no-extensions"
	// DenyPath denies access to Path and everything below it.
	DenyPath FaultKind = "deny-path"
	// DiskFull reports a full disk after the connection has written Bytes bytes to files.
	DiskFull FaultKind = "disk-full"
	// CutUpload resets the connection after it has written Bytes bytes to files.
	CutUpload FaultKind = "cut-upload"
	// StallFile stops answering, on the whole connection, after the connection has read and written
	// Bytes bytes of files.
	StallFile FaultKind = "stall-file"
	// WrongSize reports files as Bytes bytes larger than they are, or smaller if Bytes is negative;
	// 0 means 1.
	WrongSize FaultKind = "wrong-size"
	// HostileNames lists files whose names lead out of the directory, are empty, or contain control
	// characters; "scp -f" sends them.
	HostileNames FaultKind = "hostile-names"
	// LongNames lists a file with a name of 100,000 bytes; "scp -f" sends a name that never ends.
	LongNames FaultKind = "long-names"
	// EndlessListing lists files without end; "scp -f" sends a directory of empty files without
	// end.
	EndlessListing FaultKind = "endless-listing"

	// IgnoreReboot says that it reboots, and does not.
	IgnoreReboot FaultKind = "ignore-reboot"
	// StayAway never comes back from a reboot.
	StayAway FaultKind = "stay-away"

	// CloseWithoutStatus closes the channel without an exit status.
	CloseWithoutStatus FaultKind = "close-without-status"
	// EOFBeforeStatus sends the end of the output at once and the exit status after Interval.
	EOFBeforeStatus FaultKind = "eof-before-status"
)

// Phase is a point in the life of a connection at which a host stops reading. From HugeWindow to
// FloodSlowly, a request to listen (tcpip-forward) begins PhaseTunnel as well.
type Phase string

// The phases. Not every fault supports all of them: see [ParseFault].
const (
	PhaseVersion Phase = "version" // before the version line
	PhaseKex     Phase = "kex"     // after the version line
	PhaseAuth    Phase = "auth"    // before the first login attempt is answered
	PhaseLogin   Phase = "login"   // after the login
	PhaseOpen    Phase = "open"    // when a channel is opened
	PhaseExec    Phase = "exec"    // when a command is to be started
	PhaseRun     Phase = "run"     // when the command has started; the default
	PhaseFile    Phase = "file"    // when Bytes bytes of files have been read or written
	PhaseTunnel  Phase = "tunnel"  // when a connection through the host has been opened
)

// Fault is what goes wrong with a host. The zero value means nothing. Only one thing goes wrong at
// a time.
type Fault struct {
	Kind FaultKind
	// Interval is the time between two bytes of DripVersion and DripOutput, and before the status
	// of EOFBeforeStatus; 0 means 10 milliseconds. For StopReadingTrickle, HugeWindow, StallRekey
	// and FloodSlowly it is the time between two messages; 0 means 100 milliseconds.
	Interval time.Duration
	// Bytes is a number of bytes. For CutAfter it is the output, stdout and stderr together, after
	// which the connection is cut. For DiskFull, CutUpload and StallFile it is the content of files
	// after which they happen. For WrongSize it is the difference of the size. For a host that
	// stops reading it is how much the host still reads; if it is not 0, the command runs.
	Bytes int
	// Phase is the phase at which a host stops reading; "" means PhaseRun.
	Phase Phase
	// Path is what DenyPath denies; "" means "/".
	Path string
	// Reason is the reason that RefuseOpen gives; 0 means "administratively prohibited".
	Reason ssh.RejectionReason
}

// FaultNames lists the names that [ParseFault] accepts, in the order of the phases of a connection.
func FaultNames() []string {
	kinds := []FaultKind{
		ResetAccept, SilentAccept, GarbageVersion, LongVersion, DripVersion, StallKex, StallAuth, StallPassword, CutPassword,
		StallOpen, RefuseOpen, NoKeepAliveReply,
		RefusePTY, RefuseEnv, RefuseExec, StallExec, NoStartReply, StallAfterStart,
		NeverReadStdin, IgnoreSignals, DripOutput, CutAfter,
		StopReading, StopReadingTrickle, HugeWindow, StallRekey,
		FloodRequests, FloodOpens, FloodPings, FloodConfirmations, FloodChannelRequests, FloodSlowly,
		NoSFTP, NoSCP, NoExtensions, DenyPath, DiskFull, CutUpload, StallFile, WrongSize, HostileNames, LongNames, EndlessListing,
		IgnoreReboot, StayAway, CloseWithoutStatus, EOFBeforeStatus,
	}
	names := make([]string, len(kinds))
	for i, kind := range kinds {
		names[i] = string(kind)
	}
	return names
}

// ParseFault parses the format of [Fault.String]: a name, and for some names "=" and a value, as in
// "cut-after=1000", "drip-output=5ms", "eof-before-status=1s", "refuse-open=4", "disk-full=1000",
// "wrong-size=-1" and "deny-path=/etc". The empty text means NoFault.
//
// For a host that stops reading, the value is the phase, and after a plus sign the number of bytes
// that the host still reads, as in "stop-reading=tunnel+100000". From HugeWindow to FloodSlowly,
// the phase is login, open, exec, run or tunnel, and no number of bytes follows.
func ParseFault(text string) (Fault, error) {
	name, value, hasValue := strings.Cut(text, "=")
	f := Fault{Kind: FaultKind(name)}
	if f.Kind != NoFault && !slices.Contains(FaultNames(), name) {
		if near := nearest.Names(name, FaultNames()); near != nil {
			return Fault{}, fmt.Errorf("fault %q: unknown name; %s", text, nearest.Hint(near))
		}
		return Fault{}, fmt.Errorf("fault %q: unknown name, want one of %s", text, strings.Join(FaultNames(), ", "))
	}
	if !hasValue {
		return f, nil
	}
	var err error
	switch f.Kind {
	case DripVersion, DripOutput, EOFBeforeStatus:
		f.Interval, err = time.ParseDuration(value)
		if err == nil && f.Interval <= 0 {
			err = fmt.Errorf("the duration must be positive")
		}
	case CutAfter, DiskFull, CutUpload, StallFile:
		var n uint64
		n, err = strconv.ParseUint(value, 10, 31)
		f.Bytes = int(n)
	case WrongSize:
		var n int64
		n, err = strconv.ParseInt(value, 10, 32)
		f.Bytes = int(n)
	case DenyPath:
		f.Path = value
	case StopReading, StopReadingTrickle, HugeWindow, StallRekey, FloodRequests, FloodOpens, FloodPings, FloodConfirmations, FloodChannelRequests, FloodSlowly:
		err = f.parsePhase(value)
	case RefuseOpen:
		var n uint64
		n, err = strconv.ParseUint(value, 10, 32)
		f.Reason = ssh.RejectionReason(n)
	default:
		err = fmt.Errorf("%q takes no value", name)
	}
	if err != nil {
		return Fault{}, fmt.Errorf("fault %q: %w", text, err)
	}
	return f, nil
}

// parsePhase parses "PHASE" or "PHASE+BYTES".
func (f *Fault) parsePhase(value string) error {
	name, bytes, hasBytes := strings.Cut(value, "+")
	f.Phase = Phase(name)
	phases := []Phase{PhaseLogin, PhaseOpen, PhaseExec, PhaseRun, PhaseTunnel}
	if f.stopsReading() {
		phases = append(phases, PhaseVersion, PhaseKex, PhaseAuth, PhaseFile)
	}
	if !slices.Contains(phases, f.Phase) {
		return fmt.Errorf("%s has no phase %q", f.Kind, name)
	}
	if !hasBytes {
		return nil
	}
	n, err := strconv.ParseUint(bytes, 10, 31)
	if err == nil && !f.stopsReading() {
		err = fmt.Errorf("%s takes no number of bytes", f.Kind)
	}
	f.Bytes = int(n)
	return err
}

// phase returns the phase at which a host stops reading.
func (f Fault) phase() Phase {
	if f.Phase == "" {
		return PhaseRun
	}
	return f.Phase
}

// String returns the name of the fault, and its value if there is one. [ParseFault] parses it.
func (f Fault) String() string {
	switch {
	case f.Bytes != 0 && slices.Contains([]FaultKind{CutAfter, DiskFull, CutUpload, StallFile, WrongSize}, f.Kind):
		return fmt.Sprintf("%s=%d", f.Kind, f.Bytes)
	case f.stopsReading() && f.Bytes != 0:
		return fmt.Sprintf("%s=%s+%d", f.Kind, f.phase(), f.Bytes)
	case f.Phase != "":
		return fmt.Sprintf("%s=%s", f.Kind, f.Phase)
	case f.Kind == DenyPath && f.Path != "":
		return fmt.Sprintf("%s=%s", f.Kind, f.Path)
	case f.Kind == RefuseOpen && f.Reason != 0:
		return fmt.Sprintf("%s=%d", f.Kind, uint32(f.Reason))
	case f.Interval != 0 && (f.Kind == DripVersion || f.Kind == DripOutput || f.Kind == EOFBeforeStatus):
		return fmt.Sprintf("%s=%s", f.Kind, f.Interval)
	}
	return string(f.Kind)
}

func (f Fault) interval() time.Duration {
	if f.Interval == 0 {
		return 10 * time.Millisecond
	}
	return f.Interval
}

func (f Fault) reason() ssh.RejectionReason {
	if f.Reason == 0 {
		return ssh.Prohibited
	}
	return f.Reason
}
