package revisit_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/revisit-go/revisit"
)

func TestACookieRecognisesOnEveryURLAndIsSentOnce(t *testing.T) {
	tracker := newTracker(t, revisit.Config{Strategy: revisit.Cookie{}})
	b := newBrowser(tracker.Handler(seen))

	first := b.get("/")
	assert.Equal(t, "new", viaOf(first))
	assert.Equal(t, "private, no-cache", first.Header.Get("Cache-Control"))
	lines := first.Header["Set-Cookie"]
	require.Len(t, lines, 1)
	assert.Regexp(t, `^__Host-revisit=[A-Za-z0-9_-]{43}; Path=/; Max-Age=34128000; HttpOnly; Secure; SameSite=Lax$`, lines[0])

	for _, url := range []string{"/", "/other"} {
		again := b.get(url)
		assert.Equal(t, "cookie", viaOf(again))
		assert.Equal(t, idOf(first), idOf(again))
		assert.Empty(t, again.Header["Set-Cookie"], "not sent again while it stands")
		assert.Empty(t, again.Header["Cache-Control"], "a response that carries nothing is not touched")
	}
}

func TestTheLifetimeRunsFromBirth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracker := newTracker(t, revisit.Config{Lifetime: 10 * 24 * time.Hour})
		b := newBrowser(tracker.Handler(seen))
		first := b.get("/")
		for range 9 {
			time.Sleep(24 * time.Hour)
			assert.Equal(t, idOf(first), idOf(b.get("/")))
		}
		// A carrier that is made again gets what is left of the time.
		delete(b.cookies, cookieName)
		again := b.get("/")
		require.Equal(t, idOf(first), idOf(again))
		require.Len(t, again.Cookies(), 1)
		assert.Equal(t, 24*3600, again.Cookies()[0].MaxAge)

		time.Sleep(25 * time.Hour)
		last := b.get("/")
		assert.Equal(t, "new", viaOf(last))
		assert.NotEqual(t, idOf(first), idOf(last))
		assert.EqualValues(t, 2, tracker.Stats().Expired, "the cookie's and the tag's")
		assert.Equal(t, idOf(last), idOf(b.get("/")))
	})
}

func TestTheCookiesNameFollowsItsAttributes(t *testing.T) {
	for _, c := range []struct {
		cookie revisit.Cookie
		want   string
	}{
		{revisit.Cookie{}, "__Host-revisit=T; Path=/; Max-Age=N; HttpOnly; Secure; SameSite=Lax"},
		{revisit.Cookie{Insecure: true}, "revisit=T; Path=/; Max-Age=N; HttpOnly; SameSite=Lax"},
		{revisit.Cookie{Domain: "example.com"}, "__Secure-revisit=T; Path=/; Domain=example.com; Max-Age=N; HttpOnly; Secure; SameSite=Lax"},
		{revisit.Cookie{Name: "sid"}, "sid=T; Path=/; Max-Age=N; HttpOnly; Secure; SameSite=Lax"},
	} {
		b := newBrowser(newTracker(t, revisit.Config{Strategy: c.cookie}).Handler(seen))
		resp := b.get("/")
		require.Len(t, resp.Header["Set-Cookie"], 1)
		name, rest, _ := strings.Cut(resp.Header["Set-Cookie"][0], "=")
		token, rest, _ := strings.Cut(rest, ";")
		assert.Len(t, token, 43)
		assert.Equal(t, c.want, strings.Replace(name+"=T;"+rest, "34128000", "N", 1))
		assert.Equal(t, "cookie", viaOf(b.get("/")))
	}
}

// pages is a handler for each row of the ETag table.
func pages(content *string) map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"strong": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Etag", `"`+*content+`"`)
			http.ServeContent(w, r, "x.txt", time.Time{}, strings.NewReader(*content))
		},
		"weak": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Etag", `W/"`+*content+`"`)
			http.ServeContent(w, r, "x.txt", time.Time{}, strings.NewReader(*content))
		},
		"dated": func(w http.ResponseWriter, r *http.Request) {
			at := time.Unix(1e9+int64(len(*content)), 0)
			http.ServeContent(w, r, "x.txt", at, strings.NewReader(*content))
		},
		"none": func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, *content) },
		"flushed": func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, *content)
			w.(http.Flusher).Flush()
		},
		"large": func(w http.ResponseWriter, r *http.Request) {
			for range 100 {
				io.WriteString(w, strings.Repeat(*content, 1000))
			}
		},
	}
}

