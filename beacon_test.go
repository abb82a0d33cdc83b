package revisit_test

import (
	"context"
	"errors"
	"fmt"
	"image/gif"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/revisit-go/revisit"
)

const (
	anchor = "/revisit/pixel.gif"
)

var (
	frame  = metadata("same-origin", "navigate", "iframe")
	posted = metadata("same-origin", "navigate", "document")
)

// tagged is a page that includes Tag and Field, and tells what seen tells.
var tagged = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	if s, ok := revisit.FromContext(r.Context()); ok {
		w.Header().Set("X-Id", s.ID.String())
		w.Header().Set("X-Via", s.Via)
	}
	fmt.Fprintf(w, "<title>%s</title>%s", r.URL.Path, revisit.Tag(r.Context(), revisit.NoScript()))
})

// site mounts the beacon beside wrapped pages.
func site(t *revisit.Tracker, pages http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", t.Handler(pages))
	mux.Handle("/revisit/", t.Beacon())
	return mux
}

var (
	serverTiming = regexp.MustCompile(`rv;desc="([A-Za-z0-9_-]{51})"`)
	framed51     = regexp.MustCompile(`<noscript><iframe src="/revisit/link/([A-Za-z0-9_-]{51})" hidden></iframe></noscript>`)
)

func linkOf(resp *http.Response) string {
	if m := serverTiming.FindStringSubmatch(strings.Join(resp.Header["Server-Timing"], ", ")); m != nil {
		return m[1]
	}
	return ""
}

// open loads a page and does what the browser does then: with script what
// revisit.js does, else what the frame does.
func (b *browser) open(url string, script bool, kinds ...kind) *http.Response {
	resp := b.get(url, kinds...)
	b.join(url, resp, script)
	return resp
}

func (b *browser) join(page string, resp *http.Response, script bool) (joined *http.Response) {
	if script {
		if link := linkOf(resp); link != "" {
			return b.get(anchor, fetch, header("Revisit-Link", link))
		}
		return nil
	}
	m := framed51.FindStringSubmatch(b.bodies[page])
	if m == nil {
		return nil
	}
	inside := b.get("/revisit/link/"+m[1], frame, header("Referer", "http://example.com"+page))
	body, _ := io.ReadAll(inside.Body)
	if !strings.Contains(string(body), `<img src="../pixel.gif"`) {
		return nil
	}
	return b.get(anchor, image, header("Referer", "http://example.com/revisit/link/"+m[1]))
}

// sessions returns the records of sessions, without aliases and tombstones.
func (s *allStore) sessions(t *testing.T) (confirmed, all []revisit.Record) {
	for _, r := range s.records(t) {
		if !r.IsSession() {
			continue
		}
		all = append(all, r)
		if r.Confirmed {
			confirmed = append(confirmed, r)
		}
	}
	return confirmed, all
}

func newAllStore(t testing.TB) *allStore {
	m := revisit.NewMemoryStore(revisit.MemoryOptions{SweepEvery: 24 * time.Hour}) // bubbles sleep for years
	t.Cleanup(func() { m.Close() })
	return &allStore{Store: m, ids: make(map[revisit.ID]bool)}
}

// Invariant 3, over many pages: however the browser carries tokens, and whether
// it runs script, it ends as one confirmed session, and each view counts once.
func TestManyPagesAreOneVisitor(t *testing.T) {
	for _, c := range []struct {
		name     string
		strategy revisit.Strategy
		cookies  bool
	}{
		{"etag", revisit.ETag{}, false},
		{"hybrid", nil, true},
		{"hybrid, cookies blocked", nil, false},
		{"cookie", revisit.Cookie{}, true},
	} {
		for _, script := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, script %v", c.name, script), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					store := newAllStore(t)
					tracker := newTracker(t, revisit.Config{Strategy: c.strategy, Store: store})
					b := newBrowser(site(tracker, tagged))
					b.blocksCookies = !c.cookies
					hits := int64(0)
					open := func(page int) *http.Response {
						resp := b.open(fmt.Sprint("/", page), script)
						require.Contains(t, []int{200, 304}, resp.StatusCode)
						hits++
						time.Sleep(7 * time.Second)
						return resp
					}
					first := open(0)
					for round := range 2 {
						for page := range 5 {
							if round == 0 && page == 0 {
								continue
							}
							open(page)
						}
					}
					delete(b.tags, "/2") // a hard reload
					open(2)
					if c.name != "cookie" {
						clear(b.cookies)
					}
					for page := range 10 {
						open(page)
					}
					for page := range 10 {
						assert.Equal(t, idOf(first), idOf(open(page)), "page %d: every carrier is on the winner", page)
					}
					confirmed, all := store.sessions(t)
					require.Len(t, all, 1)
					require.Len(t, confirmed, 1)
					assert.Equal(t, hits, confirmed[0].Hits)
					assert.EqualValues(t, 1, confirmed[0].Visits)
					assert.Equal(t, idOf(first), confirmed[0].ID.String())
				})
			})
		}
	}
}

// The negative control: without the anchor the same walk makes a session of each
// page.
func TestWithoutTheBeaconEachPageIsASession(t *testing.T) {
	store := newAllStore(t)
	b := newBrowser(newTracker(t, revisit.Config{Strategy: revisit.ETag{}, Store: store}).Handler(tagged))
	for range 2 {
		for page := range 5 {
			resp := b.open(fmt.Sprint("/", page), true)
			assert.Empty(t, resp.Header["Server-Timing"], "nobody would read it")
			assert.NotContains(t, b.bodies[fmt.Sprint("/", page)], "revisit.js")
		}
	}
	confirmed, _ := store.sessions(t)
	assert.Len(t, confirmed, 5)
}

// Once all is joined, a round of visits costs nothing more than one without
// links: no page changes, no count is used up.
func TestAJoinedSiteIsQuiet(t *testing.T) {
	for _, script := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			store := newAllStore(t)
			tracker := newTracker(t, revisit.Config{Strategy: revisit.ETag{}, Store: store})
			b := newBrowser(site(tracker, tagged))
			for range 3 {
				for page := range 4 {
					b.open(fmt.Sprint("/", page), script)
					time.Sleep(time.Second)
				}
			}
			joined := tracker.Stats().LinksUsed
			before, _ := store.sessions(t)
			for page := range 4 {
				resp := b.open(fmt.Sprint("/", page), script)
				assert.Equal(t, 304, resp.StatusCode, "page %d", page)
				assert.NotEmpty(t, linkOf(resp), "a 304 has a link, too")
			}
			after, _ := store.sessions(t)
			assert.Equal(t, joined, tracker.Stats().LinksUsed)
			assert.Equal(t, before[0].LinksUsed, after[0].LinksUsed)
			assert.Equal(t, before[0].Hits+4, after[0].Hits)
		})
	}
}

// A browser that shows who it is by a cookie needs no link, and its pages no
// ticket: the response stays unhooked and the page the same.
func TestACookieNeedsNoLink(t *testing.T) {
	tracker := newTracker(t, revisit.Config{})
	b := newBrowser(site(tracker, tagged))
	first := b.get("/")
	assert.NotEmpty(t, linkOf(first), "whether the cookie is kept is not known yet")
	assert.Regexp(t, framed51, b.bodies["/"])
	second := b.get("/")
	assert.Empty(t, second.Header["Server-Timing"])
	assert.NotContains(t, b.bodies["/"], "iframe")
	assert.Contains(t, b.bodies["/"], "revisit.js")
}

