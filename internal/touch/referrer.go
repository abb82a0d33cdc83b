package touch

import (
	_ "embed"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/revisit-go/revisit/internal/hostname"
)

//go:embed referrers.txt
var referrersText string

// maxReferrer is the longest referrer that is looked at, in bytes.
const maxReferrer = 8 << 10

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

// externalReferrer returns the host and the page of a referrer on another site. The query, the fragment and credentials are left out: they are somebody else's, and
// personal more often than not.
func (rd *Reader) externalReferrer(site Site, referrer string, left *Clipped) (host, page string, ok bool) {
	if referrer == "" {
		return "", "", false
	}
	// Most referrers are pages of this host: find that out without parsing.
	rest, ok := strings.CutPrefix(referrer, "https://")
	if !ok {
		rest, ok = strings.CutPrefix(referrer, "http://")
	}
	if own := site.Host; ok && strings.HasPrefix(rest, own) && (len(rest) == len(own) || rest[len(own)] == '/') {
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
	host = strings.ToLower(hostname.WithoutDot(u.Hostname()))
	if host == "" || len(u.Host) > maxHost || !hostname.IsValid(u.Host) || rd.isOwnPage(u, site) {
		return "", "", false
	}
	path, personal := withoutPersonal(u.EscapedPath())
	if personal {
		left[clipPersonal]++
	}
	return host, left.clip(u.Scheme + "://" + strings.ToLower(hostname.WithoutDot(u.Host)) + path), true
}

// isOwnPage reports whether u is a page of the site: of its host on whichever
// port, with and without www., or of one of Config.OwnHosts.
func (rd *Reader) isOwnPage(u *url.URL, site Site) bool {
	host := strings.ToLower(hostname.WithoutDot(u.Hostname()))
	return hostname.IsUnder(host, rd.ownHosts) ||
		strings.EqualFold(hostname.WithoutWWW(host), hostname.WithoutWWW(hostname.WithoutDot(hostname.WithoutPort(site.Host)))) ||
		site.IsProxied != nil && site.IsProxied(u)
}

// maxHost is how long the host of a referrer is at most, with its port: a name of the DNS
// has 253 bytes, and none that people link to comes near it. The whole of it fits into a
// store.Touch, or what kind of host it is could not be known from there.
const maxHost = 200

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
