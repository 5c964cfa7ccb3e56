package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/clipperhouse/displaywidth"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/display"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/selection"
)

const checkHelp = `Connect to all hosts and log in, and show how long it took. Nothing is run.

  fleetssh check -w web[1-20],db1
  fleetssh check -w web[1-20] --connect-timeout 5s --attempts 1
  fleetssh check -w web[1-20] --format json | jq 'select(.ok == false)'

usage: fleetssh check [options]

` + selection.Help + `
Output:
      --format FORMAT       stream: one line per host, when it is done (default)
                            json: one object per line

connect is the name lookup and the connection, handshake the key exchange and the
check of the host key, login the authentication; hop is the wait for the
connection to the hop, which all hosts behind it share. The rest of the line is
the hops, the method and the key that were accepted, and the host key. Texts that
hosts send before a login (banners) follow, each one once.
DUR is 10 or 10s for seconds, 500ms, 2m.

`

// checkOptions are the flags of check.
type checkOptions struct {
	hosts  selection.Flags
	format string
}

func (o *checkOptions) register(flags *pflag.FlagSet) {
	o.hosts.Register(flags)
	registerFormat(flags, &o.format)
}

func newCheck(c *app) *cobra.Command {
	o := new(checkOptions)
	cmd := &cobra.Command{
		Use:  "check",
		Long: checkHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return o.hosts.NoCommand("check", args)
			}
			if err := refuseForAgent(cmd.Flags()); err != nil {
				return err
			}
			return o.run(cmd.Context(), c)
		},
	}
	o.register(cmd.Flags())
	return cmd
}

func (o *checkOptions) run(ctx context.Context, c *app) error {
	o.hosts.SkipKeyCheck = true
	hosts, err := o.hosts.Hosts(ctx, c.environment(), o.format != "stream")
	if err != nil {
		return err
	}
	checkCtx, end := c.workContext(ctx)
	defer end()
	client := &fleetssh.ParallelClient{Hosts: selection.Configs(hosts), PoolSize: o.hosts.Fanout, OneShot: true, Logger: slog.New(c.warnings)}
	o.hosts.SetPasswordPolicy(c.environment(), client)
	defer client.Close()
	t := results.New(hosts)
	t.Outstanding.Working = client.Working
	defer c.reportOnRequest(ctx, t.Outstanding, false)()
	show := showCheck(c, t)
	if o.format == "json" {
		show = showCheckJSON(c, t)
	}
	for r := range logIns(checkCtx, client) {
		show(t.AddResult(r))
	}
	t.Interrupted = ctx.Err() != nil
	if err := c.screen.Failure(); err != nil && !t.Interrupted {
		return exit.OutputError(err)
	}
	if o.format != "json" {
		display.ShowBanners(c.screen, t)
	}
	c.warnings.Show(c.screen)
	if o.format == "json" {
		s := t.JSONSummary()
		s.Outcomes = make(map[string]int)
		for i := range t.Results {
			s.Outcomes[checkOutcome(&t.Results[i])]++
		}
		display.PutJSON(c.screen, s)
	} else {
		t.ShowFailures(c.screen)
	}
	return t.Err()
}

// logIns logs in to the hosts, PoolSize at once, and returns how each went. The channel
// is closed when all are done; it must be read until then.
func logIns(ctx context.Context, client *fleetssh.ParallelClient) <-chan results.Result {
	ended := make(chan results.Result)
	client.HostDone = func(i int, err error) {
		switch {
		case err == nil: // told below
		case fleetssh.OutcomeOf(err).Kind == fleetssh.Skipped:
			ended <- results.Result{Index: i, Outcome: fleetssh.OutcomeOf(err)}
		default:
			ended <- results.LoginResult(i, &client.Hosts[i], nil, err)
		}
	}
	go func() {
		defer close(ended)
		_ = client.Do(ctx, func(_ context.Context, i int, c *fleetssh.Client) error { // HostDone has its errors
			ended <- results.LoginResult(i, &client.Hosts[i], c, nil)
			return nil
		})
	}()
	return ended
}

