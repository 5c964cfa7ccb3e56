package fleetssh

// Phase is a step of the work on one host: the current one in [Progress], the last one in
// [Outcome], and in errors the step that failed. The values are stable; JSON output and records
// contain them unchanged.
type Phase string

// The phases of connecting, in order. Errors of connecting have no other phases.
const (
	PhaseConfig    Phase = "config"    // reading the configuration of the host: nothing was contacted
	PhaseProxy     Phase = "proxy"     // connecting to a hop or a proxy, or waiting for it
	PhaseResolve   Phase = "resolve"   // resolving the name
	PhaseConnect   Phase = "connect"   // connecting to an address
	PhaseHandshake Phase = "handshake" // version exchange and key exchange (RFC 4253)
	PhaseHostKey   Phase = "host_key"  // verifying the host key
	PhaseAuth      Phase = "auth"      // logging in (RFC 4252)
)

// The phases of a session: a command, a shell, a subsystem or a copy.
const (
	PhaseOpen      Phase = "open"      // opening the session (RFC 4254, section 6.1)
	PhasePTY       Phase = "pty"       // requesting a terminal
	PhaseExec      Phase = "exec"      // requesting the start of a command
	PhaseShell     Phase = "shell"     // requesting the start of a shell
	PhaseSubsystem Phase = "subsystem" // requesting the start of a subsystem
	PhaseSFTP      Phase = "sftp"      // speaking SFTP: the host has not answered as an SFTP server
	PhaseSudo      Phase = "sudo"      // waiting for sudo to start the command
	PhaseStdin     Phase = "stdin"     // reading or sending standard input
	PhaseOutput    Phase = "output"    // keeping output until it is read
	PhaseRead      Phase = "read"      // waiting for output, for [Command.ReadTimeout]
	PhaseRun       Phase = "run"       // running the command
	PhaseSignal    Phase = "signal"    // sending a signal, or stopping the command
	PhaseWait      Phase = "wait"      // the caller waiting for the command, which continues to run
	PhaseCopy      Phase = "copy"      // copying files
)

// The phases of tunnels.
const (
	PhaseForward Phase = "forward" // opening a connection through the host, or keeping one open
	PhaseListen  Phase = "listen"  // opening a listener on the host
)

// Phases of [Progress] alone.
const (
	PhaseRetry    Phase = "retry"    // the pause before the next attempt to connect
	PhasePassword Phase = "password" // waiting until another host has accepted the shared password
	PhaseConfirm  Phase = "confirm"  // waiting until HostConfig.ConfirmHostKey has decided about the host key
	PhaseStart    Phase = "start"    // opening a session and starting the command in it
	PhaseScan     Phase = "scan"     // [ParallelClient.ScanHostKeys] asking for host keys
)

// phaseTexts are the texts of phases in errors; the name of the host follows. All other phases
// stand for themselves.
var phaseTexts = map[Phase]string{
	PhaseHandshake: "exchange keys with",
	PhaseHostKey:   "check the host key of",
	PhaseAuth:      "log in to",
	PhaseOpen:      "open a session on",
	PhasePTY:       "request a terminal on",
	PhaseExec:      "start the command on",
	PhaseShell:     "start a shell on",
	PhaseSubsystem: "start the subsystem on",
	PhaseProxy:     "wait for the hop to",
	PhaseListen:    "open a listener on",
	PhaseForward:   "forward a connection on",
	PhaseRun:       "command on",
	PhaseWait:      "command on",
	PhaseRead:      "read output of",
	PhaseStdin:     "write standard input of",
	PhaseOutput:    "keep the output of",
}

// text returns the text of the phase in an error.
func (p Phase) text() string {
	if text, ok := phaseTexts[p]; ok {
		return text
	}
	return string(p)
}

// CopyOp is the operation on a file that failed: see [CopyError].
type CopyOp string

// The steps of copying a file.
const (
	OpOpen    CopyOp = "open"      // opening the source, or examining the destination
	OpList    CopyOp = "list"      // listing a directory, or matching a pattern
	OpRead    CopyOp = "read"      // reading the source
	OpCreate  CopyOp = "create"    // creating the temporary file, or a directory
	OpWrite   CopyOp = "write"     // writing the temporary file
	OpLink    CopyOp = "link"      // creating a symbolic link
	OpVerify  CopyOp = "verify"    // comparing checksums
	OpRename  CopyOp = "rename to" // renaming the temporary file to its final name
	OpRemove  CopyOp = "remove"    // removing a file that the source does not have
	OpCopy    CopyOp = "copy"      // copying from this path as a whole: a name clash, an error of SCP
	OpInstall CopyOp = "install"   // giving a file its owner, mode and name, see [Install]
	OpCopyTo  CopyOp = "copy to"   // copying to this path as a whole
)
