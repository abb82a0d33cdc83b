package revisit_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/revisit-go/revisit"
)

// answers are the ways in which a page can answer, by path.
var answers = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	path, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch path {
	case "typed":
		h.Set("Content-Type", "text/html; charset=utf-8")
		io.WriteString(w, "<p>page")
	case "sniffed":
		io.WriteString(w, "<!DOCTYPE html><p>page")
	case "status first":
		w.WriteHeader(http.StatusOK)
		io.WriteString(w, "<!DOCTYPE html><p>page")
	case "flushed":
		h.Set("Content-Type", "text/html")
		w.(http.Flusher).Flush()
		io.WriteString(w, "<p>page")
	case "copied":
		h.Set("Content-Type", "text/html")
		w.(io.ReaderFrom).ReadFrom(strings.NewReader("<p>page"))
	case "own tag":
		h.Set("Etag", `"v1"`)
		http.ServeContent(w, r, "x.html", time.Time{}, strings.NewReader("<p>the page"))
	case "dated":
		http.ServeContent(w, r, "x.html", time.Unix(1e9, 0), strings.NewReader("<p>the page"))
	case "no-cache":
		h.Set("Cache-Control", "no-cache")
		h.Set("Etag", `"v1"`)
		http.ServeContent(w, r, "x.html", time.Time{}, strings.NewReader("<p>the page"))
	case "redirect":
		http.Redirect(w, r, "/elsewhere", http.StatusMovedPermanently)
	case "not found":
		http.NotFound(w, r)
	case "broken":
		http.Error(w, "broken", http.StatusInternalServerError)
	case "nothing":
	case "public":
		h.Set("Cache-Control", "public, max-age=60")
		h.Set("Etag", `"v1"`)
		http.ServeContent(w, r, "x.html", time.Time{}, strings.NewReader("<p>the page"))
	case "max-age":
		h.Set("Cache-Control", "max-age=60")
		h.Set("Content-Type", "text/html")
		io.WriteString(w, "<p>page")
	case "json":
		h.Set("Content-Type", "application/json")
		io.WriteString(w, "{}")
	case "css":
		h.Set("Content-Type", "text/css")
		io.WriteString(w, "p {}")
	case "script":
		http.ServeContent(w, r, "x.js", time.Unix(1e9, 0), strings.NewReader("alert(1)"))
	case "font":
		h.Set("Content-Type", "font/woff2")
		h.Set("Etag", `"v1"`)
		io.WriteString(w, "wOF2")
	case "x.css", "x.js":
		h.Set("Etag", `"v1"`)
		http.ServeContent(w, r, path, time.Unix(1e9, 0), strings.NewReader("x"))
	case "picture":
		io.WriteString(w, "\x89PNG\x0D\x0A\x1A\x0A and so on")
	case "manifest":
		h.Set("Content-Type", "application/manifest+json")
		io.WriteString(w, "{}")
	default:
		io.WriteString(w, "nobody knows what")
	}
})

func isPrivate(resp *http.Response) bool {
	for directive := range strings.SplitSeq(strings.Join(resp.Header["Cache-Control"], ","), ",") {
		if strings.TrimSpace(directive) == "private" {
			return true
		}
	}
	return false
}

