package revisit_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/revisit-go/revisit"
)

const acceptPage = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

// with makes one kind of several.
func with(kinds ...kind) kind {
	return func(h http.Header) {
		for _, k := range kinds {
			k(h)
		}
	}
}

// What a service worker makes of a navigation, as measured in Chromium 156 and Firefox 153.
func forwarded(site, mode string) kind {
	return with(metadata(site, mode, "empty"), header("Accept", acceptPage), header("Upgrade-Insecure-Requests", "1"))
}

// A navigation that a service worker hands on is a page view, and knows its visitor,
// though it comes from a payment page. What script can ask for is neither.
func TestNavigationsThatAServiceWorkerHandsOn(t *testing.T) {
	for _, c := range []struct {
		name string
		kind kind
		page bool
	}{
		{"Chromium, typed", forwarded("none", "navigate"), true},
		{"Chromium, a link", forwarded("same-origin", "navigate"), true},
		{"Chromium, from another site", forwarded("cross-site", "navigate"), true},
		{"Chromium, from a sister host", forwarded("same-site", "navigate"), true},
		{"Firefox", forwarded("same-origin", "same-origin"), true},
		{"with navigation preload", with(link, header("Service-Worker-Navigation-Preload", "true")), true},
		{"script, in that mode", metadata("same-origin", "same-origin", "empty"), false},
		{"script that asks for HTML", with(metadata("same-origin", "same-origin", "empty"), header("Accept", acceptPage)), false},
		{"script that asks for https", with(metadata("same-origin", "same-origin", "empty"), header("Upgrade-Insecure-Requests", "1"), header("Accept", "*/*")), false},
		{"script with CORS", with(forwarded("same-origin", "cors")), false},
		{"a page that was asked for by its address", with(fetch, header("Accept", "*/*")), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			store := newAllStore(t)
			b := newBrowser(site(newTracker(t, revisit.Config{Store: store}), seen))
			first := b.get("/")
			resp := b.get("/thanks?utm_source=crm", c.kind)
			assert.Equal(t, idOf(first), idOf(resp))
			want := int64(1)
			if c.page {
				want = 2
			}
			r := record(t, store, first)
			assert.Equal(t, want, r.Hits)
			assert.Len(t, r.Touches, int(want))
		})
	}
	// Nothing of the sort is for another site to say.
	for _, k := range []kind{metadata("cross-site", "cors", "empty"), metadata("cross-site", "same-origin", "empty"), metadata("cross-site", "no-cors", "empty")} {
		b := newBrowser(newTracker(t, revisit.Config{}).Handler(seen))
		b.get("/")
		resp := b.get("/", k)
		assert.Empty(t, idOf(resp))
		assert.False(t, hasToken(resp))
	}
	// A picture that is handed on starts no session.
	b := newBrowser(newTracker(t, revisit.Config{}).Handler(seen))
	assert.False(t, hasToken(b.get("/logo", metadata("same-origin", "no-cors", "empty"), header("Accept", "image/avif,*/*"))))
}

// What nobody has asked for yet, by all the names that it has.
func TestPrefetchesByAllTheirNames(t *testing.T) {
	for _, name := range []string{"Purpose", "X-Purpose", "X-Sec-Purpose", "X-Moz"} {
		for value, want := range map[string]bool{
			"prefetch": true, "Prefetch": true, "preview": true, ": preview": true, "prefetch;prerender": true, "prerender": true,
			"": false, "navigate": false, strings.Repeat("x", 1<<20) + "prefetch": false,
		} {
			for _, k := range []kind{typed, with(bare, header("Accept", acceptPage))} {
				tracker := newTracker(t, revisit.Config{})
				resp := newBrowser(tracker.Handler(seen)).get("/?utm_source=fb", k, header(name, value))
				assert.Equal(t, !want, idOf(resp) != "", "%s: %.20s", name, value)
			}
		}
	}
}

