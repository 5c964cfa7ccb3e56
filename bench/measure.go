//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// childLimit limits the duration of every child process.
const childLimit = 10 * time.Minute

// job is the work of a child process that is the bare loop or fleetssh.
type job struct {
	Client     string // "bare", "bare lines", or a way to use fleetssh: see ourClient
	Task       string // "hosts", "idle", "commands" or "upload"
	Hosts      []string
	Hop        string // the hop for all hosts; "" means none
	Port       int
	User       string
	KeyFile    string
	KnownHosts string
	Pool       int
	Line       string        // the command line; for "upload", the file
	Dest       string        // for "upload", the directory to write to
	Repeat     int           // for "commands", the commands on each connection
	Hold       time.Duration // for "idle", how long to hold the connections
	Limit      int64         // for debug.SetMemoryLimit, as the command sets it; 0 means none
	CPUProfile string        // the file to write it to; "" means none
	MemProfile string        // likewise
}

// report is what a child process reports about itself.
type report struct {
	OK    int           // commands with exit code 0
	Bytes int64         // of output
	CPU   time.Duration // user and system time of the phase that the task measures
	Wall  time.Duration // wall time of the same phase
	RSS   int64         // resident memory for each idle connection, in bytes
	Stack int64         // stack memory for each idle connection
	Heap  int64         // heap memory for each idle connection
	Idle  float64       // cores used by all idle connections
	Peak  int64         // VmHWM in bytes
	Note  string        // the first error
}

// result is a report, and the kernel's accounting for the whole process.
type result struct {
	report
	Total time.Duration // user and system time, of the child and its children
	Spent time.Duration // wall time, of the whole process
}

// spawn runs a child process until it ends. If ctx ends first, spawn kills the whole process group.
func spawn(ctx context.Context, env []string, name string, args ...string) (*result, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, childLimit)
	defer cancel()
	var out, errOut bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	begun := time.Now()
	err := cmd.Run()
	if ctx.Err() != nil {
		return nil, nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w: %s", name, err, firstLine(errOut.String()))
	}
	r := &result{Total: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), Spent: time.Since(begun)}
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		r.Peak = usage.Maxrss << 10
	}
	return r, out.Bytes(), nil
}

// spawnJob runs j in a new child process.
func spawnJob(ctx context.Context, dir string, j *job) (*result, error) {
	file, err := os.CreateTemp(dir, "job-*.json")
	if err != nil {
		return nil, err
	}
	err = errors.Join(json.NewEncoder(file).Encode(j), file.Close())
	if err != nil {
		return nil, err
	}
	r, out, err := spawn(ctx, nil, selfPath, "-role", "client", "-job", file.Name())
	if err != nil {
		return nil, err
	}
	peak := r.Peak
	if err := json.Unmarshal(out, &r.report); err != nil {
		return nil, fmt.Errorf("report of %s: %w", j.Client, err)
	}
	if r.Peak == 0 {
		r.Peak = peak
	}
	return r, nil
}

// selfPath is this program, to be started in another role.
const selfPath = "/proc/self/exe"

// runJob is the main function of a child process that is a client.
func runJob(ctx context.Context, path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	j := new(job)
	if err := json.Unmarshal(data, j); err != nil {
		return err
	}
	if j.MemProfile != "" {
		runtime.MemProfileRate = 4 << 10
	}
	if j.CPUProfile != "" {
		f, err := os.Create(j.CPUProfile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	if j.Limit > 0 {
		debug.SetMemoryLimit(j.Limit)
	}
	r := new(report)
	if j.Client == "bare" || j.Client == bareLines {
		err = runBare(j, r)
	} else {
		err = runOurs(ctx, j, r)
	}
	if err != nil {
		return err
	}
	if j.MemProfile != "" {
		if err := writeMemProfile(j.MemProfile); err != nil {
			return err
		}
	}
	r.Peak = status("VmHWM")
	return json.NewEncoder(os.Stdout).Encode(r)
}

// writeMemProfile writes a heap profile.
func writeMemProfile(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(pprof.Lookup("heap").WriteTo(f, 0), f.Close())
}

// phase measures a part of this process's run.
type phase struct {
	wall time.Time
	cpu  time.Duration
}

func beginPhase() phase { return phase{time.Now(), cpuTime()} }

// end records the phase in r.
func (p phase) end(r *report) {
	r.Wall, r.CPU = time.Since(p.wall), cpuTime()-p.cpu
}

// cores returns how many cores the phase has used so far, on average.
func (p phase) cores() float64 {
	return float64(cpuTime()-p.cpu) / float64(time.Since(p.wall))
}

// cpuTime returns the CPU time of this process, user and system.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// status returns a field of /proc/self/status in bytes, or 0 if the field is missing.
func status(name string) int64 {
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			kib, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kib << 10
		}
	}
	return 0
}

// counter counts the bytes written to it and discards them.
type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}

var _ io.Writer = (*counter)(nil)

// median returns the median of a figure of the results: the mean of the middle two if their number
// is even.
func median(results []*result, of func(*result) float64) float64 {
	var all []float64
	for _, r := range results {
		all = append(all, of(r))
	}
	return middle(all)
}

func middle(all []float64) float64 {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	n := len(all)
	return (all[n/2] + all[(n-1)/2]) / 2
}

// ratio returns the median of the ratios of results to base, each within the same round.
func ratio(results, base []*result, of func(*result) float64) float64 {
	var all []float64
	for i := range min(len(results), len(base)) {
		if b := of(base[i]); b > 0 {
			all = append(all, of(results[i])/b)
		}
	}
	return middle(all)
}

func totalCPU(r *result) float64 { return r.Total.Seconds() }
func phaseCPU(r *result) float64 { return r.CPU.Seconds() }
func wall(r *result) float64     { return r.Wall.Seconds() }
func spent(r *result) float64    { return r.Spent.Seconds() }
func peakMiB(r *result) float64  { return float64(r.Peak) / (1 << 20) }
func rssKiB(r *result) float64   { return float64(r.RSS) / (1 << 10) }
func stackKiB(r *result) float64 { return float64(r.Stack) / (1 << 10) }
func heapKiB(r *result) float64  { return float64(r.Heap) / (1 << 10) }
func idle(r *result) float64     { return r.Idle }

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}
