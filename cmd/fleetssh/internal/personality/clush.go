package personality

import (
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/hostset"
)

const clushAbout = `Called as clush, or with --as clush, fleetssh accepts the options of clush.

  ln -s $(command -v fleetssh) ~/bin/clush
  clush -w rack[1-3]n[0-9] -b uname -r
  echo hello | fleetssh --as clush -w @web -B cat

usage: fleetssh --as clush [options] COMMAND...

fleetssh speaks SSH itself: it runs no other program, and has no tree of gateways.
Hosts are tried once. Groups come from --inventory. Piped input goes to the
standard input of every host, unless -n is given. The exit code is 0 even if hosts
fail, unless -S is given. There is no interactive mode.`

func clushPersonality() *personality {
	tree := "there is no tree: hosts are reached directly, or with --jump of fleetssh"
	own := "use options, or the settings of fleetssh"
	return &personality{name: "clush", intro: clushAbout, verb: "run",
		options: []toolOption{
			{names: []string{"-w"}, value: "NODES", ours: "--hosts"},
			{names: []string{"-x"}, value: "NODES", ours: "--exclude"},
			{names: []string{"-a", "--all"}, ours: "--all"},
			{names: []string{"-g", "--group"}, value: "GROUP", take: takeClushGroups("-g", "--group", ""), becomes: "--group GROUP"},
			{names: []string{"-X"}, value: "GROUP", take: takeClushGroups("-X", "--exclude", "@"), becomes: "--exclude @GROUP"},
			{names: []string{"--hostfile", "--machinefile"}, value: "FILE", take: takeHostFile, becomes: "--hosts ^FILE"},
			{names: []string{"--pick"}, value: "N", ours: "--pick"},
			{names: []string{"-n", "--nostdin"}, becomes: "no --stdin -"},
			{names: []string{"-l", "--user"}, value: "USER", ours: "--login"},
			{names: []string{"-f", "--fanout"}, value: "N", ours: "--fanout"},
			{names: []string{"-t", "--connect_timeout"}, value: "SECONDS", ours: "--connect-timeout"},
			{names: []string{"-u", "--command_timeout"}, value: "SECONDS", take: takeTimeout, becomes: "--timeout SECONDS; 0 is none"},
			{names: []string{"-o", "--options"}, value: "OPTIONS", take: takeSSHOptions, becomes: "the same options of ssh: -p -i -J -F -o -A -4 -6 -K and others"},
			{names: []string{"-b", "--dshbak"}, becomes: "--format fold"},
			{names: []string{"-B"}, becomes: "--format fold, which folds standard error as well"},
			{names: []string{"--diff"}, ours: "--diff"},
			{names: []string{"-N"}, ours: "--no-label"},
			{names: []string{"-S", "--maxrc"}, becomes: "--exit-policy max"},
			{names: []string{"-P", "--progress"}, becomes: "--progress always", take: takeProgress},
			{names: []string{"--color"}, value: "WHEN", ours: "--color"},
			{names: []string{"--outdir"}, value: "DIR", ours: "--outdir"},
			{names: []string{"--errdir"}, value: "DIR", ours: "--errdir"},
			{names: []string{"-q", "--quiet"}, becomes: "nothing: failed hosts are always shown"},
			{names: []string{"-v", "--verbose"}, becomes: "nothing: failed hosts and the reasons are always shown"},
			{names: []string{"-R", "--worker"}, value: "WORKER", take: takeClushWorker, becomes: "nothing if WORKER is ssh; no other is supported"},
			{names: []string{"-m", "--mode"}, value: "MODE", take: takeClushMode, becomes: "sudo: --sudo --ask-sudo-pass; sshpass: --ask-pass; no other is supported"},
			{names: []string{"--sudo"}, take: takeClushSudo, becomes: "--sudo --ask-sudo-pass"},
			{names: []string{"-h", "--help"}, becomes: "this text", replacement: []string{"help", "clush"}},
			{names: []string{"--version"}, becomes: "fleetssh version", replacement: []string{"version"}},
			{names: []string{"-L"}, unsupported: "-b folds; sort -s -t: -k1,1 puts lines in the order of the hosts"},
			{names: []string{"-r", "--regroup"}, unsupported: "sets are always shown as host names"},
			{names: []string{"-G", "--groupbase"}, unsupported: "sets are always shown as host names"},
			{names: []string{"-s", "--groupsource"}, value: "SOURCE", unsupported: "the source goes before the group: -g SOURCE:GROUP"},
			{names: []string{"-d", "--debug"}, unsupported: "fleetssh explain and fleetssh check show what happens"},
			{names: []string{"-c", "--copy"}, value: "FILE...", words: true, becomes: "fleetssh put --recursive FILE... DEST"},
			{names: []string{"--rcopy"}, value: "FILE", words: true, becomes: "fleetssh get --recursive FILE DEST/NAME.HOST"},
			{names: []string{"--dest"}, value: "PATH", becomes: "the destination of --copy and --rcopy; by default the directory of FILE"},
			{names: []string{"-p"}, becomes: "--preserve, with --copy and --rcopy"},
			{names: []string{"-O", "--option"}, value: "KEY=VALUE", unsupported: own},
			{names: []string{"--conf"}, value: "FILE", unsupported: own},
			{names: []string{"--groupsconf"}, value: "FILE", unsupported: "--inventory FILE of fleetssh reads it"},
			{names: []string{"--topology"}, value: "FILE", unsupported: tree},
			{names: []string{"--remote"}, value: "YES|NO", unsupported: tree},
		},
		finish: finishClush,
	}
}

