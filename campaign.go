package revisit

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// maxTouchText bounds each text of a Touch, in bytes: what a client sends must
// not fill the store.
const maxTouchText = 256

// maxReferrer is the longest URL that is looked at besides that of the request.
const maxReferrer = 8 << 10

// maxTouches is how many touches a session keeps: the first for ever and the
// latest 15 after it.
const maxTouches = 16

// touch returns what the page view says of how the visitor came here. What it leaves out is
// counted once a request.
func (v *Visit) touch() Touch {
	var left clips
	t := v.readTouch(&left)
	if !v.clipped {
		v.clipped = true
		v.tracker.stats.clip(&left)
	}
	return t
}

func (v *Visit) readTouch(left *clips) Touch {
	r := v.request
	if v.kind == kindPage {
		return v.tracker.touchOf(r, r.URL, headerValue(r.Header, "Referer"), v.now, left)
	}
	if v.told == nil || v.told.page == "" {
		return Touch{Time: v.now}
	}
	path, fragment, _ := strings.Cut(v.told.page, "#")
	page, err := url.ParseRequestURI(path)
	if err != nil {
		return Touch{Time: v.now}
	}
	// A single-page application may have its routes in the fragment, and their campaigns.
	route, more, _ := strings.Cut(fragment, "?")
	isRoute := strings.HasPrefix(route, "/") || strings.HasPrefix(route, "!/")
	if isRoute && more != "" {
		page.RawQuery += "&" + more
	}
	t := v.tracker.touchOf(r, page, v.told.referrer, v.now, left)
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
	// Whoever says yes on the second page has come by the first.
	if v.landing && !t.campaign() {
		if before, err := url.Parse(v.told.referrer); err == nil && len(v.told.referrer) <= maxReferrer && v.tracker.isOwnPage(before, r) {
			if first := v.tracker.touchOf(r, before, "", v.now, left); first.campaign() {
				return first
			}
		}
	}
	return t
}

// isCampaign reports whether the page view's touch is a campaign. It is cheaper to know
// than the touch.
func (v *Visit) isCampaign() bool {
	if v.kind == kindPage && v.request.URL.RawQuery == "" {
		return false
	}
	t := v.touch()
	return t.campaign()
}

// reloads reports whether the browser loads once more what it shows, or has shown: then
// the URL is no click. Chromium says in the request that what it has stored is not good
// enough, and Firefox that nobody has clicked or typed (nor opened it from a mail): Firefox
// sends Sec-Fetch-User otherwise. WebKit says neither. (Measured: docs/recognition.md.)
// For what no handler has seen, the script says it.
func (v *Visit) reloads() bool {
	if v.kind != kindPage {
		return v.told != nil && v.told.again
	}
	h := v.request.Header
	switch headerValue(h, "Cache-Control") {
	case "max-age=0", "no-cache":
		return true
	}
	return headerValue(h, "Sec-Fetch-Dest") == "document" && headerValue(h, "Sec-Fetch-User") == "" && !v.byWorker &&
		strings.Contains(headerValue(h, "User-Agent"), " Firefox/")
}

// isLed reports whether a page of another host has led here.
func (v *Visit) isLed() bool {
	site := headerValue(v.request.Header, "Sec-Fetch-Site")
	return v.kind == kindPage && (site == "cross-site" || site == "same-site")
}

// touchOf returns what a page and its referrer say, at the host of r. It counts in left what
// is not kept of them.
func (tr *Tracker) touchOf(r *http.Request, page *url.URL, referrer string, at time.Time, left *clips) Touch {
	path, more := tr.cutPath(page)
	t := Touch{Time: at, Landing: landing(path, left)}
	paid, shopping := false, false
	if page.RawQuery != "" || more != "" {
		q := query{tracker: tr, touch: &t, left: left}
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
	host, from, ok := tr.externalReferrer(r, referrer, left)
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

// shoppingListing is what a page of Google's says that has marked its link to a product with
// srsltid: nobody has paid for it.
var shoppingListing = referrerKind{"organic-shopping", "google"}

// landing returns an escaped path as it is kept. It begins with one slash, whatever somebody
// unescapes of it: with two, or with a backslash behind one, it would be the address of
// another host, where a report makes a link of it.
func landing(path string, left *clips) string {
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
func (tr *Tracker) cutPath(page *url.URL) (path, query string) {
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
				if _, kind := tr.paramOf(key); kind != 0 {
					return path[:i], rest
				}
			}
		}
		i += n - 1
	}
	return path, ""
}

