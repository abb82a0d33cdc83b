package e2e

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/revisit-go/revisit"
)

func strategyOf(name string, secure bool) revisit.Strategy {
	switch name {
	case "etag":
		return revisit.ETag{}
	default:
		return revisit.Hybrid(revisit.Cookie{Insecure: !secure}, revisit.ETag{})
	}
}

// Invariant 3 in real browsers: a new profile walks five pages of ten parts,
// twice; then one of them is loaded anew by a hard reload; then the cookies are
// deleted, and it walks pages old and new. It is one visitor.
func TestAWalkIsOneVisitor(t *testing.T) {
	for _, engine := range engines {
		t.Run(engine.name, func(t *testing.T) {
			b := engine.open(t)
			for _, strategy := range []string{"etag", "hybrid"} {
				for _, script := range []bool{true, false} {
					for _, secure := range []bool{false, true} {
						t.Run(fmt.Sprintf("%s, script %v, https %v", strategy, script, secure), func(t *testing.T) {
							b.allowScript(t, script)
							defer b.allowScript(t, true)
							b.deleteCookies(t) // shop.localhost is the same for all, ports are distinguished by the cache alone
							s := newSite(t, revisit.Config{Strategy: strategyOf(strategy, secure)}, secure)
							walk(t, s, b, script)
						})
					}
				}
			}
		})
	}
}

func walk(t *testing.T, s *site, b browser, script bool) {
	views := int64(0)
	open := func(n int) {
		t.Helper()
		path := fmt.Sprint("/page/", n)
		mark := s.mark()
		b.visit(t, s.at("shop.localhost", path))
		s.settled(t, mark, path, script)
		views++
	}
	for range 2 {
		for n := range 5 {
			open(n)
		}
	}
	mark := s.mark()
	b.hardReload(t)
	s.settled(t, mark, "/page/4", script)
	views++
	b.deleteCookies(t)
	for n := 3; n < 8; n++ {
		open(n)
	}
	confirmed, all := s.store.sessions(t)
	assert.Len(t, all, 1)
	require.Len(t, confirmed, 1)
	assert.Equal(t, views, confirmed[0].Hits, "each page view counts once")
	assert.EqualValues(t, 1, confirmed[0].Visits)
	proto := s.since(0)[0].proto
	assert.Equal(t, map[string]string{"http": "HTTP/1.1", "https": "HTTP/2.0"}[s.scheme], proto)
}

// Two profiles of one browser at the same time, on one address and with one
// User-Agent, stay two visitors.
func TestTwoProfilesAreTwoVisitors(t *testing.T) {
	for _, engine := range engines {
		t.Run(engine.name, func(t *testing.T) {
			both := []browser{engine.open(t), engine.open(t)}
			for run := range 5 * full {
				strategy, script := []string{"etag", "hybrid"}[run%2], run%4 < 2
				s := newSite(t, revisit.Config{Strategy: strategyOf(strategy, false)}, false)
				host := fmt.Sprintf("profiles%d.localhost", run)
				for _, b := range both {
					b.allowScript(t, script)
				}
				for n := range 3 {
					path := fmt.Sprint("/page/", n%2)
					mark := s.mark()
					var wg sync.WaitGroup
					for _, b := range both {
						wg.Go(func() { b.visit(t, s.at(host, path)) })
					}
					wg.Wait()
					// Both, before their links: what one fetches late would count as the next page's.
					s.until(t, mark, "both", func(log []asked) bool {
						return count(log, path) == 2 && (!script || count(log, fmt.Sprint("/part/", n%2, "/data.json")) == 2)
					})
					s.settled(t, mark, path, script)
				}
				// What one page has reported to the anchor may have settled the wait of the
				// other: so each goes once more by itself.
				for _, b := range both {
					for n := range 2 {
						path := fmt.Sprint("/page/", n)
						mark := s.mark()
						b.visit(t, s.at(host, path))
						s.settled(t, mark, path, script)
					}
				}
				confirmed, all := s.store.sessions(t)
				require.Len(t, confirmed, 2, "run %d, %s, script %v", run, strategy, script)
				assert.Len(t, all, 2)
				for _, r := range confirmed {
					assert.EqualValues(t, 5, r.Hits, "run %d", run)
				}
			}
		})
	}
}

// viewsSince returns the pages that the script has reported to the anchor.
func viewsSince(s *site, mark int) (pages []string) {
	for _, a := range s.since(mark) {
		if page := a.request.Get("Revisit-Page"); a.path == anchor && page != "" {
			pages = append(pages, page)
		}
	}
	return pages
}

