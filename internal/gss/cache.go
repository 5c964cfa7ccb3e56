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

// cache holds the contents of a credential cache.
type cache struct {
	name      string // as in KRB5CCNAME
	principal principal
	tickets   []*ticket
}

// find returns the usable ticket for a service that expires last, or nil.
func (c *cache) find(server principal, now time.Time, skew time.Duration) *ticket {
	var best *ticket
	for _, t := range c.tickets {
		if t.server.equal(server) && t.client.equal(c.principal) && t.usable(now, skew) && (best == nil || t.end.After(best.end)) {
			best = t
		}
	}
	return best
}

// errNoCache means that there is no cache, or none of the wanted principal.
var errNoCache = errors.New("there is no ticket")

// collection holds the caches that a name stands for. Names of some types stand for several
// caches, one for each identity. One of them is the default.
type collection struct {
	// primary reads the default cache.
	primary func() (*cache, error)
	// all reads all caches, one after another. It skips those that cannot be read.
	all func(yield func(*cache) bool)
}

// readCache reads the cache with a name as in KRB5CCNAME. If identity is not nil and the default
// cache belongs to another principal, it searches the other caches of the collection.
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
		return nil, advise(fmt.Errorf("%s has tickets of %s, and no cache has tickets of %s", name, printable(primary.principal.String()), identity), hintKinit+" "+identity.String())
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNoCache) {
		return nil, advise(fmt.Errorf("there is no ticket in %s", name), hintKinit)
	}
	return nil, fmt.Errorf("%s: %w", name, err)
}

// collection returns the collection of a name, without reading it.
func (c *config) collection(ctx context.Context, name string) (collection, error) {
	kind, rest, found := strings.Cut(name, ":")
	if !found || len(kind) < 2 { // a path, perhaps with a drive letter
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
		return collection{}, errors.New("a MEMORY cache can only be read by the process that made it")
	}
	return collection{}, fmt.Errorf("cache type %s is not supported; use FILE, DIR, KCM or KEYRING", printable(kind))
}

// maxCacheFile limits the size of a cache in bytes.
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

// plain drops the path from an error, for messages that contain it already.
func plain(err error) error {
	if pathErr := (*fs.PathError)(nil); errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}

// dirCollection returns the caches in a directory: the files whose names begin with "tkt". The file
// "primary" contains the name of the default cache. "DIR::path" is a single file.
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
				return nil, fmt.Errorf("the file primary names %q, which is not a cache", file)
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

// maxCaches limits how many caches of a collection are read.
const maxCaches = 1000
