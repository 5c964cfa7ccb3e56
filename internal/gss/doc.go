// Package gss implements as much of Kerberos as an SSH client needs to log in with
// gssapi-with-mic (RFC 4462): it finds the user's tickets (krb5.conf, credential caches, keytabs),
// gets more tickets from a KDC (RFC 4120), and keeps the security context of a connection (RFC
// 4121). It does not need a Kerberos library on the machine.
//
// [Credentials] are the tickets of one identity. All connections share them: a ticket that many
// connections need at once is requested once. A [Context] belongs to one connection.
//
// Only the AES encryption types are supported (RFC 3962, RFC 8009). All input from servers, KDCs
// and files is limited in size, and malformed input is an error, never a panic.
//
// Terms are those of RFC 4120: a TGT is a ticket for the ticket-granting service, a realm is the
// domain of a KDC, and a principal is a name in a realm.
package gss
