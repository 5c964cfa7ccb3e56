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
	phases []simfleet.Phase // the phases in which the host stops reading
	alone  bool             // neither a context nor a time-out ends it
	run    func(*cell)
}

// The phases that make sense for the different kinds of entry points.
var (
	allPhases = []simfleet.Phase{simfleet.PhaseVersion, simfleet.PhaseKex, simfleet.PhaseAuth, simfleet.PhaseLogin, simfleet.PhaseOpen, simfleet.PhaseExec, simfleet.PhaseRun}
	running   = []simfleet.Phase{simfleet.PhaseRun}
	starting  = []simfleet.Phase{simfleet.PhaseExec, simfleet.PhaseRun}
	copying   = []simfleet.Phase{simfleet.PhaseExec, simfleet.PhaseRun, simfleet.PhaseFile}
	tunneling = []simfleet.Phase{simfleet.PhaseOpen, simfleet.PhaseTunnel}
	closing   = []simfleet.Phase{simfleet.PhaseLogin, simfleet.PhaseOpen, simfleet.PhaseRun, simfleet.PhaseTunnel}
)

// entries returns the entry points. agent is the socket of an SSH agent that never answers, and
// echoPort the port of an echo service.
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
		{"agent that never answers", []simfleet.Phase{simfleet.PhaseAuth, simfleet.PhaseRun}, false, func(c *cell) {
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
		{"ForwardRemote of a ParallelClient", tunneling, false, func(c *cell) {
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
		{"Client.Close with an unused session", closing, false, func(c *cell) {
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
		{"a listener of Client.SSH without Accept", tunneling, false, func(c *cell) {
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
				case <-time.After(time.Second): // x/crypto's Listen has no time-out
				}
				c.closes("Client.Close", client.Close)
				<-listening
			})
			// x/crypto's goroutines block until somebody accepts. It buffers some dozens of
			// connections, and an error of Accept does not tell whether more will follow.
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

		// These calls end by keep-alive alone.
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
