// Package hostset parses and formats sets of host names such as "web[01-20],db1", and computes with
// them. It does not know SSH and contacts nothing.
//
//	all, err := hostset.Parse("web[01-20],db[1-2]!web13", nil)
//	if err != nil {
//		return err
//	}
//	for name := range all.All() {
//		fmt.Println(name) // db1, db2, web01, web02, ...
//	}
//	fmt.Println(all.Len(), "hosts in", all) // 21 hosts in db[1-2],web[01-12,14-20]
//
// # Names
//
// A name is any text without white space, control characters and the characters of the grammar (see
// [Parse]), so "user@web1:2222" and "10.0.0.7" are names. So is an IPv6 address in brackets, as in
// "user@[2001:db8::1]:2222".
//
// # Order
//
// Sets are in natural order: numbers within names are compared by value, everything else by bytes.
// web2 comes before web10, and web1 before web01.
package hostset
