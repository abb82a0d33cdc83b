package revisit

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
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
// visitor is recognised on URLs that he has seen before.
//
// The content part is the handler's own tag, and as strong as that one. For a
// handler without one it is derived, and weak: from Last-Modified; from a hash
// of a body within HashLimit, and then a request for what the client already
// has is answered with 304; or a nonce that never matches, for bodies that are
// larger, flushed or streamed.
//
// Tags ride on pages, and on data that scripts fetch if no other strategy can carry the
// token. Styles, scripts, images and other parts of pages are left alone. A page is made
// private for every visitor, asked or not, because a shared cache that holds the copy of
// one visitor may put another one's tag into it (measured with Squid).
//
// What browsers do with it was measured; see docs/recognition.md.
type ETag struct {
	// HashLimit is how many bytes of a body are held back to be hashed, for
	// handlers that have no validator of their own. Default 65,536; below 0 no
	// body is held back.
	HashLimit int
}

const defaultHashLimit = 64 << 10

// The content part of a tag begins with a mark if it is not the handler's own:
//
//	"<token>~v1~"          the handler's "v1"
//	"<token>~~h<hash>~"    of the body
//	"<token>~~m<hash>~"    of Last-Modified
//	"<token>~~n<nonce>~"   never equal
//	"<token>~~e~x~"        the handler's "~x", which looks like a mark
const (
	mark         = '~'
	markEscaped  = "~e"
	markHash     = "~h"
	markModified = "~m"
	markNonce    = "~n"
)

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
		if isLong(lines) {
			v.tracker.stats.forged.Add(1)
		} else if found := tagsOf(v.request, name); found.next() {
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
	kept := room[:0]
	for _, line := range lines {
		for line != "" {
			var member string
			member, line = cutMember(line)
			tag, ok := parseTag(member)
			if !ok {
				if member != "" {
					kept = append(kept, member)
				}
				continue
			}
			v.Present("etag", tag.token)
			if name == "If-None-Match" && v.request.Method == http.MethodGet {
				v.stored("etag")
			}
			own, isOwn := tag.own()
			switch {
			case name == "If-None-Match" && isOwn:
				// A proxy's suffix is cut here: the comparison is weak, and the
				// answer is a whole body or none.
				kept = append(kept, weakPrefix(tag.weak)+`"`+own+`"`)
			case name == "If-None-Match":
				// Derived: without us the client would have no tag.
			case isOwn:
				// With the suffix it matches nothing, as it should: to resume a
				// compressed body with bytes of the plain one ruins the file.
				kept = append(kept, weakPrefix(tag.weak)+`"`+own+tag.suffix+`"`)
			default:
				// Derived: it fails the strong comparison of If-Match and If-Range.
				kept = append(kept, `W/"`+tag.content+tag.suffix+`"`)
			}
		}
	}
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
	content, weak, ok := contentPart(h)
	if !ok {
		return
	}
	if content == "" {
		weak = true
		if v.whole != nil {
			content = v.whole.hashed
		} else {
			content = markNonce + rand.Text()[:12]
		}
	}
	c := cachingOf(h)
	if c.noStore {
		return
	}
	token, ok := v.seal("etag", h, c)
	if !ok {
		return
	}
	if v.whole != nil && !v.resent {
		for sent := tagsOf(v.request, "If-None-Match"); sent.next(); {
			v.notModified = v.notModified || sent.tag.token == token && sent.tag.content == content
		}
	}
	h["Etag"] = []string{formatTag(token, content, weak)}
}

// echo repeats the tag that the client has asked with, if the response is about
// that one: what the client puts together must have one tag. Otherwise the
// handler's own tag goes out as it is.
func (e ETag) echo(v *Visit, h http.Header, asked string) bool {
	content, weak, ok := contentPart(h)
	if !ok || content == "" || !v.sealable("etag") {
		return false
	}
	c := cachingOf(h)
	if c.noStore || !c.carries() {
		return false
	}
	for sent := tagsOf(v.request, asked); sent.next(); {
		tag := sent.tag
		if tag.content != content || tag.suffix != "" && asked != "If-None-Match" {
			continue
		}
		// The token is the client's, whichever session it was merged into since.
		if v.ours("etag", tag.token) {
			c.makePrivate(h)
			h["Etag"] = []string{formatTag(tag.token, content, weak)}
			if weak {
				// By its date a cache would take this for somebody else's page: see freshens.
				delete(h, "Last-Modified")
			}
			return true
		}
	}
	return false
}

