package simfleet

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/pkg/sftp"
)

// openSFTP starts a host and an SFTP client to it.
func openSFTP(t *testing.T, h Host, options ...sftp.ClientOption) (*Server, *sftp.Client) {
	t.Helper()
	s := start(t, h)
	client, err := sftp.NewClient(dial(t, s), options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return s, client
}

func put(c *sftp.Client, name string, content []byte) error {
	f, err := c.Create(name)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Close())
}

func TestSFTP(t *testing.T) {
	t.Parallel()
	s, c := openSFTP(t, Host{})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	if dir, err := c.Getwd(); dir != "/home/alice" || err != nil {
		t.Errorf("the directory is %s, %v", dir, err)
	}
	content := bytes.Repeat([]byte("0123456789"), 50_000)
	must(c.Mkdir("d"))
	must(put(c, "d/new", content))
	must(put(c, "d/old", []byte("old")))
	if err := c.Rename("d/new", "d/old"); err == nil {
		t.Error("a rename replaced a file")
	}
	must(c.PosixRename("d/new", "d/old"))
	must(c.Chmod("d/old", 0o4755))
	must(c.Chtimes("d/old", time.Unix(5, 0), time.Unix(1_000_000_000, 0)))
	must(c.Symlink("old", "d/link"))
	info, err := c.Stat("d/link")
	must(err)
	if info.Size() != int64(len(content)) || info.Mode() != 0o755|fs.ModeSetuid || info.ModTime().Unix() != 1_000_000_000 {
		t.Errorf("%v %v %v", info.Size(), info.Mode(), info.ModTime())
	}
	info, err = c.Lstat("d/link")
	must(err)
	if target, err := c.ReadLink("d/link"); info.Mode().Type() != fs.ModeSymlink || target != "old" || err != nil {
		t.Errorf("the link is %v, to %s, %v", info.Mode(), target, err)
	}
	f, err := c.Open("d/link")
	must(err)
	var back bytes.Buffer
	if n, err := f.WriteTo(&back); err != nil || !bytes.Equal(back.Bytes(), content) {
		t.Errorf("read %d bytes, %v", n, err)
	}
	f.Close()
	must(c.Truncate("d/old", 3))
	if content, err := s.ReadFile("/home/alice/d/link"); string(content) != "012" || err != nil {
		t.Errorf("%q, %v", content, err)
	}
	if err := c.RemoveDirectory("d"); err == nil {
		t.Error("a directory with files was removed")
	}
	if names := fmt.Sprint(s.FileNames()); names != "[/home/ /home/alice/ /home/alice/d/ /home/alice/d/link /home/alice/d/old /tmp/]" {
		t.Error(names)
	}
	must(errors.Join(c.Remove("d/link"), c.Remove("d/old"), c.RemoveDirectory("d")))
	if _, err := c.Stat("d"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("stat: %v", err)
	}
}

func TestDiskSize(t *testing.T) {
	t.Parallel()
	s, c := openSFTP(t, Host{DiskSize: 100_000})
	if err := put(c, "a", make([]byte, 90_000)); err != nil {
		t.Fatal(err)
	}
	if err := put(c, "b", make([]byte, 90_000)); err == nil {
		t.Error("the disk has no limit")
	}
	if err := c.Truncate("b", 1<<60); err == nil {
		t.Error("a file was made larger than the disk")
	}
	if err := errors.Join(c.Remove("a"), put(c, "b", make([]byte, 90_000))); err != nil {
		t.Errorf("after removing: %v", err)
	}
	if err := s.WriteFile("/c", make([]byte, 20_000), 0); err == nil {
		t.Error("WriteFile has no limit")
	}
}

