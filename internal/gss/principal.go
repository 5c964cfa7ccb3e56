package gss

import (
	"slices"
	"strings"
)

// The types of names (RFC 4120 section 6.2).
const (
	nameUser    int32 = 1 // KRB-NT-PRINCIPAL
	nameService int32 = 2 // KRB-NT-SRV-INST, for krbtgt
	nameHost    int32 = 3 // KRB-NT-SRV-HST
)

// principal is a name in a realm. The type of the name says nothing about who it is.
type principal struct {
	nameType int32
	names    []string
	realm    string
}

// parsePrincipal reads "alice", "alice@REALM", "host/web1@REALM". A backslash takes
// the meaning from the next character (MIT's krb5_parse_name).
func parsePrincipal(text, defaultRealm string) principal {
	p := principal{nameType: nameUser, realm: defaultRealm}
	var word strings.Builder
	inRealm := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && i+1 < len(text):
			i++
			word.WriteByte(text[i])
		case c == '/' && !inRealm:
			p.names = append(p.names, word.String())
			word.Reset()
		case c == '@' && !inRealm:
			p.names = append(p.names, word.String())
			word.Reset()
			inRealm = true
		default:
			word.WriteByte(c)
		}
	}
	if inRealm {
		p.realm = word.String()
	} else {
		p.names = append(p.names, word.String())
	}
	return p
}

// tgsPrincipal is the ticket-granting service for one realm, of another or itself.
func tgsPrincipal(realm, issuer string) principal {
	return principal{nameService, []string{"krbtgt", realm}, issuer}
}

// String returns the name as parsePrincipal reads it.
func (p principal) String() string {
	escape := strings.NewReplacer(`\`, `\\`, "/", `\/`, "@", `\@`)
	var words []string
	for _, name := range p.names {
		words = append(words, escape.Replace(name))
	}
	return strings.Join(words, "/") + "@" + p.realm
}

func (p principal) equal(q principal) bool {
	return p.realm == q.realm && slices.Equal(p.names, q.names)
}

// sameName reports whether the names without the realms are equal. KDCs of Active
// Directory do not care for the case, and answer in theirs.
func (p principal) sameName(q principal) bool {
	return slices.EqualFunc(p.names, q.names, strings.EqualFold)
}

// tgsFor returns the realm that a ticket-granting service is for, if it is one.
func (p principal) tgsFor() (realm string, ok bool) {
	if len(p.names) == 2 && p.names[0] == "krbtgt" {
		return p.names[1], true
	}
	return "", false
}
