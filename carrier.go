package revisit

import (
	"net/http"
	"strings"
)

// The carrier rule: a token leaves only on a response that a shared cache will
// not keep. It looks at the header as it is about to go.
//
// Measured with nginx, Apache, Varnish, HAProxy and Squid: without
// Cache-Control, with max-age=60, with a bare no-cache or with public,
// max-age=0 at least one of them hands A's tag to B; with private in it, none.

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
			case "no-cache", "must-revalidate":
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