// Route changes and pages that come back from the history are page views of the
// right page, once each; under a strict Content-Security-Policy.
func TestViewsThatTheServerDoesNotSee(t *testing.T) {
	for _, engine := range engines {
		t.Run(engine.name, func(t *testing.T) {
			b := engine.open(t)
			s := newSite(t, revisit.Config{}, false)
			b.visit(t, s.at("views.localhost", "/page/0"))
			s.settled(t, 0, "/page/0", true)
			var notified []string
			expect := func(pages ...string) {
				t.Helper()
				notified = append(notified, pages...)
				s.until(t, 0, fmt.Sprint(pages), func([]asked) bool { return len(viewsSince(s, 0)) >= len(notified) })
				assert.Equal(t, notified, viewsSince(s, 0))
			}
			for _, c := range []struct{ script, page string }{
				{`history.pushState({}, "", "/route/a?x=1")`, "/route/a?x=1"},
				{`history.pushState({}, "", "/route/a?x=1")`, ""}, // the same address: a state, no route
				{`history.pushState({}, "", "/route/b")`, "/route/b"},
				{`history.replaceState({}, "", "/route/b")`, ""},
				{`history.back()`, "/route/a?x=1"},
				{`location.hash = "part"`, "/route/a?x=1#part"},
				{`history.back()`, "/route/a?x=1"},
				{`history.forward()`, "/route/a?x=1#part"},
				{`history.pushState({}, "", "/page/0")`, "/page/0"},
			} {
				b.run(t, c.script+"; return 0")
				if c.page != "" {
					expect(c.page)
				}
			}
			// By way of another page and back: put aside or not, it is one view.
			mark := s.mark()
			b.follow(t, "/page/next")
			s.settled(t, mark, "/page/next", true)
			mark = s.mark()
			b.back(t, "/page/0")
			if s.until(t, mark, "the page that came back", func(log []asked) bool {
				return count(log, "/page/0") > 0 || len(viewsSince(s, mark)) > 0
			}); count(s.since(mark), "/page/0") == 0 {
				expect("/page/0")
			}
			confirmed, all := s.store.sessions(t)
			require.Len(t, all, 1)
			require.Len(t, confirmed, 1)
			assert.EqualValues(t, 1+7+1+1, confirmed[0].Hits)
		})
	}
}

// Pages that are not wrapped: the image alone, and the script.
func TestPagesThatAreNotWrapped(t *testing.T) {
	for _, engine := range engines {
		t.Run(engine.name, func(t *testing.T) {
			b := engine.open(t)
			for _, strategy := range []string{"etag", "hybrid"} {
				s := newSite(t, revisit.Config{Strategy: strategyOf(strategy, false)}, false)
				for i, path := range []string{"/static/pixel?utm_source=mail", "/static/script", "/page/0", "/static/pixel", "/static/script"} {
					mark := s.mark()
					b.visit(t, s.at(strategy+"-static.localhost", path))
					if path == "/page/0" {
						s.settled(t, mark, path, true)
					} else {
						s.until(t, mark, path, func(log []asked) bool { return count(log, anchor) > 0 })
					}
					if i == 0 {
						_, all := s.store.sessions(t)
						require.Len(t, all, 1)
						assert.Equal(t, "mail", all[0].Touches[0].Source)
						assert.Equal(t, "/static/pixel", all[0].Touches[0].Landing)
					}
				}
				confirmed, all := s.store.sessions(t)
				require.Len(t, confirmed, 1, strategy)
				assert.Len(t, all, 1, strategy)
				assert.EqualValues(t, 5, confirmed[0].Hits, strategy)
			}
		})
	}
}

// Consent that is given on the page reports where the visit came from: nothing
// was kept of it before.
func TestTheCampaignIsNotLostToTheBanner(t *testing.T) {
	for _, engine := range engines {
		t.Run(engine.name, func(t *testing.T) {
			b := engine.open(t)
			s := newSite(t, revisit.Config{Consent: revisit.OptIn("consent", "yes")}, false)
			b.visit(t, s.at("banner.localhost", "/page/0?utm_source=mail&utm_campaign=spring"))
			s.until(t, 0, "the script", func(log []asked) bool { return count(log, "/revisit/revisit.js") > 0 })
			_, all := s.store.sessions(t)
			require.Empty(t, all)
			b.run(t, `document.cookie = "consent=yes; path=/"; revisit(); return 0`)
			s.until(t, 0, "the report", func(log []asked) bool { return count(log, anchor) > 0 })
			b.run(t, `revisit(); return 0`) // twice is once
			s.until(t, 0, "the report", func(log []asked) bool { return count(log, anchor) > 1 })
			mark := s.mark()
			b.visit(t, s.at("banner.localhost", "/page/1"))
			s.settled(t, mark, "/page/1", true)
			confirmed, all := s.store.sessions(t)
			require.Len(t, all, 1)
			require.Len(t, confirmed, 1)
			assert.EqualValues(t, 2, confirmed[0].Hits)
			assert.EqualValues(t, 1, confirmed[0].Visits)
			assert.Equal(t, "spring", confirmed[0].Touches[0].Campaign)
			assert.Equal(t, "/page/0", confirmed[0].Touches[0].Landing)
		})
	}
}

// A lead form reaches its session where cookies are blocked.
func TestALeadWithoutCookies(t *testing.T) {
	for _, engine := range engines {
		t.Run(engine.name, func(t *testing.T) {
			b := engine.open(t)
			b.blockCookies(t)
			for _, strategy := range []string{"etag", "hybrid"} {
				s := newSite(t, revisit.Config{Strategy: strategyOf(strategy, false)}, false)
				b.visit(t, s.at(strategy+"-lead.localhost", "/form"))
				s.until(t, 0, "the anchor", func(log []asked) bool { return count(log, anchor) > 0 })
				b.submit(t, "/form", "")
				s.until(t, 0, "the form", func(log []asked) bool { return count(log, "/form") == 2 })
				log := s.since(0)
				var first, last asked
				for _, a := range log {
					if a.path == "/form" {
						if first.path == "" {
							first = a
						}
						last = a
					}
					assert.Empty(t, a.request.Get("Cookie"))
				}
				assert.Equal(t, "form", last.response.Get("X-Session-Via"))
				assert.Equal(t, first.response.Get("X-Session-Id"), last.response.Get("X-Session-Id"))
				confirmed, _ := s.store.sessions(t)
				require.Len(t, confirmed, 1)
				assert.Equal(t, "ann@example.com", confirmed[0].Values["lead"].Text)
			}
		})
	}
}
