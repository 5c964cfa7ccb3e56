package transfer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// snapshots hold local files whose size says nothing about what can be read of them, as in
// /proc (0) and /sys (a page). What such a file holds is read once, when it is listed, and
// every host gets that.
type snapshots struct {
	mu   sync.Mutex // protects what follows
	held int
}

const (
	// maxSnapshots is how many bytes all snapshots of a job take.
	maxSnapshots = 64 << 20
	// kernelPage is the largest size that the kernel gives to files which it writes when
	// they are read.
	kernelPage = 64 << 10
	// snapshotWait is how long a Read may take: a file of the kernel may have no end.
	snapshotWait = 2 * time.Second
)

// capture takes a snapshot of a file if its size is none.
func (s *snapshots) capture(e *entry, info os.FileInfo) error {
	if !info.Mode().IsRegular() || !suspectSize(info) {
		return nil
	}
	data, err := s.read(e.path, e.size)
	if err != nil || data == nil {
		return err
	}
	e.content, e.size = data, int64(len(data))
	return nil
}

// take reads a file that has a size. The result is nil if the size is right, or if the file
// cannot be opened, which is said when it is copied.
func (s *snapshots) read(path string, size int64) ([]byte, error) {
	file, err := openRegular(path)
	if err != nil {
		return nil, nil
	}
	defer file.Close()
	_ = file.SetReadDeadline(time.Now().Add(snapshotWait)) // one that has no deadlines does not wait
	s.mu.Lock()
	room := maxSnapshots - s.held
	s.mu.Unlock()
	data, err := io.ReadAll(io.LimitReader(file, int64(room)+1))
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, errors.New("reading it does not end")
	case err != nil:
		return nil, reasonOf(err)
	case int64(len(data)) == size:
		return nil, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held += len(data); s.held > maxSnapshots {
		s.held -= len(data)
		return nil, fmt.Errorf("its size is no size, and it is more than fits into %d MiB", maxSnapshots>>20)
	}
	return data, nil
}

// snapshotFile is the content of a snapshot as a file.
type snapshotFile struct{ *bytes.Reader }

// Close implements [io.Closer].
func (snapshotFile) Close() error { return nil }

// localFile is a local file that is open, or a snapshot of one.
type localFile interface {
	io.ReaderAt
	io.Closer
}
