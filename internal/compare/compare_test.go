package compare

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// tree makes files below a directory: names that end in a slash are directories, " -> " makes a link.
func tree(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		full := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		switch target, isLink := strings.CutPrefix(content, "-> "); {
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(full, 0o755)
		case isLink:
			err = os.Symlink(target, full)
		default:
			err = os.WriteFile(full, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// ask runs the program in a directory, which stands for the home directory on a host.
func ask(t *testing.T, home, line, input string) string {
	t.Helper()
	cmd := exec.Command("sh", "-c", line)
	cmd.Dir, cmd.Stdin = home, strings.NewReader(input)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, err.(*exec.ExitError).Stderr)
	}
	return string(out)
}

func TestCompare(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name        string
		here, there map[string]string
		sources     []string
		dest        string
		want        Want
		expect      string // "SAME/DIFFERENT path: text; …"
	}{
		{"same file", map[string]string{"a": "x"}, map[string]string{"etc/a": "x"}, []string{"a"}, "etc/a", Want{}, "1/0"},
		{"into a directory", map[string]string{"a": "x"}, map[string]string{"etc/a": "x"}, []string{"a"}, "etc", Want{}, "1/0"},
		{"another name", map[string]string{"a": "x"}, map[string]string{"b": "y"}, []string{"a"}, "b", Want{}, "0/1 b: differs"},
		{"missing", map[string]string{"a": "x"}, nil, []string{"a"}, "etc/a", Want{}, "0/1 etc/a: missing"},
		{"missing in a directory to be", map[string]string{"a": "x"}, nil, []string{"a"}, "etc/", Want{}, "0/1 etc/a: missing"},
		{"several", map[string]string{"a": "x", "b": "y"}, map[string]string{"d/a": "x", "d/b": "z"}, []string{"a", "b"}, "d", Want{}, "1/1 d/b: differs"},
		{"empty name", map[string]string{"a": "x"}, map[string]string{"a": "x"}, []string{"a"}, "./", Want{}, "1/0"},
		{
			"tree", map[string]string{"s/a": "1", "s/b/c": "2", "s/b/d": "3", "s/e/": "", "s/l": "-> a", "s/m": "-> b"},
			map[string]string{"www/a": "1", "www/b/c": "2!", "www/e": "file", "www/l": "-> a", "www/m": "-> x", "www/extra": "y"},
			[]string{"s/."}, "www", Want{}, "2/4 www/b/c: differs; www/b/d: missing; www/e: a regular file; www/m: a link to x, not to b",
		},
		{"tree as another name", map[string]string{"s/a": "1"}, nil, []string{"s"}, "www", Want{}, "0/2 www: missing; www/a: missing"},
		{"tree into", map[string]string{"s/a": "1"}, map[string]string{"www/s/a": "1"}, []string{"s"}, "www", Want{}, "1/0"},
		{"directory in place of a file", map[string]string{"a": "x"}, map[string]string{"d/a/": ""}, []string{"a"}, "d", Want{}, "0/1 d/a: a directory"},
		{"link in place of a file", map[string]string{"a": "x"}, map[string]string{"d/a": "-> b"}, []string{"a"}, "d", Want{}, "0/1 d/a: a symbolic link to b"},
		{"spaces and quotes", map[string]string{"s/a b'c\"d\\e": "1", "s/-n": "2", "s/*": "3"}, map[string]string{"t/a b'c\"d\\e": "1", "t/-n": "2", "t/*": "4"}, []string{"s/."}, "t", Want{}, "2/1 t/*: differs"},
		{"source is a link", map[string]string{"real": "x", "a": "-> real"}, map[string]string{"a": "x"}, []string{"a"}, "a", Want{}, "1/0"},
		{"mode", map[string]string{"a": "x"}, map[string]string{"a": "x"}, []string{"a"}, "a", Want{Mode: 0o600}, "0/1 a: mode 0644, want 0600"},
		{"right mode", map[string]string{"a": "x"}, map[string]string{"a": "x"}, []string{"a"}, "a", Want{Mode: 0o644}, "1/0"},
		{"preserved", map[string]string{"s/a": "x"}, map[string]string{"t/s/a": "x"}, []string{"s"}, "t", Want{Preserve: true}, "1/0"},
		{"content and owner", map[string]string{"a": "x"}, map[string]string{"a": "y"}, []string{"a"}, "a", Want{Owner: "nosuch", Group: "4242"}, "0/1 a: differs; a: owner USER, want nosuch:4242"},
		{"right owner", map[string]string{"a": "x"}, map[string]string{"a": "x"}, []string{"a"}, "a", Want{Owner: fmt.Sprint(os.Getuid()), Group: fmt.Sprint(os.Getgid())}, "1/0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			here, home := t.TempDir(), t.TempDir()
			tree(t, here, test.here)
			tree(t, home, test.there)
			var sources []string
			for _, s := range test.sources {
				sources = append(sources, here+"/"+s)
			}
			entries, err := Entries(sources)
			if err != nil {
				t.Fatal(err)
			}
			dest, err := Destination(test.dest)
			if err != nil {
				t.Fatal(err)
			}
			q := Query{Dest: dest, Into: Into(sources, dest), Owners: test.want.Owners()}
			report, err := q.Read(strings.NewReader(ask(t, home, q.Line(), Manifest(entries))), entries, test.want)
			if err != nil {
				t.Fatal(err)
			}
			got := fmt.Sprintf("%d/%d", report.Same, report.Different)
			between := " "
			for _, d := range report.Differences {
				text := d.Text
				if d.State == Owner {
					text = "owner USER, want " + text[strings.LastIndexByte(text, ' ')+1:]
				}
				got += between + d.Path + ": " + text
				between = "; "
			}
			if got != test.expect {
				t.Errorf("%s, want %s", got, test.expect)
			}
		})
	}
}

