package fleetssh_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"

	"fleetssh"
)

// service starts a web server that the hosts of the examples can reach. It answers "hello".
func service() (port string, stop func()) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") }))
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	return port, server.Close
}

// get returns the body that an HTTP client with this transport receives.
func get(transport *http.Transport, url string) string {
	defer transport.CloseIdleConnections()
	answer, err := (&http.Client{Transport: transport}).Get(url)
	if err != nil {
		log.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		log.Fatal(err)
	}
	return string(body)
}

func ExampleClient_DialContext() {
	hosts, stop := simulatedHosts(1)
	defer stop()
	port, end := service()
	defer end()
	ctx := context.Background()

	client, err := fleetssh.Dial(ctx, hosts[0])
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	fmt.Println(get(&http.Transport{DialContext: client.DialContext}, "http://localhost:"+port+"/"))
	// Output: hello
}

// A local web server accepts connections to a port of the host.
func ExampleClient_Listen() {
	hosts, stop := simulatedHosts(1)
	defer stop()
	ctx := context.Background()

	client, err := fleetssh.Dial(ctx, hosts[0])
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	listener, err := client.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer listener.Close()
	go http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello, host") }))

	// A client on the host. A simulated host shares the loopback of this process.
	fmt.Println(get(new(http.Transport), "http://"+listener.Addr().String()+"/"))
	// Output: hello, host
}

func ExampleParallelClient_ForwardLocal() {
	hosts, stop := simulatedHosts(2)
	defer stop()
	port, end := service()
	defer end()

	fleet := &fleetssh.ParallelClient{Hosts: hosts}
	defer fleet.Close()
	tunnels, err := fleet.ForwardLocal(context.Background(), "0", port)
	if err != nil {
		log.Fatal(err)
	}
	for i, tunnel := range tunnels {
		fmt.Println(hosts[i].Alias, get(new(http.Transport), "http://"+tunnel.Addr().String()+"/"))
	}
	// Output:
	// web1 hello
	// web2 hello
}

func ExampleParallelClient_ForwardProxy() {
	hosts, stop := simulatedHosts(2)
	defer stop()
	port, end := service()
	defer end()

	fleet := &fleetssh.ParallelClient{Hosts: hosts}
	defer fleet.Close()
	tunnel, err := fleet.ForwardProxy(context.Background(), "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	proxy := http.ProxyURL(&url.URL{Scheme: "socks5h", Host: tunnel.Addr().String()})
	fmt.Println(get(&http.Transport{Proxy: proxy}, "http://web2:"+port+"/"))
	// Output: hello
}

func ExampleTunnel() {
	hosts, stop := simulatedHosts(1)
	defer stop()
	port, end := service()
	defer end()
	ctx := context.Background()

	client, err := fleetssh.Dial(ctx, hosts[0])
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	tunnel, err := client.ForwardLocal(ctx, "127.0.0.1:0", "localhost:"+port)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(get(new(http.Transport), "http://"+tunnel.Addr().String()+"/"))
	tunnel.Close()
	fmt.Println("it has ended:", tunnel.Wait())
	// Output:
	// hello
	// it has ended: <nil>
}

// The proxy of this example is a tunnel through web1. Any SOCKS or HTTP proxy works.
func ExampleDialProxy() {
	hosts, stop := simulatedHosts(2)
	defer stop()
	ctx := context.Background()
	web1, err := fleetssh.Dial(ctx, hosts[0])
	if err != nil {
		log.Fatal(err)
	}
	defer web1.Close()
	proxy, err := web1.ForwardSOCKS(ctx, "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}

	host := hosts[1]
	if host.DialContext, err = fleetssh.DialProxy("socks5h://" + proxy.Addr().String()); err != nil {
		log.Fatal(err)
	}
	client, err := fleetssh.Dial(ctx, host)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	out, err := client.Output(ctx, "hostname")
	fmt.Printf("%s%v\n", out, err)
	// Output:
	// web2
	// <nil>
}

func ExampleDialCommand() {
	dial, err := fleetssh.DialCommand("cloudflared access ssh --hostname %h")
	if err != nil {
		log.Fatal(err)
	}
	client, err := fleetssh.Dial(context.Background(), fleetssh.HostConfig{Host: "web1.example.com", DialContext: dial})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
}

// The command carries the connection, as "nc %h %p" would. This one fails, and the error says
// what it wrote.
func ExampleDialProxyCommand() {
	dial, err := fleetssh.DialProxyCommand(fleetssh.ProxyCommand{
		Line: "echo no way to %h as %r >&2; exit 1",
		User: "deploy",
	})
	if err != nil {
		log.Fatal(err)
	}
	_, err = fleetssh.Dial(context.Background(), fleetssh.HostConfig{Host: "web1.example.com", DialContext: dial})
	fmt.Println(err)
	// Output:
	// reach web1.example.com: hop failed: connect command echo: ended: no way to web1.example.com as deploy
}
