package faults

import (
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"time"

	"fleetssh"
	"fleetssh/internal/simfleet"
)

// entry is an entry point of the library.
type entry struct {
	name   string
	phases []simfleet.Phase // in which a host may stop reading
	alone  bool             // no context and no time-out ends it
	run    func(*cell)
}

// The phases that make sense: of all that log in, of those that run something, of copies
// and of tunnels.
var (
	allPhases = []simfleet.Phase{simfleet.PhaseVersion, simfleet.PhaseKex, simfleet.PhaseAuth, simfleet.PhaseLogin, simfleet.PhaseOpen, simfleet.PhaseExec, simfleet.PhaseRun}
	running   = []simfleet.Phase{simfleet.PhaseRun}
	starting  = []simfleet.Phase{simfleet.PhaseExec, simfleet.PhaseRun}
	copying   = []simfleet.Phase{simfleet.PhaseExec, simfleet.PhaseRun, simfleet.PhaseFile}
	tunneling = []simfleet.Phase{simfleet.PhaseOpen, simfleet.PhaseTunnel}
	closing   = []simfleet.Phase{simfleet.PhaseLogin, simfleet.PhaseOpen, simfleet.PhaseRun, simfleet.PhaseTunnel}
)

// entries are the entry points. agent is the socket of an agent that is silent, echoPort
// where something listens that sends back what comes.
func entries(agent string, echoPort int) []entry {
	target := fmt.Sprintf("127.0.0.1:%d", echoPort)
	return []entry{
		{"RunCommand and Join", allPhases, false, func(c *cell) {
			c.with(func(p *fleetssh.ParallelClient) {
				c.ends("RunCommand", func(ctx context.Context) {
					outs, _ := p.RunCommand(ctx, fleetssh.Command{Line: "echo ok", Timeout: c.limit})
					c.within(c.limit+callGrace, "Join", func() { _ = p.Join(context.Background(), outs) })
					c.exited(outs[1], "ok\n")
					c.failed(outs[0])
				})
			})
		}},
		{"RunCommand with input", running, false, func(c *cell) {
			c.with(func(p *fleetssh.ParallelClient) {
				var outs []*fleetssh.HostOutput
				c.ends("RunCommand", func(ctx context.Context) {
					outs, _ = p.RunCommand(ctx, fleetssh.Command{Line: "head -c 3", Stdin: zeros(), Timeout: c.limit})
				})
				c.within(c.limit+callGrace, "Join", func() { _ = p.Join(context.Background(), outs) })
				c.exited(outs[1], "\x00\x00\x00")
				c.failed(outs[0])
			})
		}},
		{"Stream", allPhases, false, func(c *cell) {
			c.with(func(p *fleetssh.ParallelClient) {
				c.stream(p, fleetssh.Command{Line: "echo ok", Timeout: c.limit}, "ok\n")
			})
		}},
		{"Stream, time-out alone", starting, false, func(c *cell) {
			c.with(func(p *fleetssh.ParallelClient) {
				p.Hosts[0].ConnectTimeout = c.limit
				c.within(c.limit+callGrace, "Stream", func() {
					c.events(context.Background(), p, fleetssh.Command{Line: "echo ok", Stdin: zeros(), Timeout: c.limit}, "ok\n")
				})
			})
		}},
		{"Stream with input", running, false, func(c *cell) {
			c.with(func(p *fleetssh.ParallelClient) {
				c.stream(p, fleetssh.Command{Line: "head -c 3", Stdin: zeros()}, "\x00\x00\x00")
			})
		}},
		{"Output", running, false, func(c *cell) {
			c.dial(func(client *fleetssh.Client) {
				c.ends("Output", func(ctx context.Context) { _, _ = client.Output(ctx, "true") })
			})
		}},
		{"Upload", copying, false, func(c *cell) {
			c.with(func(p *fleetssh.ParallelClient) {
				c.ends("Upload", func(ctx context.Context) {
					results, _ := p.Upload(ctx, c.large, "large", nil)
					c.copied(results)
				})
			})
		}},
		{"Upload with a time-out", copying, false, func(c *cell) {
			c.with(func(p *fleetssh.ParallelClient) {
				p.Hosts[0].ConnectTimeout = c.limit
				c.within(c.limit+callGrace, "Upload", func() {
					results, _ := p.Upload(context.Background(), c.large, "large", &fleetssh.CopyOptions{Timeout: c.limit})
					c.copied(results)
				})
			})
		}},
		{"Download", copying, false, func(c *cell) {
			for _, s := range []*simfleet.Server{c.bad, c.good} {
				if err := s.WriteFile("/tmp/file", make([]byte, 1<<20), 0); err != nil {
					c.t.Error(err)
				}
			}
			c.with(func(p *fleetssh.ParallelClient) {
				c.ends("Download", func(ctx context.Context) {
					results, _ := p.Download(ctx, "/tmp/file", filepath.Join(c.dir, "got.%s"), &fleetssh.CopyOptions{HostArgs: []fleetssh.Args{{List: []string{"bad"}}, {List: []string{"good"}}}})
					c.copied(results)
				})
			})
		}},
		{"Shell", starting, false, func(c *cell) {
			c.with(func(p *fleetssh.ParallelClient) {
				var shells []*fleetssh.Shell
				c.ends("OpenShells", func(ctx context.Context) { shells, _ = p.OpenShells(ctx) })
				c.ends("Shell.Run", func(ctx context.Context) {
					_ = shells[1].Run(ctx, "echo ok")
					_ = shells[0].Run(ctx, strings.Repeat("# nothing\n", sent/10))
				})
				c.ends("Shell.Close", func(ctx context.Context) {
					_ = shells[1].Close(ctx)
					_ = shells[0].Close(ctx)
				})
				c.ended(shells[1].Stdout, shells[1].Outcome(), shells[1].Err, "ok\n")
			})
		}},
		{"Console", starting, false, func(c *cell) {
			c.with(func(p *fleetssh.ParallelClient) {
				var consoles []*fleetssh.Console
				c.ends("OpenConsoles", func(ctx context.Context) { consoles, _ = p.OpenConsoles(ctx) })
				for i, s := range consoles {
					var out *fleetssh.HostOutput
					c.ends("Console.Run", func(ctx context.Context) {
						text := "echo ok"
						if i == 0 {
							text = "# " + strings.Repeat("n", sent)
						}
						out, _ = s.Run(ctx, fleetssh.ConsoleLine{Text: text})
						if out != nil {
							c.ends("WaitFinished", func(ctx context.Context) { _ = out.WaitFinished(ctx) })
						}
					})
					if i == 1 && s.Err == nil {
						c.exited(out, "ok\n")
					}
					if out != nil {
						c.within(callGrace, "Stop", func() { _ = out.Stop(context.Background()) })
					}
					c.within(callGrace, "Console.Stop", func() { _ = s.Stop(context.Background()) })
					c.ends("Console.Close", func(ctx context.Context) { _ = s.Close(ctx) })
				}
			})
		}},
		{"agent forwarding", starting, false, func(c *cell) {
			p := c.fleet()
			for i := range p.Hosts {
				p.Hosts[i].ForwardAgent, p.Hosts[i].Auth.AgentSocket = true, agent
			}
			c.stream(p, fleetssh.Command{Line: "echo ok", Timeout: c.limit}, "ok\n")
			c.closes("ParallelClient.Close", p.Close)
		}},
		{"agent that is silent", []simfleet.Phase{simfleet.PhaseAuth, simfleet.PhaseRun}, false, func(c *cell) {
			p := c.fleet()
			p.Hosts[0].Auth = fleetssh.Auth{AgentSocket: agent, NoDefaultKeys: true}
			c.stream(p, fleetssh.Command{Line: "echo ok", Timeout: c.limit}, "ok\n")
			c.closes("ParallelClient.Close", p.Close)
		}},
		{"Connect", allPhases, false, func(c *cell) {
			c.with(func(p *fleetssh.ParallelClient) {
				c.ends("Connect", func(ctx context.Context) { _ = p.Connect(ctx) })
			})
		}},
		{"ScanHostKeys", allPhases, false, func(c *cell) {
			c.with(func(p *fleetssh.ParallelClient) {
				c.ends("ScanHostKeys", func(ctx context.Context) {
					keys, err := p.ScanHostKeys(ctx)
					if err != nil {
						c.t.Error(err)
						return
					}
					for shown := range keys {
						c.gets(shown.Index == 0 || len(shown.Keys) == 1, "%d keys: %v", len(shown.Keys), shown.Err)
					}
				})
			})
		}},
		{"hop", tunneling, false, func(c *cell) {
			hop := c.config(c.bad)
			behind, direct := c.config(c.good), c.config(c.good)
			behind.Proxy = &hop
			p := &fleetssh.ParallelClient{Hosts: []fleetssh.HostConfig{behind, direct}}
			c.stream(p, fleetssh.Command{Line: "head -c 3; cat >/dev/null", Stdin: zeros(), Timeout: 2 * c.limit}, "\x00\x00\x00")
			c.closes("ParallelClient.Close", p.Close)
		}},
		{"hop, Close alone", tunneling, false, func(c *cell) {
			hop := c.config(c.bad)
			behind := c.config(c.good)
			behind.Proxy = &hop
			p := &fleetssh.ParallelClient{Hosts: []fleetssh.HostConfig{behind}}
			c.ends("RunCommand", func(ctx context.Context) {
				_, _ = p.RunCommand(ctx, fleetssh.Command{Line: "cat", Stdin: zeros()})
			})
			pause()
			c.closes("ParallelClient.Close", p.Close)
		}},
		{"ForwardLocal", tunneling, false, func(c *cell) {
			c.dial(func(client *fleetssh.Client) {
				c.ends("ForwardLocal", func(ctx context.Context) {
					tunnel, err := client.ForwardLocal(ctx, "127.0.0.1:0", target)
					if err == nil {
						c.call(tunnel, "")
					}
				})
			})
		}},
		{"ForwardSOCKS", tunneling, false, func(c *cell) {
			c.dial(func(client *fleetssh.Client) {
				c.ends("ForwardSOCKS", func(ctx context.Context) {
					tunnel, err := client.ForwardSOCKS(ctx, "127.0.0.1:0")
					if err == nil {
						c.call(tunnel, "\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01"+string([]byte{byte(echoPort >> 8), byte(echoPort)}))
					}
				})
			})
		}},
		{"ForwardRemote", tunneling, false, func(c *cell) {
			c.dial(func(client *fleetssh.Client) {
				var tunnel *fleetssh.Tunnel
				c.ends("ForwardRemote", func(ctx context.Context) { tunnel, _ = client.ForwardRemote(ctx, "0", target) })
				if tunnel != nil {
					pause()
					c.closes("Tunnel.Close", tunnel.Close)
				}
			})
		}},
		{"ForwardRemote of many", tunneling, false, func(c *cell) {
			c.with(func(p *fleetssh.ParallelClient) {
				c.ends("ForwardRemote", func(ctx context.Context) { _, _ = p.ForwardRemote(ctx, "0", target) })
				pause()
			})
		}},
		{"ForwardProxy", tunneling, false, func(c *cell) {
			p := c.fleet()
			p.Hosts[0].Alias, p.Hosts[1].Alias = "bad", "good"
			c.ends("ForwardProxy", func(ctx context.Context) {
				tunnel, err := p.ForwardProxy(ctx, "127.0.0.1:0")
				if tunnel == nil {
					c.wants(false, "no proxy: %v", err)
					return
				}
				c.call(tunnel, fmt.Sprintf("CONNECT bad:%d HTTP/1.1\r\nHost: bad\r\n\r\n", echoPort))
			})
			c.closes("ParallelClient.Close", p.Close)
		}},
		{"ForwardProxy, the good host", tunneling, false, func(c *cell) {
			p := c.fleet()
			p.Hosts[0].Alias, p.Hosts[1].Alias = "bad", "good"
			c.ends("ForwardProxy", func(ctx context.Context) {
				tunnel, _ := p.ForwardProxy(ctx, "127.0.0.1:0")
				if tunnel == nil {
					return
				}
				stuck := c.connect(tunnel, fmt.Sprintf("CONNECT bad:%d HTTP/1.1\r\nHost: bad\r\n\r\n", echoPort))
				defer stuck.Close()
				conn := c.connect(tunnel, fmt.Sprintf("CONNECT good:%d HTTP/1.1\r\nHost: good\r\n\r\nhello", echoPort))
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(callGrace))
				answer := make([]byte, 256)
				n, err := conn.Read(answer)
				c.gets(err == nil && strings.Contains(string(answer[:n]), " 200 "), "behind the proxy: %q, %v", answer[:n], err)
			})
			c.closes("ParallelClient.Close", p.Close)
		}},
		{"DialContext", tunneling, false, func(c *cell) {
			c.dial(func(client *fleetssh.Client) {
				var conn net.Conn
				c.ends("DialContext", func(ctx context.Context) { conn, _ = client.DialContext(ctx, "tcp", target) })
				if conn == nil {
					return
				}
				_ = conn.SetDeadline(time.Now().Add(c.limit))
				c.ends("Write", func(context.Context) { _, _ = io.Copy(conn, zeros()) })
				c.closes("Conn.Close", conn.Close)
			})
		}},
		{"Client.Close", closing, false, func(c *cell) {
			c.dial(func(client *fleetssh.Client) {
				c.ends("RunCommand", func(ctx context.Context) {
					_, _ = client.RunCommand(ctx, fleetssh.Command{Line: "cat", Stdin: zeros()})
				})
				pause()
			})
		}},
		{"Client.Close with a session that is not used", closing, false, func(c *cell) {
			c.dial(func(client *fleetssh.Client) {
				c.ends("OpenSession", func(ctx context.Context) { _, _ = client.OpenSession(ctx) })
				pause()
			})
		}},
		{"Client.SSH", closing, false, func(c *cell) {
			c.dial(func(client *fleetssh.Client) {
				client.SSH()
				c.ends("RunCommand", func(ctx context.Context) {
					_, _ = client.RunCommand(ctx, fleetssh.Command{Line: "cat", Stdin: zeros()})
				})
				pause()
			})
		}},
		{"a listener of Client.SSH that nobody accepts from", tunneling, false, func(c *cell) {
			var listener net.Listener
			c.dial(func(client *fleetssh.Client) {
				lib := client.SSH()
				listening := make(chan struct{})
				go func() {
					defer close(listening)
					listener, _ = lib.Listen("tcp", "127.0.0.1:0")
				}()
				select {
				case <-listening:
					pause()
				case <-time.After(time.Second): // it knows no time-outs
				}
				c.closes("Client.Close", client.Close)
				<-listening
			})
			// The SSH library's own goroutines wait for somebody who accepts. It keeps some
			// dozens; whether one of them is an error, or the end, it does not tell.
			for range 200 {
				if listener == nil {
					break
				}
				if conn, err := listener.Accept(); err == nil {
					conn.Close()
				}
			}
		}},
		{"SetHosts", running, false, func(c *cell) {
			c.with(func(p *fleetssh.ParallelClient) {
				c.ends("RunCommand", func(ctx context.Context) {
					_, _ = p.RunCommand(ctx, fleetssh.Command{Line: "head -c 3", Stdin: zeros()})
				})
				pause()
				c.closes("SetHosts", func() error { p.SetHosts(p.Hosts[1:]); return nil })
				c.ends("Stream", func(ctx context.Context) {
					outs, err := p.RunCommand(ctx, fleetssh.Command{Line: "echo ok"})
					if err == nil {
						_ = p.Join(ctx, outs)
						c.exited(outs[0], "ok\n")
					} else {
						c.gets(false, "after SetHosts: %v", err)
					}
				})
			})
		}},
		{"Channel.Stop", running, false, func(c *cell) {
			c.channel(func(ch *fleetssh.Channel) {
				c.within(callGrace, "Channel.Stop", func() { _ = ch.Stop(context.Background()) })
				c.wants(ch.Finished(), "the command has not ended")
			})
		}},
		{"Channel.Close", running, false, func(c *cell) {
			c.channel(func(ch *fleetssh.Channel) {
				_ = ch.Resize(10, 10)
				c.closes("Channel.Close", ch.Close)
				c.closes("Stdin.Close", ch.Stdin.Close)
				c.wants(ch.Finished(), "the command has not ended")
			})
		}},

		// What nothing else ends, keep-alive does.
		{"RunCommand, alone", allPhases, true, func(c *cell) {
			c.with(func(p *fleetssh.ParallelClient) {
				c.ends("RunCommand", func(ctx context.Context) {
					outs, _ := p.RunCommand(ctx, fleetssh.Command{Line: "head -c 3", Stdin: zeros()})
					_ = p.Join(ctx, outs)
					c.exited(outs[1], "\x00\x00\x00")
					c.failed(outs[0])
				})
			})
		}},
		{"Upload, alone", copying, true, func(c *cell) {
			c.with(func(p *fleetssh.ParallelClient) {
				c.ends("Upload", func(ctx context.Context) {
					results, _ := p.Upload(ctx, c.large, "large", nil)
					c.copied(results)
				})
			})
		}},
		{"Shell, alone", starting, true, func(c *cell) {
			c.dial(func(client *fleetssh.Client) {
				c.ends("Shell", func(ctx context.Context) {
					if shell, err := client.OpenShell(ctx); err == nil {
						_ = shell.Run(ctx, strings.Repeat("# nothing\n", sent/10))
						_ = shell.Close(ctx)
					}
				})
			})
		}},
		{"DialContext, alone", tunneling, true, func(c *cell) {
			c.dial(func(client *fleetssh.Client) {
				c.ends("DialContext", func(ctx context.Context) {
					conn, err := client.DialContext(ctx, "tcp", target)
					if err != nil {
						return
					}
					go func() { _, _ = io.Copy(io.Discard, conn) }()
					_, _ = io.Copy(conn, zeroReader{}) // until it fails
					conn.Close()
				})
			})
		}},
		{"hop, alone", tunneling, true, func(c *cell) {
			hop := c.config(c.bad)
			behind := c.config(c.good)
			behind.Proxy = &hop
			p := &fleetssh.ParallelClient{Hosts: []fleetssh.HostConfig{behind, c.config(c.good)}}
			c.stream(p, fleetssh.Command{Line: "head -c 3; cat >/dev/null", Stdin: zeros()}, "\x00\x00\x00")
			c.closes("ParallelClient.Close", p.Close)
		}},
	}
}

