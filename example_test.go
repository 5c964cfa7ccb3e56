package fleetssh_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/simfleet"
)

// simulatedHosts starts simulated hosts named web1, web2, … in this process, and returns how to
// reach them.
func simulatedHosts(n int) (hosts []fleetssh.HostConfig, stop func()) {
	fleet, err := simfleet.StartFleet(n, 0, func(i int, h *simfleet.Host) {
		h.Name = fmt.Sprintf("web%d", i+1)
		h.Dial, h.Listen = simfleet.DialLoopback, net.Listen
		h.AuthorizedKeys = []ssh.PublicKey{fleettest.ClientKey().PublicKey()}
	})
	if err != nil {
		log.Fatal(err)
	}
	file, err := os.CreateTemp("", "known_hosts")
	if err != nil {
		log.Fatal(err)
	}
	file.Write(fleet.KnownHosts())
	file.Close()
	trusted := &fleetssh.KnownHosts{Files: []string{file.Name()}}
	base := fleetssh.HostConfig{User: "deploy", Port: fleet.Port(), HostKeys: trusted, Auth: fleetssh.Auth{Signers: []ssh.Signer{fleettest.ClientKey()}}}
	hosts = fleetssh.Hosts(base, fleet.Hosts()...)
	for i := range hosts {
		hosts[i].Alias = fleet.Servers[i].Name()
	}
	return hosts, func() {
		fleet.Close()
		os.Remove(file.Name())
	}
}

