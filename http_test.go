package revisit_test

import (
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/revisit-go/revisit"
)

// What docs/http.md promises of the letter of the specifications, as far as no other test
// has it.

// A sharedCache is one by the letter of RFC 9111, and as unlucky as the letter allows: it
// stores what it may, asks again each time, and takes the header of a 304, a 206 or the
// answer to a HEAD into what it has stored wherever it may (sections 3.2, 3.4, 4.3.4, 4.3.5).
type sharedCache struct {
	origin http.Handler
	stored map[string]*http.Response // by URL
	bodies map[string]string
	fresh  int // how often a stored header was brought up to date
}

func (c *sharedCache) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	url := r.URL.String()
	have := c.stored[url]
	out := r.Clone(r.Context())
	conditional := r.Header.Get("If-None-Match") != "" || r.Header.Get("If-Modified-Since") != ""
	if have != nil && !conditional && r.Method == http.MethodGet && r.Header.Get("Range") == "" {
		if tag := have.Header.Get("Etag"); tag != "" {
			out.Header.Set("If-None-Match", tag)
		}
		if date := have.Header.Get("Last-Modified"); date != "" {
			out.Header.Set("If-Modified-Since", date)
		}
	}
	if tags := r.Header.Get("If-None-Match"); have != nil && tags != "" && r.Method == http.MethodGet && have.Header.Get("Etag") != "" {
		out.Header.Set("If-None-Match", tags+", "+have.Header.Get("Etag")) // section 4.3.2
	}
	recorder := httptest.NewRecorder()
	c.origin.ServeHTTP(recorder, out)
	resp := recorder.Result()
	body := recorder.Body.String()
	control := strings.ToLower(strings.Join(resp.Header["Cache-Control"], ","))
	switch {
	case resp.StatusCode == http.StatusOK && r.Method == http.MethodGet:
		if !strings.Contains(control, "private") && !strings.Contains(control, "no-store") {
			kept := *resp
			kept.Header = resp.Header.Clone()
			c.stored[url], c.bodies[url] = &kept, body
		}
	case have != nil && (resp.StatusCode == http.StatusNotModified || resp.StatusCode == http.StatusPartialContent || r.Method == http.MethodHead):
		if !identifies(resp.Header, have.Header) {
			break
		}
		c.fresh++
		for name, lines := range resp.Header {
			have.Header[name] = lines
		}
		if resp.StatusCode == http.StatusNotModified && (!conditional || resp.Header.Get("Etag") != "" && !strings.Contains(r.Header.Get("If-None-Match"), strings.TrimPrefix(resp.Header.Get("Etag"), "W/"))) {
			resp, body = have, c.bodies[url]
			resp.StatusCode = http.StatusOK
		}
	}
	for name, lines := range resp.Header {
		w.Header()[name] = lines
	}
	w.WriteHeader(resp.StatusCode)
	io.WriteString(w, body)
}

// identifies reports whether a header is about a stored response.
func identifies(h, stored http.Header) bool {
	tag, date := h.Get("Etag"), h.Get("Last-Modified")
	if tag != "" && !strings.HasPrefix(tag, "W/") {
		return tag == stored.Get("Etag")
	}
	if tag == "" && date == "" {
		return stored.Get("Etag") == "" && stored.Get("Last-Modified") == ""
	}
	return tag != "" && strings.TrimPrefix(stored.Get("Etag"), "W/") == tag[2:] || date != "" && date == stored.Get("Last-Modified")
}

