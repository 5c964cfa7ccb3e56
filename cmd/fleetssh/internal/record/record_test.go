package record

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/journal"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/hostset"
)

// A recorded target has the user and the port of the host unless options set them, and -w accepts
// it.
func TestTargets(t *testing.T) {
	t.Parallel()
	f := &Flags{login: "deploy", port: "2222"}
	for target, e := range map[string]selection.Host{
		"web1":                    {Name: "web1", Config: fleetssh.HostConfig{User: "deploy", Port: 2222}},
		"alice@web1":              {Name: "web1", Config: fleetssh.HostConfig{User: "alice", Port: 2222}},
		"deploy2@web1:22":         {Name: "web1", Config: fleetssh.HostConfig{User: "deploy2", Port: 22}},
		"[2001:db8::1]":           {Name: "2001:db8::1", Config: fleetssh.HostConfig{User: "deploy"}},
		"alice@[2001:db8::1]:222": {Name: "2001:db8::1", Config: fleetssh.HostConfig{User: "alice", Port: 222}},
	} {
		h := f.host(&e)
		got := TargetOf(&h)
		if got != target {
			t.Errorf("%s, want %s", got, target)
		}
		if set, err := hostset.Parse(hostset.Of(got).String(), nil); err != nil || !slices.Equal(set.Names(), []string{target}) {
			t.Errorf("%s: %v %v", target, set, err)
		}
	}
}

// A recorded result is read back as it was in the run.
func TestRecordedResults(t *testing.T) {
	t.Parallel()
	for kind := fleetssh.Exited; kind <= fleetssh.Skipped; kind++ {
		r := results.Result{
			Index: 3, Message: "in full", Truncated: true, After: time.Second,
			Outcome: fleetssh.Outcome{Kind: kind, Signal: "KILL", Phase: "auth", Stopped: true},
			Timing:  fleetssh.Timing{Connect: 1500 * time.Microsecond, Run: time.Second, Attempts: 2},
			Problem: results.Problem{Kind: "authentication", Phase: "auth", Reason: "refused", Detail: []string{"a", "b"}, Hint: "ssh-add", Tries: 2},
		}
		r.OK = r.Outcome == fleetssh.Outcome{Kind: fleetssh.Exited}
		begun := time.Now()
		h := journal.HostRun{Index: 3, Ended: begun.Add(time.Second), Result: journalResult(&r)}
		h.Result.ExitCode = 0
		if kind == fleetssh.Exited {
			r.OK = true // a record counts exit code 0 as success, and ignores the other fields
		}
		if got := resultOf(&h, begun); !reflect.DeepEqual(got, r) {
			t.Errorf("%v:\n got %+v\nwant %+v", kind, got, r)
		}
	}
}
