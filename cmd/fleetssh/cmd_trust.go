package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/display"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/flagvalue"
	"fleetssh/cmd/fleetssh/internal/help"
	"fleetssh/cmd/fleetssh/internal/keyaudit"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/hostset"
	"fleetssh/internal/knownhosts"
)

const trustHelp = `Collect host keys, review them, and trust them.

  fleetssh trust scan -w web[1-200]
  fleetssh trust scan -w web[1-200] --save keys
  fleetssh trust accept keys
  fleetssh trust accept -w web[1-200] --fingerprints from-the-console

usage: fleetssh trust scan [options]
       fleetssh trust accept [options] [FILE]

  scan      show which keys hosts have, and what has changed
  accept    add new keys to known_hosts

fleetssh trust scan --help shows the options.

`

const trustExitHelp = `For trust, exit code 0 means that all hosts have shown their keys and none needs
attention; 4 means that a host could not be reached, or has a key that is changed,
revoked or invalid, or that is missing from --fingerprints.

`

const scanHelp = `Show all keys that hosts have, and which of them are known. No login takes place,
and no key becomes trusted.

  fleetssh trust scan -w web[1-200]
  fleetssh trust scan -w web[1-200] -J bastion --save keys
  fleetssh trust scan -w web[1-200] --format json | jq 'select(.state == "changed")'

usage: fleetssh trust scan [options]

` + selection.Help + `
Output:
      --format FORMAT       text: one line per key, as they come (default)
                            json: one object per line
      --save FILE           save the keys, to review and accept them later
` + display.LookHelp + `
The login options apply to hops only, whose keys must be trusted. Keys are looked
up where run looks for them: in the file of --known-hosts, else in those that
ssh_config names for the host, else in those that ssh reads by default. A key is
  known         listed for the host
  certificate   signed by an authority that is listed for the host
  new           of a host for which no key is listed
  other         not listed, but another key of the host is
  changed       not the key that is listed for the host: both are shown
  revoked       listed as one never to be trusted
  invalid       a certificate of a listed authority, but not for this host and time
  weak          an RSA key shorter than RequiredRSASize of ssh_config allows
DUR is 10 or 10s for seconds, 500ms, 2m.

` + trustExitHelp

const acceptHelp = `Add new host keys to known_hosts, all at once, after showing them. The keys come
from a file that trust scan --save has written, or from the hosts.

  fleetssh trust accept keys
  fleetssh trust accept -w web[1-200] --fingerprints from-the-console --yes
  fleetssh trust accept keys --replace web7

usage: fleetssh trust accept [options] [FILE]

Choosing keys:
      --fingerprints FILE   only keys with a fingerprint in FILE: lines of a host
                            and its fingerprints, SHA256:...
      --replace EXPR        accept all keys that these hosts show now: add those
                            that are not listed, and replace the listed ones that
                            have changed; may be given several times
      --hash                hash the host names in the added lines, as
                            HashKnownHosts of ssh_config does
      --yes                 do not ask
      --format FORMAT       text: one line per key (default); json: one object per
                            line
` + display.LookHelp + `
A changed key is shown with the known one, and no key of that host is added
unless --replace names it; the previous file is then kept as FILE.old. Revoked
keys are never added. Keys of types that are not listed for a known host are added
only with --fingerprints: an attacker who intercepts some of the connections could
otherwise add a key of his own.

` + selection.Help + `
The login options apply to hops only, whose keys must be trusted. Keys are added
where run looks for them: to the file of --known-hosts, else to the first that
UserKnownHostsFile of ssh_config names for the host, else to ~/.ssh/known_hosts.
The question names the file.
DUR is 10 or 10s for seconds, 500ms, 2m.

` + trustExitHelp

// trustOptions are the flags that scan and accept share.
type trustOptions struct {
	hosts  selection.Flags
	format string
	look   display.Look
}

func (o *trustOptions) register(flags *pflag.FlagSet) {
	o.hosts.Register(flags)
	o.format = "text"
	flags.Var(flagvalue.Choice{To: &o.format, From: []string{"text", "json"}}, "format", "")
	o.look.Register(flags)
	display.RegisterTrace(flags, "v")
}

// acceptOptions are the flags of accept.
type acceptOptions struct {
	trustOptions
	fingerprints string
	replace      []string
	hash, yes    bool
}

func newTrust(c *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:  "trust",
		Long: trustHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return exit.UsageError("fleetssh trust --help", "trust needs scan or accept")
			}
			return help.UnknownVerb(cmd, args[0])
		},
	}
	cmd.SuggestionsMinimumDistance = 2
	cmd.AddCommand(newTrustScan(c), newTrustAccept(c))
	return cmd
}

