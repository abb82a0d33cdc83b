package revisit

import (
	_ "embed"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/revisit-go/revisit/internal/beacon"
	"github.com/revisit-go/revisit/internal/cachecontrol"
	"github.com/revisit-go/revisit/internal/header"
	"github.com/revisit-go/revisit/internal/origin"
	"github.com/revisit-go/revisit/internal/token"
)

const defaultBeaconPath = "/revisit/"

// Beacon returns a handler for [Config.BeaconPath]. A validator
// belongs to one URL, so under [ETag] alone, and where cookies are blocked, each
// page is a session of its own until the beacon joins them: every page is joined to the
// session of one anchor, on one URL.
//
//	mux.Handle("/revisit/", tracker.Beacon())
//
// That line panics beside a pattern with a method, such as "GET /"; [Tracker.Mount] works beside
// any. Under that path it serves:
//
//   - pixel.gif, the anchor: a transparent image of one pixel. On pages that are
//     not wrapped (static ones, or those of a CDN) an <img> of it counts the page
//     view of its Referer, which must be of this origin.
//   - anchor, the same for scripts of pages that a service worker controls, which may
//     cache pictures. The two are joined.
//   - revisit.js, which [Tag] includes. Pages that are not wrapped can include it with
//     <script src="/revisit/revisit.js" async></script>. It reports to the anchor which
//     session the page belongs to, and the page views that no wrapped
//     handler has counted: docs/beacon.md lists them. Its only global is the function
//     revisit: call it when consent was given without another page being loaded, and the
//     landing page and its referrer are reported.
//   - link/…, the frame of [NoScript].
//   - forget: a POST from the same origin forgets the visitor, as Tracker.Forget
//     does, and ends the consent that [OptIn] has found. Put [Field] into the form.
//
// Config.Consent applies to these requests, too. Sessions that
// turn out to be one browser are merged as those of a [Hybrid] are: all of them under Restore,
// and under Recognise only those that were born within ten seconds of each other.
// So under ETag alone a site needs Restore. Sessions with different Values stay apart.
//
// Tag and the links are off until Beacon is called. A mux that contains the beacon
// may be wrapped as a whole by Tracker.Handler.
func (t *Tracker) Beacon() http.Handler {
	t.beaconOn.Store(true)
	forget := &handler{tracker: t, next: http.HandlerFunc(t.serveForget), kind: kindForget}
	return &beaconHandler{
		anchor: &handler{tracker: t, next: http.HandlerFunc(t.serveAnchor), kind: kindAnchor},
		forget: origin.WithPlainHost(http.NewCrossOriginProtection().Handler(forget)),
	}
}

// Mount mounts [Tracker.Beacon] in a ServeMux, at [Config.BeaconPath]:
//
//	tracker.Mount(mux)
//
// It adds a pattern for each path, with its method, so it works beside "GET /", "/{path...}"
// and "/{lang}/{page}", where mux.Handle("/revisit/", tracker.Beacon()) panics (but not beside a
// pattern for HEAD alone). Other paths are left to other patterns.
//
// A pattern with a host, as "shop.example/", comes before those without one. If the mux has such
// patterns, name their hosts: the beacon is mounted at each of them, too. Mount panics if it is called
// twice for one mux, as mux.Handle does. A mux behind http.StripPrefix sees
// other paths than browsers do, so mount Beacon there yourself.
func (t *Tracker) Mount(mux *http.ServeMux, hosts ...string) {
	h := t.Beacon()
	for _, host := range append([]string{""}, hosts...) {
		for _, name := range [...]string{"pixel.gif", "anchor", "revisit.js", "link/{token}"} {
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

type beaconHandler struct{ anchor, forget http.Handler }

// ServeHTTP looks at the end of the path only, so that it works behind
// http.StripPrefix.
func (b *beaconHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	dir, name := path.Split(r.URL.Path)
	switch {
	case name == "pixel.gif", name == "anchor":
		beacon.Only(b.anchor, http.MethodGet, http.MethodHead).ServeHTTP(w, r)
	case name == "revisit.js":
		beacon.Only(http.HandlerFunc(beacon.ServeScript), http.MethodGet, http.MethodHead).ServeHTTP(w, r)
	case name == "forget":
		beacon.Only(b.forget, http.MethodPost).ServeHTTP(w, r)
	case path.Base(dir) == "link":
		beacon.Only(http.HandlerFunc(beacon.ServeFrame), http.MethodGet, http.MethodHead).ServeHTTP(w, r)
	default:
		http.NotFound(w, r)
	}
}

func (t *Tracker) serveAnchor(w http.ResponseWriter, r *http.Request) {
	h, v := w.Header(), t.visit(r.Context())
	if (v.session.Unverified || v.unresolved) && v.report != nil && len(v.report.links) > 0 {
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
		h.Set(beacon.FieldAnchor, "known")
		if v.session.tracker != nil && !v.isPortable() && v.now.Sub(v.session.Created()) < token.LinkLife {
			h.Set(beacon.FieldAnchor, "new")
		}
	}
	if v.session.tracker != nil && !v.isStored() {
		// Nothing here ever changes, so the 200 that a token can ride on would never
		// come for a browser that has the image without one.
		r = r.Clone(r.Context())
		r.Header = nil
	}
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(beacon.Pixel))
}

// formTime is how long the form of forget may take to come.
const formTime = 10 * time.Second

// serveForget answers a request under Deny: whom it speaks for has been
// forgotten.
func (t *Tracker) serveForget(w http.ResponseWriter, r *http.Request) {
	v := t.visit(r.Context())
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(formTime)) // a server's writer can
	v.resolveForm(true)
	if !v.forgotten {
		http.Error(w, "That did not work. Please try again.", http.StatusServiceUnavailable)
		return
	}
	if !v.spoke && v.formText() != "" {
		// Field's token is of another network or browser, so nobody knows whose it is.
		http.Error(w, "This form is too old. Please open the page again.", http.StatusConflict)
		return
	}
	// The pages that hold a tag go, too, where the browser obeys. What stays is
	// worth nothing: a tombstone has its session.
	w.Header().Set("Clear-Site-Data", `"cache"`)
	w.Header().Set("Cache-Control", "no-store")
	v.endConsent(w.Header())
	if header.Value(r.Header, "Sec-Fetch-Mode") != "navigate" {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	back := "/"
	if u, ok := origin.Referrer(r); ok {
		back += strings.TrimLeft(u.RequestURI(), `/\`) // never to another host
	}
	http.Redirect(w, r, back, http.StatusSeeOther)
}

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
	if v.class.Hit && isShown(status) && v.session.isSaved() && v.tracker.beaconOn.Load() && (v.class.ByWorker || v.tracker.tagsAlone && cachecontrol.Of(h).Carries()) {
		h["Server-Timing"] = append(slices.Clip(h["Server-Timing"]), "rvs;dur="+strconv.FormatInt(v.now.UnixMilli(), 10))
	}
}
