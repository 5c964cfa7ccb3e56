package gss

import (
	"slices"
	"strings"
)

// Name types (RFC 4120, section 6.2).
const (
	nameUser    int32 = 1 // KRB-NT-PRINCIPAL
	nameService int32 = 2 // KRB-NT-SRV-INST, for krbtgt
	nameHost    int32 = 3 // KRB-NT-SRV-HST
)

// principal is a name in a realm. The name type does not count in comparisons.
type principal struct {
	nameType int32
	names    []string
	realm    string
}

// parsePrincipal parses "alice", "alice@REALM" or "host/web1@REALM". A backslash quotes the next
// character, as in MIT's krb5_parse_name.
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

// tgsPrincipal returns the principal krbtgt/realm@issuer: the ticket-granting service of a realm,
// as its own KDC or that of another realm knows it.
func tgsPrincipal(realm, issuer string) principal {
	return principal{nameService, []string{"krbtgt", realm}, issuer}
}

// String returns the name in the form that parsePrincipal reads.
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

// sameName reports whether the names without the realms are equal. It ignores case: KDCs of Active
// Directory do, and answer with their own spelling.
func (p principal) sameName(q principal) bool {
	return slices.EqualFunc(p.names, q.names, strings.EqualFold)
}

// tgsFor returns the realm of a ticket-granting service. ok is false for other services.
func (p principal) tgsFor() (realm string, ok bool) {
	if len(p.names) == 2 && p.names[0] == "krbtgt" {
		return p.names[1], true
	}
	return "", false
}
