package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The types of this file are values of flags that check themselves.

// numberValue is a whole number with limits.
type numberValue struct {
	to       *int
	min, max int
}

func (v numberValue) Set(text string) error {
	n, err := strconv.Atoi(text)
	switch {
	case err != nil:
		return errors.New("not a whole number")
	case n < v.min:
		return fmt.Errorf("must be %d or more", v.min)
	case n > v.max:
		return fmt.Errorf("must be %d or less", v.max)
	}
	*v.to = n
	return nil
}

func (v numberValue) String() string {
	if v.to == nil {
		return ""
	}
	return strconv.Itoa(*v.to)
}

func (v numberValue) Type() string { return "number" }

// durationValue is a time: "10" and "10s" are ten seconds.
type durationValue struct {
	to     *time.Duration
	orZero bool
}

func (v durationValue) Set(text string) error {
	d, err := parseDuration(text)
	switch {
	case err != nil:
		return err
	case d == 0 && !v.orZero:
		return errors.New("must be more than zero")
	}
	*v.to = d
	return nil
}

func (v durationValue) String() string {
	if v.to == nil {
		return ""
	}
	return v.to.String()
}

func (v durationValue) Type() string { return "duration" }

// parseDuration reads a time: a plain number means seconds.
func parseDuration(text string) (time.Duration, error) {
	full := text
	if strings.Trim(text, "0123456789.") == "" {
		full += "s"
	}
	d, err := time.ParseDuration(full)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is no time: write 10 or 10s for seconds, 500ms, 2m", text)
	}
	return d, nil
}

// rateValue is a number of bytes a second: "10M" is ten mebibytes.
type rateValue struct{ to *int64 }

func (v rateValue) Set(text string) error {
	n, err := parseSize(strings.ToUpper(text))
	switch {
	case err != nil:
		return fmt.Errorf("%q is no rate: write 500K, 10M or 1G, in bytes a second", text)
	case n == 0:
		return errors.New("must be more than zero")
	}
	*v.to = n
	return nil
}

func (v rateValue) String() string {
	if v.to == nil {
		return ""
	}
	return strconv.FormatInt(*v.to, 10)
}

func (v rateValue) Type() string { return "rate" }

// parseSize reads a number of bytes, with K, M or G for powers of 1024.
func parseSize(text string) (int64, error) {
	number, unit := text, int64(1)
	if i := strings.IndexAny(text, "KMG"); i >= 0 && i == len(text)-1 {
		number, unit = text[:i], 1<<(10*(1+strings.IndexByte("KMG", text[i])))
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > 1<<40/unit {
		return 0, fmt.Errorf("%q is no size: write 500, 64K, 1M, 2G", text)
	}
	return n * unit, nil
}

// sizeText writes a number of bytes for people.
func sizeText(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n)/1024, 0
	for ; value >= 1023.95 && unit < 5; unit++ { // which is written as 1024.0
		value /= 1024
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGTPE"[unit])
}

// filledValue is a text that cannot be empty: an empty one, as a variable of a script that was
// not set leaves it, would lift the limit that the flag is about.
type filledValue struct{ to *string }

func (v filledValue) Set(text string) error {
	if strings.TrimSpace(text) == "" {
		return errors.New("it is empty")
	}
	*v.to = text
	return nil
}

func (v filledValue) String() string {
	if v.to == nil {
		return ""
	}
	return *v.to
}

func (v filledValue) Type() string { return "text" }

// choiceValue is one of several words.
type choiceValue struct {
	to   *string
	from []string
}

func (v choiceValue) Set(text string) error {
	if !slices.Contains(v.from, text) {
		return fmt.Errorf("must be one of %s", strings.Join(v.from, ", "))
	}
	*v.to = text
	return nil
}

func (v choiceValue) String() string {
	if v.to == nil {
		return ""
	}
	return *v.to
}

func (v choiceValue) Type() string { return "word" }

// choices returns the words, for completion.
func (v choiceValue) choices() []string { return v.from }
