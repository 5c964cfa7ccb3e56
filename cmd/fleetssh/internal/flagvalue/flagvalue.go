// Package flagvalue has flag types that check their values: numbers within limits, durations, rates,
// sizes and choices.
package flagvalue

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// Number is an integer from Min to Max.
type Number struct {
	To       *int
	Min, Max int
}

// Set implements pflag.Value.
func (v Number) Set(text string) error {
	n, err := strconv.Atoi(text)
	switch {
	case err != nil:
		return errors.New("not a whole number")
	case n < v.Min:
		return fmt.Errorf("must be %d or more", v.Min)
	case n > v.Max:
		return fmt.Errorf("must be %d or less", v.Max)
	}
	*v.To = n
	return nil
}

// String implements [fmt.Stringer], as pflag shows defaults.
func (v Number) String() string {
	if v.To == nil {
		return ""
	}
	return strconv.Itoa(*v.To)
}

// Type implements pflag.Value.
func (v Number) Type() string { return "number" }

// Duration is a duration: "10" and "10s" are ten seconds.
type Duration struct {
	To     *time.Duration
	OrZero bool // zero is allowed
}

// Set implements pflag.Value.
func (v Duration) Set(text string) error {
	d, err := parseDuration(text)
	switch {
	case err != nil:
		return err
	case d == 0 && !v.OrZero:
		return errors.New("must be more than zero")
	}
	*v.To = d
	return nil
}

// String implements [fmt.Stringer], as pflag shows defaults.
func (v Duration) String() string {
	if v.To == nil {
		return ""
	}
	return v.To.String()
}

// Type implements pflag.Value.
func (v Duration) Type() string { return "duration" }

// parseDuration parses a duration. A plain number means seconds.
func parseDuration(text string) (time.Duration, error) {
	full := text
	if strings.Trim(text, "0123456789.") == "" {
		full += "s"
	}
	d, err := time.ParseDuration(full)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is not a duration: write 10 or 10s for seconds, 500ms, 2m", text)
	}
	return d, nil
}

// Rate is a number of bytes per second: "10M" is ten mebibytes.
type Rate struct{ To *int64 }

// Set implements pflag.Value.
func (v Rate) Set(text string) error {
	n, err := ParseSize(strings.ToUpper(text))
	switch {
	case err != nil:
		return fmt.Errorf("%q is not a rate: write 500K, 10M or 1G, in bytes a second", text)
	case n == 0:
		return errors.New("must be more than zero")
	}
	*v.To = n
	return nil
}

// String implements [fmt.Stringer], as pflag shows defaults.
func (v Rate) String() string {
	if v.To == nil {
		return ""
	}
	return strconv.FormatInt(*v.To, 10)
}

// Type implements pflag.Value.
func (v Rate) Type() string { return "rate" }

// ParseSize parses a number of bytes, with K, M or G for powers of 1024.
func ParseSize(text string) (int64, error) {
	number, unit := text, int64(1)
	if i := strings.IndexAny(text, "KMG"); i >= 0 && i == len(text)-1 {
		number, unit = text[:i], 1<<(10*(1+strings.IndexByte("KMG", text[i])))
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > 1<<40/unit {
		return 0, fmt.Errorf("%q is not a size: write 500, 64K, 1M, 2G", text)
	}
	return n * unit, nil
}

// SizeText formats a number of bytes for people.
func SizeText(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n)/1024, 0
	for ; value >= 1023.95 && unit < 5; unit++ { // which would be formatted as 1024.0
		value /= 1024
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGTPE"[unit])
}

// NonEmpty is a text that must not be empty. An empty one, such as an unset variable in a script,
// would lift the limit that the flag sets.
type NonEmpty struct{ To *string }

// Set implements pflag.Value.
func (v NonEmpty) Set(text string) error {
	if strings.TrimSpace(text) == "" {
		return errors.New("it is empty")
	}
	*v.To = text
	return nil
}

// String implements [fmt.Stringer], as pflag shows defaults.
func (v NonEmpty) String() string {
	if v.To == nil {
		return ""
	}
	return *v.To
}

// Type implements pflag.Value.
func (v NonEmpty) Type() string { return "text" }

// Choice is one of several words.
type Choice struct {
	To   *string
	From []string
}

// Set implements pflag.Value.
func (v Choice) Set(text string) error {
	if !slices.Contains(v.From, text) {
		return fmt.Errorf("must be one of %s", strings.Join(v.From, ", "))
	}
	*v.To = text
	return nil
}

// String implements [fmt.Stringer], as pflag shows defaults.
func (v Choice) String() string {
	if v.To == nil {
		return ""
	}
	return *v.To
}

// Type implements pflag.Value.
func (v Choice) Type() string { return "word" }

// Choices returns the words, for completion.
func (v Choice) Choices() []string { return v.From }

// Values returns the values of a flag, one for each time that it was given.
func Values(flag *pflag.Flag) []string {
	if list, ok := flag.Value.(pflag.SliceValue); ok {
		return list.GetSlice()
	}
	return []string{flag.Value.String()}
}

// SplitHosts splits a list of hosts at the commas that are not in brackets.
func SplitHosts(list string) []string {
	var terms []string
	depth, from := 0, 0
	for i := range len(list) {
		switch list[i] {
		case '[':
			depth++
		case ']':
			depth--
		case ',':
			if depth == 0 {
				terms = append(terms, list[from:i])
				from = i + 1
			}
		}
	}
	return append(terms, list[from:])
}
