// Package sshdtest knows how to run OpenSSH's own server and agent for a test: on
// free loopback ports, with keys, certificates and accounts of their own, and
// without a trace when the test has ended.
//
// A test that needs them fails if they are not installed; .ci/prepare installs
// them. What needs other accounts than the current one needs root: see
// [Accounts].
package sshdtest
