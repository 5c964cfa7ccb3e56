package transfer

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"
)

// A partial file is called ".NAME.fleetssh-TOKEN", in the directory of the file. The random token
// separates copies that run at the same time.
const (
	tempInfix   = ".fleetssh-"
	tempToken   = 8 // hexadecimal digits
	longestName = 255 - 1 - len(tempInfix) - tempToken
)

// tempName returns a new name for a partial file.
func tempName(base string) string {
	var token [tempToken / 2]byte
	rand.Read(token[:]) // never fails
	return tempPrefix(base) + hex.EncodeToString(token[:])
}

func tempPrefix(base string) string {
	return "." + base[:min(len(base), longestName)] + tempInfix
}

// isTempOf reports whether a name is one of a partial file for base.
func isTempOf(name, base string) bool {
	token, ok := strings.CutPrefix(name, tempPrefix(base))
	_, err := hex.DecodeString(token)
	return ok && len(token) == tempToken && err == nil
}

// largestLeftover returns the largest partial file of base that has at most most bytes, or nil.
func largestLeftover(list []fs.FileInfo, base string, most int64) fs.FileInfo {
	var best fs.FileInfo
	for _, info := range list {
		if info.Mode().IsRegular() && isTempOf(info.Name(), base) && info.Size() > 0 && info.Size() <= most &&
			(best == nil || info.Size() > best.Size()) {
			best = info
		}
	}
	return best
}

// prefixSizes returns the lengths at which a partial file is compared with the source, the longest
// first. A lost connection leaves holes near the end, where blocks were in flight.
func prefixSizes(size int64) []int64 {
	lengths := []int64{size}
	step := int64(1 << 20)
	if size > 256<<20 {
		step = maxInFlight * maxBlock // fewer steps: each reads the whole file again
	}
	for ; step <= 2*maxInFlight*maxBlock && size-step > 0; step *= 2 {
		lengths = append(lengths, size-step)
	}
	return lengths
}

// temp is a temporary file and the length of its complete prefix. Blocks are written in any order.
type temp struct {
	name string

	mu       sync.Mutex // protects what follows
	size     int64      // of a block
	total    int64      // of the file
	prefix   int64      // blocks of the beginning
	ahead    map[int64]bool
	leftover bool // over from an earlier copy, and not compared yet
}

// setLeftover records whether the file is the partial file of an earlier copy. Such a file is kept if
// this copy ends before it has compared it.
func (t *temp) setLeftover(is bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.leftover = is
}

// isLeftover reports whether the file is still as an earlier copy left it.
func (t *temp) isLeftover() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.leftover
}

// start sets the size of blocks, the size of the complete file, and how many bytes it has already.
func (t *temp) start(size, total, bytes int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.size, t.total, t.prefix, t.ahead, t.leftover = size, total, bytes/size, make(map[int64]bool), false
}

// written records that block number i is complete.
func (t *temp) written(i int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.ahead[i] = true; t.ahead[t.prefix]; t.prefix++ {
		delete(t.ahead, t.prefix)
	}
}

// prefixSize returns how many bytes from the beginning are complete.
func (t *temp) prefixSize() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return min(t.prefix*t.size, t.total)
}

// temps are the temporary files of one host.
type temps struct {
	mu    sync.Mutex
	files []*temp
}

func (t *temps) add(name string) *temp {
	t.mu.Lock()
	defer t.mu.Unlock()
	one := &temp{name: name}
	t.files = append(t.files, one)
	return one
}

func (t *temps) remove(one *temp) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := slices.Index(t.files, one); i >= 0 {
		t.files = slices.Delete(t.files, i, i+1)
	}
}

func (t *temps) list() []*temp {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.files)
}

// discard removes a temporary file.
func (u *upload) discard(t *temp) {
	ch := u.nextChannel()
	err := ch.do(func() error { return ch.Remove(t.name) })
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		u.temps.remove(t)
	}
	_ = u.reason(err) // ignored: temps still has it, and cleanUp tries again
}

// resumable is how many bytes a partial file must have to be kept for a later copy.
const resumable = 1 << 20

const (
	// cleanUpLimit is how long a host may be silent while files are removed there: a busy one
	// takes its time for each.
	cleanUpLimit = 10 * time.Second
	// maxCleanUp is how long cleaning up on a host may take.
	maxCleanUp = time.Minute
)

// cleaning returns a context for cleaning up on a host after the copy, whose ctx may have ended. It
// ends after maxCleanUp, or when answered has not been called for cleanUpLimit.
func cleaning(ctx context.Context) (clean context.Context, answered, end func()) {
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), maxCleanUp)
	timer := time.AfterFunc(cleanUpLimit, cancel)
	answered = func() { timer.Reset(cleanUpLimit) }
	end = func() {
		timer.Stop()
		cancel()
	}
	return clean, answered, end
}

// cleanUp removes the partial files of an interrupted copy, except those that a later copy can
// resume. Requests on the old channels may never be answered, so it opens a new one.
func (u *upload) cleanUp(ctx context.Context) {
	left := u.temps.list()
	if len(left) == 0 || u.host.Broken() {
		return
	}
	for _, ch := range u.allChannels() {
		ch.stream.Close() // a host may allow one session only
	}
	ctx, answered, end := cleaning(ctx)
	defer end()
	ch, _, err := u.open(ctx)
	if err != nil {
		return
	}
	answered()
	defer ch.close()
	free := context.AfterFunc(ctx, func() { ch.stream.Close() })
	defer free()
	each(ctx, 32, len(left), func(i int) {
		t := left[i]
		if t.isLeftover() {
			return
		}
		n := t.prefixSize()
		if n < resumable || ch.Truncate(t.name, n) != nil {
			_ = ch.Remove(t.name) // ignored: a file that stays can be resumed
		}
		answered()
	})
}

// dirNotWritableError means that a temporary file cannot be created.
type dirNotWritableError struct {
	dir      string
	existing bool // a file would be replaced
	err      error
}

// explainPermission adds the directory to a permission error about a temporary file: the file that
// it replaces may well be writable. Other errors are returned as they are.
func explainPermission(err error, dir string, existing fs.FileInfo) error {
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return &dirNotWritableError{dir, existing != nil, err}
}

// Error implements [error].
func (e *dirNotWritableError) Error() string {
	text := "permission denied: the folder " + e.dir + " is not writable"
	if e.existing {
		text += ", and a file is replaced, not written in place"
	}
	return text
}

// Unwrap returns the error of the system.
func (e *dirNotWritableError) Unwrap() error { return e.err }
