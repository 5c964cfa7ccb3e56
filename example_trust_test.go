package fleetssh_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"

	"fleetssh"
)

// The keys of new hosts are added to a file, and a host whose key has changed is refused. All hosts
// share the policy.
func ExampleKnownHosts() {
	hosts, stop := simulatedHosts(2)
	defer stop()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "known_hosts")

	policy := &fleetssh.KnownHosts{Files: []string{file}, Unknown: fleetssh.AddUnknown, Hash: true}
	for i := range hosts {
		hosts[i].HostKeys = policy
	}
	fleet := &fleetssh.ParallelClient{Hosts: hosts}
	defer fleet.Close()
	if err := fleet.Connect(context.Background()); err != nil {
		log.Fatal(err)
	}
	added, err := os.ReadFile(file)
	fmt.Println(strings.Count(string(added), "\n") > 0, err)

	missing := &fleetssh.KnownHosts{Files: []string{filepath.Join(dir, "missing")}}
	fmt.Println(errors.Is(missing.Load(), os.ErrNotExist))
	// Output:
	// true <nil>
	// true
}

func ExampleInsecureIgnoreHostKeys() {
	hosts, stop := simulatedHosts(1)
	defer stop()
	ctx := context.Background()

	host := hosts[0]
	host.HostKeys = fleetssh.InsecureIgnoreHostKeys{} // for tests only: this trusts attackers, too
	client, err := fleetssh.Dial(ctx, host)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	out, err := client.Output(ctx, "hostname")
	fmt.Printf("%s%v\n", out, err)
	// Output:
	// web1
	// <nil>
}

func ExampleParallelClient_ScanHostKeys() {
	hosts, stop := simulatedHosts(1)
	defer stop()

	fleet := &fleetssh.ParallelClient{Hosts: hosts}
	defer fleet.Close()
	shown, err := fleet.ScanHostKeys(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	for keys := range shown {
		if keys.Err != nil {
			log.Fatal(keys.Err)
		}
		for _, key := range keys.Keys {
			known := hosts[keys.Index].HostKeys.Check(keys.Name, keys.Port, key) == nil
			fmt.Println(key.Type(), len(ssh.FingerprintSHA256(key)), known)
		}
	}
	// Output: ssh-ed25519 50 true
}

func ExampleCheckKeys() {
	err := fleetssh.CheckKeys(context.Background(), fleetssh.HostConfig{
		Host: "web1", User: "deploy",
		Auth: fleetssh.Auth{KeyFile: "/no/such/key", NoAgent: true},
	})
	if bad, ok := errors.AsType[*fleetssh.PKeyFileError](err); ok {
		fmt.Println(bad.Path, errors.Is(err, os.ErrNotExist))
	}
	// Output: /no/such/key true
}
