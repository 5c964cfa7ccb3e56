package transfer

import (
	"context"
	"io"
	"testing"
)

// silentProgram exits with 0 and writes nothing.
type silentProgram struct{ Stream }

func (silentProgram) Read([]byte) (int, error) { return 0, io.EOF }
func (silentProgram) CloseWrite() error        { return nil }
func (silentProgram) Wait() error              { return nil }
func (silentProgram) Close() error             { return nil }

// An account with a forced command runs the SFTP server for every command, which exits with 0. That
// must not count as a sync.
func TestFlusherForcedCommand(t *testing.T) {
	t.Parallel()
	host := &Host{Exec: func(context.Context, string) (Stream, error) { return silentProgram{}, nil }}
	u := &upload{session: &session{job: New(Options{}), host: host}}
	defer u.job.Close()
	fl := &flusher{upload: u}
	if fl.sync(t.Context(), []*uploadFile{{name: "dir/file"}}) == nil {
		t.Error("it is taken for a sync of the file system")
	}
}
