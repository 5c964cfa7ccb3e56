package fleetssh

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"fleetssh/internal/sanitize"
	"fleetssh/internal/transfer"
)

// A path that a host sends is cut in errors, however long it is.
func TestLongPath(t *testing.T) {
	t.Parallel()
	err := copyError("web1", &transfer.Error{Op: "copy", Path: strings.Repeat("é", 50_000), Err: errors.New("no")})
	copied, ok := err.(*CopyError)
	if !ok || len(copied.Path) > mostPath+len("…") || len(err.Error()) > 2*sanitize.MaxLine || !utf8.ValidString(copied.Path) {
		t.Errorf("a path of %d bytes, an error of %d", len(copied.Path), len(err.Error()))
	}
}
