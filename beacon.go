package revisit

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

const defaultBeaconPath = "/revisit/"

// Beacon returns a handler to be mounted at [Config.BeaconPath]. A validator
// belongs to one URL, so under [ETag] alone, and where cookies are blocked, each
// page is a session of its own until something joins them. That is the beacon:
// one anchor on one URL, which every page is joined to.
//
//	mux.Handle("/revisit/", tracker.Beacon())
//
// That line panics beside a pattern with a method, as "GET /". [Tracker.Mount] works beside
// any. It serves, under that path:
//
//   - pixel.gif, the anchor: a transparent image of one pixel. On pages that are
//     not wrapped (static ones, or those of a CDN) an <img> of it counts the page
//     view: that of its Referer, which must be of this origin.
//   - anchor, the same for script on pages that a service worker controls, which may
//     keep pictures for itself. The two are joined.
//   - revisit.js, which [Tag] includes, and pages that are not wrapped can:
//     <script src="/revisit/revisit.js" async></script>. It tells the anchor which
//     session the page belongs to. It counts the page views that no wrapped
//     handler has counted: pages that are not wrapped, route changes of
//     single-page applications (pushState, popstate, hash, the Navigation API), pages
//     that the browser had put aside or a service worker has answered, and pages
//     without a carrier under [ETag] alone. Its only global is the function revisit: call it when consent
//     was given without another page being loaded, and the landing page and its
//     referrer are reported.
//   - link/…, the frame of [NoScript].
//   - forget: a POST from the same origin forgets the visitor, as Tracker.Forget
//     does, and ends the consent that [OptIn] has found. Put [Field] into the form.
//
// All of it is subject to Config.Consent as any other request is. Sessions that
// turn out to be one browser are merged as those of a [Hybrid] are: under Restore
// all, under Recognise only those that were born within ten seconds of each other.
// So under ETag alone a site wants Restore. They stay apart if their Values differ.
//
// Tag and the links are off until Beacon is called. A mux that has the beacon in it
// may be wrapped as a whole by Tracker.Handler.
func (t *Tracker) Beacon() http.Handler {
	t.beaconOn.Store(true)
	forget := &handler{tracker: t, next: http.HandlerFunc(t.serveForget), kind: kindForget}
	return &beacon{
		anchor: &handler{tracker: t, next: http.HandlerFunc(t.serveAnchor), kind: kindAnchor},
		forget: atPlainHost(http.NewCrossOriginProtection().Handler(forget)),
	}
}

// Mount mounts [Tracker.Beacon] in a ServeMux, at [Config.BeaconPath]:
//
//	tracker.Mount(mux)
//
// Since it has a pattern for each path, with its method, it works beside "GET /", "/{path...}"
// and "/{lang}/{page}", where mux.Handle("/revisit/", tracker.Beacon()) panics. (Not beside a
// pattern for HEAD alone, as "HEAD /".) What the beacon does not serve is left to the other
// patterns.
//
// A pattern with a host, as "shop.example/", comes before those without one. If the mux has such
// patterns, name their hosts: the beacon is mounted at each of them, too. Mount panics if it is called
// twice for one mux, as mux.Handle does. A mux behind http.StripPrefix sees
// other paths than browsers do, so mount Beacon there yourself.
func (t *Tracker) Mount(mux *http.ServeMux, hosts ...string) {
	h := t.Beacon()
	for _, host := range append([]string{""}, hosts...) {
		for _, name := range [...]string{"pixel.gif", "anchor", "revisit.js", "link/{ticket}"} {
			mux.Handle("GET "+host+t.beaconPath+name, h)
		}
		mux.Handle("POST "+host+t.beaconPath+"forget", h)
	}
}

// isBeacon reports whether a request is one for the beacon.
func (t *Tracker) isBeacon(r *http.Request) bool {
	// RequestURI is what the browser sees, behind http.StripPrefix, too.
	return t.beaconOn.Load() && (strings.HasPrefix(r.URL.Path, t.beaconPath) || strings.HasPrefix(r.RequestURI, t.beaconPath))
}

