// Package kdctest runs MIT's Kerberos KDC and Heimdal's cache daemon for tests: on a free loopback
// port, with their own realm, principals and keytabs. They end with the test and leave nothing
// behind. They need no root, and read and write only files in the directory of the test.
//
// A test that needs them fails if they are not installed; .ci/prepare installs them.
package kdctest
