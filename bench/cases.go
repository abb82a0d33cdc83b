// Package bench measures revisit beside its peers and beside what cannot be
// undercut, in one run: compare ratios, not times.
package bench

import (
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/gorilla/sessions"

	"github.com/revisit-go/revisit"
)

// A Case is one benchmark. Cases of a group are to be compared with each other.
type Case struct {
	Group, Name string
	Run         func(b *testing.B)
}

// discard is a ResponseWriter that costs nothing.
type discard struct{ header http.Header }

func (w *discard) Header() http.Header         { return w.header }
func (w *discard) Write(p []byte) (int, error) { return len(p), nil }
func (w *discard) WriteHeader(int)             {}

var plain = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusOK) })

// request is one as a browser sends it for a page of the same site.
func request() *http.Request {
	r := httptest.NewRequest("GET", "https://shop.example/shoes", nil)
	for name, value := range map[string]string{
		"User-Agent":      "Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0",
		"Accept":          "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
		"Accept-Language": "de,en-US;q=0.7,en;q=0.3",
		"Accept-Encoding": "gzip, deflate, br, zstd",
		"Referer":         "https://shop.example/",
		"Sec-Fetch-Dest":  "document",
		"Sec-Fetch-Mode":  "navigate",
		"Sec-Fetch-Site":  "same-origin",
		"Cookie":          "theme=dark; consent=yes",
	} {
		r.Header.Set(name, value)
	}
	return r
}

// first serves one first visit over and over.
func first(b *testing.B, h http.Handler) { serve(b, h, request()) }

// comeBack makes the request of a visitor who has been here.
func comeBack(h http.Handler, prepare ...func(*http.Request)) *http.Request {
	r := request()
	for _, p := range prepare {
		p(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	next := request()
	for _, c := range w.Result().Cookies() {
		next.Header.Set("Cookie", next.Header.Get("Cookie")+"; "+c.Name+"="+c.Value)
	}
	if tag := w.Header().Get("Etag"); tag != "" {
		next.Header.Set("If-None-Match", tag)
	}
	return next
}

func returning(b *testing.B, h http.Handler) { serve(b, h, comeBack(h)) }

func serve(b *testing.B, h http.Handler, r *http.Request) {
	w := &discard{make(http.Header)}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header)
		h.ServeHTTP(w, r)
	}
}

// parallel serves with a request for each goroutine.
func parallel(b *testing.B, h http.Handler, make func() *http.Request) {
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		r := make()
		w := &discard{http.Header{}}
		for pb.Next() {
			clear(w.header)
			h.ServeHTTP(w, r)
		}
	})
}

func parallelReturning(b *testing.B, h http.Handler) {
	parallel(b, h, func() *http.Request { return comeBack(h) }) // a visitor each
}

func parallelFirst(b *testing.B, h http.Handler) { parallel(b, h, request) }

func tracked(b *testing.B, s revisit.Strategy, h http.Handler) http.Handler {
	return tracker(b, s).Handler(h)
}

// withBeacon wraps h as it is where the site has a beacon, and pages have links.
func withBeacon(b *testing.B, s revisit.Strategy, h http.Handler) http.Handler {
	t := tracker(b, s)
	t.Beacon()
	return t.Handler(h)
}

func tracker(b *testing.B, s revisit.Strategy) *revisit.Tracker {
	store := revisit.NewMemoryStore(revisit.MemoryOptions{})
	b.Cleanup(func() { store.Close() })
	t, err := revisit.New(revisit.Config{
		Keys: [][]byte{make([]byte, 32)}, Consent: revisit.OptIn("consent", "yes"), Strategy: s, Store: store,
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		b.Fatal(err)
	}
	return t
}

// WithSCS keeps a counter in a session of alexedwards/scs. With an idle timeout
// each request is written back, as ours is counted.
func WithSCS(h http.Handler) http.Handler {
	m := scs.New()
	m.IdleTimeout = 30 * time.Minute
	return m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !m.Exists(r.Context(), "visitor") {
			m.Put(r.Context(), "visitor", "42")
		}
		h.ServeHTTP(w, r)
	}))
}

// WithGorilla keeps a counter in a cookie of gorilla/sessions.
func WithGorilla(h http.Handler) http.Handler {
	store := sessions.NewCookieStore(make([]byte, 32))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, _ := store.Get(r, "visitor")
		hits, _ := s.Values["hits"].(int)
		s.Values["hits"] = hits + 1
		if err := s.Save(r, w); err != nil {
			panic(err)
		}
		h.ServeHTTP(w, r)
	})
}

// fresh gives each request a context of its own: gorilla/sessions keeps what it
// has read there, and would not read again.
func fresh(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(w, r.Clone(r.Context())) })
}

