package journal

import "time"

// Start is what is known of a run before it begins.
type Start struct {
	Time    time.Time
	Command string   // as the user gave it
	Args    []string // the options that count when the run is repeated, without secrets
	Hosts   []Host   // in the order of the run
	Program Program

	Settings Settings // where values of Args that are not kept stand

	// Verb is what was done, empty for running a command. Then Words, if not nil, are what
	// repeats it, without options and hosts.
	Verb  string
	Words []string
}

// Program is what ran instead of a command line; its zero value is that none did. Command
// only names it then.
type Program struct {
	Script     string   `json:"script,omitempty"` // the SHA-256 of a local file, in hexadecimal
	ScriptArgs [][]byte `json:"script_args,omitempty"`
	LoginShell bool     `json:"login_shell,omitempty"`
}

// Settings is a file of settings of the user that some options came from.
type Settings struct {
	File  string   `json:"file,omitempty"`
	Flags []string `json:"flags,omitempty"` // their long names
}

// Host is one host of a run, as the user named it.
type Host struct {
	Name  string `json:"name"`
	User  string `json:"user,omitempty"`  // empty where the options of the run say it
	Port  int    `json:"port,omitempty"`  // 0 where they say it
	Label string `json:"label,omitempty"` // in output; empty if it is the name
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

// Failure is what went wrong on a host. Of each text 4 KiB are kept.
type Failure struct {
	Kind    string   `json:"kind,omitempty"`
	Phase   string   `json:"phase,omitempty"`
	Message string   `json:"message,omitempty"` // in full
	Reason  string   `json:"reason,omitempty"`  // the same without the host
	Detail  []string `json:"detail,omitempty"`
	Hint    string   `json:"hint,omitempty"`
}

// The outcomes that a journal has besides those of the library.
const (
	Unknown = "unknown" // it began, and nobody knows how it ended: it may have run
	Running = "running" // it has begun, in a run that is under way
	Waiting = "waiting" // it has not begun, in a run that is under way
)

// OK reports whether the command ran and exited 0.
func (r *Result) OK() bool { return r.Outcome == "exited" && r.ExitCode == 0 }

// Uncertain reports whether the command may have had an effect that nobody has confirmed, or
// may run still: such a host is not worked on again unasked.
func (r *Result) Uncertain() bool {
	switch r.Outcome {
	case "exited", "signaled", "unreachable", "not_started", "skipped", Waiting:
		return false
	case "timed_out":
		return !r.Stopped
	case "cancelled":
		return !r.Stopped && r.Phase == ""
	}
	return true // lost, unknown, running, and what newer programs write
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
	// hostsLine names a part of the hosts: all of them may be too long for a line.
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
	summaryLine struct {
		head
		Summary
	}
)

// hostsPerLine keeps a line of hosts below maxLine.
const hostsPerLine = 400