// Invariant 1 by the letter: also where a cache has stored the page of a visitor who was
// not asked, and brings it up to date with an answer to another one.
func TestNothingOfATokenFreshensASharedPage(t *testing.T) {
	version := 1
	handlers := map[string]http.HandlerFunc{
		"tagged": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Etag", fmt.Sprintf(`"v%d"`, version))
			http.ServeContent(w, r, "x.html", time.Time{}, strings.NewReader("the page"))
		},
		"weak": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Etag", fmt.Sprintf(`W/"v%d"`, version))
			http.ServeContent(w, r, "x.html", time.Unix(int64(version), 0), strings.NewReader("the page"))
		},
		"dated": func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, "x.html", time.Unix(int64(version), 0), strings.NewReader("the page"))
		},
		"neither": func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "the page ", version) },
	}
	freshened, given := 0, 0
	for name, page := range handlers {
		for _, strategy := range []revisit.Strategy{revisit.Cookie{}, revisit.ETag{}, revisit.Hybrid(revisit.Cookie{}, revisit.ETag{})} {
			for seed := range 20 * full {
				rnd := rand.New(rand.NewPCG(uint64(seed), 9111))
				seen := make(map[revisit.ID]string) // whose session it is
				control := []string{"", "no-cache", "max-age=0", "must-revalidate"}[seed%4]
				tracker := newTracker(t, revisit.Config{Strategy: strategy, Consent: func(r *http.Request) revisit.Permission {
					if r.Header.Get("X-Asked") == "no" {
						return revisit.Unasked
					}
					return revisit.Restore
				}})
				mux := site(tracker, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if s, ok := revisit.FromContext(r.Context()); ok {
						who := r.Header.Get("X-Client")
						if seen[s.ID] == "" {
							seen[s.ID] = who
						}
						assert.Equal(t, seen[s.ID], who, "%s, %s, seed %d: somebody else's session", name, strategy.Via(), seed)
					}
					if control != "" {
						w.Header().Set("Cache-Control", control)
					}
					page(w, r)
				}))
				cache := &sharedCache{origin: mux, stored: make(map[string]*http.Response), bodies: make(map[string]string)}
				clients := map[string]*browser{"a": newBrowser(cache), "b": newBrowser(cache), "c": newBrowser(cache)}
				for range 60 {
					if rnd.IntN(6) == 0 {
						version = 1 + rnd.IntN(3)
					}
					who := []string{"a", "b", "c"}[rnd.IntN(3)]
					kinds := []kind{kinds[rnd.IntN(len(kinds))], header("X-Client", who)}
					if rnd.IntN(3) == 0 {
						kinds = append(kinds, header("X-Asked", "no"))
					}
					method := []string{"GET", "GET", "GET", "HEAD"}[rnd.IntN(4)]
					if rnd.IntN(5) == 0 {
						kinds = append(kinds, header("Range", "bytes=0-2"))
					}
					if rnd.IntN(3) == 0 {
						kinds = append(kinds, func(h http.Header) {
							h.Del("If-None-Match")
							h.Del("If-Modified-Since")
						})
					}
					resp := clients[who].do(method, "/", kinds...)
					var found []string
					if tag := strings.TrimPrefix(resp.Header.Get("Etag"), "W/"); len(tag) > 46 && tag[44] == '~' {
						found = append(found, tag[1:44])
					}
					for _, cookie := range resp.Cookies() {
						if cookie.Value != "" {
							found = append(found, cookie.Value)
						}
					}
					if link := linkOf(resp); link != "" {
						found = append(found, link)
					}
					for _, token := range found {
						given++
						raw, err := base64.RawURLEncoding.DecodeString(token[:24])
						require.NoError(t, err)
						assert.Equal(t, who, seen[revisit.ID(raw[:16])], "%s, %s, seed %d: %s is given %v", name, strategy.Via(), seed, who, resp.Header)
					}
				}
				freshened += cache.fresh
				if t.Failed() {
					return
				}
			}
		}
	}
	assert.Greater(t, freshened, 1000)
	assert.Greater(t, given, 1000)
}