// The carrier rule holds for links.
func TestALinkObeysTheCarrierRule(t *testing.T) {
	for control, want := range map[string]bool{
		"": true, "private": true, "no-cache": true, "no-store": true, "private, max-age=60": true,
		"public": false, "max-age=60": false, "public, max-age=0": false, "s-maxage=1": false,
	} {
		tracker := newTracker(t, revisit.Config{})
		b := newBrowser(site(tracker, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Server-Timing", "db;dur=3")
			if control != "" {
				w.Header().Set("Cache-Control", control)
			}
			seen(w, r)
		})))
		resp := b.get("/")
		assert.Equal(t, want, linkOf(resp) != "", "%q", control)
		assert.Equal(t, "db;dur=3", resp.Header["Server-Timing"][0])
		if want {
			assert.Contains(t, resp.Header.Get("Cache-Control"), "private")
		} else {
			assert.Equal(t, control, resp.Header.Get("Cache-Control"))
		}
	}
	// Also for a session that is known, on a page that has become public.
	control := ""
	b := newBrowser(site(newTracker(t, revisit.Config{Strategy: revisit.ETag{}}), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if control != "" {
			w.Header().Set("Cache-Control", control)
		}
		fmt.Fprint(w, control)
	})))
	b.get("/")
	control = "public, max-age=60"
	resp := b.get("/")
	assert.Equal(t, 200, resp.StatusCode)
	assert.Empty(t, linkOf(resp))
	assert.Equal(t, control, resp.Header.Get("Cache-Control"))
}

// Who has a link: pages and what they fetch. Not assets, prefetches, errors,
// other sites' requests, nor who is not recognised.
func TestWhatHasALink(t *testing.T) {
	for _, c := range []struct {
		name  string
		kinds []kind
		want  bool
	}{
		{"a page", []kind{typed}, true},
		{"a fetch", []kind{fetch}, true},
		{"a client without metadata", []kind{bare}, true},
		{"an image", []kind{image}, false},
		{"a prefetch", []kind{typed, header("Sec-Purpose", "prefetch")}, false},
		{"an error", []kind{typed, header("X-Status", "418")}, false},
		{"another site's image", []kind{embedded}, false},
		{"another site's frame", []kind{framed}, false},
	} {
		tracker := newTracker(t, revisit.Config{Strategy: revisit.ETag{}})
		b := newBrowser(site(tracker, seen))
		resp := b.get("/", c.kinds...)
		assert.Equal(t, c.want, linkOf(resp) != "", c.name)
	}
	for _, p := range []revisit.Permission{revisit.Unasked, revisit.Deny} {
		tracker := newTracker(t, revisit.Config{Consent: grant(p)})
		b := newBrowser(site(tracker, tagged))
		assert.Empty(t, b.get("/").Header["Server-Timing"], p)
		assert.NotContains(t, b.bodies["/"], "iframe", p)
		assert.Contains(t, b.bodies["/"], "revisit.js", "the markup is the same for everybody")
	}
}

// victimAndAttacker are two browsers of the same kind behind one address. Each
// has opened a page of its own; the attacker has not used his link.
func victimAndAttacker(t *testing.T, c revisit.Config) (store *allStore, victim, attacker *browser, link, frame string) {
	store = newAllStore(t)
	c.Store, c.Strategy = store, revisit.ETag{}
	h := site(newTracker(t, c), tagged)
	victim, attacker = newBrowser(h), newBrowser(h)
	link = linkOf(attacker.get("/mine"))
	frame = framed51.FindStringSubmatch(attacker.bodies["/mine"])[1]
	require.NotEmpty(t, link)
	victim.open("/yours", true)
	victim.open("/yours", true)
	return store, victim, attacker, link, frame
}

// A link ticket is honoured in a request that a page of this origin has made, and
// in no other: any site could send its visitors here, with a ticket of its own.
func TestNobodyIsJoinedFromAnotherSite(t *testing.T) {
	const evil = "http://evil.example/"
	for _, c := range []struct {
		name  string
		url   string
		kinds func(link, frame string) []kind
		want  bool
	}{
		{"as the script does", anchor, func(l, f string) []kind { return []kind{fetch, header("Revisit-Link", l)} }, true},
		{"as the frame does", anchor, func(l, f string) []kind {
			return []kind{image, header("Referer", "http://example.com/revisit/link/"+f)}
		}, true},
		{"an old browser's frame", anchor, func(l, f string) []kind {
			return []kind{bare, header("Referer", "http://example.com/revisit/link/"+f), header("Accept", "image/*")}
		}, true},
		{"an old browser's script", anchor, func(l, f string) []kind {
			return []kind{bare, header("Referer", "http://example.com/"), header("Revisit-Link", l)}
		}, true},
		{"a fetch from another site", anchor, func(l, f string) []kind {
			return []kind{metadata("cross-site", "cors", "empty"), header("Revisit-Link", l), header("Origin", "http://evil.example")}
		}, false},
		{"a fetch from a sister host", anchor, func(l, f string) []kind {
			return []kind{metadata("same-site", "cors", "empty"), header("Revisit-Link", l)}
		}, false},
		{"a navigation with an unsafe Referer", anchor, func(l, f string) []kind {
			return []kind{clickFrom, header("Referer", evil+"revisit/link/"+f)}
		}, false},
		{"a navigation with our Referer", anchor, func(l, f string) []kind {
			return []kind{link, header("Referer", "http://example.com/revisit/link/"+f)}
		}, false},
		{"a typed address", anchor, func(l, f string) []kind { return []kind{typed, header("Revisit-Link", l)} }, false},
		{"an image with an unsafe Referer", anchor, func(l, f string) []kind {
			return []kind{embedded, header("Referer", evil+"revisit/link/"+f)}
		}, false},
		{"a frame", anchor, func(l, f string) []kind { return []kind{framed, header("Referer", evil+"revisit/link/"+f)} }, false},
		{"an old browser, another site's Referer", anchor, func(l, f string) []kind {
			return []kind{bare, header("Referer", evil+"revisit/link/"+f), header("Revisit-Link", l)}
		}, false},
		{"an old browser, no Referer", anchor, func(l, f string) []kind { return []kind{bare, header("Revisit-Link", l)} }, false},
		{"an old browser, another Origin", anchor, func(l, f string) []kind {
			return []kind{bare, header("Origin", "http://evil.example"), header("Referer", "http://example.com/revisit/link/"+f)}
		}, false},
		{"another path that ends like it", anchor, func(l, f string) []kind {
			return []kind{image, header("Referer", "http://example.com/x/revisit/link/"+f)}
		}, false},
		{"the script's ticket in the frame's place", anchor, func(l, f string) []kind {
			return []kind{image, header("Referer", "http://example.com/revisit/link/"+l)}
		}, false},
		{"the frame's ticket in the script's place", anchor, func(l, f string) []kind {
			return []kind{fetch, header("Revisit-Link", f)}
		}, false},
		{"on a page that is no anchor", "/yours", func(l, f string) []kind { return []kind{fetch, header("Revisit-Link", l)} }, false},
		{"a prefetch", anchor, func(l, f string) []kind {
			return []kind{metadata("same-origin", "no-cors", "document"), header("Sec-Purpose", "prefetch"), header("Revisit-Link", l)}
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			store, victim, attacker, l, f := victimAndAttacker(t, revisit.Config{})
			_, before := store.sessions(t)
			require.Len(t, before, 2)
			victim.get(c.url, c.kinds(l, f)...)
			_, after := store.sessions(t)
			assert.Equal(t, c.want, len(after) == 1)
			if !c.want {
				assert.NotEqual(t, idOf(victim.get("/yours")), idOf(attacker.get("/mine")))
			}
		})
	}
}

// The frame has the anchor in it only for a frame of this origin.
func TestTheFrameAnswersItsOwnOrigin(t *testing.T) {
	_, b, _, _, ticket := victimAndAttacker(t, revisit.Config{})
	for _, c := range []struct {
		name  string
		kinds []kind
		want  bool
	}{
		{"a frame of this origin", []kind{frame}, true},
		{"an old browser, which does not say what for", []kind{bare, header("Referer", "http://example.com/mine")}, false},
		{"another site's frame", []kind{framed}, false},
		{"a navigation", []kind{typed}, false},
		{"a link", []kind{link}, false},
		{"an image", []kind{image}, false},
		{"a fetch", []kind{fetch}, false},
		{"a sister host's frame", []kind{metadata("same-site", "navigate", "iframe")}, false},
		{"an old browser from elsewhere", []kind{bare, header("Referer", "http://evil.example/")}, false},
		{"an old browser from nowhere", []kind{bare}, false},
	} {
		resp := b.get("/revisit/link/"+ticket, c.kinds...)
		body, _ := io.ReadAll(resp.Body)
		assert.Equal(t, c.want, strings.Contains(string(body), "pixel.gif"), c.name)
		assert.Equal(t, c.want, len(body) > 0, c.name)
		assert.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
		assert.Equal(t, "same-origin", resp.Header.Get("Referrer-Policy"))
		assert.Contains(t, resp.Header.Get("Content-Security-Policy"), "frame-ancestors 'self'")
		assert.Empty(t, resp.Cookies())
	}
}

