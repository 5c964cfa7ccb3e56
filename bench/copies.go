//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The goals for copies. Ratios compare wall times, except for goalManyPeak.
const (
	goalFile      = 1.0  // one file, against sftp
	goalFileDelay = 0.25 // one file with added delay, against sftp
	goalTree      = 0.2  // many small files, against scp -r
	goalManyPeak  = 1.25 // peak memory for one file to many hosts, against half the file: the heap varies

	copyDelay = 50 * time.Millisecond // added to each round trip
	treeFiles = 10_000
)

// copies copies files to and from a real sshd, side by side with OpenSSH's own tools.
func (s *suite) copies(ctx context.Context) (err error) {
	sshd, err := startServer(ctx, "-role", "sshd", "-dir", s.dir)
	if err != nil {
		fmt.Fprintln(s.out, "\nCopies skipped:", err)
		return nil
	}
	defer sshd.close()
	far, err := startServer(ctx, "-role", "delay", "-dir", s.dir, "-to", fmt.Sprintf("%s:%d", sshd.Hosts[0], sshd.Port), "-latency", copyDelay.String())
	if err != nil {
		return err
	}
	defer far.close()
	if err := alsoKnown(far, sshd.KnownHosts); err != nil {
		return err
	}
	size := int64(128 << 20)
	if s.long {
		size = 512 << 20
	}
	c := &copyBench{suite: s}
	// In memory if there is such a file system: disks vary more than clients do.
	if c.dir, err = os.MkdirTemp("/dev/shm", "fleetssh-bench-*"); err != nil {
		c.dir = filepath.Join(s.dir, "copies")
	}
	defer func() { err = errors.Join(err, os.RemoveAll(c.dir)) }()
	if err := c.prepare(size); err != nil {
		return err
	}
	if _, err := commandLine(ctx, s.dir, s.user, sshd, sshd.Hosts[:1]); err != nil {
		return err
	}
	for _, way := range []string{"upload", "download"} {
		if err := c.file(ctx, sshd, way, fmt.Sprintf("One file of %d MiB, %s", size>>20, way), goalFile); err != nil {
			return err
		}
	}
	for _, way := range []string{"upload", "download"} {
		if err := c.file(ctx, far, way, fmt.Sprintf("The same with %v of added delay, %s", copyDelay, way), goalFileDelay); err != nil {
			return err
		}
	}
	for _, way := range []string{"upload", "download"} {
		if err := c.tree(ctx, sshd, way); err != nil {
			return err
		}
	}
	return c.many(ctx, sshd)
}

// alsoKnown writes the known_hosts file of the delaying proxy, with the key of the server behind
// it.
func alsoKnown(far *server, behind string) error {
	data, err := os.ReadFile(behind)
	if err != nil {
		return err
	}
	_, key, ok := strings.Cut(firstLine(string(data)), " ")
	if !ok {
		return errors.New("the known_hosts file of sshd is empty")
	}
	line := fmt.Sprintf("[%s]:%d %s\n", far.Hosts[0], far.Port, key)
	return os.WriteFile(far.KnownHosts, []byte(line), 0o600)
}

// copyBench has what all copies share.
type copyBench struct {
	*suite
	dir string // has the file "big" and the directory "tree"
}

// prepare makes the files to copy.
func (c *copyBench) prepare(size int64) error {
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return err
	}
	fmt.Fprintf(c.out, "\nCopies: files are in %s\n", filepath.Dir(c.dir))
	random := rand.NewChaCha8([32]byte{1})
	if err := fill(filepath.Join(c.dir, "big"), random, size); err != nil {
		return err
	}
	for i := range treeFiles {
		dir := filepath.Join(c.dir, "tree", fmt.Sprintf("d%03d", i/100))
		if i%100 == 0 {
			if err := os.MkdirAll(dir, 0o700); err != nil {
				return err
			}
		}
		if err := fill(filepath.Join(dir, fmt.Sprintf("f%03d", i%100)), random, 1000); err != nil {
			return err
		}
	}
	return nil
}

func fill(name string, from io.Reader, size int64) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = io.CopyN(f, from, size)
	return errors.Join(err, f.Close())
}

