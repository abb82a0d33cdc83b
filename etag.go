package revisit

import (
	"crypto/rand"
	"errors"
	"net/http"
	"strings"

	"github.com/revisit-go/revisit/internal/cachecontrol"
	"github.com/revisit-go/revisit/internal/entitytag"
)

// ETag is the strategy that carries the token in the entity tag of the
// responses (RFC 9110, section 8.8.3). The browser stores the tag with the
// response and sends it back in If-None-Match when it asks for the same URL
// again:
//
//	ETag: "<token>~<content validator>~"
//
// The session rides on the validator, and caching stays right: what comes in is
// taken apart, so that the handler sees its own tag only, and what goes out is
// put together when the header is final. A validator belongs to one URL, so a
// visitor is recognised on URLs that the browser has stored.
//
// The content part is the handler's own tag, and as strong. For a
// handler without one it is derived, and weak: from Last-Modified; from a hash
// of a body within HashLimit, and then a request for what the client already
// has is answered with 304; or a nonce that never matches.
//
// Tags ride on pages, and on data that scripts fetch if no other strategy can carry the
// token; parts of pages are left alone. A page is made
// private for every visitor, asked or not, because a shared cache that holds the copy of
// one visitor may put another one's tag into it (measured with Squid).
// docs/recognition.md says what browsers do with tags.
type ETag struct {
	// HashLimit is how many bytes of a body are held back to be hashed, for
	// handlers that have no validator of their own. Default 65,536; below 0 no
	// body is held back.
	HashLimit int
}

const defaultHashLimit = 64 << 10

// Via implements [Strategy]. It is "etag".
func (ETag) Via() string { return "etag" }

// check is called by New.
func (e ETag) check() error {
	if e.HashLimit > 16<<20 {
		return errors.New("revisit: ETag: HashLimit is held in memory for each request, want 16 MiB or less")
	}
	return nil
}

// Identify implements [Strategy].
func (e ETag) Identify(v *Visit) {
	for _, name := range [...]string{"If-None-Match", "If-Match", "If-Range"} {
		lines := v.request.Header[name]
		if entitytag.IsLong(lines) {
			v.tracker.stats.forged.Add(1)
		} else if found := entitytag.In(v.request, name); found.Next() {
			e.translate(v, name, lines)
		}
	}
	if v.request.Method != http.MethodGet && v.request.Method != http.MethodHead {
		return
	}
	v.tagging = true
	v.Hook() // also where nobody may be recognised: the page is private for everybody
	if v.seedable() && v.wantsTag() {
		v.Offer("etag")
		v.holdLimit = int32(max(-1, e.HashLimit))
		if v.holdLimit == 0 {
			v.holdLimit = defaultHashLimit
		}
	}
}

// translate presents the tokens in the tags of one header field, and gives the
// handler the field without them.
func (e ETag) translate(v *Visit, name string, lines []string) {
	var room [4]string
	kept := entitytag.ForHandler(room[:0], name, lines, func(token string) {
		v.Present("etag", token)
		if name == "If-None-Match" && v.request.Method == http.MethodGet {
			v.stored("etag")
		}
	})
	if len(kept) == 0 {
		// Let If-Modified-Since speak: a handler does not look at it beside
		// If-None-Match (RFC 9110, section 13.1.3).
		delete(v.Header(), name)
		return
	}
	v.Header()[name] = []string{strings.Join(kept, ", ")}
}

// Attach implements [Strategy].
func (e ETag) Attach(v *Visit, h http.Header, status int) {
	if !v.isPersonalURL() || !v.wantsTag() || v.New() && !v.seedable() {
		return
	}
	switch status {
	case http.StatusOK:
		if v.request.Method == http.MethodGet { // see freshens
			e.seed(v, h)
		}
	case http.StatusNotModified:
		e.echo(v, h, "If-None-Match")
	case http.StatusPartialContent:
		if !e.echo(v, h, "If-Range") {
			e.echo(v, h, "If-Match")
		}
	}
}

// Clear implements [Strategy]. There is nothing to write: only a 200 replaces a
// stored tag, and the handler was made to give one, with its own tag.
func (ETag) Clear(*Visit, http.Header, int) {}

// seed puts the session's token into the tag of a 200.
func (e ETag) seed(v *Visit, h http.Header) {
	content, weak, ok := entitytag.Content(h)
	if !ok {
		return
	}
	if content == "" {
		weak = true
		if v.whole != nil {
			content = v.whole.Hash()
		} else {
			content = entitytag.MarkNonce + rand.Text()[:12]
		}
	}
	c := cachecontrol.Of(h)
	if c.NoStore {
		return
	}
	token, ok := v.seal("etag", h, c)
	if !ok {
		return
	}
	if v.whole != nil && !v.resent {
		for sent := entitytag.In(v.request, "If-None-Match"); sent.Next(); {
			v.notModified = v.notModified || sent.Tag.Token == token && sent.Tag.Content == content
		}
	}
	h["Etag"] = []string{entitytag.Format(token, content, weak)}
}

// echo repeats the tag that the client has asked with, if the response is about
// that one: what the client puts together must have one tag. Otherwise the
// handler's own tag goes out as it is.
func (e ETag) echo(v *Visit, h http.Header, asked string) bool {
	content, weak, ok := entitytag.Content(h)
	if !ok || content == "" || !v.sealable("etag") {
		return false
	}
	c := cachecontrol.Of(h)
	if c.NoStore || !c.Carries() {
		return false
	}
	for sent := entitytag.In(v.request, asked); sent.Next(); {
		tag := sent.Tag
		if tag.Content != content || tag.Suffix != "" && asked != "If-None-Match" {
			continue
		}
		// The token is the client's, whichever session it was merged into since.
		if v.ours("etag", tag.Token) {
			c.MakePrivate(h)
			h["Etag"] = []string{entitytag.Format(tag.Token, content, weak)}
			if weak {
				// By its date a cache would take this for somebody else's page: see freshens.
				delete(h, "Last-Modified")
			}
			return true
		}
	}
	return false
}
