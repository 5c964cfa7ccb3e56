package knownhosts

import "strings"

// Find returns the numbers and markers, as ssh-keygen -F prints them, of the
// lines with a key that are about a name.
func (db *DB) Find(name, key string) (numbers []int, markers []string) {
	name = lower(name)
	_, key, _ = strings.Cut(key, " ")
	lines := append(db.scans.lines(name, db.index.hashed), db.index.revoked[key]...)
	for l := range db.index.lines(name) {
		lines = append(lines, l)
	}
	for _, l := range lines {
		if l.key == key && l.matches(name) {
			numbers = append(numbers, l.number)
			markers = append(markers, map[marker]string{authority: "CA", revoked: "REVOKED"}[l.marker])
		}
	}
	return numbers, markers
}

// ParseLine returns the error of a line.
func ParseLine(text string) error {
	_, err := new(parser).parse(text)
	return err
}
