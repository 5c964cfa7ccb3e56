package copy

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/sshdtest"
)

// installer is an account with sudo, and directories only root can write to.
type installer struct {
	*testing.T
	client              *fleetssh.Client
	local, remote, temp string
}

func newInstaller(t *testing.T, account string) *installer {
	t.Helper()
	remote, temp := t.TempDir(), t.TempDir()
	for dir := filepath.Dir(temp); len(dir) > 1; dir = filepath.Dir(dir) { // up to /tmp, the account must get here
		info, err := os.Stat(dir)
		if err == nil && info.Mode()&os.ModeSticky != 0 {
			break
		}
		if err == nil && info.Mode().Perm()&0o001 == 0 {
			err = os.Chmod(dir, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for dir, mode := range map[string]os.FileMode{remote: 0o755, temp: 0o777 | os.ModeSticky} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
	}
	_, host, password := fleettest.AccountSSHD(t, account, sshdtest.Options{Config: []string{"SetEnv TMPDIR=" + temp}})
	host.Auth.Password = password
	return &installer{t, fleettest.Dial(t, host), t.TempDir(), remote, temp}
}

func (f *installer) write(name, text string) string {
	f.Helper()
	path := filepath.Join(f.local, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		f.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
		f.Fatal(err)
	}
	return path
}

// expect compares a file below remote: its content, mode and owner.
func (f *installer) expect(name, text string, mode os.FileMode, owner string) {
	f.Helper()
	path := filepath.Join(f.remote, name)
	got, err := os.ReadFile(path)
	if err != nil {
		f.Error(err)
		return
	}
	info, err := os.Stat(path)
	if err != nil {
		f.Fatal(err)
	}
	out, err := exec.Command("stat", "-c", "%U:%G", path).Output()
	if err != nil {
		f.Fatal(err)
	}
	if is := strings.TrimSpace(string(out)); string(got) != text || info.Mode() != mode || is != owner {
		f.Errorf("%s: %q, %v, %s; want %q, %v, %s", name, got, info.Mode(), is, text, mode, owner)
	}
}

// nothingLeft expects no temporary file below remote, and no temporary directory.
func (f *installer) nothingLeft() {
	f.Helper()
	left, err := filepath.Glob(filepath.Join(f.remote, ".*"))
	if err != nil || len(left) > 0 {
		f.Errorf("%v are left, %v", left, err)
	}
	if stages, err := os.ReadDir(f.temp); err != nil || len(stages) > 0 {
		f.Errorf("%v are left, %v", stages, err)
	}
}

func TestSSHDInstall(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	f := newInstaller(t, sshdtest.Alice)
	ctx := t.Context()
	sudo := func(in fleetssh.Install) *fleetssh.CopyOptions {
		in.Sudo, in.SudoPassword = true, accountPassword
		return &fleetssh.CopyOptions{Install: &in}
	}
	upload := func(local, remote string, opts *fleetssh.CopyOptions, files, skipped int) {
		t.Helper()
		r, err := f.client.Upload(ctx, local, filepath.Join(f.remote, remote), opts)
		if err != nil || r.Files != files || r.Skipped != skipped || r.Failed != 0 {
			t.Errorf("%s: %+v, %v", remote, r, err)
		}
	}
	// Without sudo, the account may not write there.
	conf := f.write("app.conf", "one\n")
	if _, err := f.client.Upload(ctx, conf, f.remote+"/app.conf", nil); err == nil {
		t.Error("the account may write there")
	}
	// A new file belongs to root; its mode is as without Install.
	upload(conf, "app.conf", sudo(fleetssh.Install{}), 1, 0)
	f.expect("app.conf", "one\n", 0o640, "root:root")
	// The same content is left alone, but gets owner and mode.
	upload(conf, "app.conf", sudo(fleetssh.Install{Owner: sshdtest.Bob, Group: "root", Mode: 0o604}), 0, 1)
	f.expect("app.conf", "one\n", 0o604, sshdtest.Bob+":root")
	// A file that is replaced keeps both, and its old content with Backup.
	f.write("app.conf", "two\n")
	upload(conf, "app.conf", sudo(fleetssh.Install{Backup: true}), 1, 0)
	f.expect("app.conf", "two\n", 0o604, sshdtest.Bob+":root")
	old, err := filepath.Glob(f.remote + "/app.conf.*Z~")
	if err != nil || len(old) != 1 {
		t.Fatalf("%v, %v", old, err)
	}
	f.expect(filepath.Base(old[0]), "one\n", 0o604, sshdtest.Bob+":root")
	upload(conf, "app.conf", sudo(fleetssh.Install{Mode: 0o755 | os.ModeSetuid}), 0, 1)
	f.expect("app.conf", "two\n", 0o755|os.ModeSetuid, sshdtest.Bob+":root")

	// Trees, into a directory and as one, with names that a shell could misread.
	f.write("site/-n", "a")
	f.write("site/sub/it's $x\n*", "b")
	f.write("site/.hidden", "c")
	if err := os.Symlink("-n", filepath.Join(f.local, "site/link")); err != nil {
		t.Fatal(err)
	}
	tree := sudo(fleetssh.Install{Owner: sshdtest.Bob})
	tree.Recursive = true
	upload(filepath.Join(f.local, "site"), "www", tree, 4, 0)
	upload(filepath.Join(f.local, "site"), "www/", tree, 4, 0)
	upload(filepath.Join(f.local, "site")+"/.", "new/www", tree, 4, 0)
	for _, dir := range []string{"www/", "www/site/", "new/www/"} {
		f.expect(dir+"-n", "a", 0o640, sshdtest.Bob+":root")
		f.expect(dir+"sub/it's $x\n*", "b", 0o640, sshdtest.Bob+":root")
		f.expect(dir+".hidden", "c", 0o640, sshdtest.Bob+":root")
		if to, err := os.Readlink(filepath.Join(f.remote, dir, "link")); to != "-n" {
			t.Errorf("%s, %v", to, err)
		}
	}

	// Failures are named, and other files are installed.
	if err := os.Mkdir(f.remote+"/www/.hidden2", 0o700); err != nil {
		t.Fatal(err)
	}
	f.write("site/.hidden2", "d")
	f.write("site/more", "e")
	r, err := f.client.Upload(ctx, filepath.Join(f.local, "site")+"/.", f.remote+"/www", tree)
	fault, ok := errors.AsType[*fleetssh.CopyError](err)
	if !ok || fault.Op != fleetssh.OpInstall || !strings.Contains(err.Error(), "something else") || r.Failed != 1 || r.Files != 1 || r.Skipped != 4 {
		t.Errorf("%+v, %v", r, err)
	}
	f.expect("www/more", "e", 0o640, sshdtest.Bob+":root")
	_, err = f.client.Upload(ctx, conf, f.remote+"/app.conf", sudo(fleetssh.Install{Owner: "no-such-user"}))
	if err == nil || !strings.Contains(err.Error(), "no-such-user") {
		t.Errorf("%v", err)
	}
	f.expect("app.conf", "two\n", 0o755|os.ModeSetuid, sshdtest.Bob+":root")

	// A wrong password is not a failure of the file.
	wrong := sudo(fleetssh.Install{})
	wrong.Install.SudoPassword = func(context.Context, fleetssh.HostConfig) (string, error) { return "wrong", nil }
	r, err = f.client.Upload(ctx, conf, f.remote+"/wrong", wrong)
	if session, ok := errors.AsType[*fleetssh.SessionError](err); !ok || session.Phase != fleetssh.PhaseSudo || r.Outcome.Kind != fleetssh.NotStarted {
		t.Errorf("%+v, %v", r.Outcome, err)
	}
	f.nothingLeft()
}

// Without sudo, the account's own files are installed in the same way. SCP works, too.
func TestSSHDInstallWithoutSudo(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	f := newInstaller(t, sshdtest.Bob)
	if err := os.Chmod(f.remote, 0o777); err != nil {
		t.Fatal(err)
	}
	opts := &fleetssh.CopyOptions{Install: &fleetssh.Install{Mode: 0o600, Backup: true}}
	for _, protocol := range []fleetssh.CopyProtocol{fleetssh.SFTP, fleetssh.SCP} {
		opts.Protocol = protocol
		name := []string{"sftp", "scp"}[protocol]
		if _, err := f.client.Upload(t.Context(), f.write(name, name), f.remote+"/"+name, opts); err != nil {
			t.Error(err)
		}
		f.expect(name, name, 0o600, sshdtest.Bob+":"+sshdtest.Bob)
	}
	opts.Install.Owner = "root"
	if _, err := f.client.Upload(t.Context(), f.write("x", "x"), f.remote+"/x", opts); err == nil || !strings.Contains(err.Error(), "install") {
		t.Errorf("%v", err)
	}
	f.nothingLeft()
}

func TestInstallFaults(t *testing.T) {
	t.Parallel()
	c := &fleetssh.ParallelClient{Hosts: []fleetssh.HostConfig{{Host: "h"}}}
	defer c.Close()
	for field, opts := range map[string]*fleetssh.CopyOptions{
		"Install.Owner": {Install: &fleetssh.Install{Owner: "a:b"}},
		"Install.Group": {Install: &fleetssh.Install{Group: "-x"}},
		"Install.Mode":  {Install: &fleetssh.Install{Mode: os.ModeDir | 0o755}},
		"Resume":        {Install: &fleetssh.Install{}, Resume: true},
		"Delete":        {Install: &fleetssh.Install{}, Delete: true, Recursive: true},
	} {
		_, err := c.Upload(t.Context(), os.DevNull, "x", opts)
		if fault, ok := errors.AsType[*fleetssh.ConfigError](err); !ok || fault.Field != "CopyOptions."+field {
			t.Errorf("%s: %v", field, err)
		}
	}
	_, err := c.Download(t.Context(), "x", t.TempDir(), &fleetssh.CopyOptions{Install: &fleetssh.Install{}})
	if fault, ok := errors.AsType[*fleetssh.ConfigError](err); !ok || fault.Field != "CopyOptions.Install" {
		t.Errorf("%v", err)
	}
}

func accountPassword(_ context.Context, host fleetssh.HostConfig) (string, error) {
	return host.Auth.Password, nil
}
