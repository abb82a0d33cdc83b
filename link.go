package revisit

import (
	"net/http"
	"slices"

	"github.com/revisit-go/revisit/internal/cachecontrol"
	"github.com/revisit-go/revisit/internal/entitytag"
	"github.com/revisit-go/revisit/internal/header"
	"github.com/revisit-go/revisit/internal/media"
	"github.com/revisit-go/revisit/internal/token"
)

const (
	viaLink    = "link"
	viaForm    = "form"
	viaAdopted = "adopted" // found, or started, by what another library knows the browser by
)

// bind reads what link and form tokens are bound to, before the handler may change the header.
func (v *Visit) bind() {
	if v.bound == nil {
		h := v.request.Header
		v.bound = &token.Binding{Agent: header.Value(h, "User-Agent"), Language: header.Value(h, "Accept-Language"), From: v.bindingAddr()}
	}
}

// boundToken returns a link or form token for the session of the visit.
func (v *Visit) boundToken(purpose string, issued uint32) string {
	t := token.Bound{ID: v.session.ID, Issued: issued}
	switch {
	case purpose == viaLink:
		t.LinksUsed = uint16(v.session.Record().LinksUsed)
	case v.weak:
		t.LinksUsed = 1 // or a form would make a token of a fingerprint
	}
	v.bind()
	return v.tracker.keys.SealBound(purpose, t, v.bound)
}

// openBound returns what a link or form token says. One of a session whose lifetime is over
// is none.
func (v *Visit) openBound(purpose, text string) (t token.Bound, ok bool) {
	v.bind()
	t, ok = v.tracker.keys.OpenBound(purpose, text, v.bound)
	switch {
	case !ok:
		v.tracker.stats.forged.Add(1)
	case v.now.Sub(ID(t.ID).Time()) >= v.tracker.lifetime:
		v.tracker.stats.expired.Add(1)
		ok = false
	}
	return t, ok
}

// isPortable reports whether the browser shows who it is on every URL, as with a
// cookie: then the page needs no link.
func (v *Visit) isPortable() bool {
	return slices.ContainsFunc(v.carriers, func(c carrier) bool {
		return c.id == v.session.ID && !c.stored && !c.old && !c.ambiguous
	})
}

// isStored reports whether the browser's stored response has the session's token.
func (v *Visit) isStored() bool {
	return slices.ContainsFunc(v.carriers, func(c carrier) bool { return c.id == v.session.ID && c.stored && !c.ambiguous })
}

// sendLink gives the page's script the link token, in a header field that page
// script can read: so the page itself stays the same for everybody, and a 304
// one. Measured: Chromium and Firefox show it to the script also on a 304, in
// secure contexts.
//
//	Server-Timing: rv;desc="<link token>"
func (v *Visit) sendLink(h http.Header, status int) {
	if v.content == media.Asset || !v.linkable || status != http.StatusOK && status != http.StatusNotModified || !v.session.isSaved() || v.weak || v.isPortable() {
		return
	}
	c := cachecontrol.Of(h)
	if !c.Carries() {
		return
	}
	if _, ours := entitytag.Parse(header.Value(h, "Etag")); status == http.StatusNotModified && !ours {
		return // a cache could have it for somebody else's page: see freshens
	}
	c.MakePrivate(h)
	line := `rv;desc="` + v.boundToken(viaLink, uint32(v.now.Unix())) + `"`
	h["Server-Timing"] = append(slices.Clip(h["Server-Timing"]), line)
}
