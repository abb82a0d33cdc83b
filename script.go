package revisit

import (
	"context"
	"html/template"
	"strings"

	"github.com/revisit-go/revisit/internal/beacon"
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
	b.WriteString(`<script src="` + template.HTMLEscapeString(path) + "revisit.js?v=" + beacon.Version + `" async data-wrapped`)
	if v.tracker.tagsAlone {
		b.WriteString(`="etag"`) // where each page that was counted has its session's link, or says so
	}
	if o.nonce != "" {
		b.WriteString(` nonce="` + template.HTMLEscapeString(o.nonce) + `"`)
	}
	b.WriteString("></script>")
	if o.noScript && !v.weak && v.personalise(ctx) {
		b.WriteString(`<noscript><iframe src="` + template.HTMLEscapeString(path) + "link/" + v.boundToken(viaLink, 0) + `" hidden></iframe></noscript>`)
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

// NoScript adds a hidden frame for browsers that run no script, where no cookie identifies
// the browser:
//
//	<noscript><iframe src="/revisit/link/…" hidden></iframe></noscript>
//
// So put Tag into the body of the page, not the head. The frame is
// the visitor's own, so the response is made private, and a handler that computes an ETag
// of its own must include it. A Content-Security-Policy needs frame-src and img-src 'self'.
func NoScript() TagOption { return func(o *tagOptions) { o.noScript = true } }

// personalise reports whether a link or form token may be put into the body of the response,
// which is private then. A new session is saved, because the token will be sent.
func (v *Visit) personalise(ctx context.Context) bool {
	v.resolveForm(true)
	s := &v.session
	if s.tracker == nil || s.Unverified || s.guess || v.class.Foreign || v.clearing.Load() || !v.hooked || v.isPortable() {
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