// A host may lack stat(1), and has more than a hundred files.
func TestManyWithoutStat(t *testing.T) {
	t.Parallel()
	bin, here, home := t.TempDir(), t.TempDir(), t.TempDir()
	for _, name := range []string{"sh", "ls", "head", "sha256sum", "readlink"} {
		full, err := exec.LookPath(name)
		if err == nil {
			err = os.Symlink(full, filepath.Join(bin, name))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	files := make(map[string]string)
	for i := range 250 {
		files[fmt.Sprintf("s/%d/f", i)] = fmt.Sprint(i)
	}
	tree(t, here, files)
	files["s/7/f"] = "differs"
	delete(files, "s/123/f")
	tree(t, home, files)
	entries, err := Entries([]string{here + "/s"})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{bin, os.Getenv("PATH")} {
		want := Want{Mode: 0o644, Owner: fmt.Sprint(os.Getuid())}
		q := Query{Dest: "s", Owners: true}
		cmd := exec.Command(filepath.Join(bin, "sh"), "-c", "cd "+home+"; "+Query{Dest: ".", Into: true, Owners: true}.Line())
		cmd.Env, cmd.Stdin = []string{"PATH=" + path}, strings.NewReader(Manifest(entries))
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		r, err := q.Read(strings.NewReader(string(out)), entries, want)
		if err != nil {
			t.Fatal(err)
		}
		if r.Same != 248 || r.Different != 3 || r.Differences[0].State != Missing || r.Differences[1].State != Missing || r.Differences[2].State != Content {
			t.Errorf("%d same, %+v", r.Same, r.Differences)
		}
	}
}

// Content is cut, and comes from where the file is.
func TestContent(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	tree(t, home, map[string]string{"d/a": "0123456789", "b": "as it is\n"})
	for _, test := range []struct{ dest, manifest, want string }{{"d", "a\n", "0123"}, {"b", "a\n", "as i"}} {
		if got := ask(t, home, Query{Dest: test.dest}.ContentLine(4), test.manifest); got != test.want {
			t.Errorf("%s: %q", test.dest, got)
		}
	}
}

func TestParseMode(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"-rw-r--r--": "0644", "-rwsr-xr-x": "4755", "drwxrwxrwt": "1777", "-rwSr-Sr-T": "7644", "drwxr-s---+": "2750", "-r--------.": "0400", "short": "", "-rwxrwxrwz": "",
	} {
		got := ""
		if mode, ok := parseMode(text); ok {
			got = fmt.Sprintf("%04o", octal(mode))
		}
		if got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

// A host may answer anything.
func FuzzRead(f *testing.F) {
	for _, answer := range []string{"into\nf\nd\n00\n", "as\n-\n-\n", "as\nf\nd\nu\n-rw-r--r-- a b 1 2\ndrwxr-xr-x a b 1 2\n", "as\nl \x1b[31m\n", "as\nd drwxr-xr-x a b 1 2\n", "", "as\nf " + strings.Repeat("0", 64) + " -rw-r--r-- a b 1 2\n"} {
		f.Add(answer)
	}
	entries := []Entry{{Path: "a", Kind: File}, {Path: "b", Kind: Directory}}
	f.Fuzz(func(t *testing.T, answer string) {
		r, err := Query{Dest: "x", Owners: true}.Read(strings.NewReader(answer), entries, Want{Mode: 0o644, Owner: "me"})
		if err == nil && r.Same+r.Different > len(entries) {
			t.Errorf("%+v", r)
		}
		if r == nil {
			return
		}
		for _, d := range r.Differences {
			if strings.ContainsAny(d.Text, "\x1b\n") {
				t.Errorf("%q", d.Text)
			}
		}
	})
}

func TestDestination(t *testing.T) {
	t.Parallel()
	for dest, want := range map[string]string{"/etc/x": "/etc/x", "x": "x", "~/x": "x", "~": "./", "~/": "./", "~bob/x": "only ~/ is supported, not the home directory of another user"} {
		got, err := Destination(dest)
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %s, want %s", dest, got, want)
		}
	}
}
