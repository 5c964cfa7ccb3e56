package display

import (
	"encoding/base64"
	"time"
	"unicode/utf8"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/results"
)

// copyJSON shows an object for each file and for each host.
type copyJSON struct {
	CopyView
	files int
	bytes int64
}

func newCopyJSON(v CopyView) *copyJSON {
	NewJSON(v.View) // writes the first object
	return &copyJSON{CopyView: v}
}

type jsonFile struct {
	Type       string             `json:"type"`
	Time       time.Time          `json:"time"`
	Host       string             `json:"host"`
	Index      int                `json:"index"`
	Path       *string            `json:"path,omitempty"`        // on the host
	PathBase64 string             `json:"path_base64,omitempty"` // instead of path, if that is not valid UTF-8
	Bytes      int64              `json:"bytes"`
	Skipped    bool               `json:"skipped"`
	Error      *results.JSONError `json:"error"`
}

type jsonCopyResult struct {
	results.JSONResult
	Files       int   `json:"files"`
	Bytes       int64 `json:"bytes"`
	Skipped     int   `json:"skipped"`
	Deleted     int   `json:"deleted"`
	FailedFiles int   `json:"failed"`
}

type jsonCopySummary struct {
	results.JSONSummary
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
}

func (d *copyJSON) Progress(p fleetssh.CopyProgress) {
	if !p.Ended {
		return
	}
	o := jsonFile{Type: "file", Time: time.Now(), Host: d.Summary.Hosts[p.Index].Name, Index: p.Index, Bytes: p.Done, Skipped: p.Skipped}
	if path := cutPath(p.Path); utf8.ValidString(path) {
		o.Path = &path
	} else {
		o.PathBase64 = base64.StdEncoding.EncodeToString([]byte(path))
	}
	if p.Err != nil {
		o.Error = &results.JSONError{Kind: "copy", Message: exit.Reason(p.Err)} // if the host has failed, its result has the reason
		if fault, ok := p.Err.(*fleetssh.CopyError); ok {
			o.Error.Phase, o.Error.Message = string(fault.Op), fault.Error()
		}
	}
	PutJSON(d.Screen, o)
}

// maxPath is the longest path that a system can open: PATH_MAX of Linux.
const maxPath = 4096

// cutPath cuts a path that is longer than maxPath: a host may send names of any length.
func cutPath(path string) string {
	if len(path) <= maxPath {
		return path
	}
	cut := maxPath
	for cut > maxPath-utf8.UTFMax && !utf8.RuneStart(path[cut]) {
		cut--
	}
	return path[:cut] + "…"
}

func (d *copyJSON) Finished(r *results.Result) {
	o := jsonCopyResult{JSONResult: d.Summary.JSONResult(r)}
	if c := r.Copied; c != nil {
		o.Files, o.Bytes, o.Skipped, o.Deleted, o.FailedFiles = c.Files, c.Bytes, c.Skipped, c.Deleted, c.Failed
		d.files += c.Files
		d.bytes += c.Bytes
	}
	PutJSON(d.Screen, o)
}

func (d *copyJSON) Close() {
	PutJSON(d.Screen, jsonCopySummary{JSONSummary: d.Summary.JSONSummary(), Files: d.files, Bytes: d.bytes})
}
