package cmdline

import (
	"os/exec"
	"strings"
	"testing"

	"fleetssh/internal/charset"
)

func TestBuildErrors(t *testing.T) {
	t.Parallel()
	latin1, err := charset.Find("ISO-8859-1")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		spec Spec
		want Error
	}{
		{"NUL in the line", Spec{Line: "a\x00"}, Error{Field: "Line", Reason: hasNUL}},
		{"NUL in the user", Spec{Sudo: &Sudo{User: "a\x00"}}, Error{Field: "User", Reason: hasNUL}},
		{"name of a variable", Spec{Env: map[string]string{"A=1;id;B": ""}}, Error{Field: "Env", Reason: `"A=1;id;B" is not the name of a variable`}},
		{"no value", Spec{Line: "%s", Values: &Values{}}, Error{Name: "%s", Reason: "only 0 values given"}},
		{"no value for a script", Spec{Script: &Script{Args: []string{"%s"}}, Values: &Values{}}, Error{Name: "%s", Reason: "only 0 values given"}},
		{"script", Spec{Script: &Script{Text: []byte("#!sh\n")}}, Error{Field: "Script.Text", Reason: `its #! line names "sh", which is not an absolute path`}},
		{"character set", Spec{Line: "€", Text: latin1}, Error{Reason: "the line cannot be written in ISO-8859-1"}},
		{"character set of the shell", Spec{Shell: "€", Text: latin1}, Error{Field: "Shell", Reason: "it cannot be written in ISO-8859-1"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			line, err := Build(test.spec)
			fault, ok := err.(*Error)
			if !ok || line != "" {
				t.Fatalf("%q, %v", line, err)
			}
			if fault.Field != test.want.Field || fault.Name != test.want.Name || !strings.HasPrefix(fault.Reason, test.want.Reason) {
				t.Errorf("%+v, want %+v", *fault, test.want)
			}
		})
	}
}

// FuzzBuild checks that a value reaches the shell unchanged through all wrapping.
func FuzzBuild(f *testing.F) {
	for _, value := range []string{"it's", `"`, `\`, "$HOME", "`id`", "a\nb", "!", "*", "", " ", `'\''`, "é", "%s"} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		line, err := Build(Spec{
			Line: `printf '%%s|%%s|' %q "$V"`, Values: &Values{List: []string{value}},
			Shell: "sh -c", Env: map[string]string{"V": value},
		})
		if strings.Contains(value, "\x00") {
			if err == nil {
				t.Errorf("a NUL byte is accepted: %q", line)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(line) > 100<<10 {
			return // longer than one argument may be
		}
		out, err := exec.Command("sh", "-c", line).Output()
		if err != nil || string(out) != value+"|"+value+"|" {
			t.Errorf("sh reads %s as %q (%v)", line, out, err)
		}
	})
}