// A link is honoured once, and not for ever, and where it was handed out.
func TestALinkIsUsedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, victim, attacker, link, _ := victimAndAttacker(t, revisit.Config{})
		attacker.get(anchor, fetch, header("Revisit-Link", link)) // his own, which he may use
		replay := func() {
			victim.get(anchor, fetch, header("Revisit-Link", link))
			assert.NotEqual(t, idOf(victim.get("/yours")), idOf(attacker.get("/mine")))
			stranger := newBrowser(victim.handler)
			stranger.get(anchor, fetch, header("Revisit-Link", link)) // who has no anchor yet
			confirmed, _ := store.sessions(t)
			assert.NotContains(t, confirmed, stranger.tags[anchor])
			stranger.open("/theirs", true)
			assert.NotEqual(t, idOf(stranger.get("/theirs")), idOf(attacker.get("/mine")))
		}
		replay()
		attacker.get("/mine")
		replay()
	})
	for _, c := range []struct {
		name string
		wait time.Duration
		edit kind
		want bool
	}{
		{"at once", 0, func(http.Header) {}, true},
		{"after nine minutes", 9 * time.Minute, func(http.Header) {}, true},
		{"after eleven minutes", 11 * time.Minute, func(http.Header) {}, false},
		{"from another browser", 0, header("User-Agent", "another"), false},
		{"in another language", 0, header("Accept-Language", "fr"), false},
	} {
		synctest.Test(t, func(t *testing.T) {
			store, victim, _, link, _ := victimAndAttacker(t, revisit.Config{})
			time.Sleep(c.wait)
			victim.get(anchor, fetch, header("Revisit-Link", link), c.edit)
			_, all := store.sessions(t)
			assert.Equal(t, c.want, len(all) == 1, c.name)
		})
	}
	store, victim, _, link, _ := victimAndAttacker(t, revisit.Config{})
	r := victim.request("GET", anchor, fetch, header("Revisit-Link", link))
	r.RemoteAddr = "198.51.100.1:1"
	victim.send(r)
	_, all := store.sessions(t)
	assert.Len(t, all, 2, "from another address")
}

// A link stays used when its session was merged into an older one.
func TestALinkStaysUsedInAnAlias(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := site(newTracker(t, revisit.Config{Strategy: revisit.ETag{}}), tagged)
		b := newBrowser(h)
		first := b.open("/", true)
		time.Sleep(time.Second)
		link := linkOf(b.open("/other", true)) // which is joined to the first
		require.Equal(t, idOf(first), idOf(b.get("/other")))
		stranger := newBrowser(h)
		stranger.get(anchor, fetch, header("Revisit-Link", link))
		stranger.open("/third", true)
		assert.NotEqual(t, idOf(first), idOf(stranger.get("/third")))
	})
}

// Under Recognise only sessions of one first burst are joined.
func TestOnlyTheFirstBurstIsJoinedWithoutRestore(t *testing.T) {
	for wait, want := range map[time.Duration]int{time.Second: 1, 11 * time.Second: 2} {
		synctest.Test(t, func(t *testing.T) {
			store := newAllStore(t)
			b := newBrowser(site(newTracker(t, revisit.Config{Store: store, Strategy: revisit.ETag{}, Consent: grant(revisit.Recognise)}), tagged))
			b.open("/a", true)
			time.Sleep(wait)
			b.open("/b", true)
			_, all := store.sessions(t)
			assert.Len(t, all, want, wait)
		})
	}
}

// A cache that hands one visitor's page to a hundred browsers does not pour them
// into one session: each has an anchor of its own, and that is reported.
func TestALeakedPageDoesNotJoinAHundredBrowsers(t *testing.T) {
	// The cache may hand out one tag for ever, or renew it by the last answer.
	for round := range 4 {
		renews := round%2 == 0
		synctest.Test(t, func(t *testing.T) {
			config := revisit.Config{Strategy: revisit.ETag{}}
			if round < 2 {
				config.Store = newAllStore(t) // in a memory store, sessions go on in their place
			}
			tracker := newTracker(t, config)
			h := site(tracker, tagged)
			first := newBrowser(h)
			first.open("/", true)
			tag := first.tags["/"]
			var all []*browser
			for i := range 100 {
				b := newBrowser(h)
				if i%2 == 0 {
					b.open("/other", true) // it has been here before
				}
				b.tags["/"] = tag
				b.open("/", true)
				if renews {
					tag = b.tags["/"]
				}
				all = append(all, b)
				time.Sleep(time.Minute)
			}
			together := map[string]int{}
			for _, b := range all {
				together[idOf(b.get("/"))]++
			}
			for id, n := range together {
				assert.LessOrEqual(t, n, 8, id)
			}
			assert.Positive(t, tracker.Stats().Leaked)
			assert.Greater(t, tracker.Stats().LinksUsed, int64(4))
		})
	}
}

// The anchor is an image that no shared cache keeps, and that is not sent twice.
func TestTheAnchorIsAPixel(t *testing.T) {
	b := newBrowser(site(newTracker(t, revisit.Config{Strategy: revisit.ETag{}}), tagged))
	resp := b.get(anchor, image)
	assert.Equal(t, "image/gif", resp.Header.Get("Content-Type"))
	assert.Equal(t, "private, no-cache", resp.Header.Get("Cache-Control"))
	assert.Equal(t, "nosniff", resp.Header.Get("X-Content-Type-Options"))
	assert.True(t, hasToken(resp))
	picture, err := gif.Decode(resp.Body)
	require.NoError(t, err)
	assert.Equal(t, 1, picture.Bounds().Dx())
	assert.Equal(t, 1, picture.Bounds().Dy())
	_, _, _, alpha := picture.At(0, 0).RGBA()
	assert.Zero(t, alpha)
	assert.Equal(t, 304, b.get(anchor, image).StatusCode)
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS"} {
		assert.Equal(t, 405, b.do(method, anchor, fetch).StatusCode, method)
	}
	assert.Equal(t, 404, b.get("/revisit/", typed).StatusCode)
	assert.Equal(t, 404, b.get("/revisit/other", typed).StatusCode)
	for _, kinds := range [][]kind{{embedded}, {framed}, {typed}, {clickFrom}} {
		assert.False(t, hasToken(newBrowser(b.handler).get(anchor, kinds...)))
	}
}

// The script is for everybody and small, and a new one has a new address.
func TestTheScriptIsCacheable(t *testing.T) {
	b := newBrowser(site(newTracker(t, revisit.Config{}), tagged))
	b.get("/")
	src := regexp.MustCompile(`src="(/revisit/revisit\.js\?v=[0-9a-f]+)"`).FindStringSubmatch(b.bodies["/"])
	require.NotNil(t, src)
	resp := b.get(src[1], metadata("same-origin", "no-cors", "script"))
	assert.Equal(t, "public, max-age=31536000, immutable", resp.Header.Get("Cache-Control"))
	assert.Equal(t, "text/javascript; charset=utf-8", resp.Header.Get("Content-Type"))
	assert.False(t, hasToken(resp))
	assert.Empty(t, resp.Header["Server-Timing"])
	assert.Less(t, len(b.bodies[src[1]]), 4096)
	assert.Equal(t, 304, b.get(src[1]).StatusCode)
	assert.Equal(t, "public, max-age=3600", b.get("/revisit/revisit.js").Header.Get("Cache-Control"), "an address without the version is asked for again")
}

