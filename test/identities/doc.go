// Package identities compares which keys and certificates get fleetssh into a host
// with what gets ssh into it: with the same files, the same agents and the same sshd.
// It holds nothing but tests.
package identities
