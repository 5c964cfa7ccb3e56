//go:build unix

package journal

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestMain is also the main function of the processes that these tests start. The variable
// JOURNAL_TEST names the directory, the task, and the number of hosts.
func TestMain(m *testing.M) {
	task := strings.Split(os.Getenv("JOURNAL_TEST"), "|")
	if len(task) < 3 {
		os.Exit(m.Run())
	}
	hosts, _ := strconv.Atoi(task[2])
	if err := runTask(task[0], task[1], hosts); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func runTask(dir, task string, hosts int) error {
	switch task {
	case "hang": // starts hosts, prints the index of each, and waits until it is killed
		w, err := Create(dir, startOf(hosts))
		if err != nil {
			return err
		}
		for i := range hosts {
			if err := w.HostStarted(i); err != nil {
				return err
			}
			if i%2 == 0 {
				if err := w.HostFinished(i, Result{Outcome: "exited"}); err != nil {
					return err
				}
			}
			fmt.Println(i)
		}
		<-time.After(time.Hour) // with no timer the runtime would see a deadlock
		return w.Close(Summary{})
	case "full": // records a run with room for hosts KiB a file
		signal.Ignore(syscall.SIGXFSZ)
		var limit syscall.Rlimit // its fields have other types on FreeBSD
		if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
			return err
		}
		limit.Cur, limit.Max = 0, 0
		for range hosts {
			limit.Cur += 1 << 10
			limit.Max += 1 << 10
		}
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
			return err
		}
		w, err := Create(dir, startOf(fullHosts))
		if err != nil {
			return err
		}
		text := strings.Repeat("x", 1000)
		for i := range fullHosts {
			fmt.Println(w.HostStarted(i), w.Output(i, "stdout", text, false), w.HostFinished(i, Result{Outcome: "exited"}))
		}
		fmt.Println(w.Close(Summary{}))
	case "run": // records a complete run from four goroutines
		w, err := Create(dir, startOf(hosts))
		if err != nil {
			return err
		}
		var wg sync.WaitGroup
		for g := range 4 {
			wg.Go(func() {
				for i := g; i < hosts; i += 4 {
					w.HostStarted(i)
					w.Output(i, "stdout", fmt.Sprint("output of ", i), false)
					w.HostFinished(i, Result{Outcome: "exited"})
				}
			})
		}
		wg.Wait()
		return w.Close(Summary{Hosts: hosts, OK: hosts})
	}
	return nil
}

// process returns a process of this program with a task.
func process(t *testing.T, dir, task string, hosts int) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	check(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), fmt.Sprintf("JOURNAL_TEST=%s|%s|%d", dir, task, hosts), "GORACE=atexit_sleep_ms=0")
	return cmd
}

// The journal of a killed process has every event up to the last index that the process printed.
func TestKilled(t *testing.T) {
	t.Parallel()
	for _, after := range []int{0, 1, 70, 2999} {
		dir := t.TempDir()
		cmd := process(t, dir, "hang", 3000)
		out, err := cmd.StdoutPipe()
		check(t, err)
		check(t, cmd.Start())
		lines := bufio.NewScanner(out)
		for lines.Scan() && lines.Text() != strconv.Itoa(after) {
		}
		if run := open(t, dir, "last"); run.State != UnderWay || run.Hosts[0].Result.Outcome != "exited" {
			t.Errorf("after %d, before the kill: %s %s", after, run.State, run.Hosts[0].Result.Outcome)
		}
		check(t, cmd.Process.Kill())
		cmd.Wait()
		run := open(t, dir, "last")
		if run.State != Interrupted || run.Partial || len(run.Hosts) != 3000 {
			t.Errorf("after %d: %+v", after, run.Info)
		}
		for i := range after + 1 {
			want := "exited"
			if i%2 == 1 {
				want = Unknown
			}
			if got := run.Hosts[i].Result.Outcome; got != want {
				t.Errorf("after %d: host %d is %s, want %s", after, i, got, want)
			}
		}
		skipped, err := run.Select("skipped")
		check(t, err)
		for _, h := range skipped {
			if h.Index <= after || !h.Began.IsZero() {
				t.Errorf("after %d: host %d is selected as skipped", after, h.Index)
			}
		}
	}
}

const fullHosts = 100

// A full disk ends the record, and then no host counts as skipped. If only the output does not fit,
// the record continues.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		room      int // KiB
		whole     bool
		wantError string
	}{
		{8, false, "record of the run: file too large"},
		{40, true, "record of the output: file too large"},
	} {
		dir := t.TempDir()
		out, err := process(t, dir, "full", test.room).Output()
		check(t, err)
		if !strings.Contains(string(out), test.wantError) {
			t.Errorf("%d KiB: %s", test.room, out)
		}
		run := open(t, dir, "last")
		if run.Partial == test.whole || (run.State == Ended) != test.whole || slices.Contains(outcomes(run), "skipped") {
			t.Errorf("%d KiB: %+v %v", test.room, run.Info, outcomes(run))
		}
		if first, last := run.Hosts[0].Result, run.Hosts[fullHosts-1].Result; first.Cut || test.whole && !last.Cut {
			t.Errorf("%d KiB: %+v %+v", test.room, first, last)
		}
		if list, err := List(dir); err != nil || len(list) != 1 || list[0].Partial == test.whole {
			t.Errorf("%d KiB: %+v %v", test.room, list, err)
		}
	}
}

// Many processes write to the same directory at once.
func TestProcesses(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "runs")
	var running []*exec.Cmd
	for range 6 {
		cmd := process(t, dir, "run", 500)
		check(t, cmd.Start())
		running = append(running, cmd)
	}
	for _, cmd := range running {
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
	runs, err := List(dir)
	check(t, err)
	if len(runs) != len(running) {
		t.Fatalf("%d runs", len(runs))
	}
	for _, info := range runs {
		run := open(t, dir, info.ID)
		if run.State != Ended || run.Partial || run.OK != 500 {
			t.Errorf("%+v", run.Info)
		}
		lines := 0
		for line, err := range run.Output() {
			check(t, err)
			if line.Text != fmt.Sprint("output of ", line.Index) {
				t.Errorf("%+v", line)
			}
			lines++
		}
		if lines != 500 {
			t.Errorf("%d lines", lines)
		}
	}
}