type beacon struct{ anchor, forget http.Handler }

// ServeHTTP looks at the end of the path only, so that it works behind
// http.StripPrefix.
func (b *beacon) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	dir, name := path.Split(r.URL.Path)
	switch {
	case name == "pixel.gif", name == "anchor":
		only(b.anchor, http.MethodGet, http.MethodHead).ServeHTTP(w, r)
	case name == "revisit.js":
		only(http.HandlerFunc(serveScript), http.MethodGet, http.MethodHead).ServeHTTP(w, r)
	case name == "forget":
		only(b.forget, http.MethodPost).ServeHTTP(w, r)
	case path.Base(dir) == "link":
		only(http.HandlerFunc(serveFrame), http.MethodGet, http.MethodHead).ServeHTTP(w, r)
	default:
		http.NotFound(w, r)
	}
}

// only answers other methods with 405.
func only(next http.Handler, methods ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, method := range methods {
			if r.Method == method {
				next.ServeHTTP(w, r)
				return
			}
		}
		w.Header().Set("Allow", strings.Join(methods, ", "))
		http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
	})
}

// pixel is a transparent GIF of 1×1.
const pixel = "GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"

// told is what the anchor's request tells besides of itself.
type told struct {
	links          []ticket
	page, referrer string // of a page view; the page may be unknown

	// The page was loaded again, or gone back to: nobody has clicked.
	again bool
	// A handler has counted the page view, asked for that long ago at the most. All
	// that is new is whether somebody has clicked.
	counted bool
	age     time.Duration
	// The page is a copy that a service worker has kept, which may have asked for a newer
	// one meanwhile: the view is one unless another was counted since then.
	stale bool
}

func (t *Tracker) serveAnchor(w http.ResponseWriter, r *http.Request) {
	h, v := w.Header(), t.visit(r.Context())
	if (v.session.Unverified || v.unsettled) && v.told != nil && len(v.told.links) > 0 {
		// The store did not answer in time, so the script is to come again with them.
		http.Error(w, "Service Unavailable", http.StatusServiceUnavailable)
		return
	}
	h.Set("Content-Type", "image/gif")
	h.Set("Cache-Control", "private, no-cache")
	h.Set("Etag", `"1"`)
	if path.Base(r.URL.Path) == "anchor" {
		// The script is to tell it of the other one, unless a cookie is the same for both;
		// and on the next pages, too, because this one may be left at once. A header of the
		// 304 takes the place of the one that the browser has stored, so it is always there.
		h.Set(headerAnchor, "known")
		if v.session.tracker != nil && !v.isPortable() && v.now.Sub(v.session.Created()) < linkLife {
			h.Set(headerAnchor, "new")
		}
	}
	if v.session.tracker != nil && !v.isStored() {
		// Nothing here ever changes, so the 200 that a token can ride on would never
		// come for a browser that has the image without one.
		r = r.Clone(r.Context())
		r.Header = nil
	}
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(pixel))
}

//go:embed revisit.js
var source string

// script is what is sent: the source without its comments and indentation.
var script = func() string {
	var b strings.Builder
	for line := range strings.Lines(source) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), " // ")
		if line != "" && !strings.HasPrefix(line, "// ") {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}()

// scriptVersion is of the content, so that a page's script may be kept for ever.
var scriptVersion = func() string {
	sum := sha256.Sum256([]byte(script))
	return hex.EncodeToString(sum[:6])
}()

// serveScript never sees a session: the script is for everybody.
func serveScript(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/javascript; charset=utf-8")
	h.Set("Cache-Control", "public, max-age=3600")
	if r.URL.RawQuery == "v="+scriptVersion {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	h.Set("Etag", `"`+scriptVersion+`"`)
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(script))
}