// A page without a validator is answered with a 304 of ours, which has what that of a
// server has: what speaks of caches, and nothing that speaks of a body.
func TestThe304OfAHashedPage(t *testing.T) {
	for _, control := range []string{"", "no-cache", "private, max-age=60"} {
		status, extra := http.StatusOK, http.Header{}
		b := newBrowser(newTracker(t, revisit.Config{Strategy: revisit.ETag{}}).Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h := w.Header()
			if control != "" {
				h.Set("Cache-Control", control)
			}
			h.Set("Vary", "Accept-Language")
			h.Set("Content-Location", "/en")
			h.Set("Content-Type", "text/html")
			h.Set("Content-Language", "en")
			h.Set("Repr-Digest", "sha-256=:x:")
			h.Set(http.TrailerPrefix+"X-Sum", "42")
			for name, lines := range extra {
				h[name] = lines
			}
			if status != http.StatusOK {
				h.Set("Location", "/elsewhere")
				w.WriteHeader(status)
			}
			io.WriteString(w, "the page")
		})))
		first := b.get("/")
		require.Equal(t, 200, first.StatusCode)
		for _, tag := range []string{first.Header.Get("Etag"), strings.TrimPrefix(first.Header.Get("Etag"), "W/"), `"x", ` + first.Header.Get("Etag")} {
			resp := b.send(func() *http.Request {
				r := b.request("GET", "/")
				r.Header.Set("If-None-Match", tag)
				return r
			}())
			assert.Equal(t, 304, resp.StatusCode, "a strong form of it is compared weakly, too: %s", tag)
			for _, name := range []string{"Etag", "Cache-Control", "Vary", "Content-Location"} {
				assert.Equal(t, first.Header[name], resp.Header[name], name)
			}
			for _, name := range []string{"Content-Type", "Content-Length", "Content-Encoding", "Content-Language", "Repr-Digest", "Last-Modified", "Trailer", "X-Sum"} {
				assert.Empty(t, resp.Header[name], name)
			}
			assert.Empty(t, resp.Trailer)
			body, _ := io.ReadAll(resp.Body)
			assert.Empty(t, body)
		}

		// It speaks for how the body is to be read, too.
		for name, value := range map[string]string{"Content-Encoding": "x-rot13", "Content-Language": "fr"} {
			extra = http.Header{name: {value}}
			assert.Equal(t, 200, b.clone().get("/").StatusCode, name)
		}
		extra = nil

		// Preconditions are for what would be a 200 (RFC 9110, section 13.2.1).
		for _, status = range []int{404, 302, 500} {
			resp := b.clone().get("/")
			assert.Equal(t, status, resp.StatusCode)
			assert.Equal(t, "/elsewhere", resp.Header.Get("Location"))
		}
	}
}

// Conditions of other methods reach the handler with its own tag.
func TestConditionsOfUnsafeMethods(t *testing.T) {
	done := 0
	b := newBrowser(newTracker(t, revisit.Config{Strategy: revisit.ETag{}}).Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			w.Header().Set("Etag", `"v1"`)
			http.ServeContent(w, r, "x.html", time.Time{}, strings.NewReader("the page"))
			return
		}
		match, noneMatch := r.Header.Get("If-Match"), r.Header.Get("If-None-Match")
		if match != "" && !slices.Contains(strings.Split(match, ", "), `"v1"`) || noneMatch == "*" || strings.Contains(noneMatch, `"v1"`) {
			w.WriteHeader(http.StatusPreconditionFailed)
			return
		}
		if r.Method == http.MethodPut {
			w.Header().Set("Etag", `"v2"`)
		}
		done++
		w.WriteHeader(http.StatusNoContent)
	})))
	b.get("/")
	tag := b.tags["/"]
	require.NotEqual(t, `"v1"`, tag)
	other := strings.Replace(tag, "~v1~", "~v0~", 1)
	for _, c := range []struct {
		method, name, value string
		want                int
	}{
		{"PUT", "If-Match", tag, 204},
		{"PUT", "If-Match", other, 412},
		{"PUT", "If-Match", "W/" + tag, 412}, // compared strongly
		{"PUT", "If-None-Match", tag, 412},
		{"PUT", "If-None-Match", "W/" + tag, 412},
		{"PUT", "If-None-Match", other, 204},
		{"PUT", "If-None-Match", "*", 412},
		{"OPTIONS", "X-Nothing", tag, 204},
		{"GET", "If-Match", other, 412},
		{"GET", "If-Match", "W/" + tag, 412},
		{"GET", "If-Match", tag, 200},
		{"GET", "If-None-Match", strings.Replace(tag, "~v1~", "~v1~-gzip", 1), 304},
		{"GET", "If-Match", strings.Replace(tag, "~v1~", "~v1~-gzip", 1), 412},
	} {
		r := b.request(c.method, "/")
		r.Header.Del("If-None-Match")
		r.Header.Set(c.name, c.value)
		before := done
		w := httptest.NewRecorder()
		b.handler.ServeHTTP(w, r)
		assert.Equal(t, c.want, w.Code, "%s, %s: %s", c.method, c.name, c.value)
		assert.Equal(t, c.want == 204, done > before, "%s, %s: %s", c.method, c.name, c.value)
		if c.method == "PUT" && c.want == 204 {
			assert.Equal(t, `"v2"`, w.Header().Get("Etag"), "that of the new representation, as it is")
		}
	}

	// A tag that is to be replaced does not save a condition that fails.
	r := b.request("GET", "/")
	r.Header.Set("If-None-Match", flip(tag))
	r.Header.Set("If-Match", `"v9"`)
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, r)
	assert.Equal(t, 412, w.Code)
	// W/ has to be a capital.
	lower := "w/" + tag
	got := ""
	h := newTracker(t, revisit.Config{Strategy: revisit.ETag{}}).Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { got = r.Header.Get("If-None-Match") }))
	r = httptest.NewRequest("GET", "/", nil)
	r.Header.Set("If-None-Match", lower)
	h.ServeHTTP(httptest.NewRecorder(), r)
	assert.Equal(t, lower, got)
}

