package fleetssh

import (
	"context"
	"strings"
	"time"

	"fleetssh/internal/cmdline"
	"fleetssh/internal/sudo"
)

// Signals from a second session: for hosts that take none (OpenSSH for root, and for what sudo
// runs), and for those that hand them to the shell alone and not to what it has started.

// killSession is how long a session that signals a command may take, which includes the
// pauses between the signals.
const killSession = 6 * time.Second

// openReply is how long of that opening it may take.
const openReply = 3 * time.Second

// groupSignals are servers that send a signal to the whole process group of a command. What
// another server says about the end of a command after a signal is true of its shell alone:
// dropbear leaves everything else running.
var groupSignals = []string{"OpenSSH_", "SSH-2.0-simfleet"}

// signalsGroups reports whether the server is known to signal the process group of a command.
func (c *Client) signalsGroups(ctx context.Context) bool {
	if c.login.Master != "" {
		return c.isBehindSSHD(ctx)
	}
	version := string(c.link().ServerVersion())
	if strings.Contains(version, "OpenSSH_for_Windows") {
		return false // there are no groups, and it ends the shell alone
	}
	for _, known := range groupSignals {
		if strings.Contains(version, known) {
			return true
		}
	}
	return false
}

// isBehindSSHD asks the host what the server of a connection is whose other end a master has:
// it does not hand on the server's version.
func (c *Client) isBehindSSHD(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, killSession)
	defer cancel()
	name, err := c.Output(ctx, cmdline.ServerName())
	return err == nil && strings.Contains(string(name), "sshd")
}

// fromOutside does something to the processes of a command from a second session. It reports
// whether that has been done: if it waits, that they are gone.
func (ch *Channel) fromOutside(ctx context.Context, what cmdline.Signals) bool {
	if ch.silent.Load() {
		return false
	}
	if what.Top == 0 {
		// If this command ends by itself just now, the one process found would be that of
		// another. What goes through a master is not alone by what is known here.
		done, ok := ch.client.users.alone()
		if !ok {
			return false
		}
		defer done()
		if ch.client.login.Master != "" {
			return false
		}
	}
	ctx, cancel := context.WithTimeout(ctx, killSession)
	defer cancel()
	r := &run{}
	var as *cmdline.Sudo
	var tokens *sudo.Tokens
	if ch.run != nil && ch.run.cmd.wantsSudo() {
		r.cmd = Command{Sudo: true, User: ch.run.cmd.User, SudoPassword: ch.run.cmd.SudoPassword}
		tokens = r.cmd.tokens()
		as = &cmdline.Sudo{User: r.cmd.User, Tokens: tokens}
	}
	opening, stop := context.WithTimeout(ctx, openReply)
	killer, err := ch.client.openSession(opening, streamOptions{})
	stop()
	if err != nil {
		if timedOut(err) {
			ch.silent.Store(true)
		}
		return false
	}
	defer killer.Close()
	killer.run, killer.stops = r, ch
	if killer.begin(ctx, "exec", execPayload(what.Line(as)), tokens) != nil {
		return false
	}
	return killer.WaitFinished(ctx) == nil
}
