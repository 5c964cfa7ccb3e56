package journal

import "time"

// Start describes a run before it starts.
type Start struct {
	Time    time.Time
	Command string   // as the user gave it
	Args    []string // the options that repeat the run, without secrets
	Hosts   []Host   // in the order of the run
	Program Program

	Settings Settings // where the hidden values of Args come from

	// Verb is empty for a command. Otherwise Words, if not nil, are the arguments that repeat the
	// run, without options and hosts.
	Verb  string
	Words []string
}

// Program is the script or login shell that ran. It is zero for a command line; otherwise
// Command is only its title.
type Program struct {
	Script     string   `json:"script,omitempty"` // the SHA-256 of a local file, in hexadecimal
	ScriptArgs [][]byte `json:"script_args,omitempty"`
	LoginShell bool     `json:"login_shell,omitempty"`
}

// Settings names the settings file of the user that some options came from.
type Settings struct {
	File  string   `json:"file,omitempty"`
	Flags []string `json:"flags,omitempty"` // their long names
}

// Host is one host of a run, as the user named it.
type Host struct {
	Name  string `json:"name"`
	User  string `json:"user,omitempty"`  // empty: as in the options of the run
	Port  int    `json:"port,omitempty"`  // 0: as in the options of the run
	Label string `json:"label,omitempty"` // in output; empty: the same as Name
}

// Result is how the work on a host ended.
type Result struct {
	Outcome   string   `json:"outcome"` // as in --format json; see also [Unknown]
	ExitCode  int      `json:"exit_code,omitempty"`
	Signal    string   `json:"signal,omitempty"`
	Phase     string   `json:"phase,omitempty"`   // how far it came
	Stopped   bool     `json:"stopped,omitempty"` // the host has confirmed that the command ended
	Error     *Failure `json:"error,omitempty"`
	Attempts  int      `json:"attempts,omitempty"`
	ConnectMS float64  `json:"connect_ms,omitempty"`
	RunMS     float64  `json:"run_ms,omitempty"`
	Cut       bool     `json:"output_cut,omitempty"` // not all of the output was kept
}

// Failure is what went wrong on a host. Each text is cut to 4 KiB.
type Failure struct {
	Kind    string   `json:"kind,omitempty"`
	Phase   string   `json:"phase,omitempty"`
	Message string   `json:"message,omitempty"` // in full
	Reason  string   `json:"reason,omitempty"`  // the message without the host
	Detail  []string `json:"detail,omitempty"`
	Hint    string   `json:"hint,omitempty"`
}

// Outcomes of a journal that the library does not have.
const (
	Unknown = "unknown" // it started and has no result: it may have run
	Running = "running" // it has started, in a run in progress
	Waiting = "waiting" // it has not started, in a run in progress
)

// OK reports whether the command ran and exited 0.
func (r *Result) OK() bool { return r.Outcome == "exited" && r.ExitCode == 0 }

// Uncertain reports whether the command may have run, or may still run, without a confirmed
// outcome. Such a host is not rerun by default.
func (r *Result) Uncertain() bool {
	switch r.Outcome {
	case "exited", "signaled", "unreachable", "not_started", "skipped", Waiting:
		return false
	case "timed_out":
		return !r.Stopped
	case "cancelled":
		return !r.Stopped && r.Phase == ""
	}
	return true // lost, unknown, running, and outcomes of newer programs
}

// Summary is how a run ended.
type Summary struct {
	Hosts       int            `json:"hosts"`
	Outcomes    map[string]int `json:"outcomes,omitempty"`
	OK          int            `json:"ok"`
	Failed      int            `json:"failed"`
	ElapsedMS   float64        `json:"elapsed_ms"`
	ExitCode    int            `json:"exit_code"`
	Interrupted bool           `json:"interrupted,omitempty"` // the user ended it
}

// The lines of a journal. Each has a type and a time.
type (
	head struct {
		Type string    `json:"type"`
		Time time.Time `json:"time"`
	}
	startLine struct {
		head
		Version int      `json:"version"`
		Run     string   `json:"run"`
		Boot    string   `json:"boot,omitempty"`
		Command string   `json:"command"`
		Args    []string `json:"args,omitempty"`
		Verb    string   `json:"verb,omitempty"`
		Words   []string `json:"words,omitempty"`
		Hosts   int      `json:"hosts"`

		Settings Settings `json:"settings,omitzero"`
		Program
	}
	// hostsLine lists a part of the hosts: all of them may be too long for a line.
	hostsLine struct {
		head
		First int    `json:"first"` // index of the first
		List  []Host `json:"list"`
	}
	beginLine struct {
		head
		Index int `json:"index"`
	}
	resultLine struct {
		head
		Index int `json:"index"`
		Result
	}
	// blockLine lists a part of the hosts of a block, as ranges of indexes: first and last.
	blockLine struct {
		head
		Number int      `json:"number"`
		Hosts  [][2]int `json:"hosts"`
	}
	summaryLine struct {
		head
		Summary
	}
)

// hostsPerLine keeps a line of hosts below maxLine.
const hostsPerLine = 400

// rangesPerLine keeps a line of a block below maxLine.
const rangesPerLine = 10_000

// Ranges returns numbers, which are in order, as ranges: first and last.
func Ranges(numbers []int) [][2]int {
	var ranges [][2]int
	for _, n := range numbers {
		if last := len(ranges) - 1; last >= 0 && ranges[last][1] == n-1 {
			ranges[last][1] = n
		} else {
			ranges = append(ranges, [2]int{n, n})
		}
	}
	return ranges
}