// A page view that the beacon alone has seen.
func TestTheBeaconCountsWhatIsNotWrapped(t *testing.T) {
	const news = "https://news.example/story"
	for _, c := range []struct {
		name  string
		kinds []kind
		hits  int64
		touch revisit.Touch
	}{
		{"a static page's image", []kind{image, header("Referer", "http://example.com/static/page?utm_source=mail&x=y")}, 1,
			revisit.Touch{Landing: "/static/page", Source: "mail"}},
		{"an image of a page that does not say who it is", []kind{image}, 0, revisit.Touch{}},
		{"an old browser's image", []kind{bare, header("Accept", "image/*"), header("Referer", "http://example.com/static")}, 1,
			revisit.Touch{Landing: "/static"}},
		{"a view", []kind{fetch, header("Revisit-Page", "/spa/cart?utm_campaign=x#part"), header("Revisit-Referrer", news)}, 1,
			revisit.Touch{Landing: "/spa/cart", Campaign: "x", Referrer: news}},
		{"a route in the fragment", []kind{fetch, header("Revisit-Page", "/spa#/cart?token=1"), header("Revisit-Referrer", news)}, 1,
			revisit.Touch{Landing: "/spa#/cart", Source: "news.example", Medium: "referral", Referrer: news}},
		{"a secret in the fragment", []kind{fetch, header("Revisit-Page", "/spa#access_token=1")}, 1, revisit.Touch{Landing: "/spa"}},
		{"the landing page, after consent", []kind{fetch, header("Revisit-Landing", "/?utm_source=mail"), header("Revisit-Referrer", news)}, 1,
			revisit.Touch{Landing: "/", Source: "mail", Referrer: news}},
		{"consent on the second page", []kind{fetch, header("Revisit-Landing", "/second"), header("Revisit-Referrer", "http://example.com/first?utm_source=mail")}, 1,
			revisit.Touch{Landing: "/first", Source: "mail"}},
		{"no view", []kind{fetch}, 0, revisit.Touch{}},
		{"a page elsewhere", []kind{fetch, header("Revisit-Page", "https://evil.example/")}, 0, revisit.Touch{}},
		{"a page elsewhere, without a scheme", []kind{fetch, header("Revisit-Page", "//evil.example/x")}, 0, revisit.Touch{}},
		{"no page", []kind{fetch, header("Revisit-Page", "%zz")}, 0, revisit.Touch{}},
		{"a long page", []kind{fetch, header("Revisit-Page", "/"+strings.Repeat("x", 9000))}, 0, revisit.Touch{}},
		{"a hostile referrer", []kind{fetch, header("Revisit-Page", "/"), header("Revisit-Referrer", "javascript:alert(1)")}, 1, revisit.Touch{Landing: "/"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			store := newAllStore(t)
			b := newBrowser(site(newTracker(t, revisit.Config{Store: store}), tagged))
			require.Equal(t, 200, b.get(anchor, c.kinds...).StatusCode)
			_, all := store.sessions(t)
			require.Len(t, all, 1)
			assert.Equal(t, c.hits, all[0].Hits)
			if c.hits == 0 {
				assert.Empty(t, all[0].Touches)
				return
			}
			require.Len(t, all[0].Touches, 1)
			got := all[0].Touches[0]
			got.Time = time.Time{}
			assert.Equal(t, c.touch, got)
			b.get(anchor, c.kinds...)
			confirmed, _ := store.sessions(t)
			require.Len(t, confirmed, 1)
			want := int64(2)
			if strings.Contains(c.name, "consent") {
				want = 1 // reported twice is counted once
			}
			assert.Equal(t, want, confirmed[0].Hits)
			assert.Len(t, confirmed[0].Touches, 1)
		})
	}
}

// The landing page that is reported after consent adds where it came from to a visit
// whose pages were counted, and no page view.
func TestTheLandingPageIsReportedOnce(t *testing.T) {
	store := newAllStore(t)
	search := newBrowser(site(newTracker(t, revisit.Config{Store: store}), tagged))
	search.get("/second", header("Referer", "http://example.com/"))
	for range 2 {
		search.get(anchor, fetch, header("Revisit-Landing", "/"), header("Revisit-Referrer", "https://www.google.com/"))
	}
	found, _ := store.sessions(t)
	require.Len(t, found, 1)
	assert.EqualValues(t, 1, found[0].Hits)
	require.Len(t, found[0].Touches, 1)
	assert.Equal(t, "google", found[0].Touches[0].Source)

	store = newAllStore(t)
	b := newBrowser(site(newTracker(t, revisit.Config{Store: store}), tagged))
	b.get("/second")
	for range 2 {
		b.get(anchor, fetch, header("Revisit-Landing", "/?utm_source=mail&utm_campaign=spring"))
	}
	confirmed, _ := store.sessions(t)
	require.Len(t, confirmed, 1)
	assert.EqualValues(t, 1, confirmed[0].Hits)
	assert.EqualValues(t, 1, confirmed[0].Visits)
	require.Len(t, confirmed[0].Touches, 1, "in place of the page that seemed to be opened directly")
	assert.Equal(t, "spring", confirmed[0].Touches[0].Campaign)
	assert.Equal(t, confirmed[0].Created, confirmed[0].Touches[0].Time)
}

// Who was not asked leaves no trace at the beacon, and what an earlier consent
// has left there goes.
func TestTheBeaconAsksForConsent(t *testing.T) {
	for _, clears := range []bool{false, true} {
		testTheBeaconAsksForConsent(t, clears)
	}
}

func testTheBeaconAsksForConsent(t *testing.T, clears bool) {
	store := newAllStore(t)
	h := site(newTracker(t, revisit.Config{Store: store, Consent: revisit.OptIn("consent", "yes"), Strategy: revisit.ETag{}, ClearUnasked: clears}), tagged)
	b := newBrowser(h)
	resp := b.get(anchor, fetch, header("Revisit-Page", "/"))
	assert.False(t, hasToken(resp))
	assert.Equal(t, `"1"`, resp.Header.Get("Etag"))
	assert.Equal(t, 304, b.get(anchor, fetch, header("Revisit-Page", "/")).StatusCode)
	assert.Empty(t, store.ids)

	clear(b.tags)
	b.cookies["consent"] = "yes"
	resp = b.get(anchor, fetch, header("Revisit-Page", "/"))
	assert.True(t, hasToken(resp))
	delete(b.cookies, "consent")
	resp = b.get(anchor, image)
	status, sessions := 304, 1 // what it has stays, unread
	if clears {
		status, sessions = 200, 2
	}
	assert.Equal(t, status, resp.StatusCode)
	assert.False(t, hasToken(resp), "consent is gone")
	b.cookies["consent"] = "yes"
	b.get(anchor, fetch, header("Revisit-Page", "/"))
	_, all := store.sessions(t)
	assert.Len(t, all, sessions)
}

var fieldOf = regexp.MustCompile(`<input type="hidden" name="revisit" value="([A-Za-z0-9_-]{51})">`)

var lead = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		w.Header().Set("X-Mail", r.FormValue("mail"))
		if s, ok := revisit.FromContext(r.Context()); ok {
			if err := s.Set(r.Context(), "lead", r.FormValue("mail")); err != nil {
				w.Header().Set("X-Error", err.Error())
			}
		}
		seen(w, r)
		return
	}
	if s, ok := revisit.FromContext(r.Context()); ok {
		w.Header().Set("X-Id", s.ID.String())
	}
	fmt.Fprintf(w, "<form method=post>%s<input name=mail></form>", revisit.Field(r.Context()))
})

