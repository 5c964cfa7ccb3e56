package selection

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/internal/shellquote"
)

// checkKeys checks the key and the certificate of the command line before a host is contacted. It is
// a usage error if no host can use them. Keys from configuration files are checked when their host is
// connected to.
func (f *Flags) checkKeys(ctx context.Context, entries []Host) error {
	if f.identity == "" && f.cert == "" || f.Offline || f.SkipKeyCheck {
		return nil
	}
	if info, err := os.Stat(f.identity); err == nil && !info.Mode().IsRegular() && !info.IsDir() {
		return nil // a pipe, as in -i <(pass show key), can be read only once
	}
	var first error
	checked := make(map[string]bool)
	for i := range entries {
		host := entries[i].Config
		a := &host.Auth
		if a.KeyFile != f.identity || a.CertFile != f.cert {
			continue // it has its own, from the inventory
		}
		// Hosts may differ in agents, algorithms and other keys.
		class := fmt.Sprintf("%q %v %v %+v", a.AgentSocket, a.NoAgent, a.Identities, host.Algorithms)
		if checked[class] {
			continue
		}
		checked[class] = true
		if a.Password != "" || a.Ask != nil {
			// The passphrase is asked for later, once for all hosts.
			a.Password, a.Ask = "", func(context.Context, fleetssh.Question) (string, error) { return "", errNotNow }
		}
		err := fleetssh.CheckKeys(ctx, host)
		if err == nil {
			return nil
		}
		if first == nil {
			first = err
		}
	}
	e, ok := errors.AsType[*fleetssh.PKeyFileError](first)
	if !ok {
		return first
	}
	flag, given := "-i", f.identity
	if f.identity == "" || f.cert != "" && filepath.Base(e.Path) == filepath.Base(f.cert) {
		flag, given = "--cert", f.cert
	}
	return exit.UsageError(keyHint(e, flag, given), "%s %s: %v", flag, given, e.Err)
}

var errNotNow = errors.New("nothing is asked yet")

// keyHint returns the next step for a key of the command line that cannot be used.
func keyHint(e *fleetssh.PKeyFileError, flag, given string) string {
	private, isPublic := strings.CutSuffix(e.Path, ".pub")
	switch {
	case flag == "--cert":
		return ""
	case isPublic && strings.HasSuffix(private, "-cert"):
		return "name the private key with -i, and the certificate with --cert"
	case isPublic:
		if _, err := os.Stat(private); err == nil {
			return "name the private key: -i " + shellquote.Quote(strings.TrimSuffix(given, ".pub"))
		}
		return "name the private key, or load it into the SSH agent with ssh-add"
	}
	if _, ok := errors.AsType[*ssh.PassphraseMissingError](e.Err); ok {
		return "ssh-add loads the key into the SSH agent"
	}
	return ""
}
