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
// comes, [ParallelClient.RunCommand] leaves commands running, and [ParallelClient.Do] calls a
// function with the Client of each host. Either way a command is a [HostOutput], with its
// streams and its [Outcome].
//
// # Outcomes
//
// Every host ends in exactly one [Outcome], and the outcomes of a run add up to its
// hosts. A command that never ran and one that may have run are never confused:
// see [Outcome.MayHaveRun].
//
// # Contexts and timeouts
//
// A context bounds the call it is passed to and nothing that outlives the call:
// cancelling the context of RunCommand after it has returned does not stop the
// command. Durations in HostConfig and Command are policy and hold for as long
// as the connection or the command does. The loop over Stream is part of the call.
//
// # Output
//
// What a command writes is taken from the connection at once and kept until it is
// read, in memory up to a budget and beyond it in a temporary file without a name:
// a command is never held up because nobody reads, and nothing is lost.
//
// # Trust
//
// The key of a host must be known, as for ssh: see [KnownHosts] and
// [InsecureIgnoreHostKeys]. SHA-1, CBC and DSA are not offered unless [Algorithms]
// names them.
//
// # The way to a host
//
// A host may be behind others ([HostConfig] Proxy), which all hosts that point to
// them share, behind other proxies ([DialProxy], [DialCommand]), or at the other end
// of a connection that an OpenSSH master holds (ControlPath). [Explain] says what
// would be tried, and [Client.Logins] what was.
//
// # Tunnels
//
// A [Tunnel] carries connections from here to somewhere behind a host (ForwardLocal,
// ForwardSOCKS) or the other way (ForwardRemote); [Client.DialContext] makes one
// connection. Those of a ParallelClient outlive the connections to their hosts, and
// [ParallelClient.ForwardProxy] is one proxy that leads to all of them.
//
// # What is read from disk
//
// The private keys, the certificate and the known_hosts files that HostConfig
// names or defaults to, and, with [GSSAPI], the configuration of Kerberos and the
// user's tickets. Nothing else: the package reads no configuration of its own or of
// ssh, and no flags, writes to no terminal and installs no signal handlers.
//
// Tunnels listen on sockets, and make and remove socket files, where they are told to.
//
// # What the process shares
//
// Two things: one connection to each SSH agent, however many clients use it, and
// the turn to put a question to the user ([Auth] Ask).
package fleetssh
