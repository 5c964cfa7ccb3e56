package personality

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestTranslate(t *testing.T) {
	t.Parallel()
	const (
		none = " --attempts=1 --exit-policy=none"
		max  = " --attempts=1 --exit-policy=max"
	)
	for _, tt := range []struct {
		name string
		line []string
		env  map[string]string
		want string // the arguments of fleetssh, or "error: " and the beginning of the error
	}{
		{"no tool: unchanged", []string{"run", "-w", "web1", "--as", "pdsh"}, nil, "run -w web1 --as pdsh"},
		{"no arguments", nil, nil, ""},

		{"pdsh: plain", []string{"--as", "pdsh", "-w", "web[1-3]", "uptime"}, nil, "run --hosts=web[1-3] --format=stream" + none + " -- uptime"},
		{"pdsh: attached and in one word", []string{"--as", "pdsh", "-NSwweb1", "-f8", "ls", "-l"}, nil, "run --no-label --hosts=web1 --fanout=8 --format=stream" + max + " -- ls -l"},
		{"pdsh: two dashes", []string{"--as", "pdsh", "-wa", "--", "-x"}, nil, "run --hosts=a --format=stream" + none + " -- -x"},
		{"pdsh: all forms of -w", []string{"--as", "pdsh", "-w", "ssh:ann@a[1,3],-a3,^list,-^down,-", "true"}, nil,
			"run --hosts=ann@a[1,3],^list,- --exclude=a3,^down --format=stream" + none + " -- true"},
		{"pdsh: -w that only excludes", []string{"--as", "pdsh", "-a", "-w", "-a3", "true"}, nil, "error: pdsh: -w together with"},
		{"pdsh: a port is not a module", []string{"--as", "pdsh", "-w", "a:2222", "true"}, nil, "run --hosts=a:2222 --format=stream" + none + " -- true"},
		{"pdsh: groups", []string{"--as", "pdsh", "-g", "web,db", "-X", "old", "true"}, nil, "run --group=web --group=db --exclude=@old --format=stream" + none + " -- true"},
		{"pdsh: queries", []string{"--as", "pdsh", "-g", "web&&rack=1", "true"}, nil, "error: pdsh -g web&&rack=1: genders queries"},
		{"pdsh: regular expressions", []string{"--as", "pdsh", "-w", "a[1-3]", "-x", "/a.*/", "true"}, nil, "error: pdsh -x /a.*/: regular"},
		{"pdsh: other modules", []string{"--as", "pdsh", "-R", "exec", "-w", "a", "true"}, nil, "error: pdsh: hosts are not reached by exec"},
		{"pdsh: another module for one host", []string{"--as", "pdsh", "-w", "a,rsh:b", "true"}, nil, "error: pdsh: hosts are not reached by rsh"},
		{"pdsh: no limits", []string{"--as", "pdsh", "-w", "a", "-u", "0", "true"}, nil, "run --hosts=a --format=stream" + none + " -- true"},
		{"pdsh: fail fast", []string{"--as", "pdsh", "-k", "-w", "a", "true"}, nil, "run --hosts=a --max-fail=0 --format=stream --attempts=1 --exit-policy=worst -- true"},
		{"pdsh: no command", []string{"--as", "pdsh", "-w", "a"}, nil, "error: pdsh: no command given"},
		{"pdsh: no value", []string{"--as", "pdsh", "-w"}, nil, "error: pdsh -w: it takes a value: HOSTS"},
		{"pdsh: unknown option", []string{"--as", "pdsh", "-Z"}, nil, "error: pdsh -Z: there is no such option"},
		{"pdsh: help", []string{"--as", "pdsh", "-h", "-Z"}, nil, "help pdsh"},
		{"pdsh: version", []string{"--as", "pdsh", "-V"}, nil, "version"},
		{"pdsh: variables", []string{"--as", "pdsh", "true"},
			map[string]string{"WCOLL": "/etc/hosts.pdsh", "FANOUT": "7", "PDSH_RCMD_TYPE": "ssh", "DSHPATH": "/opt/bin", "PDSH_CONNECT_TIMEOUT": "3",
				"PDSH_SSH_ARGS": "-2 -a -x -l%u %h", "PDSH_SSH_ARGS_APPEND": "-p 2222 -oStrictHostKeyChecking=no -l %u"},
			"run --fanout=7 --connect-timeout=3 --hosts=^/etc/hosts.pdsh --env=PATH=/opt/bin --port=2222 -oStrictHostKeyChecking=no --format=stream" + none + " -- true"},
		{"pdsh: options override variables", []string{"--as", "pdsh", "-f", "2", "-w", "a", "true"},
			map[string]string{"WCOLL": "list", "FANOUT": "7"}, "run --fanout=2 --hosts=a --format=stream" + none + " -- true"},
		{"pdsh: a module in a variable", []string{"--as", "pdsh", "-w", "a", "true"}, map[string]string{"PDSH_RCMD_TYPE": "mrsh"}, "error: pdsh: hosts are not reached by mrsh"},

		{"clush: plain", []string{"--as", "clush", "-w", "@web&@rack1", "-bS", "uptime"}, nil,
			"run --hosts=@web&@rack1 --format=fold" + max + " --stdin=- -- uptime"},
		{"clush: no input", []string{"--as", "clush", "-nw", "a", "uptime"}, nil, "run --hosts=a --format=stream" + none + " -- uptime"},
		{"clush: abbreviated long options", []string{"--as", "clush", "--nostdin", "--group=web[1-2]", "--command=9", "--fan", "3", "ls", "--all"}, nil,
			"run --group=web1 --group=web2 --timeout=9 --fanout=3 --format=stream" + none + " -- ls --all"},
		{"clush: ambiguous abbreviation", []string{"--as", "clush", "--co", "3"}, nil, "error: clush --co: there is no such option"},
		{"clush: files and groups", []string{"--as", "clush", "-n", "--hostfile", "list", "-X", "old", "--pick=2", "--diff", "true"}, nil,
			"run --hosts=^list --exclude=@old --pick=2 --diff --format=fold" + none + " -- true"},
		{"clush: options of ssh", []string{"--as", "clush", "-n", "-w", "a", "-o", `-p 2022 -i "my key" -o User=x -t`, "true"}, nil,
			"run --hosts=a --port=2022 --identity=my key -oUser=x --tty --format=stream" + none + " -- true"},
		{"clush: other options of ssh", []string{"--as", "clush", "-n", "-w", "a", "-o", "-L 1:b:2", "true"}, nil, "error: ssh: -L is not supported"},
		{"clush: not options of ssh", []string{"--as", "clush", "-n", "-w", "a", "-o", "p=3", "true"}, nil, "error: clush options of ssh: p=3 is not an option"},
		{"clush: sudo", []string{"--as", "clush", "-n", "-w", "a", "-m", "sudo", "true"}, nil, "run --hosts=a --sudo --ask-sudo-pass --format=stream" + none + " -- true"},
		{"clush: copies", []string{"--as", "clush", "-w", "a", "--copy", "/etc/f", "/etc/g", "--dest=/tmp/", "-p"}, nil,
			"put --hosts=a --recursive --preserve --format=stream" + none + " -- /etc/f /etc/g /tmp/"},
		{"clush: copies to the same directory", []string{"--as", "clush", "-w", "a", "-Sc", "/etc/f"}, nil, "put --hosts=a --recursive --format=stream" + max + " -- /etc/f /etc/"},
		{"clush: copies from several directories", []string{"--as", "clush", "-w", "a", "-c", "/etc/f", "/srv/g"}, nil, "error: clush --copy: the files are in several directories"},
		{"clush: copies from hosts", []string{"--as", "clush", "-w", "a", "--rcopy", "/var/log/x%", "--dest", "logs/"}, nil,
			"get --hosts=a --recursive --format=stream" + none + " -- /var/log/x%% logs/x%%.%(host)s"},
		{"clush: copies nothing", []string{"--as", "clush", "-w", "a", "--copy", "--dest", "x"}, nil, "error: clush --copy: it takes values: FILE..."},
		{"clush: a copy and a command", []string{"--as", "clush", "-w", "a", "--copy", "f", "--", "true"}, nil, "error: clush: --copy, --rcopy and a command exclude each other"},
		{"clush: a destination without a copy", []string{"--as", "clush", "-w", "a", "--dest", "x", "true"}, nil, "error: clush: --dest needs --copy or --rcopy"},

		{"pdcp", []string{"--as", "pdcp", "-rpw", "web[1-3],-web2", "a", "b", "/tmp"}, nil, "put --recursive --preserve --hosts=web[1-3] --exclude=web2 --format=stream" + none + " -- a b /tmp"},
		{"pdcp: one path", []string{"--as", "pdcp", "-w", "web1", "a"}, nil, "error: pdcp: no files or no destination given"},
		{"pdcp: variables", []string{"--as", "pdcp", "a", "/tmp"}, map[string]string{"WCOLL": "list", "PDSH_SSH_ARGS_APPEND": "-p 7"},
			"put --hosts=^list --port=7 --format=stream" + none + " -- a /tmp"},
		{"rpdcp", []string{"--as", "rpdcp", "-w", "web1", "/var/log/x", "logs"}, nil, "get --hosts=web1 --format=stream" + none + " -- /var/log/x logs/x.%(host)s"},
		{"rpdcp: several", []string{"--as", "rpdcp", "-w", "web1", "a", "b", "logs"}, nil, "error: rpdcp: only one file can be fetched at a time"},
		{"pscp", []string{"--as", "parallel-scp", "-h", "hosts", "-r", "-t", "5", "a", "/tmp"}, nil,
			"put --hosts=^hosts --recursive --connect-timeout=5 --timeout=5 --format=pssh --attempts=1 --exit-policy=worst -- a /tmp"},
		{"pslurp", []string{"--as", "pslurp", "-H", "web1", "-L", "logs", "/var/log/x", "x"}, nil,
			"get --hosts=web1 --format=pssh --attempts=1 --exit-policy=worst -- /var/log/x logs/%(host)s/x"},
		{"clush: unexpected value", []string{"--as", "clush", "--diff=x"}, nil, "error: clush --diff: it takes no value"},
		{"clush: interactive", []string{"--as", "clush", "-w", "a"}, nil, "error: clush: no command given"},

		{"pssh: plain", []string{"--as", "pssh", "-h", "hosts.txt", "-i", "uptime"}, nil, "run --hosts=^hosts.txt --format=pssh-inline --attempts=1 --exit-policy=worst -- uptime"},
		{"pssh: by its other name", []string{"--as", "parallel-ssh", "-H", "a ann@b:2222", "-P", "ls", "-l"}, nil,
			"run --hosts=a --hosts=ann@b:2222 --format=pssh-print --attempts=1 --exit-policy=worst -- ls -l"},
		{"pssh: into files", []string{"--as", "pssh", "-Ha", "-o", "out", "-e", "err", "-p", "5", "-t", "9", "-O", "Port=1", "-Al", "root", "true"}, nil,
			"run --hosts=a --outdir=out --errdir=err --fanout=5 --connect-timeout=9 --timeout=9 -oPort=1 --ask-pass --login=root --format=pssh --attempts=1 --exit-policy=worst -- true"},
		{"pssh: options of ssh in pieces", []string{"--as", "pssh", "-Ha", "-X", "-o", "-X", "Port=1", "-x", `-F "a b"`, "-t0", "-P", "true"}, nil,
			"run --hosts=a -Fa b -oPort=1 --format=pssh-print --attempts=1 --exit-policy=worst -- true"},
		{"pssh: a script", []string{"--as", "pssh", "-IPHa"}, nil, `run --hosts=a --format=pssh-print --attempts=1 --exit-policy=worst --stdin=- -- exec "$SHELL"`},
		{"pssh: no command", []string{"--as", "pssh", "-Ha"}, nil, "error: pssh: no command given"},
		{"pssh: a comma", []string{"--as", "pssh", "-h", "a,b", "true"}, nil, "error: pssh: the name of the file"},
		{"pssh: globs", []string{"--as", "pssh", "-h", "f", "-g", "*web*", "true"}, nil, "error: pssh: -g is not supported"},
		{"pssh: variables", []string{"--as", "pssh", "true"}, map[string]string{"PSSH_HOSTS": "f", "PSSH_PAR": "3", "PSSH_INLINE": "1"},
			"run --hosts=^f --fanout=3 --format=pssh-inline --attempts=1 --exit-policy=worst -- true"},

		{"dshbak", []string{"--as", "dshbak", "-c", "log", "-"}, nil, "dshbak -c -- log -"},
		{"dshbak: files", []string{"--as", "dshbak", "-fd", "out"}, nil, "dshbak -f -dout --"},

		{"no tool", []string{"--as"}, nil, "error: --as: no tool given"},
		{"unknown tool", []string{"--as", "mussh"}, nil, "error: --as mussh: unknown tool"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			args, err := Translate(tt.line, Environment{Getenv: func(name string) string { return tt.env[name] }})
			if message, wrong := strings.CutPrefix(tt.want, "error: "); wrong {
				if err == nil || !strings.HasPrefix(err.Error(), message) {
					t.Fatalf("translated to %q, error %v, want %q", args, err, message)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(args, " "); got != tt.want {
				t.Errorf("translated to\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

func TestCalledAs(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"/usr/bin/pdsh": "--as pdsh -x y", "clush": "--as clush -x y", "./parallel-ssh": "--as pssh -x y", "dshbak.exe": "--as dshbak -x y",
		"fleetssh": "-x y", "/pdsh/fleetssh": "-x y", "": "-x y",
	} {
		if got := strings.Join(CalledAs([]string{name, "-x", "y"}), " "); got != want {
			t.Errorf("called as %q: %q, want %q", name, got, want)
		}
	}
	if CalledAs(nil) != nil {
		t.Error("CalledAs(nil) is not nil")
	}
}

// docs/personalities.md has exactly the rows of the option tables.
func TestDocumentationOfPersonalities(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../../docs/personalities.md")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, p := range personalities() {
		for i := range p.options {
			o := &p.options[i]
			want = append(want, "| `"+strings.ReplaceAll(o.spelling(), "|", `\|`)+"` | "+documented(o.meaning())+" |")
		}
	}
	var got []string
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "| `-") {
			got = append(got, strings.TrimSpace(line))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the rows of docs/personalities.md differ from\n%s", strings.Join(want, "\n"))
	}
}

// documented returns the meaning of an option in Markdown, with the options in it as code.
func documented(meaning string) string {
	meaning = strings.ReplaceAll(meaning, "<", `\<`)
	return regexp.MustCompile(`(^|\s)(--?[a-zA-Z^][\w^-]*)`).ReplaceAllString(meaning, "$1`$2`")
}

func TestSplitWords(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"": "", " a  b\t": "a|b", `a\ b`: "a b", `'a b'c`: "a bc", `"a \"b\" \c"`: `a "b" \c`, `''`: "", `x ''`: "x|", `'a\b'`: `a\b`,
	} {
		got, err := splitWords(line)
		if err != nil || strings.Join(got, "|") != want {
			t.Errorf("splitWords(%q) = %q, %v, want %q", line, got, err, want)
		}
	}
	for _, line := range []string{`'a`, `"a`, `a\`, `"a\"`} {
		if got, err := splitWords(line); err == nil {
			t.Errorf("splitWords(%q) = %q, want an error", line, got)
		}
	}
}
