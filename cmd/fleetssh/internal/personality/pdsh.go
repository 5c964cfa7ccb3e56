package personality

import (
	"slices"
	"strings"

	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/flagvalue"
)

const pdshAbout = `Called as pdsh, or with --as pdsh, fleetssh accepts the options of pdsh.

  ln -s $(command -v fleetssh) ~/bin/pdsh
  pdsh -w web[1-20] -S uptime
  fleetssh --as pdsh -w ^hosts.txt -x web7 uptime | fleetssh --as dshbak -c

usage: fleetssh --as pdsh [options] COMMAND...

fleetssh speaks SSH itself: it runs no other program. Hosts are tried once. The
exit code is 0 even if hosts fail, unless -S or -k is given. There is no
interactive mode.`

// noGenders is the hint for options that query genders.
const noGenders = "use --inventory FILE of fleetssh for groups and hosts"

func pdshPersonality() *personality {
	scheduler := "ask the scheduler: squeue -h -o %N, then -w"
	return &personality{name: "pdsh", intro: pdshAbout, verb: "run",
		options: []toolOption{
			{names: []string{"-w"}, value: "HOSTS", take: takePdshTargets, becomes: "--hosts HOSTS; -HOST and -^FILE become --exclude, ssh:HOST becomes HOST"},
			{names: []string{"-x"}, value: "HOSTS", take: takePdshExclude, becomes: "--exclude HOSTS"},
			{names: []string{"-g"}, value: "GROUP,...", take: takePdshGroups("-g", "--group", ""), becomes: "--group GROUP, of the inventory"},
			{names: []string{"-X"}, value: "GROUP,...", take: takePdshGroups("-X", "--exclude", "@"), becomes: "--exclude @GROUP, of the inventory"},
			{names: []string{"-a"}, ours: "--all"},
			{names: []string{"-A"}, ours: "--all"},
			{names: []string{"-l"}, value: "USER", ours: "--login"},
			{names: []string{"-f"}, value: "N", ours: "--fanout"},
			{names: []string{"-t"}, value: "SECONDS", ours: "--connect-timeout"},
			{names: []string{"-u"}, value: "SECONDS", take: takeTimeout, becomes: "--timeout SECONDS; 0 is none. The command on the hosts is stopped, too"},
			{names: []string{"-N"}, ours: "--no-label"},
			{names: []string{"-S"}, becomes: "--exit-policy max"},
			{names: []string{"-k"}, becomes: "--max-fail 0 --exit-policy worst"},
			{names: []string{"-q"}, ours: "--dry-run"},
			{names: []string{"-Q"}, ours: "--dry-run"},
			{names: []string{"-K"}, becomes: "nothing: names are shown in full"},
			{names: []string{"-b"}, becomes: "nothing: the first ^C stops the hosts, the second exits at once"},
			{names: []string{"-R"}, value: "NAME", take: takePdshModule, becomes: "nothing if NAME is ssh; no other is supported"},
			{names: []string{"-h", "--help"}, becomes: "this text", replacement: []string{"help", "pdsh"}},
			{names: []string{"-V"}, becomes: "fleetssh version", replacement: []string{"version"}},
			{names: []string{"-L"}, unsupported: "there are no modules"},
			{names: []string{"-M"}, value: "NAME,...", unsupported: "there are no modules; " + noGenders},
			{names: []string{"-d"}, unsupported: "fleetssh check and --format json of fleetssh run show how long each step takes"},
			{names: []string{"-s"}, unsupported: "standard error is always separate"},
			{names: []string{"-i"}, unsupported: noGenders},
			{names: []string{"-F"}, value: "FILE", unsupported: noGenders},
			{names: []string{"-v"}, unsupported: "-t limits the time that an unreachable host takes"},
			{names: []string{"-j"}, value: "JOB", unsupported: scheduler},
			{names: []string{"-P"}, value: "PARTITION", unsupported: scheduler},
			{names: []string{"-C"}, value: "FEATURE", unsupported: scheduler},
		},
		env: []envOption{
			{"FANOUT", "-f"}, {"PDSH_CONNECT_TIMEOUT", "-t"}, {"PDSH_COMMAND_TIMEOUT", "-u"}, {"PDSH_RCMD_TYPE", "-R"},
		},
		finish: finishPdsh,
	}
}

func dshbakPersonality() *personality {
	return &personality{name: "dshbak", verb: "dshbak", options: []toolOption{
		{names: []string{"-c"}, ours: "-c"},
		{names: []string{"-d"}, value: "DIR", ours: "-d"},
		{names: []string{"-f"}, ours: "-f"},
		{names: []string{"-h"}, becomes: "fleetssh help dshbak", replacement: []string{"help", "dshbak"}},
	}}
}

// rcmdModules are the modules of pdsh that connect to hosts.
var rcmdModules = []string{"ssh", "rsh", "mrsh", "exec", "krb4", "xcpu", "qsh", "mqsh"}