func TestTheTagIsComposedAsInTheTable(t *testing.T) {
	content := "v1"
	for name, c := range map[string]struct {
		tag         string // T is the token
		notModified bool   // the second visit ends in a 304
	}{
		"strong":  {`"T~v1~"`, true},
		"weak":    {`W/"T~v1~"`, true},
		"dated":   {`W/"T~~m[A-Za-z0-9_-]{22}~"`, true},
		"none":    {`W/"T~~h[A-Za-z0-9_-]{22}~"`, true},
		"flushed": {`W/"T~~n[A-Z2-7]{12}~"`, false},
		"large":   {`W/"T~~n[A-Z2-7]{12}~"`, false},
	} {
		t.Run(name, func(t *testing.T) {
			content = "v1"
			tracker := newTracker(t, revisit.Config{Strategy: revisit.ETag{}})
			h := pages(&content)[name]
			b := newBrowser(tracker.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				s, ok := revisit.FromContext(r.Context())
				if ok {
					w.Header().Set("X-Id", s.ID.String())
					w.Header().Set("X-Via", s.Via)
				}
				h(w, r)
			})))
			first := b.get("/")
			assert.Regexp(t, "^"+strings.Replace(c.tag, "T", "[A-Za-z0-9_-]{43}", 1)+"$", first.Header.Get("Etag"))
			assert.Equal(t, "private, no-cache", first.Header.Get("Cache-Control"))
			again := b.get("/")
			assert.Equal(t, "etag", viaOf(again))
			assert.Equal(t, idOf(first), idOf(again))
			if c.notModified {
				assert.Equal(t, http.StatusNotModified, again.StatusCode)
				assert.Equal(t, first.Header.Get("Etag"), again.Header.Get("Etag"), "a 304 echoes the tag")
				assert.Equal(t, first.Header.Get("Cache-Control"), again.Header.Get("Cache-Control"), "and speaks to caches as the page did")
				body, _ := io.ReadAll(again.Body)
				assert.Empty(t, body)
				assert.Empty(t, again.Header.Get("Content-Type"))
			} else {
				assert.Equal(t, http.StatusOK, again.StatusCode)
				assert.NotEqual(t, first.Header.Get("Etag"), again.Header.Get("Etag"), "a nonce is never equal")
			}
			content = "version 2"
			changed := b.get("/")
			assert.Equal(t, http.StatusOK, changed.StatusCode, "never stale")
			assert.Equal(t, idOf(first), idOf(changed))
			assert.Contains(t, b.bodies["/"], "version 2")
		})
	}
}

// What the handler is given must be what it would have been given without us.
func TestTheHandlerSeesItsOwnTags(t *testing.T) {
	type seenHeaders map[string][]string
	var got seenHeaders
	tracker := newTracker(t, revisit.Config{Strategy: revisit.ETag{}})
	h := tracker.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = seenHeaders{}
		for _, name := range []string{"If-None-Match", "If-Match", "If-Range", "If-Modified-Since"} {
			if lines, ok := r.Header[name]; ok {
				got[name] = lines
			}
		}
		w.Header().Set("Etag", `"v1"`)
	}))
	b := newBrowser(h)
	b.get("/")
	token := b.tags["/"][1:44]
	const date = "Fri, 01 Jan 2021 00:00:00 GMT"

	for _, c := range []struct {
		name string
		in   seenHeaders
		want seenHeaders
	}{
		{"ours", seenHeaders{"If-None-Match": {`"T~v1~"`}}, seenHeaders{"If-None-Match": {`"v1"`}}},
		{"ours, weakened", seenHeaders{"If-None-Match": {`W/"T~v1~"`}}, seenHeaders{"If-None-Match": {`W/"v1"`}}},
		{"a proxy's suffix", seenHeaders{"If-None-Match": {`W/"T~v1~-gzip"`}}, seenHeaders{"If-None-Match": {`W/"v1"`}}},
		{"several lines are one", seenHeaders{"If-None-Match": {`"a", "T~v1~"`, `W/"b,c" ,"T~v2~-br"`}},
			seenHeaders{"If-None-Match": {`"a", "v1", W/"b,c", "v2"`}}},
		{"nothing of ours stays as it came", seenHeaders{"If-None-Match": {`"a",  "b"`, `"c"`}}, seenHeaders{"If-None-Match": {`"a",  "b"`, `"c"`}}},
		{"a star", seenHeaders{"If-None-Match": {`*`}}, seenHeaders{"If-None-Match": {`*`}}},
		{"the handler's own ~", seenHeaders{"If-None-Match": {`"T~a~b~"`, `"T~~e~x~"`, `"T~~e~"`}}, seenHeaders{"If-None-Match": {`"a~b", "~x", ""`}}},
		{"derived: the date speaks", seenHeaders{"If-None-Match": {`W/"T~~mXYZ~"`}, "If-Modified-Since": {date}}, seenHeaders{"If-Modified-Since": {date}}},
		{"derived: a hash", seenHeaders{"If-None-Match": {`W/"T~~hXYZ~-gzip"`}}, seenHeaders{}},
		{"derived beside another", seenHeaders{"If-None-Match": {`W/"T~~hXYZ~", "a"`}}, seenHeaders{"If-None-Match": {`"a"`}}},
		{"of another version", seenHeaders{"If-None-Match": {`"T~~?~"`}}, seenHeaders{}},
		{"If-Match", seenHeaders{"If-Match": {`"T~v1~", "x"`}}, seenHeaders{"If-Match": {`"v1", "x"`}}},
		{"If-Match keeps a suffix", seenHeaders{"If-Match": {`"T~v1~-gzip"`}}, seenHeaders{"If-Match": {`"v1-gzip"`}}},
		{"If-Range", seenHeaders{"If-Range": {`"T~v1~"`}}, seenHeaders{"If-Range": {`"v1"`}}},
		{"If-Range keeps a suffix", seenHeaders{"If-Range": {`"T~v1~-br"`}}, seenHeaders{"If-Range": {`"v1-br"`}}},
		{"If-Range with a date", seenHeaders{"If-Range": {date}}, seenHeaders{"If-Range": {date}}},
		{"not of our shape: short", seenHeaders{"If-None-Match": {`"T"`, `"T~"`, `"T~v"`, `"T~v~x"`, `T~v1~`, `"xT~v1~"`}},
			seenHeaders{"If-None-Match": {`"T"`, `"T~"`, `"T~v"`, `"T~v~x"`, `T~v1~`, `"xT~v1~"`}}},
		{"not closed", seenHeaders{"If-None-Match": {`"T~v1~`}}, seenHeaders{"If-None-Match": {`"T~v1~`}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newBrowser(h).request("GET", "/")
			replace := func(headers seenHeaders) seenHeaders {
				out := seenHeaders{}
				for name, lines := range headers {
					for _, line := range lines {
						line = strings.ReplaceAll(line, "T~", token+"~")
						out[name] = append(out[name], strings.ReplaceAll(line, `T"`, token+`"`))
					}
				}
				return out
			}
			for name, lines := range replace(c.in) {
				r.Header[name] = lines
			}
			before := r.Header.Clone()
			newBrowser(h).send(r)
			assert.Equal(t, replace(c.want), got)
			assert.Equal(t, before, r.Header, "the server's request stays as it was")
		})
	}
}

