//go:build !unix

package transport

func pass(host, port string) int { return 7 }
