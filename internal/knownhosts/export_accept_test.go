package knownhosts

import "strings"

// Rewrite returns what Accept makes of the text of a file.
func Rewrite(text string, a Accepted) (string, error) {
	db := new(DB)
	if err := db.Read(strings.NewReader(text), "known_hosts"); err != nil {
		return "", err
	}
	r := &rewrite{file: "known_hosts", text: text}
	err := r.accept(db, &a)
	return r.text + r.more.String(), err
}
