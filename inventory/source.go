package inventory

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"fleetssh/hostset"
)

const (
	maxSources = 1000
	maxAnswers = 20_000 // of upcalls, which are kept
)

// errNoUpcall says that a source has no upcall for a question.
var errNoUpcall = errors.New("the source has no such upcall")

// A source is a group source of ClusterShell. Its groups stand in a file, or are the answers of
// upcalls, which are shell commands. Each question is asked once.
type source struct {
	name string
	path string // of the file that the source is in
	line int

	groups map[string]string // in a file; nil with upcalls

	folder  string            // where upcalls run
	limit   time.Duration     // of each; zero means upcallTime
	upcalls map[string]string // map, all, list, reverse

	mu    sync.Mutex
	asked map[question]answer
}

type question struct{ upcall, subject string }

type answer struct {
	once func() (string, error)
	expr bool // whether the answer is an expression
}

// hosts returns the expression of a group, empty if the group is unknown.
func (s *source) hosts(group string) (string, error) {
	if s.upcalls == nil {
		return s.qualify(s.groups[group]), nil
	}
	expr, err := s.ask("map", group)
	return s.qualify(expr), err
}

// all returns the expression of all hosts.
func (s *source) all() (string, error) {
	if s.upcalls != nil && s.upcalls["all"] != "" {
		expr, err := s.ask("all", "")
		return s.qualify(expr), err
	}
	if expr, ok := s.groups[allGroup]; ok {
		return s.qualify(expr), nil
	}
	groups, err := s.list()
	if err != nil {
		return "", err
	}
	var exprs []string
	for _, group := range groups {
		exprs = append(exprs, "@"+s.name+":"+group)
	}
	return strings.Join(exprs, ","), nil
}

// everything is all with an error for users if the upcall is missing.
func (s *source) everything() (string, error) {
	expr, err := s.all()
	if errors.Is(err, errNoUpcall) {
		return "", s.fail("all hosts", errors.New("the source has neither an upcall all nor list"))
	}
	return expr, err
}

// list returns the names of the groups.
func (s *source) list() ([]string, error) {
	if s.upcalls == nil {
		return slices.Sorted(maps.Keys(s.groups)), nil
	}
	text, err := s.ask("list", "")
	return strings.Fields(text), err
}

// reverse returns the groups that contain a host. It resolves groups within groups of a file with
// resolve.
func (s *source) reverse(host string, resolve hostset.Groups) ([]string, error) {
	if s.upcalls != nil {
		text, err := s.ask("reverse", host)
		return strings.Fields(text), err
	}
	var in []string
	for _, group := range slices.Sorted(maps.Keys(s.groups)) {
		set, err := hostset.Parse(s.qualify(s.groups[group]), resolve)
		if err != nil {
			return nil, s.fail("group "+group, err)
		}
		if set.Contains(host) {
			in = append(in, group)
		}
	}
	return in, nil
}

func (s *source) fail(what string, err error) error {
	return &ParseError{Path: s.path, Line: s.line, Reason: "[" + s.name + "] " + what + ": " + err.Error(), err: err}
}

// answers returns the expressions of all groups that are known without running upcalls.
func (s *source) answers() []string {
	var exprs []string
	for _, expr := range s.groups {
		exprs = append(exprs, s.qualify(expr))
	}
	s.mu.Lock()
	asked := slices.Collect(maps.Values(s.asked))
	s.mu.Unlock()
	for _, a := range asked {
		if !a.expr {
			continue
		}
		if expr, err := a.once(); err == nil {
			exprs = append(exprs, s.qualify(expr))
		}
	}
	return exprs
}

// qualify adds the name of the source to the groups of an expression that have no source.
func (s *source) qualify(expr string) string {
	const ends = ",!&^ \t\r\n"
	var out strings.Builder
	for expr != "" {
		end := strings.IndexAny(expr, ends)
		if end < 0 {
			end = len(expr)
		}
		term := expr[:end]
		if group, ok := strings.CutPrefix(term, "@"); ok && !strings.Contains(group, ":") {
			term = "@" + s.name + ":" + group
		}
		out.WriteString(term)
		if expr = expr[end:]; expr != "" {
			out.WriteByte(expr[0])
			expr = expr[1:]
		}
	}
	return out.String()
}

// safeSubject matches names that are safe in a shell command, quoted or not.
var safeSubject = lazyRegexp(`^[\p{L}\p{N}_.:+=%/][\p{L}\p{N}_.:+=%/-]*$`)

// ask returns the answer of an upcall.
func (s *source) ask(upcall, subject string) (string, error) {
	command := s.upcalls[upcall]
	if command == "" {
		return "", errNoUpcall
	}
	what := strings.TrimSpace("upcall " + upcall + " " + subject)
	if subject != "" && !safeSubject().MatchString(subject) {
		return "", s.fail(what, errors.New("the name contains characters that are not safe in a shell command"))
	}
	q := question{upcall, subject}
	s.mu.Lock()
	a, found := s.asked[q]
	if !found {
		if len(s.asked) >= maxAnswers {
			s.mu.Unlock()
			return "", s.fail(what, errors.New("more than 20,000 different questions"))
		}
		if s.asked == nil {
			s.asked = make(map[question]answer)
		}
		a = answer{
			expr: upcall == "map",
			once: sync.OnceValues(func() (string, error) { return s.call(command, subject) }),
		}
		s.asked[q] = a
	}
	s.mu.Unlock()
	text, err := a.once()
	if err != nil {
		err = s.fail(what, err)
	}
	return text, err
}

// upcallVar matches a variable in the command of an upcall. It is replaced before the shell runs.
var upcallVar = lazyRegexp(`\$(?:\$|GROUP\b|NODE\b|SOURCE\b|CFGDIR\b|\{(?:GROUP|NODE|SOURCE|CFGDIR)\})`)

// call runs an upcall.
func (s *source) call(command, subject string) (string, error) {
	command = upcallVar().ReplaceAllStringFunc(command, func(name string) string {
		return map[string]string{
			"$": "$", "GROUP": subject, "NODE": subject, "SOURCE": s.name, "CFGDIR": s.folder,
		}[strings.Trim(name[1:], "{}")]
	})
	ctx, cancel := context.WithTimeout(context.Background(), cmp.Or(s.limit, upcallTime))
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", command)
	cmd.Dir = s.folder
	output, err := run(ctx, cmd)
	return strings.TrimSpace(string(output)), err
}
