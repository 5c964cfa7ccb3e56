// Package audit shows what logging in has told about hosts: a few lines for each host, a table of what
// hosts have in common and where they differ, or JSON.
package audit

import (
	"crypto/rsa"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/fold"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/cmd/fleetssh/internal/termline"
)

const (
	width     = 100 // columns of the table
	titleCols = 14  // columns of the titles of its rows
	valueCols = 40  // columns of a value that has its hosts in the same line

	// maxValues is the largest number of values that are shown of a row. A hostile fleet can have one
	// for each host.
	maxValues = 20
)

// row is what one row of the table is about.
type row struct {
	title string
	value func(r *results.Result) string // empty: there is none
}

// notKnown stands for what an OpenSSH master does not tell about the connection that it shares.
const notKnown = "not known: through an OpenSSH master"

// ofLogin returns a value of the login to the host itself.
func ofLogin(value func(l *fleetssh.Login) string) func(*results.Result) string {
	return func(r *results.Result) string {
		l := &r.Logins[len(r.Logins)-1]
		if l.Master != "" {
			return notKnown
		}
		return value(l)
	}
}

// rows are the rows of the table.
var rows = []row{
	{"version", ofLogin(func(l *fleetssh.Login) string { return l.Version })},
	{"key exchange", ofLogin(func(l *fleetssh.Login) string { return l.Algorithms.KeyExchange })},
	{"post-quantum", ofLogin(postQuantumText)},
	{"cipher", ofLogin(cipher)},
	{"MAC", ofLogin(mac)},
	{"host key", ofLogin(func(l *fleetssh.Login) string { return keyKind(l.HostKey) })},
	{"allowed", ofLogin(allowedText)},
	{"login", loginText},
	{"through", func(r *results.Result) string { return throughText(r.Logins) }},
	{"attempts", func(r *results.Result) string {
		if r.Timing.Attempts < 2 {
			return ""
		}
		return fmt.Sprint(r.Timing.Attempts)
	}},
}

// cipher returns the cipher of both directions.
func cipher(l *fleetssh.Login) string {
	return directions(l.Algorithms.Write.Cipher, l.Algorithms.Read.Cipher)
}

// mac returns the MAC of both directions.
func mac(l *fleetssh.Login) string {
	of := func(d ssh.DirectionAlgorithms) string {
		if d.MAC == "" {
			return "part of the cipher"
		}
		return d.MAC
	}
	return directions(of(l.Algorithms.Write), of(l.Algorithms.Read))
}

func directions(out, in string) string {
	if out == in {
		return out
	}
	return out + " to the host, " + in + " back"
}

// keyKind returns the type of a host key, with its length if keys of the type differ in that.
func keyKind(key ssh.PublicKey) string {
	if key == nil {
		return ""
	}
	text := key.Type()
	if public, ok := results.PlainKey(key).(ssh.CryptoPublicKey); ok {
		if n, ok := public.CryptoPublicKey().(*rsa.PublicKey); ok {
			text += fmt.Sprintf(", %d bits", n.N.BitLen())
		}
	}
	return text
}

// loginText returns the methods and the key that were accepted.
func loginText(r *results.Result) string {
	l := &r.Logins[len(r.Logins)-1]
	if l.Master != "" {
		return "by the OpenSSH master at " + termline.Visible(l.Master)
	}
	text := strings.Join(l.Methods, "+")
	if l.Key != nil {
		text += " " + results.KeyText(l.Key)
	}
	return text
}

// allowedText returns the methods by which the host lets its users log in.
func allowedText(l *fleetssh.Login) string {
	if len(l.Allowed) == 0 {
		return "none needed"
	}
	return strings.Join(l.Allowed, ", ")
}

// throughText returns the hops of a login.
func throughText(logins []fleetssh.Login) string {
	var hops []string
	for i := range logins[:len(logins)-1] {
		hops = append(hops, logins[i].Host.String())
	}
	return strings.Join(hops, ", ")
}

// Table shows what the hosts that were logged in to have in common, and which of them differ, and then
// how many there are.
func Table(screen *termline.Screen, t *results.Summary) {
	ok := hostsOK(t)
	for _, row := range rows {
		var values fold.Texts[int]
		for _, r := range ok {
			if text := row.value(r); text != "" {
				values.Add(text, r.Index)
			}
		}
		showRow(screen, t, row.title, &values, len(ok))
	}
	if len(ok) > 0 {
		showTimes(screen, t, ok)
	}
	showSharedKeys(screen, t, ok)
}

// Total shows how many hosts were logged in to.
func Total(screen *termline.Screen, t *results.Summary) {
	text := fmt.Sprintf("%s: %d ok", selection.CountHosts(len(t.Hosts)), len(hostsOK(t)))
	if n := t.Failed(); n > 0 {
		text += fmt.Sprintf(", %d failed", n)
	}
	if n := t.Skipped(); n > 0 {
		text += fmt.Sprintf(", %d not tried", n)
	}
	screen.Out("", text)
}

