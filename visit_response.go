package revisit

import (
	"mime"
	"net/http"
	"path"
	"sync"
	"sync/atomic"

	"github.com/revisit-go/revisit/internal/cachecontrol"
	"github.com/revisit-go/revisit/internal/entitytag"
	"github.com/revisit-go/revisit/internal/fetchmeta"
	"github.com/revisit-go/revisit/internal/header"
	"github.com/revisit-go/revisit/internal/httpwriter"
	"github.com/revisit-go/revisit/internal/media"
	"github.com/revisit-go/revisit/internal/pattern"
	"github.com/revisit-go/revisit/internal/rules"
)

// A responseState is what is known of the session and of the response.
type responseState struct {
	weak       bool // the session was found, or started, by its fingerprint alone: nothing of it goes into a carrier
	unresolved bool // whether the claims are one session is not known yet, so the carriers stay as they are
	forgotten  bool // under Deny: nobody is left that the request speaks for
	spoke      bool // under Deny: it has spoken for somebody

	hooked      bool       // the header of the response is of interest
	freshening  bool       // a cache puts the header into another response: see freshens
	resent      bool       // the handler was made to answer 200, so that a stored tag is replaced
	tagging     bool       // tags may ride on responses to requests of this kind
	notModified bool       // a held body is the one that the client has
	content     media.Kind // of the response

	// For these mu: a handler may go on after a timeout.
	attached    bool // Attach or Clear has been called
	personal    bool // the body has a link or form token, so the response is to be private
	sentPrivate bool // the header has gone, and was private
}

// A responsePlan is what is to be done with the response.
type responsePlan struct {
	offers    uint32      // a bit for each strategy, by rank, that can carry a new token
	holdLimit int32       // up to here the body is held back to be hashed
	disclaims atomic.Bool // the consent is to end, too: see endConsent
	clearing  atomic.Bool // the carriers are to go; Forget may be called from another goroutine
	mu        sync.Mutex
	whole     *httpwriter.Body // that was held back from beginning to end
}

// Hook asks for Attach to be called even if the client's carriers are as they
// should be. Otherwise it is called only if a carrier is due that was offered or
// presented, because every look at the header of a response has its price.
func (v *Visit) Hook() { v.hooked = true }

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
	return v.seal(purpose, h, cachecontrol.Of(h))
}

// seal is Seal for a caller who has looked at h already.
func (v *Visit) seal(purpose string, h http.Header, c cachecontrol.Caching) (token string, ok bool) {
	if !v.sealable(purpose) || !c.Carries() {
		return "", false
	}
	have := v.carrier(purpose)
	standing := have != nil && !have.old && !have.id.IsZero() && (have.id == v.session.ID || v.unresolved)
	// While the store is down nothing is written, but a response that replaces
	// the one with the token must not lose it either.
	if (v.session.Unverified || v.unresolved) && !standing {
		return "", false
	}
	if err := v.session.create(v.context.Context); err != nil {
		return "", false
	}
	c.MakePrivate(h)
	if standing {
		return have.token, true
	}
	return v.tracker.keys.Seal(&v.scratch, purpose, v.session.ID), true
}

