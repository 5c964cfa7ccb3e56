package personality

import (
	"errors"
	"strings"
)

// sshLetters returns the options of ssh that other tools pass on: clush -o, pssh -x, PDSH_SSH_ARGS.
// ssh itself is not a personality.
func sshLetters() *personality {
	forward := "use ssh, or fleetssh tunnel, for forwarding"
	return &personality{name: "ssh", options: []toolOption{
		{names: []string{"-l"}, value: "USER", ours: "--login"},
		{names: []string{"-p"}, value: "PORT", ours: "--port"},
		{names: []string{"-i"}, value: "FILE", ours: "--identity"},
		{names: []string{"-J"}, value: "HOP", ours: "--jump"},
		{names: []string{"-F"}, value: "FILE", ours: "-F"},
		{names: []string{"-o"}, value: "KEY=VALUE", ours: "-o"},
		{names: []string{"-S"}, value: "PATH", ours: "--control-path"},
		{names: []string{"-A"}, ours: "--forward-agent"},
		{names: []string{"-4"}, ours: "--ipv4"},
		{names: []string{"-6"}, ours: "--ipv6"},
		{names: []string{"-K"}, ours: "--delegate"},
		{names: []string{"-t"}, ours: "--tty"},
		// These have no effect.
		{names: []string{"-2"}},
		{names: []string{"-a"}},
		{names: []string{"-k"}},
		{names: []string{"-n"}},
		{names: []string{"-q"}},
		{names: []string{"-T"}},
		{names: []string{"-x"}},
		{names: []string{"-v"}, unsupported: "fleetssh explain and fleetssh check show what happens"},
		{names: []string{"-C"}, unsupported: "there is no compression"},
		{names: []string{"-X"}, unsupported: "X11 is not forwarded; ssh does that"},
		{names: []string{"-Y"}, unsupported: "X11 is not forwarded; ssh does that"},
		{names: []string{"-N"}, unsupported: "fleetssh check logs in and runs nothing"},
		{names: []string{"-c"}, value: "CIPHERS", unsupported: "-o Ciphers=LIST"},
		{names: []string{"-m"}, value: "MACS", unsupported: "-o MACs=LIST"},
		{names: []string{"-L"}, value: "FORWARD", unsupported: forward},
		{names: []string{"-R"}, value: "FORWARD", unsupported: forward},
		{names: []string{"-D"}, value: "PORT", unsupported: forward},
	}}
}

// ssh translates options of ssh.
func (t *translation) ssh(words []string) error {
	s := &translation{Environment: t.Environment, tool: sshLetters(), values: make(map[string][]string)}
	if err := s.read(words); err != nil {
		return err
	}
	if len(s.command) > 0 {
		return t.optionError("options of ssh", s.command[0]+" is not an option")
	}
	t.args = append(t.args, s.args...)
	return nil
}

// splitWords splits a line into words as a shell does. It supports quotes and backslashes only.
func splitWords(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	inWord, escaped, quote := false, false, rune(0)
	for _, r := range line {
		switch {
		case escaped:
			if quote == '"' && r != '"' && r != '\\' {
				word.WriteByte('\\')
			}
			word.WriteRune(r)
			escaped = false
		case r == '\\' && quote != '\'':
			inWord, escaped = true, true
		case r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			inWord, quote = true, r
		case r == ' ' || r == '\t' || r == '\n':
			if inWord {
				words = append(words, word.String())
			}
			word.Reset()
			inWord = false
		default:
			inWord = true
			word.WriteRune(r)
		}
	}
	if escaped || quote != 0 {
		return nil, errors.New("a quote is not closed")
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}
