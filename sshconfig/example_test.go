package sshconfig_test

import (
	"fmt"
	"log"
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
