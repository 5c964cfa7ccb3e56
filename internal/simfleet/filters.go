package simfleet

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// lookupFilter returns a command that reads or writes a lot of data, or nil.
func lookupFilter(name string) func(*process) Status {
	switch name {
	case "cat":
		return cat
	case "head":
		return head
	case "wc":
		return count
	case "cksum":
		return checksum
	case "yes":
		return yes
	case "bytes":
		return manyBytes
	case "lines":
		return manyLines
	}
	return lookupFileCommand(name)
}

// cat is cat [FILE…].
func cat(p *process) Status {
	if len(p.args) == 2 && p.args[1] == bootIDFile {
		return p.println(p.stdout, p.shell.session.Server.BootID())
	}
	return p.inputs(p.args[1:], func(_ string, in io.Reader) error {
		_, err := io.Copy(p.stdout, in)
		return err
	})
}

// head is head -c N, head -n N or head -N, with files or stdin. From stdin it reads no byte more
// than it writes.
func head(p *process) Status {
	option, number, args := "-n", "10", p.args[1:]
	if len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' {
		first := args[0]
		args = args[1:]
		switch {
		case first != "-c" && first != "-n" && strings.Contains("-c-n", first[:2]):
			option, number = first[:2], first[2:]
		case strings.Trim(first[1:], "0123456789") == "":
			number = first[1:]
		case len(args) > 0:
			option, number, args = first, args[0], args[1:]
		default:
			number = ""
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || option != "-c" && option != "-n" {
		return p.fail(1, "invalid number: '%s'", number)
	}
	return p.inputs(args, func(_ string, in io.Reader) error {
		if option == "-c" {
			if _, err := io.CopyN(p.stdout, in, n); err != nil && err != io.EOF {
				return err
			}
			return nil
		}
		for range n {
			line, err := readLine(in)
			if err != nil {
				io.WriteString(p.stdout, line)
				break
			}
			p.println(p.stdout, line)
		}
		return nil
	})
}

// count is wc -c and wc -l, on stdin.
func count(p *process) Status {
	buffer := make([]byte, 32<<10)
	var lines, size int
	for {
		n, err := p.stdin.Read(buffer)
		size += n
		lines += bytes.Count(buffer[:n], []byte("\n"))
		if err != nil {
			break
		}
	}
	switch strings.Join(p.args[1:], " ") {
	case "-c":
		return p.println(p.stdout, strconv.Itoa(size))
	case "-l":
		return p.println(p.stdout, strconv.Itoa(lines))
	}
	return p.fail(1, "only -c and -l are supported")
}

// checksum is cksum as POSIX defines it: a CRC over the input and its length, then the length.
func checksum(p *process) Status {
	var table [256]uint32
	for i := range table {
		c := uint32(i) << 24
		for range 8 {
			carry := c>>31 != 0
			c <<= 1
			if carry {
				c ^= 0x04c11db7
			}
		}
		table[i] = c
	}
	var crc uint32
	size := 0
	in := bufio.NewReader(p.stdin)
	for {
		b, err := in.ReadByte()
		if err != nil {
			break
		}
		size++
		crc = crc<<8 ^ table[byte(crc>>24)^b]
	}
	for n := size; n > 0; n >>= 8 {
		crc = crc<<8 ^ table[byte(crc>>24)^byte(n)]
	}
	return p.println(p.stdout, fmt.Sprintf("%d %d", ^crc, size))
}

// yes writes until a write fails or the session ends.
func yes(p *process) Status {
	text := "y"
	if len(p.args) > 1 {
		text = strings.Join(p.args[1:], " ")
	}
	block := bytes.Repeat([]byte(text+"\n"), max(1, 16<<10/(len(text)+1)))
	for p.shell.session.context.Err() == nil {
		if _, err := p.stdout.Write(block); err != nil {
			break
		}
	}
	return Status{Code: 141}
}

// manyBytes writes a number of bytes, in lines of 64 with the newline.
func manyBytes(p *process) Status {
	n, err := p.number()
	if err != nil {
		return p.fail(1, "%s", err)
	}
	block := bytes.Repeat([]byte("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_\n"), 512)
	for n > 0 {
		written, err := p.stdout.Write(block[:min(n, len(block))])
		if err != nil {
			return Status{Code: 141}
		}
		n -= written
	}
	return Status{}
}

// manyLines writes "1 TEXT", "2 TEXT" and so on.
func manyLines(p *process) Status {
	n, err := p.number()
	if err != nil {
		return p.fail(1, "%s", err)
	}
	text := "line"
	if len(p.args) > 2 {
		text = strings.Join(p.args[2:], " ")
	}
	out := bufio.NewWriterSize(p.stdout, 32<<10)
	for i := range n {
		if _, err := fmt.Fprintf(out, "%d %s\n", i+1, text); err != nil {
			return Status{Code: 141}
		}
	}
	if out.Flush() != nil {
		return Status{Code: 141}
	}
	return Status{}
}

func (p *process) number() (int, error) {
	if len(p.args) < 2 {
		return 0, fmt.Errorf("missing number")
	}
	n, err := strconv.ParseUint(p.args[1], 10, 62)
	if err != nil {
		return 0, fmt.Errorf("invalid number %q", p.args[1])
	}
	return int(n), nil
}
