package attribution_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/revisit-go/revisit"
)

// A browser keeps cookies, and the tag of each page that it has stored.
type browser struct {
	handler       http.Handler
	cookies, tags map[string]string
}

func newBrowser(h http.Handler) *browser {
	return &browser{handler: h, cookies: make(map[string]string), tags: make(map[string]string)}
}

// A kind of request is what the browser says of it.
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
	plain     = header("Accept", "text/html,*/*;q=0.8") // a browser without Fetch Metadata
)

func header(name, value string) kind { return func(h http.Header) { h.Set(name, value) } }

func (b *browser) request(method, url string, kinds ...kind) *http.Request {
	r := httptest.NewRequest(method, url, nil)
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	if tag := b.tags[url]; tag != "" && method == http.MethodGet {
		r.Header.Set("If-None-Match", tag)
	}
	for _, k := range kinds {
		k(r.Header)
	}
	return r
}

func (b *browser) get(url string, kinds ...kind) *http.Response {
	return b.send(b.request(http.MethodGet, url, kinds...))
}

func (b *browser) send(r *http.Request) *http.Response {
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, r)
	resp := w.Result()
	for _, c := range resp.Cookies() {
		if c.Value == "" {
			delete(b.cookies, c.Name)
		} else {
			b.cookies[c.Name] = c.Value
		}
	}
	if resp.StatusCode == http.StatusOK && r.Method == http.MethodGet {
		b.tags[r.URL.String()] = resp.Header.Get("Etag")
	}
	return resp
}

const anchor = "/revisit/pixel.gif"

var serverTiming = regexp.MustCompile(`rv;desc="([^"]+)"`)

// tellAnchor does what the beacon's script does once a page is there.
func (b *browser) tellAnchor(page *http.Response) {
	if m := serverTiming.FindStringSubmatch(strings.Join(page.Header["Server-Timing"], ", ")); m != nil {
		b.get(anchor, fetch, header("Revisit-Link", m[1]))
	}
}

// newSite returns a site with a beacon, which names the visitor in X-Id, and what is
// known of them.
func newSite(t *testing.T) (*revisit.Tracker, *revisit.MemoryStore, http.Handler) {
	store := revisit.NewMemoryStore(revisit.MemoryOptions{SweepEvery: 24 * time.Hour})
	t.Cleanup(func() { store.Close() })
	tracker, err := revisit.New(revisit.Config{
		Keys: [][]byte{make([]byte, 32)}, Store: store, OwnHosts: []string{"ours.example"}, Logger: slog.New(slog.DiscardHandler),
		Consent: func(*http.Request) revisit.Permission { return revisit.Restore },
	})
	require.NoError(t, err)
	t.Cleanup(func() { tracker.Close() })
	mux := http.NewServeMux()
	mux.Handle("/revisit/", tracker.Beacon())
	mux.Handle("/", tracker.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s, ok := revisit.FromContext(r.Context()); ok {
			w.Header().Set("X-Id", s.ID.String())
		}
		if strings.HasPrefix(r.URL.Path, "/go/") {
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
			return
		}
		w.Write([]byte("the page"))
	})))
	return tracker, store, mux
}

func idOf(t *testing.T, resp *http.Response) revisit.ID {
	t.Helper()
	id, err := revisit.ParseID(resp.Header.Get("X-Id"))
	require.NoError(t, err)
	return id
}
