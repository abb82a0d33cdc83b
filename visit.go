package revisit

import (
	"context"
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A Visit is one request on its way through a [Tracker], as a [Strategy] sees
// it. It is not safe for concurrent use, and not to be kept after the request.
type Visit struct {
	tracker *Tracker
	request *http.Request // as the client sent it
	header  http.Header   // the handler's, if it differs
	now     time.Time

	// The size of a Visit is what most of the time goes into, so the small fields
	// stand together.
	kind       kind
	permission Permission
	navigation bool // the browser goes to a page
	hit        bool // a page view
	landing    bool // that view was before consent
	mayMint    bool // of a kind that starts sessions
	foreign    bool // a subresource of another site's page: never read nor answered with a token
	linkable   bool // of a kind whose response can have a link ticket
	byWorker   bool // a service worker hands the page on to its browser
	bot        bool // Config.Bot says so
	weak       bool // the session was found, or started, by its likeness alone: nothing of it goes into a carrier
	unsettled  bool // whether the claims are one session is not known yet, so the carriers stay as they are
	forgotten  bool // under Deny: nobody is left that the request speaks for
	spoke      bool // under Deny: it has spoken for somebody
	hooked     bool // the header of the response is of interest
	freshening bool // the response is no whole one: see freshens
	resent     bool // the handler was made to answer 200, so that a stored tag is replaced
	tagging    bool // tags may ride on responses to requests of this kind
	clipped    bool // what was left out of the link has been counted

	notModified bool    // a held body is the one that the client has
	content     content // of the response

	// For these mu: a handler may go on after a timeout.
	attached    bool // Attach or Clear has been called
	personal    bool // the body has a ticket, so the response is to be private
	sentPrivate bool // the header has gone, and was private

	disclaims atomic.Bool // the consent is to end, too: see endConsent
	clearing  atomic.Bool // the carriers are to go; Forget may be called from another goroutine
	offers    uint32      // a bit for each strategy, by rank, that can carry a new token
	mu        sync.Mutex
	holdLimit int32 // up to here the body is held back to be hashed

	whole *heldBody // that was held back from beginning to end

	carriers []carrier
	few      [2]carrier // room for carriers
	session  Session    // tracker is nil if there is none

	like *likeness // what the client looks like; nil if that is of no interest
	told *told     // nil but for the beacon's anchor

	form  *form    // nil but for a POST that nothing else says of whose it is
	bound *binding // what tickets are bound to; nil where there are none

	// One allocation holds all that a request needs.
	scratch  scratch
	context  visitContext
	inner    http.Request // as the handler sees it
	response response
}

// A carrier is what came in under one purpose.
type carrier struct {
	token     string // of id
	id        ID     // zero: no valid token came
	rank      int8   // of the strategy, whose Via is the purpose
	old       bool   // sealed with a key that no longer signs
	ambiguous bool   // two different valid tokens
	stored    bool   // sits in the client's stored response
}

// Request returns the request as the client sent it. It must not be changed:
// see Header.
func (v *Visit) Request() *http.Request { return v.request }

// Header returns the header that the handler is to see, a copy that may be
// changed before the handler runs.
func (v *Visit) Header() http.Header {
	if v.header == nil {
		v.header = maps.Clone(v.request.Header) // lines are replaced, never changed
	}
	return v.header
}

// Permission returns what Config.Consent answered.
func (v *Visit) Permission() Permission { return v.permission }

// Navigation reports whether the browser goes to a page, as opposed to loading
// a part of one.
func (v *Visit) Navigation() bool { return v.navigation }

// Present tells of a token that the client carries for a purpose, which is the
// strategy's Via; another one panics. It reports whether the token is one of ours, sealed for this
// purpose and within its lifetime. One that is not is ignored and counted; two
// different valid ones for one purpose make it ambiguous: no claim at all.
//
// Under Unasked no claim may be used: Present takes note that there is a
// carrier, and reports false. On a subresource of another site's page it reports
// false and takes note of nothing.
func (v *Visit) Present(purpose, token string) bool {
	rank := v.tracker.mustRank(purpose)
	if v.foreign {
		return false
	}
	c := v.ranked(rank)
	if c == nil {
		v.carriers = append(v.carriers, carrier{rank: int8(rank)})
		c = &v.carriers[len(v.carriers)-1]
	}
	if v.permission == Unasked {
		return false
	}
	id, old, ok := v.tracker.keys.open(&v.scratch, purpose, token)
	switch {
	case !ok:
		v.tracker.stats.forged.Add(1)
		return false
	case v.now.UnixMilli()-id.milli() >= inMilli(v.tracker.lifetime):
		v.tracker.stats.expired.Add(1)
		return false
	case !c.id.IsZero() && c.id != id:
		if !c.ambiguous {
			v.tracker.stats.ambiguous.Add(1)
		}
		c.ambiguous = true
		if v.permission == Deny && len(v.carriers) < maxDenied {
			// Whichever is the visitor's own, both are to be forgotten.
			v.carriers = append(v.carriers, carrier{id: id, token: token, rank: int8(rank), ambiguous: true})
		}
		return true
	}
	c.id, c.token, c.old = id, token, old
	return true
}

// maxDenied is how many carriers a request under Deny is asked for at most.
const maxDenied = 8

// Carried reports whether anything was presented for the purpose, valid or not.
func (v *Visit) Carried(purpose string) bool { return v.carrier(purpose) != nil }

// isAmbiguous reports whether two different valid tokens came for the purpose.
func (v *Visit) isAmbiguous(purpose string) bool {
	c := v.carrier(purpose)
	return c != nil && c.ambiguous
}

// Offer says that the strategy could carry a new token for the purpose on the
// response to this request. Without an offer (or a Match) no session is started, since
// nobody would know it again. The purpose is the strategy's Via; another one panics.
func (v *Visit) Offer(purpose string) { v.offers |= 1 << v.tracker.mustRank(purpose) }

// Hook asks for Attach to be called even if the client's carriers are as they
// should be. Otherwise it is called only if a carrier is due that was offered or
// presented, because every look at the header of a response has its price.
func (v *Visit) Hook() { v.hooked = true }

// New reports whether the session was started by this request.
func (v *Visit) New() bool { return v.session.tracker != nil && v.session.Via == viaNew }

// Expires returns when the tokens of the session end. It is not extended by
// visits.
func (v *Visit) Expires() time.Time { return v.session.ID.Time().Add(v.tracker.lifetime) }

// Due reports whether the client is to be given a carrier: it has none for this
// purpose, or one with another session or an old key. Under Recognise a carrier
// that is missing is not due, because it may have been cleared on purpose; it
// is for a new session, which has none yet.
func (v *Visit) Due(purpose string) bool {
	if v.session.tracker == nil || v.session.Unverified || v.unsettled || v.clearing.Load() {
		return false
	}
	c := v.carrier(purpose)
	switch {
	case v.New(), v.session.Via == viaAdopted && (c == nil || c.id.IsZero()):
		return true
	case c == nil || c.id.IsZero():
		return v.permission == Restore
	}
	return c.id != v.session.ID || c.old
}

// Seal returns the session's token for the purpose, to be written into h. It
// applies the carrier rule: ok is false if a shared cache could keep a response
// with this header, or if there is no session to be carried; otherwise h has
// been made private. It is not ok on a 304, a 206 and an answer to HEAD either, whose
// header a shared cache may put into what it has stored (RFC 9111, sections 3.2, 3.4 and
// 4.3.5). A new session is saved here, so call Seal only for a token that will be sent.
func (v *Visit) Seal(purpose string, h http.Header) (token string, ok bool) {
	if v.freshening {
		return "", false
	}
	return v.seal(purpose, h, cachingOf(h))
}

// seal is Seal for a caller who has looked at h already.
func (v *Visit) seal(purpose string, h http.Header, c caching) (token string, ok bool) {
	if !v.sealable(purpose) || !c.carries() {
		return "", false
	}
	have := v.carrier(purpose)
	standing := have != nil && !have.old && !have.id.IsZero() && (have.id == v.session.ID || v.unsettled)
	// While the store is down nothing is written, but a response that replaces
	// the one with the token must not lose it either.
	if (v.session.Unverified || v.unsettled) && !standing {
		return "", false
	}
	if err := v.session.create(v.context.Context); err != nil {
		return "", false
	}
	c.makePrivate(h)
	if standing {
		return have.token, true
	}
	return v.tracker.keys.seal(&v.scratch, purpose, v.session.ID), true
}

// sealable reports whether a token may be given out at all.
func (v *Visit) sealable(purpose string) bool {
	if v.session.tracker == nil || v.clearing.Load() || v.foreign || v.weak {
		return false
	}
	c := v.carrier(purpose)
	return c == nil || !c.ambiguous
}

// ours reports whether a token, presented or not, is one of ours.
func (v *Visit) ours(purpose, token string) bool {
	if c := v.carrier(purpose); c != nil && c.token == token {
		return true
	}
	_, _, ok := v.tracker.keys.open(&v.scratch, purpose, token)
	return ok
}

// carrier returns what was presented for the purpose, nil for nothing.
func (v *Visit) carrier(purpose string) *carrier {
	for i := range v.carriers {
		if c := &v.carriers[i]; v.tracker.names[c.rank] == purpose {
			return c
		}
	}
	return nil
}

// ranked is carrier for who knows the place of the strategy.
func (v *Visit) ranked(rank int) *carrier {
	for i := range v.carriers {
		if c := &v.carriers[i]; int(c.rank) == rank {
			return c
		}
	}
	return nil
}

// seedable reports whether a new token may ride on a 200 to this request.
func (v *Visit) seedable() bool {
	if v.request.Method != http.MethodGet {
		return false
	}
	_, ranged := v.request.Header["Range"]
	return !ranged
}

// freshens reports whether a cache puts the header of this response into one that it has
// stored before: those of a 304, a 206 and the answer to a HEAD (RFC 9111, sections 3.2,
// 3.4 and 4.3.5). That may be a page without a token, of a visitor who was not asked, in
// a cache that all share; private does not keep the header out of it. A tag with a token
// is no danger: it names no page that was stored without it.
func (v *Visit) freshens(status int) bool {
	return status == http.StatusNotModified || status == http.StatusPartialContent || v.request.Method == http.MethodHead
}

// visitContext is the context of the request that the handler sees.
type visitContext struct {
	context.Context
	v *Visit
}

type (
	sessionKey struct{}
	visitKey   struct{ tracker *Tracker }
	nearestKey struct{}
)

func (c *visitContext) Value(key any) any {
	switch key := key.(type) {
	case sessionKey:
		if c.v.permission != Deny {
			c.v.settleForm(true)
		}
		// Never the session of another Tracker further out.
		if c.v.session.tracker == nil {
			return (*Session)(nil)
		}
		return &c.v.session
	case nearestKey:
		return c.v
	case visitKey:
		if key.tracker == c.v.tracker {
			return c.v
		}
	}
	return c.Context.Value(key)
}

// visitOf returns the Visit of the innermost Tracker, nil for none.
func visitOf(ctx context.Context) *Visit {
	v, _ := ctx.Value(nearestKey{}).(*Visit)
	return v
}

// visit returns the Visit of the request that ctx belongs to, nil for none.
func (t *Tracker) visit(ctx context.Context) *Visit {
	v, _ := ctx.Value(visitKey{t}).(*Visit)
	return v
}

// classify reads the Fetch Metadata of the request. Clients without it (not
// browsers, or a plain-http host other than localhost) are told by Accept.
func (v *Visit) classify() {
	h := v.request.Header
	mode, dest := headerValue(h, "Sec-Fetch-Mode"), headerValue(h, "Sec-Fetch-Dest")
	if site := headerValue(h, "Sec-Fetch-Site"); mode == "" && dest == "" && site == "" {
		v.classifyByAccept()
	} else {
		forwarded := isForwarded(h, site, mode, dest)
		page := mode == "navigate" && (dest == "document" || dest == "") || forwarded
		v.foreign = site == "cross-site" && !page
		v.navigation = (mode == "navigate" || forwarded) && !v.foreign
		v.hit = page
		v.byWorker = forwarded || page && headerValue(h, "Service-Worker-Navigation-Preload") != ""
		// A page on another host of the site asks without cookies, unless it was told to send
		// them, so that there is none means nothing. Nor does a picture that a service worker
		// hands on: for the server that is a fetch without CORS.
		fetch := (dest == "empty" || dest == "") && mode != "websocket" && mode != "no-cors" && site != "same-site" && !v.foreign
		v.mayMint = v.navigation || fetch
		// The way back from a payment page can be a POST from another site, which
		// comes without SameSite=Lax cookies. That there is none means nothing, and
		// a new one would take the place of the visitor's.
		if site == "cross-site" && v.request.Method != http.MethodGet {
			v.mayMint = false
		}
	}
	if isPrefetch(h) {
		v.hit, v.mayMint = false, false
	}
	switch v.kind {
	case kindPage:
		v.linkable = v.mayMint && v.request.Method == http.MethodGet && v.tracker.beaconOn.Load()
		if v.hit && v.byWorker && v.permission >= Recognise {
			v.Hook() // for sendSeen
		}
	case kindAnchor:
		v.classifyAnchor()
	case kindForget:
		v.permission = Deny // in so many words
	}
}

// isForwarded reports whether a service worker hands a navigation on, by
// fetch(event.request). For the server it is for nothing in particular then, and in
// Firefox no navigation either, and always of this origin (measured in Chromium 156 and
// Firefox 153; both leave what only navigations have: Accept, and the wish for https).
// No page of another site can make such a request but by a navigation: a Request of mode
// "navigate" cannot be made by script, and one of mode "same-origin" does not leave the
// origin (Fetch standard, section 5.4). A frame is handed on in the same way, and taken
// for a page.
func isForwarded(h http.Header, site, mode, dest string) bool {
	if dest != "empty" {
		return false
	}
	return mode == "navigate" || mode == "same-origin" && site == "same-origin" &&
		headerValue(h, "Upgrade-Insecure-Requests") == "1" && strings.HasPrefix(headerValue(h, "Accept"), "text/html")
}

// classifyByAccept is for clients without Fetch Metadata. What browsers send for a page
// begins with text/html, and what is asked for otherwise is no page view: an API's
// client, say, or a page that polls. Who says nothing, or that anything is welcome, is
// taken at his word, save a browser, whose script says that.
func (v *Visit) classifyByAccept() {
	h := v.request.Header
	want := wants(h["Accept"])
	origin := headerValue(h, "Origin")
	v.mayMint = v.request.Method == http.MethodGet && want != wantsAsset && (origin == "" || isSameOrigin(v.request))
	v.navigation = v.mayMint && strings.HasPrefix(headerValue(h, "Accept"), "text/html")
	byScript := origin != "" || headerValue(h, "Referer") != "" || strings.HasPrefix(headerValue(h, "User-Agent"), "Mozilla/")
	v.hit = v.mayMint && (want == wantsPage || want == wantsAnything && (len(h["Accept"]) == 0 || !byScript))
}

// isPrefetch reports whether nobody has asked for what the browser fetches yet, or sees
// no more of it than a picture. Other fields than Sec-Purpose are what browsers sent
// before it (Firefox X-Moz, Chrome and Safari Purpose, and X-Purpose for a preview),
// what apps send (Facebook's) and what scripts do, which cannot set Sec-Purpose (Turbo's).
func isPrefetch(h http.Header) bool {
	if _, ok := h["Sec-Purpose"]; ok {
		return true
	}
	for _, name := range [...]string{"Purpose", "X-Purpose", "X-Sec-Purpose", "X-Moz"} {
		value := headerValue(h, name)
		if value == "" || len(value) > 64 {
			continue
		}
		value = strings.ToLower(value)
		for _, word := range [...]string{"prefetch", "preview", "prerender"} {
			if strings.Contains(value, word) {
				return true
			}
		}
	}
	return false
}

// What a client says that it wants.
type wanted int8

const (
	wantsAnything wanted = iota
	wantsPage
	wantsAsset // images, styles, fonts or media only
	wantsData  // JSON, events, or anything else that is no page
)

// How much of Accept is looked at. Browsers send one line of less than 200 bytes.
const (
	maxAcceptLines = 4
	maxAcceptText  = 1 << 10
)

// wants returns what Accept asks for. Browsers put */* at the end of such a list, which
// says nothing; none asks for JSON where it goes to a page.
func wants(lines []string) wanted {
	want := wantsAnything
	for _, line := range lines[:min(len(lines), maxAcceptLines)] {
		for line = line[:min(len(line), maxAcceptText)]; line != ""; {
			var item string
			item, line, _ = strings.Cut(line, ",")
			kind, _, _ := strings.Cut(item, ";")
			switch kind = strings.ToLower(trimSpace(kind)); {
			case kind == "", kind == "*/*":
			case strings.HasSuffix(kind, "/json"), strings.HasSuffix(kind, "+json"), kind == "text/event-stream":
				return wantsData
			case kind == "text/html", kind == "application/xhtml+xml", kind == "text/*":
				want = wantsPage
			case want == wantsPage:
			case kind == "text/css",
				strings.HasPrefix(kind, "image/"), strings.HasPrefix(kind, "font/"),
				strings.HasPrefix(kind, "audio/"), strings.HasPrefix(kind, "video/"):
				if want == wantsAnything {
					want = wantsAsset
				}
			default:
				want = wantsData
			}
		}
	}
	return want
}

// claims returns the sessions that the request speaks for, the one of the most
// trusted strategy first.
func (v *Visit) claims(claims []claim) []claim {
	if v.permission == Deny {
		for _, c := range v.carriers {
			if c.ambiguous {
				claims = withClaim(claims, claim{id: c.id, via: v.tracker.names[c.rank], follows: c.rank > 0, stored: c.stored})
			}
		}
	}
	for i, name := range v.tracker.names {
		c := v.ranked(i)
		if c == nil || c.id.IsZero() || c.ambiguous {
			continue
		}
		claims = withClaim(claims, claim{id: c.id, via: name, follows: i > 0, stored: c.stored})
	}
	if v.told != nil {
		for _, t := range v.told.links {
			claims = withClaim(claims, claim{id: t.id, via: viaLink, follows: true, link: true, joins: int(t.joins)})
		}
	}
	// A form speaks where nothing else does.
	if len(claims) == 0 || v.kind == kindForget {
		if form, ok := v.formTicket(); ok && (form.joins == 0 || v.permission == Deny) {
			claims = withClaim(claims, claim{id: form.id, via: viaForm})
		}
	}
	return claims
}

func withClaim(claims []claim, c claim) []claim {
	for _, have := range claims {
		if have.id == c.id && have.joins == c.joins {
			return claims
		}
	}
	return append(claims, c)
}

// open gives the handler a session. Without a record it is that of the slot.
func (v *Visit) open(id ID, via string, record *Record) {
	s := &v.session
	s.tracker, s.ID, s.Via, s.record, s.saved = v.tracker, id, via, record, true
	if via == viaForm || v.weak || via == viaNew && v.like != nil ||
		len(v.carriers) > 0 && v.request.Method != http.MethodGet && v.request.Method != http.MethodHead {
		v.Hook() // a form may be shown, or forget; and what the client looks like is to be remembered
	}
	if v.hooked {
		return
	}
	for i, name := range v.tracker.names {
		if (v.offers&(1<<i) != 0 || v.Carried(name)) && v.Due(name) {
			v.hooked = true
		}
	}
}

// wantStart has the page that begins a session come whole, if a carrier is to be given
// out that does not ride on a 304: or the session, and the campaign that it began with,
// would be lost with a page that the browser had stored before it was asked. A tag
// alone waits for the next 200.
func (v *Visit) wantStart() {
	if !v.navigation || v.session.saveFail != nil {
		return
	}
	for i, name := range v.tracker.names {
		if name != (ETag{}).Via() && v.offers&(1<<i) != 0 && v.Due(name) {
			v.wantWhole()
			return
		}
	}
}

// clear has the carriers taken away from the client.
func (v *Visit) clear() {
	v.clearing.Store(true)
	v.hooked = true
	v.replaceStored()
	if len(v.carriers) > 0 {
		v.wantWhole() // nothing is cleared on a 304
	}
}

// stored takes note that the carrier of a purpose sits in the response that the
// client has stored for this URL, where only a 200 replaces it.
func (v *Visit) stored(purpose string) {
	if c := v.carrier(purpose); c != nil {
		c.stored = true
	}
}

// replaceStored makes the handler answer 200, if the client's stored response
// has a carrier that is to go or to be another one. A 304 leaves it as it is
// (measured in Chromium, Firefox and WebKit).
func (v *Visit) replaceStored() {
	if v.unsettled && !v.clearing.Load() {
		return
	}
	for i := range v.carriers {
		c := &v.carriers[i]
		if !c.stored || c.ambiguous || !v.clearing.Load() && c.id == v.session.ID && !c.old {
			continue
		}
		v.wantWhole()
		return
	}
}

// wantWhole makes the handler answer 200 where it would answer 304. Requests that do
// not end as a plain 200 anyway are left alone.
func (v *Visit) wantWhole() {
	if none := v.request.Header["If-None-Match"]; !v.seedable() || !isLong(none) && hasStar(none) {
		return
	}
	v.resent = true
	for _, name := range [...]string{"If-None-Match", "If-Modified-Since"} {
		if _, ok := v.request.Header[name]; ok {
			delete(v.Header(), name)
		}
	}
}

func hasStar(lines []string) bool {
	for _, line := range lines {
		for line != "" {
			var member string
			if member, line = cutMember(line); member == "*" {
				return true
			}
		}
	}
	return false
}

// giveBack puts on the request of the server what handlers put on theirs, so
// that middleware further out finds the pattern, and the server the temporary
// files of a form.
func (v *Visit) giveBack(r *http.Request) {
	in := &v.inner
	r.Form, r.PostForm, r.MultipartForm = in.Form, in.PostForm, in.MultipartForm
	if v.form != nil {
		r.Body = v.form // which has what was read of it, for whoever stands further out
	}
	if in.Pattern == r.Pattern {
		return
	}
	r.Pattern = in.Pattern
	for rest := in.Pattern; ; {
		_, after, ok := strings.Cut(rest, "{")
		if !ok {
			return
		}
		var name string
		name, rest, _ = strings.Cut(after, "}")
		name, _, _ = strings.Cut(name, ":") // a router's with regular expressions
		if name = strings.TrimSuffix(name, "..."); name != "$" {
			r.SetPathValue(name, in.PathValue(name))
		}
	}
}
