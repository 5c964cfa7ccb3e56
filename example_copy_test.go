package fleetssh_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"fleetssh"
)

func ExampleParallelClient_Upload() {
	hosts, stop := simulatedHosts(2)
	defer stop()
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	motd := filepath.Join(dir, "motd")
	if err := os.WriteFile(motd, []byte("welcome\n"), 0o644); err != nil {
		log.Fatal(err)
	}

	fleet := &fleetssh.ParallelClient{Hosts: hosts}
	defer fleet.Close()
	results, err := fleet.Upload(ctx, motd, "motd", &fleetssh.CopyOptions{Verify: true})
	if err != nil {
		log.Fatal(err)
	}
	for i, r := range results {
		fmt.Println(hosts[i].Alias, r.Files, "file,", r.Bytes, "bytes")
	}
	// Output:
	// web1 1 file, 8 bytes
	// web2 1 file, 8 bytes
}

// Each host gets a directory of its own.
func ExampleParallelClient_Download() {
	hosts, stop := simulatedHosts(2)
	defer stop()
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	fleet := &fleetssh.ParallelClient{Hosts: hosts}
	defer fleet.Close()
	outs, err := fleet.RunCommand(ctx, fleetssh.Command{Line: "hostname > name"})
	if err != nil {
		log.Fatal(err)
	}
	if err := fleet.Join(ctx, outs); err != nil {
		log.Fatal(err)
	}
	if _, err := fleet.Download(ctx, "name", dir, nil); err != nil {
		log.Fatal(err)
	}
	for _, name := range []string{"web1", "web2"} {
		text, err := os.ReadFile(filepath.Join(dir, name, "name"))
		fmt.Printf("%s/name: %s%v\n", name, text, err)
	}
	// Output:
	// web1/name: web1
	// <nil>
	// web2/name: web2
	// <nil>
}

func ExampleParallelClient_StreamUpload() {
	hosts, stop := simulatedHosts(2)
	defer stop()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	motd := filepath.Join(dir, "motd")
	if err := os.WriteFile(motd, []byte("welcome\n"), 0o644); err != nil {
		log.Fatal(err)
	}
	fleet := &fleetssh.ParallelClient{Hosts: hosts, PoolSize: 1}
	defer fleet.Close()

	events, err := fleet.StreamUpload(context.Background(), motd, "motd", nil)
	if err != nil {
		log.Fatal(err) // no host was contacted
	}
	for e := range events {
		switch {
		case e.Result != nil:
			fmt.Printf("%s: %v\n", e.Result.Host.Alias, e.Result.Outcome)
		case e.Progress.Ended:
			fmt.Printf("%s: %d of %d bytes\n", e.Progress.Host.Alias, e.Progress.Done, e.Progress.Total)
		}
	}
	// Output:
	// web1: 8 of 8 bytes
	// web1: exited 0
	// web2: 8 of 8 bytes
	// web2: exited 0
}

// One file goes to one host.
func ExampleClient_Upload() {
	hosts, stop := simulatedHosts(1)
	defer stop()
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	motd := filepath.Join(dir, "motd")
	if err := os.WriteFile(motd, []byte("welcome\n"), 0o644); err != nil {
		log.Fatal(err)
	}

	client, err := fleetssh.Dial(ctx, hosts[0])
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	result, err := client.Upload(ctx, motd, "motd", nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Files, "file,", result.Bytes, "bytes")
	text, err := client.Output(ctx, "cat motd")
	fmt.Printf("%s%v\n", text, err)
	// Output:
	// 1 file, 8 bytes
	// welcome
	// <nil>
}

// A missing file is an error with the step that failed.
func ExampleClient_Download() {
	hosts, stop := simulatedHosts(1)
	defer stop()
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	client, err := fleetssh.Dial(ctx, hosts[0])
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Output(ctx, "hostname > name"); err != nil {
		log.Fatal(err)
	}
	if _, err := client.Download(ctx, "name", filepath.Join(dir, "name"), nil); err != nil {
		log.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "name"))
	fmt.Printf("%s%v\n", text, err)

	_, err = client.Download(ctx, "missing", dir, nil)
	if failed, ok := errors.AsType[*fleetssh.CopyError](err); ok {
		fmt.Println(failed.Op, failed.Path, errors.Is(err, os.ErrNotExist))
	}
	// Output:
	// web1
	// <nil>
	// open missing true
}