func TestADamagedTagIsReplacedByA200(t *testing.T) {
	tracker := newTracker(t, revisit.Config{Strategy: revisit.ETag{}})
	content := "v1"
	for name, page := range pages(&content) {
		b := newBrowser(tracker.Handler(page))
		b.get("/")
		before := b.tags["/"]
		at := strings.IndexByte(before, '"') + 1
		b.tags["/"] = before[:at] + flip(before[at:at+43]) + before[at+43:]
		resp := b.get("/")
		assert.Equal(t, http.StatusOK, resp.StatusCode, name)
		assert.True(t, hasToken(resp), name)
		assert.NotContains(t, resp.Header.Get("Etag"), before[at:at+43], "%s: a new session", name)
	}
	assert.EqualValues(t, 6, tracker.Stats().Forged)
}

// A tag that was stored before there was a token is not taken away: the first
// token rides on the next 200.
func TestNothingIsTakenAwayToSeed(t *testing.T) {
	content := "v1"
	tracker := newTracker(t, revisit.Config{Strategy: revisit.ETag{}})
	b := newBrowser(tracker.Handler(pages(&content)["strong"]))
	b.tags["/"] = `"v1"`
	resp := b.get("/")
	assert.Equal(t, http.StatusNotModified, resp.StatusCode)
	assert.Equal(t, `"v1"`, resp.Header.Get("Etag"))
	assert.Zero(t, tracker.Stats().New, "a session that nobody could know again is not kept")
	content = "v2"
	assert.True(t, hasToken(b.get("/")))
	assert.EqualValues(t, 1, tracker.Stats().New)
}

func TestResumedDownloadsKeepTheirTag(t *testing.T) {
	content := strings.Repeat("0123456789", 100)
	tracker := newTracker(t, revisit.Config{Strategy: revisit.ETag{}})
	h := tracker.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", fmt.Sprintf("%q", "v"+strconv.Itoa(len(content))))
		http.ServeContent(w, r, "x.bin", time.Time{}, strings.NewReader(content))
	}))
	b := newBrowser(h)
	b.get("/")
	tag := b.tags["/"]
	require.Regexp(t, `^"`, tag, "strong stays strong")

	resume := func(ifRange string) *http.Response {
		return newBrowser(h).get("/", typed, header("Range", "bytes=500-"), header("If-Range", ifRange))
	}
	resp := resume(tag)
	assert.Equal(t, http.StatusPartialContent, resp.StatusCode)
	assert.Equal(t, tag, resp.Header.Get("Etag"), "a 206 echoes the tag")
	resp = resume(strings.TrimSuffix(tag, `"`) + `-gzip"`)
	assert.Equal(t, http.StatusOK, resp.StatusCode, "of a compressed body nothing is resumed")
	resp = newBrowser(h).get("/", typed, header("Range", "bytes=500-"))
	assert.Equal(t, http.StatusPartialContent, resp.StatusCode)
	assert.Equal(t, `"v1000"`, resp.Header.Get("Etag"), "each 206 of one file has one tag")
	content += "x"
	resp = resume(tag)
	assert.Equal(t, http.StatusOK, resp.StatusCode, "the file has changed")
}

