// Package simfleet simulates SSH hosts inside the process.
//
// A [Server] is one simulated host: a real SSH server on a loopback address, with its own host key,
// a [Handler] that runs the commands, and a [Fault] that says what goes wrong and in which phase.
// A [Fleet] is many of them on one port. A [Proxy] sits in front of any SSH server and adds the
// delay of a real network.
//
// Nothing is executed on the real machine: [Shell], the default handler, is a small simulated
// shell.
package simfleet