// A page is private for everybody, or for nobody: a shared cache that had kept the copy of
// a crawler would put a visitor's token into it with the visitor's 304 (seen behind Squid).
func TestAURLIsPersonalOrSharedForEverybody(t *testing.T) {
	kinds := map[string][]kind{
		"typed": {typed}, "link": {link}, "from another site": {clickFrom}, "in a frame": {framed}, "no browser": {bare}, "prefetch": {typed, header("Sec-Purpose", "prefetch")},
		"as an image": {image}, "as an image elsewhere": {embedded}, "fetched": {fetch}, "Accept of an image": {header("Accept", "image/*")},
		"a robot": {bare, header("User-Agent", "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)")},
		"a part":  {typed, header("Range", "bytes=0-2")}, "a part that is not there": {typed, header("Range", "bytes=900-")},
		"what it has":                    {typed, header("If-None-Match", `"v1"`), header("If-Modified-Since", "Wed, 09 Sep 2026 09:09:09 GMT")},
		"no consent cookie, but Sec-GPC": {typed, header("Sec-Gpc", "1")},
	}
	for _, path := range []string{"typed", "sniffed", "status first", "flushed", "copied", "own tag", "dated", "no-cache", "redirect", "not found", "broken", "public", "max-age"} {
		shared := path == "public" || path == "max-age"
		url := "/" + strings.ReplaceAll(path, " ", "%20")
		for _, strategy := range []revisit.Strategy{nil, revisit.ETag{}, revisit.ETag{HashLimit: -1}, revisit.Hybrid(revisit.ETag{}, revisit.Fingerprint{})} {
			memory := revisit.NewMemoryStore(revisit.MemoryOptions{})
			defer memory.Close()
			with := func(p revisit.Permission) http.Handler {
				return newTracker(t, revisit.Config{Strategy: strategy, Consent: grant(p), Store: memory}).Handler(answers)
			}
			known := newBrowser(with(revisit.Restore))
			known.get(url)
			known.get(url)
			for _, p := range []revisit.Permission{revisit.Unasked, revisit.Recognise, revisit.Restore, revisit.Deny} {
				h := with(p)
				for name, kinds := range kinds {
					for _, method := range []string{"GET", "HEAD"} {
						old := known.clone()
						old.handler = h
						for who, b := range map[string]*browser{"newcomer": newBrowser(h), "returning": old} {
							about := fmt.Sprintf("%s %s, %T, %v, %s, %s", method, path, strategy, p, name, who)
							resp := b.do(method, url, kinds...)
							if status := resp.StatusCode; shared && status == http.StatusRequestedRangeNotSatisfiable {
								// net/http takes the handler's header off such an error, which no cache keeps.
							} else if shared {
								assert.False(t, hasToken(resp), about)
								assert.False(t, isPrivate(resp), about)
							} else if untyped := resp.Header.Get("Content-Type") == ""; !assert.True(t, isPrivate(resp) || untyped && (status == 304 || method == "HEAD" || path == "status first"), about) {
								t.Log(resp.Status, resp.Header)
							}
						}
					}
				}
			}
		}
	}
}

// A visitor who was not asked, a robot and a visitor who said no get the handler's own
// answer: private is all that is added to it.
func TestNothingButPrivateIsAdded(t *testing.T) {
	for _, path := range []string{"typed", "sniffed", "own tag", "dated", "no-cache", "redirect", "not found", "broken", "nothing", "public", "max-age", "css", "json", "script", "font", "unknown"} {
		url := "/" + strings.ReplaceAll(path, " ", "%20")
		for name, p := range map[string]revisit.Permission{"not asked": revisit.Unasked, "said no": revisit.Deny, "a robot": revisit.Restore} {
			for _, method := range []string{"GET", "HEAD", "POST"} {
				for _, more := range []kind{bare, header("Range", "bytes=0-2"), header("If-None-Match", `"v1"`)} {
					c := revisit.Config{Consent: grant(p), Bot: func(*http.Request) bool { return name == "a robot" }}
					b := newBrowser(newTracker(t, c).Handler(answers))
					got, want := b.do(method, url, typed, more), newBrowser(answers).do(method, url, typed, more)
					assert.Equal(t, want.StatusCode, got.StatusCode)
					gotBody, _ := io.ReadAll(got.Body)
					wantBody, _ := io.ReadAll(want.Body)
					assert.Equal(t, string(wantBody), string(gotBody))
					if isPrivate(got) && !isPrivate(want) {
						own := want.Header.Get("Cache-Control")
						want.Header.Set("Cache-Control", strings.TrimSuffix("private, "+own, ", "))
					}
					assert.Equal(t, want.Header, got.Header, "%s %s, %s", method, path, name)
				}
			}
		}
	}
}

