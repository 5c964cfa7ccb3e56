package main

import (
	"bytes"
	"cmp"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/termline"
	"fleetssh/hostset"
	"fleetssh/internal/account"
)

const completionHelp = `Write the script that lets a shell complete verbs, options, hosts and groups.

  source <(fleetssh completion bash)                         in ~/.bashrc
  source <(fleetssh completion zsh)                          in ~/.zshrc
  fleetssh completion fish | source                          in config.fish
  fleetssh completion powershell | Out-String | iex          in $PROFILE

usage: fleetssh completion bash|zsh|fish|powershell

The script for bash needs no other package. That for zsh goes behind compinit.

`

// completionShells are the shells that are known.
var completionShells = []string{"bash", "zsh", "fish", "powershell"}

func newCompletion(c *call) *cobra.Command {
	return &cobra.Command{
		Use:       "completion",
		Long:      completionHelp,
		ValidArgs: completionShells,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return exit.UsageError("fleetssh completion --help", "completion for which shell?")
			}
			return writeCompletion(cmd.Root(), args[0], screenWriter{c.screen})
		},
	}
}

func writeCompletion(root *cobra.Command, shell string, to io.Writer) error {
	switch shell {
	case "bash":
		_, err := io.WriteString(to, strings.ReplaceAll(bashCompletion, "@NAME@", root.Name()))
		return err
	case "zsh":
		return root.GenZshCompletion(to)
	case "fish":
		return root.GenFishCompletion(to, true)
	case "powershell":
		return root.GenPowerShellCompletionWithDesc(to)
	}
	return exit.UsageError("one of "+strings.Join(completionShells, ", "), "no completion for the shell %q", shell)
}

// screenWriter writes to standard output by way of the screen.
type screenWriter struct{ screen *termline.Screen }

func (p screenWriter) Write(text []byte) (int, error) {
	p.screen.Print(text)
	return len(text), nil
}

// bashCompletion is ours because the script of cobra needs the package
// bash-completion, runs what stands in the line, such as $(reboot), and cannot
// complete behind an "@", at which bash splits words.
const bashCompletion = `# Completion for @NAME@ in bash.
_@NAME@() {
    local IFS=$' \t\n' rest=${COMP_LINE:0:COMP_POINT} word cur prefix= out directive i
    local -a words=() args=()
    # Bash splits words at : = @ and others too: what stands together is one word.
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${rest#"${rest%%[![:space:]]*}"}
        [[ $i -eq 0 || $word != "$rest" ]] && words+=("")
        rest=$word
        ((i < COMP_CWORD)) && word=${COMP_WORDS[i]}
        words[${#words[@]} - 1]+=$word
        rest=${rest#"$word"}
    done
    # Quotes go away. Nothing in the line is run.
    for word in "${words[@]:1}"; do
        args+=("${word//[\'\"\\]/}")
    done
    out=$("${words[0]/#\~/$HOME}" __completeNoDesc "${args[@]}" 2>/dev/null) || return
    directive=${out##*:}
    cur=${words[${#words[@]} - 1]}
    [[ $cur == -*=* ]] && cur=${cur#*=}
    case $cur in
    [\'\"]*) cur=${cur:1} ;;
    *) prefix=${cur%"${cur##*["$COMP_WORDBREAKS"]}"} ;;
    esac
    prefix=${prefix%@} # bash replaces what is behind it, and an @ too
    COMPREPLY=()
    while IFS= read -r word; do
        [[ $word == "$cur"* && $word && $word != :* ]] && COMPREPLY+=("${word#"$prefix"}")
    done <<<"$out"
    ((directive & 2)) && compopt -o nospace 2>/dev/null
    ((${#COMPREPLY[@]} || directive & 4)) && return
    compopt -o filenames 2>/dev/null
    out=-f
    ((directive & 16)) && out=-d
    while IFS= read -r word; do
        COMPREPLY+=("$word")
    done < <(compgen $out -- "${cur#"$prefix"}")
}
complete -F _@NAME@ @NAME@
`

// A knower returns the hosts and groups that a command line may mean, as far as
// that is known without asking the network. cmd has its flags.
type knower func(cmd *cobra.Command) (hosts, groups []string)