// serveFrame answers with a page that holds the anchor, whose Referer then has
// the link ticket. It is for a frame in a page of the same origin only: anywhere
// else it would tell the anchor what some other site likes it to hear, or whoever
// has put a link into a comment. A browser that does not say gets an empty page.
func serveFrame(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; img-src 'self'; frame-ancestors 'self'")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("X-Robots-Tag", "noindex")
	if dest := headerValue(r.Header, "Sec-Fetch-Dest"); isSameOrigin(r) && (dest == "iframe" || dest == "frame") {
		_, _ = w.Write([]byte(`<!DOCTYPE html><title>.</title><img src="../pixel.gif" alt="">`))
	}
}

// formTime is how long the form of forget may take to come.
const formTime = 10 * time.Second

// serveForget answers a request under Deny: whom it speaks for has been
// forgotten.
func (t *Tracker) serveForget(w http.ResponseWriter, r *http.Request) {
	v := t.visit(r.Context())
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(formTime)) // a server's writer can
	v.settleForm(true)
	if !v.forgotten {
		http.Error(w, "That did not work. Please try again.", http.StatusServiceUnavailable)
		return
	}
	if !v.spoke && v.formText() != "" {
		// Field's ticket is of another network or browser, so nobody knows whose it is.
		http.Error(w, "This form is too old. Please open the page again.", http.StatusConflict)
		return
	}
	// The pages that hold a tag go, too, where the browser obeys. What stays is
	// worth nothing: a tombstone has its session.
	w.Header().Set("Clear-Site-Data", `"cache"`)
	w.Header().Set("Cache-Control", "no-store")
	v.endConsent(w.Header())
	if headerValue(r.Header, "Sec-Fetch-Mode") != "navigate" {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	back := "/"
	if u, ok := ownReferrer(r); ok {
		back += strings.TrimLeft(u.RequestURI(), `/\`) // never to another host
	}
	http.Redirect(w, r, back, http.StatusSeeOther)
}

// atPlainHost has next see the Host as an Origin has it: without a default port, in small
// letters.
func atPlainHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if host := strings.ToLower(plainHost(r.Host)); host != r.Host {
			r = r.WithContext(r.Context())
			r.Host = host
		}
		next.ServeHTTP(w, r)
	})
}

// isSameOrigin reports whether a page of this origin has made the request. A
// client without Fetch Metadata has to show it by Origin or Referer.
func isSameOrigin(r *http.Request) bool {
	if site := headerValue(r.Header, "Sec-Fetch-Site"); site != "" {
		return site == "same-origin"
	}
	if origin := headerValue(r.Header, "Origin"); origin != "" {
		u, err := url.Parse(origin)
		return err == nil && isOwn(u, r)
	}
	_, ok := ownReferrer(r)
	return ok
}

// ownReferrer returns a Referer of the origin of r.
func ownReferrer(r *http.Request) (*url.URL, bool) {
	referer := headerValue(r.Header, "Referer")
	if referer == "" || len(referer) > maxReferrer {
		return nil, false
	}
	u, err := url.Parse(referer)
	if err != nil || !isOwn(u, r) && !isBehindProxy(u, r) {
		return nil, false
	}
	return u, true
}

// isOwn reports whether u is of the origin of r. That a request came without TLS
// may be the work of a proxy, and says nothing; so does a port that its scheme implies.
func isOwn(u *url.URL, r *http.Request) bool {
	return (u.Scheme == "https" || u.Scheme == "http" && r.TLS == nil) && (strings.EqualFold(u.Host, r.Host) || strings.EqualFold(hostOf(u), plainHost(r.Host)))
}

// isBehindProxy reports whether u, the Referer of r, is of the origin of r though its host is
// another one: the browser says that the page is of the origin that it asks, so the Host of r
// is the work of a proxy. Browsers set Sec-Fetch-Site themselves, and it goes with the Referer:
// the reload of a page that another site has led to repeats both (seen in Chromium and Firefox).
// An image is no proof: one that a style sheet asks for has the Referer of that, which may be
// another site's, while Sec-Fetch-Site is the page's.
func isBehindProxy(u *url.URL, r *http.Request) bool {
	return headerValue(r.Header, "Sec-Fetch-Site") == "same-origin" && headerValue(r.Header, "Sec-Fetch-Dest") != "image" &&
		(u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && !isOwn(u, r)
}

// hostOf returns the host of u as hosts are compared: without a port that is its scheme's.
func hostOf(u *url.URL) string {
	host := withoutDot(u.Host)
	switch u.Scheme {
	case "https":
		return strings.TrimSuffix(host, ":443")
	case "http":
		return strings.TrimSuffix(host, ":80")
	}
	return host
}

// plainHost returns a Host as hosts are compared: without the ports of HTTP and HTTPS (which
// of them the browser speaks, a proxy may hide), and without the dot at the end of a name.
func plainHost(host string) string {
	for _, port := range [...]string{":443", ":80"} {
		if name, ok := strings.CutSuffix(host, port); ok {
			host = name
			break
		}
	}
	return withoutDot(host)
}

// withoutDot cuts off the dot at the end of the name of a host, which may have a port.
func withoutDot(host string) string {
	if name, ok := strings.CutSuffix(host, "."); ok {
		return name
	}
	if name, port, ok := strings.Cut(host, ".:"); ok {
		return name + ":" + port
	}
	return host
}

// What the script sends to the anchor. A page of another origin cannot: these
// fields would have the browser ask first.
const (
	headerLink     = "Revisit-Link"     // link tickets, separated by commas
	headerPage     = "Revisit-Page"     // a page view: path, query and fragment of the page
	headerLanding  = "Revisit-Landing"  // the same of a visit that began before consent, or of a campaign in the fragment
	headerAgain    = "Revisit-Again"    // the same of a page that a handler has counted, and that was loaded again or gone back to
	headerReferrer = "Revisit-Referrer" // of any of them
	headerLoad     = "Revisit-Load"     // how the page was loaded: see tellLoad
	headerAnchor   = "Revisit-Anchor"   // asks one anchor for a link that is for the other; of an answer: whether the anchor is new
)

const (
	// maxLinks is how many tickets of one request for the anchor are looked at.
	maxLinks = 16
	// maxLinkText is how long the list of them may be.
	maxLinkText = maxLinks * (ticketLen + len(", "))
	// maxLoadText is how much of headerLoad is looked at.
	maxLoadText = 64
)

// classifyAnchor decides what a request for the anchor is good for. It must be
// one of a page of this origin, for an image or by fetch. Otherwise any site
// could send its visitors here and join them to a session of its own.
func (v *Visit) classifyAnchor() {
	r := v.request
	h := r.Header
	site, mode, dest := headerValue(h, "Sec-Fetch-Site"), headerValue(h, "Sec-Fetch-Mode"), headerValue(h, "Sec-Fetch-Dest")
	goes := v.navigation || mode == "navigate"
	v.navigation, v.hit, v.mayMint, v.linkable = false, false, false, false
	if goes || !isSameOrigin(r) || site != "" && dest != "image" && dest != "empty" {
		v.foreign = true
		return
	}
	v.mayMint = r.Method == http.MethodGet && !isPrefetch(h)
	v.told = &told{}
	// A picture that a service worker hands on is for nothing any more, but script that
	// can send these fields asks with CORS.
	if dest != "image" && mode != "no-cors" {
		v.tellLinks(headerValue(h, headerLink))
		v.linkable = v.mayMint && headerValue(h, headerAnchor) != ""
		told := v.tellView(headerPage)
		told = v.tellView(headerLanding) || told
		told = v.tellView(headerAgain) || told
		if dest != "" || told || v.linkable || headerValue(h, headerLink) != "" {
			return
		}
	}
	// An image: of the frame of a page, or of a page that is not wrapped.
	// Without a Referer it can be either, and is no view.
	u, ok := ownReferrer(r)
	if !ok {
		if site == "same-origin" && headerValue(h, "Referer") != "" {
			v.tracker.warnOfHost()
		}
		return
	}
	if text, ok := strings.CutPrefix(u.Path, v.tracker.beaconPath+"link/"); ok {
		// The page has no time in it.
		if t, ok := v.openTicket(viaLink, text); ok && t.issued == 0 {
			v.told.links = append(v.told.links, t)
		}
		return
	}
	v.told.page, v.hit = u.RequestURI(), v.mayMint
}

// tellLinks takes link tickets from the script's list of them. Each member costs a MAC
// at the most, so it is the members that are counted, whatever they are worth.
func (v *Visit) tellLinks(list string) {
	if len(list) > maxLinkText {
		v.tracker.stats.forged.Add(1)
		return
	}
	for n := 0; list != "" && n < maxLinks; n++ {
		var text string
		text, list, _ = strings.Cut(list, ",")
		t, ok := v.openTicket(viaLink, trimSpace(text))
		age := v.now.Unix() - int64(t.issued)
		if ok && -60 <= age && age <= int64(linkLife/time.Second) {
			v.told.links = append(v.told.links, t)
		}
	}
}

// tellView takes a page view from a header field of the script's, if it is there,
// and reports that.
func (v *Visit) tellView(name string) (told bool) {
	page := headerValue(v.request.Header, name)
	if page == "" {
		return false
	}
	path, _, _ := strings.Cut(page, "#")
	if _, err := url.ParseRequestURI(path); err == nil && len(page) <= maxReferrer && page[0] == '/' && !strings.HasPrefix(page, "//") {
		v.told.page, v.told.referrer, v.landing = page, headerValue(v.request.Header, headerReferrer), name == headerLanding
		seen := v.tellLoad(headerValue(v.request.Header, headerLoad))
		v.told.counted = name == headerAgain || name == headerPage && seen
		v.hit = v.mayMint && !v.told.counted
	}
	return true
}

// tellLoad takes from the script how the page was loaded, and reports whether the server
// has counted just that:
//
//	Revisit-Load: again,age=1200,seen=1764264000123
//
// Again is a reload or a way back; age is how many milliseconds ago, and more, the browser
// has asked for the page; seen is when the server has counted it, by the word that came
// with it (see sendSeen), which is an old one if the page comes out of a service worker's
// store.
func (v *Visit) tellLoad(text string) (seen bool) {
	if len(text) > maxLoadText {
		return false
	}
	var age, at int64
	for word := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(word, "=")
		switch name {
		case "again":
			v.told.again = true
		case "age":
			age, _ = strconv.ParseInt(value, 10, 64)
		case "seen":
			at, _ = strconv.ParseInt(value, 10, 64)
		}
	}
	v.told.age = time.Duration(min(max(age, 0), maxPageAge.Milliseconds())) * time.Millisecond
	seen = at > 0 && v.now.UnixMilli()-at <= (v.told.age+reportDelay).Milliseconds()
	v.told.stale = at > 0 && !seen
	return seen
}

// takesBack reports whether the request does no more than to say that a page view, which
// was counted, was no click.
func (v *Visit) takesBack() bool { return v.told != nil && v.told.counted && v.told.again }

// isPlain reports whether the request may do no more than count a page view, or nothing.
func (v *Visit) isPlain() bool {
	return !v.landing && (v.told == nil || !v.told.stale && !v.takesBack())
}

const (
	// maxPageAge is how long after a page was asked for its view can be taken for seen.
	maxPageAge = time.Hour
	// reportDelay is how long the script's report may be on its way, in excess of what
	// the page was.
	reportDelay = time.Second
)

// sendSeen tells the page's script that the page view was counted, where it cannot know
// that otherwise: behind a service worker, which may answer with what it has kept, and
// where a page without a link is one that has no session (see Tag). It is no token, and
// the time in it says which copy of a page it came with.
//
//	Server-Timing: rvs;dur=<Unix milliseconds>
func (v *Visit) sendSeen(h http.Header, status int) {
	if status == http.StatusPartialContent {
		return
	}
	if v.hit && isShown(status) && v.session.isSaved() && v.tracker.beaconOn.Load() && (v.byWorker || v.tracker.tagsAlone && cachingOf(h).carries()) {
		h["Server-Timing"] = append(slices.Clip(h["Server-Timing"]), "rvs;dur="+strconv.FormatInt(v.now.UnixMilli(), 10))
	}
}