// hostsOK returns the results of hosts that were logged in to, in the order of the hosts.
func hostsOK(t *results.Summary) []*results.Result {
	var ok []*results.Result
	for i := range t.Results {
		if r := &t.Results[i]; r.OK && len(r.Logins) > 0 {
			ok = append(ok, r)
		}
	}
	slices.SortFunc(ok, func(a, b *results.Result) int { return a.Index - b.Index })
	return ok
}

// showRow shows the values of a row, the most common first. A value of all hosts needs no hosts.
func showRow(screen *termline.Screen, t *results.Summary, title string, values *fold.Texts[int], hosts int) {
	shown := 0
	for value, having := range values.BySize() {
		if shown++; shown > maxValues {
			screen.Out(titled(screen, ""), fmt.Sprintf("… and %d more values: --verbose shows them", values.Len()-maxValues))
			return
		}
		prefix := titled(screen, title)
		title = ""
		if len(having) == hosts {
			screen.Out(prefix, value)
			continue
		}
		indent, line := valueCols+2, fmt.Sprintf("%-*s", valueCols+2, value)
		if len(value) > valueCols {
			screen.Out(prefix, value)
			prefix, indent, line = titled(screen, ""), 2, "  "
		}
		for _, part := range splitSet(t.Counted(having), width-titleCols-indent) {
			screen.Out(prefix, line+part)
			prefix, line = titled(screen, ""), strings.Repeat(" ", indent)
		}
	}
}

// titled returns the title of a row, as wide as all of them.
func titled(screen *termline.Screen, title string) string {
	return screen.Paint(termline.Heading, fmt.Sprintf("%-*s", titleCols, title))
}

// splitSet breaks a host set after commas, into parts of at most so many columns where that is possible.
func splitSet(set string, columns int) []string {
	var parts []string
	for len(set) > columns {
		at := strings.LastIndexByte(set[:columns], ',') + 1
		if at == 0 {
			if at = strings.IndexByte(set, ',') + 1; at == 0 {
				break
			}
		}
		parts, set = append(parts, set[:at]), set[at:]
	}
	return append(parts, set)
}

// showTimes shows how long the phases took on the median host, and the slowest host.
func showTimes(screen *termline.Screen, t *results.Summary, ok []*results.Result) {
	median := func(of func(fleetssh.Timing) time.Duration) time.Duration {
		times := make([]time.Duration, len(ok))
		for i, r := range ok {
			times[i] = of(r.Timing)
		}
		slices.Sort(times)
		return times[len(times)/2]
	}
	text := fmt.Sprintf("connect %s, handshake %s, login %s",
		results.ColumnTime(median(connectTime)), results.ColumnTime(median(func(t fleetssh.Timing) time.Duration { return t.Handshake })),
		results.ColumnTime(median(func(t fleetssh.Timing) time.Duration { return t.Auth })))
	screen.Out(titled(screen, "median time"), text)
	if len(ok) > 1 {
		slowest := slices.MaxFunc(ok, func(a, b *results.Result) int {
			return int(results.ConnectTime(a.Timing) - results.ConnectTime(b.Timing))
		})
		screen.Out(titled(screen, "slowest"), fmt.Sprintf("%s in all: %s", results.ColumnTime(results.ConnectTime(slowest.Timing)), t.Hosts[slowest.Index].Label))
	}
}

// connectTime is the time for the name and the connection.
func connectTime(t fleetssh.Timing) time.Duration { return t.Resolve + t.Connect }

// showSharedKeys shows hosts that have the same host key.
func showSharedKeys(screen *termline.Screen, t *results.Summary, ok []*results.Result) {
	byKey := make(map[string][]int)
	for _, r := range ok {
		if key := r.Logins[len(r.Logins)-1].HostKey; key != nil {
			text := results.KeyText(results.PlainKey(key))
			byKey[text] = append(byKey[text], r.Index)
		}
	}
	shown := 0
	for _, key := range slices.Sorted(maps.Keys(byKey)) {
		if len(byKey[key]) == 1 {
			continue
		}
		if shown++; shown > maxValues {
			screen.Out("", "… more hosts show the same keys: --verbose shows all keys")
			return
		}
		prefix := titled(screen, "same key")
		for line := range strings.SplitSeq(termline.Wrap(results.SameKeyText(t.Fold(byKey[key]), key), 0, width-titleCols), "\n") {
			for _, part := range splitSet(line, width-titleCols) {
				screen.Out(prefix, part)
				prefix = titled(screen, "")
			}
		}
	}
}
