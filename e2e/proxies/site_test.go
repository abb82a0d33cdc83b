package proxies

import (
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/revisit-go/revisit"
)

// A page is one URL of the random test's site, which says itself how it is served.
type page struct {
	strategy string // the first part of its path: each has a Tracker of its own
	kind     string // see kinds
	media    string // its Content-Type, "" to have the server look at the body
	way      int    // how it speaks to caches: see allWays
	vary     string // its Vary
	login    bool   // it speaks so to who is not logged in; to the others it is private
	number   int    // so that there are many of a kind
}

var strategies = []string{"hybrid", "etag", "cookie"}

// kinds are the ways in which a handler answers, each as often as it is drawn. The first ones
// have validators.
var kinds = []string{
	"tagged", "tagged", "tagged", "tagged", "weak", "weak", "dated", "dated", "both", "both", "both",
	"explicit", "explicit", // with a tag, and the status written before the body
	"negotiated", "negotiated", // JSON, or an image, for who asks for it
	"plain", "plain", "plain", "large", "streamed", // without a validator; too large to be hashed, flushed halfway
	"form",                                  // with a ticket in its body
	"redirect", "moved", "missing", "error", // not 200
}

var medias = []string{"text/html", "text/html", "text/html", "text/html", "", "image/png", "text/css", "text/javascript", "application/json"}

var varies = []string{"", "", "", "Accept-Encoding", "X-Lang", "Cookie", "*"}

// allWays are ways, and some that only time, or other caches, make something of. An Age
// makes a page stale as soon as it comes.
var allWays = append(ways[:len(ways):len(ways)], []http.Header{
	{"Cache-Control": {"max-age=1"}},
	{"Cache-Control": {"max-age=1, stale-while-revalidate=60"}},
	{"Cache-Control": {"max-age=60, stale-while-revalidate=60"}, "Age": {"61"}},
	{"Cache-Control": {"public, max-age=60"}, "Age": {"61"}},
	{"Cache-Control": {"max-age=0, stale-if-error=60"}},
	{"Cache-Control": {"public, no-cache"}},
	{"Cache-Control": {"no-transform"}},
	{"Cache-Control": {"private, no-store"}},
	{"Expires": {"Thu, 01 Jan 1970 00:00:00 GMT"}},
}...)

// varies reports whether the page has variants.
func (p page) varies() bool { return p.vary != "" || p.kind == "negotiated" }

// url has all of it in the path: some caches leave what has a query alone.
func (p page) url() string {
	if p.kind == "pixel" {
		return "/" + p.strategy + "/revisit/pixel.gif"
	}
	part := func(s string) string { return "/-" + strings.ReplaceAll(s, "/", "_") }
	login := ""
	if p.login {
		login = "login"
	}
	return "/" + p.strategy + "/" + p.kind + part(strconv.Itoa(p.way)) + part(p.media) + part(p.vary) + part(login) + part(strconv.Itoa(p.number))
}

// pageAt is the page of a path.
func pageAt(path string) (p page) {
	parts := strings.Split(path[1:], "/")
	if len(parts) < 7 {
		return page{}
	}
	p.strategy, p.kind = parts[0], parts[1]
	p.way, _ = strconv.Atoi(parts[2][1:])
	p.media, p.vary = strings.ReplaceAll(parts[3][1:], "_", "/"), parts[4][1:]
	p.login = parts[len(parts)-2] == "-login"
	return p
}

func (p page) String() string {
	s := fmt.Sprintf("/%s/%s %s %v", p.strategy, p.kind, p.media, allWays[p.way])
	if p.vary != "" {
		s += " Vary: " + p.vary
	}
	if p.login {
		s += " (private for who is logged in)"
	}
	return s
}

// versions are those of the pages, by URL. The wrapped and the bare site share them.
type versions struct {
	mu sync.Mutex
	of map[string]int
}

func (v *versions) get(url string) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.of[url]
}

func (v *versions) change(url string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.of[url]++
}

// text is what a page says in a version. Each part of it tells the version, and it has the same
// length in all, so that what was put together of two versions is seen.
func text(kind, lang string, version int) string {
	lines := 20
	if kind == "large" {
		lines = 200
	}
	return "<!doctype html>" + strings.Repeat(fmt.Sprintf("<p>%06d%2s</p> ", version, lang), lines)
}

