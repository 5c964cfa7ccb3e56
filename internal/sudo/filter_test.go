package sudo

import (
	"slices"
	"strings"
	"testing"

	"fleetssh/internal/sentinel"
)

// Sentinels for tests.
var (
	answering = &Sentinels{prompt: sentinel.Text{Left: "prompt", Right: "%X7"}, started: sentinel.Text{Left: "started", Right: "%Y7"}}
	passing   = &Sentinels{prompt: answering.prompt}
)

const (
	ask   = "prompt%X7"
	askRS = "[sudo: prompt%X7] Password: "
	start = "started%Y7"
)

type filterTest struct {
	name, stream, shown string
	events              []Event
	refusal             Refusal
}

func testFilter(t *testing.T, sentinels *Sentinels, tests []filterTest) {
	t.Helper()
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for size := 1; size <= len(test.stream); size++ {
				f := NewFilter(sentinels)
				f.Hide("s3cret")
				shown, events := filter(f, test.stream, size)
				if shown != test.shown || !slices.Equal(events, test.events) || f.Refusal() != test.refusal {
					t.Fatalf("%d bytes at a time: shows %q, %v, %v, want %q, %v, %v", size, shown, events, f.Refusal(), test.shown, test.events, test.refusal)
				}
			}
		})
	}
}

func TestFilter(t *testing.T) {
	t.Parallel()
	started, both := []Event{Started}, []Event{Asked, Started}
	testFilter(t, answering, []filterTest{
		{"no sudo at all", "hello\n", "hello\n", nil, Unclear},
		{"nothing", "\n", "\n", nil, Silent},
		{"password", ask + start + "out", "out", both, Silent},
		{"no password", start + "out", "out", started, Silent},
		{"lecture first", "Be careful.\n" + ask + start, "Be careful.\n", both, Silent},
		{"wrong", ask + "Sorry, try again.\n" + ask + "\nsudo: no password was provided\nsudo: 1 incorrect password attempt\n",
			"Sorry, try again.\n", []Event{Asked, AskedAgain}, Unclear},
		{"wrong, one try", ask + "sudo: 1 incorrect password attempt\n", "sudo: 1 incorrect password attempt\n", []Event{Asked}, WrongPassword},
		{"second factor", ask + ask + "\nsudo: a password is required\n", "", []Event{Asked, AskedMore}, Unclear},
		{"not in sudoers", ask + "u is not in the sudoers file.\n", "u is not in the sudoers file.\n", []Event{Asked}, Unclear},
		{"says nothing", ask, "", []Event{Asked}, Unclear},
		{"requiretty", "sudo: sorry, you must have a tty to run sudo\n", "sudo: sorry, you must have a tty to run sudo\n", nil, NeedsTerminal},
		{"output after the start is no refusal", start + "sudo: 3 incorrect password attempts\n", "sudo: 3 incorrect password attempts\n", started, Silent},

		{"terminal", ask + "\r\n" + start + "out\r\n", "out\r\n", both, Silent},
		{"terminal, wrong", ask + "\r\nSorry\r\n" + ask + "\r\n", "Sorry\r\n", []Event{Asked, AskedAgain}, Unclear},
		{"terminal, feedback", ask + "****\b \b\b \b\b \b\b \b\r\n" + start + "out", "out", both, Silent},
		{"terminal, echo", ask + "s3cret\r\n" + start + "s3cret", "s3cret", both, Silent},
		{"terminal, half of the echo", ask + "s3c", "s3c", []Event{Asked}, Unclear},
		{"stars of sudo", ask + "*** warning\n" + start, "*** warning\n", both, Silent},
		{"a carriage return at the end", ask + "\r", "\r", []Event{Asked}, Unclear},

		{"sudo-rs", askRS + "\n" + start + "out", "out", both, Silent},
		{"sudo-rs 0.2.8", askRS + start + "out", "out", both, Silent},
		{"sudo-rs, no password", start + "out", "out", started, Silent},
		{"sudo-rs, wrong", askRS + "\nsudo: Authentication failed, try again.\n" + askRS + "\nsudo: No password was provided\n",
			"sudo: Authentication failed, try again.\n", []Event{Asked, AskedAgain}, Unclear},
		{"sudo-rs 0.2.8, wrong, one try", askRS + "sudo: maximum 1 incorrect authentication attempts\n",
			"sudo: maximum 1 incorrect authentication attempts\n", []Event{Asked}, WrongPassword},
		{"sudo-rs on a terminal", askRS + "*****\b \b\b \b\x1b[0K\r\n" + start + "out\r\n", "out\r\n", both, Silent},
		{"sudo-rs, another question", "[sudo: " + ask + "] Verification code for u@h\n" + start, "", both, Silent},
		{"sudo-rs, no colon", "[sudo: " + ask + "] PIN?" + start + "out", "out", both, Silent},
		{"sudo-rs, cut off", "[sudo: " + ask + "] Pass", "", []Event{Asked}, Unclear},
		{"sudo-rs, a question without end", "[sudo: " + ask + strings.Repeat("x", 700), strings.Repeat("x", 700), []Event{Asked}, Unclear},

		{"sentinels in the output of the command", start + "a" + ask + "b" + start, "a" + ask + "b" + start, started, Silent},
		{"beginning of a sentinel at the end", "done promp", "done promp", nil, Unclear},
		{"beginning of another sentinel", "prprom" + ask + "x", "prpromx", []Event{Asked}, Unclear},
	})
}

