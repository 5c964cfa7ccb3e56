package transport

import "io"

// Carry copies until a read or write fails, and returns that error, which is io.EOF at the end of
// from. Most connections are idle most of the time, so the buffer starts small and grows if needed.
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
