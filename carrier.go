package revisit

import (
	"mime"
	"net/http"
	"path"
	"strings"
)

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

// caching is what the header of a response says of caches.
type caching struct {
	private bool // has private already
	open    bool // private may be added
	noStore bool
	absent  bool // says nothing at all
}

// carries reports whether a token may ride, once the header is made private.
func (c caching) carries() bool { return c.private || c.open || c.absent }

func cachingOf(h http.Header) caching {
	old := false
	for name := range h {
		switch name {
		case "Cache-Control":
		case "Expires", "Pragma":
			old = true
		default:
			if speaksToCaches(name) {
				return caching{}
			}
		}
	}
	lines, ok := h["Cache-Control"]
	if !ok {
		return caching{absent: !old}
	}
	var c caching
	bare, other := false, false
	for _, line := range lines {
		for line != "" {
			var directive string
			directive, line = cutDirective(line)
			name, argument, qualified := strings.Cut(directive, "=")
			switch strings.ToLower(name) {
			case "public", "s-maxage":
				return caching{}
			case "private":
				// private="X-Name" protects that one field only.
				if qualified {
					return caching{}
				}
				c.private = true
			case "no-store":
				c.noStore, bare = true, true
			case "no-cache":
				// no-cache="Set-Cookie" protects that one field, and session libraries send it
				// (alexedwards/scs does): it says as much of sharing as the bare one.
				bare = true
			case "must-revalidate":
				bare = true
				other = other || qualified
			case "max-age":
				bare = true
				other = other || argument != "0"
			case "", "no-transform":
			default:
				other = true
			}
		}
	}
	c.open = bare && !other
	return c
}

// speaksToCaches reports whether a header field, other than the three that are
// looked at, tells a cache what to keep. Shared caches in front obey one that is
// meant for them in place of Cache-Control: CDN-Cache-Control and its kin (RFC
// 9213), or what came before. And a handler may have written a field past
// Header.Set, in another spelling.
func speaksToCaches(name string) bool {
	const control = "cache-control"
	if n := len(name) - len(control); n >= 0 && strings.EqualFold(name[n:], control) {
		return true
	}
	switch len(name) {
	case len("Pragma"), len("Expires"), len("Edge-Control"), len("X-Accel-Expires"), len("Surrogate-Control"):
		return strings.EqualFold(name, "Pragma") || strings.EqualFold(name, "Expires") || strings.EqualFold(name, "Edge-Control") ||
			strings.EqualFold(name, "X-Accel-Expires") || strings.EqualFold(name, "Surrogate-Control")
	}
	return false
}

// cutDirective cuts the first of a comma-separated list of directives off,
// without the white space around it. A quoted argument may hold commas.
func cutDirective(s string) (directive, rest string) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			return trimSpace(s[:i]), s[i+1:]
		}
	}
	return trimSpace(s), ""
}

// makePrivate makes a header that carries a token private.
func (c caching) makePrivate(h http.Header) {
	switch {
	case c.private:
	case c.open:
		h["Cache-Control"] = []string{"private, " + strings.Join(h["Cache-Control"], ", ")}
	case c.absent:
		h["Cache-Control"] = []string{"private, no-cache"}
	}
}

// allowPrivate applies the carrier rule: it reports whether a token may ride on
// a response with this header, and makes the header private if so.
func allowPrivate(h http.Header) bool {
	c := cachingOf(h)
	if c.carries() {
		c.makePrivate(h)
	}
	return c.carries()
}

// keepFromShared makes a response of a personal URL private, and changes nothing else.
func keepFromShared(h http.Header) {
	switch c := cachingOf(h); {
	case c.private:
	case c.absent:
		h["Cache-Control"] = []string{"private"}
	case c.open:
		c.makePrivate(h)
	}
}

// isPersonalURL reports whether a tag may ride on responses of the request's URL. It
// must be the same for everybody who asks for the URL, whatever the permission, or a
// shared cache could keep the copy of one visitor, and another one's 304 would put a
// token into it. So pages and data are personal, and what pages are made of is not.
func (v *Visit) isPersonalURL() bool {
	return v.tagging && (v.content == contentPage || v.content == contentData)
}

