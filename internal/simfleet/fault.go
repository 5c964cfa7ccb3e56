package simfleet

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// FaultKind names one thing that goes wrong with a host.
type FaultKind string

// The faults, in the order of the phases of a connection.
const (
	// NoFault is a host that works.
	NoFault FaultKind = ""

	// ResetAccept resets every connection as soon as it is accepted.
	ResetAccept FaultKind = "reset-accept"
	// SilentAccept accepts the connection and never says anything.
	SilentAccept FaultKind = "silent-accept"
	// GarbageVersion answers as a web server and closes.
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
	// CutPassword resets the connection when a password has come.
	CutPassword FaultKind = "cut-password"

	// StallOpen never answers the opening of a channel.
	StallOpen FaultKind = "stall-open"
	// RefuseOpen refuses the opening of a channel for Reason.
	RefuseOpen FaultKind = "refuse-open"
	// NoKeepAliveReply never answers a global request.
	NoKeepAliveReply FaultKind = "no-keepalive-reply"

	// RefusePTY refuses a pseudo terminal.
	RefusePTY FaultKind = "refuse-pty"
	// RefuseEnv refuses environment variables, as sshd does with those that are not in AcceptEnv.
	RefuseEnv FaultKind = "refuse-env"
	// RefuseExec refuses to start a command, a shell or a subsystem.
	RefuseExec FaultKind = "refuse-exec"
	// StallExec never answers the start of a command and does not start it.
	StallExec FaultKind = "stall-exec"
	// NoStartReply starts what it is asked to, and never answers the request.
	NoStartReply FaultKind = "no-start-reply"
	// StallAfterStart says that the command has started; after that the connection stays open and is dead.
	StallAfterStart FaultKind = "stall-after-start"

	// NeverReadStdin never reads what is sent to the command, so the window is never opened again.
	NeverReadStdin FaultKind = "never-read-stdin"
	// IgnoreSignals says yes to signals and does nothing.
	IgnoreSignals FaultKind = "ignore-signals"
	// DripOutput writes the output one byte per Interval.
	DripOutput FaultKind = "drip-output"
	// CutAfter resets the connection after Bytes bytes of output.
	CutAfter FaultKind = "cut-after"

	// StopReading reads nothing more from Phase on, and says nothing.
	StopReading FaultKind = "stop-reading"
	// StopReadingTrickle reads nothing more from Phase on, and sends a little once per Interval.
	StopReadingTrickle FaultKind = "stop-reading-trickle"

	// HugeWindow and those that follow let everybody log in. They open every channel with the largest window and say
	// that every command has started; from Phase on they read nothing more. HugeWindow sends SSH_MSG_IGNORE once per
	// Interval.
	HugeWindow FaultKind = "huge-window"
	// StallRekey begins to exchange keys and does not go on.
	StallRekey FaultKind = "stall-rekey"
	// FloodRequests sends global requests without end.
	FloodRequests FaultKind = "flood-requests"
	// FloodOpens opens channels without end.
	FloodOpens FaultKind = "flood-opens"
	// FloodPings sends SSH_MSG_PING (OpenSSH's PROTOCOL) without end.
	FloodPings FaultKind = "flood-pings"
	// FloodConfirmations confirms the first channel without end.
	FloodConfirmations FaultKind = "flood-confirmations"
	// FloodChannelRequests makes requests on the first channel without end.
	FloodChannelRequests FaultKind = "flood-channel-requests"
	// FloodSlowly makes a few of them a second, so that no answer of the client stands still.
	FloodSlowly FaultKind = "flood-slowly"

	// NoSFTP has no subsystem "sftp".
	NoSFTP FaultKind = "no-sftp"
	// NoSCP has no program scp.
	NoSCP FaultKind = "no-scp"
	// NoExtensions speaks SFTP without any extension, and refuses posix-rename.
	NoExtensions FaultKind = "no-extensions"
	// DenyPath denies everything at and below Path.
	DenyPath FaultKind = "deny-path"
	// DiskFull lets the disk be full when Bytes bytes have been written to files, counted for the connection.
	DiskFull FaultKind = "disk-full"
	// CutUpload resets the connection when Bytes bytes have been written to files.
	CutUpload FaultKind = "cut-upload"
	// StallFile answers nothing any more, on the whole connection, when Bytes bytes have been read from or written to files.
	StallFile FaultKind = "stall-file"
	// WrongSize says that files have Bytes bytes more than they have; less if that is negative, and 0 means one more.
	WrongSize FaultKind = "wrong-size"
	// HostileNames lists files whose names lead out of the directory, are empty, or mean something to a terminal; an
	// "scp -f" sends them.
	HostileNames FaultKind = "hostile-names"
	// LongNames lists a file with a name of 100,000 bytes; an "scp -f" sends a name that never ends.
	LongNames FaultKind = "long-names"
	// EndlessListing lists files without end; an "scp -f" sends a directory with empty files without end.
	EndlessListing FaultKind = "endless-listing"

	// CloseWithoutStatus closes the channel without an exit status.
	CloseWithoutStatus FaultKind = "close-without-status"
	// EOFBeforeStatus sends the end of the output at once and the exit status after Interval.
	EOFBeforeStatus FaultKind = "eof-before-status"
)

