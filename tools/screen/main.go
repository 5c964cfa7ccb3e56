// Command screen runs a program on a terminal of its own, types keys, and writes what the terminal shows
// as pictures for dark and light pages:
//
//	screen -size 100x30 -to NAME TEXT KEYS TEXT KEYS ... -- PROGRAM ARGUMENT...
//
// It waits until the screen shows the first TEXT, types the first KEYS, in which \t, \r and the like are
// as in Go, and so on. After the last KEYS and a moment it writes NAME-dark.svg and NAME-light.svg, and
// ends the program by closing its terminal.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/charmbracelet/x/vt"
	"github.com/creack/pty"
)

func main() {
	size := flag.String("size", "100x30", "columns and rows")
	to := flag.String("to", "screen", "the name of the pictures, without -dark.svg and -light.svg")
	flag.Parse()
	if err := picture(*size, *to, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "screen:", err)
		os.Exit(1)
	}
}

const (
	// patience is how long to wait for a text, and moment how long for the effect of the last keys.
	patience = time.Minute
	moment   = 500 * time.Millisecond
)

func picture(size, to string, args []string) error {
	var columns, rows int
	if _, err := fmt.Sscanf(size, "%dx%d", &columns, &rows); err != nil {
		return fmt.Errorf("-size %s: %w", size, err)
	}
	end := slices.Index(args, "--")
	if end < 0 || end%2 != 0 || end+1 == len(args) {
		return errors.New("want pairs of a text and keys, --, and a program")
	}
	cmd := exec.Command(args[end+1], args[end+2:]...)
	cmd.Env = append(os.Environ(), "TERM=xterm-256color")
	line, err := pty.StartWithSize(cmd, &pty.Winsize{Cols: uint16(columns), Rows: uint16(rows)})
	if err != nil {
		return err
	}
	t := &terminal{screen: vt.NewEmulator(columns, rows)}
	go func() { _, _ = io.Copy(t, line) }()        // ends when the terminal is closed
	go func() { _, _ = io.Copy(line, t.screen) }() // what the terminal answers; ends with this process
	for i := 0; i < end; i += 2 {
		if err := t.await(args[i]); err != nil {
			return err
		}
		keys, err := strconv.Unquote(`"` + args[i+1] + `"`)
		if err != nil {
			return fmt.Errorf("%s: %w", args[i+1], err)
		}
		if _, err := io.WriteString(line, keys); err != nil {
			return err
		}
	}
	time.Sleep(moment)
	t.mu.Lock()
	defer t.mu.Unlock()
	for name, theme := range themes {
		if err := os.WriteFile(to+"-"+name+".svg", []byte(svg(t.screen, theme)), 0o666); err != nil {
			return err
		}
	}
	line.Close()
	_ = cmd.Wait() // it ends because of the signal that its terminal is gone
	return nil
}

// terminal is a screen that is written to and read by two goroutines.
type terminal struct {
	mu     sync.Mutex
	screen *vt.Emulator
}

func (t *terminal) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.screen.Write(p)
}

// await waits until the screen shows a text.
func (t *terminal) await(text string) error {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		t.mu.Lock()
		shown := t.screen.String()
		t.mu.Unlock()
		if strings.Contains(shown, text) {
			return nil
		}
	}
	return fmt.Errorf("the screen does not show %q", text)
}
