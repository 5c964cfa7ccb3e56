package selection

import (
	"os"
	"strings"

	"fleetssh"
	"fleetssh/internal/account"
	"fleetssh/internal/knownhosts"
	"fleetssh/sshconfig"
)

// KnownHostsCache finds the known_hosts files of hosts, as run uses them, and reads each list of files
// once.
type KnownHostsCache struct {
	ForAll []string // the files that flags name; nil: as in ssh_config
	dbs    map[string]*knownhosts.DB
}

// NewKnownHostsCache returns a cache for the files that f or ssh_config names.
func NewKnownHostsCache(f *Flags) *KnownHostsCache {
	k := &KnownHostsCache{dbs: make(map[string]*knownhosts.DB)}
	switch {
	case f.KnownHosts != "":
		k.ForAll = (&fleetssh.KnownHosts{Files: []string{f.KnownHosts}}).Paths()
	case f.HostKey != "":
		k.ForAll = defaultKnownHosts()
	}
	return k
}

// defaultKnownHosts returns the default files. Without a home directory, no key can be added.
func defaultKnownHosts() []string {
	files := new(fleetssh.KnownHosts).Paths()
	if _, err := account.Home(); err != nil {
		return append([]string{os.DevNull}, files...)
	}
	return files
}

// KeyFiles are the known_hosts files of a host.
type KeyFiles struct {
	Files []string // keys are added to the first
	Hash  bool     // host names are hashed
}

// For returns the files of a host with these settings.
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

// DB returns the keys in files, as far as they can be read.
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
