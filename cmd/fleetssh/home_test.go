package main

import (
	"os"

	"fleetssh/internal/account"
)

// fakeHome takes the home directory from HOME, so that each test can have its own.
func fakeHome() {
	account.Fake(func() account.User {
		u := account.Real()
		u.Home = os.Getenv("HOME")
		return u
	})
}