// pause is for writes to get stuck.
func pause() { <-time.After(300 * time.Millisecond) }

// exited checks what the good host has done.
func (c *cell) exited(out *fleetssh.HostOutput, want string) {
	if out == nil {
		c.gets(false, "it did not start")
		return
	}
	c.ended(out.Stdout, out.Outcome(), out.Err, want)
}

// ended checks the end of a command or a shell.
func (c *cell) ended(stdout io.Reader, o fleetssh.Outcome, why error, want string) {
	got, err := io.ReadAll(stdout)
	c.gets(o.OK() && string(got) == want && err == nil, "%v, %q, %v, %v", o, got, err, why)
}

// failed checks that the bad host has not done what it was told.
func (c *cell) failed(out *fleetssh.HostOutput) {
	kind := out.Outcome().Kind
	if c.fault.Bytes > 0 && kind == fleetssh.Exited {
		return // it took little
	}
	c.wants(kind != fleetssh.Exited && kind != fleetssh.Running, "the bad host: %v", kind)
}

// stream runs a command on all hosts, and the context ends it.
func (c *cell) stream(p *fleetssh.ParallelClient, cmd fleetssh.Command, want string) {
	c.ends("Stream", func(ctx context.Context) { c.events(ctx, p, cmd, want) })
}

func (c *cell) events(ctx context.Context, p *fleetssh.ParallelClient, cmd fleetssh.Command, want string) {
	events, err := p.Stream(ctx, cmd)
	if err != nil {
		c.t.Errorf("%s: %v", c.name, err)
		return
	}
	var good strings.Builder
	finished := make([]*fleetssh.HostOutput, len(p.Hosts))
	for ev := range events {
		switch {
		case ev.Kind == fleetssh.Finished:
			c.wants(finished[ev.Index] == nil, "host %d has finished twice", ev.Index)
			finished[ev.Index] = ev.Output
		case ev.Kind == fleetssh.StdoutLine && ev.Index == 1:
			good.WriteString(ev.Text)
		}
	}
	for i, out := range finished {
		if out == nil {
			c.wants(false, "host %d has not finished", i)
			return
		}
	}
	o := finished[1].Outcome()
	c.gets(o.Kind == fleetssh.Exited && o.ExitCode == 0 && good.String() == strings.TrimSuffix(want, "\n"), "%v, %q, %v", o, good.String(), finished[1].Err)
	c.failed(finished[0])
}

