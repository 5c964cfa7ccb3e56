// Package fleetssh runs commands over SSH, on one host or on thousands.
//
// A [HostConfig] says where a host is and how to log in to it. A [Command] says
// what to run. Both are plain values. [Dial] turns a HostConfig into a [Client], a
// connection to one host. A [ParallelClient] holds many:
//
//	fleet := &fleetssh.ParallelClient{Hosts: fleetssh.Hosts(fleetssh.HostConfig{User: "deploy"}, "web1", "web2")}
//	defer fleet.Close()
//	outs, err := fleet.Run(ctx, fleetssh.Command{Line: "systemctl is-active nginx"})
//	for _, out := range outs { // one for each host, in order, whatever went wrong
//		fmt.Println(out.Host, out.Outcome())
//	}
//
// [ParallelClient.Run] runs a command to its end, [ParallelClient.Stream] yields output as it
// arrives, [ParallelClient.RunCommand] leaves commands running, and [ParallelClient.Do] calls a
// function with the Client of each host. Each command is a [HostOutput] with its streams and
// its [Outcome].
//
// # Outcomes
//
// Every host ends in exactly one [Outcome], and the outcomes of a run add up to its
// hosts. A command that never ran and one that may have run are never confused:
// see [Outcome.MayHaveRun].
//
// # Contexts and timeouts
//
// A context bounds the call that it is passed to, and nothing that outlives the call:
// cancelling the context of RunCommand after it has returned does not stop the command. The
// loop over Stream is part of the call. Durations in HostConfig and Command apply for as long
// as the connection or the command lasts.
//
// # Output
//
// The client takes the output of a command from the connection at once and keeps it until the
// caller reads it: in memory up to a budget, and beyond it in a temporary file without a name.
// A slow reader never blocks a command, and no output is lost.
//
// # Trust
//
// As with ssh, the key of a host must be known: see [KnownHosts] and
// [InsecureIgnoreHostKeys]. The client does not offer SHA-1, CBC and DSA unless [Algorithms]
// names them.
//
// # Reaching a host
//
// A host may be behind SSH hops ([HostConfig] Proxy), behind other proxies ([DialProxy],
// [DialCommand]), or at the other end of the connection of an OpenSSH master (ControlPath).
// Hosts that point to the same hop share one connection to it. [Explain] describes what a
// client would try, and [Client.Logins] what it did.
//
// # Tunnels
//
// A [Tunnel] forwards connections from a local socket through a host (ForwardLocal,
// ForwardSOCKS), or from a port of the host back to this machine (ForwardRemote).
// [Client.DialContext] makes a single connection through a host. The tunnels of a
// ParallelClient outlive the connections to their hosts, and [ParallelClient.ForwardProxy] is
// one proxy into all hosts.
//
// # Side effects
//
// The package reads the private keys, certificates and known_hosts files that HostConfig names
// or defaults to. With [GSSAPI] it also reads the Kerberos configuration and the user's
// tickets. It reads no configuration of its own or of ssh, and no flags. It does not write to
// the terminal and installs no signal handlers. Tunnels listen on sockets, and create and
// remove the socket files that they are given.
//
// All clients of a process share one connection to each SSH agent, and take turns asking the
// user ([Auth] Ask).
package fleetssh