// Phase is a point in the life of a connection at which a host stops reading. The hosts of HugeWindow and the faults
// behind it take a request to listen (tcpip-forward) for a tunnel.
type Phase string

// The phases. Not all faults know all of them: see [ParseFault].
const (
	PhaseVersion Phase = "version" // before the version line
	PhaseKex     Phase = "kex"     // after it
	PhaseAuth    Phase = "auth"    // before the first login attempt is answered
	PhaseLogin   Phase = "login"   // after the login
	PhaseOpen    Phase = "open"    // when a channel is opened
	PhaseExec    Phase = "exec"    // when a command is to be started
	PhaseRun     Phase = "run"     // when it has been; the default
	PhaseFile    Phase = "file"    // when Bytes bytes of files have been read or written
	PhaseTunnel  Phase = "tunnel"  // when a connection through the host is there
)

// Fault is what goes wrong with a host. The zero value is nothing. Only one thing goes wrong at a time.
type Fault struct {
	Kind FaultKind
	// Interval is between two bytes of DripVersion and DripOutput, and before the status of EOFBeforeStatus; 0 means
	// 10 milliseconds. Of StopReadingTrickle, HugeWindow and StallRekey it is between two messages; 0 means 100.
	Interval time.Duration
	// Bytes is after how many bytes of output CutAfter cuts, where stdout and stderr count; after how many bytes of files
	// DiskFull, CutUpload and StallFile happen; by how many WrongSize lies; and how many bytes a host that stops reading
	// still reads: then its command runs.
	Bytes int
	// Phase is when a host stops reading; "" means PhaseRun.
	Phase Phase
	// Path is what DenyPath denies; "" means "/".
	Path string
	// Reason is the reason of RefuseOpen; 0 means "administratively prohibited".
	Reason ssh.RejectionReason
}

// FaultNames lists the names that [ParseFault] knows, in the order of the phases of a connection.
func FaultNames() []string {
	kinds := []FaultKind{
		ResetAccept, SilentAccept, GarbageVersion, LongVersion, DripVersion, StallKex, StallAuth, StallPassword, CutPassword,
		StallOpen, RefuseOpen, NoKeepAliveReply,
		RefusePTY, RefuseEnv, RefuseExec, StallExec, NoStartReply, StallAfterStart,
		NeverReadStdin, IgnoreSignals, DripOutput, CutAfter,
		StopReading, StopReadingTrickle, HugeWindow, StallRekey,
		FloodRequests, FloodOpens, FloodPings, FloodConfirmations, FloodChannelRequests, FloodSlowly,
		NoSFTP, NoSCP, NoExtensions, DenyPath, DiskFull, CutUpload, StallFile, WrongSize, HostileNames, LongNames, EndlessListing,
		CloseWithoutStatus, EOFBeforeStatus,
	}
	names := make([]string, len(kinds))
	for i, kind := range kinds {
		names[i] = string(kind)
	}
	return names
}

// ParseFault reads what [Fault.String] writes: a name, and for some names "=" and a value, as in "cut-after=1000",
// "drip-output=5ms", "eof-before-status=1s", "refuse-open=4", "disk-full=1000", "wrong-size=-1" and "deny-path=/etc". The empty text is no fault.
// For the faults of hosts that stop reading it is the phase, and behind a plus sign how many bytes are still read, as in
// "stop-reading=tunnel+100000"; those that x/crypto cannot do, from HugeWindow on, know the phases login, open, exec, run
// and tunnel, and no bytes.
func ParseFault(text string) (Fault, error) {
	name, value, hasValue := strings.Cut(text, "=")
	f := Fault{Kind: FaultKind(name)}
	if f.Kind != NoFault && !slices.Contains(FaultNames(), name) {
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
			err = fmt.Errorf("the time must be more than zero")
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

// parsePhase reads when a host stops reading.
func (f *Fault) parsePhase(value string) error {
	name, bytes, hasBytes := strings.Cut(value, "+")
	f.Phase = Phase(name)
	phases := []Phase{PhaseLogin, PhaseOpen, PhaseExec, PhaseRun, PhaseTunnel}
	if f.stopsReading() {
		phases = append(phases, PhaseVersion, PhaseKex, PhaseAuth, PhaseFile)
	}
	if !slices.Contains(phases, f.Phase) {
		return fmt.Errorf("no such phase of it: %q", name)
	}
	if !hasBytes {
		return nil
	}
	n, err := strconv.ParseUint(bytes, 10, 31)
	if err == nil && !f.stopsReading() {
		err = fmt.Errorf("it takes no number of bytes")
	}
	f.Bytes = int(n)
	return err
}

// phase is when a host stops reading.
func (f Fault) phase() Phase {
	if f.Phase == "" {
		return PhaseRun
	}
	return f.Phase
}

// String is the name of the fault and its value, if it has one. [ParseFault] reads it.
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