const textStart = len("<!doctype html><p>")

// versionOf returns the version that a whole body or a part of it is of, -1 for none.
func versionOf(kind, lang, body string, offset int, whole bool) int {
	if i := strings.Index(body, personalMark); i >= 0 {
		body = body[:i]
	}
	for at := (textStart - offset%18 + 18) % 18; at+6 <= len(body); at += 18 {
		version, err := strconv.Atoi(body[at : at+6])
		if err != nil {
			continue
		}
		want := text(kind, lang, version)
		if whole && body == want || !whole && strings.HasPrefix(want[min(offset, len(want)):], body) {
			return version
		}
		return -1
	}
	return -1
}

// personalMark begins the end of a body, which is somebody's own.
const personalMark = "<!-- personal -->"

// A site is the origin of the random test, wrapped or bare.
type site struct {
	address  string
	handler  http.Handler // without a Tracker
	versions *versions

	mu     sync.Mutex
	owners map[revisit.ID]string // to whom a token of the session was given first
	shared map[string]string     // by URL: a response that all may have
	ours   map[string]string     // by URL: a response that we have made private
	at     map[string]int        // by URL and derived content part: the version that it stands for
	asked  map[string]*asked     // by X-Move
	faults []string              // that only the origin sees
}

// asked is what the site saw of the last request of a move.
type asked struct {
	condition string
	status    int
	via       string
	id        revisit.ID
}

// newSite starts a site. If it is wrapped, each strategy has a Tracker.
func newSite(t *testing.T, versions *versions, wrapped bool) *site {
	s := &site{versions: versions, owners: make(map[revisit.ID]string), shared: make(map[string]string), ours: make(map[string]string), at: make(map[string]int), asked: make(map[string]*asked)}
	s.handler = http.HandlerFunc(s.serve)
	h := s.handler
	if wrapped {
		const hashLimit = 2 << 10
		mux := http.NewServeMux()
		for name, strategy := range map[string]revisit.Strategy{
			"hybrid": revisit.Hybrid(revisit.Cookie{Name: "__Host-hybrid"}, revisit.ETag{HashLimit: hashLimit}),
			"etag":   revisit.ETag{HashLimit: hashLimit},
			"cookie": revisit.Cookie{Name: "__Host-cookie"},
		} {
			tracker, err := revisit.New(revisit.Config{
				Keys: [][]byte{make([]byte, 32)}, Strategy: strategy, BeaconPath: "/" + name + "/revisit/",
				Consent: func(r *http.Request) revisit.Permission { return permissions[r.Header.Get("X-Consent")] },
			})
			require.NoError(t, err)
			t.Cleanup(func() { tracker.Close() })
			mux.Handle("/"+name+"/revisit/", tracker.Beacon())
			mux.Handle("/"+name+"/", tracker.Handler(s.handler))
		}
		h = s.watch(mux)
	}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	s.address = server.Listener.Addr().(*net.TCPAddr).String()
	return s
}

var permissions = map[string]revisit.Permission{
	"unasked": revisit.Unasked, "deny": revisit.Deny, "recognise": revisit.Recognise, "restore": revisit.Restore,
}

