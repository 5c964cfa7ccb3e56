package selection

import (
	"os"
	"strings"

	"fleetssh"
	"fleetssh/internal/account"
	"fleetssh/internal/knownhosts"
	"fleetssh/sshconfig"
)

// KnownHostsCache knows which known_hosts files run would use for a host, and reads each list of files
// once.
type KnownHostsCache struct {
	ForAll []string // the files that flags name; nil: ssh_config says it
	dbs    map[string]*knownhosts.DB
}

// NewKnownHostsCache returns the files that f names, or leaves them to the configuration of ssh.
func NewKnownHostsCache(f *Flags) *KnownHostsCache {
	k := &KnownHostsCache{dbs: make(map[string]*knownhosts.DB)}
	switch {
	case f.KnownHosts != "":
		k.ForAll = fleetssh.KnownHostsFiles(f.KnownHosts)
	case f.HostKey != "":
		k.ForAll = defaultKnownHosts()
	}
	return k
}

// defaultKnownHosts returns the files that are used if nothing names any. Without a home directory no
// file can be added to.
func defaultKnownHosts() []string {
	files := fleetssh.KnownHostsFiles()
	if _, err := account.Home(); err != nil {
		return append([]string{os.DevNull}, files...)
	}
	return files
}

// KeyFiles is where run looks up the key of a host, and where it would add it.
type KeyFiles struct {
	Files []string // keys are added to the first
	Hash  bool     // host names are hashed
}

// For returns the place for a host with these settings.
func (k *KnownHostsCache) For(settings *sshconfig.Settings) KeyFiles {
	p := KeyFiles{Files: k.ForAll}
	if p.Files == nil {
		p.Files = settings.KnownHostsFiles()
	}
	if p.Files == nil {
		p.Files = defaultKnownHosts()
	}
	if hash := settings.Values("HashKnownHosts"); len(hash) > 0 {
		p.Hash = hash[0].Value == "yes"
	}
	return p
}

// DB returns what is in files, as far as they can be read.
func (k *KnownHostsCache) DB(files []string) *knownhosts.DB {
	id := strings.Join(files, "\x00")
	db := k.dbs[id]
	if db == nil {
		db = new(knownhosts.DB)
		for _, file := range files {
			db.TryFile(file)
		}
		k.dbs[id] = db
	}
	return db
}
