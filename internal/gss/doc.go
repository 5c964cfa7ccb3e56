// Package gss knows Kerberos as far as an SSH client needs it to log in with
// gssapi-with-mic (RFC 4462): where the user's tickets are (krb5.conf, credential
// caches, keytabs), how to get more of them from a KDC (RFC 4120), and the security
// context of one connection (RFC 4121). It needs no Kerberos library on the machine.
//
// [Credentials] are the tickets of one identity. They are shared by all connections:
// whatever many need at once is asked for once. A [Context] is for one connection.
//
// Only the AES encryption types are spoken (RFC 3962, RFC 8009). What comes from
// servers, KDCs and files is bounded, and cannot make the process fail.
//
// Terms are those of RFC 4120: a TGT is the ticket for the ticket-granting service, a
// realm is what a KDC serves, a principal is a name in a realm.
package gss
