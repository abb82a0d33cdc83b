package revisit_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/revisit-go/revisit"
	_ "github.com/stretchr/testify/require"
)

func granted(*http.Request) revisit.Permission { return revisit.Restore }

func TestSmoke(t *testing.T) {
	tr, err := revisit.New(revisit.Config{Consent: granted})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	h := tr.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, _ := revisit.FromContext(r.Context())
		fmt.Fprintf(w, "hi")
		_ = s
		t.Log(s.ID, s.Via, s.Hits(), s.Visits(), s.First())
	}))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/?utm_source=x", nil))
	t.Log(w.Code, w.Header())
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("If-None-Match", w.Header().Get("Etag"))
	w = httptest.NewRecorder()
	h.ServeHTTP(w, r)
	t.Log(w.Code, w.Header())
	t.Log(tr.Stats())
}

func BenchmarkReturningCookie(b *testing.B) {
	m := revisit.NewMemoryStore(revisit.MemoryOptions{})
	defer m.Close()
	tr, _ := revisit.New(revisit.Config{Consent: revisit.OptIn("consent", "yes"), Strategy: revisit.Cookie{}, Store: m})
	h := tr.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Cookie", "consent=yes")
	h.ServeHTTP(w, r)
	c := w.Result().Cookies()[0]
	r.Header.Set("Cookie", "consent=yes; "+c.Name+"="+c.Value)
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(w, r)
	}
}

type nopWriter struct{ h http.Header }

func (w *nopWriter) Header() http.Header         { return w.h }
func (w *nopWriter) Write(p []byte) (int, error) { return len(p), nil }
func (w *nopWriter) WriteHeader(int)             {}

func BenchmarkFirst(b *testing.B) {
	m := revisit.NewMemoryStore(revisit.MemoryOptions{})
	defer m.Close()
	tr, _ := revisit.New(revisit.Config{Consent: revisit.OptIn("consent", "yes"), Strategy: revisit.Cookie{}, Store: m})
	h := tr.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	w := &nopWriter{http.Header{}}
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Cookie", "consent=yes")
	b.ReportAllocs()
	for b.Loop() {
		clear(w.h)
		h.ServeHTTP(w, r)
	}
}

func BenchmarkReturningETag(b *testing.B) {
	m := revisit.NewMemoryStore(revisit.MemoryOptions{})
	defer m.Close()
	tr, _ := revisit.New(revisit.Config{Consent: granted, Strategy: revisit.ETag{}, Store: m})
	h := tr.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"v1"`)
		if r.Header.Get("If-None-Match") == `"v1"` {
			w.WriteHeader(304)
			return
		}
	}))
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/", nil)
	h.ServeHTTP(w, r)
	r.Header.Set("If-None-Match", w.Header().Get("Etag"))
	n := &nopWriter{http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		clear(n.h)
		h.ServeHTTP(n, r)
	}
	b.Log(n.h)
}
