package results

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// outstandingHosts returns n hosts, some of which are in progress.
func outstandingHosts(n int, work ...fleetssh.Progress) *Outstanding {
	hosts := make([]selection.Host, n)
	for i := range hosts {
		hosts[i].Label = fmt.Sprintf("web%d", i+1)
	}
	o := newOutstanding(hosts)
	o.Working = func() []fleetssh.Progress { return append([]fleetssh.Progress(nil), work...) }
	return o
}

// at returns the progress of a host that entered a phase a number of seconds ago.
func at(host int, phase fleetssh.Phase, attempt, seconds int) fleetssh.Progress {
	since := time.Now().Add(-time.Duration(seconds) * time.Second)
	return fleetssh.Progress{Index: host, Phase: phase, Attempt: attempt, Since: since, Begun: since}
}

func TestStragglers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		o    *Outstanding
		want string
	}{
		{"none in progress", outstandingHosts(3), ""},
		{"one in progress", outstandingHosts(3, at(0, "run", 1, 14)), "web1 running 14s"},
		{"attempts", outstandingHosts(2, at(1, "connect", 2, 3), at(0, "retry", 1, 1)), "web2 connecting, 2nd attempt 3s, web1 waiting to retry after 1st attempt 1s"},
		{"new ones are left out", outstandingHosts(9, at(0, "connect", 1, 0), at(1, "auth", 1, 5)), "web2 logging in 5s"},
		{"the three slowest", outstandingHosts(9, at(0, "run", 1, 3), at(1, "run", 1, 9), at(2, "run", 1, 5), at(3, "run", 1, 7), at(4, "run", 1, 4)), "web[2-4] running 9s, 2 more"},
	} {
		now := test.o.Snapshot()
		if got := now.Stragglers(0); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
	o := outstandingHosts(2, at(0, "run", 1, 14), at(1, "run", 1, 9))
	o.hostFinished(&Result{})
	now := o.Snapshot()
	if got := now.Stragglers(0); got != "web2 running 9s" || now.Total != 2 || now.Done != 1 || now.Failed != 1 || now.Running != 1 {
		t.Errorf("after the first ended: %q, %+v", got, now)
	}
	o = outstandingHosts(9, at(0, "auth", 1, 5), at(1, "run", 1, 4), at(2, "connect", 1, 3))
	now = o.Snapshot()
	for width, want := range map[int]string{
		80: "web1 logging in 5s, web2 running 4s, web3 connecting 3s",
		54: "web1 logging in 5s, web2 running 4s, 1 more",
		42: "web1 logging in 5s, 2 more", 26: "web1 logging in 5s, 2 more", 25: "",
	} {
		if got := now.Stragglers(width); got != want {
			t.Errorf("%d columns: %q, want %q", width, got, want)
		}
	}
}

func TestOutstandingReport(t *testing.T) {
	t.Parallel()
	work := []fleetssh.Progress{at(0, "connect", 2, 3)}
	for i := 1; i < 10; i++ {
		work = append(work, at(i, "run", 1, 10+i))
	}
	o := outstandingHosts(30, work...)
	for i := 10; i < 20; i++ {
		o.hostFinished(&Result{Index: i, OK: true})
	}
	var text bytes.Buffer
	screen := termline.New(&bytes.Buffer{}, &text)
	o.Report(screen)
	want := []string{
		"fleetssh: 10 of 30 hosts done after 0s, 10 in progress",
		"  running for 11s to 19s: web[2-10] (9)",
		"  connecting, 2nd attempt for 3s: web1",
		"  waiting: web[21-30] (10)",
	}
	if got := strings.TrimSpace(text.String()); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

func TestOrdinal(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]string{1: "1st", 2: "2nd", 3: "3rd", 4: "4th", 11: "11th", 12: "12th", 13: "13th", 21: "21st", 112: "112th"} {
		if got := ordinal(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}
