package main

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/fold"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/cmd/fleetssh/internal/termline"
	"fleetssh/hostset"
)

const dshbakHelp = `Put together what each host wrote, from lines such as "web1: text".

  pdsh -w web[1-20] uname -r | fleetssh dshbak -c
  fleetssh run -w web[1-20] uname -r > log; fleetssh dshbak log
  fleetssh run -w web[1-20] dmesg | fleetssh dshbak -f -d logs/today

usage: fleetssh dshbak [options] [FILE...]

Files are read one after another, standard input if there is none (or for -). The
host ends at the colon behind the first word; lines without one are left out.

Options:
  -c, --coalesce            what hosts wrote alike once, below the set of them
  -d, --directory DIR       into files in DIR, one a host, which are made anew
  -f, --force               with -d: make DIR if it is missing

What is kept beyond 32 MiB of different lines is kept in a file without a name.

`

// The limits of dshbak.
const (
	maxBakHosts = 1 << 17
	maxBakLine  = 16 << 20
	maxBakHeld  = 4 << 20 // bytes that wait to be written to files
)

// dshbakRule is the line above and below the hosts.
const dshbakRule = "----------------"

// dshbakOptions are the flags of dshbak.
type dshbakOptions struct {
	coalesce  bool
	directory string
	force     bool
}

func (o *dshbakOptions) register(flags *pflag.FlagSet) {
	flags.BoolVarP(&o.coalesce, "coalesce", "c", false, "")
	flags.StringVarP(&o.directory, "directory", "d", "", "")
	flags.BoolVarP(&o.force, "force", "f", false, "")
}

func newDshbak(c *call) *cobra.Command {
	o := new(dshbakOptions)
	cmd := &cobra.Command{
		Use:    "dshbak",
		Hidden: true,
		Long:   dshbakHelp,
		RunE:   func(_ *cobra.Command, args []string) error { return o.run(c, args) },
	}
	o.register(cmd.Flags())
	return cmd
}

func (o *dshbakOptions) run(c *call, files []string) (err error) {
	switch {
	case o.coalesce && o.directory != "":
		return exit.UsageError("", "-c and -d exclude each other")
	case o.force && o.directory == "":
		return exit.UsageError("", "-f goes with -d only")
	}
	to, err := o.sink(c.screen)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.close()) }()
	if len(files) == 0 {
		files = []string{"-"}
	}
	for _, name := range files {
		if err := readLabelled(c.in, name, to.line); err != nil {
			return err
		}
	}
	if err := to.end(); err != nil {
		return err
	}
	if err := c.screen.Failure(); err != nil {
		return exit.OutputError(err)
	}
	return nil
}

// A bakSink gets the lines of all hosts.
type bakSink interface {
	line(host string, text []byte) error
	end() error // all lines have come
	close() error
}

func (o *dshbakOptions) sink(screen *termline.Screen) (bakSink, error) {
	if o.directory == "" {
		return &bakBlocks{screen: screen, together: o.coalesce, fold: fold.New(0), numbers: make(map[string]int)}, nil
	}
	if o.force {
		if err := os.MkdirAll(o.directory, 0o777); err != nil {
			return nil, err
		}
	}
	root, err := os.OpenRoot(o.directory)
	if errors.Is(err, os.ErrNotExist) && !o.force {
		return nil, &exit.Error{Code: exit.Failed, Text: err.Error(), Hint: "-f makes it"}
	}
	if err != nil {
		return nil, err
	}
	return &bakFiles{root: root, files: make(map[string]*bakFile)}, nil
}