// post sends a form as a browser does.
func (b *browser) post(url string, form url.Values, kinds ...kind) *http.Response {
	r := b.request("POST", url, kinds...)
	r.Body = io.NopCloser(strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return b.send(r)
}

// A lead form works under ETag alone, and with cookies blocked.
func TestALeadReachesItsSession(t *testing.T) {
	for _, strategy := range []revisit.Strategy{revisit.ETag{}, nil} {
		store := newAllStore(t)
		b := newBrowser(site(newTracker(t, revisit.Config{Store: store, Strategy: strategy}), lead))
		b.blocksCookies = true
		first := b.get("/lead")
		assert.Equal(t, "private, no-cache", first.Header.Get("Cache-Control"))
		ticket := fieldOf.FindStringSubmatch(b.bodies["/lead"])
		require.NotNil(t, ticket)
		resp := b.post("/lead", url.Values{"revisit": {ticket[1]}, "mail": {"ann@example.com"}}, posted)
		assert.Equal(t, idOf(first), idOf(resp))
		assert.Equal(t, "form", viaOf(resp))
		assert.Equal(t, "ann@example.com", resp.Header.Get("X-Mail"))
		assert.Empty(t, resp.Header.Get("X-Error"))
		confirmed, _ := store.sessions(t)
		require.Len(t, confirmed, 1, "a form that comes back is a visitor's")
		assert.Equal(t, "ann@example.com", confirmed[0].Values["lead"].Text)
	}
}

// What of a form is no claim. The handler gets its body all the same.
func TestWhichFormsSpeak(t *testing.T) {
	multipart := func(name, value string) (string, string) {
		return "multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + value +
			"\r\n--b\r\nContent-Disposition: form-data; name=\"mail\"\r\n\r\na@b\r\n--b--\r\n"
	}
	urlencoded := func(form string) (string, string) { return "application/x-www-form-urlencoded", form + "&mail=a@b" }
	for _, c := range []struct {
		name  string
		form  func(ticket string) (kind, body string)
		kinds []kind
		want  bool
	}{
		{"urlencoded", func(s string) (string, string) { return urlencoded("revisit=" + s) }, []kind{posted}, true},
		{"not first", func(s string) (string, string) { return urlencoded("x=revisit=&revisitor=1&revisit=" + s) }, []kind{posted}, true},
		{"by fetch", func(s string) (string, string) { return urlencoded("revisit=" + s) }, []kind{fetch}, true},
		{"multipart", func(s string) (string, string) { return multipart("revisit", s) }, []kind{posted}, true},
		{"an old browser", func(s string) (string, string) { return urlencoded("revisit=" + s) },
			[]kind{bare, header("Origin", "http://example.com")}, true},
		{"from another site", func(s string) (string, string) { return urlencoded("revisit=" + s) }, []kind{clickFrom}, false},
		{"from a sister host", func(s string) (string, string) { return urlencoded("revisit=" + s) },
			[]kind{metadata("same-site", "navigate", "document")}, false},
		{"an old browser, from another site", func(s string) (string, string) { return urlencoded("revisit=" + s) },
			[]kind{bare, header("Origin", "http://evil.example")}, false},
		{"from nowhere", func(s string) (string, string) { return urlencoded("revisit=" + s) }, []kind{bare}, false},
		{"another browser", func(s string) (string, string) { return urlencoded("revisit=" + s) }, []kind{posted, header("User-Agent", "other")}, false},
		{"changed", func(s string) (string, string) { return urlencoded("revisit=" + flip(s)) }, []kind{posted}, false},
		{"truncated", func(s string) (string, string) { return urlencoded("revisit=" + s[:50]) }, []kind{posted}, false},
		{"another field", func(s string) (string, string) { return urlencoded("other=" + s) }, []kind{posted}, false},
		{"no form", func(s string) (string, string) { return "text/plain", "revisit=" + s + "&mail=a@b" }, []kind{posted}, false},
		{"too far behind", func(s string) (string, string) { return urlencoded("x=" + strings.Repeat("x", 4096) + "&revisit=" + s) }, []kind{posted}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBrowser(site(newTracker(t, revisit.Config{Strategy: revisit.ETag{}}), lead))
			b.get("/lead")
			kind, body := c.form(fieldOf.FindStringSubmatch(b.bodies["/lead"])[1])
			got := ""
			h := b.handler
			b.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(w, r) })
			r := b.request("POST", "/lead", c.kinds...)
			r.Header.Set("Content-Type", kind)
			r.Body = io.NopCloser(io.MultiReader(strings.NewReader(body[:20]), strings.NewReader(body[20:])))
			resp := b.send(r)
			got = idOf(resp)
			assert.Equal(t, c.want, got != "")
			if kind != "text/plain" {
				assert.Equal(t, "a@b", resp.Header.Get("X-Mail"), "the handler has its form")
			}
		})
	}
}

// A middleware further out may have read the form.
func TestAFormThatWasReadBefore(t *testing.T) {
	h := site(newTracker(t, revisit.Config{Strategy: revisit.ETag{}}), lead)
	b := newBrowser(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		h.ServeHTTP(w, r)
	}))
	first := b.get("/lead")
	resp := b.post("/lead", url.Values{"revisit": {fieldOf.FindStringSubmatch(b.bodies["/lead"])[1]}, "mail": {"x"}}, posted)
	assert.Equal(t, idOf(first), idOf(resp))
	assert.Equal(t, "x", resp.Header.Get("X-Mail"))
}

// A page with a ticket in its body is private, whatever its handler has said; and
// if the header has gone already, there is no ticket.
func TestATicketInTheBodyIsPrivate(t *testing.T) {
	for _, c := range []struct {
		name   string
		header http.Header
		flush  bool
		want   bool
	}{
		{"nothing said", http.Header{}, false, true},
		{"public", http.Header{"Cache-Control": {"public, max-age=60"}}, false, true},
		{"for CDNs", http.Header{"Cache-Control": {"private"}, "Cdn-Cache-Control": {"max-age=60"}, "Surrogate-Control": {"max-age=1"}}, false, true},
		{"an old Expires", http.Header{"Expires": {"Thu, 01 Jan 2037 00:00:00 GMT"}}, false, true},
		{"private, and gone", http.Header{"Cache-Control": {"private"}}, true, true},
		{"public, and gone", http.Header{"Cache-Control": {"public, max-age=60"}}, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBrowser(site(newTracker(t, revisit.Config{}), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				for name, lines := range c.header {
					w.Header()[name] = lines
				}
				if c.flush {
					_ = http.NewResponseController(w).Flush()
				}
				fmt.Fprint(w, "<form>", revisit.Field(r.Context()), revisit.Tag(r.Context(), revisit.NoScript()))
			})))
			resp := b.get("/")
			assert.Equal(t, c.want, fieldOf.MatchString(b.bodies["/"]))
			assert.Equal(t, c.want, framed51.MatchString(b.bodies["/"]))
			if c.want {
				assert.Contains(t, resp.Header.Get("Cache-Control"), "private")
				assert.NotContains(t, resp.Header.Get("Cache-Control"), "public")
				for _, name := range []string{"Cdn-Cache-Control", "Surrogate-Control", "Expires"} {
					assert.Empty(t, resp.Header[name], name)
				}
			}
		})
	}
}

// What Tag and Field write.
func TestTagAndField(t *testing.T) {
	tracker := newTracker(t, revisit.Config{BeaconPath: "/a&b/"})
	var tag, field string
	h := tracker.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tag = string(revisit.Tag(r.Context(), revisit.Nonce(`"r4nd0m`)))
		field = string(revisit.Field(r.Context()))
	}))
	newBrowser(h).get("/")
	assert.Empty(t, tag, "there is no script to be had")
	assert.Regexp(t, fieldOf, field)
	tracker.Beacon()
	newBrowser(h).get("/")
	assert.Regexp(t, `^<script src="/a&amp;b/revisit\.js\?v=[0-9a-f]{12}" async data-wrapped nonce="&#34;r4nd0m"></script>$`, tag)
	assert.Empty(t, revisit.Tag(t.Context()))
	assert.Empty(t, revisit.Field(t.Context()))
}