func TestAPOSTMintsWithACookieOnly(t *testing.T) {
	for _, c := range []struct {
		strategy revisit.Strategy
		kind     kind
		via      string
	}{
		{revisit.Cookie{}, link, "new"},
		{revisit.Cookie{}, fetch, ""},
		{revisit.Cookie{}, bare, ""},
		{revisit.ETag{}, link, ""},
		{revisit.Hybrid(revisit.Cookie{}, revisit.ETag{}), link, "new"},
	} {
		tracker := newTracker(t, revisit.Config{Strategy: c.strategy})
		b := newBrowser(tracker.Handler(seen))
		resp := b.do("POST", "/", c.kind)
		assert.Equal(t, c.via, viaOf(resp), "%T", c.strategy)
		assert.Equal(t, c.via == "new", hasToken(resp), "%T", c.strategy)
		assert.Empty(t, resp.Header.Get("Etag"), "%T", c.strategy)
	}
}

func TestWhatMints(t *testing.T) {
	for _, c := range []struct {
		name  string
		kinds []kind
		mint  bool
		hits  int64
	}{
		{"a typed address", []kind{typed}, true, 1},
		{"a link", []kind{link}, true, 1},
		{"a link on another site", []kind{clickFrom}, true, 1},
		{"fetch", []kind{fetch}, true, 0},
		{"an image", []kind{image}, false, 0},
		{"a script", []kind{metadata("same-origin", "no-cors", "script")}, false, 0},
		{"a frame of this site", []kind{metadata("same-origin", "navigate", "iframe")}, true, 0},
		{"a frame on another site", []kind{framed}, false, 0},
		{"an image on another site", []kind{embedded}, false, 0},
		{"fetch from another site", []kind{metadata("cross-site", "cors", "empty")}, false, 0},
		{"fetch from another host of the site", []kind{metadata("same-site", "cors", "empty")}, false, 0},
		{"a picture that a service worker hands on", []kind{metadata("same-origin", "no-cors", "empty")}, false, 0},
		{"a websocket", []kind{metadata("same-origin", "websocket", "empty")}, false, 0},
		{"a prefetch", []kind{typed, header("Sec-Purpose", "prefetch")}, false, 0},
		{"a prerender", []kind{typed, header("Sec-Purpose", "prefetch;prerender")}, false, 0},
		{"an old prefetch", []kind{bare, header("X-Moz", "prefetch")}, false, 0},
		{"no browser", []kind{bare}, true, 1},
		{"no metadata, a page", []kind{bare, header("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")}, true, 1},
		{"no metadata, an image", []kind{bare, header("Accept", "image/avif,image/webp,*/*;q=0.8")}, false, 0},
		{"no metadata, a style", []kind{bare, header("Accept", "text/css,*/*;q=0.1")}, false, 0},
		{"no metadata, anything", []kind{bare, header("Accept", "*/*")}, true, 1},
	} {
		tracker := newTracker(t, revisit.Config{})
		var hits int64
		b := newBrowser(tracker.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if s, ok := revisit.FromContext(r.Context()); ok {
				hits = s.Hits()
			}
		})))
		assert.Equal(t, c.mint, hasToken(b.get("/", c.kinds...)), c.name)
		assert.Equal(t, c.hits, hits, "%s: hits", c.name)
	}
}

// A new token rides on a 200 to a GET without Range; a cookie also on any
// answer to a navigation.
func TestWhereANewTokenRides(t *testing.T) {
	for _, c := range []struct {
		name         string
		method       string
		status       int
		kinds        []kind
		cookie, etag bool
	}{
		{"a page", "GET", 200, []kind{typed}, true, true},
		{"a fetch", "GET", 200, []kind{fetch}, true, true},
		{"a page that is not there", "GET", 404, []kind{typed}, true, false},
		{"a redirect", "GET", 302, []kind{typed}, true, false},
		{"a part of a page", "GET", 206, []kind{typed, header("Range", "bytes=0-1")}, false, false},
		{"a page that has not changed", "GET", 304, []kind{typed, header("If-None-Match", `"v1"`)}, false, false},
		{"a whole page with a range", "GET", 200, []kind{typed, header("Range", "bytes=0-1")}, true, false},
		{"a fetch that fails", "GET", 404, []kind{fetch}, false, false},
		{"a fetch of nothing", "GET", 204, []kind{fetch}, false, false},
		{"HEAD", "HEAD", 200, []kind{bare}, false, false},
		{"HEAD of a page", "HEAD", 200, []kind{typed}, false, false},
	} {
		for _, strategy := range []revisit.Strategy{revisit.Cookie{}, revisit.ETag{}} {
			tracker := newTracker(t, revisit.Config{Strategy: strategy})
			b := newBrowser(tracker.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Etag", `"v1"`)
				w.WriteHeader(c.status)
			})))
			want := c.cookie
			if strategy == (revisit.ETag{}) {
				want = c.etag
			}
			resp := b.do(c.method, "/", c.kinds...)
			assert.Equal(t, want, hasToken(resp), "%s, %s", c.name, strategy.Via())
			assert.Equal(t, want, tracker.Stats().New == 1, "%s, %s: saved if it was sent", c.name, strategy.Via())
		}
	}
}