// serve is the handler alone.
func (s *site) serve(w http.ResponseWriter, r *http.Request) {
	p := pageAt(r.URL.Path)
	version := s.versions.get(r.URL.RequestURI())
	kind, lang, media, vary := p.kind, "", p.media, p.vary
	h := w.Header()
	if vary == "X-Lang" {
		lang = r.Header.Get("X-Lang")
	}
	if vary != "" {
		h.Set("Vary", vary)
	}
	if kind == "negotiated" {
		h.Add("Vary", "Accept")
		media = "text/html; charset=utf-8"
		if strings.HasPrefix(r.Header.Get("Accept"), "application/json") {
			media = "application/json"
		} else if strings.HasPrefix(r.Header.Get("Accept"), "image/") {
			media = "image/png"
		}
	}
	if media != "" {
		h.Set("Content-Type", media)
	}
	for name, lines := range allWays[p.way] {
		h[name] = lines
	}
	if p.login && r.Header.Get("X-Login") != "" {
		h["Cache-Control"] = []string{"private"}
	}
	h.Set("X-For", r.Header.Get("X-Client")) // whose response a cache has, in a history
	h.Set("X-Version", strconv.Itoa(version))
	s.look(r)
	body := text(kind, lang, version)
	switch kind {
	case "tagged", "negotiated":
		h.Set("Etag", fmt.Sprintf(`"v%06d%s%s"`, version, lang, media[:min(1, len(media))]))
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(body))
	case "explicit":
		h.Set("Etag", fmt.Sprintf(`"v%06d%s"`, version, lang))
		if strings.Contains(r.Header.Get("If-None-Match"), h.Get("Etag")) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.WriteHeader(http.StatusOK)
		io.WriteString(w, body)
	case "weak":
		h.Set("Etag", fmt.Sprintf(`W/"v%06d%s"`, version, lang))
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(body))
	case "dated":
		http.ServeContent(w, r, "", modified(version), strings.NewReader(body))
	case "both":
		h.Set("Etag", fmt.Sprintf(`"v%06d%s"`, version, lang))
		http.ServeContent(w, r, "", modified(version), strings.NewReader(body))
	case "streamed":
		io.WriteString(w, body[:100])
		w.(http.Flusher).Flush()
		io.WriteString(w, body[100:])
	case "form":
		io.WriteString(w, body+personalMark+string(revisit.Field(r.Context()))+string(revisit.Tag(r.Context(), revisit.NoScript())))
		fmt.Fprintf(w, "\nfor %s", r.Header.Get("X-Client"))
	case "account":
		h.Set("Etag", fmt.Sprintf(`"v%06d"`, version))
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(body+personalMark+"\nfor "+r.Header.Get("X-Client")))
	case "redirect", "moved":
		h.Set("Location", "/elsewhere")
		w.WriteHeader(map[string]int{"redirect": http.StatusFound, "moved": http.StatusMovedPermanently}[kind])
		io.WriteString(w, body)
	case "missing", "error":
		w.WriteHeader(map[string]int{"missing": http.StatusNotFound, "error": http.StatusInternalServerError}[kind])
		io.WriteString(w, body)
	default: // plain, large
		io.WriteString(w, body)
	}
}

// look notes whom the handler takes the client for.
func (s *site) look(r *http.Request) {
	session, ok := revisit.FromContext(r.Context())
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.asked[r.Header.Get("X-Move")]
	if a == nil || !ok {
		return
	}
	a.via, a.id = session.Via, session.ID
	client := r.Header.Get("X-Client")
	if owner, known := s.owners[session.ID]; known && owner != client && session.Via != "form" {
		s.faults = append(s.faults, fmt.Sprintf("the site takes %s for %s", client, owner))
	}
}

// watch stands around the Trackers, and notes to whom a token is given first.
func (s *site) watch(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		a := &asked{condition: condition(r.Header)}
		s.asked[r.Header.Get("X-Move")] = a
		s.mu.Unlock()
		next.ServeHTTP(&watcher{w, func(status int) {
			s.mu.Lock()
			a.status = status
			if status == http.StatusNotModified && a.condition == "" {
				s.faults = append(s.faults, "a 304 that nobody has asked for")
			}
			s.mu.Unlock()
			s.sides(r, w.Header(), status)
			for _, token := range tokensIn(w.Header()) {
				s.own(token, r.Header.Get("X-Client"))
			}
			if m := derived.FindString(w.Header().Get("Etag")); m != "" && status == http.StatusOK {
				version, _ := strconv.Atoi(w.Header().Get("X-Version"))
				s.mu.Lock()
				s.at[r.URL.RequestURI()+r.Header.Get("X-Lang")+m] = version
				s.mu.Unlock()
			}
		}, func(b []byte) {
			for _, token := range ticketsIn(string(b)) {
				s.own(token, r.Header.Get("X-Client"))
			}
		}}, r)
	})
}

// isPart reports whether the page is a part of pages, which is nobody's own: an asset, or data
// where a cookie can carry the token. Only a 304 of it may be private: that does not say what
// it is of, and whoever asks for it as a page gets it like one.
func (p page) isPart() bool {
	return p.media != "" && p.media != "text/html" && (p.media != "application/json" || p.strategy != "etag")
}