// What pages are made of goes out as the handler wrote it, so that browsers and CDNs keep
// it: a newcomer's shop made 24 requests for five pages, and 69 with tags on everything.
func TestAssetsAreLeftAlone(t *testing.T) {
	type asked struct {
		path  string
		kinds []kind
	}
	var all []asked
	for _, dest := range []string{"style", "script", "image", "font", "audio", "video", "track", "manifest", "worker", "sharedworker", "serviceworker"} {
		for _, path := range []string{"css", "script", "font", "picture", "unknown"} {
			all = append(all, asked{path, []kind{metadata("same-origin", "no-cors", dest)}}, asked{path, []kind{metadata("cross-site", "no-cors", dest)}})
		}
	}
	for _, accept := range []string{"image/avif,image/webp,*/*;q=0.8", "text/css,*/*;q=0.1", "font/woff2", "audio/*, video/*"} {
		all = append(all, asked{"unknown", []kind{header("Accept", accept)}})
	}
	// The response says so, whatever the request does.
	for _, path := range []string{"css", "script", "font", "picture", "manifest"} {
		all = append(all, asked{path, []kind{bare}}, asked{path, []kind{header("Accept", "*/*")}}, asked{path, []kind{typed}}, asked{path, []kind{fetch}})
	}
	// A 304 says nothing of what it is of.
	for _, kinds := range [][]kind{{bare}, {header("Accept", "*/*")}, {metadata("same-origin", "no-cors", "image")}} {
		conditional := append(kinds, header("If-None-Match", `"v1"`), header("If-Modified-Since", "Wed, 09 Sep 2026 09:09:09 GMT"))
		all = append(all, asked{"font", conditional}, asked{"script", conditional}, asked{"x.css", conditional}, asked{"x.js", conditional})
	}
	for _, strategy := range []revisit.Strategy{nil, revisit.Cookie{}, revisit.ETag{}, revisit.ETag{HashLimit: -1}, revisit.Hybrid(revisit.Cookie{}, revisit.ETag{}, revisit.Fingerprint{})} {
		for _, a := range all {
			tracker := newTracker(t, revisit.Config{Strategy: strategy})
			b := newBrowser(tracker.Handler(answers))
			for _, who := range []string{"newcomer", "returning"} {
				r := b.request("GET", "/"+a.path, a.kinds...)
				got, want := httptest.NewRecorder(), httptest.NewRecorder()
				b.handler.ServeHTTP(got, r)
				answers.ServeHTTP(want, r)
				assert.Equal(t, want.Result().Header, got.Result().Header, "%s, %T, %s, %v", a.path, strategy, who, r.Header)
				assert.Equal(t, want.Body.String(), got.Body.String())
				b.get("/typed")
			}
		}
	}
}

// A subresource confirms a session by its cookie, as the second request of a browser.
func TestAnAssetConfirmsASession(t *testing.T) {
	tracker := newTracker(t, revisit.Config{})
	b := newBrowser(tracker.Handler(answers))
	b.get("/typed")
	assert.Zero(t, tracker.Stats().Confirmed)
	b.get("/css", metadata("same-origin", "no-cors", "style"))
	assert.EqualValues(t, 1, tracker.Stats().Confirmed)
}

// Data for scripts has a tag only where nothing else could say who asks.
func TestDataIsTaggedUnderETagAlone(t *testing.T) {
	for _, c := range []struct {
		strategy revisit.Strategy
		want     bool
	}{
		{revisit.ETag{}, true}, {revisit.Hybrid(revisit.ETag{}, revisit.Fingerprint{}), true},
		{nil, false}, {revisit.Hybrid(revisit.ETag{}, appHeader{}), false},
	} {
		for _, path := range []string{"json", "unknown"} {
			b := newBrowser(newTracker(t, revisit.Config{Strategy: c.strategy}).Handler(answers))
			b.get("/typed")
			resp := b.get("/"+path, fetch)
			assert.Equal(t, c.want, hasToken(resp), "%T, %s", c.strategy, path)
			if path == "json" {
				assert.True(t, isPrivate(resp), "%T: for scripts as for others", c.strategy)
				assert.True(t, isPrivate(newBrowser(b.handler).get("/json", bare)))
			} else if resp.Header.Get("X-App-Visitor") == "" { // which rides on anything
				assert.Equal(t, c.want, isPrivate(resp), "%T, %s", c.strategy, path)
			}
		}
	}
}

// A field with a megabyte of tags is looked at no further: the handler gets it as it came.
func TestALongListOfTagsIsLeftAlone(t *testing.T) {
	var got http.Header
	tracker := newTracker(t, revisit.Config{Strategy: revisit.ETag{}})
	b := newBrowser(tracker.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Clone()
		w.Header().Set("Etag", `"v1"`)
		http.ServeContent(w, r, "x.html", time.Time{}, strings.NewReader("<p>the page"))
	})))
	b.get("/")
	tag := b.tags["/"]
	for _, name := range []string{"If-None-Match", "If-Match", "If-Range"} {
		long := strings.Repeat(tag+", ", 200) + tag
		before := tracker.Stats()
		b.get("/", typed, header("If-None-Match", ""), header(name, long))
		assert.Equal(t, long, got.Get(name))
		assert.Equal(t, before.Forged+1, tracker.Stats().Forged)
		assert.Equal(t, before.Returning["etag"], tracker.Stats().Returning["etag"])
	}
	assert.Equal(t, 304, b.get("/", typed, header("If-None-Match", strings.Repeat(`"x", `, 100)+tag)).StatusCode)
}