func TestHybridRebuildsWhatWasLostUnderRestoreOnly(t *testing.T) {
	for _, permission := range []revisit.Permission{revisit.Recognise, revisit.Restore} {
		tracker := newTracker(t, revisit.Config{Consent: grant(permission)})
		b := newBrowser(tracker.Handler(seen))
		first := b.get("/")
		require.NotEmpty(t, b.cookies[cookieName])
		require.NotEmpty(t, b.tags["/"])

		clear(b.cookies)
		again := b.get("/")
		assert.Equal(t, "etag", viaOf(again))
		assert.Equal(t, idOf(first), idOf(again))
		assert.Equal(t, permission == revisit.Restore, b.cookies[cookieName] != "", "%v", permission)

		if permission == revisit.Restore {
			clear(b.tags)
			again = b.get("/")
			assert.Equal(t, "cookie", viaOf(again))
			assert.NotEmpty(t, b.tags["/"])
		}
	}
}

func TestHybridBringsEveryCarrierToTheOldestSession(t *testing.T) {
	synctest.Test(t, testHybridBringsEveryCarrierToTheOldestSession)
}

func testHybridBringsEveryCarrierToTheOldestSession(t *testing.T) {
	tracker := newTracker(t, revisit.Config{})
	b := newBrowser(tracker.Handler(seen))
	first := b.get("/old")
	clear(b.cookies)
	time.Sleep(time.Minute)
	second := b.get("/new") // a new URL and no cookie: nothing to know him by
	require.NotEqual(t, idOf(first), idOf(second))

	third := b.get("/old") // the tag of the first, the cookie of the second
	assert.Equal(t, idOf(first), idOf(third))
	assert.Equal(t, http.StatusNotModified, third.StatusCode, "its tag is right")
	fourth := b.get("/new") // the cookie of the first, the tag of the second
	assert.Equal(t, idOf(first), idOf(fourth))
	assert.Equal(t, http.StatusOK, fourth.StatusCode, "its tag is replaced")
	fifth := b.get("/new")
	assert.Equal(t, http.StatusNotModified, fifth.StatusCode)

	clear(b.cookies)
	assert.Equal(t, idOf(first), idOf(b.get("/new")))
	assert.EqualValues(t, 1, tracker.Stats().Merged)
}

func TestUnderRecogniseTheCookieWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracker := newTracker(t, revisit.Config{Consent: grant(revisit.Recognise)})
		b := newBrowser(tracker.Handler(seen))
		first := b.get("/old")
		time.Sleep(time.Hour)
		clear(b.cookies)
		second := b.get("/new")
		third := b.get("/old")
		assert.Equal(t, idOf(second), idOf(third))
		assert.Equal(t, http.StatusOK, third.StatusCode, "the tag is re-seeded")
		assert.Equal(t, http.StatusNotModified, b.get("/old").StatusCode)
		clear(b.cookies)
		assert.Equal(t, idOf(second), idOf(b.get("/old")))
		assert.NotEqual(t, idOf(first), idOf(second))
		assert.Zero(t, tracker.Stats().Merged)
	})
}

// Parallel first requests are one browser, also under Recognise.
func TestSessionsOfOneBurstAreMerged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracker := newTracker(t, revisit.Config{Consent: grant(revisit.Recognise)})
		b := newBrowser(tracker.Handler(seen))
		one := b.clone()
		first := one.get("/a")
		time.Sleep(5 * time.Second)
		second := b.get("/b")
		require.NotEqual(t, idOf(first), idOf(second))
		b.tags["/a"] = one.tags["/a"] // one browser has sent both
		third := b.get("/a")
		assert.Equal(t, idOf(first), idOf(third))
		assert.Equal(t, one.cookies[cookieName], b.cookies[cookieName])
		assert.EqualValues(t, 1, tracker.Stats().Merged)
	})
}

func TestSessionsWithDifferentValuesStayApart(t *testing.T) {
	tracker := newTracker(t, revisit.Config{})
	lead := ""
	b := newBrowser(tracker.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, _ := revisit.FromContext(r.Context())
		if lead != "" {
			assert.NoError(t, s.Set(r.Context(), "lead", lead))
		}
		seen.ServeHTTP(w, r)
	})))
	lead = "ann"
	first := b.get("/old")
	clear(b.cookies)
	lead = "bob"
	second := b.get("/new")
	lead = ""
	third := b.get("/old")
	assert.Equal(t, idOf(second), idOf(third), "the cookie counts")
	assert.Equal(t, http.StatusOK, third.StatusCode, "the tag is re-seeded")
	assert.NotEqual(t, idOf(first), idOf(second))
	assert.Zero(t, tracker.Stats().Merged)
}