// field returns where the value of a utm parameter belongs, nil for other keys.
func (t *Touch) field(key string) *string {
	switch key {
	case "utm_source":
		return &t.Source
	case "utm_medium":
		return &t.Medium
	case "utm_campaign":
		return &t.Campaign
	case "utm_term":
		return &t.Term
	case "utm_content":
		return &t.Content
	case "utm_id":
		return &t.ID
	}
	return nil
}

// campaign reports whether somebody tagged the link.
func (t *Touch) campaign() bool {
	if t.Campaign != "" || t.ID != "" || t.Click != "" || t.Term != "" || t.Content != "" {
		return true
	}
	if t.Source == "" || t.Referrer == "" {
		return t.Source != "" || t.Medium != ""
	}
	// Source and Medium are what the referrer is, or somebody has tagged the link.
	u, err := url.Parse(t.Referrer)
	if err != nil {
		return false
	}
	is := referrerKind{t.Medium, t.Source}
	kind := classify(u.Hostname())
	return is != kind && is != referrerKind{"referral", u.Hostname()} && !(is == shoppingListing && kind == referrerKind{"search", "google"})
}

// IsDirect reports whether nothing says where the visitor came from: no campaign, no
// referrer.
func (t Touch) IsDirect() bool { return !t.campaign() && t.Referrer == "" && t.Source == "" }

// sameCampaign reports whether two tagged touches speak of one click: the same
// URL loaded once more, say.
func (t *Touch) sameCampaign(u *Touch) bool { return t.sameTags(u) && t.Click == u.Click }

// sameTags is sameCampaign for all but the click identifiers.
func (t *Touch) sameTags(u *Touch) bool {
	return t.Source == u.Source && t.Medium == u.Medium && t.Campaign == u.Campaign &&
		t.Term == u.Term && t.Content == u.Content && t.ID == u.ID
}

// isUntagged reports whether a touch with a click identifier has nothing else that names a
// campaign.
func (t *Touch) isUntagged() bool { return t.sameTags(&Touch{}) }

// withTouch returns touches with t in its place by time, nothing if it is there
// already. The given slice stays as it is.
func withTouch(touches []Touch, t Touch) []Touch {
	if slices.ContainsFunc(touches, func(u Touch) bool { return sameTouch(u, t) }) {
		return touches
	}
	all := make([]Touch, 0, len(touches)+1)
	all = append(append(all, touches...), t.clone())
	slices.SortStableFunc(all, func(a, b Touch) int { return a.Time.Compare(b.Time) })
	if over := len(all) - maxTouches; over > 0 {
		all = slices.Delete(all, 1, 1+over)
	}
	return all
}

// clone returns a Touch with texts of its own: those of a request are cut out of
// its URL, and would keep all of it in memory.
func (t Touch) clone() Touch {
	for _, s := range t.texts() {
		*s = strings.Clone(*s)
	}
	return t
}

// texts returns all texts of a Touch, in an order that is kept.
func (t *Touch) texts() [9]*string {
	return [...]*string{&t.Landing, &t.Referrer, &t.Source, &t.Medium, &t.Campaign, &t.Term, &t.Content, &t.ID, &t.Click}
}

func sameTouch(a, b Touch) bool {
	if !a.Time.Equal(b.Time) {
		return false
	}
	a.Time = b.Time // one instant can be written in two ways
	return a == b
}
