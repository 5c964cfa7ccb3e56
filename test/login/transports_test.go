package login

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"fleetssh"
)

// A user or host name that cannot be part of a command line or of a proxy request is not retried,
// because the next attempt would fail too.
func TestInvalidArgumentsAreNotRetried(t *testing.T) {
	t.Parallel()
	command, err := fleetssh.DialCommand("true %r")
	if err != nil {
		t.Fatal(err)
	}
	proxy, err := fleetssh.DialProxy("http://127.0.0.1:9")
	if err != nil {
		t.Fatal(err)
	}
	for name, host := range map[string]fleetssh.HostConfig{
		"user of a command": {Host: "h", User: "a;b", DialContext: command},
		"name for a proxy":  {Host: "höst", User: "u", DialContext: proxy},
	} {
		synctest.Test(t, func(t *testing.T) {
			begun := time.Now()
			host.HostKeys, host.Auth = fleetssh.InsecureIgnoreHostKeys{}, fleetssh.Auth{Password: "p", NoAgent: true, NoDefaultKeys: true}
			_, err := fleetssh.Dial(t.Context(), host)
			e, ok := errors.AsType[*fleetssh.ConnectionError](err)
			if !ok || e.Attempts != 1 || time.Since(begun) != 0 {
				t.Errorf("%s: %v after %v", name, err, time.Since(begun))
			}
		})
	}
}