// A cache that ignores private hands one tag to everybody, or a script replays
// a stolen one.
func TestALeakedTagDiesAfterEightCookies(t *testing.T) {
	for _, younger := range []bool{false, true} {
		tracker := newTracker(t, revisit.Config{})
		h := tracker.Handler(seen)
		leak := newBrowser(h)
		var victims []*browser
		for range 20 {
			victims = append(victims, newBrowser(h))
		}
		if younger { // the tag is younger than all sessions it meets
			for _, b := range victims {
				b.get("/home")
			}
		}
		leaked := leak.get("/")
		ids := map[string]bool{}
		for _, b := range victims {
			b.get("/home")
			b.tags["/"] = leak.tags["/"]
			ids[idOf(b.get("/"))] = true
		}
		stats := tracker.Stats()
		assert.LessOrEqual(t, stats.Merged, int64(8), "younger: %v", younger)
		assert.GreaterOrEqual(t, len(ids), 12, "younger: %v", younger)
		assert.Positive(t, stats.Leaked, "younger: %v", younger)

		// A browser that has nothing but the dead tag is a new visitor.
		b := newBrowser(h)
		b.tags["/"] = leak.tags["/"]
		resp := b.get("/")
		assert.Equal(t, "new", viaOf(resp), "younger: %v", younger)
		assert.Equal(t, http.StatusOK, resp.StatusCode)
		assert.NotEqual(t, idOf(leaked), idOf(resp))
	}
}

func TestTwoDifferentTokensAreNoClaim(t *testing.T) {
	tracker := newTracker(t, revisit.Config{})
	h := tracker.Handler(seen)
	one, two := newBrowser(h), newBrowser(h)
	one.get("/")
	two.get("/")

	b := newBrowser(h)
	resp := b.get("/", typed, header("Cookie", cookieName+"="+one.cookies[cookieName]+"; "+cookieName+"="+two.cookies[cookieName]))
	assert.NotContains(t, []string{"cookie", "etag"}, viaOf(resp))
	for _, c := range resp.Cookies() {
		assert.Fail(t, "a cookie is set over a planted one", c.Value)
	}

	b = newBrowser(h)
	resp = b.get("/", typed, header("If-None-Match", one.tags["/"]+", "+two.tags["/"]))
	assert.Equal(t, "new", viaOf(resp), "by cookie")
	assert.NotContains(t, resp.Header.Get("Etag"), "~", "a cache that speaks for several gets no token")
	assert.EqualValues(t, 2, tracker.Stats().Ambiguous)
	assert.Zero(t, tracker.Stats().Merged)
}

func TestKeyRotationReSealsTheCarriers(t *testing.T) {
	store := revisit.NewMemoryStore(revisit.MemoryOptions{})
	defer store.Close()
	second := []byte("fedcba9876543210fedcba9876543210")
	old := newBrowser(newTracker(t, revisit.Config{Store: store}).Handler(seen))
	first := old.get("/")

	b := old.clone()
	b.handler = newTracker(t, revisit.Config{Store: store, Keys: [][]byte{second, testKey}}).Handler(seen)
	again := b.get("/")
	assert.Equal(t, idOf(first), idOf(again))
	assert.Equal(t, http.StatusOK, again.StatusCode)
	assert.NotEqual(t, old.cookies[cookieName], b.cookies[cookieName])
	assert.NotEqual(t, old.tags["/"], b.tags["/"])

	b.handler = newTracker(t, revisit.Config{Store: store, Keys: [][]byte{second}}).Handler(seen)
	assert.Equal(t, idOf(first), idOf(b.get("/")), "the old key can go")
	old.handler = b.handler
	assert.Equal(t, "new", viaOf(old.get("/")))
}

func TestATagThatCannotBeCarriedIsLeftAsItIs(t *testing.T) {
	for name, set := range map[string]func(http.Header){
		"no quotes":        func(h http.Header) { h.Set("Etag", "v1") },
		"two lines":        func(h http.Header) { h["Etag"] = []string{`"v1"`, `"v2"`} },
		"none on purpose":  func(h http.Header) { h["Etag"] = nil },
		"another spelling": func(h http.Header) { h["ETag"] = []string{`"v1"`} },
	} {
		tracker := newTracker(t, revisit.Config{Strategy: revisit.ETag{}})
		var want http.Header
		resp := newBrowser(tracker.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			set(w.Header())
			want = w.Header().Clone()
			w.WriteHeader(http.StatusOK)
		}))).get("/")
		want.Set("Cache-Control", "private") // as every answer of a page's URL
		assert.Equal(t, want, resp.Header, name)
	}
}

func TestOnlyGETAndHEADCarryTags(t *testing.T) {
	tracker := newTracker(t, revisit.Config{})
	b := newBrowser(tracker.Handler(seen))
	b.get("/")
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "PATCH"} {
		resp := b.do(method, "/", fetch)
		assert.Equal(t, "cookie", viaOf(resp), method)
		assert.Empty(t, resp.Header["Etag"], method)
		assert.Empty(t, resp.Header["Cache-Control"], method)
	}
}

