package personality

import (
	"slices"
	"strings"

	"fleetssh/cmd/fleetssh/internal/exit"
)

const pscpAbout = `Called as pscp or parallel-scp, or with --as pscp, fleetssh accepts the options of
the pscp of pssh.

  ln -s $(command -v fleetssh) ~/bin/pscp
  pscp -h hosts.txt app.conf /etc/app/

usage: fleetssh --as pscp [options] FILE... DEST

One line per host shows its result: [1] 12:00:00 [SUCCESS] web1. Files are copied
with SFTP, and hosts are tried once.`

const pslurpAbout = `Called as pslurp or parallel-slurp, or with --as pslurp, fleetssh takes the
options of pslurp.

  ln -s $(command -v fleetssh) ~/bin/pslurp
  pslurp -h hosts.txt -L logs /var/log/app.log app.log

usage: fleetssh --as pslurp [options] FILE NAME

Each host has a directory of its own: logs/web1/app.log. One line per host shows
its result: [1] 12:00:00 [SUCCESS] web1. Files are copied with SFTP, and hosts are
tried once.`

func pscpPersonality() *personality {
	return psshCopying("pscp", "parallel-scp", "put", pscpAbout, func(t *translation) error {
		if len(t.command) < 2 {
			return exit.UsageError("pscp -h HOSTS FILE... DEST", "pscp: no files or no destination given")
		}
		return nil
	})
}

func pslurpPersonality() *personality {
	p := psshCopying("pslurp", "parallel-slurp", "get", pslurpAbout, func(t *translation) error {
		if len(t.command) != 2 || strings.ContainsAny(t.command[1], "/") {
			return exit.UsageError("pslurp -h HOSTS -L DIR FILE NAME", "pslurp: a file and the name of its copy are needed")
		}
		directory := ""
		if to := t.values["-L"]; to != nil {
			directory = strings.TrimRight(to[len(to)-1], "/") + "/"
		}
		literal := func(path string) string { return strings.ReplaceAll(path, "%", "%%") }
		t.command = []string{literal(t.command[0]), literal(directory) + "%(host)s/" + literal(t.command[1])}
		return nil
	})
	p.options = append(p.options, toolOption{names: []string{"-L", "--localdir"}, value: "DIR", becomes: "the directory for the directories of the hosts"})
	return p
}

// psshCopying returns one of the copying tools of pssh, which selects and reaches hosts as pssh does.
func psshCopying(name, alias, verb, about string, paths func(*translation) error) *personality {
	pssh := psshPersonality()
	options := []toolOption{
		{names: []string{"-r", "--recursive"}, ours: "--recursive"},
		{names: []string{"--help"}, becomes: "this text", replacement: []string{"help", name}},
		{names: []string{"-o", "--outdir"}, value: "DIR", unsupported: "a copy has no output of hosts; --format json of fleetssh " + verb + " has all results"},
		{names: []string{"-e", "--errdir"}, value: "DIR", unsupported: "a copy has no output of hosts; --format json of fleetssh " + verb + " has all results"},
	}
	for _, o := range pssh.options {
		switch o.names[0] {
		case "-h", "-H", "-l", "-p", "-t", "-O", "-x", "-X", "-A", "-v", "--version", "-g":
			options = append(options, o)
		}
	}
	env := slices.DeleteFunc(slices.Clone(pssh.env), func(e envOption) bool {
		return slices.Contains([]string{"-o", "-e", "-i", "-P"}, e.option)
	})
	return &personality{name: name, aliases: []string{alias}, intro: about, verb: verb, options: options, env: env,
		finish: func(t *translation) error {
			if err := t.psshArgs(); err != nil {
				return err
			}
			t.addPolicy("worst", "pssh")
			return paths(t)
		},
	}
}
