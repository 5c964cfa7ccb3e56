package simfleet

import (
	"math"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// The faults of hosts that do what x/crypto's server cannot do. Such a host accepts every login,
// opens every channel with the largest window, confirms the start of every command, and then stops
// reading.

// hostileFaults are what such a host does after it has stopped reading.
var hostileFaults = map[FaultKind]func(*hostile) error{
	HugeWindow:           (*hostile).trickle,
	StallRekey:           (*hostile).rekey,
	FloodRequests:        (*hostile).flood,
	FloodOpens:           (*hostile).flood,
	FloodPings:           (*hostile).flood,
	FloodConfirmations:   (*hostile).flood,
	FloodChannelRequests: (*hostile).flood,
	FloodSlowly:          (*hostile).floodSlowly,
}

// hugeWindow is the window of the channels. RFC 4254 allows twice as much, but some clients count
// in int32.
const hugeWindow = math.MaxInt32

// tunnelPort is the port on which such a host claims to listen (tcpip-forward).
const tunnelPort = 4711

// Types of messages (RFC 4250, section 4.1.2).
const (
	msgIgnore        = 2
	msgLogin         = 50
	msgLoggedIn      = 52
	msgGlobal        = 80
	msgGlobalRefused = 82
	msgOpen          = 90
	msgClose         = 97
	msgRequest       = 98
)

// hostile is one connection of such a host.
type hostile struct {
	*PacketConn
	conn    *conn
	channel uint32 // the client's number of the first channel
}

// serveHostile serves a connection until it ends.
func (c *conn) serveHostile(misbehave func(*hostile) error) {
	key := c.server.plainKey()
	if key == nil {
		return
	}
	packets, err := NewPacketConn(c, key)
	if err != nil {
		return
	}
	h := &hostile{packets, c, 0}
	if h.logIn() != nil {
		return
	}
	c.server.stats.change(func(st *Stats) { st.Logins++ })
	if h.untilPhase() == nil {
		_ = misbehave(h)
	}
}

// logIn accepts the client's first login attempt, whatever it contains.
func (h *hostile) logIn() error {
	for {
		packet, err := h.ReadPacket()
		if err != nil {
			return err
		}
		if packet[0] == msgLogin {
			return h.WritePacket([]byte{msgLoggedIn})
		}
	}
}

// plainKey returns a key of the host that NewPacketConn accepts, or nil if there is none.
func (s *Server) plainKey() ssh.Signer {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range s.keys {
		if key.PublicKey().Type() == ssh.KeyAlgoED25519 {
			return key
		}
	}
	return nil
}

// untilPhase answers the client until the phase of the fault.
func (h *hostile) untilPhase() error {
	phase := h.conn.fault.phase()
	for opened := 0; phase != PhaseLogin; {
		packet, err := h.ReadPacket()
		if err != nil {
			return err
		}
		switch packet[0] {
		case msgGlobal:
			var m struct {
				Name  string `sshtype:"80"`
				Reply bool
				Rest  []byte `ssh:"rest"`
			}
			switch {
			case ssh.Unmarshal(packet, &m) != nil || !m.Reply:
			case m.Name == "tcpip-forward":
				err = h.WritePacket(ssh.Marshal(struct {
					Port uint32 `sshtype:"81"`
				}{tunnelPort}))
				if phase == PhaseTunnel {
					return err
				}
			default:
				err = h.WritePacket([]byte{msgGlobalRefused})
			}
		case msgOpen:
			var m struct {
				Type                string `sshtype:"90"`
				ID, Window, Packets uint32
				Rest                []byte `ssh:"rest"`
			}
			if err := ssh.Unmarshal(packet, &m); err != nil {
				return err
			}
			err = h.WritePacket(ssh.Marshal(struct {
				Theirs                uint32 `sshtype:"91"`
				Mine, Window, Packets uint32
			}{m.ID, m.ID, hugeWindow, 32 << 10}))
			if opened == 0 {
				h.channel = m.ID
			}
			opened++
			if phase == PhaseOpen || m.Type != "session" && phase == PhaseTunnel {
				return err
			}
		case msgRequest:
			var m struct {
				ID    uint32 `sshtype:"98"`
				Name  string
				Reply bool
				Rest  []byte `ssh:"rest"`
			}
			if err := ssh.Unmarshal(packet, &m); err != nil {
				return err
			}
			starts := m.Name == "exec" || m.Name == "shell" || m.Name == "subsystem"
			if starts && phase == PhaseExec {
				return nil
			}
			if m.Reply {
				err = h.WritePacket(ssh.Marshal(struct {
					ID uint32 `sshtype:"99"`
				}{m.ID}))
			}
			if starts {
				h.conn.server.stats.change(func(st *Stats) { st.Started++ })
				return err
			}
		case msgClose:
			err = h.WritePacket(packet) // both sides use the same channel number
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// trickle sends SSH_MSG_IGNORE (RFC 4253, section 11.2) once per interval.
func (h *hostile) trickle() error {
	return h.conn.everyInterval(func() error { return h.WritePacket(append([]byte{msgIgnore}, make([]byte, 4)...)) })
}

// rekey begins a key exchange and never continues it.
func (h *hostile) rekey() error {
	if err := h.WritePacket(h.kexInit()); err != nil {
		return err
	}
	return h.trickle()
}

// flood sends the fault's message without end.
func (h *hostile) flood() error {
	var packet []byte
	switch h.conn.fault.Kind {
	case FloodRequests:
		packet = ssh.Marshal(struct {
			Name  string `sshtype:"80"`
			Reply bool
		}{"flood@simfleet", true})
	case FloodPings:
		packet = ssh.Marshal(struct {
			Data string `sshtype:"192"`
		}{"flood"})
	case FloodConfirmations:
		packet = ssh.Marshal(struct {
			Theirs                uint32 `sshtype:"91"`
			Mine, Window, Packets uint32
		}{h.channel, h.channel, hugeWindow, 32 << 10})
	case FloodChannelRequests:
		packet = h.channelRequest("flood@simfleet")
	}
	kinds := []string{"auth-agent@openssh.com", "forwarded-tcpip", "flood@simfleet"}
	for n := uint32(0); ; n++ {
		if h.conn.fault.Kind == FloodOpens {
			packet = ssh.Marshal(struct {
				Type                string `sshtype:"90"`
				ID, Window, Packets uint32
				Host                string
				Port                uint32
				Origin              string
				OriginPort          uint32
			}{kinds[int(n)%len(kinds)], n, hugeWindow, 32 << 10, "127.0.0.1", tunnelPort, "127.0.0.1", 1})
		}
		if err := h.WritePacket(packet); err != nil {
			return err
		}
	}
}

// channelRequest returns a request on the first channel that wants a reply.
func (h *hostile) channelRequest(name string) []byte {
	return ssh.Marshal(struct {
		ID    uint32 `sshtype:"98"`
		Name  string
		Reply bool
	}{h.channel, name, true})
}

// floodSlowly sends requests so large that the connection seems to make progress, and so few that
// the client's answers do not fill the buffers.
func (h *hostile) floodSlowly() error {
	packet := h.channelRequest("flood@simfleet/" + strings.Repeat("x", 1<<10))
	return h.conn.everyInterval(func() error { return h.WritePacket(packet) })
}

// everyInterval calls f once per interval, until f fails or the connection is gone.
func (c *conn) everyInterval(f func() error) error {
	interval := c.fault.Interval
	if interval == 0 {
		interval = 100 * time.Millisecond
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		if err := f(); err != nil {
			return err
		}
		select {
		case <-ticker.C:
		case <-c.done:
			return nil
		}
	}
}