// readLabelled reads lines with the host that wrote each.
func readLabelled(in io.Reader, name string, line func(host string, text []byte) error) error {
	if name == "-" {
		name = "standard input"
	} else {
		file, err := os.Open(name)
		if err != nil {
			return err
		}
		defer file.Close()
		in = file
	}
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 64<<10), maxBakLine)
	lines.Split(scanRawLines)
	for lines.Scan() {
		host, text, ok := cutLabel(lines.Bytes())
		if !ok {
			continue
		}
		if err := line(host, text); err != nil {
			return err
		}
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return fmt.Errorf("%s: a line of more than %d MiB", name, maxBakLine>>20)
	case err != nil:
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

// scanRawLines is bufio.ScanLines without the care for carriage returns.
func scanRawLines(data []byte, atEOF bool) (int, []byte, error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF && len(data) > 0 {
		return len(data), data, nil
	}
	return 0, nil, nil
}

// cutLabel splits "host: text". Where the first word ends with a colon, that is
// the end of the host, so that it may have a port or be an IPv6 address; else it
// is the first colon, and there may be white space before it.
func cutLabel(line []byte) (host string, text []byte, ok bool) {
	line = bytes.TrimLeft(line, " \t\r\f\v")
	word := line
	if i := bytes.IndexAny(line, " \t\r\f\v"); i >= 0 {
		word = line[:i]
	}
	rest := line[len(word):]
	switch i := bytes.IndexByte(word, ':'); {
	case len(word) > 1 && word[len(word)-1] == ':':
		host = string(word[:len(word)-1])
	case i > 0:
		host, rest = string(word[:i]), line[i+1:]
	case i < 0:
		after := bytes.TrimLeft(rest, " \t\r\f\v")
		if len(after) == 0 || after[0] != ':' || len(word) == 0 {
			return "", nil, false
		}
		host, rest = string(word), after[1:]
	default:
		return "", nil, false
	}
	return host, bytes.TrimPrefix(rest, []byte(" ")), true
}

func tooManyBakHosts() error { return fmt.Errorf("lines of more than %d hosts", maxBakHosts) }

// bakBlocks shows what each host, or each set of hosts, wrote below its name.
type bakBlocks struct {
	screen   *termline.Screen
	together bool
	fold     *fold.Fold
	names    []string
	numbers  map[string]int
}

func (b *bakBlocks) line(host string, text []byte) error {
	i, known := b.numbers[host]
	if !known {
		if i = len(b.names); i == maxBakHosts {
			return tooManyBakHosts()
		}
		b.numbers[host] = b.fold.Add()
		b.names = append(b.names, host)
	}
	return b.fold.Line(i, fold.Stdout, string(text))
}

// end shows the blocks, in the order of their first hosts.
func (b *bakBlocks) end() error {
	for i, name := range b.names {
		if b.together {
			name = ""
		}
		b.fold.End(i, name) // hosts that end differently are kept apart
	}
	type block struct {
		hosts hostset.Set
		fold.Group
	}
	all := hostset.Of(b.names...)
	var blocks []block
	for _, g := range b.fold.Certain() {
		names := make([]string, len(g.Hosts))
		for i, n := range g.Hosts {
			names[i] = b.names[n]
		}
		blocks = append(blocks, block{hostset.Of(names...), g})
	}
	first := func(b block) int { return all.Index(b.hosts.First(1).Names()[0]) }
	slices.SortFunc(blocks, func(a, b block) int { return cmp.Compare(first(a), first(b)) })
	for _, block := range blocks {
		b.screen.Out("", dshbakRule)
		b.screen.Out("", block.hosts.String())
		b.screen.Out("", dshbakRule)
		if err := block.Lines(fold.Stdout, func(line string) bool { b.screen.Out("", line); return true }); err != nil {
			return err
		}
	}
	return nil
}

func (b *bakBlocks) close() error { return b.fold.Close() }

// bakFiles writes what each host wrote into a file of its own. Names of hosts come
// from anywhere: no file outside the directory can be reached by one.
type bakFiles struct {
	root  *os.Root
	files map[string]*bakFile // by their names
	held  int
}

// bakFile is a file for one host.
type bakFile struct {
	bytes.Buffer      // what is not yet written
	begun        bool // the file is made anew
}

func (b *bakFiles) line(host string, text []byte) error {
	name := selection.FileName(host)
	f := b.files[name]
	if f == nil {
		if len(b.files) == maxBakHosts {
			return tooManyBakHosts()
		}
		f = new(bakFile)
		b.files[name] = f
	}
	f.Write(text)
	f.WriteByte('\n')
	if b.held += len(text) + 1; b.held < maxBakHeld {
		return nil
	}
	return b.end()
}

// end writes what waits. Only one file is open at a time, however many there are.
func (b *bakFiles) end() error {
	for name, f := range b.files {
		if f.Len() == 0 {
			continue
		}
		flags := os.O_WRONLY | os.O_CREATE | os.O_TRUNC
		if f.begun {
			flags = os.O_WRONLY | os.O_APPEND
		}
		file, err := b.root.OpenFile(name, flags, 0o666)
		if err != nil {
			return err
		}
		_, err = f.WriteTo(file)
		if err := errors.Join(err, file.Close()); err != nil {
			return err
		}
		f.begun = true
		f.Buffer = bytes.Buffer{} // not kept: there may be many
	}
	b.held = 0
	return nil
}

func (b *bakFiles) close() error { return b.root.Close() }
