// Package topic has the texts of help that belong to no verb: the overview, and one page for each
// subject that several verbs share.
package topic

import (
	"embed"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/help"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/internal/nearest"
)

//go:embed *.txt
var texts embed.FS

// Names are the topics in the order in which they are listed.
var Names = []string{"hosts", "login", "formats", "exit-codes", "environment", "files"}

// Text returns the page of a topic, in the form of [help.Parse]. It returns "" if there is none.
func Text(name string) string {
	for _, known := range Names {
		if name == known {
			return text(name)
		}
	}
	return ""
}

// text returns a text with its parts from other packages.
func text(name string) string {
	data, err := texts.ReadFile(name + ".txt")
	if err != nil {
		panic(err) // it is in the program
	}
	logins := strings.TrimSpace(strings.TrimPrefix(selection.Help, selection.ExprHelp))
	return strings.NewReplacer("@EXIT@", exit.Help(), "@EXPR@", selection.ExprHelp, "@LOGIN@", logins).Replace(string(data))
}

// Overview returns the help of the program.
func Overview() string {
	var rows strings.Builder
	for _, name := range Names {
		summary := help.Parse(text(name)).Summary()
		fmt.Fprintf(&rows, "  %-11s %s\n", name, strings.ToLower(summary[:1])+summary[1:])
	}
	return strings.Replace(text("overview"), "@TOPICS@\n", rows.String()+"\n", 1)
}

// Brief returns the help of the program on one screen.
func Brief() string { return strings.Replace(text("brief"), "@NAMES@", strings.Join(Names, ", "), 1) }

// Pages returns the manual pages of the program and of all topics, by file name.
func Pages(root *cobra.Command) map[string]string {
	pages := make(map[string]string)
	also := []help.Parts{help.Parse(Text("files")), help.Parse(Text("environment"))}
	for _, cmd := range append(help.Verbs(root), root) {
		pages[help.PageName(cmd)+".1"] = help.Page(cmd, also[0], also[1])
	}
	for _, name := range Names {
		pages["fleetssh-"+name+".7"] = help.TopicPage(name, Text(name))
	}
	return pages
}

// NewHelp returns the verb help. show shows a text.
func NewHelp(show func(string)) *cobra.Command {
	return &cobra.Command{
		Use:   "help [VERB|TOPIC]",
		Short: "Show the help of a verb or a topic",
		Args:  cobra.ArbitraryArgs,
		ValidArgsFunction: func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
			about := cmd.Root()
			if found, _, err := about.Find(args); err == nil {
				about = found
			}
			names := help.VerbNames(about)
			if len(args) == 0 {
				names = append(names, Names...)
			}
			return help.WithPrefix(word, "", names), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			about := cmd.Root()
			if len(args) > 0 {
				if page := Text(args[0]); page != "" && len(args) == 1 {
					if found, _, err := about.Find(args); err == nil && found != about {
						page += "\nThe verb of this name: fleetssh " + args[0] + " --help\n"
					}
					show(page)
					return nil
				}
				found, _, err := about.Find(args)
				if err != nil || found == about {
					return unknown(about, args[0])
				}
				about = found
			}
			show(help.Text(about))
			return nil
		},
	}
}

// unknown returns the error for help about an unknown name.
func unknown(root *cobra.Command, name string) error {
	if near := nearest.Names(name, Names); len(near) > 0 {
		return exit.UsageError(nearest.Hint(near), "unknown topic %q", name)
	}
	return help.UnknownVerb(root, name)
}