// A quoted command line causes no events, and its sentinels are not shown.
func TestFilterQuotes(t *testing.T) {
	t.Parallel()
	starter := answering.Starter()
	bash := "+ sudo -S -p 'prompt%%X7' -- sh -c '" + starter + "' /bin/bash -c 'id -un'\n"
	const plain = "+ sudo -- /bin/bash -c 'id -un'\n"
	refusal := "Sorry, user u is not allowed to execute '/usr/bin/sh -c " + starter + " /bin/bash -c id -un' as root on h.\n"
	const plainRefusal = "Sorry, user u is not allowed to execute '/bin/bash -c id -un' as root on h.\n"
	testFilter(t, answering, []filterTest{
		{"refused", ask + refusal, plainRefusal, []Event{Asked}, Unclear},
		{"refused, other folder", strings.Replace(refusal, "/usr/bin/sh", "/bin/sh", 1), plainRefusal, nil, Unclear},
		{"set -x", bash + start + "out", plain + "out", []Event{Started}, Silent},
		{"set -x, password", bash + ask + start + "out", plain + "out", []Event{Asked, Started}, Silent},
		{"set -x, refused", bash + ask + refusal, plain + plainRefusal, []Event{Asked}, Unclear},
		{"unquoted", "sudo -S -p prompt%%X7 -- sh -c " + starter + " /bin/csh -c id\n" + start, "sudo -- /bin/csh -c id\n", []Event{Started}, Silent},
		{"quoted in another way", "sudo -S -p prompt%%X7 -- sh -c printf\\ started%%Y7\n", "sudo -- sh -c printf\\ %%\n", nil, Unclear},
	})
	testFilter(t, passing, []filterTest{
		{"set -x, nobody answers", "+ sudo -S -p 'prompt%%X7' -- id\n" + ask + "out\n", "+ sudo -- id\nout\n", []Event{Asked}, Silent},
	})
	for _, event := range []string{answering.Prompt(), answering.Starter()} {
		if strings.Contains(event, ask) || strings.Contains(event, start) {
			t.Errorf("a sentinel appears in %s", event)
		}
	}
}

// If the user answers, what follows the question may be output of the command.
func TestFilterNobodyAnswers(t *testing.T) {
	t.Parallel()
	testFilter(t, passing, []filterTest{
		{"plain", ask + "out\n" + ask, "out\n", []Event{Asked, AskedAgain}, Silent},
		{"an empty line", ask + "\nout\n", "\nout\n", []Event{Asked}, Silent},
		{"stars", ask + "**\nout\n", "**\nout\n", []Event{Asked}, Silent},
		{"terminal", ask + "\r\nout\r\n", "out\r\n", []Event{Asked}, Silent},
		{"sudo-rs", askRS + "\nout\n", "out\n", []Event{Asked}, Silent},
		{"sudo-rs 0.2.8", askRS + "out\n", "out\n", []Event{Asked}, Silent},
	})
}

// filter passes a stream through f, size bytes at a time.
func filter(f *Filter, stream string, size int) (string, []Event) {
	var shown strings.Builder
	var events []Event
	for len(stream) > 0 {
		n := min(size, len(stream))
		show, found := f.Write([]byte(stream[:n]))
		shown.Write(show)
		events = append(events, found...)
		stream = stream[n:]
	}
	shown.Write(f.Close())
	return shown.String(), events
}

// FuzzFilter checks that the result does not depend on how a stream is cut, and that little is held
// back.
func FuzzFilter(f *testing.F) {
	f.Add("a"+ask+"b\r\n"+start+"c"+ask, 3, true)
	f.Add(ask+"\r\r\n"+ask+"\r\n\r\n", 1, false)
	f.Add("+ sudo -S -p 'prompt%%X7' -- sh -c '"+answering.Starter()+"' x\n"+askRS+"**\b \b\x1b[0K\n"+start, 2, true)
	f.Fuzz(func(t *testing.T, stream string, size int, answers bool) {
		if size < 1 {
			return
		}
		sentinels := passing
		if answers {
			sentinels = answering
		}
		whole, events := filter(NewFilter(sentinels), stream, max(len(stream), 1))
		cut, cutEvents := filter(NewFilter(sentinels), stream, size)
		if whole != cut || !slices.Equal(events, cutEvents) {
			t.Errorf("%q: whole %q %v, cut %q %v", stream, whole, events, cut, cutEvents)
		}
		if !strings.Contains(stream, "7") && !strings.Contains(stream, "prompt") && !strings.Contains(stream, "started") && whole != stream {
			t.Errorf("%q came out as %q", stream, whole)
		}
		one := NewFilter(sentinels)
		for i := range len(stream) {
			one.Write([]byte(stream[i : i+1]))
			if len(one.held) > maxQuestion {
				t.Fatalf("%q: %d bytes are held", stream, len(one.held))
			}
		}
	})
}

func TestSentinels(t *testing.T) {
	t.Parallel()
	a, b := NewSentinels(true), NewSentinels(true)
	if a.prompt == b.prompt || a.started == b.started || !a.Answering() {
		t.Errorf("sentinels repeat: %v, %v", a, b)
	}
	if none := NewSentinels(false); none.Answering() || none.Starter() != "" {
		t.Error("a sentinel for the start although nobody answers")
	}
}
