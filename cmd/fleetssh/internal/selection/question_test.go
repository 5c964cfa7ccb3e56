package selection

import (
	"strings"
	"testing"

	"fleetssh"
)

func TestQuestionText(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x\n", 100) + "Code: "
	for _, test := range []struct{ name, prompt, want string }{
		{"one line", "Password: ", "web1: Password: "},
		{"names the host", "ann@web1's password: ", "ann@web1's password: "},
		{"Duo", "Duo two-factor login for root\n\nEnter a passcode or select one of the following options:\n\n 1. Duo Push to XXX-1234\r\n\nPasscode or option (1-1): ",
			"web1: Duo two-factor login for root\nweb1:\nweb1: Enter a passcode or select one of the following options:\nweb1:\nweb1:  1. Duo Push to XXX-1234\nweb1:\nweb1: Passcode or option (1-1): "},
		{"escapes", "\x1b[2Jgone\rover\n\u202ecod: ", "web1: ^[[2Jgone^Mover\nweb1: \\u202ecod: "},
		{"looks like another host", "x\nweb2: Password: ", "web1: x\nweb1: web2: Password: "},
		{"many lines", long, strings.Repeat("web1: x\n", 20) + "web1: …\n" + strings.Repeat("web1: x\n", 19) + "web1: Code: "},
		{"long line", strings.Repeat("é", 400), "web1: " + strings.Repeat("é", 250) + "…"},
	} {
		if got := questionText(fleetssh.Question{Host: "web1", Prompt: test.prompt}); got != test.want {
			t.Errorf("%s:\n got %q\nwant %q", test.name, got, test.want)
		}
	}
}