// copied checks the results of a copy.
func (c *cell) copied(results []fleetssh.CopyResult) {
	c.wants(results[0].Err != nil || c.fault.Bytes > 0, "the bad host was copied to")
	c.gets(results[1].Err == nil, "%v", results[1].Err)
}

// connect calls a tunnel, says hello, and is closed with it.
func (c *cell) connect(tunnel *fleetssh.Tunnel, hello string) net.Conn {
	conn, err := net.Dial("tcp", tunnel.Addr().String())
	if err != nil { // it has ended with the connection
		conn, far := net.Pipe()
		far.Close()
		return conn
	}
	_ = conn.SetDeadline(time.Now().Add(c.limit))
	_, _ = io.WriteString(conn, hello)
	return conn
}

// call has a caller of a tunnel send until nothing more goes, and closes the tunnel.
func (c *cell) call(tunnel *fleetssh.Tunnel, hello string) {
	conn := c.connect(tunnel, hello)
	defer conn.Close()
	_, _ = io.Copy(conn, zeros())
	c.closes("Tunnel.Close", tunnel.Close)
}

// channel starts a command on the bad host and has its input get stuck, and calls f.
func (c *cell) channel(f func(*fleetssh.Channel)) {
	c.dial(func(client *fleetssh.Client) {
		var ch *fleetssh.Channel
		c.ends("Execute", func(ctx context.Context) { ch, _ = client.Execute(ctx, "cat") })
		if ch == nil {
			return
		}
		stuck := make(chan struct{})
		go func() {
			defer close(stuck)
			_, _ = io.Copy(ch.Stdin, zeros())
		}()
		pause()
		f(ch)
		c.within(callGrace, "Write", func() { <-stuck })
	})
}