// POST forget.
func TestForgetByTheBeacon(t *testing.T) {
	store := newAllStore(t)
	tracker := newTracker(t, revisit.Config{Store: store})
	b := newBrowser(site(tracker, lead))
	first := b.get("/lead")
	other := b.clone()
	b.get("/lead")

	evil := b.do("POST", "/revisit/forget", metadata("cross-site", "navigate", "document"), header("Origin", "http://evil.example"))
	assert.Equal(t, 403, evil.StatusCode)
	assert.False(t, record(t, store, first).Forgotten)
	assert.Equal(t, 405, b.get("/revisit/forget", link).StatusCode)

	resp := b.do("POST", "/revisit/forget", fetch)
	assert.Equal(t, 204, resp.StatusCode)
	assert.Equal(t, `"cache"`, resp.Header.Get("Clear-Site-Data"))
	assert.True(t, record(t, store, first).Forgotten)
	assert.Empty(t, b.cookies, "with the same response")
	assert.NotEqual(t, idOf(first), idOf(other.get("/lead")))

	// By a form, where cookies are blocked.
	c := newBrowser(b.handler)
	second := c.get("/lead")
	clear(c.cookies)
	resp = c.post("/revisit/forget", url.Values{"revisit": {fieldOf.FindStringSubmatch(c.bodies["/lead"])[1]}}, posted,
		header("Referer", "http://example.com/lead?x=y"))
	assert.Equal(t, 303, resp.StatusCode)
	assert.Equal(t, "/lead?x=y", resp.Header.Get("Location"))
	assert.True(t, record(t, store, second).Forgotten)
	assert.Equal(t, 204, newBrowser(b.handler).do("POST", "/revisit/forget", fetch).StatusCode, "nobody to be forgotten")

	// Whose form it was cannot be said from another network: that is no success.
	d := lookalike(b.handler, "198.51.100.7:1")
	d.keepsNothing = false
	third := d.get("/lead")
	clear(d.cookies)
	d.address = "203.0.113.9:1"
	form := url.Values{"revisit": {fieldOf.FindStringSubmatch(d.bodies["/lead"])[1]}}
	assert.Equal(t, 409, d.post("/revisit/forget", form, posted).StatusCode)
	assert.False(t, record(t, store, third).Forgotten)
}

// A mux that is wrapped as a whole, and one that is mounted deeper.
func TestWhereTheBeaconIsMounted(t *testing.T) {
	store := newAllStore(t)
	tracker := newTracker(t, revisit.Config{Strategy: revisit.ETag{}, Store: store})
	mux := http.NewServeMux()
	mux.Handle("/", tagged)
	mux.Handle("/revisit/", tracker.Beacon())
	b := newBrowser(tracker.Handler(mux))
	b.open("/a", true)
	b.open("/b", true)
	_, all := store.sessions(t)
	assert.Len(t, all, 1)

	deep := newTracker(t, revisit.Config{BeaconPath: "/shop/revisit/"})
	shop := http.NewServeMux()
	shop.Handle("/revisit/", deep.Beacon())
	c := newBrowser(http.StripPrefix("/shop", shop))
	assert.Equal(t, 200, c.get("/shop/revisit/pixel.gif", image).StatusCode)

	for _, path := range []string{"revisit/", "/revisit", "/a//b/", "/a?b/", "/a b/", "/"} {
		_, err := revisit.New(revisit.Config{Consent: grant(revisit.Deny), BeaconPath: path, Keys: [][]byte{testKey}})
		assert.ErrorContains(t, err, "BeaconPath", path)
	}
}

// Links and views come from clients.
func FuzzAnchor(f *testing.F) {
	f.Add("a,b", "/x?y#z", "https://news.example/", "http://example.com/revisit/link/x")
	f.Add(strings.Repeat("A", 51), "//", "%", "http://example.com/revisit/link/")
	tracker := newTracker(f, revisit.Config{})
	h := site(tracker, seen)
	f.Fuzz(func(t *testing.T, links, page, referrer, referer string) {
		for _, dest := range []string{"image", "empty", ""} {
			r := httptest.NewRequest("GET", anchor, nil)
			if dest != "" {
				r.Header["Sec-Fetch-Site"], r.Header["Sec-Fetch-Dest"] = []string{"same-origin"}, []string{dest}
			}
			r.Header["Revisit-Link"], r.Header["Revisit-Page"] = []string{links}, []string{page}
			r.Header["Revisit-Referrer"], r.Header["Referer"] = []string{referrer}, []string{referer}
			r.Header["Revisit-Landing"] = []string{page}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != 200 {
				t.Fatalf("%d", w.Code)
			}
		}
	})
}

// A page that is joined brings its page view along, and no touch that would have
// been none had the browser been known there: not the direct hit, not the way
// back from a payment page, not the tagged page that was loaded again.
func TestAJoinedPageBringsNoTouchThatIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newAllStore(t)
		b := newBrowser(site(newTracker(t, revisit.Config{Strategy: revisit.ETag{}, Store: store}), tagged))
		look := func(visits, hits int64, touches ...string) {
			t.Helper()
			_, all := store.sessions(t)
			require.Len(t, all, 1)
			assert.Equal(t, visits, all[0].Visits)
			assert.Equal(t, hits, all[0].Hits)
			var got []string
			for _, touch := range all[0].Touches {
				got = append(got, touch.Landing+" "+touch.Source)
			}
			assert.Equal(t, touches, got)
		}
		const landing = "/?utm_source=mail&utm_campaign=spring"
		b.open(landing, true)
		time.Sleep(time.Minute)
		b.open("/product", true)
		time.Sleep(time.Minute)
		b.open("/paid", true, clickFrom, header("Referer", "https://pay.example/done"))
		time.Sleep(time.Minute)
		delete(b.tags, landing) // a hard reload
		b.open(landing, true)
		look(1, 4, "/ mail")
		time.Sleep(time.Hour)
		b.open("/story", true, clickFrom, header("Referer", "https://news.example/story"))
		look(2, 5, "/ mail", "/story news.example")
		time.Sleep(time.Minute)
		b.open("/other?utm_source=ad", true)
		look(3, 6, "/ mail", "/story news.example", "/other ad")
		time.Sleep(time.Hour)
		b.open("/late", true)
		look(4, 7, "/ mail", "/story news.example", "/other ad")
	})
}

