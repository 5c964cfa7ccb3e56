package main

import (
	"cmp"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/personality"
)

// toolOptions are the options of each tool, from its manual and its help: pdsh 2.35 with all its
// modules, ClusterShell 1.9.3, pssh 2.3.5, and dshbak.
var toolOptions = map[string]string{
	"pdsh":   "-w -x -S -h -s -q -b -l -t -u -f -R -M -L -N -d -V -K -Q -k -a -A -g -X -i -F -v -j -P -C",
	"dshbak": "-h -c -d -f",
	"clush": `--version -h --help -s --groupsource -n --nostdin --sudo --groupsconf --conf -O --option -w -x -a --all -g --group -X
		--hostfile --machinefile --topology --pick -q --quiet -v --verbose -d --debug -G --groupbase -L -N -P --progress -b --dshbak
		-B -r --regroup -S --maxrc --color --diff --outdir --errdir -c --copy --rcopy --dest -p -f --fanout -l --user -o --options
		-t --connect_timeout -u --command_timeout -m --mode -R --worker --remote`,
	"pssh": `--version --help -h --hosts -H --host -l --user -p --par -o --outdir -e --errdir -t --timeout -O --option -v --verbose
		-A --askpass -x --extra-args -X --extra-arg -g --host-glob -i --inline --inline-stdout -I --send-input -P --print`,
	"pdcp":   "-w -x -h -q -b -l -t -u -f -R -M -L -r -p -e -z -d -V -k -a -A -g -X -i -F -j -P -C",
	"rpdcp":  "-w -x -h -q -b -l -t -u -f -R -M -L -r -p -e -d -V -k -a -A -g -X -i -F -j -P -C",
	"pscp":   "--version --help -h --hosts -H --host -l --user -p --par -o --outdir -e --errdir -t --timeout -O --option -v --verbose -A --askpass -x --extra-args -X --extra-arg -g --host-glob -r --recursive",
	"pslurp": "--version --help -h --hosts -H --host -l --user -p --par -o --outdir -e --errdir -t --timeout -O --option -v --verbose -A --askpass -x --extra-args -X --extra-arg -g --host-glob -r --recursive -L --localdir",
}

// values are the values for options that do not accept every text, by the placeholder in the help.
var values = map[string]string{"SECONDS": "5", "N": "5", "NAME": "ssh", "WORKER": "ssh", "MODE": "sudo", "WHEN": "never",
	"OPTIONS": "-p 5", "ARGS": "-p 5", "ARG": "-A", "KEY=VALUE": "Port=5"}

// companions are the arguments without which an option has no meaning.
var companions = map[string][]string{"clush --dest": {"--copy", "f"}, "clush -p": {"--copy", "f"}}

// takesValue matches the error about an option whose value is missing.
var takesValue = regexp.MustCompile(`: it takes (?:a value|value(s)): (.*)$`)

// Every option of a tool is translated to options that fleetssh accepts, or is refused by an error
// that names it and says what to do.
func TestEveryOptionOfToolsIsCovered(t *testing.T) {
	t.Parallel()
	translate := func(line ...string) ([]string, error) {
		return personality.Translate(line, personality.Environment{Getenv: func(string) string { return "" }})
	}
	for tool, options := range toolOptions {
		for _, option := range strings.Fields(options) {
			line := []string{"--as", tool, option}
			_, err := translate(line...)
			needs := takesValue.FindStringSubmatch(fmt.Sprint(err))
			if needs != nil {
				line = append(line, cmp.Or(values[needs[2]], "some"))
			}
			if with := companions[tool+" "+option]; with != nil {
				line = append(line, with...)
			} else if needs == nil || needs[1] == "" {
				line = append(line, "true", "target")
			}
			args, err := translate(line...)
			if err != nil {
				f, ok := errors.AsType[*exit.Error](err)
				if !ok || f.Hint == "" || !strings.HasSuffix(f.Text, option+" is not supported") {
					t.Errorf("%s %s: %v", tool, option, err)
				}
				continue
			}
			if args[0] == "help" {
				args = args[1:]
			}
			root := newRoot(new(app), verbs...)
			cmd, rest, err := root.Find(args)
			if err != nil || cmd == root {
				t.Errorf("%s %s: %q: %v", tool, option, args, err)
			} else if err := cmd.ParseFlags(rest); err != nil {
				t.Errorf("%s %s: %q: %v", tool, option, args, err)
			}
		}
	}
}

// The list for pdsh includes every option of the pdsh that is installed.
func TestOptionsOfInstalledPdsh(t *testing.T) {
	t.Parallel()
	help, err := exec.CommandContext(t.Context(), "pdsh", "-h").CombinedOutput()
	found := regexp.MustCompile(`(?m)^-\w`).FindAllString(string(help), -1)
	if len(found) < 10 {
		t.Fatalf("pdsh -h (.ci/prepare installs it): %v\n%s", err, help)
	}
	for _, option := range found {
		if !slices.Contains(strings.Fields(toolOptions["pdsh"]), option) {
			t.Errorf("pdsh %s is not in the list", option)
		}
	}
}
