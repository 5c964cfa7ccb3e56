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
