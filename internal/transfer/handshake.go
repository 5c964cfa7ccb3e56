package transfer

import (
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/pkg/sftp"
)

// limits are the limits that a server announces (limits@openssh.com).
type limits struct {
	read, write uint64 // bytes of one request
	handles     uint64 // open files; 0: unknown
}

// serverDefaults are what every server takes (SFTP version 3, section 3).
var serverDefaults = limits{read: minBlock, write: minBlock}

// Packet types of SFTP (draft-ietf-secsh-filexfer-02). The SFTP library does not know
// limits@openssh.com and needs the sizes when it starts, so the handshake is done here.
const (
	packetInit          = 1
	packetVersion       = 2
	packetExtended      = 200
	packetExtendedReply = 201

	maxGreeting = 64 << 10 // bytes of a packet of the handshake
)

const limitsExtension = "limits@openssh.com"

// greeting is the result of the handshake.
type greeting struct {
	version   []byte // the VERSION packet, for the SFTP library
	limits    limits
	roundTrip time.Duration // 0: not measured
}

// greet does the handshake on a stream and asks for the server's limits.
func greet(rw io.ReadWriter) (*greeting, error) {
	if _, err := rw.Write([]byte{0, 0, 0, 5, packetInit, 0, 0, 0, 3}); err != nil {
		return nil, err
	}
	version, err := readPacket(rw)
	if err != nil {
		return nil, err
	}
	if version[4] != packetVersion || len(version) < 9 {
		return nil, &NotSFTPError{output: version}
	}
	g := &greeting{version: version, limits: serverDefaults}
	if !announces(version[9:], limitsExtension) {
		return g, nil
	}
	request := []byte{0, 0, 0, byte(1 + 4 + 4 + len(limitsExtension)), packetExtended, 0, 0, 0, 0, 0, 0, 0, byte(len(limitsExtension))}
	asked := time.Now()
	if _, err := rw.Write(append(request, limitsExtension...)); err != nil {
		return nil, err
	}
	reply, err := readPacket(rw)
	if err != nil {
		return nil, err
	}
	g.roundTrip = time.Since(asked)
	// Packet length, read length, write length, open handles; 0 means no limit.
	const head = 4 + 1 + 4
	if reply[4] != packetExtendedReply || len(reply) < head+4*8 {
		return g, nil
	}
	number := func(i int) uint64 { return binary.BigEndian.Uint64(reply[head+8*i:]) }
	sane := func(n uint64) uint64 {
		if n == 0 {
			return maxBlock
		}
		return max(1, min(n, maxBlock))
	}
	g.limits = limits{read: sane(number(1)), write: sane(number(2)), handles: number(3)}
	return g, nil
}

// NotSFTPError means that the SFTP subsystem sent something other than SFTP: the output of a login
// shell's start-up file, say, or the message of an account that may not log in.
type NotSFTPError struct {
	output []byte // the beginning of it
	exit   error  // the failure of the program that wrote it; nil: none, or it still runs
}

// Error implements [error].
func (e *NotSFTPError) Error() string {
	output := strings.TrimSpace(strings.ToValidUTF8(string(e.output), "\uFFFD"))
	text := "the host does not speak SFTP"
	if output != "" {
		text += fmt.Sprintf(": it says %q", output)
	}
	if e.exit != nil {
		return text + " (" + e.exit.Error() + ")"
	}
	// sshd's login shell reads its start-up files for every session: the classic cause.
	return text + " (does a start-up file of the login shell write that?)"
}

// withOutput adds to an error what the host wrote instead of an answer, such as the message of an
// account that may not log in.
func withOutput(err error, output []byte) error {
	text := strings.TrimSpace(strings.ToValidUTF8(string(output[:min(len(output), maxOutput)]), "\uFFFD"))
	if text == "" {
		return err
	}
	return fmt.Errorf("%w: the host says %q", err, text)
}

const (
	maxOutput  = 200                    // bytes of such output that are shown
	outputWait = 500 * time.Millisecond // how long to wait for more of it
)

// readRest reads more of the output and closes the stream.
func (e *NotSFTPError) readRest(stream Stream) {
	timer := time.AfterFunc(outputWait, func() { stream.Close() })
	defer timer.Stop()
	rest := make([]byte, max(0, maxOutput-len(e.output)))
	n, err := io.ReadFull(stream, rest)
	e.output = append(e.output, rest[:n]...)
	e.output = e.output[:min(len(e.output), maxOutput)]
	if err == nil {
		stream.Close()
		return
	}
	if exit := stream.Wait(); timer.Stop() { // the program ended by itself
		e.exit = exit
	}
}

// readPacket reads a packet, with its length field and at least one byte.
func readPacket(r io.Reader) ([]byte, error) {
	packet := make([]byte, 4, 64)
	if _, err := io.ReadFull(r, packet); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(packet)
	if n == 0 || n > maxGreeting {
		return nil, &NotSFTPError{output: packet}
	}
	packet = append(packet, make([]byte, n)...)
	_, err := io.ReadFull(r, packet[4:])
	return packet, err
}

// announces reports whether the list of a VERSION packet names an extension.
func announces(list []byte, extension string) bool {
	next := func() (text string, ok bool) {
		if len(list) < 4 {
			return "", false
		}
		n := binary.BigEndian.Uint32(list)
		if uint64(n) > uint64(len(list)-4) {
			return "", false
		}
		text, list = string(list[4:4+n]), list[4+n:]
		return text, true
	}
	for {
		name, ok := next()
		if !ok {
			return false
		}
		if _, ok := next(); !ok {
			return false
		}
		if name == extension {
			return true
		}
	}
}

// newClient hands the stream to the SFTP library. The library reads the VERSION packet that has come
// already, and its own INIT packet is dropped.
func (g *greeting) newClient(r io.Reader, w io.WriteCloser) (*sftp.Client, error) {
	size := int(max(g.limits.read, g.limits.write))
	return sftp.NewClientPipe(
		io.MultiReader(&oneShot{g.version}, r), &swallow{WriteCloser: w, n: 9},
		sftp.MaxPacketUnchecked(size), sftp.MaxConcurrentRequestsPerFile(8), sftp.UseFstat(true))
}

// oneShot is a reader of a few bytes.
type oneShot struct{ rest []byte }

func (o *oneShot) Read(p []byte) (int, error) {
	if len(o.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, o.rest)
	o.rest = o.rest[n:]
	return n, nil
}

// swallow is a writer that drops the first n bytes.
type swallow struct {
	io.WriteCloser
	n int
}

func (s *swallow) Write(p []byte) (int, error) {
	skip := min(s.n, len(p))
	s.n -= skip
	if skip == len(p) {
		return len(p), nil
	}
	n, err := s.WriteCloser.Write(p[skip:])
	return skip + n, err
}
