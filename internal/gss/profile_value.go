package gss

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// parseBool parses a boolean like MIT's profile_get_boolean. It returns the default for other
// texts, such as the "fallback" of dns_canonicalize_hostname.
func parseBool(text string, byDefault bool) bool {
	switch strings.ToLower(text) {
	case "y", "yes", "true", "t", "1", "on":
		return true
	case "n", "no", "false", "nil", "0", "off":
		return false
	}
	return byDefault
}

// parseDuration parses a duration like MIT's krb5_string_to_deltat: "36000", "10h", "1d 2h 3m 4s",
// "10:30", "10:30:15", "1-10:30:15".
func parseDuration(text string) (time.Duration, bool) {
	if clock, ok := parseClock(text); ok {
		return clock, true
	}
	const units = "dhms"
	in := []time.Duration{24 * time.Hour, time.Hour, time.Minute, time.Second}
	var total time.Duration
	next := 0 // the units come in this order
	rest := strings.TrimSpace(text)
	for rest != "" {
		digits := 0
		for digits < len(rest) && (rest[digits] >= '0' && rest[digits] <= '9' || digits == 0 && rest[0] == '-') {
			digits++
		}
		number, err := strconv.ParseInt(rest[:digits], 10, 32)
		if err != nil {
			return 0, false
		}
		rest = strings.TrimSpace(rest[digits:])
		if rest == "" { // seconds without a unit, perhaps after larger units
			return total + time.Duration(number)*time.Second, next < len(units)
		}
		unit := strings.IndexByte(units, rest[0]|0x20)
		if unit < next {
			return 0, false
		}
		total += time.Duration(number) * in[unit]
		next = unit + 1
		rest = strings.TrimSpace(rest[1:])
	}
	return total, next > 0
}

// parseClock parses the forms with colons.
func parseClock(text string) (time.Duration, bool) {
	days := int64(0)
	if day, rest, found := strings.Cut(text, "-"); found && day != "" {
		var err error
		if days, err = strconv.ParseInt(strings.TrimSpace(day), 10, 32); err != nil {
			return 0, false
		}
		text = rest
	}
	parts := strings.Split(text, ":")
	if len(parts) != 2 && len(parts) != 3 {
		return 0, false
	}
	total := time.Duration(days) * 24 * time.Hour
	for i, unit := range []time.Duration{time.Hour, time.Minute, time.Second}[:len(parts)] {
		number, err := strconv.ParseInt(strings.TrimSpace(parts[i]), 10, 32)
		if err != nil {
			return 0, false
		}
		total += time.Duration(number) * unit
	}
	return total, true
}

// words splits a list at spaces, tabs and commas, and converts it to lower case.
func words(text string) []string {
	list := strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return r == ' ' || r == '\t' || r == ',' })
	return slices.DeleteFunc(list, func(word string) bool { return word == "-" || word == "+" })
}
