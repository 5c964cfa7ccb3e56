//go:build unix

package tty

import (
	"cmp"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

// resized returns a channel that receives when the size of the terminal may have changed, until end
// is called.
func resized() (changes <-chan os.Signal, end func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGWINCH)
	return signals, func() { signal.Stop(signals) }
}

// usualSpeed is the speed of pseudo-terminals, in bits per second.
const usualSpeed = 38400

// Modes returns the modes of the terminal (RFC 4254, section 8), for the terminal of the host. Call
// it before [Terminal.Attach], which changes them.
func (t *Terminal) Modes() ssh.TerminalModes {
	state, err := unix.IoctlGetTermios(int(t.in.Fd()), getTermios)
	if err != nil {
		return nil
	}
	modes := ssh.TerminalModes{
		ssh.TTY_OP_ISPEED: cmp.Or(uint32(state.Ispeed), usualSpeed),
		ssh.TTY_OP_OSPEED: cmp.Or(uint32(state.Ospeed), usualSpeed),
	}
	for mode, i := range map[uint8]int{
		ssh.VINTR: unix.VINTR, ssh.VQUIT: unix.VQUIT, ssh.VERASE: unix.VERASE, ssh.VKILL: unix.VKILL, ssh.VEOF: unix.VEOF,
		ssh.VEOL: unix.VEOL, ssh.VEOL2: unix.VEOL2, ssh.VSTART: unix.VSTART, ssh.VSTOP: unix.VSTOP, ssh.VSUSP: unix.VSUSP,
		ssh.VREPRINT: unix.VREPRINT, ssh.VWERASE: unix.VWERASE, ssh.VLNEXT: unix.VLNEXT, ssh.VDISCARD: unix.VDISCARD,
	} {
		modes[mode] = uint32(state.Cc[i])
		if state.Cc[i] == noCharacter {
			modes[mode] = 255
		}
	}
	flag := func(mode uint8, set bool) {
		modes[mode] = 0
		if set {
			modes[mode] = 1
		}
	}
	for mode, bit := range map[uint8]uint64{
		ssh.IGNPAR: unix.IGNPAR, ssh.PARMRK: unix.PARMRK, ssh.INPCK: unix.INPCK, ssh.ISTRIP: unix.ISTRIP, ssh.INLCR: unix.INLCR,
		ssh.IGNCR: unix.IGNCR, ssh.ICRNL: unix.ICRNL, ssh.IXON: unix.IXON, ssh.IXANY: unix.IXANY, ssh.IXOFF: unix.IXOFF, ssh.IMAXBEL: unix.IMAXBEL,
	} {
		flag(mode, uint64(state.Iflag)&bit != 0)
	}
	for mode, bit := range map[uint8]uint64{
		ssh.ISIG: unix.ISIG, ssh.ICANON: unix.ICANON, ssh.ECHO: unix.ECHO, ssh.ECHOE: unix.ECHOE, ssh.ECHOK: unix.ECHOK, ssh.ECHONL: unix.ECHONL,
		ssh.NOFLSH: unix.NOFLSH, ssh.TOSTOP: unix.TOSTOP, ssh.IEXTEN: unix.IEXTEN, ssh.ECHOCTL: unix.ECHOCTL, ssh.ECHOKE: unix.ECHOKE, ssh.PENDIN: unix.PENDIN,
	} {
		flag(mode, uint64(state.Lflag)&bit != 0)
	}
	for mode, bit := range map[uint8]uint64{
		ssh.OPOST: unix.OPOST, ssh.ONLCR: unix.ONLCR, ssh.OCRNL: unix.OCRNL, ssh.ONOCR: unix.ONOCR, ssh.ONLRET: unix.ONLRET,
	} {
		flag(mode, uint64(state.Oflag)&bit != 0)
	}
	// CS8 is the only line setting that is sent: a pseudo-terminal supports neither other sizes nor
	// parity, and sshd sets one bit after the other.
	flag(ssh.CS8, uint64(state.Cflag)&unix.CSIZE == unix.CS8)
	if inputUTF8 != 0 {
		flag(ssh.IUTF8, uint64(state.Iflag)&inputUTF8 != 0)
	}
	return modes
}
