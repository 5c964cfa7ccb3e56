package inventory_test

import (
	"cmp"
	"context"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/simfleet"
	"fleetssh/inventory"
	"fleetssh/sshconfig"
)

// From an inventory and an ssh_config to a fleet: the inventory says which hosts there are, and
// ssh_config fills in the settings that the inventory does not give.
func Example_fleet() {
	folder, stop := simulate()
	defer stop()
	ctx := context.Background()

	// The settings for all hosts. A real program often leaves it empty: keys come from ssh_config,
	// from the SSH agent, or from ~/.ssh.
	base := fleetssh.HostConfig{Auth: fleetssh.Auth{Signers: []ssh.Signer{fleettest.ClientKey()}}}
	inv, err := inventory.Load(filepath.Join(folder, "hosts.yml"), base)
	if err != nil {
		log.Fatal(err)
	}
	config, err := sshconfig.Load(filepath.Join(folder, "ssh_config"))
	if err != nil {
		log.Fatal(err)
	}
	config.Hops = base // for the hops of ProxyJump

	hosts, err := inv.Select("@web!web2")
	if err != nil {
		log.Fatal(err)
	}
	for i, host := range hosts {
		if hosts[i], err = config.Host(cmp.Or(host.Alias, host.Host), host); err != nil {
			log.Fatal(err)
		}
	}
	fleet := &fleetssh.ParallelClient{Hosts: hosts}
	defer fleet.Close()
	outs, err := fleet.RunCommand(ctx, fleetssh.Command{Line: "hostname"})
	if err != nil {
		log.Fatal(err)
	}
	for i, out := range outs {
		for line := range out.Stdout.Lines(ctx) {
			fmt.Printf("%s@%s: %s\n", hosts[i].User, hosts[i].Alias, line)
		}
	}
	// Output:
	// deploy@web1: web1
	// admin@web3: web3
}

// simulate starts three hosts inside the process, and writes an inventory and an ssh_config for
// them into a folder.
func simulate() (folder string, stop func()) {
	fleet, err := simfleet.StartFleet(3, 0, func(i int, h *simfleet.Host) {
		h.Name = fmt.Sprintf("web%d", i+1)
		h.Dial, h.Listen = simfleet.DialLoopback, net.Listen
		h.AuthorizedKeys = []ssh.PublicKey{fleettest.ClientKey().PublicKey()}
	})
	if err != nil {
		log.Fatal(err)
	}
	if folder, err = os.MkdirTemp("", "fleet"); err != nil {
		log.Fatal(err)
	}
	var hosts strings.Builder
	hosts.WriteString("web:\n  hosts:\n")
	for i, address := range fleet.Hosts() {
		fmt.Fprintf(&hosts, "    web%d: {ansible_host: %s}\n", i+1, address)
	}
	config := fmt.Sprintf("Host web3\n  User admin\nHost *\n  User deploy\n  Port %d\n  UserKnownHostsFile %s/known_hosts\n", fleet.Port(), folder)
	for name, text := range map[string]string{"hosts.yml": hosts.String(), "ssh_config": config, "known_hosts": string(fleet.KnownHosts())} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			log.Fatal(err)
		}
	}
	return folder, func() {
		fleet.Close()
		os.RemoveAll(folder)
	}
}