// tool returns a contender that runs a program that copies. If stdin is not nil, it returns the
// program's batch file. With keep, the copies stay until the end.
func (c *copyBench) tool(name string, keep bool, args func(out string) []string, stdin func(out string) string, check func(out string) error) *contender {
	k := &contender{name: name}
	k.run = func(ctx context.Context) (*result, error) {
		out, err := os.MkdirTemp(c.dir, "out-*")
		if err != nil {
			return nil, err
		}
		syscall.Sync() // so that this program does not pay for the writes of earlier ones
		argv := args(out)
		if stdin != nil {
			batch := filepath.Join(out, ".batch")
			if err := os.WriteFile(batch, []byte(stdin(out)), 0o600); err != nil {
				return nil, err
			}
			argv = append([]string{argv[0], "-b", batch}, argv[1:]...)
		}
		home := filepath.Join(c.suite.dir, "home")
		env := []string{"HOME=" + home, "XDG_STATE_HOME=" + home, "XDG_CONFIG_HOME=" + home, "SSH_AUTH_SOCK="}
		r, _, err := spawn(ctx, env, argv[0], argv[1:]...)
		if err == nil {
			err = check(out)
		}
		if !keep {
			_ = os.RemoveAll(out)
		}
		return r, err
	}
	return k
}

func (c *copyBench) sshOptions(s *server) []string {
	return []string{
		"-q", "-F", "none", "-P", strconv.Itoa(s.Port), "-i", filepath.Join(c.suite.dir, userKeyName),
		"-o", "UserKnownHostsFile=" + s.KnownHosts, "-o", "GlobalKnownHostsFile=none", "-o", "StrictHostKeyChecking=yes",
		"-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none",
	}
}

// ours returns a command line of fleetssh.
func (c *copyBench) ours(verb string, s *server, args ...string) []string {
	base := []string{filepath.Join(c.suite.dir, "fleetssh"), verb, "-w", s.Hosts[0], "-p", strconv.Itoa(s.Port), "-l", c.user,
		"-i", filepath.Join(c.suite.dir, userKeyName), "--known-hosts", s.KnownHosts, "-F", "none", "-q"}
	return append(base, args...)
}

// file copies one large file.
func (c *copyBench) file(ctx context.Context, s *server, way, title string, most float64) error {
	big := filepath.Join(c.dir, "big")
	same := func(out string) error {
		return exec.Command("cmp", "-s", big, filepath.Join(out, "copy")).Run()
	}
	host := c.user + "@" + s.Hosts[0]
	sftp := func(options ...string) *contender {
		args := func(string) []string {
			return append(append(append([]string{"sftp"}, c.sshOptions(s)...), options...), host)
		}
		batch := func(out string) string { return fmt.Sprintf("put %s %s/copy\n", big, out) }
		if way == "download" {
			batch = func(out string) string { return fmt.Sprintf("get %s %s/copy\n", big, out) }
		}
		return c.tool("", false, args, batch, same)
	}
	plain, gcm := sftp(), sftp("-o", "Ciphers=aes128-gcm@openssh.com")
	plain.name, gcm.name = "sftp", "sftp, aes128-gcm"
	scp := c.tool("scp", false, func(out string) []string {
		args := append([]string{"scp"}, c.sshOptions(s)...)
		if way == "download" {
			return append(args, host+":"+big, out+"/copy")
		}
		return append(args, big, host+":"+out+"/copy")
	}, nil, same)
	ours := func(name string, extra ...string) *contender {
		return c.tool(name, false, func(out string) []string {
			if way == "download" {
				return c.ours("get", s, append(extra, big, out+"/%(host)s")...)
			}
			return c.ours("put", s, append(extra, big, out+"/copy")...)
		}, nil, func(out string) error {
			if way == "download" {
				return exec.Command("cmp", "-s", big, filepath.Join(out, s.Hosts[0])).Run()
			}
			return same(out)
		})
	}
	mine, mineSCP := ours("fleetssh"), ours("fleetssh, SCP", "--protocol", "scp")
	all := []*contender{plain, gcm, scp, mine, mineSCP}
	if err := c.compete(ctx, c.rounds(3, 3), all...); err != nil {
		return err
	}
	c.print(title, "sftp", plain, mine, most, all)
	return nil
}

// print prints a table of wall times. ours is the contender with the goal.
func (c *copyBench) print(title, than string, base, ours *contender, most float64, all []*contender) {
	t := newTable(title, "client", "wall s", "× "+than, "goal", "CPU s", "peak MiB")
	for _, k := range all {
		if len(k.results) == 0 {
			t.row(k.name, "failed")
			continue
		}
		rel := ratio(k.results, base.results, spent)
		cells := []string{k.name, fmt.Sprintf("%.2f", median(k.results, spent)), "", "",
			fmt.Sprintf("%.2f", median(k.results, totalCPU)), fmt.Sprintf("%.0f", median(k.results, peakMiB))}
		if k != base {
			cells[2] = times(rel)
		}
		if k == ours {
			cells[3] = c.goal(title+", wall time against "+than, rel, most, "%.2f")
		}
		t.row(cells...)
	}
	t.print(c.out)
}

