package selection

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/exit"
)

// maxArgsFile is the largest file of arguments that is read.
const maxArgsFile = 64 << 20

// HostColumn is the column of a file of arguments that names the host.
const HostColumn = "host"

// ReadArgs returns the arguments for each of the hosts, from the file of --args-file.
func ReadArgs(file string, hosts []Host) ([]fleetssh.Args, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("arguments: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxArgsFile+1))
	if err != nil {
		return nil, fmt.Errorf("arguments: %w", err)
	}
	if len(data) > maxArgsFile {
		return nil, fmt.Errorf("arguments: %s: more than %d MiB", file, maxArgsFile>>20)
	}
	rows, err := parseArgs(data)
	if err != nil {
		return nil, exit.UsageError("", "--args-file %s: %v", file, err)
	}
	args := make([]fleetssh.Args, len(hosts))
	var missing []string
	for i, h := range hosts {
		values, ok := rows[h.Label]
		if !ok {
			values, ok = rows[h.Name]
		}
		if !ok {
			missing = append(missing, h.Label)
			continue
		}
		args[i].Map = values
	}
	if missing != nil {
		return nil, exit.UsageError("", "--args-file %s: no values for %s", file, FoldNames(missing))
	}
	return args, nil
}

// parseArgs parses values by host, as JSON or CSV.
func parseArgs(data []byte) (map[string]map[string]string, error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	trimmed := bytes.TrimSpace(data)
	if len(trimmed) > 0 && (trimmed[0] == '{' || trimmed[0] == '[') {
		return parseJSONArgs(trimmed)
	}
	return parseCSVArgs(data)
}

func parseCSVArgs(data []byte) (map[string]map[string]string, error) {
	r := csv.NewReader(bytes.NewReader(data))
	r.TrimLeadingSpace = true
	columns, err := r.Read()
	if err != nil {
		return nil, errors.New("the line of column names is missing")
	}
	host := -1
	seen := make(map[string]bool)
	for i, name := range columns {
		columns[i] = strings.TrimSpace(name)
		if seen[columns[i]] {
			return nil, fmt.Errorf("two columns are called %q", columns[i])
		}
		seen[columns[i]] = true
		if columns[i] == HostColumn {
			host = i
		}
	}
	if host < 0 {
		return nil, fmt.Errorf("no column is called %q", HostColumn)
	}
	rows := make(map[string]map[string]string)
	for {
		fields, err := r.Read()
		if err == io.EOF {
			return rows, nil
		}
		if err != nil {
			return nil, err // it names the line
		}
		values := make(map[string]string)
		for i, field := range fields {
			values[columns[i]] = field
		}
		name := strings.TrimSpace(fields[host])
		if _, twice := rows[name]; twice {
			line, _ := r.FieldPos(0)
			return nil, fmt.Errorf("line %d: %q appears twice", line, name)
		}
		rows[name] = values
	}
}

// parseJSONArgs reads an object of objects, by host, or a list of objects that name their host.
// Numbers and booleans keep their spelling.
func parseJSONArgs(data []byte) (map[string]map[string]string, error) {
	rows := make(map[string]map[string]string)
	objects := make(map[string]map[string]json.RawMessage)
	if data[0] == '[' {
		var list []map[string]json.RawMessage
		if err := json.Unmarshal(data, &list); err != nil {
			return nil, err
		}
		for i, object := range list {
			name, err := jsonText(object[HostColumn])
			if err != nil || name == "" {
				return nil, fmt.Errorf("entry %d has no %q", i, HostColumn)
			}
			if _, twice := objects[name]; twice {
				return nil, fmt.Errorf("entry %d: %q appears twice", i, name)
			}
			objects[name] = object
		}
	} else if err := json.Unmarshal(data, &objects); err != nil {
		return nil, err
	}
	for host, object := range objects {
		rows[host] = map[string]string{HostColumn: host}
		for name, raw := range object {
			text, err := jsonText(raw)
			if err != nil {
				return nil, fmt.Errorf("%s: %s: %w", host, name, err)
			}
			rows[host][name] = text
		}
	}
	return rows, nil
}

// jsonText returns a string, number or boolean as text.
func jsonText(raw json.RawMessage) (string, error) {
	if len(raw) == 0 {
		return "", nil
	}
	switch raw[0] {
	case '"':
		var text string
		err := json.Unmarshal(raw, &text)
		return text, err
	case '{', '[', 'n':
		return "", errors.New("want a string, a number or a boolean")
	}
	return string(raw), nil
}