// content answers 304 by the handler's own tag.
var content = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Etag", `"v1"`)
	http.ServeContent(w, r, "page.html", time.Time{}, strings.NewReader("<p>hello"))
})

func page(size int) http.Handler {
	body := []byte(strings.Repeat("x", size))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Content-Type"] = html
		w.Write(body)
	})
}

var html = []string{"text/html"}

// Groups.
const (
	Returning = "A returning visitor"
	First     = "A first visit"
	Parallel  = "Returning visitors in parallel"
	Crowd     = "First visits in parallel"
	NotMod    = "A 304"
	Hash      = "A page without a validator"
)

// Cases returns all of them, in the order of the report.
func Cases() []Case {
	cookie, etag, hybrid := revisit.Cookie{}, revisit.ETag{}, revisit.Hybrid(revisit.Cookie{}, revisit.ETag{})
	cases := []Case{
		{Returning, "plain handler", func(b *testing.B) { returning(b, plain) }},
		{Returning, "http.CrossOriginProtection", func(b *testing.B) { returning(b, http.NewCrossOriginProtection().Handler(plain)) }},
		{Returning, "alexedwards/scs, idle touch", func(b *testing.B) { returning(b, WithSCS(plain)) }},
		{Returning, "gorilla CookieStore, save", func(b *testing.B) { returning(b, fresh(WithGorilla(plain))) }},
		{Returning, "revisit, cookie", func(b *testing.B) { returning(b, tracked(b, cookie, plain)) }},
		{Returning, "revisit, hybrid", func(b *testing.B) { returning(b, tracked(b, hybrid, plain)) }},

		{First, "plain handler", func(b *testing.B) { first(b, plain) }},
		{First, "alexedwards/scs", func(b *testing.B) { first(b, WithSCS(plain)) }},
		{First, "gorilla CookieStore", func(b *testing.B) { first(b, fresh(WithGorilla(plain))) }},
		{First, "revisit, cookie", func(b *testing.B) { first(b, tracked(b, cookie, plain)) }},
		{First, "revisit, hybrid", func(b *testing.B) { first(b, tracked(b, hybrid, plain)) }},

		{Parallel, "alexedwards/scs, idle touch", func(b *testing.B) { parallelReturning(b, WithSCS(plain)) }},
		{Parallel, "gorilla CookieStore, save", func(b *testing.B) { parallelReturning(b, fresh(WithGorilla(plain))) }},
		{Parallel, "revisit, cookie", func(b *testing.B) { parallelReturning(b, tracked(b, cookie, plain)) }},
		{Parallel, "revisit, hybrid", func(b *testing.B) { parallelReturning(b, tracked(b, hybrid, plain)) }},

		{Crowd, "alexedwards/scs", func(b *testing.B) { parallelFirst(b, WithSCS(plain)) }},
		{Crowd, "gorilla CookieStore", func(b *testing.B) { parallelFirst(b, fresh(WithGorilla(plain))) }},
		{Crowd, "revisit, cookie", func(b *testing.B) { parallelFirst(b, tracked(b, cookie, plain)) }},
		{Crowd, "revisit, hybrid", func(b *testing.B) { parallelFirst(b, tracked(b, hybrid, plain)) }},

		{NotMod, "http.ServeContent", func(b *testing.B) { returning(b, content) }},
		{NotMod, "revisit, etag around it", func(b *testing.B) { returning(b, tracked(b, etag, content)) }},
		{NotMod, "revisit, etag around it, with a link for the beacon", func(b *testing.B) { returning(b, withBeacon(b, etag, content)) }},
	}
	for _, size := range []int{1 << 10, 16 << 10} {
		name := func(s string) string { return fmt.Sprintf("%d KiB, %s", size>>10, s) }
		cases = append(cases,
			Case{Hash, name("plain handler"), func(b *testing.B) { returning(b, page(size)) }},
			Case{Hash, name("SHA-256 of the body alone"), func(b *testing.B) {
				body := make([]byte, size)
				b.ReportAllocs()
				for b.Loop() {
					sum := sha256.Sum256(body)
					io.Discard.Write(sum[:])
				}
			}},
			Case{Hash, name("revisit, etag: 200 with a hash"), func(b *testing.B) {
				// The stored tag is another version's.
				h := tracked(b, etag, page(size))
				r := comeBack(h)
				tag := r.Header.Get("If-None-Match")
				r.Header.Set("If-None-Match", tag[:50]+"AAAA"+tag[54:])
				serve(b, h, r)
			}},
			Case{Hash, name("revisit, etag: 304 by the hash"), func(b *testing.B) { returning(b, tracked(b, etag, page(size))) }},
		)
	}
	return append(cases, fingerprints()...)
}
