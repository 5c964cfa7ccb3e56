package simfleet

import (
	"maps"
	"slices"
	"sync"
)

// maxRecorded limits each list in [Stats]. Later entries are dropped.
const maxRecorded = 1000

// Stats is what happened to a host since it started.
type Stats struct {
	Connections  int            // TCP connections accepted
	Open         int            // connections open now
	PeakOpen     int            // the most that were open at once
	Logins       int            // connections that logged in
	Dropped      int            // connections closed because of MaxStartups
	TurnedAway   int            // connections reset while the host was away
	Reboots      int            // how often the host came back from a reboot
	AuthFailures map[string]int // failed login attempts by method, "none" not counted
	SudoFailures int            // wrong passwords given to sudo
	Sessions     int            // session channels opened
	Tunnels      int            // direct-tcpip channels opened
	Started      int            // commands, shells and subsystems started
	GlobalReqs   int            // global requests, such as keep-alives
	Commands     []string       // the first 1,000 command lines
	Env          []string       // the first 1,000 variables received, as "NAME=value"
	Signals      []string       // the first 1,000 signals received
}

// stats counts into a Stats.
type stats struct {
	mu sync.Mutex
	// mu protects
	counts Stats
}

func (st *stats) snapshot() Stats {
	st.mu.Lock()
	defer st.mu.Unlock()
	s := st.counts
	s.AuthFailures = maps.Clone(s.AuthFailures)
	s.Commands = slices.Clone(s.Commands)
	s.Env = slices.Clone(s.Env)
	s.Signals = slices.Clone(s.Signals)
	return s
}

// change calls f with the counts, under the lock. f must not block.
func (st *stats) change(f func(*Stats)) {
	st.mu.Lock()
	defer st.mu.Unlock()
	f(&st.counts)
}

// opened counts a connection and returns how many there were before it.
func (st *stats) opened() int {
	st.mu.Lock()
	defer st.mu.Unlock()
	before := st.counts.Connections
	st.counts.Connections++
	st.counts.Open++
	st.counts.PeakOpen = max(st.counts.PeakOpen, st.counts.Open)
	return before
}

func (st *stats) authFailure(method string) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.counts.AuthFailures == nil {
		st.counts.AuthFailures = make(map[string]int)
	}
	// The name comes from the client, so the number of names must be limited too.
	if _, known := st.counts.AuthFailures[method]; known || len(st.counts.AuthFailures) < maxRecorded {
		st.counts.AuthFailures[method]++
	}
}

// record appends text to a list of the counts unless the list is full.
func record(list *[]string, text string) {
	if len(*list) < maxRecorded {
		*list = append(*list, text)
	}
}
