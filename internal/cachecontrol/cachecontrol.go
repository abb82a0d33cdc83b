// Package cachecontrol says who may store a response (RFC 9111), and makes responses
// private.
package cachecontrol

import (
	"net/http"
	"strings"

	"github.com/revisit-go/revisit/internal/header"
)

// Caching is what the header of a response says of caches.
type Caching struct {
	Private bool // has private already
	open    bool // private may be added
	NoStore bool
	absent  bool // says nothing at all
}

// Carries reports whether a token may ride, once the header is made private.
func (c Caching) Carries() bool { return c.Private || c.open || c.absent }

// Of reads the header of a response.
func Of(h http.Header) Caching {
	old := false
	for name := range h {
		switch name {
		case "Cache-Control":
		case "Expires", "Pragma":
			old = true
		default:
			if speaksToCaches(name) {
				return Caching{}
			}
		}
	}
	lines, ok := h["Cache-Control"]
	if !ok {
		return Caching{absent: !old}
	}
	var c Caching
	bare, other := false, false
	for _, line := range lines {
		for line != "" {
			var directive string
			directive, line = cutDirective(line)
			name, argument, qualified := strings.Cut(directive, "=")
			switch strings.ToLower(name) {
			case "public", "s-maxage":
				return Caching{}
			case "private":
				// private="X-Name" protects that one field only.
				if qualified {
					return Caching{}
				}
				c.Private = true
			case "no-store":
				c.NoStore, bare = true, true
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
			return header.TrimSpace(s[:i]), s[i+1:]
		}
	}
	return header.TrimSpace(s), ""
}

// MakePrivate makes a header that carries a token private.
func (c Caching) MakePrivate(h http.Header) {
	switch {
	case c.Private:
	case c.open:
		h["Cache-Control"] = []string{"private, " + strings.Join(h["Cache-Control"], ", ")}
	case c.absent:
		h["Cache-Control"] = []string{"private, no-cache"}
	}
}

// AllowPrivate reports whether a token may ride on
// a response with this header, and makes the header private if so.
func AllowPrivate(h http.Header) bool {
	c := Of(h)
	if c.Carries() {
		c.MakePrivate(h)
	}
	return c.Carries()
}

// KeepFromShared makes a response of a personal URL private, and changes nothing else.
func KeepFromShared(h http.Header) {
	switch c := Of(h); {
	case c.Private:
	case c.absent:
		h["Cache-Control"] = []string{"private"}
	case c.open:
		c.MakePrivate(h)
	}
}

// ForcePrivate makes a response private that has a link or form token in its body. What no
// cache may keep stays so.
func ForcePrivate(h http.Header) {
	if Of(h).Private {
		return
	}
	control, intact := "private, no-cache", ""
	for _, line := range h["Cache-Control"] {
		for line != "" {
			var directive string
			directive, line = cutDirective(line)
			switch strings.ToLower(directive) {
			case "no-store":
				control = "private, no-store"
			case "no-transform":
				intact = ", no-transform"
			}
		}
	}
	for name := range h {
		if name == "Cache-Control" || speaksToCaches(name) {
			delete(h, name)
		}
	}
	h["Cache-Control"] = []string{control + intact}
}
