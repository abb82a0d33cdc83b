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
		return v.tracker.touchOf(r, r.URL, headerValue(r.Header, "Referer"), v.now)
	}
	if v.told == nil || v.told.page == "" {
		return Touch{Time: v.now}
	}
	path, fragment, _ := strings.Cut(v.told.page, "#")
	page, err := url.ParseRequestURI(path)
	if err != nil {
		return Touch{Time: v.now}
	}
	t := v.tracker.touchOf(r, page, v.told.referrer, v.now)
	// A single-page application may have its routes in the fragment.
	if route, _, _ := strings.Cut(fragment, "?"); (strings.HasPrefix(route, "/") || strings.HasPrefix(route, "!/")) && !isPersonal(route) && !isPersonal(unescape(route)) {
		t.Landing = clip(t.Landing + "#" + unescape(route))
	}
	// Whoever says yes on the second page has come by the first.
	if v.landing && !t.campaign() {
		if before, err := url.Parse(v.told.referrer); err == nil && len(v.told.referrer) <= maxReferrer && isOwn(before, r) {
			if first := v.tracker.touchOf(r, before, "", v.now); first.campaign() {
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

// reloads reports whether the browser loads once more what it shows, because somebody has
// asked for that: then it says in the request that what it has stored is not good enough
// (Chromium and Firefox do; a link, a bookmark and the address bar leave it out).
func (v *Visit) reloads() bool {
	if v.kind != kindPage {
		return false
	}
	switch headerValue(v.request.Header, "Cache-Control") {
	case "max-age=0", "no-cache":
		return true
	}
	return false
}

// touchOf returns what a page and its referrer say, at the host of r.
func (tr *Tracker) touchOf(r *http.Request, page *url.URL, referrer string, at time.Time) Touch {
	path := page.EscapedPath()
	t := Touch{Time: at, Landing: clip(path)}
	if path == "" || isPersonal(path) || path != page.Path && isPersonal(page.Path) {
		t.Landing = "/"
	}
	for rest := page.RawQuery; rest != ""; {
		var pair string
		pair, rest, _ = strings.Cut(rest, "&")
		key, value, _ := strings.Cut(pair, "=")
		if field := t.field(key); field != nil {
			// As it came, too: a plus sign is a space to a query, and begins a number.
			if text := unescape(value); *field == "" && !isPersonal(value) && !isPersonal(text) {
				*field = clip(text)
			}
		} else if t.Click == "" && slices.Contains(clickIDs[:], key) {
			// Half a click identifier is none. It looks like a token, and is one of the
			// platform's, but it is not to be somebody's address or a login.
			if click := unescape(value); click != "" && len(key)+1+len(click) <= maxTouchText && !hasAddress(click) && !hasJWT(click) {
				t.Click = key + "=" + click
			}
		}
	}
	if t.Source != "" && t.Medium == "" {
		// Assistants tag their links with their host, and no more.
		if kind := classify(strings.ToLower(t.Source)); kind.medium != "referral" && kind.medium != pass && strings.Contains(t.Source, ".") {
			t.Source, t.Medium = kind.source, kind.medium
		}
	}
	if host, page, ok := externalReferrer(referrer, r.Host, tr.ownHosts); ok {
		kind := classify(host)
		if kind.medium == pass {
			return t
		}
		if t.Referrer = page; t.Source == "" && t.Campaign == "" && t.ID == "" && t.Click == "" {
			t.Source = kind.source
			if t.Medium == "" {
				t.Medium = kind.medium
			}
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
	return is != classify(u.Hostname()) && is != referrerKind{"referral", u.Hostname()}
}

// IsDirect reports whether nothing says where the visitor came from: no campaign, no
// referrer.
func (t Touch) IsDirect() bool { return !t.campaign() && t.Referrer == "" && t.Source == "" }

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

func unescape(s string) string {
	if u, err := url.QueryUnescape(s); err == nil {
		s = u
	}
	// What turns the direction of a text would make one campaign look like another.
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }) {
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
