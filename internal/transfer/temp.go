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

// A file that is not whole stands under ".NAME.fleetssh-TOKEN" beside its place. The token
// tells copies apart that are made at the same time.
const (
	tempInfix   = ".fleetssh-"
	tempToken   = 8 // hexadecimal digits
	longestName = 255 - 1 - len(tempInfix) - tempToken
)

// tempName returns a name for a file that is not whole.
func tempName(base string) string {
	var token [tempToken / 2]byte
	rand.Read(token[:]) // never fails
	return tempPrefix(base) + hex.EncodeToString(token[:])
}

func tempPrefix(base string) string {
	return "." + base[:min(len(base), longestName)] + tempInfix
}

// isTempOf reports whether a name is that of a file which was to be called base.
func isTempOf(name, base string) bool {
	token, ok := strings.CutPrefix(name, tempPrefix(base))
	_, err := hex.DecodeString(token)
	return ok && len(token) == tempToken && err == nil
}

// largestLeftover returns the largest of what earlier copies of a file have left; nil if
// there is none, or none that is of use.
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

// prefixSizes returns the lengths at which what was left is compared, the longest first. A
// connection that was cut leaves holes near the end: what was on its way then is missing.
func prefixSizes(size int64) []int64 {
	lengths := []int64{size}
	step := int64(1 << 20)
	if size > 256<<20 {
		step = maxInFlight * maxBlock // reading it all again and again takes longer
	}
	for ; step <= 2*maxInFlight*maxBlock && size-step > 0; step *= 2 {
		lengths = append(lengths, size-step)
	}
	return lengths
}

// temp is a temporary file, and how much of its beginning is there: blocks arrive in
// any order.
type temp struct {
	name string

	mu       sync.Mutex // protects what follows
	size     int64      // of a block
	total    int64      // of the file
	prefix   int64      // blocks of the beginning
	ahead    map[int64]bool
	leftover bool // over from an earlier copy, and not compared yet
}

// take notes that the file is what an earlier copy has left, which is not lost when the
// copy ends before it was compared.
func (t *temp) setLeftover(is bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.leftover = is
}

// isLeftover reports whether the file is still as an earlier copy has left it.
func (t *temp) isLeftover() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.leftover
}

// start says of which size blocks are, how large the file is to be, and how much of it was
// there before.
func (t *temp) start(size, total, bytes int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.size, t.total, t.prefix, t.ahead, t.leftover = size, total, bytes/size, make(map[int64]bool), false
}

// written notes a block.
func (t *temp) written(i int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.ahead[i] = true; t.ahead[t.prefix]; t.prefix++ {
		delete(t.ahead, t.prefix)
	}
}

// prefixSize returns how many bytes of the beginning are there.
func (t *temp) prefixSize() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return min(t.prefix*t.size, t.total)
}

// temps are the temporary files that there are on one side.
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
	_ = u.reason(err) // it is noted that it is still there
}

// resumable is how large a file must be for it to be kept when the copy is broken off: so
// that a later one can go on with it.
const resumable = 1 << 20

// cleanUpLimit bounds what is done for the host in the end.
const cleanUpLimit = 5 * time.Second

// cleanUp removes what is not whole, but for what a later copy can go on with. The copy
// was broken off: what is under way on the channels may never end, so there is a new one
// for it, if there is still a connection.
func (u *upload) cleanUp(ctx context.Context) {
	left := u.temps.list()
	if len(left) == 0 || u.host.Broken() {
		return
	}
	for _, ch := range u.allChannels() {
		ch.stream.Close() // a host may allow one session only
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpLimit)
	defer cancel()
	ch, _, err := u.open(ctx)
	if err != nil {
		return
	}
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
			_ = ch.Remove(t.name) // of what is left behind the next copy can make something
		}
	})
}

// dirNotWritableError is why a temporary file cannot be made.
type dirNotWritableError struct {
	dir      string
	existing bool // a file that is to be replaced
	err      error
}

// explainPermission returns err, or, where a temporary file may not be made in a directory, an
// error that says so: the file itself may well be writable.
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