func TestAHashSpeaksForTheContentTypeToo(t *testing.T) {
	kind := "text/plain"
	tracker := newTracker(t, revisit.Config{Strategy: revisit.ETag{}})
	b := newBrowser(tracker.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", kind)
		io.WriteString(w, "<p>hello")
	})))
	b.get("/")
	assert.Equal(t, http.StatusNotModified, b.get("/").StatusCode)
	kind = "text/html"
	assert.Equal(t, http.StatusOK, b.get("/").StatusCode)
}

// Nor can a body end like a header.
func TestABodyIsNoHeader(t *testing.T) {
	pages := [][2]string{{"text/plain", "hello "}, {"", "hello text/plain"}}
	n := 0
	b := newBrowser(newTracker(t, revisit.Config{Strategy: revisit.ETag{}}).Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if pages[n][0] != "" {
			w.Header().Set("Content-Type", pages[n][0])
		}
		io.WriteString(w, pages[n][1])
	})))
	b.get("/")
	n = 1
	assert.Equal(t, http.StatusOK, b.get("/").StatusCode)
}

// Parts with different strong tags must not be put together (RFC 9110, section
// 15.3.7.3), so a resumed download keeps its tag whatever became of the session.
func TestAResumedDownloadKeepsItsTagAfterAMerge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		content := "0123456789"
		tracker := newTracker(t, revisit.Config{})
		h := tracker.Handler(pages(&content)["strong"])
		b := newBrowser(h)
		b.get("/old")
		clear(b.cookies)
		time.Sleep(time.Second)
		b.get("/big")
		tag := b.tags["/big"]
		b.get("/old")
		require.EqualValues(t, 1, tracker.Stats().Merged)
		for _, field := range []string{"If-Range", "If-Match"} {
			r := b.request("GET", "/big", typed, header("Range", "bytes=5-"), header(field, tag))
			r.Header.Del("If-None-Match")
			resp := b.send(r)
			assert.Equal(t, http.StatusPartialContent, resp.StatusCode)
			assert.Equal(t, tag, resp.Header.Get("Etag"), field)
		}
	})
}

// Whoever asks to be forgotten on a page that shared caches keep must not have
// everybody else's cookie deleted.
func TestForgetWritesNothingIntoASharedAnswer(t *testing.T) {
	for _, strategy := range []revisit.Strategy{revisit.Cookie{}, revisit.ETag{}, nil} {
		tracker := newTracker(t, revisit.Config{Strategy: strategy})
		b := newBrowser(tracker.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if s, ok := revisit.FromContext(r.Context()); ok && !s.New() {
				assert.NoError(t, tracker.Forget(r.Context(), s.ID))
				w.Header().Set("Cache-Control", "public, max-age=600")
			}
			seen(w, r)
		})))
		b.get("/")
		resp := b.get("/")
		assert.Equal(t, "public, max-age=600", resp.Header.Get("Cache-Control"))
		assert.Empty(t, resp.Header["Set-Cookie"])
		assert.Empty(t, resp.Header["Etag"])
	}
}

// The way back from a payment page is a POST from another site, and a
// SameSite=Lax cookie is not sent with it: no new one may take its place.
func TestThePaymentPagesPOSTDoesNotReplaceTheCookie(t *testing.T) {
	for _, permission := range []revisit.Permission{revisit.Recognise, revisit.Restore} {
		b := newBrowser(newTracker(t, revisit.Config{Consent: grant(permission)}).Handler(seen))
		first := b.get("/")
		r := b.request("POST", "/paid", clickFrom)
		r.Header.Del("Cookie")
		resp := b.send(r)
		assert.Empty(t, viaOf(resp))
		assert.Equal(t, idOf(first), idOf(b.get("/thanks")))
	}
}

// Under Recognise a session whose cookie was deleted does not come back into the
// cookie, by whatever detour.
func TestWhatWasClearedIsNotRebuiltAfterForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracker := newTracker(t, revisit.Config{Consent: grant(revisit.Recognise)})
		b := newBrowser(tracker.Handler(seen))
		old := b.get("/a")
		clear(b.cookies)
		time.Sleep(time.Hour)
		id, err := revisit.ParseID(idOf(b.get("/b")))
		require.NoError(t, err)
		require.NoError(t, tracker.Forget(t.Context(), id))
		b.get("/a")
		assert.NotEqual(t, idOf(old), idOf(b.get("/c")))
	})
}

