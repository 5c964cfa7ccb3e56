package fleetshell

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// readCommands reads the commands of a text. The error is nil unless the last command is
// incomplete.
func readCommands(text string) (commands []command, err error) {
	lines := strings.Split(text, "\n")
	next := func() (string, error) {
		if len(lines) == 0 {
			return "", io.EOF
		}
		line := lines[0]
		lines = lines[1:]
		return line, nil
	}
	for {
		first, end := next()
		if end != nil {
			return commands, nil
		}
		c, err := readCommand(first, next)
		if err != nil {
			return commands, err
		}
		commands = append(commands, c)
	}
}

// Each text is one command. It is complete after its last line and not before; the next line begins
// another command.
func TestReadCommand(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", " ", "# it's a comment", "echo a # it's", "echo it\\'s", "a &", "fi", ")", "!", "echo ${a", "cat <<<x", "echo $((1<<2))", "echo 'a<<EOF'", "# cat <<EOF",
		"echo 'a\nb'", "echo \"a\nb\" c", "echo $'a\nb'", "a \\\nb", "a \\\n\\\nb", "echo 'a\n\nb'",
		"cat > f <<EOF\nkeep=1\nhostname\nEOF", "cat <<A <<B\nx\nA\ny\nB", "cat <<-'E F'\n\tx\n\tE F", "cat <<\"E\" | sort\nif\nE", "cat <<\\E; if true; then\n$x\nE\ny\nfi", "cat <<EOF\nEOF x\n EOF\nEOF",
		"cat <<EOF\n:quit\n!x\nEOF",
		"if true; then\necho a\nfi", "for i in 1 2\ndo echo $i\ndone", "while read x; do\n:\ndone < f", "until a\ndo b; done", "case x in\na) b;;\nesac", "select x in a; do\n:\ndone",
		"(\na\n)", "{ a\n}", "f() {\necho\n}", "f()\n{\n:\n}", "function f {\n:\n}", "a &&\nb", "a ||\n\nb", "a |\nb", "a | # c\nb", "echo $(\nls\n)", "echo `ls\n`", "echo \"$(\nls)\n\"",
		"x=(\n1\n)", "[[ a &&\nb ]]", "$((1+\n2))", "echo ${x:-\na}", "cat <(\nls\n)",
		// zsh
		"{ echo a }", "for f (*.c) echo $f", "print -l **/*(.)", "if [[ a ]] { echo b }", "for f (*.c) echo 'a\nb'", "for f (*.c) cat <<EOF\na\nEOF",
		// lines for fleetssh itself
		":hosts", ":only web's", ":send file", ":send file cat\\\nb", ":each dir sh -c 'a\nb'", "!echo 'a\nb'", "! cat <<EOF\na\nEOF", " !if a\nthen b; fi", ":nosuch 'a",
	} {
		commands, err := readCommands(text + "\nnext")
		if err != nil || len(commands) != 2 || commands[0].text != text || commands[1].text != "next" {
			t.Errorf("%q: %+v, %v", text, commands, err)
		}
		// Without its last line it is incomplete.
		lines := strings.Split(text, "\n")
		for n := 1; n < len(lines); n++ {
			if commands, err := readCommands(strings.Join(lines[:n], "\n")); err != errUnfinished || len(commands) != 0 {
				t.Errorf("%q: %+v, %v", lines[:n], commands, err)
			}
		}
	}
	if _, err := readCommand("if true", func() (string, error) { return "", errors.New("no more") }); err == nil || err.Error() != "no more" {
		t.Errorf("%v", err)
	}
}

// longCommands returns commands with this many lines between the first and the last.
func longCommands(lines int) []string {
	var all []string
	for _, form := range [][2]string{{"cat <<EOF", "EOF"}, {"echo '", "'"}, {"if true; then", "fi"}} {
		all = append(all, form[0]+strings.Repeat("\nline of text", lines)+"\n"+form[1])
	}
	return all
}

func TestLongCommand(t *testing.T) {
	t.Parallel()
	for _, text := range longCommands(20_000) {
		commands, err := readCommands(text)
		if err != nil || len(commands) != 1 || commands[0].text != text {
			t.Errorf("%.14q: %d commands, %v", text, len(commands), err)
		}
	}
}

// BenchmarkReadCommand reports the time per line, which must not grow with the number of lines.
func BenchmarkReadCommand(b *testing.B) {
	for _, lines := range []int{10_000, 100_000} {
		for _, text := range longCommands(lines) {
			b.Run(fmt.Sprintf("%.4s/%d", text, lines), func(b *testing.B) {
				for b.Loop() {
					if _, err := readCommands(text); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*lines), "ns/line")
			})
		}
	}
}

func TestNeedsTerminal(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"vi /etc/hosts": "vi", "cd /etc; sudo vim -R hosts": "vim", "sudo -u bob /usr/bin/nano": "nano", "EDITOR=x exec nvim": "nvim", "if true; then vi; fi": "vi",
		"sudo -e /etc/hosts": "sudo -e", "sudoedit x": "sudoedit", "crontab -u bob -e": "crontab -e", "sudo crontab -e": "crontab -e", "visudo": "visudo", "ls | vi -": "vi",
		"env A=1 emacs": "emacs", "nice -n 5 vi": "vi",

		"echo vi": "", "vi -es -c wq x": "", "vim -c q": "", "ex x": "", "command -v vi": "", "which vi": "", "'$vi'": "", "emacs --batch x": "", "f() { vi; }": "", "crontab -l": "",
		"visudo -c": "", "nano --version": "", "sudo": "", "sudo -l": "", "$editor x": "", "vi() { :; }": "", "man vi": "", "grep vi f": "",
	} {
		commands, err := readCommands(line)
		if err != nil || len(commands) != 1 {
			t.Fatalf("%s: %v", line, err)
		}
		if got := commands[0].needsTerminal(); got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}

// The commands together are the text, except for an incomplete command at its end.
func FuzzReadCommand(f *testing.F) {
	f.Add("cat <<EOF\na\nEOF\nls")
	f.Add("for f (*.c) {\necho 'a\n'}")
	f.Add(":send f cat <<-'x'\n\tx\n!ls $(")
	f.Fuzz(func(t *testing.T, text string) {
		commands, err := readCommands(text)
		var texts []string
		for _, c := range commands {
			texts = append(texts, c.text)
			c.needsTerminal()
		}
		if got := strings.Join(texts, "\n"); err == nil && got != text || !strings.HasPrefix(text, got) {
			t.Errorf("%q became %q, %v", text, texts, err)
		}
	})
}
