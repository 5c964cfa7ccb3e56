package main

import (
	"errors"
	"testing"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/selection"
)

// Wrong settings of one host are reported before any batch runs, with the host's label.
func TestValidateHosts(t *testing.T) {
	t.Parallel()
	hosts := []selection.Host{{Config: fleetssh.HostConfig{Host: "a"}, Label: "one"}, {Config: fleetssh.HostConfig{Host: "b", Attempts: -1}, Label: "two"}}
	err := validateHosts(hosts)
	if f, ok := errors.AsType[*exit.Error](err); !ok || f.Code != exit.Usage || f.Text != "two: HostConfig.Attempts: -1 is negative" {
		t.Errorf("%v", err)
	}
	if err := validateHosts(hosts[:1]); err != nil {
		t.Errorf("a valid host: %v", err)
	}
}