// takeClushGroups translates names of groups, which may be a set.
func takeClushGroups(letter, option, prefix string) func(*translation, string) error {
	return func(t *translation, value string) error {
		names, err := hostset.Parse(value, nil)
		if err != nil {
			return exit.UsageError("wildcards and operators go into -w, as in -w '@web&@rack1'", "clush %s: %v", letter, err)
		}
		for name := range names.All() {
			t.addValue(option, prefix+name)
		}
		return nil
	}
}

// takeHostFile translates the name of a file with hosts, for all tools.
func takeHostFile(t *translation, file string) error {
	if strings.Contains(file, ",") {
		return exit.UsageError("rename it, or use --hostfile of fleetssh", "%s: the name of the file %q has a comma", t.tool.name, file)
	}
	t.addValue("--hosts", "^"+file)
	return nil
}

// takeSSHOptions translates options of ssh in one value, for all tools.
func takeSSHOptions(t *translation, value string) error {
	words, err := splitWords(value)
	if err != nil {
		return exit.UsageError("", "%s: options of ssh %q: %v", t.tool.name, value, err)
	}
	return t.ssh(words)
}

func takeProgress(t *translation, _ string) error {
	t.addValue("--progress", "always")
	return nil
}

func takeClushWorker(_ *translation, name string) error {
	if name != "ssh" {
		return exit.UsageError("leave it out: hosts are reached by ssh", "clush: hosts are not reached by %s", name)
	}
	return nil
}

func takeClushMode(t *translation, mode string) error {
	switch mode {
	case "sudo":
		return takeClushSudo(t, "")
	case "sshpass":
		t.add("--ask-pass")
		return nil
	}
	return exit.UsageError("-m sudo and -m sshpass are supported", "clush -m: unknown mode %s", mode)
}

func takeClushSudo(t *translation, _ string) error {
	t.add("--sudo")
	t.add("--ask-sudo-pass")
	return nil
}

func finishClush(t *translation) error {
	if t.given("-c") || t.given("--rcopy") {
		return t.finishClushCopy()
	}
	for _, name := range []string{"--dest", "-p"} {
		if t.given(name) {
			return exit.UsageError("", "clush: %s needs --copy or --rcopy", name)
		}
	}
	format, policy := "stream", "none"
	if t.given("-b") || t.given("-B") || t.given("--diff") {
		format = "fold"
	}
	if t.given("-S") {
		policy = "max"
	}
	t.addPolicy(policy, format)
	if !t.given("-n") && !t.Terminal {
		t.addValue("--stdin", "-")
	}
	return t.wantCommand()
}

// finishClushCopy translates --copy and --rcopy.
func (t *translation) finishClushCopy() error {
	if t.given("-c") && t.given("--rcopy") || len(t.command) > 0 {
		return exit.UsageError("", "clush: --copy, --rcopy and a command exclude each other")
	}
	t.add("--recursive")
	if t.given("-p") {
		t.add("--preserve")
	}
	policy := "none"
	if t.given("-S") {
		policy = "max"
	}
	t.addPolicy(policy, "stream")
	dest := ""
	if to := t.values["--dest"]; to != nil {
		dest = to[len(to)-1]
	}
	if from := t.values["--rcopy"]; from != nil {
		return t.fetch(from, dest)
	}
	from := t.values["-c"]
	if dest == "" {
		for _, file := range from {
			directory, err := filepath.Abs(filepath.Dir(file))
			if err != nil {
				return fmt.Errorf("clush --copy: %w", err)
			}
			if directory += "/"; dest != "" && dest != directory {
				return exit.UsageError("--dest says where they go", "clush --copy: the files are in several directories")
			}
			dest = directory
		}
	}
	t.verb, t.command = "put", append(slices.Clone(from), dest)
	return nil
}

// fetch copies a file of every host to a local directory and appends the host to its name, as clush
// --rcopy and rpdcp do. The default directory is the one that the file has on the hosts.
func (t *translation) fetch(from []string, directory string) error {
	if len(from) != 1 {
		return exit.UsageError("one call for each, or fleetssh get", "%s: only one file can be fetched at a time", t.tool.name)
	}
	if directory == "" {
		directory = path.Dir(from[0])
	}
	literal := func(path string) string { return strings.ReplaceAll(path, "%", "%%") }
	t.verb = "get"
	t.command = []string{literal(from[0]), literal(strings.TrimRight(directory, "/")+"/"+path.Base(from[0])) + ".%(host)s"}
	return nil
}
