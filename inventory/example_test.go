package inventory_test

import (
	"fmt"
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
	fmt.Println(inv.Vars("web1").Map["role"])
	// Output:
	// web[1-3] <nil>
	// db1 10.0.0.7 gate.example.com <nil>
	// front
}
