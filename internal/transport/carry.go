package transport

import "io"

// Carry copies until one side ends. Most connections idle most of the time: the
// buffer begins small and grows with what comes.
func Carry(to io.Writer, from io.Reader) error {
	const least, most = 2 << 10, 32 << 10
	buf := make([]byte, least)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return err
			}
			if n == len(buf) && n < most {
				buf = make([]byte, 2*n)
			}
		}
		if err != nil {
			return err
		}
	}
}
