package revisit

import (
	_ "embed"
	"fmt"
	"net/http"
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

// A referrerTable is referrers.txt.
type referrerTable struct {
	hosts, domains map[string]referrerKind // those with an equals sign before them, and the others
}

var referrers = sync.OnceValue(func() referrerTable {
	all, err := parseReferrers(referrersText)
	if err != nil {
		panic("revisit: referrers.txt: " + err.Error()) // a test has seen that it is none
	}
	return all
})

func parseReferrers(text string) (referrerTable, error) {
	all := referrerTable{make(map[string]referrerKind), make(map[string]referrerKind)}
	n := 0
	for line := range strings.Lines(text) {
		n++
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0][0] == '#' {
			continue
		}
		if len(fields) < 3 {
			return all, fmt.Errorf("line %d: want a kind, a name and domains", n)
		}
		switch fields[0] {
		case "search", "social", "mail", "ai", "referral", pass:
		default:
			return all, fmt.Errorf("line %d: no such kind: %s", n, fields[0])
		}
		for _, domain := range fields[2:] {
			in := all.domains
			if host, ok := strings.CutPrefix(domain, "="); ok {
				domain, in = host, all.hosts
			}
			if _, twice := in[domain]; twice {
				return all, fmt.Errorf("line %d: %s is there twice", n, domain)
			}
			in[domain] = referrerKind{fields[0], fields[1]}
		}
	}
	return all, nil
}

// classify returns what kind of site a host is.
func classify(host string) referrerKind {
	kind, _ := lookUp(host)
	return kind
}

// lookUp is classify, and reports whether the host is on the list.
func lookUp(host string) (kind referrerKind, ok bool) {
	all := referrers()
	if kind, ok = find(all.hosts, host); ok {
		return kind, true
	}
	for domain := host; domain != ""; {
		if kind, ok = find(all.domains, domain); ok {
			return kind, true
		}
		_, domain, _ = strings.Cut(domain, ".")
	}
	return referrerKind{"referral", host}, false
}

// find looks a domain up, as it is and under whichever top-level domain.
func find(in map[string]referrerKind, domain string) (kind referrerKind, ok bool) {
	if kind, ok = in[domain]; ok {
		return kind, true
	}
	if name, is := withoutTopLevel(domain); is {
		kind, ok = in[name+".*"]
	}
	return kind, ok
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

// externalReferrer returns the host and the page of a referrer on another site than that of
// r. The query, the fragment and credentials are left out: they are somebody else's, and
// personal more often than not.
func (tr *Tracker) externalReferrer(r *http.Request, referrer string, left *clips) (host, page string, ok bool) {
	if referrer == "" {
		return "", "", false
	}
	// Most referrers are pages of this host: find that out without parsing.
	rest, ok := strings.CutPrefix(referrer, "https://")
	if !ok {
		rest, ok = strings.CutPrefix(referrer, "http://")
	}
	if own := r.Host; ok && strings.HasPrefix(rest, own) && (len(rest) == len(own) || rest[len(own)] == '/') {
		return "", "", false
	}
	if host, ok := appHost(referrer); ok {
		if _, ok := lookUp(host); ok { // others are no hosts
			return host, "android-app://" + host + "/", true
		}
	}
	if len(referrer) > maxReferrer {
		left[clipLong]++
		return "", "", false
	}
	u, err := url.Parse(referrer)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return "", "", false
	}
	host = strings.ToLower(withoutDot(u.Hostname()))
	if host == "" || len(u.Host) > maxHost || !isHost(u.Host) || tr.isOwnPage(u, r) {
		return "", "", false
	}
	path, personal := withoutPersonal(u.EscapedPath())
	if personal {
		left[clipPersonal]++
	}
	return host, left.clip(u.Scheme + "://" + strings.ToLower(withoutDot(u.Host)) + path), true
}

// isOwnPage reports whether u is a page of the site that r is for: of its host on whichever
// port, with and without www., or of one of Config.OwnHosts.
func (tr *Tracker) isOwnPage(u *url.URL, r *http.Request) bool {
	host := strings.ToLower(withoutDot(u.Hostname()))
	if isUnder(host, tr.ownHosts) || strings.EqualFold(withoutWWW(host), withoutWWW(withoutDot(withoutPort(r.Host)))) {
		return true
	}
	// A proxy may hide the site's own host. What the browser says of the page that it comes
	// from holds for what a page of the site tells of another one, too.
	referer := headerValue(r.Header, "Referer")
	if referer == "" || len(referer) > maxReferrer || headerValue(r.Header, "Sec-Fetch-Site") != "same-origin" {
		return false
	}
	from, err := url.Parse(referer)
	if err != nil || !isBehindProxy(from, r) || !strings.EqualFold(hostOf(from), hostOf(u)) {
		return false
	}
	tr.warnOfHost()
	return true
}

// warnOfHost says, now and then, that a proxy keeps the site's own host from it.
func (tr *Tracker) warnOfHost() {
	if times, ok := tr.stats.hosts.now(); ok {
		tr.logger.Warn("revisit: requests have another Host than browsers have asked for: have the proxy pass it on; until then pixel.gif counts no page views, and joins no page",
			"times", times)
	}
}

func withoutWWW(host string) string {
	if len(host) > 4 && strings.EqualFold(host[:4], "www.") {
		return host[4:]
	}
	return host
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