// Parts have what the handler alone gives them, but for tag and Cache-Control.
func TestPartsHaveTheHandlersHeader(t *testing.T) {
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Etag", `"v1"`)
		h.Set("Vary", "Accept-Language")
		h.Set("Content-Location", "/en")
		h.Set("Content-Language", "en")
		http.ServeContent(w, r, "x.txt", time.Unix(1e9, 0), strings.NewReader("0123456789"))
	})
	b := newBrowser(newTracker(t, revisit.Config{Strategy: revisit.ETag{}}).Handler(page))
	b.get("/")
	for name, want := range map[string]int{"bytes=2-4": 206, "bytes=900-": 416, "bytes=1-2,4-5": 206} {
		for _, ifRange := range []bool{true, false} {
			r, alone := b.request("GET", "/"), httptest.NewRequest("GET", "/", nil)
			r.Header.Del("If-None-Match")
			r.Header.Del("If-Modified-Since")
			r.Header.Set("Range", name)
			alone.Header.Set("Range", name)
			if ifRange {
				r.Header.Set("If-Range", b.tags["/"])
				alone.Header.Set("If-Range", `"v1"`)
			}
			got, expected := httptest.NewRecorder(), httptest.NewRecorder()
			b.handler.ServeHTTP(got, r)
			page.ServeHTTP(expected, alone)
			assert.Equal(t, want, got.Code)
			if ifRange && want == 206 {
				assert.Equal(t, b.tags["/"], got.Header().Get("Etag"))
				assert.Equal(t, "private, no-cache", got.Header().Get("Cache-Control"))
			}
			g, e := withoutBoundary(got.Header()), withoutBoundary(expected.Header())
			if want == 416 {
				assert.Equal(t, "private", g.Get("Cache-Control"), "as every answer of a page's URL")
				assert.Empty(t, g.Get("Etag"))
			}
			for _, name := range []string{"Etag", "Cache-Control"} {
				g.Del(name)
				e.Del(name)
			}
			assert.Equal(t, e, g, "%s, If-Range %v", name, ifRange)
		}
	}
}

