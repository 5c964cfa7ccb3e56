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

// snapshots reads local files whose size is not the size of their content, as in /proc (0) and /sys
// (a page). Such a file is read once, when it is listed, and every host gets the same content.
type snapshots struct {
	mu   sync.Mutex // protects what follows
	held int        // bytes of all snapshots
}

const (
	// maxSnapshots is how many bytes all snapshots of a job may take.
	maxSnapshots = 64 << 20
	// kernelPage is the largest size that the kernel claims for files that it generates.
	kernelPage = 64 << 10
	// snapshotWait is how long reading may take: some files of the kernel never end.
	snapshotWait = 2 * time.Second
)

// capture takes a snapshot of a file if its size is wrong.
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

// read returns the content of a file, or nil if its size is right. It also returns nil if the file
// cannot be opened: the copy reports that.
func (s *snapshots) read(path string, size int64) ([]byte, error) {
	file, err := openRegular(path)
	if err != nil {
		return nil, nil
	}
	defer file.Close()
	_ = file.SetReadDeadline(time.Now().Add(snapshotWait)) // fails for files that never block
	s.mu.Lock()
	room := maxSnapshots - s.held
	s.mu.Unlock()
	data, err := io.ReadAll(io.LimitReader(file, int64(room)+1))
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, errors.New("reading it does not come to an end")
	case err != nil:
		return nil, reasonOf(err)
	case int64(len(data)) == size:
		return nil, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held += len(data); s.held > maxSnapshots {
		s.held -= len(data)
		return nil, fmt.Errorf("its size is unknown, and all such files together exceed %d MiB", maxSnapshots>>20)
	}
	return data, nil
}

// snapshotFile is the content of a snapshot as a file.
type snapshotFile struct{ *bytes.Reader }

// Close implements [io.Closer].
func (snapshotFile) Close() error { return nil }

// localFile is an open local file, or a snapshot of one.
type localFile interface {
	io.ReaderAt
	io.Closer
}
