package help

import (
	"cmp"
	"io"
	"net"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/hostset"
	"fleetssh/internal/account"
	"fleetssh/internal/knownhosts"
	"fleetssh/internal/nearest"
)

// Shells are the shells that [WriteScript] supports.
var Shells = []string{"bash", "zsh", "fish", "powershell"}

// WriteScript writes the completion script of a shell for the command lines of root. It returns an
// [*exit.Error] for an unknown shell.
func WriteScript(root *cobra.Command, shell string, to io.Writer) error {
	switch shell {
	case "bash":
		_, err := io.WriteString(to, strings.ReplaceAll(bashCompletion, "@NAME@", root.Name()))
		return err
	case "zsh":
		_, err := io.WriteString(to, strings.ReplaceAll(zshCompletion, "@NAME@", root.Name()))
		return err
	case "fish":
		return root.GenFishCompletion(to, true)
	case "powershell":
		return root.GenPowerShellCompletionWithDesc(to)
	}
	return exit.UsageError(nearest.Hint(nearest.Names(shell, Shells)), "no completion for the shell %q: want one of %s", shell, strings.Join(Shells, ", "))
}

// bashCompletion replaces the script of cobra, which needs the package bash-completion, executes
// substitutions in the line, such as $(reboot), and cannot complete a word after "@", where bash splits
// words.
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

// zshCompletion replaces the script of cobra, which evaluates the line: it executes substitutions, and
// finds nothing for words with brackets, which are patterns to zsh. The alias is for brackets, too: an
// expression such as web[1-20] needs no quotes behind noglob. The function calls itself when zsh has
// loaded the file through fpath, in order to complete the word in hand.
const zshCompletion = `#compdef @NAME@
# Completion for @NAME@ in zsh.

# Without noglob, brackets in the names of hosts are patterns, which match no file.
alias @NAME@='noglob @NAME@'

_@NAME@() {
    local out directive line name
    local -a completions space
    # Quotes go away. Nothing in the line is run.
    out=$("${${(Q)words[1]}/#\~/$HOME}" __complete "${(@)words[2,CURRENT]//[\'\"\\]/}" 2>/dev/null) || return
    directive=${out##*:}
    for line in "${(@f)out}"; do
        [[ -z $line || $line == :<-> ]] && continue
        name=${line%%$'\t'*}
        [[ $line == *$'\t'* ]] && line=${name//:/\\:}:${line#*$'\t'} || line=${name//:/\\:}
        completions+=("$line")
    done
    [[ $words[CURRENT] == -*=* ]] && compset -P '*='
    ((directive & 2)) && space=(-S '')
    ((${#completions})) && _describe -V completion completions $space && return
    ((directive & 4)) && return 1
    if ((directive & 16)); then
        _arguments '*:dirname:_files -/'
    else
        _arguments '*:filename:_files'
    fi
}

if [[ $funcstack[1] == _@NAME@ ]]; then
    _@NAME@ "$@"
else
    compdef _@NAME@ @NAME@
fi
`

// NameSource returns the hosts and groups that a command line may name, without network access.
// cmd has the flags of the line.
type NameSource func(cmd *cobra.Command) (hosts, groups []string)

// Complete prepares the commands for a completion request of a shell. It does nothing if args are not
// such a request.
func Complete(root *cobra.Command, args []string, out io.Writer, known NameSource) error {
	if len(args) == 0 || args[0] != cobra.ShellCompRequestCmd && args[0] != cobra.ShellCompNoDescRequestCmd {
		return nil
	}
	root.SetOut(out)
	root.SetErr(io.Discard)
	for _, verb := range Verbs(root) {
		help := Parse(verb.Long)
		verb.Short = cmp.Or(verb.Short, help.Summary())
		if verb.ValidArgs == nil && verb.ValidArgsFunction == nil {
			verb.ValidArgsFunction = completeArgs(help.Usage(), known)
		}
		var err error
		verb.Flags().VisitAll(func(flag *pflag.Flag) {
			value, text := help.Option(flag.Name)
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
func completeArgs(usage []string, known NameSource) cobra.CompletionFunc {
	_, args, _ := strings.Cut(strings.Join(usage[:min(len(usage), 1)], ""), "[options]")
	switch {
	case strings.Contains(args, "HOST") || strings.Contains(args, "EXPR"):
		return completeHosts(known)
	case strings.Contains(args, "COMMAND") || strings.Contains(args, "FILE") || strings.Contains(args, "DIR") || strings.Contains(args, "LOCAL"):
		return nil // file names
	}
	return cobra.NoFileCompletions
}

// completeFlag returns how the value of a flag is completed. value is its placeholder in the help. A nil
// function completes file names.
func completeFlag(flag *pflag.Flag, value string, known NameSource) cobra.CompletionFunc {
	if choice, ok := flag.Value.(chooser); ok {
		return cobra.FixedCompletions(choice.Choices(), cobra.ShellCompDirectiveNoFileComp)
	}
	switch {
	case flag.NoOptDefVal != "": // takes no value
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

func completeGroups(known NameSource) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
		_, groups := known(cmd)
		return WithPrefix(word, "", groups), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeHosts completes the last name of an expression: a host, with or without a user, or a group
// after "@".
func completeHosts(known NameSource) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
		hosts, groups := known(cmd)
		begin := strings.LastIndexAny(word, ",!&^") + 1
		if at := strings.LastIndexByte(word, '@'); at == begin {
			groups = append(append(groups, "*"), classesOfRuns(word[at+1:])...)
			return WithPrefix(word[at+1:], word[:at+1], groups), cobra.ShellCompDirectiveNoFileComp
		} else if at > begin {
			begin = at + 1
		}
		return WithPrefix(word[begin:], word[:begin], hosts), cobra.ShellCompDirectiveNoFileComp
	}
}

// WithPrefix returns the names that start with begin, in natural order, each with before in front.
func WithPrefix(begin, before string, names []string) []string {
	var found []string
	for name := range hostset.Of(names...).All() {
		if strings.HasPrefix(name, begin) {
			found = append(found, before+name)
		}
	}
	return found
}

// KnownHosts returns the hosts in ~/.ssh/known_hosts, or in the file of --known-hosts, unless
// their names are hashed.
func KnownHosts(cmd *cobra.Command) []string {
	path := ""
	if flag := cmd.Flags().Lookup("known-hosts"); flag != nil {
		path = flag.Value.String()
	}
	if path == "" {
		home, err := account.Home()
		if err != nil {
			return nil
		}
		path = filepath.Join(home, ".ssh", "known_hosts")
	}
	known := new(knownhosts.DB)
	known.TryFile(path)
	hosts := known.Names()
	for i, name := range hosts {
		hosts[i] = targetOf(name)
	}
	return hosts
}

// targetOf returns a name in known_hosts in the form of -w.
func targetOf(name string) string {
	host, port, withPort := strings.Cut(strings.TrimPrefix(name, "["), "]:")
	switch {
	case withPort:
		return net.JoinHostPort(host, port)
	case strings.Contains(name, ":"):
		return "[" + name + "]"
	}
	return name
}