// Whoever was handed a leaked tag can say no for himself only.
func TestANoThroughALeakedTagForgetsNobodyElse(t *testing.T) {
	store := revisit.NewMemoryStore(revisit.MemoryOptions{})
	defer store.Close()
	consent := revisit.Restore
	tracker := newTracker(t, revisit.Config{Store: store, Consent: func(*http.Request) revisit.Permission { return consent }})
	h := tracker.Handler(seen)
	owner := newBrowser(h)
	first := owner.get("/")
	for range 12 {
		b := newBrowser(h)
		b.get("/home")
		b.tags["/"] = owner.tags["/"]
		b.get("/")
	}
	require.Positive(t, tracker.Stats().Leaked)
	consent = revisit.Deny
	stranger := newBrowser(h)
	stranger.tags["/"] = owner.tags["/"]
	stranger.get("/")
	assert.Empty(t, stranger.tags["/"])
	assert.False(t, record(t, store, first).Forgotten)
	assert.Zero(t, tracker.Stats().Forgotten)
}

// A tag whose session the store has no more is worth what a cookie is: its session is born
// again. And one that is worth nothing any more begins another, with all that it brings.
func TestATagOutlivesItsRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, strategy := range []revisit.Strategy{revisit.ETag{}, revisit.Cookie{}, nil} {
			store := newAllStore(t)
			tracker := newTracker(t, revisit.Config{Strategy: strategy, Store: store})
			b := newBrowser(tracker.Handler(seen))
			first := b.get("/")
			time.Sleep(49 * time.Hour) // unconfirmed sessions last a day
			again := b.get("/")
			assert.Equal(t, idOf(first), idOf(again))
			assert.EqualValues(t, 1, record(t, store, again).Hits)
			assert.Zero(t, tracker.Stats().Leaked)
			require.NoError(t, tracker.Forget(t.Context(), parse(t, idOf(first))))
			delete(b.tags, "/?utm_campaign=spring")
			b.tags["/?utm_campaign=spring"] = b.tags["/"]
			other := b.get("/?utm_campaign=spring")
			require.Equal(t, "new", viaOf(other))
			r := record(t, store, other)
			assert.EqualValues(t, 1, r.Hits)
			require.Len(t, r.Touches, 1)
			assert.Equal(t, "spring", r.Touches[0].Campaign)
		}
	})
}

// Two valid cookies of one name recognise nobody, and one of them is taken away: the visitor's
// own, of the host alone, stays where a subdomain could have planted the other; after a
// change of the Domain the new one stays.
func TestOfTwoCookiesOneIsTakenAway(t *testing.T) {
	for _, c := range []struct {
		about  string
		cookie revisit.Cookie
		host   string
		want   []string // domains that are expired, "" for the host alone
	}{
		{"planted by a subdomain", revisit.Cookie{Name: "visitor"}, "www.shop.example:8443", []string{"www.shop.example", "shop.example"}},
		{"of the host before", revisit.Cookie{Name: "visitor", Domain: "shop.example"}, "www.shop.example", []string{""}},
		{"of the host before, by default", revisit.Cookie{Domain: "shop.example"}, "www.shop.example", []string{""}},
		{"which cannot be", revisit.Cookie{}, "www.shop.example", nil},
		{"an address", revisit.Cookie{Name: "visitor"}, "192.0.2.7:80", nil},
		{"no host", revisit.Cookie{Name: "visitor"}, "shop.example;Domain=evil.example", nil},
		{"a long host", revisit.Cookie{Name: "visitor"}, "a.b.c.d.e.f.example", []string{"a.b.c.d.e.f.example", "b.c.d.e.f.example", "c.d.e.f.example", "d.e.f.example"}},
	} {
		for _, p := range []revisit.Permission{revisit.Recognise, revisit.Restore, revisit.Deny} {
			memory := revisit.NewMemoryStore(revisit.MemoryOptions{})
			defer memory.Close()
			with := func(p revisit.Permission) http.Handler {
				return newTracker(t, revisit.Config{Strategy: c.cookie, Store: memory, Consent: grant(p)}).Handler(seen)
			}
			one, two := newBrowser(with(revisit.Restore)), newBrowser(with(revisit.Restore))
			first := one.get("/")
			two.get("/")
			var name string
			for name = range one.cookies {
			}
			r := newBrowser(nil).request("GET", "/", typed, header("Cookie", name+"="+one.cookies[name]+"; "+name+"="+two.cookies[name]))
			r.Host = c.host
			w := httptest.NewRecorder()
			with(p).ServeHTTP(w, r)
			var expired []string
			for _, set := range w.Result().Cookies() {
				assert.Equal(t, name, set.Name)
				assert.Empty(t, set.Value, "%s: a token", c.about)
				assert.True(t, set.Expires.Before(time.Now()), c.about)
				expired = append(expired, set.Domain)
			}
			want := c.want
			if p == revisit.Deny { // which takes all of them
				want = append([]string{c.cookie.Domain}, want...)
			}
			assert.Equal(t, want, expired, "%s, %v", c.about, p)
			if want != nil {
				assert.True(t, isPrivate(w.Result()), c.about)
			}
			if p == revisit.Deny {
				continue
			}
			again := newBrowser(with(p))
			again.cookies[name] = one.cookies[name]
			assert.Equal(t, idOf(first), idOf(again.get("/")), "the one that stays")
		}
	}
}