// sealable reports whether a token may be given out at all.
func (v *Visit) sealable(purpose string) bool {
	if v.session.tracker == nil || v.clearing.Load() || v.class.Foreign || v.weak {
		return false
	}
	c := v.carrier(purpose)
	return c == nil || !c.ambiguous
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

// wantStart has the page that begins a session come whole, if a carrier is to be given
// out that does not ride on a 304: or the session, and the campaign that it began with,
// would be lost with a page that the browser had stored before it was asked. A tag
// alone waits for the next 200.
func (v *Visit) wantStart() {
	if !v.class.Navigation || v.session.saveFail != nil {
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

// replaceStored makes the handler answer 200, if the client's stored response
// has a carrier that is to go or to be another one. A 304 leaves it as it is
// (measured in Chromium, Firefox and WebKit).
func (v *Visit) replaceStored() {
	if v.unresolved && !v.clearing.Load() {
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
	if none := v.request.Header["If-None-Match"]; !v.seedable() || !entitytag.IsLong(none) && entitytag.HasStar(none) {
		return
	}
	v.resent = true
	for _, name := range [...]string{"If-None-Match", "If-Modified-Since"} {
		if _, ok := v.request.Header[name]; ok {
			delete(v.Header(), name)
		}
	}
}

// The carrier rule: a token leaves only on a response that a shared cache will
// not keep. It looks at the header as it is about to go.
//
// Measured with nginx, Apache, Varnish, HAProxy and Squid: without
// Cache-Control, with max-age=60, with a bare no-cache or with public,
// max-age=0 at least one of them hands A's tag to B; with private in it, none.
//
// A tag also comes back, and a cache that has stored the page for somebody else may
// take the 304 for its own (measured: Squid). So a URL whose responses can carry a
// tag is personal, and private for everybody: see Visit.isPersonalURL.

// isPersonalURL reports whether a tag may ride on responses of the request's URL. It
// must be the same for everybody who asks for the URL, whatever the permission, or a
// shared cache could keep the copy of one visitor, and another one's 304 would put a
// token into it. So pages and data are personal, and what pages are made of is not.
func (v *Visit) isPersonalURL() bool {
	return v.tagging && (v.content == media.Page || v.content == media.Data)
}

// wantsTag reports whether a tag is of use on the response: not on a part of a page, which
// caches are to keep, nor on data for a script, unless nothing else can carry the token.
func (v *Visit) wantsTag() bool {
	switch v.destination() {
	case fetchmeta.Asset:
		return false
	case fetchmeta.Data:
		return v.tracker.tagsAlone
	}
	return true
}

// destination is what the client wants the response for. The beacon's anchor counts as a page.
func (v *Visit) destination() fetchmeta.Wanted {
	if v.kind == kindAnchor {
		return fetchmeta.Page
	}
	return fetchmeta.Destination(v.request.Header, v.class)
}

// contentFor returns what the response to this request holds. The response's own type
// decides, where there is one, since that is the same for everybody. First is the beginning
// of the body, as far as it is known. A response that does not say what it is leaves it to
// the request.
func (v *Visit) contentFor(h http.Header, status int, first []byte) media.Kind {
	if v.kind == kindAnchor {
		return media.Page // an image, whose tag is what it is for
	}
	if c := media.Of(h, first); c != media.Unknown {
		return c
	}
	if status == http.StatusNotModified {
		// It never says what it is of.
		if c := v.carrier((ETag{}).Via()); c != nil && !c.id.IsZero() {
			return media.Page // the client has stored it with a tag
		}
		if c := media.Of(http.Header{"Content-Type": {mime.TypeByExtension(path.Ext(v.request.URL.Path))}}, nil); c != media.Unknown {
			return c
		}
		if !v.class.Navigation && header.Value(v.request.Header, "Sec-Fetch-Dest") == "" {
			return media.Unknown // what asks for anything may ask for an image
		}
	}
	switch v.destination() {
	case fetchmeta.Page:
		return media.Page
	case fetchmeta.Asset:
		return media.Asset
	}
	if v.tracker.tagsAlone {
		return media.Data
	}
	return media.Unknown // by a script, of what may be a part of a page
}

// decider is what the writer of the response asks: see httpwriter.Decider. It is a type of its
// own, so that strategies do not see it.
type decider struct{ *Visit }

// Hold lets a body be held back if a tag would ride on the response, so that a validator can
// be derived from it: see ETag.HashLimit.
func (v decider) Hold(h http.Header, first []byte) (limit int) {
	if v.holdLimit <= 0 || media.Of(h, first) == media.Asset {
		return 0
	}
	if c := cachecontrol.Of(h); !c.Carries() || c.NoStore || !v.sealable("etag") {
		return 0
	}
	return int(v.holdLimit)
}

// Final gives the strategy its turn, once. A header that nobody has written yet may become
// that of another answer: then the status is left open, the client does not learn that it has this
// page already, and a tag says nothing of the body.
func (v decider) Final(f httpwriter.Final) (notModified bool) {
	v.whole = f.Whole
	v.resent = v.resent || f.Unwritten
	v.attach(f.Header, f.Status, f.First)
	return v.notModified
}

// attach gives the strategy its turn, once. First is the beginning of the body, as far as
// it is known.
func (v *Visit) attach(h http.Header, status int, first []byte) {
	v.resolveForm(false)
	v.mu.Lock()
	done := v.attached
	v.attached = true
	if v.personal && !done {
		cachecontrol.ForcePrivate(h)
	}
	v.mu.Unlock()
	if done {
		return
	}
	v.freshening = v.freshens(status)
	v.content = v.contentFor(h, status, first)
	switch {
	case v.clearing.Load():
		v.tracker.strategy.Clear(v, h, status)
		if v.disclaims.Load() && !v.freshening {
			v.endConsent(h)
		}
	case v.session.tracker != nil:
		if status >= 300 && status < 400 && status != http.StatusNotModified && v.New() {
			v.session.isRedirect()
		}
		if v.session.counted && v.class.Navigation && !isShown(status) {
			v.takeViewBack()
		}
		v.tracker.strategy.Attach(v, h, status)
		v.sendLink(h, status)
		v.sendSeen(h, status)
		v.bindNew(status)
	}
	if v.isPersonalURL() {
		cachecontrol.KeepFromShared(h)
	}
	v.mu.Lock()
	v.sentPrivate = cachecontrol.Of(h).Private
	v.mu.Unlock()
}

// isShown reports whether a browser that goes to a page shows a response of this status. A
// redirect leads it to another page, and with 204 and 205 it stays where it is (HTML standard,
// 7.4.5). A 304 shows what it has stored, and an error is a page, too.
func isShown(status int) bool {
	switch status {
	case http.StatusNoContent, http.StatusResetContent:
		return false
	case http.StatusNotModified:
		return true
	}
	return status < 300 || status >= 400
}

// takeViewBack makes the page view of this request none: it was counted before the handler
// ran, and no page was shown. What led to it stays, and so does the visit, which goes on
// with the page that is shown next.
func (v *Visit) takeViewBack() {
	v.session.counted = false
	if !v.session.hasShownNothing() {
		v.tracker.ledger.RecordLater(v.context.Context, v.session.Record().ID, &rules.Change{At: v.now, Via: v.session.Via, Retracted: 1})
	}
}

// giveBack puts on the request of the server what handlers have put on theirs.
func (v *Visit) giveBack(r *http.Request) {
	pattern.Copy(r, &v.inner)
	if v.form != nil {
		r.Body = v.form // which has what was read of it, for handlers further out
	}
}