func newTrustScan(c *app) *cobra.Command {
	o := new(trustOptions)
	save := ""
	cmd := &cobra.Command{
		Use:  "scan",
		Long: scanHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return exit.UsageError(o.hosts.UnquotedHint(args, "name hosts with -w"), "trust scan takes no arguments, only options")
			}
			if err := refuseLogin(cmd.Flags()); err != nil {
				return err
			}
			return o.scan(cmd.Context(), c, save)
		},
	}
	o.register(cmd.Flags())
	cmd.Flags().StringVar(&save, "save", "", "")
	return cmd
}

func newTrustAccept(c *app) *cobra.Command {
	o := new(acceptOptions)
	cmd := &cobra.Command{
		Use:  "accept",
		Long: acceptHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.refuse(cmd.Flags(), args); err != nil {
				return err
			}
			return o.run(cmd.Context(), c, args)
		},
	}
	o.register(cmd.Flags())
	cmd.Flags().StringVar(&o.fingerprints, "fingerprints", "", "")
	cmd.Flags().StringArrayVar(&o.replace, "replace", nil, "")
	cmd.Flags().BoolVar(&o.hash, "hash", false, "")
	cmd.Flags().BoolVar(&o.yes, "yes", false, "")
	return cmd
}

// refuseLogin refuses login flags that do not apply to hops.
func refuseLogin(flags *pflag.FlagSet) error {
	return refuse(flags, "trust logs in to hops only, and it does not apply to hops", "ask-pass", "password-file", "password-command", "passwords-differ", "forward-agent", "delegate", "service-host")
}

// refuse refuses flags that would have no effect because the keys come from a file.
func (o *acceptOptions) refuse(flags *pflag.FlagSet, args []string) error {
	if err := refuseLogin(flags); err != nil || len(args) == 0 {
		return err
	}
	return refuse(flags, "the keys come from "+args[0]+", and no host is asked",
		"exclude", "where", "limit", "pick", "inventory", "kinit", "keytab", "jump", "proxy", "proxy-command", "control-path")
}

// scan shows the keys of hosts, and saves them if save is not empty.
func (o *trustOptions) scan(ctx context.Context, c *app, save string) error {
	o.hosts.KeyCache = selection.NewKnownHostsCache(&o.hosts)
	s := keyaudit.New(c.screen, c.warnings.Add, o.format, &o.hosts)
	if err := o.askKeys(ctx, c, s, &o.hosts, s.Show); err != nil {
		return err
	}
	s.ShowSummary()
	if save != "" {
		if err := keyaudit.SaveScan(save, s.Hosts); err != nil {
			return fmt.Errorf("save the keys: %w", err)
		}
	}
	return s.Err()
}

// askKeys scans the keys of the hosts that flags select, and calls each for every host when it is done.
func (o *trustOptions) askKeys(ctx context.Context, c *app, s *keyaudit.Audit, flags *selection.Flags, each func(*keyaudit.Host)) error {
	hops := *flags
	hops.Password = selection.PasswordFlags{} // there is no login on the hosts, and hops get no password
	entries, err := hops.Hosts(ctx, c.environment(), s.Format != "text")
	if err != nil {
		return err
	}
	work, end := c.workContext(ctx)
	defer end()
	client := &fleetssh.ParallelClient{Hosts: selection.Configs(entries), PoolSize: flags.Fanout, Logger: slog.New(c.warnings)}
	flags.SetPasswordPolicy(c.environment(), client)
	defer client.Close()
	found, err := client.ScanHostKeys(work)
	if err != nil {
		return selection.UsageError(err, entries)
	}
	for i := range entries {
		entries[i].Flags = s.Flags
	}
	s.Summary = results.New(entries)
	s.Summary.Outstanding.Working = client.Working
	defer c.reportOnRequest(ctx, s.Summary.Outstanding, false)()
	endProgress := o.look.ShowProgress(c.screen, s.Summary)
	for shown := range found {
		each(s.Add(&shown))
	}
	endProgress()
	s.Order()
	s.Summary.Interrupted = ctx.Err() != nil
	if err := c.screen.Failure(); err != nil && !s.Summary.Interrupted {
		return exit.OutputError(err)
	}
	c.warnings.Show(c.screen)
	return nil
}

func (o *acceptOptions) run(ctx context.Context, c *app, args []string) error {
	choice, err := o.choice()
	if err != nil {
		return err
	}
	o.hosts.KeyCache = selection.NewKnownHostsCache(&o.hosts)
	s := keyaudit.New(c.screen, c.warnings.Add, o.format, &o.hosts)
	if err := o.find(ctx, c, s, args); err != nil {
		return err
	}
	if s.Summary.Interrupted {
		return s.Err()
	}
	if name := choice.Unused(s.Hosts); name != "" {
		return exit.UsageError("", "--replace %s: it is not among the hosts", name)
	}
	for _, h := range s.Hosts {
		choice.Choose(h)
		s.ShowChoice(h)
	}
	s.ShowSummary()
	if err := o.write(ctx, c, s); err != nil {
		return err
	}
	return s.Err()
}