// completable makes the commands answer what a shell asks when a word is to be
// completed. Nothing is done where args ask nothing.
func completable(root *cobra.Command, args []string, screen *termline.Screen, known knower) error {
	if len(args) == 0 || args[0] != cobra.ShellCompRequestCmd && args[0] != cobra.ShellCompNoDescRequestCmd {
		return nil
	}
	root.SetOut(screenWriter{screen})
	root.SetErr(io.Discard)
	for _, verb := range verbsBelow(root) {
		help := parseHelp(verb.Long)
		verb.Short = cmp.Or(verb.Short, help.first())
		if verb.ValidArgs == nil && verb.ValidArgsFunction == nil {
			verb.ValidArgsFunction = completeArgs(help.usage(), known)
		}
		var err error
		verb.Flags().VisitAll(func(flag *pflag.Flag) {
			value, text := help.option(flag.Name)
			flag.Usage = cmp.Or(text, flag.Usage)
			if complete := completeFlag(flag, value, known); complete != nil && err == nil {
				err = verb.RegisterFlagCompletionFunc(flag.Name, complete)
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// completeArgs returns how the arguments of a verb are completed.
func completeArgs(usage []string, known knower) cobra.CompletionFunc {
	_, args, _ := strings.Cut(strings.Join(usage[:min(len(usage), 1)], ""), "[options]")
	switch {
	case strings.Contains(args, "HOST") || strings.Contains(args, "EXPR"):
		return completeHosts(known)
	case strings.Contains(args, "COMMAND") || strings.Contains(args, "FILE") || strings.Contains(args, "DIR") || strings.Contains(args, "LOCAL"):
		return nil // with files
	}
	return cobra.NoFileCompletions
}

// completeFlag returns how the value of a flag is completed, by what the help calls
// it, nil for files.
func completeFlag(flag *pflag.Flag, value string, known knower) cobra.CompletionFunc {
	if choice, ok := flag.Value.(interface{ Choices() []string }); ok {
		return cobra.FixedCompletions(choice.Choices(), cobra.ShellCompDirectiveNoFileComp)
	}
	switch {
	case flag.NoOptDefVal != "": // takes none
		return nil
	case flag.Name == "group":
		return completeGroups(known)
	case value == "EXPR" || strings.HasPrefix(value, "HOP"):
		return completeHosts(known)
	case value == "DIR":
		return cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs)
	case strings.HasPrefix(value, "FILE") || value == "PATH":
		return nil
	}
	return cobra.NoFileCompletions
}

func completeGroups(known knower) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
		_, groups := known(cmd)
		return beginningWith(word, "", groups), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeHosts completes the last name of an expression: a host, with or without
// a user, or a group behind "@".
func completeHosts(known knower) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
		hosts, groups := known(cmd)
		begin := strings.LastIndexAny(word, ",!&^") + 1
		if at := strings.LastIndexByte(word, '@'); at == begin {
			groups = append(append(groups, "*"), classesOfRuns(word[at+1:])...)
			return beginningWith(word[at+1:], word[:at+1], groups), cobra.ShellCompDirectiveNoFileComp
		} else if at > begin {
			begin = at + 1
		}
		return beginningWith(word[begin:], word[:begin], hosts), cobra.ShellCompDirectiveNoFileComp
	}
}

// beginningWith returns the names that begin so, in natural order, behind before.
func beginningWith(begin, before string, names []string) []string {
	var found []string
	for name := range hostset.Of(names...).All() {
		if strings.HasPrefix(name, begin) {
			found = append(found, before+name)
		}
	}
	return found
}

// maxKnownHosts is how much is read of a file of known hosts.
const maxKnownHosts = 16 << 20

// knownByKey returns the hosts of ~/.ssh/known_hosts, or of --known-hosts, as far
// as their names are not hashed.
func knownByKey(cmd *cobra.Command) (hosts, groups []string) {
	path := ""
	if flag := cmd.Flags().Lookup("known-hosts"); flag != nil {
		path = flag.Value.String()
	}
	if path == "" {
		home, err := account.Home()
		if err != nil {
			return nil, nil
		}
		path = filepath.Join(home, ".ssh", "known_hosts")
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, nil
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxKnownHosts))
	if err != nil {
		return nil, nil
	}
	for line := range bytes.Lines(text) {
		hosts = append(hosts, hostsOfKey(string(line))...)
	}
	return hosts, nil
}

// hostsOfKey returns the names in a line of known_hosts, as they are written with
// -w. Hashes, patterns and lines with a marker name no host.
func hostsOfKey(line string) []string {
	fields := strings.Fields(line)
	if len(fields) < 3 || strings.ContainsAny(fields[0][:1], "#@|") {
		return nil
	}
	names := strings.Split(fields[0], ",")
	names = slices.DeleteFunc(names, func(name string) bool { return strings.ContainsAny(name, "*?!") })
	for i, name := range names {
		host, port, ok := strings.Cut(strings.TrimPrefix(name, "["), "]:")
		switch {
		case strings.Contains(host, ":") && ok:
			names[i] = "[" + host + "]:" + port
		case strings.Contains(host, ":"):
			names[i] = "[" + host + "]"
		case ok:
			names[i] = host + ":" + port
		}
	}
	return names
}

// nearest returns the names that are spelled most like one that is not known: up
// to three, none that is too different.
func nearest(name string, names []string) []string {
	best := max(len(name)/3, 1)
	var found []string
	for _, n := range names {
		switch d := misspelled(name, n); {
		case d > best:
		case d < best:
			best, found = d, []string{n}
		case !slices.Contains(found, n):
			found = append(found, n)
		}
	}
	return found[:min(len(found), 3)]
}

// misspelled returns how many letters must be changed, added, left out or swapped
// with the next to make one word of another.
func misspelled(a, b string) int {
	var before []int // the row for a[:i-1]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		next := make([]int, len(row))
		next[0] = i + 1
		for j := range len(b) {
			changed := row[j]
			if a[i] != b[j] {
				changed++
			}
			next[j+1] = min(changed, row[j+1]+1, next[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}