// A page with a validator of its own has a link on its 304, too, and the rest of
// the response is what it was.
func TestALinkOnA304OfThePagesOwn(t *testing.T) {
	b := newBrowser(site(newTracker(t, revisit.Config{Strategy: revisit.ETag{}}), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"v1"`)
		http.ServeContent(w, r, "page.html", time.Time{}, strings.NewReader("the page"))
	})))
	first, second := b.get("/"), b.get("/")
	assert.Equal(t, 304, second.StatusCode)
	assert.NotEmpty(t, linkOf(second))
	assert.Equal(t, first.Header.Get("Etag"), second.Header.Get("Etag"))
	assert.Equal(t, "private, no-cache", second.Header.Get("Cache-Control"))
}

// That a page's script tells the anchor something does not say that the browser
// keeps tokens: the session is confirmed when one comes back.
func TestALinkDoesNotConfirm(t *testing.T) {
	for _, script := range []bool{true, false} {
		store := newAllStore(t)
		b := newBrowser(site(newTracker(t, revisit.Config{Strategy: revisit.ETag{}, Store: store}), tagged))
		b.open("/", script)
		confirmed, all := store.sessions(t)
		assert.Empty(t, confirmed)
		require.Len(t, all, 1)
		assert.Equal(t, 1, all[0].LinksUsed)
		b.open("/other", script)
		confirmed, all = store.sessions(t)
		assert.Len(t, confirmed, 1, "by the anchor's tag")
		assert.Len(t, all, 1)
	}
}

// What no cache may keep is not to be kept because of a ticket.
func TestATicketLeavesNoStoreAsItIs(t *testing.T) {
	for _, cc := range []string{"no-store", "no-cache, no-store, must-revalidate", "no-store, max-age=0"} {
		b := newBrowser(site(newTracker(t, revisit.Config{Strategy: revisit.ETag{}}), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", cc)
			fmt.Fprint(w, "<form>card number", revisit.Field(r.Context()))
		})))
		resp := b.get("/checkout")
		assert.Contains(t, resp.Header.Get("Cache-Control"), "no-store", cc)
		assert.False(t, hasToken(resp), cc)
	}
}

// The usual way of a form that was not filled in right.
func TestAFormThatIsShownAgainHasItsTicket(t *testing.T) {
	for _, s := range []revisit.Strategy{revisit.ETag{}, nil} {
		for _, p := range []revisit.Permission{revisit.Recognise, revisit.Restore} {
			store := newAllStore(t)
			b := newBrowser(site(newTracker(t, revisit.Config{Store: store, Strategy: s, Consent: grant(p)}), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if s, ok := revisit.FromContext(r.Context()); ok {
					w.Header().Set("X-Id", s.ID.String())
				}
				fmt.Fprintf(w, "<form method=post>%s<input name=mail></form>", revisit.Field(r.Context()))
			})))
			b.blocksCookies = true
			first := b.get("/lead")
			ticket := fieldOf.FindStringSubmatch(b.bodies["/lead"])[1]
			resp := b.post("/lead", url.Values{"revisit": {ticket}, "mail": {"not a mail"}}, posted)
			require.Equal(t, idOf(first), idOf(resp))
			body, _ := io.ReadAll(resp.Body)
			assert.Regexp(t, fieldOf, string(body), "%T %v", s, p)
		}
	}
}

// A path may look like another host.
func TestForgetLeadsBackToThisSiteOnly(t *testing.T) {
	b := newBrowser(site(newTracker(t, revisit.Config{}), lead))
	b.get("/lead")
	resp := b.do("POST", "/revisit/forget", posted, header("Referer", "http://example.com//evil.example/phish"))
	u, err := url.Parse(resp.Header.Get("Location"))
	require.NoError(t, err)
	assert.Empty(t, u.Host, resp.Header.Get("Location"))
}

// Whatever the consent is, and if the store is down: either the session is
// forgotten, or the answer is an error.
func TestForgetDoesWhatItSays(t *testing.T) {
	t.Run("deny, form", func(t *testing.T) {
		store := newAllStore(t)
		b := newBrowser(site(newTracker(t, revisit.Config{Store: store, Strategy: revisit.ETag{}, Consent: revisit.OptOut("optout")}), lead))
		first := b.get("/lead")
		b.cookies["optout"] = "1"
		resp := b.post("/revisit/forget", url.Values{"revisit": {fieldOf.FindStringSubmatch(b.bodies["/lead"])[1]}}, posted)
		assert.Less(t, resp.StatusCode, 400)
		assert.True(t, record(t, store, first).Forgotten)
	})
	t.Run("unasked, cookie", func(t *testing.T) {
		store := newAllStore(t)
		b := newBrowser(site(newTracker(t, revisit.Config{Store: store, Consent: revisit.OptIn("consent", "yes")}), lead))
		b.cookies["consent"] = "yes"
		first := b.get("/lead")
		b.get("/lead")
		delete(b.cookies, "consent")
		resp := b.do("POST", "/revisit/forget", fetch)
		assert.Less(t, resp.StatusCode, 400)
		assert.True(t, record(t, store, first).Forgotten)
	})
	t.Run("deny, store down", func(t *testing.T) {
		store := newAllStore(t)
		down := &downStore{Store: store}
		b := newBrowser(site(newTracker(t, revisit.Config{Store: down, Consent: revisit.OptOut("optout")}), lead))
		first := b.get("/lead")
		b.cookies["optout"] = "1"
		down.down = true
		resp := b.do("POST", "/revisit/forget", fetch)
		down.down = false
		assert.Equal(t, 503, resp.StatusCode)
		assert.False(t, record(t, store, first).Forgotten)
	})
}

type downStore struct {
	revisit.Store
	down bool
}

func (s *downStore) Load(ctx context.Context, id revisit.ID) (revisit.Record, error) {
	if s.down {
		return revisit.Record{}, errors.New("down")
	}
	return s.Store.Load(ctx, id)
}
func (s *downStore) Save(ctx context.Context, r revisit.Record, old int64) error {
	if s.down {
		return errors.New("down")
	}
	return s.Store.Save(ctx, r, old)
}

// A link that came too late says that the server has seen the page.
func TestALinkThatIsWorthNothingIsNoView(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newAllStore(t)
		b := newBrowser(site(newTracker(t, revisit.Config{Store: store, Strategy: revisit.ETag{}}), tagged))
		resp := b.get("/", bare)
		l := linkOf(resp)
		require.NotEmpty(t, l)
		b.get(anchor, bare, header("Referer", "http://example.com/"), header("Revisit-Link", l))
		_, all := store.sessions(t)
		require.EqualValues(t, 1, all[0].Hits)
		resp = b.get("/", bare)
		time.Sleep(11 * time.Minute) // slow, or a network that changed
		b.get(anchor, bare, header("Referer", "http://example.com/"), header("Revisit-Link", linkOf(resp)))
		_, all = store.sessions(t)
		require.Len(t, all, 1)
		assert.EqualValues(t, 2, all[0].Hits)
	})
}

// A session lists only so many of those that it has absorbed, and absorbs on.
func TestHundredsOfPagesAreOneVisitor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newAllStore(t)
		b := newBrowser(site(newTracker(t, revisit.Config{Store: store, Strategy: revisit.ETag{}}), tagged))
		for i := range 300 {
			b.open(fmt.Sprint("/product/", i), true)
			time.Sleep(time.Minute)
		}
		_, all := store.sessions(t)
		assert.Len(t, all, 1)
		for i := range 300 {
			b.open(fmt.Sprint("/product/", i), true)
			time.Sleep(time.Minute)
		}
		confirmed, _ := store.sessions(t)
		assert.Len(t, confirmed, 1)
	})
}

// An application that asks for something new all the time.
func TestHundredsOfFetchesAreOneVisitor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newAllStore(t)
		b := newBrowser(site(newTracker(t, revisit.Config{Store: store, Strategy: revisit.ETag{}}), tagged))
		b.open("/", true)
		for i := range 260 {
			b.open(fmt.Sprint("/api/messages?since=", i), true, fetch)
			time.Sleep(5 * time.Second)
		}
		b.open("/second", true)
		time.Sleep(time.Minute)
		b.open("/second", true)
		confirmed, _ := store.sessions(t)
		assert.Len(t, confirmed, 1)
		assert.NotEqual(t, idOf(b.get("/")), "")
		assert.Equal(t, idOf(b.get("/")), idOf(b.get("/second")))
	})
}

// A browser may lose its anchor with a hard reload, or a part of its cache.
func TestAnAnchorThatIsLostNowAndThenIsNoLeak(t *testing.T) {
	for _, script := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			store := newAllStore(t)
			tracker := newTracker(t, revisit.Config{Store: store, Strategy: revisit.ETag{}})
			b := newBrowser(site(tracker, tagged))
			b.open("/", script)
			time.Sleep(time.Minute)
			b.open("/two", script)
			first := b.get("/two")
			for range 10 {
				time.Sleep(30 * 24 * time.Hour)
				delete(b.tags, "/") // a hard reload, of a page and of the anchor in its frame
				delete(b.tags, anchor)
				b.open("/", script)
				time.Sleep(time.Minute)
				b.open("/two", script)
			}
			assert.Equal(t, idOf(first), idOf(b.get("/two")), "script %v", script)
			assert.Zero(t, tracker.Stats().Leaked)
		})
	}
}

// The page of a browser whose anchor has leaked stays its own.
func TestALeakedSessionTakesNothingIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newAllStore(t)
		tracker := newTracker(t, revisit.Config{Store: store, Strategy: revisit.ETag{}})
		h := site(tracker, tagged)
		first := newBrowser(h)
		first.open("/", true)
		tag := first.tags["/"]
		var one *browser
		for i := range 8 {
			b := newBrowser(h)
			b.tags["/"] = tag // a cache handed it out
			b.open("/", true)
			if i == 0 {
				one = b
			}
			time.Sleep(time.Second)
		}
		b := newBrowser(h)
		b.tags["/"] = tag
		b.open("/", true)
		require.Positive(t, tracker.Stats().Leaked)
		// One of those that were joined looks at another page, which is his alone.
		p := one.open("/mine?utm_source=mail", true)
		r := record(t, store, p)
		assert.True(t, r.MergedInto.IsZero(), "it was merged into %v", r.MergedInto)
		assert.Equal(t, idOf(p), idOf(one.get("/mine?utm_source=mail")))
	})
}

// A page that was left before its script ran, and opened again on another visit.
func TestAPageThatIsJoinedLateBringsItsReferral(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newAllStore(t)
		b := newBrowser(site(newTracker(t, revisit.Config{Store: store, Strategy: revisit.ETag{}}), tagged))
		b.open("/a", true)
		time.Sleep(time.Minute)
		b.get("/b") // left before the script ran
		time.Sleep(14 * time.Hour)
		b.open("/b", true, clickFrom, header("Referer", "https://news.example/story"))
		_, all := store.sessions(t)
		require.Len(t, all, 1)
		assert.EqualValues(t, 3, all[0].Hits)
		assert.EqualValues(t, 2, all[0].Visits)
		var got []string
		for _, u := range all[0].Touches {
			got = append(got, u.Landing+" "+u.Source)
		}
		assert.Equal(t, []string{"/a ", "/b news.example"}, got)
		assert.Less(t, time.Since(all[0].VisitStart), time.Minute)
	})
}

// Clicks of an earlier visit are not those of today.
func TestAPageThatIsJoinedLateBringsItsOldCampaigns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newAllStore(t)
		b := newBrowser(site(newTracker(t, revisit.Config{Store: store, Strategy: revisit.ETag{}}), tagged))
		b.open("/a", true)
		time.Sleep(24 * time.Hour)
		b.open("/a", true)
		time.Sleep(24 * time.Hour)
		b.get("/b?utm_source=ads") // not joined: he left at once
		time.Sleep(12 * time.Hour)
		b.get("/b?utm_source=ads")
		time.Sleep(30 * 24 * time.Hour)
		b.open("/c?utm_source=ads", true) // the same campaign, a month later
		b.open("/b?utm_source=ads", true)
		_, all := store.sessions(t)
		require.Len(t, all, 1)
		n := 0
		for _, u := range all[0].Touches {
			if u.Source == "ads" {
				n++
			}
		}
		assert.GreaterOrEqual(t, n, 3)
	})
}

// A fragment need not be a URL.
func TestARouteWithAPercentSignIsAView(t *testing.T) {
	for _, p := range []string{"/spa#/sale/50%", "/spa#/search?q=100%"} {
		store := newAllStore(t)
		b := newBrowser(site(newTracker(t, revisit.Config{Store: store}), tagged))
		b.get(anchor, fetch, header("Revisit-Page", p))
		_, all := store.sessions(t)
		require.Len(t, all, 1)
		assert.EqualValues(t, 1, all[0].Hits, p)
	}
}

// A mux that is wrapped as a whole and mounted deeper.
func TestTheBeaconIsLeftAloneBehindStripPrefix(t *testing.T) {
	store := newAllStore(t)
	tr := newTracker(t, revisit.Config{Strategy: revisit.ETag{}, Store: store, BeaconPath: "/shop/revisit/"})
	mux := http.NewServeMux()
	mux.Handle("/", tagged)
	mux.Handle("/revisit/", tr.Beacon())
	b := newBrowser(http.StripPrefix("/shop", tr.Handler(mux)))
	for _, p := range []string{"/shop/a", "/shop/b"} {
		resp := b.get(p)
		l := linkOf(resp)
		require.NotEmpty(t, l)
		b.get("/shop/revisit/pixel.gif", fetch, header("Revisit-Link", l))
	}
	_, all := store.sessions(t)
	assert.Len(t, all, 1)
}

// lateStore takes its time, and gives up with its context.
type lateStore struct {
	revisit.Store
	d atomic.Int64
}

func (s *lateStore) wait(ctx context.Context) error {
	select {
	case <-time.After(time.Duration(s.d.Load())):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
func (s *lateStore) Load(ctx context.Context, id revisit.ID) (revisit.Record, error) {
	if err := s.wait(ctx); err != nil {
		return revisit.Record{}, err
	}
	return s.Store.Load(ctx, id)
}
func (s *lateStore) Save(ctx context.Context, r revisit.Record, old int64) error {
	if err := s.wait(ctx); err != nil {
		return err
	}
	return s.Store.Save(ctx, r, old)
}

// If the merge does not end in time, the script is asked to come again.
func TestALinkOfAMergeThatTakesLongComesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newAllStore(t)
		late := &lateStore{Store: store}
		b := newBrowser(site(newTracker(t, revisit.Config{Store: late, Strategy: revisit.ETag{}}), tagged))
		b.open("/a", true)
		b.open("/a", true)
		resp := b.get("/b")
		late.d.Store(int64(100 * time.Millisecond))
		got := b.get(anchor, fetch, header("Revisit-Link", linkOf(resp)))
		late.d.Store(0)
		time.Sleep(time.Second)
		_, all := store.sessions(t)
		assert.True(t, got.StatusCode == 503 || len(all) == 1, "the script has thrown the link away")
	})
}

// ParseForm leaves a multipart body unread.
func TestAMultipartFormAfterParseForm(t *testing.T) {
	h := site(newTracker(t, revisit.Config{Strategy: revisit.ETag{}}), lead)
	b := newBrowser(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		h.ServeHTTP(w, r)
	}))
	first := b.get("/lead")
	body := "--b\r\nContent-Disposition: form-data; name=\"revisit\"\r\n\r\n" + fieldOf.FindStringSubmatch(b.bodies["/lead"])[1] + "\r\n--b--\r\n"
	r := b.request("POST", "/lead", posted)
	r.Header.Set("Content-Type", "multipart/form-data; boundary=b")
	r.Body = io.NopCloser(strings.NewReader(body))
	assert.Equal(t, idOf(first), idOf(b.send(r)))
}

// Somebody may take the Referer away: the page was counted by the server.
func TestAFrameWithoutARefererIsNoView(t *testing.T) {
	store := newAllStore(t)
	b := newBrowser(site(newTracker(t, revisit.Config{Store: store, Strategy: revisit.ETag{}}), tagged))
	b.get("/")
	m := framed51.FindStringSubmatch(b.bodies["/"])
	inside := b.get("/revisit/link/"+m[1], frame)
	body, _ := io.ReadAll(inside.Body)
	require.Contains(t, string(body), "pixel.gif")
	b.get(anchor, image)
	_, all := store.sessions(t)
	hits := int64(0)
	for _, r := range all {
		hits += r.Hits
	}
	assert.EqualValues(t, 1, hits)
}

// A link in a comment, and a browser that does not say what it asks for.
func TestAClickedFrameJoinsNobody(t *testing.T) {
	store, victim, _, _, f := victimAndAttacker(t, revisit.Config{})
	inside := victim.get("/revisit/link/"+f, bare, header("Referer", "http://example.com/reviews"), header("Accept", "text/html,*/*"))
	body, _ := io.ReadAll(inside.Body)
	assert.Empty(t, string(body))
	_, all := store.sessions(t)
	assert.Len(t, all, 2)
}

// A handler may go on after http.TimeoutHandler has answered for it.
func TestATimeoutIsNoRace(t *testing.T) {
	tr := newTracker(t, revisit.Config{Strategy: revisit.ETag{}})
	done := make(chan bool)
	srv := httptest.NewServer(site(tr, http.TimeoutHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for end := time.Now().Add(60 * time.Millisecond); time.Now().Before(end); {
			_ = revisit.Field(r.Context())
		}
		close(done)
	}), 20*time.Millisecond, "late")))
	defer srv.Close()
	resp, err := http.Get(srv.URL)
	require.NoError(t, err)
	resp.Body.Close()
	<-done
}

// Nothing of a mail address or a credential in a page's path is kept, however it is
// written and wherever it would be cut off.
func TestNoPersonalPathIsKept(t *testing.T) {
	for page, want := range map[string]string{
		"/#/reset/ann@example.com": "/#/reset/*", "/#/join/eyJhbGciOiJIUzI1NiJ9": "/#/join/*", "/#/u/ann%40example.com": "/#/u/*",
		"/u/ann@example%2Ecom/x": "/u/*/x", "/" + strings.Repeat("x", 245) + "/ann@example.com": "/" + strings.Repeat("x", 245) + "/*",
	} {
		store := newAllStore(t)
		b := newBrowser(site(newTracker(t, revisit.Config{Store: store}), seen))
		b.get(anchor, fetch, header("Revisit-Page", page))
		_, all := store.sessions(t)
		require.Len(t, all, 1, page)
		require.Len(t, all[0].Touches, 1, page)
		assert.Equal(t, want, all[0].Touches[0].Landing, page)
	}
}
