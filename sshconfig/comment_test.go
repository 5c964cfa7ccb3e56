package sshconfig_test

import (
	"go/parser"
	"go/token"
	"strings"
	"testing"
)

// packageComment returns the package comment in one line.
func packageComment(t testing.TB) string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "doc.go", nil, parser.ParseComments|parser.PackageClauseOnly)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(file.Doc.Text()), " ")
}