// Who agrees on a page that he has stored already is recognised from that page on, and the
// campaign that led him there is kept: the page comes once more as a whole.
func TestAStoredPageBeginsASession(t *testing.T) {
	for _, strategy := range []revisit.Strategy{revisit.Cookie{}, revisit.Hybrid(revisit.Cookie{}, revisit.ETag{}), revisit.Hybrid(revisit.ETag{}, appHeader{})} {
		permission := revisit.Unasked
		store := newAllStore(t)
		b := newBrowser(newTracker(t, revisit.Config{Strategy: strategy, Store: store, Consent: func(*http.Request) revisit.Permission { return permission }}).Handler(stored))
		const landing = "/?utm_campaign=spring&utm_source=letter"
		b.get(landing)
		assert.Equal(t, 304, b.get(landing).StatusCode)
		assert.Empty(t, store.ids)

		permission = revisit.Restore
		resp := b.get(landing)
		assert.Equal(t, 200, resp.StatusCode)
		assert.True(t, hasToken(resp) || resp.Header.Get("X-App-Visitor") != "")
		_, all := store.sessions(t)
		require.Len(t, all, 1)
		assert.Equal(t, "spring", all[0].Touches[0].Campaign)
		if token := resp.Header.Get("X-App-Visitor"); token != "" {
			continue // an app keeps it, and no browser
		}
		assert.Equal(t, 304, b.get(landing).StatusCode, "once")
		confirmed, _ := store.sessions(t)
		assert.Len(t, confirmed, 1)

		// A no takes the cookie at once, from a stored page, too.
		permission = revisit.Deny
		assert.NotEmpty(t, b.cookies[cookieName])
		assert.Equal(t, 200, b.get(landing).StatusCode)
		assert.Empty(t, b.cookies[cookieName])
		assert.Equal(t, 304, b.get(landing).StatusCode)
	}
}

// stored is a page with a tag of its own.
var stored = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Etag", `"v1"`)
	http.ServeContent(w, r, "x.html", time.Time{}, strings.NewReader("the page"))
})

// Seal keeps strategies of one's own to the rule.
func TestSealRefusesWhereAStoredPageIsFreshened(t *testing.T) {
	b := newBrowser(newTracker(t, revisit.Config{Strategy: appHeader{}}).Handler(stored))
	tag := func(h http.Header) { h.Set("If-None-Match", `"v1"`) }
	for _, resp := range []*http.Response{b.get("/", fetch, tag), b.do("HEAD", "/"), b.get("/", typed, header("Range", "bytes=0-2"))} {
		assert.Empty(t, resp.Header.Get("X-App-Visitor"), resp.Status)
	}
	assert.NotEmpty(t, b.get("/").Header.Get("X-App-Visitor"))
}

