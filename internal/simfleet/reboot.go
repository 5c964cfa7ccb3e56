package simfleet

import (
	"crypto/rand"
	"fmt"
	"strings"
	"time"
)

const (
	// bootIDFile is where Linux shows the ID of the boot. Only cat knows it.
	bootIDFile = "/proc/sys/kernel/random/boot_id"
	// rebootDelay is how long a host still works after the command that reboots it.
	rebootDelay = 20 * time.Millisecond
	// rebootTime is how long a host is away by default.
	rebootTime = time.Second
)

// newBootID returns a random ID in the form of Linux.
func newBootID() string {
	b := make([]byte, 16)
	rand.Read(b) // never fails
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// BootID returns the ID of the current boot of the host.
func (s *Server) BootID() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bootID
}

// reboot reboots the host soon, unless it is being rebooted already. Its connections are reset, and new
// ones are too while the host is away, which is for RebootTime, or for ever with the fault [StayAway].
// Then it has another boot ID. Its files stay.
func (s *Server) reboot(fault FaultKind) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if fault == IgnoreReboot || s.rebooting || s.closed {
		return
	}
	s.rebooting = true
	s.running.Go(func() {
		if !wait(s.context, rebootDelay) {
			return
		}
		s.mu.Lock()
		s.away = true
		s.mu.Unlock()
		s.Drop()
		if fault == StayAway {
			<-s.context.Done()
			return
		}
		if !wait(s.context, s.host.RebootTime) {
			return
		}
		s.mu.Lock()
		s.away, s.rebooting, s.bootID = false, false, newBootID()
		s.stats.change(func(st *Stats) { st.Reboots++ })
		s.mu.Unlock()
	})
}

// SetAway makes the host reset all connections, until it is called again with false.
func (s *Server) SetAway(away bool) {
	s.mu.Lock()
	s.away = away
	s.mu.Unlock()
	if away {
		s.Drop()
	}
}

// reboot is reboot, systemctl reboot, and shutdown -r now. Only root may do it.
func reboot(p *process) Status {
	switch strings.Join(p.args, " ") {
	case "reboot", "systemctl reboot", "shutdown -r now":
	default:
		return p.fail(1, "unknown operation")
	}
	if p.shell.user != "root" {
		return p.fail(1, "Access denied")
	}
	session := p.shell.session
	session.Server.reboot(session.conn.fault.Kind)
	return Status{}
}