// showCheck shows results in columns.
func showCheck(c *app, t *results.Summary) func(*results.Result) {
	width := 0
	for _, h := range t.Hosts {
		width = max(width, displaywidth.String(h.Label))
	}
	return func(r *results.Result) {
		label := t.Hosts[r.Index].Label
		text := fmt.Sprintf("%*s", width-displaywidth.String(label), "")
		switch {
		case r.OK:
			text += "ok      "
			if len(r.Logins) > 1 {
				text += fmt.Sprintf("hop %7s  ", columnTime(r.Timing.Proxy))
			}
			text += fmt.Sprintf("connect %7s  handshake %7s  login %7s",
				columnTime(r.Timing.Resolve+r.Timing.Connect), columnTime(r.Timing.Handshake), columnTime(r.Timing.Auth))
			if r.Timing.Attempts > 1 {
				text += fmt.Sprintf("  (%d attempts)", r.Timing.Attempts)
			}
			text += "  " + loginText(r.Logins)
		case r.Problem.Reason == "":
			text += "-       not tried"
		default:
			text += fmt.Sprintf("failed  %s: %s", r.Problem.Phase, r.Problem.Reason)
		}
		c.screen.Out(label+": ", text)
	}
}

// loginText returns the hops, the methods and the keys of a login.
func loginText(logins []fleetssh.Login) string {
	var parts []string
	var hops []string
	last := logins[len(logins)-1]
	for _, hop := range logins[:len(logins)-1] {
		hops = append(hops, hop.Host.String())
	}
	if hops != nil {
		parts = append(parts, "through "+strings.Join(hops, ", "))
	}
	if last.Master != "" {
		return strings.Join(append(parts, "by the OpenSSH master at "+last.Master), "  ")
	}
	by := "by " + strings.Join(last.Methods, "+")
	if last.Key != nil {
		by += " " + results.KeyText(last.Key)
	}
	return strings.Join(append(parts, by, "host key "+results.KeyText(last.HostKey)), "  ")
}

// columnTime formats a duration in few characters.
func columnTime(d time.Duration) string {
	if d >= 10*time.Second {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return fmt.Sprintf("%.1fms", float64(d)/1e6)
}

// jsonCheck is the result of check for one host.
type jsonCheck struct {
	Type        string             `json:"type"`
	Time        time.Time          `json:"time"`
	Host        string             `json:"host"`
	Index       int                `json:"index"`
	OK          bool               `json:"ok"`
	Outcome     string             `json:"outcome"`
	Error       *results.JSONError `json:"error"`
	Attempts    int                `json:"attempts"`
	ProxyMS     float64            `json:"proxy_ms,omitempty"`
	ResolveMS   float64            `json:"resolve_ms"`
	ConnectMS   float64            `json:"connect_ms"` // the total, as in the results of run
	HandshakeMS float64            `json:"handshake_ms"`
	AuthMS      float64            `json:"auth_ms"`

	*jsonLogin             // of the host
	Hops       []jsonLogin `json:"hops,omitempty"` // in the order of the route
}

// jsonLogin describes a login.
type jsonLogin struct {
	Hop     string   `json:"hop,omitempty"`
	Methods []string `json:"methods,omitempty"`
	Key     string   `json:"key,omitempty"`
	HostKey string   `json:"host_key,omitempty"`
	Banner  string   `json:"banner,omitempty"`
	Master  string   `json:"master,omitempty"`
}

func newJSONLogin(l *fleetssh.Login) *jsonLogin {
	j := &jsonLogin{Methods: l.Methods, Master: l.Master, Banner: l.Banner}
	if l.Key != nil {
		j.Key = ssh.FingerprintSHA256(l.Key)
	}
	if l.HostKey != nil {
		j.HostKey = ssh.FingerprintSHA256(l.HostKey)
	}
	return j
}

// showCheckJSON shows results as objects.
func showCheckJSON(c *app, t *results.Summary) func(*results.Result) {
	return func(r *results.Result) {
		o := jsonCheck{
			Type: "check", Time: time.Now(),
			Host: t.Hosts[r.Index].Name, Index: r.Index,
			OK: r.OK, Outcome: checkOutcome(r), Error: r.JSONError(), Attempts: r.Timing.Attempts,
			ResolveMS:   results.Milliseconds(r.Timing.Resolve),
			ConnectMS:   results.Milliseconds(results.ConnectTime(r.Timing)),
			HandshakeMS: results.Milliseconds(r.Timing.Handshake),
			AuthMS:      results.Milliseconds(r.Timing.Auth),
			ProxyMS:     results.Milliseconds(r.Timing.Proxy),
		}
		for i := range r.Logins {
			l := newJSONLogin(&r.Logins[i])
			if i == len(r.Logins)-1 {
				o.jsonLogin = l
				break
			}
			l.Hop = r.Logins[i].Host.String()
			o.Hops = append(o.Hops, *l)
		}
		display.PutJSON(c.screen, o)
	}
}

// checkOutcome returns the outcome of a check. Nothing ran, so "exited" becomes "ok".
func checkOutcome(r *results.Result) string {
	if r.OK {
		return "ok"
	}
	return r.Outcome.Kind.String()
}
