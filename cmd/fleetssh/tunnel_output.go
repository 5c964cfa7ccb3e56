package main

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/clipperhouse/displaywidth"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/display"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// jsonTunnel is where a tunnel listens and leads to. The proxy for all hosts has no host and no index.
type jsonTunnel struct {
	Type   string             `json:"type"`
	Time   time.Time          `json:"time"`
	Kind   string             `json:"kind"` // local (here), remote (on the host), socks or proxy
	Host   string             `json:"host,omitempty"`
	Index  *int               `json:"index,omitempty"`
	Listen string             `json:"listen"`
	Target string             `json:"target,omitempty"`
	Error  *results.JSONError `json:"error,omitempty"` // the host could not be reached, or does not listen
}

// showTunnels shows all tunnels.
func (w *tunnelRun) showTunnels(screen *termline.Screen, format string) {
	width := 0
	for i := range w.hosts {
		width = max(width, displaywidth.String(w.hosts[i].Label))
	}
	for n, plan := range w.plans {
		for i, t := range w.tunnels[n] {
			switch label := w.hosts[i].Label; {
			case format == "json":
				display.PutJSON(screen, w.describe(n, i, t))
			case plan.kind == "proxy":
				w.showProxy(screen, t)
			case plan.kind == "remote" && w.failed[n][i] != nil: // the host does not listen
			default:
				line := label + fmt.Sprintf("%*s", width-displaywidth.String(label), "") + "  " + plan.text(t)
				screen.Out("", termline.Visible(line))
			}
		}
	}
}

func (w *tunnelRun) describe(n, i int, t *fleetssh.Tunnel) jsonTunnel {
	plan := w.plans[n]
	j := jsonTunnel{Type: "tunnel", Time: time.Now(), Kind: plan.kind, Listen: t.Addr().String(), Target: fullTarget(plan.target)}
	if plan.kind == "each" {
		j.Kind = "local"
	}
	if plan.kind == "proxy" {
		return j
	}
	j.Host, j.Index = w.hosts[i].Name, &i
	if err := w.failed[n][i]; err != nil {
		r := w.failure(i, err)
		j.Error = r.JSONError()
	}
	return j
}

// text returns where a tunnel listens and leads to.
func (p tunnelPlan) text(t *fleetssh.Tunnel) string {
	at, to := t.Addr().String(), fullTarget(p.target)
	switch p.kind {
	case "remote":
		return "remote " + at + " -> local " + to
	case "socks":
		return at + " -> SOCKS"
	}
	return at + " -> " + to
}

// fullTarget adds the host to a target that is only a port.
func fullTarget(target string) string {
	if _, err := strconv.Atoi(strings.TrimPrefix(target, ":")); err == nil {
		return net.JoinHostPort("localhost", strings.TrimPrefix(target, ":"))
	}
	return target
}

// showProxy shows where the proxy for all hosts listens, and how to use it.
func (w *tunnelRun) showProxy(screen *termline.Screen, t *fleetssh.Tunnel) {
	at := t.Addr().String()
	screen.Out("", termline.Visible(fmt.Sprintf("all hosts  %s -> SOCKS and HTTP proxy", at)))
	if t.Addr().Network() == "unix" {
		at = "localhost" + at
	}
	name := w.hosts[0].Name
	for i := range w.hosts {
		if w.summary.Results[i].OK {
			name = w.hosts[i].Name
		}
	}
	screen.Message(termline.Visible(fmt.Sprintf("fleetssh: try: curl -x socks5h://%s http://%s:9100/", at, name)))
}
