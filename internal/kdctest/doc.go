// Package kdctest knows how to run MIT's Kerberos KDC, and Heimdal's cache daemon,
// for a test: on a free loopback port, with a realm, principals and keytabs of
// their own, and without a trace when the test has ended. It works for every
// account; nothing outside of the test's directory is read or written.
//
// A test that needs them fails if they are not installed; .ci/prepare installs
// them.
package kdctest
