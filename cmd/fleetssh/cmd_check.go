package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/clipperhouse/displaywidth"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/selection"
)

const checkHelp = `Connect to all hosts and log in, and show how long it took. Nothing is run.

  fleetssh check -w web[1-20],db1
  fleetssh check -w web[1-20] --connect-timeout 5s --attempts 1
  fleetssh check -w web[1-20] --format json | jq 'select(.ok == false)'

usage: fleetssh check [options]

` + selection.Help + `
What is shown:
      --format FORMAT       stream: a line a host, as it comes (default)
                            json: one object a line

connect is looking up the name and opening the connection, handshake the exchange
of keys and the check of the host key, login the proof of who you are; hop is the
wait for the connection to the hop, which all hosts behind it share. Then come the
hops, the method that let us in with the key it used, and the key of the host.
What hosts want to be read before a login (banners) follows, each text once.
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

func newCheck(c *call) *cobra.Command {
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

func (o *checkOptions) run(ctx context.Context, c *call) error {
	o.hosts.Checks = true
	hosts, err := o.hosts.Hosts(ctx, c.env(), o.format != "stream")
	if err != nil {
		return err
	}
	checkCtx, end := c.working(ctx)
	defer end()
	client := &fleetssh.ParallelClient{Hosts: selection.Configs(hosts), PoolSize: o.hosts.Fanout, Logger: slog.New(c.warnings)}
	o.hosts.Protect(c.env(), client)
	defer client.Close()
	t := newTally(hosts)
	t.waiting.working = client.Working
	defer c.watching(ctx, t.waiting, false)()
	show := t.showCheck(c)
	if o.format == "json" {
		show = t.showCheckJSON(c)
	}
	for r := range logIns(checkCtx, client) {
		show(t.put(r))
	}
	t.interrupted = ctx.Err() != nil
	if err := c.screen.Failure(); err != nil && !t.interrupted {
		return exit.OutputError(err)
	}
	if o.format != "json" {
		t.showBanners(c.screen)
	}
	c.warnings.show(c.screen)
	if o.format == "json" {
		s := t.summary()
		s.Outcomes = make(map[string]int)
		for i := range t.results {
			s.Outcomes[checkOutcome(&t.results[i])]++
		}
		putJSON(c.screen, s)
	} else {
		t.showFailures(c.screen)
	}
	return t.err()
}

// logIns logs in to the hosts, PoolSize at once, and returns how each went. The channel
// is closed when all are done; it must be read until then.
func logIns(ctx context.Context, client *fleetssh.ParallelClient) <-chan result {
	n := len(client.Hosts)
	results := make(chan result)
	next := make(chan int)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(next)
		for i := range n {
			next <- i
		}
	})
	for range min(client.PoolSize, n) {
		wg.Go(func() {
			for i := range next {
				if ctx.Err() != nil {
					results <- result{index: i, outcome: fleetssh.Outcome{Kind: fleetssh.Skipped}}
					continue
				}
				connection, err := client.Client(ctx, i)
				r := logInResult(i, &client.Hosts[i], connection, err)
				if err == nil {
					connection.Close()
				}
				results <- r
			}
		})
	}
	go func() {
		wg.Wait()
		close(results)
	}()
	return results
}

// logInResult is what became of one host. A login that worked counts as a command
// that did.
func logInResult(i int, host *fleetssh.HostConfig, connection *fleetssh.Client, err error) result {
	r := result{index: i, problem: problemOf(err, host)}
	if err == nil {
		r.ok, r.timing, r.outcome.Kind = true, connection.Timing(), fleetssh.Exited
		r.logins = connection.Logins()
		return r
	}
	r.message = err.Error()
	r.timing.Attempts = r.problem.tries
	r.outcome = fleetssh.OutcomeOf(err)
	if r.outcome.Kind == fleetssh.Cancelled {
		r.problem = problem{}
	}
	return r
}

// showCheck shows results in columns.
func (t *tally) showCheck(c *call) func(*result) {
	width := 0
	for _, h := range t.hosts {
		width = max(width, displaywidth.String(h.Label))
	}
	return func(r *result) {
		label := t.hosts[r.index].Label
		text := fmt.Sprintf("%*s", width-displaywidth.String(label), "")
		switch {
		case r.ok:
			text += "ok      "
			if len(r.logins) > 1 {
				text += fmt.Sprintf("hop %7s  ", columnTime(r.timing.Proxy))
			}
			text += fmt.Sprintf("connect %7s  handshake %7s  login %7s",
				columnTime(r.timing.Resolve+r.timing.Connect), columnTime(r.timing.Handshake), columnTime(r.timing.Auth))
			if r.timing.Attempts > 1 {
				text += fmt.Sprintf("  (%d attempts)", r.timing.Attempts)
			}
			text += "  " + loginText(r.logins)
		case r.problem.reason == "":
			text += "-       not tried"
		default:
			text += fmt.Sprintf("failed  %s: %s", r.problem.phase, r.problem.reason)
		}
		c.screen.Out(label+": ", text)
	}
}

// loginText says by which way and with what a host was logged in to.
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
		by += " " + keyText(last.Key)
	}
	return strings.Join(append(parts, by, "host key "+keyText(last.HostKey)), "  ")
}

// keyText names a key as ssh-keygen -l does.
func keyText(key ssh.PublicKey) string {
	return key.Type() + " " + ssh.FingerprintSHA256(key)
}

// columnTime writes a time in few characters.
func columnTime(d time.Duration) string {
	if d >= 10*time.Second {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return fmt.Sprintf("%.1fms", float64(d)/1e6)
}

// jsonCheck is what check says of one host.
type jsonCheck struct {
	Type        string     `json:"type"`
	Time        time.Time  `json:"time"`
	Host        string     `json:"host"`
	Index       int        `json:"index"`
	OK          bool       `json:"ok"`
	Outcome     string     `json:"outcome"`
	Error       *jsonError `json:"error"`
	Attempts    int        `json:"attempts"`
	ProxyMS     float64    `json:"proxy_ms,omitempty"`
	ResolveMS   float64    `json:"resolve_ms"`
	ConnectMS   float64    `json:"connect_ms"` // the whole, as in the results of run
	HandshakeMS float64    `json:"handshake_ms"`
	AuthMS      float64    `json:"auth_ms"`

	*jsonLogin             // of the host
	Hops       []jsonLogin `json:"hops,omitempty"` // on the way, in their order
}

// jsonLogin says how a host was logged in to.
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

func (t *tally) showCheckJSON(c *call) func(*result) {
	return func(r *result) {
		o := jsonCheck{
			Type: "check", Time: time.Now(),
			Host: t.hosts[r.index].Name, Index: r.index,
			OK: r.ok, Outcome: checkOutcome(r), Error: r.jsonError(), Attempts: r.timing.Attempts,
			ResolveMS:   milliseconds(r.timing.Resolve),
			ConnectMS:   milliseconds(connectTime(r.timing)),
			HandshakeMS: milliseconds(r.timing.Handshake),
			AuthMS:      milliseconds(r.timing.Auth),
			ProxyMS:     milliseconds(r.timing.Proxy),
		}
		for i := range r.logins {
			l := newJSONLogin(&r.logins[i])
			if i == len(r.logins)-1 {
				o.jsonLogin = l
				break
			}
			l.Hop = r.logins[i].Host.String()
			o.Hops = append(o.Hops, *l)
		}
		putJSON(c.screen, o)
	}
}

// checkOutcome is the outcome of a check: nothing ran, so nothing exited.
func checkOutcome(r *result) string {
	if r.ok {
		return "ok"
	}
	return r.outcome.Kind.String()
}
