package transfer

import (
	_ "embed" // for the programs

	"fleetssh/internal/shellquote"
)

// The programs for sh that hosts run around a copy.
var (
	//go:embed hash.sh
	hashText string
	//go:embed sync.sh
	syncText string
	//go:embed scp_top.sh
	scpTopText string
	//go:embed scp_rename.sh
	scpRenameText string
	//go:embed scp_dirs.sh
	scpDirsText string
	//go:embed scp_empty.sh
	scpEmptyText string
	//go:embed scp_sync.sh
	scpSyncText string

	hashProgram      = shellquote.OneLine(hashText)
	syncProgram      = shellquote.OneLine(syncText)
	scpTopProgram    = shellquote.OneLine(scpTopText)
	scpRenameProgram = shellquote.OneLine(scpRenameText)
	scpDirsProgram   = shellquote.OneLine(scpDirsText)
	scpEmptyProgram  = shellquote.OneLine(scpEmptyText)
	scpSyncProgram   = shellquote.OneLine(scpSyncText)
)

// programLine returns the command line that runs a program with arguments.
func programLine(program string, args ...string) string {
	return shellquote.Join(append([]string{"sh", "-c", program, "sh"}, args...)...)
}

// The bounds of one command line: how many files it names, and how many bytes their names take.
const (
	maxLineFiles = 200
	maxLineBytes = 64 << 10
)

// fitOnLine returns how many of n files one command line can name. nameSize returns how many bytes
// the words for a file take.
func fitOnLine(n int, nameSize func(i int) int) int {
	count := 0
	for size := 0; count < min(n, maxLineFiles) && size < maxLineBytes; count++ {
		size += nameSize(count)
	}
	return count
}
