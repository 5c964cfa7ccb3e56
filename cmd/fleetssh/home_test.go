package main

import (
	"os"

	"fleetssh/internal/account"
)

// pretendHome lets HOME name the home directory, so that tests have one of their own.
func pretendHome() {
	account.Fake(func() account.User {
		u := account.Real()
		u.Home = os.Getenv("HOME")
		return u
	})
}
