package revisit

import (
	"bytes"
	"context"
	"html/template"
	"io"
	"mime"
	"net/http"
	"strings"
)

// Tag returns what a page of a wrapped handler includes, so that its session and
// those of the site's other pages become one (see [Tracker.Beacon]):
//
//	<script src="/revisit/revisit.js?v=…" async data-wrapped></script>
//
// It is the same for every visitor, so that it does not spoil the page for
// caches. A strict Content-Security-Policy needs script-src and connect-src
// 'self'.
//
// Without a request of a [Tracker] in ctx, and while Tracker.Beacon was not
// called, Tag returns nothing.
func Tag(ctx context.Context, options ...TagOption) template.HTML {
	v := visitOf(ctx)
	if v == nil || !v.tracker.beaconOn.Load() {
		return ""
	}
	var o tagOptions
	for _, option := range options {
		option(&o)
	}
	path := v.tracker.beaconPath
	var b strings.Builder
	b.WriteString(`<script src="` + template.HTMLEscapeString(path) + "revisit.js?v=" + scriptVersion + `" async data-wrapped`)
	if o.nonce != "" {
		b.WriteString(` nonce="` + template.HTMLEscapeString(o.nonce) + `"`)
	}
	b.WriteString("></script>")
	if o.noScript && !v.weak && v.personalise(ctx) {
		b.WriteString(`<noscript><iframe src="` + template.HTMLEscapeString(path) + "link/" + v.ticket(viaLink, 0) + `" hidden></iframe></noscript>`)
	}
	return template.HTML(b.String())
}

// A TagOption changes what [Tag] returns.
type TagOption func(*tagOptions)

type tagOptions struct {
	nonce    string
	noScript bool
}

// Nonce gives the script the nonce of the page's Content-Security-Policy.
func Nonce(nonce string) TagOption { return func(o *tagOptions) { o.nonce = nonce } }

// NoScript adds a hidden frame for browsers that run no script, where the browser
// does not show who it is by a cookie:
//
//	<noscript><iframe src="/revisit/link/…" hidden></iframe></noscript>
//
// So what Tag returns goes into the body of the page, not the head. The frame is
// the visitor's own, so the response is made private, whatever the handler has
// said; and it changes when sessions are joined, so a handler that computes an ETag
// of its own must include it. A Content-Security-Policy needs frame-src and
// img-src 'self'.
func NoScript() TagOption { return func(o *tagOptions) { o.noScript = true } }

// Field returns a hidden input for a form that is posted to a wrapped handler of
// the same origin:
//
//	<input type="hidden" name="revisit" value="…">
//
// A POST carries no tag, so that under [ETag] alone, and where cookies are
// blocked, nothing else says whose it is. The value is sealed, and worth nothing
// with another User-Agent or Accept-Language, or from another address (an IPv4
// address, the /64 of an IPv6 one: see Config.ClientAddr); it may be sent as
// often as one likes. The request has to show that a page of this origin made it,
// by Sec-Fetch-Site, Origin or Referer, as browsers do. Put the field first: it is
// looked for in the first 4,096 bytes of a body of either kind. Session.Via of such
// a POST is "form".
//
// As with [NoScript], the response is made private, and a handler that computes an
// ETag of its own must include the value. Field returns nothing where there is no
// session, and where the browser shows who it is by a cookie.
func Field(ctx context.Context) template.HTML {
	v := visitOf(ctx)
	if v == nil || !v.personalise(ctx) {
		return ""
	}
	return template.HTML(`<input type="hidden" name="` + fieldName + `" value="` + v.ticket(viaForm, 0) + `">`)
}

const fieldName = "revisit"

// personalise reports whether a ticket may be put into the body of the response,
// which is private then. A new session is saved, because the ticket will be sent.
func (v *Visit) personalise(ctx context.Context) bool {
	s := &v.session
	if s.tracker == nil || s.Unverified || s.guess || v.foreign || v.clearing.Load() || !v.hooked || v.isPortable() {
		return false
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.attached && !v.sentPrivate || s.create(ctx) != nil {
		return false
	}
	v.personal = true
	return true
}

// forcePrivate makes a response private that has a ticket in its body. What no
// cache may keep stays so.
func forcePrivate(h http.Header) {
	if cachingOf(h).private {
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

// formLimit is how far into the body of a POST Field's input is looked for.
const formLimit = 4 << 10

// formTicket looks for Field's input in a POST from the same origin. The handler
// gets the body as if nobody had looked.
func (v *Visit) formTicket() (ticket, bool) {
	r := v.request
	if r.Method != http.MethodPost || v.foreign || !isSameOrigin(r) {
		return ticket{}, false
	}
	text := ""
	if r.PostForm != nil { // somebody further out has read it
		text = r.PostForm.Get(fieldName)
	}
	if r.PostForm == nil || text == "" && r.MultipartForm == nil { // ParseForm leaves multipart alone
		text = v.peekForm()
	}
	if text == "" {
		return ticket{}, false
	}
	return v.openTicket(viaForm, text)
}

func (v *Visit) peekForm() string {
	r := v.request
	kind, _, err := mime.ParseMediaType(headerValue(r.Header, "Content-Type"))
	// Who waits to be asked for the body may not be asked at all.
	if err != nil || r.Body == nil || r.Body == http.NoBody || headerValue(r.Header, "Expect") != "" {
		return ""
	}
	var find func([]byte) (string, bool)
	switch kind {
	case "application/x-www-form-urlencoded":
		find = findInQuery
	case "multipart/form-data":
		find = findInParts
	default:
		return ""
	}
	peeked := make([]byte, 0, formLimit)
	text, found := "", false
	for !found && len(peeked) < cap(peeked) {
		n, err := r.Body.Read(peeked[len(peeked):cap(peeked)])
		peeked = peeked[:len(peeked)+n]
		text, found = find(peeked)
		if err != nil {
			break // the handler meets it, too
		}
	}
	v.inner.Body = struct { // the handler is to see all of it
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(peeked), r.Body), r.Body}
	return text
}

// findInQuery and findInParts find a ticket in the beginning of a body. They need
// not tell a field from a text that looks like one: a ticket that can be opened
// is one that this browser was given.
func findInQuery(b []byte) (string, bool) {
	const begin = fieldName + "="
	for at := 0; ; {
		i := bytes.Index(b[at:], []byte(begin))
		if i < 0 {
			return "", false
		}
		at += i
		if at == 0 || b[at-1] == '&' {
			return cutTicket(b[at+len(begin):])
		}
		at += len(begin)
	}
}

func findInParts(b []byte) (string, bool) {
	const begin = "; name=\"" + fieldName + "\"\r\n\r\n"
	i := bytes.Index(b, []byte(begin))
	if i < 0 {
		return "", false
	}
	return cutTicket(b[i+len(begin):])
}

func cutTicket(b []byte) (string, bool) {
	if len(b) < ticketLen {
		return "", false
	}
	return string(b[:ticketLen]), true
}
