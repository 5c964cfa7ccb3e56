package main

import (
	"os"
	"strings"

	"fleetssh"
	"fleetssh/internal/account"
	"fleetssh/internal/knownhosts"
	"fleetssh/sshconfig"
)

// knownFiles says which files of known hosts run would use for a host, and reads each
// list of files once.
type knownFiles struct {
	forAll []string // what flags name; nil: the configuration of ssh says it
	dbs    map[string]*knownhosts.DB
}

func newKnownFiles(f *hostFlags) *knownFiles {
	k := &knownFiles{dbs: make(map[string]*knownhosts.DB)}
	switch {
	case f.knownHosts != "":
		k.forAll = fleetssh.KnownHostsFiles(f.knownHosts)
	case f.hostKey != "":
		k.forAll = usualKnownFiles()
	}
	return k
}

// usualKnownFiles returns the files that are used if nothing names any. Without a home
// directory there is none to add to.
func usualKnownFiles() []string {
	files := fleetssh.KnownHostsFiles()
	if _, err := account.Home(); err != nil {
		return append([]string{os.DevNull}, files...)
	}
	return files
}

// place is where run looks up the key of a host, and adds it to.
type place struct {
	files []string // the one to add to first
	hash  bool     // names of hosts are hashed
}

// of returns the place for a host.
func (k *knownFiles) of(settings *sshconfig.Settings) place {
	p := place{files: k.forAll}
	if p.files == nil {
		p.files = settings.KnownHostsFiles()
	}
	if p.files == nil {
		p.files = usualKnownFiles()
	}
	if hash := settings.Values("HashKnownHosts"); len(hash) > 0 {
		p.hash = hash[0].Value == "yes"
	}
	return p
}

// read returns what is in files, as far as they can be read.
func (k *knownFiles) read(files []string) *knownhosts.DB {
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