// takePdshTargets translates -w: hosts to work on, or to exclude.
func takePdshTargets(t *translation, value string) error {
	var hosts, without []string
	for _, term := range flagvalue.SplitHosts(value) {
		if rest, minus := strings.CutPrefix(term, "-"); minus && rest != "" {
			without = append(without, rest)
			continue
		}
		hosts = append(hosts, term)
	}
	if err := t.addPdshHosts("-w", "--hosts", hosts); err != nil {
		return err
	}
	return t.addPdshHosts("-w", "--exclude", without)
}

func takePdshExclude(t *translation, value string) error {
	return t.addPdshHosts("-x", "--exclude", flagvalue.SplitHosts(value))
}

// addPdshHosts adds hosts as an option of ours.
func (t *translation) addPdshHosts(letter, option string, terms []string) error {
	for i, term := range terms {
		if strings.HasPrefix(term, "/") {
			return exit.UsageError("a wildcard may do, as in web*, with an inventory",
				"pdsh %s %s: regular expressions are not supported", letter, term)
		}
		module, host, ok := strings.Cut(term, ":")
		if !ok || !slices.Contains(rcmdModules, module) {
			continue
		}
		if err := takePdshModule(t, module); err != nil {
			return err
		}
		terms[i] = host
	}
	if len(terms) > 0 {
		t.addValue(option, strings.Join(terms, ","))
	}
	return nil
}

// takePdshGroups translates names of groups. It refuses genders queries.
func takePdshGroups(letter, option, prefix string) func(*translation, string) error {
	return func(t *translation, value string) error {
		if strings.ContainsAny(value, "&|~=()") || strings.Contains(value, "--") {
			return exit.UsageError("name groups of the inventory, and compute with -w: -w '@web&@rack1!@old'",
				"pdsh %s %s: genders queries are not supported", letter, value)
		}
		for name := range strings.SplitSeq(value, ",") {
			t.addValue(option, prefix+name)
		}
		return nil
	}
}

func takePdshModule(_ *translation, name string) error {
	if name != "ssh" {
		return exit.UsageError("leave it out: hosts are reached by ssh", "pdsh: hosts are not reached by %s", name)
	}
	return nil
}

// takeTimeout translates the time limit of the command, for all tools; 0 means none.
func takeTimeout(t *translation, value string) error {
	if strings.Trim(value, "0.") != "" {
		t.addValue("--timeout", value)
	}
	return nil
}

// pdshHosts checks the options that select hosts, and reads WCOLL.
func (t *translation) pdshHosts() error {
	chosen := t.given("-g") || t.given("-a") || t.given("-A")
	if t.given("-w") && chosen {
		return exit.UsageError("compute with -w alone, as in -w 'web[1-20]&@db'",
			"%s: -w together with -g, -a or -A: some modules of pdsh add the hosts, others choose among them", t.tool.name)
	}
	if file := t.Getenv("WCOLL"); file != "" && !chosen && !t.given("-w") {
		t.addValue("--hosts", "^"+file)
	}
	return nil
}

// pdshArgs adds the ssh options in the variables of pdsh.
func (t *translation) pdshArgs() error {
	for _, variable := range []string{"PDSH_SSH_ARGS", "PDSH_SSH_ARGS_APPEND"} {
		words, err := splitWords(t.Getenv(variable))
		if err != nil {
			return exit.UsageError("", "%s: the variable %s: %v", t.tool.name, variable, err)
		}
		if err := t.ssh(withoutPdshHost(words)); err != nil {
			return err
		}
	}
	return nil
}

func finishPdsh(t *translation) error {
	if err := t.pdshHosts(); err != nil {
		return err
	}
	if path := t.Getenv("DSHPATH"); path != "" {
		t.addValue("--env", "PATH="+path)
	}
	if err := t.pdshArgs(); err != nil {
		return err
	}
	policy := "none"
	switch {
	case t.given("-S"):
		policy = "max"
	case t.given("-k"):
		policy = "worst"
	}
	if t.given("-k") {
		t.addValue("--max-fail", "0")
	}
	t.addPolicy(policy, "stream")
	return t.wantCommand()
}

// withoutPdshHost drops the words of PDSH_SSH_ARGS that pdsh itself fills in.
func withoutPdshHost(words []string) []string {
	var kept []string
	for i, word := range words {
		user := word == "-l%u" || word == "%u" || word == "-l" && i+1 < len(words) && words[i+1] == "%u"
		if !user && word != "%h" {
			kept = append(kept, word)
		}
	}
	return kept
}

// addPolicy adds the options that all tools share, so that settings of fleetssh do not change them.
func (t *translation) addPolicy(exit, format string) {
	t.addValue("--format", format)
	t.addValue("--attempts", "1")
	t.addValue("--exit-policy", exit)
}

// wantCommand refuses a command line without a command.
func (t *translation) wantCommand() error {
	if len(t.command) == 0 {
		return exit.UsageError("there is no interactive mode", "%s: no command given", t.tool.name)
	}
	return nil
}
