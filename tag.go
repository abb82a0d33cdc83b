package revisit

import (
	"context"
	"html/template"
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
	if v.tracker.tagsAlone {
		b.WriteString(`="etag"`) // where each page that was counted has its session's link, or says so
	}
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

// personalise reports whether a ticket may be put into the body of the response,
// which is private then. A new session is saved, because the ticket will be sent.
func (v *Visit) personalise(ctx context.Context) bool {
	v.settleForm(true)
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
