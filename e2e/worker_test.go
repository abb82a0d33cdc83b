package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/revisit-go/revisit"
)

// workers are the ways in which service workers answer.
var workers = []struct {
	name, fetch string
	preload     bool
}{
	{"that leaves navigations alone", `if (e.request.url.endsWith('/nothing')) e.respondWith(fetch(e.request))`, false},
	{"that hands navigations on", `if (e.request.mode === 'navigate') e.respondWith(fetch(e.request))`, false},
	{"that hands everything on", `e.respondWith(fetch(e.request))`, false},
	{"with navigation preload", `if (e.request.mode === 'navigate') e.respondWith((async () => await e.preloadResponse || fetch(e.request))())`, true},
	{"with an application's shell", `if (e.request.mode === 'navigate') e.respondWith(caches.match('/shell').then(r => r || fetch(e.request)))`, false},
	{"that fetches by the address", `if (e.request.mode === 'navigate') e.respondWith(fetch(e.request.url, {credentials: 'include'}))`, false},
	{"that keeps pages", `if (e.request.mode === 'navigate') e.respondWith(caches.open('r').then(async c => (await c.match(e.request)) ||
		fetch(e.request).then(r => { c.put(e.request, r.clone()); return r })))`, false},
	{"that keeps pages, and asks for newer ones", `if (e.request.mode === 'navigate') e.respondWith(caches.open('r').then(async c => {
		const have = await c.match(e.request), ask = fetch(e.request).then(r => { c.put(e.request, r.clone()); return r }); return have || ask }))`, false},
	{"that keeps pictures by their name", `if (/\\.(gif|png|jpg|svg)$/.test(new URL(e.request.url).pathname)) e.respondWith(caches.open('i').then(async c =>
		(await c.match(e.request)) || fetch(e.request).then(r => { c.put(e.request, r.clone()); return r })))`, false},
	{"that keeps pictures by what they are for", `if (e.request.destination === 'image') e.respondWith(caches.open('i').then(async c =>
		(await c.match(e.request)) || fetch(e.request).then(r => { c.put(e.request, r.clone()); return r })))`, false},
}

// Whatever a service worker answers with, each page view counts once, under each strategy,
// and a campaign is one.
func TestAServiceWorkerCostsNoPageView(t *testing.T) {
	for n, engine := range engines {
		t.Run(engine.name, func(t *testing.T) {
			b := engine.open(t)
			for i, w := range workers {
				for k, strategy := range []string{"hybrid", "etag"} {
					if full == 1 && (n+i+k)%2 == 1 {
						continue // the other browser has it; in a long run both do
					}
					t.Run(w.name+", "+strategy, func(t *testing.T) {
						pages := map[string]string{
							"/shell": "<!DOCTYPE html><title>shell</title>TAG",
							"/sw.js": fmt.Sprintf(`self.addEventListener('install', e => e.waitUntil((async () => { await (await caches.open('p')).add('/shell'); await self.skipWaiting() })()));
								self.addEventListener('activate', e => e.waitUntil((async () => { if (%v) await self.registration.navigationPreload.enable(); await clients.claim() })()));
								self.addEventListener('fetch', e => { %s })`, w.preload, w.fetch),
						}
						for _, path := range []string{"/", "/two", "/three"} {
							pages[path] = "<!DOCTYPE html><title>" + path + `</title><a href="/two">two</a><a href="/three">three</a>TAG`
						}
						s := newPages(t, revisit.Config{Strategy: strategyOf(strategy, false)}, pages)
						host := fmt.Sprintf("worker%d-%s.localhost", i, strategy)
						hits := int64(0)
						counted := func() {
							t.Helper()
							hits++
							s.counts(t, hits)
						}
						b.visit(t, s.at(host, "/"))
						counted()
						b.run(t, `navigator.serviceWorker.register("/sw.js"); return 0`)
						for end := time.Now().Add(patience); b.run(t, `return !!navigator.serviceWorker.controller`) != "true"; time.Sleep(20 * time.Millisecond) {
							require.True(t, time.Now().Before(end), "the service worker does not come")
						}
						for _, path := range []string{"/two?utm_source=crm&utm_campaign=x", "/three", "/two?utm_source=crm&utm_campaign=x", "/three"} {
							if strings.Contains(w.name, "keeps pages") {
								time.Sleep(1500 * time.Millisecond) // a copy that is younger than a report may be late is taken for the page itself
							}
							b.visit(t, s.at(host, path))
							counted()
						}
						time.Sleep(300 * time.Millisecond) // what is counted twice comes a little later
						s.counts(t, hits)
						// What the service worker has fetched for itself has a session of a day, and no view.
						s.until(t, 0, "one visitor", func([]asked) bool {
							confirmed, _ := s.store.sessions(t)
							return len(confirmed) == 1 && confirmed[0].Hits == hits
						})
						confirmed, _ := s.store.sessions(t)
						var sources []string
						for _, touch := range confirmed[0].Touches {
							sources = append(sources, touch.Source+touch.Landing)
						}
						assert.Equal(t, []string{"/", "crm/two"}, sources)
					})
				}
			}
		})
	}
}

