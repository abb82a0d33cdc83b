//go:build !race

package revisit_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/revisit-go/revisit"
)

const underRace = false

// discard is a ResponseWriter that costs nothing.
type discard struct{ header http.Header }

func (w *discard) Header() http.Header         { return w.header }
func (w *discard) Write(p []byte) (int, error) { return len(p), nil }
func (w *discard) WriteHeader(int)             {}

// Request, context, session and response of a returning visitor are one
// allocation, of less than 900 bytes; a memory store's record is another, for handlers
// that look at it. That hangs on Request.WithContext being inlined, so it is pinned here,
// from outside of the package, as users see it.
func TestAllocations(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, ok := revisit.FromContext(r.Context())
		if !ok {
			panic("no session")
		}
		if r.URL.Path == "/known" && len(s.Touches()) != 1 {
			panic("no touch")
		}
		if r.Header.Get("If-None-Match") != "" {
			w.WriteHeader(http.StatusNotModified)
		}
	})
	for _, c := range []struct {
		name     string
		strategy revisit.Strategy
		path     string
		header   http.Header
		allocs   float64
	}{
		{"cookie", revisit.Cookie{}, "/", http.Header{}, 1},
		{"cookie, a navigation", revisit.Cookie{}, "/", http.Header{"Sec-Fetch-Site": {"none"}, "Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"document"},
			"Referer": {"http://example.com/before"}}, 1},
		{"cookie, and the touches are read", revisit.Cookie{}, "/known", http.Header{}, 3},
	} {
		tracker := newTracker(t, revisit.Config{Strategy: c.strategy, Consent: revisit.OptIn("consent", "yes")})
		wrapped := tracker.Handler(h)
		r := httptest.NewRequest("GET", c.path, nil)
		for name, lines := range c.header {
			r.Header[name] = lines
		}
		r.Header.Set("Cookie", "consent=yes")
		w := httptest.NewRecorder()
		wrapped.ServeHTTP(w, r)
		cookie := w.Result().Cookies()[0]
		r.Header.Set("Cookie", "a=b; consent=yes; "+cookie.Name+"="+cookie.Value)
		d := &discard{http.Header{}}
		got := testing.AllocsPerRun(1000, func() { wrapped.ServeHTTP(d, r) })
		assert.Equal(t, c.allocs, got, c.name)
		assert.EqualValues(t, 1, tracker.Stats().New, c.name)
	}
}
