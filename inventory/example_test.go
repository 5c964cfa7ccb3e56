package inventory_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"fleetssh"
	"fleetssh/hostset"
	"fleetssh/inventory"
)

func ExampleParseHosts() {
	list := `
web[1-3].example.com  user=www
db1.example.com:2222  alias=db
`
	inv, err := inventory.ParseHosts(strings.NewReader(list), "list", fleetssh.HostConfig{User: "admin"})
	if err != nil {
		fmt.Println(err)
		return
	}
	hosts, err := inv.Select("db,web*!web2.*")
	for _, host := range hosts {
		fmt.Println(host.Alias, host.User, host.Host, host.Port)
	}
	fmt.Println(err)
	_, err = inv.Select("bd")
	fmt.Println(err)
	// Output:
	// db admin db1.example.com 2222
	//  www web1.example.com 0
	//  www web3.example.com 0
	// <nil>
	// the inventory has no host "bd"; did you mean db?
}

func ExampleLoad() {
	inv, err := inventory.Load("testdata/example.yml", fleetssh.HostConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(hostset.Parse("@prod!@db", inv.Groups))
	hosts, err := inv.Select("@db")
	fmt.Println(hosts[0].Alias, hosts[0].Host, hosts[0].Proxy.Host, err)
	// Output:
	// web[1-3] <nil>
	// db1 10.0.0.7 gate.example.com <nil>
}

func ExampleInventory_GroupsOf() {
	inv, err := inventory.Load("testdata/example.yml", fleetssh.HostConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(inv.Names())
	fmt.Println(inv.GroupNames())
	fmt.Println(inv.GroupsOf("web1"))
	// Output:
	// [db1 web1 web2 web3] <nil>
	// [all db prod ungrouped web] <nil>
	// [all prod web] <nil>
}

func ExampleInventory_Where() {
	inv, err := inventory.Load("testdata/example.yml", fleetssh.HostConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	condition, err := inventory.ParseCondition("role=front")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(inv.Where(hostset.Of("web1", "web2", "db1"), condition))
	// Output: web[1-2] <nil>
}

func ExampleInventory_Lookup() {
	inv, err := inventory.Load("testdata/example.yml", fleetssh.HostConfig{User: "deploy"})
	if err != nil {
		fmt.Println(err)
		return
	}
	find, err := inv.Lookup()
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, name := range []string{"db1", "db9"} {
		host, known, err := find(name)
		fmt.Println(name, known, host.User, host.Host, err)
	}
	// Output:
	// db1 true deploy 10.0.0.7 <nil>
	// db9 false   <nil>
}

func ExampleMerge() {
	list := func(path, text string) *inventory.Inventory {
		inv, err := inventory.ParseHosts(strings.NewReader(text), path, fleetssh.HostConfig{})
		if err != nil {
			panic(err)
		}
		return inv
	}
	inv, err := inventory.Merge(list("all", "web[1-2] user=www"), list("mine", "web2 port=2222\ndb1"))
	if err != nil {
		fmt.Println(err)
		return
	}
	hosts, err := inv.Select("*")
	for _, host := range hosts {
		fmt.Println(host.Host, host.User, host.Port)
	}
	fmt.Println(err)
	// Output:
	// db1  0
	// web1 www 0
	// web2 www 2222
	// <nil>
}

func ExampleParseError() {
	_, err := inventory.ParseHosts(strings.NewReader("web1\nweb2 prot=2222\n"), "list", fleetssh.HostConfig{})
	if bad, ok := errors.AsType[*inventory.ParseError](err); ok {
		fmt.Println(bad.Path, bad.Line)
	}
	fmt.Println(err)
	// Output:
	// list 2
	// inventory list:2: unknown key "prot"; the keys are user, port, address, alias, key, cert, password-file and jump
}

func ExampleUnknownError() {
	inv, err := inventory.ParseHosts(strings.NewReader("web[1-3]"), "list", fleetssh.HostConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = inv.Select("web[2-5]")
	if unknown, ok := errors.AsType[*inventory.UnknownError](err); ok {
		fmt.Println(unknown.Kind, unknown.Names)
	}
	// Output: host [web4 web5]
}

func ExampleSettingError() {
	inv, err := inventory.ParseHosts(strings.NewReader("web1 password-file=/nowhere"), "list", fleetssh.HostConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = inv.Select("web1")
	if bad, ok := errors.AsType[*inventory.SettingError](err); ok {
		fmt.Println(bad.Host, bad.Setting)
	}
	// Output: web1 password-file
}

// The password for sudo is not part of a HostConfig: a command gets it with
// [fleetssh.Command.SudoPassword].
func ExampleInventory_BecomePassword() {
	dir, err := os.MkdirTemp("", "inventory")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "hosts")
	const text = `
web1 ansible_become_password=secret
web2
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		log.Fatal(err)
	}
	inv, err := inventory.Load(path, fleetssh.HostConfig{})
	if err != nil {
		log.Fatal(err)
	}
	command := fleetssh.Command{
		Line: "id -un",
		Sudo: true,
		SudoPassword: func(_ context.Context, host fleetssh.HostConfig) (string, error) {
			return inv.BecomePassword(cmp.Or(host.Alias, host.Host))
		},
	}
	for _, name := range []string{"web1", "web2"} {
		password, err := command.SudoPassword(context.Background(), fleetssh.HostConfig{Host: name})
		fmt.Printf("%q %v\n", password, err)
	}
	// Output:
	// "secret" <nil>
	// "" <nil>
}
