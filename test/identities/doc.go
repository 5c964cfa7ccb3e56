// Package identities compares the keys and certificates with which fleetssh and ssh log in to a
// host, with the same files, the same agents and the same sshd. It contains only tests.
package identities