// What a client without Fetch Metadata asks for, and whether that is a page view.
func TestWhatIsAskedForWithoutMetadata(t *testing.T) {
	const mozilla = "Mozilla/5.0 (X11; Linux x86_64)"
	for _, c := range []struct {
		name, accept, agent, referer string
		mint                         bool
		hits                         int64
	}{
		{"a page", acceptPage, mozilla, "", true, 1},
		{"a page, by a link", acceptPage, mozilla, "http://example.com/", true, 1},
		{"an old Android's page", "application/xml,application/xhtml+xml,text/html;q=0.9,*/*;q=0.8", mozilla, "", true, 1},
		{"JSON", "application/json", "okhttp/4", "", true, 0},
		{"JSON, or anything", "application/json, text/plain, */*", mozilla, "http://example.com/", true, 0},
		{"JSON, or a page", "text/html, Application/JSON;q=0.9", "curl/8", "", true, 0},
		{"a kind of JSON", "application/vnd.api+json", "curl/8", "", true, 0},
		{"GraphQL", "application/graphql-response+json, application/json;q=0.9", "curl/8", "", true, 0},
		{"events", "text/event-stream", mozilla, "http://example.com/", true, 0},
		{"XML", "application/xml", "curl/8", "", true, 0},
		{"anything, by hand", "*/*", "curl/8", "", true, 1},
		{"nothing said", "", "Go-http-client/1.1", "", true, 1},
		{"anything, by a page's script", "*/*", mozilla, "http://example.com/", true, 0},
		{"anything, by a worker's script", "*/*", mozilla, "", true, 0},
		{"a picture", "image/avif,image/webp,*/*", mozilla, "http://example.com/", false, 0},
		{"JSON, behind much else", strings.Repeat("x/y,", 1<<18) + "application/json", "curl/8", "", true, 0},
		{"a page, and much else", acceptPage + strings.Repeat(",image/x", 1<<17) + ",application/json", mozilla, "", true, 1},
		{"a style", "text/css,*/*;q=0.1", mozilla, "http://example.com/", false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			store := newAllStore(t)
			b := newBrowser(newTracker(t, revisit.Config{Store: store}).Handler(seen))
			var kinds []kind
			for name, value := range map[string]string{"Accept": c.accept, "User-Agent": c.agent, "Referer": c.referer} {
				if value != "" {
					kinds = append(kinds, header(name, value))
				}
			}
			resp := b.get("/", append(kinds, bare)...)
			assert.Equal(t, c.mint, hasToken(resp))
			if c.mint {
				assert.Equal(t, c.hits, record(t, store, resp).Hits)
			}
		})
	}
}

// A tab that polls is no page view, so the visit ends, and the next day's referral is a
// touch; in a browser without Fetch Metadata, too.
func TestATabThatPollsKeepsNoVisitOpen(t *testing.T) {
	for _, poll := range []kind{
		header("Accept", "*/*"), header("Accept", "application/json, text/plain, */*"), header("Accept", "text/event-stream"),
	} {
		synctest.Test(t, func(t *testing.T) {
			store := newAllStore(t)
			b := newBrowser(newTracker(t, revisit.Config{Store: store}).Handler(seen))
			b.userAgent = "Mozilla/5.0 (iPhone) Safari"
			first := b.get("/", header("Accept", acceptPage))
			for range 24 * 6 {
				time.Sleep(10 * time.Minute)
				b.get("/api/news", poll, header("Referer", "http://example.com/"))
			}
			b.get("/story", header("Accept", acceptPage), header("Referer", "https://news.example/"))
			r := record(t, store, first)
			assert.EqualValues(t, 2, r.Hits)
			assert.EqualValues(t, 2, r.Visits)
			require.Len(t, r.Touches, 2)
			assert.Equal(t, "news.example", r.Touches[1].Source)
		})
	}
}

// A fetch to another host of the site brings no cookies, unless its script asks to: that it
// has none begins no session. One that has them is the visitor's.
func TestFetchesToAnotherHostOfTheSite(t *testing.T) {
	for _, k := range []kind{
		metadata("same-site", "cors", "empty"), metadata("same-site", "no-cors", "empty"),
		with(bare, header("Origin", "http://www.example.com"), header("Accept", "*/*")),
		with(bare, header("Origin", "http://www.example.com")),
	} {
		for _, strategy := range []revisit.Strategy{nil, revisit.ETag{}, revisit.Cookie{}} {
			store := newAllStore(t)
			b := newBrowser(newTracker(t, revisit.Config{Store: store, Strategy: strategy}).Handler(seen))
			b.blocksCookies = true
			for range 3 {
				resp := b.get("/api/cart", k)
				assert.Empty(t, idOf(resp))
				assert.False(t, hasToken(resp))
			}
			assert.Empty(t, store.records(t))

			b.blocksCookies = false
			first := b.get("/api/cart")
			if _, ok := strategy.(revisit.ETag); !ok {
				assert.Equal(t, idOf(first), idOf(b.get("/api/other", k)), "with its cookie")
			}
		}
	}
	// A page of another host of the site is a page, though.
	assert.True(t, hasToken(newBrowser(newTracker(t, revisit.Config{}).Handler(seen)).get("/", metadata("same-site", "navigate", "document"))))
}
