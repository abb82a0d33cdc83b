package revisit

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// maxTouchText bounds each text of a Touch, in bytes: what a client sends must
// not fill the store.
const maxTouchText = 256

// maxReferrer is the longest URL that is looked at besides that of the request.
const maxReferrer = 8 << 10

// maxTouches is how many touches a session keeps: the first for ever and the
// latest 15 after it.
const maxTouches = 16

// clickIDs are the query parameters by which advertising platforms mark a
// click, each as its documentation names it.
var clickIDs = [...]string{
	"gclid", "gbraid", "wbraid", // Google Ads
	"fbclid",    // Meta
	"msclkid",   // Microsoft Advertising
	"ttclid",    // TikTok
	"twclid",    // X
	"li_fat_id", // LinkedIn
}

// touch returns what the page view says of how the visitor came here.
func (v *Visit) touch() Touch {
	r := v.request
	if v.kind == kindPage {
		return touchOf(r, r.URL, headerValue(r.Header, "Referer"), v.now)
	}
	if v.page == "" {
		return Touch{Time: v.now}
	}
	path, fragment, _ := strings.Cut(v.page, "#")
	page, err := url.ParseRequestURI(path)
	if err != nil {
		return Touch{Time: v.now}
	}
	t := touchOf(r, page, v.referrer, v.now)
	// A single-page application may have its routes in the fragment.
	if route, _, _ := strings.Cut(fragment, "?"); strings.HasPrefix(route, "/") || strings.HasPrefix(route, "!/") {
		t.Landing = clip(t.Landing + "#" + unescape(route))
	}
	// Whoever says yes on the second page has come by the first.
	if v.landing && !t.campaign() {
		if before, err := url.Parse(v.referrer); err == nil && len(v.referrer) <= maxReferrer && isOwn(before, r) {
			if first := touchOf(r, before, "", v.now); first.campaign() {
				return first
			}
		}
	}
	return t
}

// touchOf returns what a page and its referrer say, at the host of r.
func touchOf(r *http.Request, page *url.URL, referrer string, at time.Time) Touch {
	t := Touch{Time: at, Landing: clip(page.EscapedPath())}
	if t.Landing == "" {
		t.Landing = "/"
	}
	for rest := page.RawQuery; rest != ""; {
		var pair string
		pair, rest, _ = strings.Cut(rest, "&")
		key, value, _ := strings.Cut(pair, "=")
		if field := t.field(key); field != nil {
			if *field == "" {
				*field = clip(unescape(value))
			}
		} else if t.Click == "" && slices.Contains(clickIDs[:], key) {
			// Half a click identifier is none.
			if click := unescape(value); click != "" && len(key)+1+len(click) <= maxTouchText {
				t.Click = key + "=" + click
			}
		}
	}
	if host, page, ok := externalReferrer(referrer, r.Host); ok {
		t.Referrer = page
		if !t.campaign() {
			t.Source, t.Medium = host, "referral"
		}
	}
	return t
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
	return t.Campaign != "" || t.ID != "" || t.Click != "" || t.Source != "" && t.Medium != "referral"
}

// sameCampaign reports whether two tagged touches speak of one click: the same
// URL loaded once more, say.
func (t *Touch) sameCampaign(u *Touch) bool {
	return t.Source == u.Source && t.Medium == u.Medium && t.Campaign == u.Campaign &&
		t.Term == u.Term && t.Content == u.Content && t.ID == u.ID && t.Click == u.Click
}

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

// externalReferrer returns the host and the page of a Referer on another host.
// The query, the fragment and credentials are left out: they are somebody
// else's, and personal more often than not.
func externalReferrer(referer, own string) (host, page string, ok bool) {
	if referer == "" {
		return "", "", false
	}
	// Most referrers are pages of this host: find that out without parsing.
	if _, rest, ok := strings.Cut(referer, "://"); ok {
		if authority, _, _ := strings.Cut(rest, "/"); authority == own {
			return "", "", false
		}
	}
	if len(referer) > maxReferrer {
		return "", "", false
	}
	u, err := url.Parse(referer)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.EqualFold(u.Host, own) {
		return "", "", false
	}
	host = clip(strings.ToLower(u.Hostname()))
	if host == "" || !utf8.ValidString(u.Host) {
		return "", "", false
	}
	return host, clip(u.Scheme + "://" + strings.ToLower(u.Host) + u.EscapedPath()), true
}

func unescape(s string) string {
	if u, err := url.QueryUnescape(s); err == nil {
		s = u
	}
	if !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
		return ""
	}
	return strings.TrimSpace(s)
}

// clip cuts s to what a Touch takes, at the boundary of a character.
func clip(s string) string {
	if len(s) <= maxTouchText {
		return s
	}
	n := maxTouchText
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