// counts waits until the page views of all sessions are so many.
func (s *site) counts(t *testing.T, want int64) {
	t.Helper()
	var hits int64
	s.until(t, 0, fmt.Sprint(want, " page views"), func([]asked) bool {
		hits = 0
		_, all := s.store.sessions(t)
		for _, r := range all {
			hits += r.Hits
		}
		return hits >= want
	})
	assert.Equal(t, want, hits, "page views")
}

// A page that may not be stored carries no tag, so under tags alone it has no session.
func TestAPageWithoutACarrierIsCounted(t *testing.T) {
	for _, engine := range engines {
		t.Run(engine.name, func(t *testing.T) {
			b := engine.open(t)
			s := newPages(t, revisit.Config{Strategy: revisit.ETag{}}, map[string]string{
				"/no-store": "<!DOCTYPE html><title>x</title>TAG", "/page": "<!DOCTYPE html><title>x</title>TAG", "/static/pixel": `<!DOCTYPE html><title>x</title><img src="/revisit/pixel.gif">`,
			})
			for i, path := range []string{"/no-store?utm_source=crm", "/page", "/no-store", "/page", "/static/pixel"} {
				b.visit(t, s.at("carrier.localhost", path))
				s.counts(t, int64(i)+1)
			}
			s.until(t, 0, "one session", func([]asked) bool { _, all := s.store.sessions(t); return len(all) == 1 })
			confirmed, _ := s.store.sessions(t)
			require.Len(t, confirmed, 1)
			assert.EqualValues(t, 5, confirmed[0].Hits)
			assert.Len(t, confirmed[0].Touches, 1)
			assert.Equal(t, "crm", confirmed[0].Touches[0].Source)
		})
	}
}

// Going back in the history to a tagged page, by whichever way the browser gets it, is a
// page view, and neither a click nor a visit; nor is a reload after the visit's end.
func TestGoingBackIsNoClick(t *testing.T) {
	for _, engine := range engines {
		t.Run(engine.name, func(t *testing.T) {
			b := engine.open(t)
			for _, strategy := range []string{"hybrid", "etag"} {
				for i, path := range []string{"/ads", "/no-store"} {
					t.Run(strategy+path, func(t *testing.T) {
						body := `<!DOCTYPE html><title>x</title><a href="/letter?utm_source=crm&amp;utm_campaign=letter">letter</a>TAG`
						s := newPages(t, revisit.Config{Strategy: strategyOf(strategy, false), VisitGap: 2 * time.Second}, map[string]string{"/ads": body, "/letter": body, "/no-store": body})
						host := fmt.Sprintf("back%d-%s.localhost", i, strategy)
						b.visit(t, s.at(host, path+"?utm_source=google&utm_medium=cpc"))
						s.counts(t, 1)
						b.follow(t, "/letter?utm_source=crm&utm_campaign=letter")
						s.counts(t, 2)
						b.back(t, path)
						s.counts(t, 3)
						s.sources(t, []string{"google", "crm"})
						time.Sleep(2100 * time.Millisecond)
						b.reload(t)
						s.counts(t, 4)
						s.sources(t, []string{"google", "crm"})
					})
				}
			}
		})
	}
}

