package fleetssh

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
)

// What SendEnv may hold. sshd takes no more than 128 variables in a session.
const (
	maxEnv     = 128
	maxEnvSize = 2 << 20 // bytes of all names and values
)

// sendEnv sends the variables of HostConfig.SendEnv (RFC 4254, section 6.4). As with ssh,
// no answer is asked for: the host decides which it takes. What cannot be written, the
// request after it cannot either.
func (ch *Channel) sendEnv() *Channel {
	env := ch.client.host.SendEnv
	for _, name := range slices.Sorted(maps.Keys(env)) {
		_, _ = ch.raw.SendRequest("env", false, ssh.Marshal(struct{ Name, Value string }{name, env[name]}))
	}
	return ch
}

// envFault says why variables cannot be sent.
func envFault(env map[string]string) string {
	if len(env) > maxEnv {
		return fmt.Sprintf("more than %d variables", maxEnv)
	}
	size := 0
	for _, name := range slices.Sorted(maps.Keys(env)) {
		switch {
		case name == "" || strings.ContainsAny(name, "=\x00"):
			return fmt.Sprintf("%q is not the name of a variable", name)
		case strings.IndexByte(env[name], 0) >= 0:
			return fmt.Sprintf("the value of %s holds a NUL byte", name)
		}
		size += len(name) + len(env[name])
	}
	if size > maxEnvSize {
		return fmt.Sprintf("more than %d MiB", maxEnvSize>>20)
	}
	return ""
}