// isOpen reports whether the request decides what the page is, since the response does not:
// it has no type, and its header goes before a body is seen. See docs/decisions/04.
func (p page) isOpen() bool {
	return p.media == "" && slices.Contains([]string{"explicit", "redirect", "moved", "missing", "error"}, p.kind)
}

// sides notes whether a response of a URL was one for all, or one that we have made private. A
// URL of which there are both is one that a shared cache can mix up. A 304 and the answer to a
// HEAD are never kept as a response for all.
func (s *site) sides(r *http.Request, h http.Header, status int) {
	p := pageAt(r.URL.Path)
	if p.kind == "" || p.strategy == "cookie" || p.login || p.isOpen() || p.kind == "negotiated" || p.kind == "form" || r.Method == http.MethodPost || isPrivate(allWays[p.way]) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	url, what := r.URL.RequestURI(), fmt.Sprintf("move %s, %d to %s for %q, %q", r.Header.Get("X-Move"), status, r.Method, r.Header.Get("Sec-Fetch-Dest"), r.Header.Get("Accept"))
	if len(h["Set-Cookie"]) > 0 || strings.Contains(r.Header.Get("If-None-Match"), madeUp) {
		return // a cookie rides on no 304, so that it can be put into no stored page
	}
	if isPrivate(h) {
		if status == http.StatusNotModified && len(tokensIn(h)) == 0 && p.isPart() {
			return
		}
		s.ours[url] = what
	} else if status != http.StatusNotModified && r.Method == http.MethodGet && !strings.Contains(h.Get("Cache-Control"), "no-store") {
		s.shared[url] = what
	}
	if ours, shared := s.ours[url], s.shared[url]; ours != "" && shared != "" {
		s.faults = append(s.faults, fmt.Sprintf("a URL that is both: private in %s, and shared in %s", ours, shared))
		delete(s.ours, url)
	}
}

// own notes the owner of a token, if it has none yet.
func (s *site) own(token, client string) {
	id := idOf(token)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.owners[id]; !ok {
		s.owners[id] = client
	}
}

// owner is the client to whom the token's session was first given.
func (s *site) owner(token string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.owners[idOf(token)]
}

func idOf(token string) revisit.ID {
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) < len(revisit.ID{}) {
		return revisit.ID{}
	}
	return revisit.ID(b[:len(revisit.ID{})])
}

type watcher struct {
	http.ResponseWriter
	header func(status int)
	body   func([]byte)
}

func (w *watcher) Unwrap() http.ResponseWriter { return w.ResponseWriter }
func (w *watcher) Flush()                      { http.NewResponseController(w.ResponseWriter).Flush() }

func (w *watcher) WriteHeader(status int) {
	if w.header != nil && status >= 200 {
		w.header(status)
		w.header = nil
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *watcher) Write(b []byte) (int, error) {
	if w.header != nil {
		w.WriteHeader(http.StatusOK)
	}
	w.body(b)
	return w.ResponseWriter.Write(b)
}

var (
	tokenInTag    = regexp.MustCompile(`^(?:W/)?"([A-Za-z0-9_-]{43})~`)
	derived       = regexp.MustCompile(`~~[hm][A-Za-z0-9_-]{22}~`)
	ticketInBody  = regexp.MustCompile(`(?:value="|/link/)([A-Za-z0-9_-]{51})"`)
	tokenInCookie = regexp.MustCompile(`^__Host-(?:hybrid|cookie)=([A-Za-z0-9_-]{43});`)
	ticketInTime  = regexp.MustCompile(`[A-Za-z0-9_-]{51}`)
)

// tokensIn returns the tokens and tickets in the header of a response.
func tokensIn(h http.Header) []string {
	var found []string
	for _, tag := range h["Etag"] {
		if m := tokenInTag.FindStringSubmatch(tag); m != nil {
			found = append(found, m[1])
		}
	}
	for _, line := range h["Set-Cookie"] {
		if m := tokenInCookie.FindStringSubmatch(line); m != nil {
			found = append(found, m[1])
		}
	}
	for _, line := range h["Server-Timing"] {
		found = append(found, ticketInTime.FindAllString(line, -1)...)
	}
	return found
}

// ticketsIn returns those in a body.
func ticketsIn(body string) []string {
	var found []string
	for _, m := range ticketInBody.FindAllStringSubmatch(body, -1) {
		found = append(found, m[1])
	}
	return found
}
