// Package sshdtest runs OpenSSH's server and agent for tests: on free loopback ports, with their
// own keys, certificates and accounts. It leaves nothing behind when the test ends.
//
// A test that needs these programs fails if they are not installed; .ci/prepare installs them. A
// test that needs other accounts needs root: see [Accounts].
package sshdtest
