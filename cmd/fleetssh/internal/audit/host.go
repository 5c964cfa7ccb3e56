package audit

import (
	"fmt"

	"github.com/clipperhouse/displaywidth"

	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// ShowHost returns a function that shows what is known of a host, on a few lines.
func ShowHost(screen *termline.Screen, t *results.Summary) func(*results.Result) {
	columns := 0
	for _, h := range t.Hosts {
		columns = max(columns, displaywidth.String(h.Label))
	}
	return func(r *results.Result) {
		label := t.Hosts[r.Index].Label
		pad := fmt.Sprintf("%*s", columns-displaywidth.String(label), "")
		prefix := screen.Paint(termline.Label, label) + ": " + pad
		out := func(format string, args ...any) { screen.Out(prefix, fmt.Sprintf(format, args...)) }
		switch {
		case r.OK:
		case r.Problem.Reason == "":
			out("-       not tried")
			return
		default:
			prefix += screen.Paint(termline.Failure, "failed") + "  "
			out("%s: %s", r.Problem.Phase, r.Problem.Reason)
			return
		}
		times := fmt.Sprintf("connect %7s  handshake %7s  login %7s", results.ColumnTime(connectTime(r.Timing)), results.ColumnTime(r.Timing.Handshake), results.ColumnTime(r.Timing.Auth))
		if len(r.Logins) > 1 {
			times = fmt.Sprintf("hop %7s  ", results.ColumnTime(r.Timing.Proxy)) + times
		}
		if r.Timing.Attempts > 1 {
			times += fmt.Sprintf("  (%d attempts)", r.Timing.Attempts)
		}
		out("ok      %s", times)
		if through := throughText(r.Logins); through != "" {
			out("        through  %s", through)
		}
		l := &r.Logins[len(r.Logins)-1]
		if l.Master != "" {
			out("        login    %s", loginText(r))
			return
		}
		out("        login    %s", loginText(r))
		out("        allowed  %s", allowedText(l))
		out("        host key %s", results.KeyText(l.HostKey))
		out("        server   %s", l.Version)
		algorithms := l.Algorithms.KeyExchange + "  " + cipher(l)
		if l.Algorithms.Write.MAC != "" || l.Algorithms.Read.MAC != "" {
			algorithms += "  " + mac(l)
		}
		out("        with     %s", algorithms)
		if text := postQuantumText(l); text != "yes" {
			out("        post-quantum: %s", text)
		}
	}
}
