package session

import (
	"fmt"
	"strings"
	"testing"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/sshdtest"
)

// Variables are sent before commands, shells and consoles; the host accepts the names in its
// AcceptEnv.
func TestSSHDSendEnv(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	_, host := fleettest.StartSSHD(t, sshdtest.Options{Config: []string{"AcceptEnv FOO BAR"}})
	host.SendEnv = map[string]string{"FOO": "it's $x", "BAR": "", "REFUSED": "1"}
	const line = `echo "<$FOO><${BAR-unset}><$REFUSED>"`
	const want = "<it's $x><><>\n"
	c := fleettest.Dial(t, host)
	fleettest.Equal(t, "command", fleettest.Output(t, c, line), want)
	p := fleettest.NewFleet(t, host)
	outs, err := p.RunCommand(fleettest.Soon(t), fleetssh.Command{Line: line, PTY: &fleetssh.PTY{}})
	if err != nil {
		t.Fatal(err)
	}
	fleettest.Equal(t, "with a terminal", fleettest.Text(t, outs[0].Stdout), strings.ReplaceAll(want, "\n", "\r\n"))
	outs, err = p.RunCommand(fleettest.Soon(t), fleetssh.Command{LoginShell: true, Stdin: strings.NewReader(line + "\n")})
	if err != nil {
		t.Fatal(err)
	}
	fleettest.Equal(t, "login shell", fleettest.Text(t, outs[0].Stdout), want)
}

// The terminal type of a PTY request is TERM, whether or not the host accepts the variable.
func TestSSHDSendEnvTerm(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	_, host := fleettest.StartSSHD(t, sshdtest.Options{})
	for set, want := range map[string]string{"": "vt100", "xterm-256color": "xterm-256color"} {
		host.SendEnv = map[string]string{"TERM": set}
		p := fleettest.NewFleet(t, host)
		outs, err := p.RunCommand(fleettest.Soon(t), fleetssh.Command{Line: "echo $TERM", PTY: &fleetssh.PTY{Term: "vt100"}})
		if err != nil {
			t.Fatal(err)
		}
		fleettest.Equal(t, "TERM with "+set, strings.TrimSpace(fleettest.Text(t, outs[0].Stdout)), want)
	}
}

func TestSendEnvIsChecked(t *testing.T) {
	t.Parallel()
	many := make(map[string]string)
	for i := range 129 {
		many[fmt.Sprint("V", i)] = ""
	}
	for name, env := range map[string]map[string]string{
		"no name": {"": "x"}, "equals": {"A=B": "x"}, "NUL in the name": {"A\x00": "x"}, "NUL": {"A": "\x00"},
		"many": many, "long": {"A": strings.Repeat("x", 3<<20)},
	} {
		_, err := fleetssh.Dial(fleettest.Soon(t), fleetssh.HostConfig{Host: "h", SendEnv: env})
		if e := fleettest.AsError[*fleetssh.ConfigError](t, err); e.Field != "HostConfig.SendEnv" {
			t.Errorf("%s: %v", name, e)
		}
	}
	h := fleetssh.HostConfig{Host: "h", SendEnv: map[string]string{"TOKEN": "s3cret"}}
	if text := fmt.Sprintf("%v %+v %#v", h, h, h); strings.Contains(text, "s3cret") {
		t.Error(text)
	}
}
