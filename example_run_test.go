package fleetssh_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"strings"
	"time"

	"fleetssh"
)

func ExampleParallelClient_Run() {
	hosts, stop := simulatedHosts(3)
	defer stop()
	fleet := &fleetssh.ParallelClient{Hosts: hosts}
	defer fleet.Close()

	outs, err := fleet.Run(context.Background(), fleetssh.Command{Line: `echo here; [ "$HOSTNAME" != web2 ]`})
	for _, out := range outs { // one for each host, in order
		text, _ := io.ReadAll(out.Stdout)
		fmt.Printf("%v %v: %q\n", out.Host, out.Outcome(), text)
	}
	fmt.Println(err)
	// Output:
	// web1 exited 0: "here\n"
	// web2 exited 1: "here\n"
	// web3 exited 0: "here\n"
	// 1 of 3 hosts failed; first: command on web2 exited with code 1
}

func ExampleParallelClient_Do() {
	hosts, stop := simulatedHosts(3)
	defer stop()
	fleet := &fleetssh.ParallelClient{Hosts: hosts}
	defer fleet.Close()

	names := make([]string, len(hosts))
	err := fleet.Do(context.Background(), func(ctx context.Context, i int, c *fleetssh.Client) error {
		name, err := c.Output(ctx, "hostname")
		if err != nil {
			return err
		}
		names[i] = strings.TrimSpace(string(name))
		if i == 1 {
			return errors.New("this one is not wanted")
		}
		return nil
	})
	fmt.Println(names, err)
	// Output:
	// [web1 web2 web3] 1 of 3 hosts failed; first: web2: this one is not wanted
}

func ExampleHostsError() {
	hosts, stop := simulatedHosts(3)
	defer stop()
	hosts[2].Auth.Signers, hosts[2].Auth.NoAgent, hosts[2].Auth.NoDefaultKeys = nil, true, true
	fleet := &fleetssh.ParallelClient{Hosts: hosts}
	defer fleet.Close()

	_, err := fleet.Run(context.Background(), fleetssh.Command{Line: `[ "$HOSTNAME" != web2 ]`})
	if failed, ok := errors.AsType[*fleetssh.HostsError](err); ok {
		for _, f := range failed.Failed {
			_, ran := errors.AsType[*fleetssh.ExitError](f.Err)
			fmt.Println(f.Index, f.Host, ran)
		}
	}
	// Output:
	// 1 web2 true
	// 2 web3 false
}

func ExampleOutcome() {
	for _, outcome := range []fleetssh.Outcome{
		{Kind: fleetssh.Exited},
		{Kind: fleetssh.Exited, ExitCode: 3},
		{Kind: fleetssh.Unreachable, Phase: fleetssh.PhaseAuth},
		{Kind: fleetssh.TimedOut, Stopped: true},
		{Kind: fleetssh.Lost},
	} {
		fmt.Println(outcome, outcome.OK(), outcome.MayHaveRun())
	}
	// Output:
	// exited 0 true true
	// exited 3 false true
	// unreachable (auth) false false
	// timed out and stopped false true
	// lost, may have run false true
}

func ExamplePhase() {
	hosts, stop := simulatedHosts(1)
	defer stop()
	hosts[0].Port, hosts[0].Attempts = 1, 1 // nothing listens on port 1

	_, err := fleetssh.Dial(context.Background(), hosts[0])
	if e, ok := errors.AsType[*fleetssh.ConnectionError](err); ok {
		fmt.Println(e.Phase, e.Phase == fleetssh.PhaseConnect)
	}
	// Output: connect true
}

func ExampleParallelClient_Working() {
	hosts, stop := simulatedHosts(2)
	defer stop()
	fleet := &fleetssh.ParallelClient{Hosts: hosts}
	defer fleet.Close()

	events, err := fleet.Stream(context.Background(), fleetssh.Command{Line: "echo started; sleep 60"})
	if err != nil {
		log.Fatal(err)
	}
	lines := 0
	for ev := range events {
		if ev.Kind == fleetssh.StdoutLine {
			lines++
		}
		if lines == len(hosts) {
			for _, at := range fleet.Working() {
				fmt.Println(hosts[at.Index], at.Phase, time.Since(at.Begun) < time.Minute)
			}
			break // stops the commands
		}
	}
	// Output:
	// web1 run true
	// web2 run true
}

// The events of a host are Started, its lines, and Finished.
func ExampleEvent() {
	hosts, stop := simulatedHosts(1)
	defer stop()
	fleet := &fleetssh.ParallelClient{Hosts: hosts}
	defer fleet.Close()

	events, err := fleet.Stream(context.Background(), fleetssh.Command{Line: "echo one; echo two; exit 3"})
	if err != nil {
		log.Fatal(err)
	}
	for ev := range events {
		switch ev.Kind {
		case fleetssh.Started:
			fmt.Println(ev.Index, ev.Kind, ev.Output.CommandLine)
		case fleetssh.StdoutLine, fleetssh.StderrLine:
			fmt.Println(ev.Index, ev.Kind, ev.Text)
		case fleetssh.Finished:
			fmt.Println(ev.Index, ev.Kind, ev.Output.Outcome())
		}
	}
	// Output:
	// 0 start echo one; echo two; exit 3
	// 0 stdout one
	// 0 stdout two
	// 0 result exited 3
}
