package revisit_test

import (
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/revisit-go/revisit"
)

// sitePatterns are patterns as sites have them.
var sitePatterns = []string{
	"/", "GET /", "POST /", "GET /{$}", "/{$}", "GET /{path...}", "/{path...}", "PUT /{path...}", "/{lang}/", "GET /{lang}/", "/{lang}/{page}", "GET /{lang}/{page}",
	"POST /{lang}/{page}", "/{lang}/{page...}", "/{lang}/{section}/{page}", "GET /{lang}/{section}/{page}", "/{lang}/link/{id}", "GET /{lang}/pixel.gif",
	"/{lang}/forget", "POST /{lang}/forget", "/static/", "GET /static/", "GET /product/{id}", "POST /cart", "/revisit", "/revisit/{rest...}", "GET /revisit/", "GET /revisit/{name}",
	"/revisit/{name}", "shop.example/", "GET shop.example/", "shop.example/{path...}", "GET shop.example/{lang}/{page}", "shop.example/revisit/", "POST shop.example/{path...}",
}

// handle reports whether a pattern has a place beside those that are there.
func handle(mux *http.ServeMux, pattern string) (ok bool) {
	defer func() { ok = recover() == nil }()
	mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X-Site", pattern) })
	return
}

// Mount works beside whatever patterns a site has, before and after it, and takes none of the
// site's requests.
func TestMountWorksBesideAnyPatterns(t *testing.T) {
	tracker := newTracker(t, revisit.Config{})
	check := func(patterns []string) {
		t.Helper()
		mux, bare := http.NewServeMux(), http.NewServeMux()
		half := len(patterns) / 2
		var held []string
		for i, pattern := range patterns {
			if i == half {
				require.NotPanics(t, func() { tracker.Mount(mux, "shop.example") }, "%q", held)
			}
			if handle(bare, pattern) { // else the site's own patterns are in conflict
				held = append(held, pattern)
				require.True(t, handle(mux, pattern), "%q beside Mount and %q", pattern, held)
			}
		}
		ask := func(h http.Handler, method, host, path string) (status int, site string) {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(method, "http://"+host+path, nil))
			return w.Code, w.Header().Get("X-Site")
		}
		for _, host := range []string{"shop.example", "other.example"} {
			for _, path := range []string{"pixel.gif", "anchor", "revisit.js", "link/x"} {
				for _, method := range []string{"GET", "HEAD"} {
					status, site := ask(mux, method, host, "/revisit/"+path)
					require.Equal(t, http.StatusOK, status, "%s %s of %q", method, path, held)
					require.Empty(t, site, "%s %s of %q", method, path, held)
				}
			}
			status, site := ask(mux, "POST", host, "/revisit/forget")
			require.NotEqual(t, http.StatusNotFound, status)
			require.Empty(t, site, "%q", held)
			for _, path := range []string{"/", "/en/", "/en/page", "/product/7", "/static/a.css", "/revisit/other", "/en/pixel.gif"} {
				for _, method := range []string{"GET", "POST", "PUT"} {
					want, wantSite := ask(bare, method, host, path)
					status, site := ask(mux, method, host, path)
					require.Equal(t, want, status, "%s %s of %q", method, path, held)
					require.Equal(t, wantSite, site)
				}
			}
		}
	}
	for _, a := range sitePatterns {
		for _, b := range sitePatterns {
			check([]string{a, b})
		}
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		some := make([]string, 6)
		for i, at := range rnd.Perm(len(sitePatterns))[:len(some)] {
			some[i] = sitePatterns[at]
		}
		check(some)
	}
}

// What Mount is for: one handler for all of the beacon has no place beside a method.
func TestOnePatternForTheBeaconPanicsBesideAMethod(t *testing.T) {
	mux := http.NewServeMux()
	mux.Handle("GET /", tagged)
	tracker := newTracker(t, revisit.Config{BeaconPath: "/shop/rv/"})
	assert.Panics(t, func() { mux.Handle("/shop/rv/", tracker.Beacon()) })
	tracker.Mount(mux)
	assert.Panics(t, func() { tracker.Mount(mux) }, "twice")
	b := newBrowser(tracker.Handler(mux))
	assert.Equal(t, "image/gif", b.get("/shop/rv/pixel.gif", image).Header.Get("Content-Type"))
}

// A path that no browser asks for, because it is cleaned before, is a fault of the Config, and not
// a panic of Mount.
func TestABeaconPathThatIsNeverAskedFor(t *testing.T) {
	for _, path := range []string{"/./", "/../", "/a/../b/", "/a/./", "/{lang}/"} {
		_, err := revisit.New(revisit.Config{Consent: grant(revisit.Deny), BeaconPath: path, Keys: [][]byte{testKey}})
		assert.ErrorContains(t, err, "BeaconPath", path)
	}
	for _, path := range []string{"/a/", "/a.b/", "/..a/", "/a&b/"} {
		tracker := newTracker(t, revisit.Config{BeaconPath: path})
		assert.NotPanics(t, func() { tracker.Mount(http.NewServeMux()) }, path)
	}
}
