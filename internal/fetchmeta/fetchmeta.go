// Package fetchmeta says what kind of request this is, by Fetch Metadata, Accept and their
// like.
package fetchmeta

import (
	"net/http"
	"strings"

	"github.com/revisit-go/revisit/internal/header"
	"github.com/revisit-go/revisit/internal/origin"
)

// IsForwarded reports whether a service worker hands a navigation on, by
// fetch(event.request). For the server it is for nothing in particular then, and in
// Firefox no navigation either, and always of this origin (measured in Chromium 156 and
// Firefox 153; both leave what only navigations have: Accept, and the wish for https).
// No page of another site can make such a request but by a navigation: a Request of mode
// "navigate" cannot be made by script, and one of mode "same-origin" does not leave the
// origin (Fetch standard, section 5.4). A frame is handed on in the same way, and taken
// for a page.
func IsForwarded(h http.Header, site, mode, dest string) bool {
	if dest != "empty" {
		return false
	}
	return mode == "navigate" || mode == "same-origin" && site == "same-origin" &&
		header.Value(h, "Upgrade-Insecure-Requests") == "1" && strings.HasPrefix(header.Value(h, "Accept"), "text/html")
}

// IsPrefetch reports whether nobody has asked for what the browser fetches yet, or sees
// no more of it than a picture. Other fields than Sec-Purpose are what browsers sent
// before it (Firefox X-Moz, Chrome and Safari Purpose, and X-Purpose for a preview),
// what apps send (Facebook's) and what scripts do, which cannot set Sec-Purpose (Turbo's).
func IsPrefetch(h http.Header) bool {
	if _, ok := h["Sec-Purpose"]; ok {
		return true
	}
	for _, name := range [...]string{"Purpose", "X-Purpose", "X-Sec-Purpose", "X-Moz"} {
		value := header.Value(h, name)
		if value == "" || len(value) > 64 {
			continue
		}
		value = strings.ToLower(value)
		for _, word := range [...]string{"prefetch", "preview", "prerender"} {
			if strings.Contains(value, word) {
				return true
			}
		}
	}
	return false
}

// Wanted is what a client says that it wants.
type Wanted int8

const (
	Anything Wanted = iota
	Page
	Asset // images, styles, fonts or media only
	Data  // JSON, events, or anything else that is no page
)

// How much of Accept is looked at. Browsers send one line of less than 200 bytes.
const (
	maxAcceptLines = 4
	maxAcceptText  = 1 << 10
)

// Wants returns what Accept asks for. Browsers put */* at the end of such a list, which
// says nothing; none asks for JSON where it goes to a page.
func Wants(lines []string) Wanted {
	want := Anything
	for _, line := range lines[:min(len(lines), maxAcceptLines)] {
		for line = line[:min(len(line), maxAcceptText)]; line != ""; {
			var item string
			item, line, _ = strings.Cut(line, ",")
			kind, _, _ := strings.Cut(item, ";")
			switch kind = strings.ToLower(header.TrimSpace(kind)); {
			case kind == "", kind == "*/*":
			case strings.HasSuffix(kind, "/json"), strings.HasSuffix(kind, "+json"), kind == "text/event-stream":
				return Data
			case kind == "text/html", kind == "application/xhtml+xml", kind == "text/*":
				want = Page
			case want == Page:
			case kind == "text/css",
				strings.HasPrefix(kind, "image/"), strings.HasPrefix(kind, "font/"),
				strings.HasPrefix(kind, "audio/"), strings.HasPrefix(kind, "video/"):
				if want == Anything {
					want = Asset
				}
			default:
				want = Data
			}
		}
	}
	return want
}

// A Class is what a request is, as far as it says so itself.
type Class struct {
	Navigation bool // the browser goes to a page
	Hit        bool // a page view
	MayStart   bool // of a kind that may be a visitor's first request
	Foreign    bool // a subresource of another site's page
	ByWorker   bool // a service worker hands the page on to its browser
}

// Classify reads the Fetch Metadata of a request. Clients without it (not
// browsers, or a plain-http host other than localhost) are classified by Accept.
func Classify(r *http.Request) (c Class) {
	h := r.Header
	mode, dest, site := header.Value(h, "Sec-Fetch-Mode"), header.Value(h, "Sec-Fetch-Dest"), header.Value(h, "Sec-Fetch-Site")
	if mode == "" && dest == "" && site == "" {
		c = classifyByAccept(r)
	} else {
		forwarded := IsForwarded(h, site, mode, dest)
		page := mode == "navigate" && (dest == "document" || dest == "") || forwarded
		c.Foreign = site == "cross-site" && !page
		c.Navigation = (mode == "navigate" || forwarded) && !c.Foreign
		c.Hit = page
		c.ByWorker = forwarded || page && header.Value(h, "Service-Worker-Navigation-Preload") != ""
		// A page on another host of the site asks without cookies, unless its script asks to
		// send them, so a missing cookie means nothing. Nor does it on a picture that a service
		// worker hands on: for the server that is a fetch without CORS.
		fetch := (dest == "empty" || dest == "") && mode != "websocket" && mode != "no-cors" && site != "same-site" && !c.Foreign
		c.MayStart = c.Navigation || fetch
		// The way back from a payment page can be a POST from another site, which
		// comes without SameSite=Lax cookies. A missing cookie means nothing there, and
		// a new one would take the place of the visitor's.
		if site == "cross-site" && r.Method != http.MethodGet {
			c.MayStart = false
		}
	}
	if IsPrefetch(h) {
		c.Hit, c.MayStart = false, false
	}
	return c
}

// classifyByAccept is for clients without Fetch Metadata. What browsers send for a page
// begins with text/html, and a request for anything else is no page view: an API's
// client, say, or a page that polls. A client that sends no Accept, or accepts anything,
// counts as viewing a page, except a browser, whose script does that.
func classifyByAccept(r *http.Request) (c Class) {
	h := r.Header
	want, from := Wants(h["Accept"]), header.Value(h, "Origin")
	c.MayStart = r.Method == http.MethodGet && want != Asset && (from == "" || origin.IsSame(r))
	c.Navigation = c.MayStart && strings.HasPrefix(header.Value(h, "Accept"), "text/html")
	byScript := from != "" || header.Value(h, "Referer") != "" || strings.HasPrefix(header.Value(h, "User-Agent"), "Mozilla/")
	c.Hit = c.MayStart && (want == Page || want == Anything && (len(h["Accept"]) == 0 || !byScript))
	return c
}

// Destination returns what the client wants the response for, by Fetch Metadata, and by Accept
// for clients without.
func Destination(h http.Header, c Class) Wanted {
	switch header.Value(h, "Sec-Fetch-Dest") {
	case "document", "iframe", "frame", "embed", "object", "fencedframe":
		return Page
	case "empty":
		switch {
		case c.Navigation || c.ByWorker: // which a service worker has handed on
			return Page
		case header.Value(h, "Sec-Fetch-Mode") == "no-cors": // a picture that it has
			return Asset
		}
		return Data
	case "":
		if want := Wants(h["Accept"]); want != Anything {
			return want
		}
		return Page
	}
	return Asset
}