// contentPart returns the content part for the validators that the handler
// gave, "" if there are none. A tag that cannot be carried, because it has no
// quotes or is not alone, is not ok and to be left as it is.
func contentPart(h http.Header) (content string, weak, ok bool) {
	if tags, given := h["Etag"]; given {
		if len(tags) != 1 {
			return "", false, false
		}
		opaque, weak, ok := cutQuotes(tags[0])
		if opaque == "" || opaque[0] == mark {
			opaque = markEscaped + opaque
		}
		return opaque, weak, ok
	}
	for name := range h {
		if strings.EqualFold(name, "Etag") {
			return "", false, false // written past Header.Set
		}
	}
	if modified := headerValue(h, "Last-Modified"); modified != "" {
		return hashText(markModified, []byte(modified)), true, true
	}
	return "", false, true
}

// hashText is a mark, and the first 16 bytes of SHA-256 in 22 characters behind it.
func hashText(mark string, b []byte) string {
	sum := sha256.Sum256(b)
	text := make([]byte, 0, 32)
	return string(base64.RawURLEncoding.AppendEncode(append(text, mark...), sum[:16]))
}

// A tag is an entity tag of our shape, taken apart.
type tag struct {
	weak    bool
	token   string // 43 characters, of whatever worth
	content string
	suffix  string // that a proxy has put behind, as "-gzip"
}

// own returns the handler's own tag, without the quotes. ok is false for one
// that was derived.
func (t tag) own() (opaque string, ok bool) {
	if t.content != "" && t.content[0] == mark {
		return strings.CutPrefix(t.content, markEscaped)
	}
	return t.content, true
}

func formatTag(token, content string, weak bool) string {
	return weakPrefix(weak) + `"` + token + "~" + content + `~"`
}

func weakPrefix(weak bool) string {
	if weak {
		return "W/"
	}
	return ""
}

// parseTag takes a tag of our shape apart. It does not look at the MAC: a tag
// with a forged token is translated all the same.
func parseTag(member string) (t tag, ok bool) {
	s, weak, ok := cutQuotes(member)
	if !ok || len(s) < tokenLen+2 || s[tokenLen] != '~' {
		return tag{}, false
	}
	for i := range tokenLen {
		c := s[i]
		if !('A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
			return tag{}, false
		}
	}
	end := strings.LastIndexByte(s, '~')
	if end == tokenLen || !isSuffix(s[end+1:]) {
		return tag{}, false
	}
	return tag{weak: weak, token: s[:tokenLen], content: s[tokenLen+1 : end], suffix: s[end+1:]}, true
}

// isSuffix tells what proxies put behind a tag (measured: -gzip, -br, -zstd;
// Jetty has --gzip) from the rest of somebody else's.
func isSuffix(s string) bool {
	if s == "" {
		return true
	}
	if s[0] != '-' || len(s) > 16 {
		return false
	}
	for i := 1; i < len(s); i++ {
		if c := s[i]; !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-') {
			return false
		}
	}
	return true
}

// cutQuotes returns what is between the quotes of an entity tag, and whether it
// was marked weak.
func cutQuotes(s string) (opaque string, weak, ok bool) {
	s, weak = strings.CutPrefix(s, "W/")
	if len(s) < 2 || s[0] != '"' || strings.IndexByte(s[1:], '"') != len(s)-2 {
		return "", false, false
	}
	return s[1 : len(s)-1], weak, true
}

// cutMember cuts the first member of a list of entity tags off, without the
// white space around it. A tag may hold commas.
func cutMember(s string) (member, rest string) {
	quoted := false
	for i := range len(s) {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case s[i] == ',' && !quoted:
			return trimSpace(s[:i]), s[i+1:]
		}
	}
	return trimSpace(s), ""
}

// maxTagField is how long a field with tags is at most that is looked at. Browsers send one
// tag, and caches a few.
const maxTagField = 8 << 10

// tagsOf walks through the tags of our shape in a header field. One that is too long has
// none: it goes to the handler as it came, to whom they are somebody else's.
func tagsOf(r *http.Request, name string) tags {
	lines := r.Header[name]
	if isLong(lines) {
		return tags{}
	}
	return tags{lines: lines}
}

func isLong(lines []string) bool {
	n := 0
	for _, line := range lines {
		n += len(line)
	}
	return n > maxTagField
}

// tags walks through the tags of our shape in the lines of a header field.
type tags struct {
	lines []string
	line  string // what is left of the current one
	tag   tag
}

func (t *tags) next() bool {
	for {
		for t.line == "" {
			if len(t.lines) == 0 {
				return false
			}
			t.line, t.lines = t.lines[0], t.lines[1:]
		}
		var member string
		member, t.line = cutMember(t.line)
		var ok bool
		if t.tag, ok = parseTag(member); ok {
			return true
		}
	}
}
