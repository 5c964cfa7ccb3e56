package personality

import (
	"slices"

	"fleetssh/cmd/fleetssh/internal/exit"
)

const pdcpAbout = `Called as pdcp, or with --as pdcp, fleetssh accepts the options of pdcp.

  ln -s $(command -v fleetssh) ~/bin/pdcp
  pdcp -w web[1-20] app.conf /etc/app/
  fleetssh --as pdcp -r -w ^hosts.txt site/ /srv/

usage: fleetssh --as pdcp [options] FILE... DEST

Files are copied with SFTP: the hosts do not need pdsh. They are tried once. The
exit code is 0 even if hosts fail.`

const rpdcpAbout = `Called as rpdcp, or with --as rpdcp, fleetssh accepts the options of rpdcp.

  ln -s $(command -v fleetssh) ~/bin/rpdcp
  rpdcp -w web[1-20] /var/log/app.log logs/

usage: fleetssh --as rpdcp [options] FILE DIR

The name of the host is appended to the name of its file: logs/app.log.web1. Files
are copied with SFTP: the hosts do not need pdsh. They are tried once. The exit
code is 0 even if hosts fail.`

func pdcpPersonality() *personality {
	return pdshCopy("pdcp", "put", pdcpAbout, func(t *translation) error {
		if len(t.command) < 2 {
			return exit.UsageError("pdcp -w HOSTS FILE... DEST", "pdcp: no files or no destination given")
		}
		return nil
	})
}

func rpdcpPersonality() *personality {
	return pdshCopy("rpdcp", "get", rpdcpAbout, func(t *translation) error {
		if len(t.command) < 2 {
			return exit.UsageError("rpdcp -w HOSTS FILE DIR", "rpdcp: no file or no directory given")
		}
		last := len(t.command) - 1
		return t.fetch(t.command[:last], t.command[last])
	})
}

// pdshCopy returns one of the copying tools of pdsh, which selects and reaches hosts as pdsh does.
func pdshCopy(name, verb, about string, paths func(*translation) error) *personality {
	pdsh := pdshPersonality()
	options := []toolOption{
		{names: []string{"-r"}, ours: "--recursive"},
		{names: []string{"-p"}, ours: "--preserve"},
		{names: []string{"-e"}, value: "PATH", becomes: "nothing: no program of pdsh runs on the hosts"},
		{names: []string{"-h", "--help"}, becomes: "this text", replacement: []string{"help", name}},
	}
	if verb == "put" {
		options = append(options, toolOption{names: []string{"-z"}, becomes: "nothing: it is internal to pdcp"})
	}
	for _, o := range pdsh.options {
		switch o.names[0] {
		case "-w", "-x", "-g", "-X", "-a", "-A", "-l", "-f", "-t", "-u", "-k", "-q", "-b", "-R", "-V", "-L", "-M", "-d", "-i", "-F", "-j", "-P", "-C":
			options = append(options, o)
		}
	}
	return &personality{name: name, intro: about, verb: verb, options: options, env: slices.Clone(pdsh.env),
		finish: func(t *translation) error {
			if err := t.pdshHosts(); err != nil {
				return err
			}
			if err := t.pdshArgs(); err != nil {
				return err
			}
			policy := "none"
			if t.given("-k") {
				policy = "worst"
				t.addValue("--max-fail", "0")
			}
			t.addPolicy(policy, "stream")
			return paths(t)
		},
	}
}