// HEAD never starts a session, and no token is added to its answer. A client that asks
// with its tag gets that tag again.
func TestHEADHasNoNewToken(t *testing.T) {
	b := newBrowser(newTracker(t, revisit.Config{}).Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"v1"`)
		http.ServeContent(w, r, "x.html", time.Unix(1e9, 0), strings.NewReader("the page"))
	})))
	assert.Equal(t, `"v1"`, b.do("HEAD", "/").Header.Get("Etag"))
	tag := b.get("/").Header.Get("Etag")
	head := b.do("HEAD", "/", func(h http.Header) {
		h.Del("If-None-Match")
		h.Del("If-Modified-Since")
	})
	assert.Equal(t, 200, head.StatusCode)
	assert.Equal(t, `"v1"`, head.Header.Get("Etag"))
	assert.Equal(t, "private", head.Header.Get("Cache-Control"))
	head = b.do("HEAD", "/")
	assert.Equal(t, 304, head.StatusCode)
	assert.Equal(t, tag, head.Header.Get("Etag"))
}

// Set-Cookie: a line of its own, one for each response, which ends what it began.
func TestTheLinesOfTheCookie(t *testing.T) {
	own := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "cart", Value: "7"})
		io.WriteString(w, "the page")
	})
	tracker := newTracker(t, revisit.Config{})
	resp := newBrowser(tracker.Handler(tracker.Handler(own))).get("/")
	require.Len(t, resp.Header["Set-Cookie"], 2)
	assert.Equal(t, "cart=7", resp.Header["Set-Cookie"][0])
	assert.True(t, strings.HasPrefix(resp.Header["Set-Cookie"][1], cookieName+"="))

	for _, c := range []struct {
		cookie revisit.Cookie
		want   string
	}{
		{revisit.Cookie{}, "__Host-revisit=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; Secure; SameSite=Lax"},
		{revisit.Cookie{Domain: "example.com"}, "__Secure-revisit=; Path=/; Domain=example.com; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; Secure; SameSite=Lax"},
		{revisit.Cookie{Insecure: true}, "revisit=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; SameSite=Lax"},
	} {
		permission := revisit.Restore
		b := newBrowser(newTracker(t, revisit.Config{Strategy: c.cookie, Consent: func(*http.Request) revisit.Permission { return permission }}).Handler(own))
		b.get("/")
		permission = revisit.Deny
		assert.Equal(t, []string{"cart=7", c.want}, b.get("/").Header["Set-Cookie"])
	}

	for _, c := range []revisit.Cookie{
		{Domain: ".example.com"}, {Domain: "example.com."}, {Name: strings.Repeat("n", 300)}, {Name: "__Host-x", Insecure: true},
		{Name: "__HOST-x", Domain: "example.com"}, {Name: "__secure-x", Insecure: true},
	} {
		_, err := revisit.New(revisit.Config{Consent: grant(revisit.Unasked), Strategy: c})
		assert.ErrorContains(t, err, "revisit: Cookie:", "%+v", c)
	}

	// The order of cookies says nothing.
	b := newBrowser(newTracker(t, revisit.Config{Strategy: revisit.Cookie{}}).Handler(seen))
	id := idOf(b.get("/"))
	good, bad := cookieName+"="+b.cookies[cookieName], cookieName+"="+flip(b.cookies[cookieName])
	for _, line := range []string{good + "; " + bad, bad + "; " + good} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Cookie", line)
		w := httptest.NewRecorder()
		b.handler.ServeHTTP(w, r)
		assert.Equal(t, id, w.Header().Get("X-Id"))
	}
}

// Two Trackers, one within the other: both recognise by the one tag, and the handler's
// own tag goes both ways.
func TestTwoTrackersShareATag(t *testing.T) {
	inner := newTracker(t, revisit.Config{Strategy: revisit.ETag{}})
	outer := newTracker(t, revisit.Config{Strategy: revisit.ETag{}, Keys: [][]byte{[]byte(strings.Repeat("k", 32))}})
	var id string
	b := newBrowser(outer.Handler(inner.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, _ := revisit.FromContext(r.Context())
		id = s.ID.String()
		w.Header().Set("Etag", `"v1"`)
		http.ServeContent(w, r, "x.html", time.Time{}, strings.NewReader("the page"))
	}))))
	b.get("/")
	first := id
	assert.Equal(t, 304, b.get("/").StatusCode)
	assert.Equal(t, first, id)
	assert.EqualValues(t, 1, inner.Stats().Returning["etag"])
	assert.EqualValues(t, 1, outer.Stats().Returning["etag"])
}

// A 405 says what is allowed (RFC 9110, section 15.5.6).
func TestTheBeaconSaysWhichMethodsItAllows(t *testing.T) {
	h := newTracker(t, revisit.Config{}).Beacon()
	for path, want := range map[string]string{"pixel.gif": "GET", "revisit.js": "GET", "link/x": "GET", "forget": "POST"} {
		method := "DELETE"
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, "/revisit/"+path, nil))
		assert.Equal(t, 405, w.Code, path)
		assert.Contains(t, w.Header().Get("Allow"), want, path)
	}
}

// What the handler forbids to transform stays so, also where a ticket in the body makes the
// page private.
func TestATicketKeepsNoTransform(t *testing.T) {
	b := newBrowser(site(newTracker(t, revisit.Config{Strategy: revisit.ETag{}}), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "public, no-transform")
		fmt.Fprint(w, "<form>", revisit.Field(r.Context()))
	})))
	assert.Equal(t, "private, no-cache, no-transform", b.get("/").Header.Get("Cache-Control"))
}
