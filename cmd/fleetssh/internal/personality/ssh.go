package personality

import (
	"errors"
	"strings"
)

// sshLetters returns the options of ssh that other tools pass on: clush -o, pssh -x, PDSH_SSH_ARGS.
// ssh itself is not a personality.
func sshLetters() *personality {
	forward := "forwards are not for many hosts; ssh makes them"
	return &personality{name: "ssh", options: []toolOption{
		{names: []string{"-l"}, value: "USER", same: "--login"},
		{names: []string{"-p"}, value: "PORT", same: "--port"},
		{names: []string{"-i"}, value: "FILE", same: "--identity"},
		{names: []string{"-J"}, value: "HOP", same: "--jump"},
		{names: []string{"-F"}, value: "FILE", same: "-F"},
		{names: []string{"-o"}, value: "KEY=VALUE", same: "-o"},
		{names: []string{"-S"}, value: "PATH", same: "--control-path"},
		{names: []string{"-A"}, same: "--forward-agent"},
		{names: []string{"-4"}, same: "--ipv4"},
		{names: []string{"-6"}, same: "--ipv6"},
		{names: []string{"-K"}, same: "--delegate"},
		{names: []string{"-t"}, same: "--tty"},
		// These change nothing here.
		{names: []string{"-2"}},
		{names: []string{"-a"}},
		{names: []string{"-k"}},
		{names: []string{"-n"}},
		{names: []string{"-q"}},
		{names: []string{"-T"}},
		{names: []string{"-x"}},
		{names: []string{"-v"}, instead: "fleetssh explain and fleetssh check say what happens"},
		{names: []string{"-C"}, instead: "nothing is compressed"},
		{names: []string{"-X"}, instead: "X11 is not forwarded; ssh does that"},
		{names: []string{"-Y"}, instead: "X11 is not forwarded; ssh does that"},
		{names: []string{"-N"}, instead: "fleetssh check logs in and runs nothing"},
		{names: []string{"-c"}, value: "CIPHERS", instead: "-o Ciphers=LIST"},
		{names: []string{"-m"}, value: "MACS", instead: "-o MACs=LIST"},
		{names: []string{"-L"}, value: "FORWARD", instead: forward},
		{names: []string{"-R"}, value: "FORWARD", instead: forward},
		{names: []string{"-D"}, value: "PORT", instead: forward},
	}}
}

// ssh translates options of ssh.
func (t *translation) ssh(words []string) error {
	s := &translation{Environment: t.Environment, tool: sshLetters(), values: make(map[string][]string)}
	if err := s.read(words); err != nil {
		return err
	}
	if len(s.command) > 0 {
		return t.fault("options of ssh", s.command[0]+" is not an option")
	}
	t.args = append(t.args, s.args...)
	return nil
}

// splitWords splits a line into words as a shell does. It knows quotes and backslashes, and no more.
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
