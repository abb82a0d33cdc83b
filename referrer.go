package revisit

import (
	_ "embed"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"unicode/utf8"
)

//go:embed referrers.txt
var referrersText string

// A referrerKind is what referrers.txt says of a host.
type referrerKind struct{ medium, source string }

// pass is the kind of hosts that a visitor comes back from.
const pass = "pass"

// referrers is referrers.txt by domain.
var referrers = sync.OnceValue(func() map[string]referrerKind {
	all, err := parseReferrers(referrersText)
	if err != nil {
		panic("revisit: referrers.txt: " + err.Error()) // a test has seen that it is none
	}
	return all
})

func parseReferrers(text string) (map[string]referrerKind, error) {
	all := make(map[string]referrerKind)
	n := 0
	for line := range strings.Lines(text) {
		n++
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0][0] == '#' {
			continue
		}
		if len(fields) < 3 {
			return nil, fmt.Errorf("line %d: want a kind, a name and domains", n)
		}
		switch fields[0] {
		case "search", "social", "mail", "ai", "referral", pass:
		default:
			return nil, fmt.Errorf("line %d: no such kind: %s", n, fields[0])
		}
		for _, domain := range fields[2:] {
			if _, twice := all[domain]; twice {
				return nil, fmt.Errorf("line %d: %s is there twice", n, domain)
			}
			all[domain] = referrerKind{fields[0], fields[1]}
		}
	}
	return all, nil
}

// classify returns what kind of site a host is.
func classify(host string) referrerKind {
	all := referrers()
	for domain := host; domain != ""; {
		if kind, ok := all[domain]; ok {
			return kind
		}
		_, parent, _ := strings.Cut(domain, ".")
		if name, ok := withoutTopLevel(domain); ok {
			if kind, ok := all[name+".*"]; ok {
				return kind
			}
		}
		domain = parent
	}
	return referrerKind{"referral", host}
}

// withoutTopLevel cuts the top-level domain off, as .de and .co.uk. Not ok if more
// is behind the first label or two.
func withoutTopLevel(domain string) (name string, ok bool) {
	i := strings.LastIndexByte(domain, '.')
	if i <= 0 {
		return "", false
	}
	name = domain[:i]
	if j := strings.LastIndexByte(name, '.'); j > 0 {
		switch name[j+1:] {
		case "co", "com", "net", "org", "gob", "gov", "edu", "ac", "or", "ne":
			return name[:j], true
		}
	}
	return name, true
}

// externalReferrer returns the host and the page of a Referer on another site. The
// query, the fragment and credentials are left out: they are somebody else's, and
// personal more often than not.
func externalReferrer(referer, own string, ownHosts []string) (host, page string, ok bool) {
	if referer == "" {
		return "", "", false
	}
	// Most referrers are pages of this host: find that out without parsing.
	rest, ok := strings.CutPrefix(referer, "https://")
	if !ok {
		rest, ok = strings.CutPrefix(referer, "http://")
	}
	if ok && strings.HasPrefix(rest, own) && (len(rest) == len(own) || rest[len(own)] == '/') {
		return "", "", false
	}
	if len(referer) > maxReferrer {
		return "", "", false
	}
	u, err := url.Parse(referer)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.EqualFold(u.Host, own) {
		return "", "", false
	}
	host = clip(strings.ToLower(u.Hostname()))
	if host == "" || !utf8.ValidString(u.Host) || isUnder(host, ownHosts) {
		return "", "", false
	}
	path := u.EscapedPath()
	if isPersonal(path) || isPersonal(u.Path) {
		path = "/"
	}
	page = clip(u.Scheme + "://" + strings.ToLower(u.Host) + path)
	if i := strings.LastIndexByte(page, '%'); i > len(page)-3 && i >= 0 {
		page = page[:i] // half an escape is none
	}
	return host, page, true
}

// isUnder reports whether a host is one of domains, or a subdomain of one.
func isUnder(host string, domains []string) bool {
	for _, d := range domains {
		if rest, ok := strings.CutSuffix(host, d); ok && (rest == "" || rest[len(rest)-1] == '.') {
			return true
		}
	}
	return false
}

// isPersonal reports whether a text has a mail address in it, or what looks like a
// credential: a JSON Web Token, or a run of 32 and more hexadecimal digits. Links in
// mails have such things put into them by whoever sends those.
func isPersonal(s string) bool {
	if strings.HasPrefix(s, "eyJ") || strings.Contains(s, "=eyJ") || strings.Contains(s, "/eyJ") {
		return true
	}
	run := 0
	for i := range len(s) {
		switch c := s[i]; {
		case '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F':
			if run++; run >= 32 {
				return true
			}
			continue
		case c == '-' && run > 0 && run < 32: // as in a UUID
			continue
		case c == '@' || c == '%' && strings.HasPrefix(s[i:], "%40"):
			// Something before it, and a dot in what is behind.
			if after := s[i+1:]; i > 0 && s[i-1] != '/' && strings.Contains(strings.SplitN(after, "/", 2)[0], ".") {
				return true
			}
		}
		run = 0
	}
	return false
}
