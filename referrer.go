package revisit

import (
	_ "embed"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
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
			return name[:j], len(domain)-i == len(".uk") // of a country: google.com.evil is nobody's
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
	if host, ok := appHost(referer); ok && classify(host).medium != "referral" { // others are no hosts
		return host, "android-app://" + host + "/", true
	}
	if len(referer) > maxReferrer {
		return "", "", false
	}
	u, err := url.Parse(referer)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.EqualFold(u.Host, own) {
		return "", "", false
	}
	host = strings.ToLower(u.Hostname())
	if host == "" || len(u.Host) > maxHost || !isHost(u.Host) || isUnder(host, ownHosts) || strings.EqualFold(host, withoutPort(own)) {
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

// maxHost is how long the host of a referrer is at most, with its port: a name of the DNS
// has 253 bytes, and none that people link to comes near it. The whole of it fits into a
// Touch, or what kind of host it is could not be told from there.
const maxHost = 200

// isHost reports whether a host is written as browsers write it, which is in ASCII: other
// characters can look like another host.
func isHost(s string) bool {
	for i := range len(s) {
		if !isAlphanumeric(s[i]) && !strings.Contains("-._:[]", s[i:i+1]) {
			return false
		}
	}
	return true
}

// appHost returns the host of a Referer by which Android names an app that has opened a
// page, turned round like that of a site: com.google.android.gm is gm.android.google.com.
func appHost(referer string) (host string, ok bool) {
	name, ok := strings.CutPrefix(referer, "android-app://")
	if !ok {
		return "", false
	}
	name, _, _ = strings.Cut(name, "/")
	if name == "" || len(name) > maxHost || strings.ContainsFunc(name, func(r rune) bool {
		return r != '.' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) {
		return "", false
	}
	labels := strings.Split(strings.ToLower(name), ".")
	slices.Reverse(labels)
	return strings.Join(labels, "."), true
}

func withoutPort(host string) string {
	name, _, ok := strings.Cut(host, ":")
	if !ok || strings.HasPrefix(host, "[") {
		u := url.URL{Host: host}
		return u.Hostname()
	}
	return name
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
