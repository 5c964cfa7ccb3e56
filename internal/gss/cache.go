package gss

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// cache is what a credential cache held when it was read.
type cache struct {
	name      string // as in KRB5CCNAME
	principal principal
	tickets   []*ticket
}

// find returns the usable ticket for a service that lasts longest.
func (c *cache) find(server principal, now time.Time, skew time.Duration) *ticket {
	var best *ticket
	for _, t := range c.tickets {
		if t.server.equal(server) && t.client.equal(c.principal) && t.usable(now, skew) && (best == nil || t.end.After(best.end)) {
			best = t
		}
	}
	return best
}

// errNoCache says that there is no cache, or none of the one who was asked for.
var errNoCache = errors.New("there is no ticket")

// collection are the caches of one name. Some kinds of names stand for several, one
// for each identity, of which one is the default.
type collection struct {
	// primary reads the default cache.
	primary func() (*cache, error)
	// all reads the caches, one after the other, those that can be read.
	all func(yield func(*cache) bool)
}

// readCache reads the cache of a name as in KRB5CCNAME. If an identity is given and
// the default is not its, the other caches of the collection are searched.
func (c *config) readCache(ctx context.Context, name string, identity *principal) (*cache, error) {
	found, err := c.collection(ctx, name)
	if err != nil {
		return nil, err
	}
	primary, err := found.primary()
	if err == nil && (identity == nil || primary.principal.equal(*identity)) {
		return primary, nil
	}
	if identity != nil && found.all != nil {
		for other := range found.all {
			if other.principal.equal(*identity) {
				return other, nil
			}
		}
	}
	if err == nil {
		return nil, advise(fmt.Errorf("%s is of %s, and none is of %s", name, printable(primary.principal.String()), identity), hintKinit+" "+identity.String())
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNoCache) {
		return nil, advise(fmt.Errorf("there is no ticket in %s", name), hintKinit)
	}
	return nil, fmt.Errorf("%s: %w", name, err)
}

// collection finds out what a name stands for. It reads nothing yet.
func (c *config) collection(ctx context.Context, name string) (collection, error) {
	kind, rest, found := strings.Cut(name, ":")
	if !found || len(kind) < 2 { // a path, perhaps with the letter of a drive
		kind, rest = "FILE", name
	}
	switch kind {
	case "FILE":
		return collection{primary: func() (*cache, error) { return readCacheFile(rest) }}, nil
	case "DIR":
		return dirCollection(rest), nil
	case "KCM":
		return kcmCollection(ctx, c.kcmSocket(), rest), nil
	case "KEYRING":
		return keyringCollection(rest), nil
	case "MEMORY":
		return collection{}, errors.New("a MEMORY cache belongs to one process alone, and cannot be read from here")
	}
	return collection{}, fmt.Errorf("a cache of type %s is not supported: FILE, DIR, KCM and KEYRING are", printable(kind))
}

// maxCacheFile is a limit to the bytes of a cache.
const maxCacheFile = 16 << 20

func readCacheFile(path string) (*cache, error) {
	data, err := readBounded(path, maxCacheFile)
	if err != nil {
		return nil, plain(err)
	}
	c, err := parseCacheFile(data)
	if err != nil {
		return nil, err
	}
	c.name = "FILE:" + path
	return c, nil
}

// plain takes the path out of an error, where it has been said.
func plain(err error) error {
	if pathErr := (*fs.PathError)(nil); errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}

// dirCollection is a directory of files whose names begin with "tkt", and one named
// "primary" which names the default. "DIR::path" is one of the files.
func dirCollection(rest string) collection {
	if path, found := strings.CutPrefix(rest, ":"); found {
		return collection{primary: func() (*cache, error) { return readCacheFile(path) }}
	}
	return collection{
		primary: func() (*cache, error) {
			if _, err := os.Stat(rest); err != nil {
				return nil, plain(err)
			}
			file := "tkt"
			if data, err := readBounded(filepath.Join(rest, "primary"), 1<<12); err == nil {
				line, _, _ := strings.Cut(string(data), "\n")
				file = cmp.Or(strings.TrimSpace(line), file)
			}
			if !strings.HasPrefix(file, "tkt") || filepath.Base(file) != file {
				return nil, fmt.Errorf("the file primary names %q, which is no cache", file)
			}
			return readCacheFile(filepath.Join(rest, file))
		},
		all: func(yield func(*cache) bool) {
			files, _ := os.ReadDir(rest)
			for _, f := range files[:min(len(files), maxCaches)] {
				if !strings.HasPrefix(f.Name(), "tkt") {
					continue
				}
				if c, err := readCacheFile(filepath.Join(rest, f.Name())); err == nil && !yield(c) {
					return
				}
			}
		},
	}
}

// maxCaches is a limit to the caches of a collection that are read.
const maxCaches = 1000
