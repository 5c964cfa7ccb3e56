package sshconfig_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"

	"fleetssh"
	"fleetssh/sshconfig"
)

func Example() {
	dir, err := os.MkdirTemp("", "sshconfig")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "config")
	const text = `
Host web*
    HostName %h.example.org
    ProxyJump gate
Host gate
    User jump
Host *
    Port 2222
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		log.Fatal(err)
	}
	config, err := sshconfig.Load(path)
	if err != nil {
		log.Fatal(err)
	}
	host, err := config.Host("web1", fleetssh.HostConfig{User: "alice"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(host.User, host.Host, host.Port, "through", host.Proxy.User, host.Proxy.Host)
	// Output: alice web1.example.org 2222 through jump gate
}

func ExampleFile_Resolve() {
	config, err := sshconfig.Load("none")
	if err != nil {
		log.Fatal(err)
	}
	if err := config.Options("User=alice", "IdentityFile=/keys/%h"); err != nil {
		log.Fatal(err)
	}
	settings, err := config.Resolve("web1", "")
	if err != nil {
		log.Fatal(err)
	}
	for _, value := range settings.Values("IdentityFile") {
		fmt.Println(value.Keyword, value.Value, "from", value.Origin)
	}
	// Output: IdentityFile /keys/web1 from -o
}

func ExampleFile_Unsupported() {
	config, err := sshconfig.Load("none")
	if err != nil {
		log.Fatal(err)
	}
	if err := config.Options("Compression=yes", "RequestTTY=force", "LogLevel=DEBUG"); err != nil {
		log.Fatal(err)
	}
	for _, line := range config.Unsupported() {
		fmt.Println(line, line.Use == sshconfig.UseCommands)
	}
	// Output:
	// -o: Compression yes: has no effect false
	// -o: RequestTTY force: has no effect: --tty asks for a terminal true
}

func ExampleFile_Hop() {
	config, err := sshconfig.Load("none")
	if err != nil {
		log.Fatal(err)
	}
	config.Hops = fleetssh.HostConfig{Attempts: 3}
	// A hop that an inventory names, shared by two hosts.
	gate := &fleetssh.HostConfig{Host: "gate", User: "jump"}
	first, err := config.Hop(context.Background(), gate)
	if err != nil {
		log.Fatal(err)
	}
	second, err := config.Hop(context.Background(), gate)
	fmt.Println(first.User, first.Host, first == second, err)
	// Output: jump gate true <nil>
}

func ExampleSettings_All() {
	config, err := sshconfig.Load("none")
	if err != nil {
		log.Fatal(err)
	}
	if err := config.Options("HostName=%h.example.org", "Port=2222"); err != nil {
		log.Fatal(err)
	}
	settings, err := config.Resolve("web1", "alice")
	if err != nil {
		log.Fatal(err)
	}
	for _, value := range settings.All() {
		if value.Origin != "default" {
			fmt.Println(value.Keyword, value.Value, "from", value.Origin)
		}
	}
	// Output:
	// HostName web1.example.org from -o
	// Port 2222 from -o
	// User alice from argument
}

func ExampleError() {
	config, err := sshconfig.Load("none")
	if err != nil {
		log.Fatal(err)
	}
	err = config.Options("Port=http/1")
	if bad, ok := errors.AsType[*sshconfig.Error](err); ok {
		fmt.Println(bad.File, bad.Line)
	}
	fmt.Println(err)
	// Output:
	// -o 0
	// -o: Port: "http/1" is not a port
}

// The source of a value is a line of a file, or something else that Origin names.
func ExampleValue() {
	config, err := sshconfig.Load("none")
	if err != nil {
		log.Fatal(err)
	}
	if err := config.Options("Port=2222"); err != nil {
		log.Fatal(err)
	}
	settings, err := config.Resolve("web1", "alice")
	if err != nil {
		log.Fatal(err)
	}
	for _, keyword := range []string{"User", "Port", "HostName"} {
		for _, value := range settings.Values(keyword) {
			fmt.Printf("%s=%s (%s)\n", value.Keyword, value.Value, value.Origin)
		}
	}
	// Output:
	// User=alice (argument)
	// Port=2222 (-o)
	// HostName=web1 (default)
}

// A resolver for tests, or for a directory of hosts: it knows one name.
type directory struct{}

func (directory) LookupHost(_ context.Context, name string) ([]string, error) {
	if name != "web1.example.org" {
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return []string{"192.0.2.1"}, nil
}

func (directory) LookupCNAME(_ context.Context, name string) (string, error) { return name + ".", nil }

// CanonicalizeHostname looks names up with the resolver of the program.
func ExampleResolver() {
	config, err := sshconfig.Load("none")
	if err != nil {
		log.Fatal(err)
	}
	if err := config.Options("CanonicalizeHostname=yes", "CanonicalDomains=example.com example.org"); err != nil {
		log.Fatal(err)
	}
	config.Resolver = directory{}
	host, err := config.Host("web1", fleetssh.HostConfig{})
	fmt.Println(host.Host, err)
	// Output: web1.example.org <nil>
}
