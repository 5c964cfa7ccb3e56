package main

import (
	"bytes"
	"strconv"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"fleetssh/internal/sshdtest"
)

// waitStored waits until the files on the fleet hold a number of bytes in total. The bytes of a
// file end at its first hole.
func waitStored(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: wait-stored BYTES")
	}
	want, err := strconv.ParseInt(args[0], 10, 64)
	ts.Check(err)
	for deadline := time.Now().Add(sshdtest.Patience); ; <-time.After(5 * time.Millisecond) {
		var stored int64
		for _, server := range ts.Value(fleetKey{}).(*scriptFleet).SSH.Servers {
			for _, name := range server.FileNames() {
				data, err := server.ReadFile(name)
				if hole := bytes.Index(data, make([]byte, 512)); err == nil && hole >= 0 {
					data = data[:hole]
				}
				stored += int64(len(data))
			}
		}
		if stored >= want {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("the fleet stored %d bytes, want %d", stored, want)
		}
	}
}
