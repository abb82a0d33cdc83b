package revisit_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/revisit-go/revisit"
)

// full is how many times more a long run repeats what is drawn by chance:
// REVISIT_FULL=1, as in make test-full.
var full = func() int {
	if os.Getenv("REVISIT_FULL") != "" {
		return 20
	}
	return 1
}()

var testKey = []byte("0123456789abcdef0123456789abcdef")

func grant(p revisit.Permission) func(*http.Request) revisit.Permission {
	return func(*http.Request) revisit.Permission { return p }
}

// newTracker makes a Tracker with what a test does not care about filled in.
func newTracker(t testing.TB, c revisit.Config) *revisit.Tracker {
	t.Helper()
	if c.Keys == nil {
		c.Keys = [][]byte{testKey}
	}
	if c.Consent == nil {
		c.Consent = grant(revisit.Restore)
	}
	if c.Store == nil {
		m := revisit.NewMemoryStore(revisit.MemoryOptions{SweepEvery: 24 * time.Hour}) // bubbles sleep for years
		t.Cleanup(func() { m.Close() })
		c.Store = m
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	tracker, err := revisit.New(c)
	require.NoError(t, err)
	t.Cleanup(func() { tracker.Close() })
	return tracker
}

// A browser keeps what browsers keep: cookies, and the tag of the last 200 for
// each URL. Requests are navigations unless kind says otherwise.
type browser struct {
	handler http.Handler
	cookies map[string]string
	tags    map[string]string
	dates   map[string]string
	bodies  map[string]string

	blocksCookies bool
	keepsNothing  bool
	userAgent     string
	language      string
	address       string
}

func newBrowser(h http.Handler) *browser {
	return &browser{handler: h, cookies: map[string]string{}, tags: map[string]string{}, dates: map[string]string{}, bodies: map[string]string{}}
}

// clone returns a browser that goes on from where this one is.
func (b *browser) clone() *browser {
	c := newBrowser(b.handler)
	c.blocksCookies, c.keepsNothing, c.userAgent, c.language, c.address = b.blocksCookies, b.keepsNothing, b.userAgent, b.language, b.address
	for _, m := range [...][2]map[string]string{{c.cookies, b.cookies}, {c.tags, b.tags}, {c.dates, b.dates}, {c.bodies, b.bodies}} {
		for key, value := range m[1] {
			m[0][key] = value
		}
	}
	return c
}

// kind sets the Fetch Metadata of a request.
type kind func(http.Header)

func metadata(site, mode, dest string) kind {
	return func(h http.Header) {
		h.Set("Sec-Fetch-Site", site)
		h.Set("Sec-Fetch-Mode", mode)
		h.Set("Sec-Fetch-Dest", dest)
	}
}

var (
	typed     = metadata("none", "navigate", "document")
	link      = metadata("same-origin", "navigate", "document")
	clickFrom = metadata("cross-site", "navigate", "document") // a link on another site
	image     = metadata("same-origin", "no-cors", "image")
	fetch     = metadata("same-origin", "cors", "empty")
	embedded  = metadata("cross-site", "no-cors", "image") // an image on another site's page
	framed    = metadata("cross-site", "navigate", "iframe")
	bare      = kind(func(http.Header) {}) // not a browser
)

func header(name, value string) kind { return func(h http.Header) { h.Set(name, value) } }

func (b *browser) request(method, url string, kinds ...kind) *http.Request {
	r := httptest.NewRequest(method, url, nil)
	var pairs []string
	for name, value := range b.cookies {
		pairs = append(pairs, name+"="+value)
	}
	if b.userAgent != "" {
		r.Header.Set("User-Agent", b.userAgent)
	}
	if b.language != "" {
		r.Header.Set("Accept-Language", b.language)
	}
	if b.address != "" {
		r.RemoteAddr = b.address
	}
	if len(pairs) > 0 {
		r.Header.Set("Cookie", strings.Join(pairs, "; "))
	}
	if method == http.MethodGet || method == http.MethodHead {
		if tag := b.tags[url]; tag != "" {
			r.Header.Set("If-None-Match", tag)
		}
		if date := b.dates[url]; date != "" {
			r.Header.Set("If-Modified-Since", date)
		}
	}
	if len(kinds) == 0 {
		kinds = []kind{typed}
	}
	for _, k := range kinds {
		k(r.Header)
	}
	return r
}

func (b *browser) do(method, url string, kinds ...kind) *http.Response {
	return b.send(b.request(method, url, kinds...))
}

func (b *browser) get(url string, kinds ...kind) *http.Response {
	return b.do(http.MethodGet, url, kinds...)
}

func (b *browser) send(r *http.Request) *http.Response {
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, r)
	resp := w.Result()
	if b.keepsNothing {
		b.bodies[r.URL.String()] = w.Body.String()
		return resp
	}
	for _, c := range resp.Cookies() {
		if c.MaxAge < 0 || c.Value == "" || b.blocksCookies {
			delete(b.cookies, c.Name)
		} else {
			b.cookies[c.Name] = c.Value
		}
	}
	url := r.URL.String()
	if resp.StatusCode == http.StatusOK && r.Method == http.MethodGet {
		b.tags[url] = resp.Header.Get("Etag")
		b.dates[url] = resp.Header.Get("Last-Modified")
		b.bodies[url] = w.Body.String()
	}
	return resp
}

// seen is a handler that tells what it saw, in headers.
var seen = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	if s, ok := revisit.FromContext(r.Context()); ok {
		w.Header().Set("X-Id", s.ID.String())
		w.Header().Set("X-Via", s.Via)
	}
	if status := r.Header.Get("X-Status"); status != "" {
		w.WriteHeader(http.StatusTeapot)
		return
	}
	w.Write([]byte("the page"))
})

func idOf(r *http.Response) string  { return r.Header.Get("X-Id") }
func viaOf(r *http.Response) string { return r.Header.Get("X-Via") }

// hasToken reports whether a response carries a token of ours: a tag of our
// shape, or a cookie of ours with a value.
func hasToken(resp *http.Response) bool {
	tag := strings.TrimPrefix(resp.Header.Get("Etag"), "W/")
	if len(tag) > 46 && tag[44] == '~' && strings.HasSuffix(tag, `~"`) {
		return true
	}
	for _, c := range resp.Cookies() {
		if c.Name == "__Host-revisit" && c.Value != "" {
			return true
		}
	}
	return false
}

const cookieName = "__Host-revisit"

// flip returns the token with one bit changed.
func flip(token string) string {
	b := []byte(token)
	if b[10] == 'A' {
		b[10] = 'B'
	} else {
		b[10] = 'A'
	}
	return string(b)
}