// tree copies many small files. It keeps the copies: a file system creates files slowly when
// thousands of others have just been deleted.
func (c *copyBench) tree(ctx context.Context, s *server, way string) error {
	tree := filepath.Join(c.dir, "tree")
	host := c.user + "@" + s.Hosts[0]
	complete := func(out string) error { return exec.Command("diff", "-rq", tree, filepath.Join(out, "tree")).Run() }
	scp := func(name string, options ...string) *contender {
		return c.tool(name, true, func(out string) []string {
			args := append(append(append([]string{"scp"}, options...), "-r"), c.sshOptions(s)...)
			if way == "download" {
				return append(args, host+":"+tree, out)
			}
			return append(args, tree, host+":"+out)
		}, nil, complete)
	}
	plain, old := scp("scp -r"), scp("scp -O -r", "-O")
	mine := c.tool("fleetssh", true, func(out string) []string {
		if way == "download" {
			return c.ours("get", s, "-r", tree, out+"/%(host)s/")
		}
		return c.ours("put", s, "-r", tree, out+"/")
	}, nil, func(out string) error {
		if way == "download" {
			return exec.Command("diff", "-rq", tree, filepath.Join(out, s.Hosts[0], "tree")).Run()
		}
		return complete(out)
	})
	all := []*contender{plain, old, mine}
	if err := c.compete(ctx, c.rounds(3, 3), all...); err != nil {
		return err
	}
	c.print(fmt.Sprintf("A tree of %d files of 1,000 bytes, %s", treeFiles, way), "scp -r", plain, mine, goalTree, all)
	return nil
}

// many copies one file to many hosts. The memory must grow neither with the size of the file nor
// with the number of hosts.
func (c *copyBench) many(ctx context.Context, s *server) error {
	t := newTable("One file to many hosts, with the library", "hosts", "MiB", "wall s", "CPU s", "peak MiB", "goal")
	least := 0.0
	for i, of := range []struct{ hosts, mib int }{{25, 24}, {100, 24}, {100, 48}} {
		file := filepath.Join(c.dir, fmt.Sprintf("file%d", of.mib))
		if err := fill(file, rand.NewChaCha8([32]byte{2}), int64(of.mib)<<20); err != nil {
			return err
		}
		hosts := make([]string, of.hosts)
		for i := range hosts {
			hosts[i] = s.Hosts[i%len(s.Hosts)]
		}
		j := c.job("copy", "upload", s, hosts)
		j.Line = file
		k := &contender{name: "fleetssh"}
		k.run = func(ctx context.Context) (*result, error) {
			out, err := os.MkdirTemp(c.dir, "out-*")
			if err != nil {
				return nil, err
			}
			defer func() { _ = os.RemoveAll(out) }()
			j := *j
			j.Dest = out
			r, err := spawnJob(ctx, c.suite.dir, &j)
			if err == nil && r.OK != of.hosts {
				err = fmt.Errorf("%d of %d hosts: %s", r.OK, of.hosts, r.Note)
			}
			return r, err
		}
		if err := c.compete(ctx, c.rounds(2, 3), k); err != nil {
			return err
		}
		if len(k.results) == 0 {
			t.row(fmt.Sprint(of.hosts), fmt.Sprint(of.mib), "failed")
			continue
		}
		peak, verdict := median(k.results, peakMiB), ""
		what := fmt.Sprintf("one file of %d MiB to %d hosts, ", of.mib, of.hosts)
		if i < 2 {
			least = peak
			verdict = c.goal(what+"peak MiB", peak, goalPeak, "%.0f")
		} else {
			verdict = fmt.Sprintf("%.2f × half the file, ", peak/least) + c.goal(what+"peak memory against half the file", peak/least, goalManyPeak, "%.2f")
		}
		t.row(fmt.Sprint(of.hosts), fmt.Sprint(of.mib), fmt.Sprintf("%.2f", median(k.results, spent)),
			fmt.Sprintf("%.2f", median(k.results, totalCPU)), fmt.Sprintf("%.0f", peak), verdict)
	}
	t.print(c.out)
	return nil
}
