package gss

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"golang.org/x/crypto/cryptobyte"
)

// keytab holds the contents of a keytab file.
type keytab struct {
	entries []keytabEntry
}

type keytabEntry struct {
	principal principal
	version   uint32
	key       key
}

// maxKeytab limits the size of a keytab in bytes.
const maxKeytab = 4 << 20

// readKeytab reads a keytab file. Its name may begin with FILE: or WRFILE:.
func readKeytab(name string) (*keytab, error) {
	path := strings.TrimPrefix(strings.TrimPrefix(name, "FILE:"), "WRFILE:")
	data, err := readBounded(path, maxKeytab)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("keytab %s: %w", path, plain(err))
	}
	if err == nil {
		var k *keytab
		if k, err = parseKeytab(data); err == nil {
			return k, nil
		}
	}
	return nil, fmt.Errorf("keytab %s: %w", path, err)
}

// parseKeytab parses version 2 of the format, in use since 1993. Each entry is a length and
// big-endian fields; a negative length is a hole (MIT, "Keytab file format").
func parseKeytab(data []byte) (*keytab, error) {
	if len(data) < 2 || data[0] != 5 || data[1] != 2 {
		return nil, errors.New("not a keytab")
	}
	k := &keytab{}
	rest := cryptobyte.String(data[2:])
	for !rest.Empty() {
		var length uint32
		var entry []byte
		if !rest.ReadUint32(&length) {
			return nil, errors.New("the file is damaged")
		}
		if length == 0 {
			break
		}
		hole := int32(length) < 0
		if hole {
			length = -length
		}
		if uint64(length) > uint64(len(rest)) || !rest.ReadBytes(&entry, int(length)) {
			return nil, errors.New("the file is damaged")
		}
		if hole {
			continue
		}
		e, ok := parseKeytabEntry(entry)
		if !ok {
			return nil, errors.New("the file is damaged")
		}
		k.entries = append(k.entries, e)
	}
	if len(k.entries) == 0 {
		return nil, errors.New("no keys in the file")
	}
	return k, nil
}

func parseKeytabEntry(data cryptobyte.String) (e keytabEntry, ok bool) {
	var names, etype uint16
	var realm, value cryptobyte.String
	var nameType, written uint32
	var version uint8
	if !data.ReadUint16(&names) || names > maxNames || !data.ReadUint16LengthPrefixed(&realm) {
		return e, false
	}
	for range names {
		var name cryptobyte.String
		if !data.ReadUint16LengthPrefixed(&name) {
			return e, false
		}
		e.principal.names = append(e.principal.names, string(name))
	}
	if !data.ReadUint32(&nameType) || !data.ReadUint32(&written) || !data.ReadUint8(&version) ||
		!data.ReadUint16(&etype) || !data.ReadUint16LengthPrefixed(&value) {
		return e, false
	}
	e.principal.realm = string(realm)
	e.principal.nameType = int32(nameType)
	e.version = uint32(version)
	var long uint32 // newer files have a version of 32 bits as well
	if data.ReadUint32(&long) && long != 0 {
		e.version = long
	}
	e.key = key{int32(etype), value}
	return e, true
}

// keys returns the newest supported keys of a principal, by encryption type.
func (k *keytab) keys(p principal) map[int32]key {
	newest := make(map[int32]keytabEntry)
	for _, e := range k.entries {
		if !e.principal.equal(p) || !e.key.supported() {
			continue
		}
		if have, ok := newest[e.key.etype]; !ok || e.version >= have.version {
			newest[e.key.etype] = e
		}
	}
	keys := make(map[int32]key)
	for etype, e := range newest {
		keys[etype] = e.key
	}
	return keys
}
