package fleetssh

import (
	"context"
	"reflect"
	"testing"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/identity"
)

// TestIdentitiesForgetNothing sets one field of Auth after the other, and looks whether the
// engine that chooses keys is told; and it looks whether all that the engine can be told is.
func TestIdentitiesForgetNothing(t *testing.T) {
	t.Parallel()
	elsewhere := map[string]bool{ // not about keys, or about the agent, which is looked up by its socket
		"GSSAPI": true, "AgentSocket": true, "NoAgent": true, "Methods": true, "Tell": true,
	}
	none := (&HostConfig{}).identities("")
	all := HostConfig{Algorithms: &Algorithms{MinRSABits: 1}}
	for i := range reflect.TypeFor[Auth]().NumField() {
		name := reflect.TypeFor[Auth]().Field(i).Name
		var h HostConfig
		setAny(t, reflect.ValueOf(&h.Auth).Elem().Field(i))
		setAny(t, reflect.ValueOf(&all.Auth).Elem().Field(i))
		if told := !reflect.DeepEqual(h.identities(""), none); told == elsewhere[name] {
			t.Errorf("Auth.%s: the engine is told: %v", name, told)
		}
	}
	told := reflect.ValueOf(all.identities("user")).Elem()
	for i := range told.NumField() {
		if name := told.Type().Field(i).Name; told.Field(i).IsZero() && name != "Agent" {
			t.Errorf("%v.%s is never set", reflect.TypeFor[identity.Config](), name)
		}
	}
}

// setAny sets a field to something that is not zero.
func setAny(t *testing.T, field reflect.Value) {
	switch v := field.Addr().Interface().(type) {
	case *string:
		*v = "x"
	case *bool:
		*v = true
	case *[]byte:
		*v = []byte("x")
	case *[]string:
		*v = []string{"x"}
	case *[]ssh.Signer:
		*v = []ssh.Signer{nil}
	case **GSSAPI:
		*v = &GSSAPI{}
	case *func(context.Context, Question) (string, error):
		*v = func(context.Context, Question) (string, error) { return "", nil }
	case *func(string, string):
		*v = func(string, string) {}
	default:
		t.Fatalf("say here how to set a %v", field.Type())
	}
}