// wantsTag reports whether a tag is of use on the response: not on a part of a page, which
// caches are to keep, nor on data for a script, unless nothing else can carry the token.
func (v *Visit) wantsTag() bool {
	switch v.destination() {
	case contentAsset:
		return false
	case contentData:
		return v.tracker.tagsAlone
	}
	return true
}

// content is what a response holds, as far as that matters to the carrier rule.
type content int8

const (
	contentUnknown content = iota
	contentPage            // a document
	contentData            // for scripts and other programs
	contentAsset           // a part of pages: a style, script, image, font, sound, film
)

// contentFor returns what the response to this request holds. The response's own type
// decides, where there is one, since that is the same for everybody. First is the beginning
// of the body, as far as it is known. A response that does not say what it is leaves it to
// the request.
func (v *Visit) contentFor(h http.Header, status int, first []byte) content {
	if v.kind == kindAnchor {
		return contentPage // an image, whose tag is what it is for
	}
	if c := contentOf(h, first); c != contentUnknown {
		return c
	}
	if status == http.StatusNotModified {
		// It never says what it is of.
		if c := v.carrier((ETag{}).Via()); c != nil && !c.id.IsZero() {
			return contentPage // the client has stored it with a tag
		}
		if c := contentOf(http.Header{"Content-Type": {mime.TypeByExtension(path.Ext(v.request.URL.Path))}}, nil); c != contentUnknown {
			return c
		}
		if !v.navigation && headerValue(v.request.Header, "Sec-Fetch-Dest") == "" {
			return contentUnknown // what asks for anything may ask for an image
		}
	}
	if c := v.destination(); c != contentData || v.tracker.tagsAlone {
		return c
	}
	return contentUnknown // by a script, of what may be a part of a page
}

// contentOf looks at the Content-Type, and where there is none at the body, as net/http
// is about to do.
func contentOf(h http.Header, first []byte) content {
	kind := headerValue(h, "Content-Type")
	if kind == "" && len(first) > 0 {
		if _, given := h["Content-Type"]; !given && headerValue(h, "Content-Encoding") == "" {
			kind = http.DetectContentType(first)
			if strings.HasPrefix(kind, "text/plain") || kind == "application/octet-stream" {
				return contentUnknown // all that is not known by its first bytes
			}
		}
	}
	kind, _, _ = strings.Cut(kind, ";")
	major, minor, _ := strings.Cut(strings.ToLower(trimSpace(kind)), "/")
	switch major {
	case "":
		return contentUnknown
	case "image", "font", "audio", "video":
		return contentAsset
	case "text":
		switch minor {
		case "css", "javascript", "ecmascript", "vtt":
			return contentAsset
		case "event-stream":
			return contentData
		}
	case "application":
		switch minor {
		case "javascript", "x-javascript", "ecmascript", "manifest+json", "wasm", "vnd.ms-fontobject", "x-font-ttf", "x-font-woff", "font-woff",
			"vnd.apple.mpegurl", "x-mpegurl", "dash+xml":
			return contentAsset
		case "json", "x-ndjson", "grpc", "protobuf", "x-protobuf", "msgpack", "x-msgpack", "cbor":
			return contentData
		}
		if strings.HasSuffix(minor, "+json") || strings.HasPrefix(minor, "grpc") {
			return contentData
		}
	case "multipart":
		if minor == "byteranges" {
			return contentUnknown
		}
	}
	return contentPage
}

// destination is what the client wants the response for, by Fetch Metadata, and by Accept
// for clients without. The beacon's anchor counts as a page.
func (v *Visit) destination() content {
	if v.kind == kindAnchor {
		return contentPage
	}
	h := v.request.Header
	switch headerValue(h, "Sec-Fetch-Dest") {
	case "document", "iframe", "frame", "embed", "object", "fencedframe":
		return contentPage
	case "empty":
		switch {
		case v.navigation || v.byWorker: // which a service worker has handed on
			return contentPage
		case headerValue(h, "Sec-Fetch-Mode") == "no-cors": // a picture that it has
			return contentAsset
		}
		return contentData
	case "":
		switch wants(h["Accept"]) {
		case wantsAsset:
			return contentAsset
		case wantsData:
			return contentData
		}
		return contentPage
	}
	return contentAsset
}