// sources says where the touches of the one session came from.
func (s *site) sources(t *testing.T, want []string) {
	t.Helper()
	s.until(t, 0, "one session", func([]asked) bool { _, all := s.store.sessions(t); return len(all) == 1 })
	_, all := s.store.sessions(t)
	var got []string
	for _, touch := range all[0].Touches {
		got = append(got, touch.Source)
	}
	assert.Equal(t, want, got)
}

// Routes of the Navigation API, and what is a way back among them; and campaigns in the
// routes of a fragment.
func TestRoutesOfTheNavigationAPI(t *testing.T) {
	for _, engine := range engines {
		t.Run(engine.name, func(t *testing.T) {
			b := engine.open(t)
			s := newPages(t, revisit.Config{}, map[string]string{"/static/": `<!DOCTYPE html><title>x</title><script>history.replaceState(null, "", location.pathname)</script>
				<script src="/revisit/revisit.js" async></script><a href="/static/link">a</a><script>
				navigation.addEventListener("navigate", e => { if (e.canIntercept && !e.hashChange) e.intercept({handler: async () => {}}) })</script>`})
			b.visit(t, s.at("routes.localhost", "/static/?utm_source=crm"))
			var notified []string
			for _, c := range []struct{ script, page, load string }{
				{``, "/static/?utm_source=crm", ""}, // though the page has cleaned its address
				{`document.querySelector("a").click()`, "/static/link", ""},
				{`navigation.navigate("/static/call?utm_source=x")`, "/static/call?utm_source=x", ""},
				{`navigation.navigate("/static/other", {history: "replace"})`, "", ""},
				{`history.pushState({}, "", "/static/push")`, "/static/push", ""},
				{`history.back()`, "/static/other", "again"},
				{`location.hash = "#/route?utm_source=y"`, "/static/other#/route?utm_source=y", ""},
				{`history.back()`, "/static/other", "again"},
				{`navigation.forward()`, "/static/other#/route?utm_source=y", "again"},
			} {
				b.run(t, c.script+"; return 0")
				if c.page == "" {
					continue
				}
				notified = append(notified, c.page)
				s.until(t, 0, c.script, func([]asked) bool { return len(viewsSince(s, 0)) >= len(notified) })
				assert.Equal(t, notified, viewsSince(s, 0), c.script)
				if len(notified) > 1 {
					log := s.since(0)
					last := log[len(log)-1]
					assert.Equal(t, c.load, last.request.Get("Revisit-Load"), c.script)
				}
			}
			_, all := s.store.sessions(t)
			require.Len(t, all, 1)
			var sources []string
			for _, touch := range all[0].Touches {
				sources = append(sources, touch.Source)
			}
			assert.Equal(t, []string{"crm", "x", "y"}, sources)
			assert.Equal(t, "/static/other#/route", all[0].Touches[2].Landing)
		})
	}
}

// A campaign in the fragment of a wrapped page reaches its session.
func TestACampaignInTheFragmentOfAPage(t *testing.T) {
	for _, engine := range engines {
		t.Run(engine.name, func(t *testing.T) {
			b := engine.open(t)
			for _, strategy := range []string{"hybrid", "etag"} {
				s := newPages(t, revisit.Config{Strategy: strategyOf(strategy, false)}, map[string]string{"/app": "<!DOCTYPE html><title>x</title>TAG"})
				b.visit(t, s.at("fragment-"+strategy+".localhost", "/app#/offer?utm_source=crm"))
				s.until(t, 0, "the campaign", func([]asked) bool {
					_, all := s.store.sessions(t)
					return len(all) == 1 && len(all[0].Touches) == 1 && all[0].Touches[0].Source == "crm"
				})
				s.counts(t, 1)
				_, all := s.store.sessions(t)
				assert.Equal(t, "/app#/offer", all[0].Touches[0].Landing)
			}
		})
	}
}