// choice returns which keys the flags accept.
func (o *acceptOptions) choice() (*keyaudit.Choice, error) {
	choice := new(keyaudit.Choice)
	for _, expr := range o.replace {
		set, err := hostset.Parse(expr, nil)
		if err != nil {
			return nil, exit.UsageError("name hosts as with -w", "--replace: %v", err)
		}
		for name := range set.All() {
			h, err := fleetssh.ParseHost(name)
			if err != nil {
				return nil, exit.UsageError("name hosts as with -w", "--replace: %v", err)
			}
			choice.Replace = append(choice.Replace, h)
		}
	}
	if o.fingerprints == "" {
		return choice, nil
	}
	text, err := os.ReadFile(o.fingerprints)
	if err != nil {
		return nil, fmt.Errorf("fingerprints: %w", err)
	}
	if choice.Vouched, err = knownhosts.ReadFingerprints(bytes.NewReader(text), o.fingerprints); err != nil {
		return nil, fmt.Errorf("fingerprints: %w", err)
	}
	return choice, nil
}

// find fills the audit from a file, or from the hosts.
func (o *acceptOptions) find(ctx context.Context, c *app, s *keyaudit.Audit, args []string) error {
	named := len(o.hosts.Exprs)+len(o.hosts.Groups)+len(o.hosts.Hostfiles) > 0 || o.hosts.All
	switch {
	case len(args) > 1:
		return exit.UsageError("fleetssh trust accept FILE", "trust accept takes one file")
	case len(args) == 1 && named:
		return exit.UsageError("", "keys come from %s or from hosts, not from both", args[0])
	case len(args) == 0:
		flags := o.hosts
		strict := flags.HostKey == "" || flags.HostKey == "strict"
		if flags.KnownHosts != "" && strict {
			if _, err := os.Stat(flags.KeyCache.ForAll[0]); errors.Is(err, fs.ErrNotExist) {
				flags.KnownHosts = os.DevNull // it does not exist yet, and no hop is trusted
			}
		}
		return o.askKeys(ctx, c, s, &flags, func(*keyaudit.Host) {})
	}
	file, err := os.Open(args[0])
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	defer file.Close()
	hosts, err := knownhosts.ReadScan(file, args[0])
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	config, err := o.hosts.LoadSSHConfig(ctx, c.environment(), fleetssh.HostConfig{}, true)
	if err != nil {
		return err
	}
	s.ScanFile = args[0]
	for _, shown := range hosts {
		name := cmp.Or(shown.Alias, shown.Host)
		_, settings, err := config.File.HostContext(ctx, name, fleetssh.HostConfig{Host: name, User: o.hosts.Login, Port: o.hosts.Port})
		if err != nil {
			return selection.ConfigError(err)
		}
		s.AddSaved(shown, s.Known.For(settings))
	}
	return nil
}

// write adds the chosen keys to the first file of each host, if the user confirms.
func (o *acceptOptions) write(ctx context.Context, c *app, s *keyaudit.Audit) error {
	all, err := s.Additions()
	if err != nil {
		return err
	}
	if len(all) == 0 {
		c.screen.Message("fleetssh: nothing to add")
		return nil
	}
	if !o.yes {
		agreed, err := c.confirm(ctx, keyaudit.Question(all))
		switch {
		case err != nil:
			return &exit.Error{Code: exit.Usage, Text: fmt.Sprintf("cannot ask for confirmation of the new keys: %v", err), Hint: "--yes confirms"}
		case !agreed:
			return &exit.Error{Code: exit.Usage, Text: "not confirmed: nothing was added"}
		}
	}
	var failed []string
	for _, a := range all {
		done, err := knownhosts.Accept(a.Files, knownhosts.Acceptance{Hosts: a.Accepted(), Hash: o.hash || a.Hash})
		if err != nil {
			failed = append(failed, fmt.Sprintf("nothing was added to %s: %v", a.Files[0], err))
			continue
		}
		text := fmt.Sprintf("fleetssh: %s added to %s", keyaudit.CountKeys(done.Added), a.Files[0])
		if done.Removed > 0 {
			text += fmt.Sprintf(", %d removed (previous file: %s)", done.Removed, done.Backup)
		}
		c.screen.Message(text)
	}
	if failed != nil {
		return &exit.Error{Code: exit.Failed, Text: strings.Join(failed, "; ")}
	}
	return nil
}
