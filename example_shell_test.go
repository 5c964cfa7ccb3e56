package fleetssh_test

import (
	"context"
	"fmt"
	"io"
	"log"

	"fleetssh"
)

func ExampleConsole() {
	hosts, stop := simulatedHosts(1)
	defer stop()
	ctx := context.Background()
	client, err := fleetssh.Dial(ctx, hosts[0])
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	console, err := client.OpenConsole(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer console.Close(ctx)
	for _, line := range []string{"name=world", "echo hello $name", "false"} {
		out, err := console.Run(ctx, fleetssh.ConsoleLine{Text: line})
		if err != nil {
			log.Fatal(err)
		}
		text, _ := io.ReadAll(out.Stdout)
		_ = out.WaitFinished(ctx) // Outcome reports how the command ended
		fmt.Printf("%s: %q, %v\n", line, text, out.Outcome())
	}
	// Output:
	// name=world: "", exited 0
	// echo hello $name: "hello world\n", exited 0
	// false: "", exited 1
}

func ExampleShell() {
	hosts, stop := simulatedHosts(1)
	defer stop()
	ctx := context.Background()
	client, err := fleetssh.Dial(ctx, hosts[0])
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	shell, err := client.OpenShell(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, line := range []string{"echo one", "echo two"} {
		if err := shell.Run(ctx, line); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(shell.Close(ctx))
	text, _ := io.ReadAll(shell.Stdout)
	fmt.Printf("%s", text)
	// Output:
	// <nil>
	// one
	// two
}

func ExampleChannel() {
	hosts, stop := simulatedHosts(1)
	defer stop()
	ctx := context.Background()
	client, err := fleetssh.Dial(ctx, hosts[0])
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	ch, err := client.OpenSession(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer ch.Close()
	if err := ch.Exec(ctx, "cat; exit 3"); err != nil {
		log.Fatal(err)
	}
	fmt.Fprintln(ch.Stdin, "hello")
	_ = ch.WaitFinished(ctx) // closes Stdin; Outcome reports how the command ended
	text, _ := io.ReadAll(ch.Stdout)
	fmt.Printf("%s%v\n", text, ch.Outcome())
	// Output:
	// hello
	// exited 3
}
