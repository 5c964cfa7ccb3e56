package personality

import (
	"strings"

	"fleetssh/cmd/fleetssh/internal/exit"
)

const psshAbout = `Called as pssh or parallel-ssh, or with --as pssh, fleetssh accepts the options of
pssh.

  ln -s $(command -v fleetssh) ~/bin/pssh
  pssh -h hosts.txt -i uptime
  fleetssh --as pssh -H "web1 web2 root@db1:2222" -P -t 30 -- df -h /

usage: fleetssh --as pssh [options] COMMAND...

fleetssh speaks SSH itself: it runs no other program. Hosts are tried once, and
run the command once, however often they are named. One line per host shows its
result: [1] 12:00:00 [SUCCESS] web1. The output of hosts is shown only with -i or
-P. Commands run without a time limit, unless -t is given.`

func psshPersonality() *personality {
	return &personality{name: "pssh", aliases: []string{"parallel-ssh"}, intro: psshAbout, verb: "run",
		options: []toolOption{
			{names: []string{"-h", "--hosts"}, value: "FILE", take: takeHostFile, becomes: "--hosts ^FILE: [user@]host[:port], one a line"},
			{names: []string{"-H", "--host"}, value: "HOSTS", take: takePsshHosts, becomes: "--hosts HOST for each word"},
			{names: []string{"-l", "--user"}, value: "USER", ours: "--login"},
			{names: []string{"-p", "--par"}, value: "N", ours: "--fanout"},
			{names: []string{"-t", "--timeout"}, value: "SECONDS", take: takePsshTimeout, becomes: "--connect-timeout SECONDS --timeout SECONDS; 0 is none"},
			{names: []string{"-o", "--outdir"}, value: "DIR", ours: "--outdir"},
			{names: []string{"-e", "--errdir"}, value: "DIR", ours: "--errdir"},
			{names: []string{"-O", "--option", "--options"}, value: "KEY=VALUE", ours: "-o"},
			{names: []string{"-x", "--extra-args"}, value: "ARGS", becomes: "the same options of ssh: -p -i -J -F -o -A -4 -6 -K and others"},
			{names: []string{"-X", "--extra-arg"}, value: "ARG", becomes: "one word of such options"},
			{names: []string{"-A", "--askpass"}, ours: "--ask-pass"},
			{names: []string{"-i", "--inline"}, becomes: "the output of a host below its line"},
			{names: []string{"--inline-stdout"}, becomes: "the same, without standard error"},
			{names: []string{"-P", "--print"}, becomes: "whole lines after their hosts, as they arrive"},
			{names: []string{"-I", "--send-input"}, becomes: "--stdin -; without a command it is a script for the shell of the user"},
			{names: []string{"-v", "--verbose"}, becomes: "nothing: failed hosts and the reasons are always shown"},
			{names: []string{"--help"}, becomes: "this text", replacement: []string{"help", "pssh"}},
			{names: []string{"--version"}, becomes: "fleetssh version", replacement: []string{"version"}},
			{names: []string{"-g", "--host-glob"}, value: "GLOB", unsupported: "use grep: pssh -h <(grep web hosts.txt)"},
		},
		env: []envOption{
			{"PSSH_HOSTS", "-h"}, {"PSSH_USER", "-l"}, {"PSSH_PAR", "-p"}, {"PSSH_TIMEOUT", "-t"}, {"PSSH_OUTDIR", "-o"}, {"PSSH_ERRDIR", "-e"},
			{"PSSH_OPTIONS", "-O"}, {"PSSH_ASKPASS", "-A"}, {"PSSH_INLINE", "-i"}, {"PSSH_PRINT", "-P"}, {"PSSH_VERBOSE", "-v"},
		},
		finish: finishPssh,
	}
}

func takePsshHosts(t *translation, value string) error {
	for host := range strings.FieldsSeq(value) {
		t.addValue("--hosts", host)
	}
	return nil
}

// takePsshTimeout translates the time limit for all work on a host.
func takePsshTimeout(t *translation, value string) error {
	if strings.Trim(value, "0") != "" {
		t.addValue("--connect-timeout", value)
	}
	return takeTimeout(t, value)
}

// psshArgs adds the options of ssh.
func (t *translation) psshArgs() error {
	var extra []string
	for _, args := range t.values["-x"] {
		words, err := splitWords(args)
		if err != nil {
			return exit.UsageError("", "%s -x %q: %v", t.tool.name, args, err)
		}
		extra = append(extra, words...)
	}
	return t.ssh(append(extra, t.values["-X"]...))
}

func finishPssh(t *translation) error {
	if err := t.psshArgs(); err != nil {
		return err
	}
	format := "pssh"
	switch {
	case t.given("-P"):
		format = "pssh-print"
	case t.given("-i"):
		format = "pssh-inline"
	case t.given("--inline-stdout"):
		format = "pssh-inline-stdout"
	}
	t.addPolicy("worst", format)
	if t.given("-I") {
		t.addValue("--stdin", "-")
		if len(t.command) == 0 {
			t.command = []string{`exec "$SHELL"`}
		}
	}
	return t.wantCommand()
}
