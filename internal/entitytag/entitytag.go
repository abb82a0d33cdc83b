// Package entitytag takes entity tags apart that carry a token, and puts them together (RFC
// 9110, section 8.8.3):
//
//	ETag: "<token>~<content validator>~"
package entitytag

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/revisit-go/revisit/internal/header"
	"github.com/revisit-go/revisit/internal/token"
)

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
	MarkHash     = "~h"
	markModified = "~m"
	MarkNonce    = "~n"
)

// Content returns the content part for the validators that the handler
// gave, "" if there are none. A tag that cannot be carried, because it has no
// quotes or is not alone, is not ok and to be left as it is.
func Content(h http.Header) (content string, weak, ok bool) {
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
	if modified := header.Value(h, "Last-Modified"); modified != "" {
		return Hash(markModified, []byte(modified)), true, true
	}
	return "", false, true
}

// Hash is a mark, and the first 16 bytes of SHA-256 in 22 characters behind it.
func Hash(mark string, b []byte) string {
	sum := sha256.Sum256(b)
	text := make([]byte, 0, 32)
	return string(base64.RawURLEncoding.AppendEncode(append(text, mark...), sum[:16]))
}

// A tag is an entity tag of our shape, taken apart.
type Tag struct {
	Weak    bool
	Token   string // 43 characters, of whatever worth
	Content string
	Suffix  string // that a proxy has put behind, as "-gzip"
}

// Own returns the handler's own tag, without the quotes. ok is false for one
// that was derived.
func (t Tag) Own() (opaque string, ok bool) {
	if t.Content != "" && t.Content[0] == mark {
		return strings.CutPrefix(t.Content, markEscaped)
	}
	return t.Content, true
}

// Format puts a tag together.
func Format(token, content string, weak bool) string {
	return WeakPrefix(weak) + `"` + token + "~" + content + `~"`
}

// WeakPrefix is what a weak tag begins with, "" for a strong one.
func WeakPrefix(weak bool) string {
	if weak {
		return "W/"
	}
	return ""
}

// Parse takes a tag of our shape apart. It does not look at the MAC: a tag
// with a forged token is translated all the same.
func Parse(member string) (t Tag, ok bool) {
	s, weak, ok := cutQuotes(member)
	if !ok || len(s) < token.Len+2 || s[token.Len] != '~' {
		return Tag{}, false
	}
	for i := range token.Len {
		c := s[i]
		if !('A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
			return Tag{}, false
		}
	}
	end := strings.LastIndexByte(s, '~')
	if end == token.Len || !isSuffix(s[end+1:]) {
		return Tag{}, false
	}
	return Tag{Weak: weak, Token: s[:token.Len], Content: s[token.Len+1 : end], Suffix: s[end+1:]}, true
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

// CutMember cuts the first member of a list of entity tags off, without the
// white space around it. A tag may hold commas.
func CutMember(s string) (member, rest string) {
	quoted := false
	for i := range len(s) {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case s[i] == ',' && !quoted:
			return header.TrimSpace(s[:i]), s[i+1:]
		}
	}
	return header.TrimSpace(s), ""
}

// maxField is how long a field with tags is at most that is looked at. Browsers send one
// tag, and caches a few.
const maxField = 8 << 10

// In walks through the tags of our shape in a header field. One that is too long has
// none: it goes to the handler as it came, to whom they are somebody else's.
func In(r *http.Request, name string) Tags {
	lines := r.Header[name]
	if IsLong(lines) {
		return Tags{}
	}
	return Tags{lines: lines}
}

// IsLong reports whether a field with tags is longer than what is looked at.
func IsLong(lines []string) bool {
	n := 0
	for _, line := range lines {
		n += len(line)
	}
	return n > maxField
}

// Tags walks through the tags of our shape in the lines of a header field.
type Tags struct {
	lines []string
	line  string // what is left of the current one
	Tag   Tag    // the current one
}

// Next goes to the next tag, and reports whether there is one.
func (t *Tags) Next() bool {
	for {
		for t.line == "" {
			if len(t.lines) == 0 {
				return false
			}
			t.line, t.lines = t.lines[0], t.lines[1:]
		}
		var member string
		member, t.line = CutMember(t.line)
		var ok bool
		if t.Tag, ok = Parse(member); ok {
			return true
		}
	}
}

// HasStar reports whether a field with tags has the star in it, which matches any.
func HasStar(lines []string) bool {
	for _, line := range lines {
		for line != "" {
			var member string
			if member, line = CutMember(line); member == "*" {
				return true
			}
		}
	}
	return false
}

// ForHandler returns a field with tags (If-None-Match, If-Match or If-Range) as the handler is to
// see it: with its own tags only. Each tag that is ours is given to found. It appends to
// kept, which may have room on the stack.
func ForHandler(kept []string, name string, lines []string, found func(token string)) []string {
	for _, line := range lines {
		for line != "" {
			var member string
			member, line = CutMember(line)
			tag, ok := Parse(member)
			if !ok {
				if member != "" {
					kept = append(kept, member)
				}
				continue
			}
			found(tag.Token)
			own, isOwn := tag.Own()
			switch {
			case name == "If-None-Match" && isOwn:
				// A proxy's suffix is cut here: the comparison is weak, and the
				// answer is a whole body or none.
				kept = append(kept, WeakPrefix(tag.Weak)+`"`+own+`"`)
			case name == "If-None-Match":
				// Derived: without us the client would have no tag.
			case isOwn:
				// With the suffix it matches nothing, as it should: to resume a
				// compressed body with bytes of the plain one ruins the file.
				kept = append(kept, WeakPrefix(tag.Weak)+`"`+own+tag.Suffix+`"`)
			default:
				// Derived: it fails the strong comparison of If-Match and If-Range.
				kept = append(kept, `W/"`+tag.Content+tag.Suffix+`"`)
			}
		}
	}
	return kept
}