func ExampleDial() {
	hosts, stop := simulatedHosts(1)
	defer stop()
	ctx := context.Background()

	client, err := fleetssh.Dial(ctx, hosts[0])
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

func ExampleClient_Execute() {
	hosts, stop := simulatedHosts(1)
	defer stop()
	ctx := context.Background()
	client, err := fleetssh.Dial(ctx, hosts[0])
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	ch, err := client.Execute(ctx, "echo one; echo two; exit 3")
	if err != nil {
		log.Fatal(err)
	}
	for line, err := range ch.Stdout.Lines(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(line)
	}
	wait, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err = ch.WaitFinished(wait)
	code, ok := ch.ExitCode()
	fmt.Println(err, code, ok)
	// Output:
	// one
	// two
	// command on web1 exited with code 3 3 true
}

func ExampleParallelClient_RunCommand() {
	hosts, stop := simulatedHosts(2)
	defer stop()
	ctx := context.Background()
	fleet := &fleetssh.ParallelClient{Hosts: hosts, PoolSize: 500}
	defer fleet.Close()

	outs, err := fleet.RunCommand(ctx, fleetssh.Command{
		Line: "echo checking %(disk)q; exit %(code)s",
		HostArgs: []fleetssh.Args{
			{Map: map[string]string{"disk": "/dev/sda", "code": "0"}},
			{Map: map[string]string{"disk": "/dev/disk 2", "code": "1"}},
		},
	})
	var args *fleetssh.HostArgumentError
	if errors.As(err, &args) {
		log.Fatal(err) // no host was contacted
	}
	err = fleet.Join(ctx, outs)
	for _, out := range outs { // in the order of the hosts
		if out.Err != nil {
			fmt.Println(out.Host, "did not start:", out.Err)
			continue
		}
		for line := range out.Stdout.Lines(ctx) {
			fmt.Println(out.Host, line)
		}
		fmt.Println(out.Host, out.Outcome().Kind, out.Outcome().ExitCode)
	}
	fmt.Println(err)
	// Output:
	// web1 checking /dev/sda
	// web1 exited 0
	// web2 checking /dev/disk 2
	// web2 exited 1
	// 1 of 2 hosts failed; first: command on web2 exited with code 1
}

func ExampleParallelClient_Stream() {
	hosts, stop := simulatedHosts(3)
	defer stop()
	fleet := &fleetssh.ParallelClient{Hosts: hosts, OneShot: true}
	defer fleet.Close()

	events, err := fleet.Stream(context.Background(), fleetssh.Command{Line: "echo hello from $HOSTNAME"})
	if err != nil {
		log.Fatal(err)
	}
	for ev := range events {
		switch ev.Kind {
		case fleetssh.StdoutLine:
			fmt.Printf("%v: %s\n", ev.Output.Host, ev.Text)
		case fleetssh.Finished:
			fmt.Printf("%v: %v\n", ev.Output.Host, ev.Output.Outcome().Kind)
		}
	}
	// Unordered output:
	// web1: hello from web1
	// web1: exited
	// web2: hello from web2
	// web2: exited
	// web3: hello from web3
	// web3: exited
}

func ExampleCommand_stdin() {
	hosts, stop := simulatedHosts(2)
	defer stop()
	ctx := context.Background()
	fleet := &fleetssh.ParallelClient{Hosts: hosts}
	defer fleet.Close()

	// The reader is read once, and every host gets all of it.
	outs, err := fleet.RunCommand(ctx, fleetssh.Command{Line: "wc -c", Stdin: strings.NewReader("the same for all\n")})
	if err != nil {
		log.Fatal(err)
	}
	for _, out := range outs {
		for line := range out.Stdout.Lines(ctx) {
			fmt.Println(out.Host, line)
		}
	}
	// Output:
	// web1 17
	// web2 17
}

func ExampleParseHost() {
	host, err := fleetssh.ParseHost("deploy@[2001:db8::7]:2222")
	fmt.Println(host.User, host.Host, host.Port, err)
	// Output: deploy 2001:db8::7 2222 <nil>
}

func ExampleHostConfig_proxy() {
	hosts, stop := simulatedHosts(4)
	defer stop()
	ctx := context.Background()

	// Hosts that point to the same hop share one connection to it.
	bastion := &hosts[0]
	fleet := &fleetssh.ParallelClient{Hosts: hosts[1:]}
	for i := range fleet.Hosts {
		fleet.Hosts[i].Proxy = bastion
	}
	defer fleet.Close()
	if err := fleet.Connect(ctx); err != nil {
		log.Fatal(err)
	}
	for i := range fleet.Hosts {
		client, err := fleet.Client(ctx, i)
		if err != nil {
			log.Fatal(err)
		}
		var way []string
		for _, login := range client.Logins() {
			way = append(way, login.Host.Alias+" by "+login.Methods[0])
		}
		fmt.Println(strings.Join(way, ", "))
	}
	// Output:
	// web1 by publickey, web2 by publickey
	// web1 by publickey, web3 by publickey
	// web1 by publickey, web4 by publickey
}

func ExampleExplain() {
	plans, err := fleetssh.Explain(context.Background(), fleetssh.HostConfig{
		Host: "web1", User: "deploy", HostKeys: fleetssh.InsecureIgnoreHostKeys{},
		Proxy: &fleetssh.HostConfig{Host: "bastion", User: "admin", HostKeys: fleetssh.InsecureIgnoreHostKeys{}},
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, plan := range plans {
		fmt.Println(plan.User, plan.Steps[0].What)
	}
	// Output:
	// admin bastion:22 over TCP, all addresses of the name
	// deploy web1:22 through admin@bastion
}

func ExampleScript() {
	hosts, stop := simulatedHosts(2)
	defer stop()
	p := &fleetssh.ParallelClient{Hosts: hosts}
	defer p.Close()

	text := "#!/bin/sh\necho \"$HOSTNAME gets <$1> and:\"\ncat\n" // mostly from os.ReadFile
	outs, err := p.RunCommand(context.Background(), fleetssh.Command{
		Script: &fleetssh.Script{Text: []byte(text), Args: []string{"it's $1"}},
		Stdin:  strings.NewReader("some input\n"),
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, out := range outs {
		for line := range out.Stdout.Lines(context.Background()) {
			fmt.Println(line)
		}
	}
	// Output:
	// web1 gets <it's $1> and:
	// some input
	// web2 gets <it's $1> and:
	// some input
}
