package fleetssh

import (
	"context"
	"errors"
	"net"
	"reflect"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/dial"
	"fleetssh/internal/password"
)

// TestConfigForgetsNothing sets the fields of HostConfig and of its structs one at a time, and
// checks that each changes the dial.Config, and that each field of dial.Config is set by at least
// one.
func TestConfigForgetsNothing(t *testing.T) {
	t.Parallel()
	exempt := map[string]bool{
		"HostConfig.Unusable": true, // such a host is not connected to
		"HostConfig.SendEnv":  true, // is sent with each command

		"HostConfig.ConfirmHostKey": true, // needs a policy that asks: see below
	}
	d := newDialer(nil, 0, new(password.Table))
	defer d.close()
	base := func() HostConfig {
		h := HostConfig{Host: "base", User: "base", HostKeys: InsecureIgnoreHostKeys{}}
		h.Auth.AgentSocket = "base" // overrides SSH_AUTH_SOCK
		return h
	}
	unchanged := base()
	plain := reflect.ValueOf(d.config(&unchanged)).Elem()
	set := make(map[string]bool)
	check := func(name string, h HostConfig) {
		t.Helper()
		c := reflect.ValueOf(d.config(&h)).Elem()
		if changes := differs(plain, c); changes == exempt[name] {
			t.Errorf("%s changes the Config: %v", name, changes)
		}
		addSetFields(set, "Config", c)
	}
	var h HostConfig
	for i, field := range fields(reflect.TypeOf(h)) {
		switch field {
		case "Auth": // its fields follow
		default:
			h = base()
			setAny(t, reflect.ValueOf(&h).Elem().Field(i))
			check("HostConfig."+field, h)
		}
	}
	for i, field := range fields(reflect.TypeOf(h.Auth)) {
		h = base()
		setAny(t, reflect.ValueOf(&h.Auth).Elem().Field(i))
		check("Auth."+field, h)
	}
	h = base()
	h.HostKeys, h.ConfirmHostKey = &KnownHosts{Unknown: AskUnknown}, func(context.Context, NewHostKey) bool { return true }
	asks := reflect.ValueOf(d.config(&h)).Elem()
	addSetFields(set, "Config", asks)
	h.ConfirmHostKey = nil
	if !differs(asks, reflect.ValueOf(d.config(&h)).Elem()) {
		t.Error("HostConfig.ConfirmHostKey does not change the Config")
	}
	for i, field := range fields(reflect.TypeFor[GSSAPI]()) {
		h = base()
		h.Auth.GSSAPI = new(GSSAPI)
		setAny(t, reflect.ValueOf(h.Auth.GSSAPI).Elem().Field(i))
		check("GSSAPI."+field, h)
		with := reflect.ValueOf(d.config(&h)).Elem()
		h.Auth.GSSAPI = new(GSSAPI)
		if !differs(with, reflect.ValueOf(d.config(&h)).Elem()) {
			t.Errorf("GSSAPI.%s does not change the Config", field)
		}
	}
	for i, field := range fields(reflect.TypeFor[Algorithms]()) {
		h = base()
		h.Algorithms = new(Algorithms)
		setAny(t, reflect.ValueOf(h.Algorithms).Elem().Field(i))
		with := reflect.ValueOf(d.config(&h)).Elem()
		h.Algorithms = new(Algorithms)
		if !differs(with, reflect.ValueOf(d.config(&h)).Elem()) {
			t.Errorf("Algorithms.%s does not change the Config", field)
		}
	}
	for name := range unsetFields(set, "Config", reflect.TypeFor[dial.Config]()) {
		if name != "Config.Fault" && name != "Config.Auth.Identities.Agent" {
			t.Errorf("%s is never set", name)
		}
	}
}

