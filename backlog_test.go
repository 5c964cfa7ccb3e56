package fleetssh

import (
	"net"
	"syscall"
	"testing"
)

// shrinkBacklog lets the kernel keep but one connection that nobody has accepted.
func shrinkBacklog(t *testing.T, l net.Listener) {
	t.Helper()
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var listenErr error
	if err := raw.Control(func(fd uintptr) { listenErr = syscall.Listen(int(fd), 0) }); err != nil || listenErr != nil {
		t.Fatal(err, listenErr)
	}
}