func TestSFTPFaults(t *testing.T) {
	t.Parallel()
	content := make([]byte, 100_000)
	t.Run("disk-full", func(t *testing.T) {
		t.Parallel()
		s, c := openSFTP(t, Host{Fault: Fault{Kind: DiskFull, Bytes: 50_000}})
		if err := put(c, "f", content); err == nil || !strings.Contains(err.Error(), "no space left") {
			t.Errorf("put: %v", err)
		}
		if kept, _ := s.ReadFile("/home/alice/f"); len(kept) != 50_000 {
			t.Errorf("%d bytes were kept", len(kept))
		}
	})
	t.Run("deny-path", func(t *testing.T) {
		t.Parallel()
		_, c := openSFTP(t, Host{Fault: Fault{Kind: DenyPath, Path: "/home/alice/d"}})
		if err := c.Mkdir("d"); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("mkdir: %v", err)
		}
		if err := put(c, "dd", content); err != nil {
			t.Error(err)
		}
	})
	t.Run("cut-upload", func(t *testing.T) {
		t.Parallel()
		_, c := openSFTP(t, Host{Fault: Fault{Kind: CutUpload, Bytes: 50_000}})
		if err := put(c, "f", content); err == nil {
			t.Error("the connection was not cut")
		}
	})
	t.Run("stall-file", func(t *testing.T) {
		t.Parallel()
		s, c := openSFTP(t, Host{Fault: Fault{Kind: StallFile, Bytes: 50_000}})
		staysSilent(t, s.Drop, func() { put(c, "f", content) })
	})
	t.Run("stall-file when reading", func(t *testing.T) {
		t.Parallel()
		s, c := openSFTP(t, Host{Fault: Fault{Kind: StallFile, Bytes: 50_000}})
		s.WriteFile("/f", content, 0)
		f, err := c.Open("/f")
		if err != nil {
			t.Fatal(err)
		}
		staysSilent(t, s.Drop, func() { io.Copy(io.Discard, f) })
	})
	t.Run("wrong-size", func(t *testing.T) {
		t.Parallel()
		s, c := openSFTP(t, Host{Fault: Fault{Kind: WrongSize, Bytes: -10}})
		s.WriteFile("/f", content, 0)
		if info, err := c.Stat("/f"); err != nil || info.Size() != int64(len(content))-10 {
			t.Errorf("%v, %v", info, err)
		}
	})
	t.Run("no-extensions", func(t *testing.T) {
		t.Parallel()
		_, c := openSFTP(t, Host{Fault: Fault{Kind: NoExtensions}})
		_, posix := c.HasExtension("posix-rename@openssh.com")
		if err := errors.Join(put(c, "f", content), c.Rename("f", "g")); posix || err != nil {
			t.Errorf("%v, %v", posix, err)
		}
		if err := c.PosixRename("g", "h"); err == nil {
			t.Error("posix-rename was not refused")
		}
	})
	t.Run("hostile-names", func(t *testing.T) {
		t.Parallel()
		_, c := openSFTP(t, Host{Fault: Fault{Kind: HostileNames}})
		// pkg/sftp returns only the last part of a name.
		if infos, err := c.ReadDir("/tmp"); err != nil || len(infos) < 4 {
			t.Errorf("%d names, %v", len(infos), err)
		}
	})
	t.Run("long-names", func(t *testing.T) {
		t.Parallel()
		_, c := openSFTP(t, Host{Fault: Fault{Kind: LongNames}})
		if infos, err := c.ReadDir("/tmp"); err != nil || len(infos) != 1 || len(infos[0].Name()) != longName {
			t.Errorf("%d names, %v", len(infos), err)
		}
	})
	t.Run("endless-listing", func(t *testing.T) {
		t.Parallel()
		_, c := openSFTP(t, Host{Fault: Fault{Kind: EndlessListing}})
		done := make(chan struct{})
		go func() {
			defer close(done)
			c.ReadDirContext(t.Context(), "/tmp")
		}()
		select {
		case <-done:
			t.Error("the listing ended")
		case <-time.After(silence):
		}
		c.Close()
		<-done
	})
}