// A hop has one Config, whatever the number of hosts behind it, so that they share a connection.
func TestConfigOfHop(t *testing.T) {
	t.Parallel()
	d := newDialer(nil, 0, nil)
	defer d.close()
	gate := &HostConfig{Host: "gate", User: "u", HostKeys: InsecureIgnoreHostKeys{}}
	other := *gate
	config := func(hop *HostConfig) *dial.Config {
		return d.config(&HostConfig{Host: "h", User: "u", HostKeys: InsecureIgnoreHostKeys{}, Proxy: hop}).Proxy
	}
	first := config(gate)
	if config(gate) != first {
		t.Error("two Configs for one hop")
	}
	if config(&other) == first {
		t.Error("one Config for two hops")
	}
	d.keepHops([]HostConfig{{Host: "h", Proxy: gate}})
	if config(gate) != first || len(d.hops) != 1 {
		t.Errorf("keepHops dropped the hop of a host; %d hops are left", len(d.hops))
	}
	loop := HostConfig{Host: "loop"}
	loop.Proxy = &loop
	d.keepHops([]HostConfig{loop})
	if len(d.hops) != 0 {
		t.Error("keepHops kept a hop of no host")
	}
}

func fields(t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		names = append(names, t.Field(i).Name)
	}
	return names
}

// differs reports whether two values differ. Functions differ if only one of them is nil.
func differs(a, b reflect.Value) bool {
	switch a.Kind() {
	case reflect.Func:
		return a.IsNil() != b.IsNil()
	case reflect.Pointer:
		if a.IsNil() || b.IsNil() {
			return a.IsNil() != b.IsNil()
		}
		return differs(a.Elem(), b.Elem())
	case reflect.Struct:
		for i := range a.NumField() {
			if differs(a.Field(i), b.Field(i)) {
				return true
			}
		}
		return false
	}
	if !a.CanInterface() {
		return false // a field of a known_hosts policy, which the Config has unchanged
	}
	return !reflect.DeepEqual(a.Interface(), b.Interface())
}

// addSetFields adds the names of the fields of v that are not zero.
func addSetFields(set map[string]bool, name string, v reflect.Value) {
	if v.Kind() == reflect.Struct {
		for i := range v.NumField() {
			addSetFields(set, name+"."+v.Type().Field(i).Name, v.Field(i))
		}
	} else if !v.IsZero() {
		set[name] = true
	}
}

// unsetFields returns the names of the fields of t that set lacks.
func unsetFields(set map[string]bool, name string, t reflect.Type) map[string]bool {
	names := make(map[string]bool)
	if t.Kind() != reflect.Struct {
		if !set[name] {
			names[name] = true
		}
		return names
	}
	for i := range t.NumField() {
		for inner := range unsetFields(set, name+"."+t.Field(i).Name, t.Field(i).Type) {
			names[inner] = true
		}
	}
	return names
}

// setAny sets a field to a value that is neither zero nor a default.
func setAny(t *testing.T, field reflect.Value) {
	t.Helper()
	switch v := field.Addr().Interface().(type) {
	case *string:
		*v = "x"
	case *bool:
		*v = true
	case *int:
		*v = 7
	case *time.Duration:
		*v = 7 * time.Second
	case *[]byte:
		*v = []byte("x")
	case *[]string:
		*v = []string{"x"}
	case *map[string]string:
		*v = map[string]string{"x": "x"}
	case *error:
		*v = errors.New("x")
	case *[]ssh.Signer:
		*v = []ssh.Signer{nil}
	case **GSSAPI:
		*v = &GSSAPI{}
	case **Algorithms:
		*v = &Algorithms{}
	case **HostConfig:
		*v = &HostConfig{Host: "x", HostKeys: InsecureIgnoreHostKeys{}}
	case *HostKeyPolicy:
		*v = &KnownHosts{}
	case *func(context.Context, string, string) (net.Conn, error):
		*v = func(context.Context, string, string) (net.Conn, error) { return nil, nil }
	case *func(context.Context, Question) (string, error):
		*v = func(context.Context, Question) (string, error) { return "", nil }
	case *func(context.Context, NewHostKey) bool:
		*v = func(context.Context, NewHostKey) bool { return true }
	case *func(string, string):
		*v = func(string, string) {}
	default:
		t.Fatalf("setAny has no case for %v", field.Type())
	}
}
