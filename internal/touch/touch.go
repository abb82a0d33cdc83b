// Package touch reads from URLs what led a visitor here: campaign parameters, click
// identifiers and referrers, without what is personal. It also compares touches.
package touch

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/revisit-go/revisit/store"
)

// A Reader reads links of one site. It is safe for concurrent use.
type Reader struct {
	ownHosts     []string
	moreClickIDs map[string]clickName // beside those that are known, by name in small letters
}

// NewReader returns a Reader for a site that has further hosts (their subdomains included),
// and for click identifiers beside those that are known. CheckClickID has found nothing
// wrong with these.
func NewReader(ownHosts, clickIDs []string) *Reader {
	return &Reader{slices.Clone(ownHosts), clickNames(clickIDs)}
}

// A Site is the site that a request is for.
type Site struct {
	Host string // of the request
	// IsProxied, if not nil, reports whether u is a page of the site though the request has
	// another Host.
	IsProxied func(u *url.URL) bool
}

// maxTouchText bounds each text of a store.Touch, in bytes: what a client sends must
// not fill the store.
const maxTouchText = 256

// Read returns what a page of the site and its referrer say. It counts in left what is not
// kept of them.
func (rd *Reader) Read(site Site, page *url.URL, referrer string, at time.Time, left *Clipped) store.Touch {
	path, more := rd.cutPath(page)
	t := store.Touch{Time: at, Landing: landing(path, left)}
	paid, shopping := false, false
	if page.RawQuery != "" || more != "" {
		q := query{reader: rd, touch: &t, left: left}
		q.read(page.RawQuery, 0)
		q.read(more, 1)
		q.finish()
		paid, shopping = q.paid, q.shopping
	}
	if t.Source != "" && t.Medium == "" {
		// Assistants tag their links with their host, and no more.
		if kind := classify(strings.ToLower(t.Source)); kind.medium != "referral" && kind.medium != pass && strings.Contains(t.Source, ".") {
			t.Source, t.Medium = kind.source, kind.medium
		}
	}
	host, from, ok := rd.externalReferrer(site, referrer, left)
	if !ok {
		return t
	}
	kind := classify(host)
	if kind.medium == pass {
		return t
	}
	t.Referrer = from
	if t.Source != "" || t.Campaign != "" || t.Click != "" {
		return t
	}
	switch search := kind.medium == "search"; {
	case search && paid:
		kind = referrerKind{"cpc", "google"} // as Google Analytics names it
	case t.ID != "":
		return t
	case search && shopping && kind.source == shoppingListing.source:
		kind = shoppingListing
	}
	t.Source = kind.source
	if t.Medium == "" {
		t.Medium = kind.medium
	}
	return t
}

// ReadReport returns what a page says that the page's script has reported: its path and
// query, with a fragment if it has one, and its referrer. If consent was given on this page,
// beforeConsent is true: then a campaign of the page before counts, too. A page that is not
// readable says nothing.
func (rd *Reader) ReadReport(site Site, page, referrer string, beforeConsent bool, at time.Time, left *Clipped) store.Touch {
	path, fragment, _ := strings.Cut(page, "#")
	u, err := url.ParseRequestURI(path)
	if err != nil {
		return store.Touch{Time: at}
	}
	// A single-page application may have its routes in the fragment, and their campaigns.
	route, more, _ := strings.Cut(fragment, "?")
	isRoute := strings.HasPrefix(route, "/") || strings.HasPrefix(route, "!/")
	if isRoute && more != "" {
		u.RawQuery += "&" + more
	}
	t := rd.Read(site, u, referrer, at, left)
	if isRoute {
		if text, ok := readable(unescapeOnce(route)); ok {
			clean, personal := withoutPersonal(text)
			if personal {
				left[clipPersonal]++
			}
			t.Landing = left.clip(t.Landing + "#" + clean)
		} else {
			left[clipUnreadable]++
		}
	}
	// A visitor who says yes on the second page has come by the first.
	if beforeConsent && !IsCampaign(&t) {
		if before, err := url.Parse(referrer); err == nil && len(referrer) <= maxReferrer && rd.isOwnPage(before, site) {
			if first := rd.Read(site, before, "", at, left); IsCampaign(&first) {
				return first
			}
		}
	}
	return t
}

// shoppingListing is what a page of Google's says that has marked its link to a product with
// srsltid: nobody has paid for it.
var shoppingListing = referrerKind{"organic-shopping", "google"}

// landing returns an escaped path as it is kept. It begins with one slash, whatever somebody
// unescapes of it: with two, or with a backslash behind one, it would be the address of
// another host, where a report makes a link of it.
func landing(path string, left *Clipped) string {
	path, personal := withoutPersonal(path)
	if personal {
		left[clipPersonal]++
	}
	if path == "" || path[0] != '/' {
		return "/"
	}
	rest := path
	for rest != "" {
		c, n := rest[0], 1
		if e, ok := escaped(rest); ok {
			c, n = e, 3
		}
		if c != '/' && c != '\\' && c > ' ' { // browsers pass over control characters
			break
		}
		rest = rest[n:]
	}
	if len(path) > len(rest)+1 {
		path = "/" + rest
	}
	return left.clip(path)
}

// cutPath returns the escaped path of a page, and what somebody has put behind it as a query,
// with a question mark that was escaped or forgotten: /shoes%3Futm_source=x, /shoes&utm_source=x.
func (rd *Reader) cutPath(page *url.URL) (path, query string) {
	path = page.EscapedPath()
	if !strings.Contains(page.Path, "=") {
		return path, ""
	}
	for i := 0; i < min(len(path), maxPersonal); i++ {
		c, n := path[i], 1
		if e, ok := escaped(path[i:]); ok {
			c, n = e, 3
		}
		if c == '?' || c == '&' || c == ';' {
			rest := path[i+n:]
			if unescaped := unescapeOnce(rest[:min(len(rest), 3*maxName)]); strings.Contains(unescaped, "=") {
				key, _, _ := strings.Cut(unescaped, "=")
				if _, kind := rd.paramOf(key); kind != 0 {
					return path[:i], rest
				}
			}
		}
		i += n - 1
	}
	return path, ""
}
