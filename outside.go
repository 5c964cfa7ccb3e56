package fleetssh

import (
	"context"
	"strconv"
	"strings"
	"time"

	"fleetssh/internal/shellquote"
)

// Signals from a second session: for hosts that take none (OpenSSH for root, and for what sudo
// runs), and for those that hand them to the shell alone and not to what it has started.

// killSession is how long a session that signals a command may take, which includes the
// pauses of killPart.
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
	name, err := c.Output(ctx, "exec sh -c "+shellquote.Quote(serverPart+`printf "%s\n" "$name"`))
	return err == nil && strings.Contains(string(name), "sshd")
}

// serverPart is a shell script that sets name to that of the server's process for this
// connection.
const serverPart = `server=$PPID; name=$(ps -o comm= -p "$server" 2>/dev/null || cat "/proc/$server/comm"); `

// findPart is a shell script that sets the arguments to the processes of a command: the one
// that the server has started, and those below it. $1 is the first, or empty: then it is the
// only other child of the server's process for this connection. Servers with one process for
// all connections are left alone: the child could be anybody's. All of it is one line, without
// an exclamation mark, for csh.
const findPart = `top=$1; me=$$; ` + serverPart +
	// Not every ps has these options, but then there mostly is a /proc.
	`list() { ps -A -o pid= -o ppid= 2>/dev/null || ` +
	`for f in /proc/[0-9]*/stat; do l=; { read -r l <"$f"; } 2>/dev/null; set -- ${l##*) }; p=${f#/proc/}; echo "${p%/stat} $2"; done; }; ` +
	`all=$(list); ` +
	`if [ -z "$top" ]; then ` +
	`case $name in *sshd*|*dropbear*) ;; *) exit 2; esac; ` +
	`pid=; for n in $all; do if [ -z "$pid" ]; then pid=$n; continue; fi; ` +
	`if [ "$n" = "$server" ]; then case $pid in "$me") ;; *) top="$top $pid"; esac; fi; pid=; done; fi; ` +
	`set -- $top; case $# in 1) ;; *) exit 2; esac; ` +
	`tree=" $1 "; more=1; while [ -n "$more" ]; do more=; ` +
	`pid=; for n in $all; do if [ -z "$pid" ]; then pid=$n; continue; fi; ` +
	`case $tree in *" $n "*) case $tree in *" $pid "*) ;; *) tree="$tree$pid "; more=1; esac; esac; pid=; done; done; ` +
	`set -- $tree; `

// killPart is a shell script that sends the signals in $1, one after another, to the processes
// in the other arguments: to the group of the first, if it leads one, and otherwise to each. It
// succeeds when the group and all processes are gone. $0 says how many tenths of a second to
// wait for that after each signal; with 0 it only sends them.
const killPart = `signals=$1; shift; group=; if kill -0 -- "-$1" 2>/dev/null; then group=-$1; fi; ` +
	`alive() { if [ -d /proc/self ]; then l=; { read -r l <"/proc/$1/stat"; } 2>/dev/null; l=${l##*) }; else l=$(ps -o stat= -p "$1"); fi; ` +
	`case $l in ""|Z*) return 1; esac; }; ` +
	`left() { if [ -n "$group" ] && kill -0 -- "$group" 2>/dev/null; then return 0; fi; ` +
	`for p; do if alive "$p"; then return 0; fi; done; return 1; }; ` +
	`for signal in $signals; do ` +
	`if [ -n "$group" ]; then kill -s "$signal" -- "$group"; else kill -s "$signal" -- "$@"; fi 2>/dev/null || [ "$0" -gt 0 ] || exit 1; ` +
	`n=0; while [ "$n" -lt "$0" ]; do left "$@" || exit 0; sleep 0.1 2>/dev/null || { sleep 1; n=$((n+9)); }; n=$((n+1)); done; ` +
	`done; [ "$0" = 0 ]`

// outside is what to do to the processes of a command from another session.
type outside struct {
	signals  string // in order
	patience int    // tenths of a second to wait after each for the end; 0: not to wait
	top      int    // the process that the server has started; 0: not known
}

// line returns the command line. Finding the processes needs no rights; sudo, if it runs the
// command, is needed to signal them.
func (o outside) line(sudo string) string {
	top := ""
	if o.top > 0 {
		top = strconv.Itoa(o.top)
	}
	kill := sudo + "sh -c " + shellquote.Quote(killPart) + " " + strconv.Itoa(o.patience) + " " + shellquote.Quote(o.signals) + ` "$@"`
	return "exec sh -c " + shellquote.Quote(findPart+kill) + " sh " + shellquote.Quote(top)
}

// fromOutside does something to the processes of a command from a second session. It reports
// whether that has been done: if it waits, that they are gone.
func (ch *Channel) fromOutside(ctx context.Context, o outside) bool {
	if ch.silent.Load() {
		return false
	}
	if o.top == 0 {
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
	if ch.run != nil && ch.run.cmd.wantsSudo() {
		r.cmd = Command{Sudo: true, User: ch.run.cmd.User, SudoPassword: ch.run.cmd.SudoPassword}
	}
	tokens := r.cmd.tokens()
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
	if killer.begin(ctx, "exec", execPayload(o.line(sudoPrefix(&r.cmd, tokens))), tokens) != nil {
		return false
	}
	return killer.WaitFinished(ctx) == nil
}
