package revisit_test

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/revisit-go/revisit"
	"github.com/revisit-go/revisit/storetest"
)

// answersWith answers /303 with that status, and everything else with a page.
var answersWith = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	if s, ok := revisit.FromContext(r.Context()); ok {
		w.Header().Set("X-Hits", strconv.FormatInt(s.Hits(), 10))
		if r.URL.Query().Has("set") {
			_ = s.Set(r.Context(), "name", "x")
		}
	}
	status, _ := strconv.Atoi(r.URL.Path[1:])
	if status == 0 {
		seen(w, r)
		return
	}
	if s, ok := revisit.FromContext(r.Context()); ok {
		w.Header().Set("X-Id", s.ID.String())
	}
	if status >= 300 && status < 400 && status != http.StatusNotModified {
		w.Header().Set("Location", "/page")
	}
	w.WriteHeader(status)
})

// A way in which page views are kept.
type keeping struct {
	name  string
	slow  bool
	every time.Duration
}

var keepings = []keeping{{"memory", false, 0}, {"a slow store", true, 0}, {"write-behind", true, 10 * time.Second}}

// A counted browser is one of a Tracker that keeps its page views so, and tells of them.
type countedBrowser struct {
	*browser
	store    *allStore
	mu       sync.Mutex
	notified map[revisit.ID]int64
}

func newCounted(t *testing.T, k keeping, strategy revisit.Strategy, hooked bool) *countedBrowser {
	b := &countedBrowser{notified: map[revisit.ID]int64{}}
	c := revisit.Config{Strategy: strategy, FlushEvery: k.every}
	if b.store = newAllStore(t); k.slow {
		c.Store = storetest.Faulty(b.store, storetest.Faults{Latency: time.Millisecond})
	} else {
		c.Store = b.store.Store
	}
	if hooked {
		c.OnHit = func(_ context.Context, h revisit.Hit) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.notified[h.Session.ID] += h.Count
		}
	}
	b.browser = newBrowser(newTracker(t, c).Handler(answersWith))
	return b
}

// record waits until what is under way has ended, and returns the session of a response.
func (b *countedBrowser) record(t *testing.T, resp *http.Response) revisit.Record {
	time.Sleep(time.Minute)
	synctest.Wait()
	r := record(t, b.store, resp)
	b.mu.Lock()
	defer b.mu.Unlock()
	if notified, ok := b.notified[r.ID]; ok {
		assert.Equal(t, r.Hits, notified, "OnHit knows as much")
	}
	return r
}

// A hit is a page that was shown: a redirect is none, nor is an answer that leaves the
// browser where it is. What has led there counts.
func TestAHitIsAPageThatWasShown(t *testing.T) {
	for _, k := range keepings {
		for _, strategy := range []revisit.Strategy{revisit.Cookie{}, revisit.ETag{}, revisit.Hybrid(revisit.Cookie{}, revisit.ETag{})} {
			for _, c := range []struct {
				method string
				status int
				shown  int64
			}{
				{"GET", 301, 0}, {"GET", 302, 0}, {"GET", 303, 0}, {"GET", 307, 0}, {"GET", 308, 0},
				{"GET", 204, 0}, {"GET", 205, 0},
				{"GET", 200, 1}, {"GET", 304, 1}, {"GET", 404, 1}, {"GET", 410, 1}, {"GET", 429, 1}, {"GET", 500, 1}, {"GET", 503, 1},
				{"POST", 302, 0}, {"POST", 303, 0}, {"POST", 307, 0}, {"POST", 308, 0}, {"POST", 204, 0}, {"POST", 200, 1}, {"POST", 422, 1},
			} {
				name := fmt.Sprintf("%s, %s, %s %d", k.name, strategy.Via(), c.method, c.status)
				isCookie := strategy.Via() != "etag"
				synctest.Test(t, func(t *testing.T) {
					b := newCounted(t, k, strategy, k.slow)
					b.get("/page")
					b.get("/page", link)
					if isCookie {
						resp := b.do(c.method, "/"+strconv.Itoa(c.status), link)
						assert.Equal(t, "3", resp.Header.Get("X-Hits"), "%s: the handler sees it counted", name)
					}
					resp := b.get("/page", link)
					want := int64(3)
					if isCookie {
						want += c.shown
					}
					assert.Equal(t, strconv.FormatInt(want, 10), resp.Header.Get("X-Hits"), name)
					r := b.record(t, resp)
					assert.Equal(t, want, r.Hits, "%s, known", name)
					assert.EqualValues(t, 1, r.Visits, name)
				})
				if !isCookie {
					continue // nothing new rides on anything else than a 200
				}
				for _, query := range []string{"?utm_campaign=spring", "?utm_campaign=spring&set"} {
					synctest.Test(t, func(t *testing.T) {
						b := newCounted(t, k, strategy, k.slow)
						first := b.do(c.method, "/"+strconv.Itoa(c.status)+query, typed)
						assert.Equal(t, "1", first.Header.Get("X-Hits"), "%s: a new session's handler, too", name)
						resp := b.get("/page", link)
						if c.status == http.StatusNotModified { // which carries no token: see freshens
							return
						}
						assert.Equal(t, idOf(first), idOf(resp), name)
						r := b.record(t, resp)
						assert.Equal(t, 1+c.shown, r.Hits, "%s%s, new", name, query)
						assert.EqualValues(t, 1, r.Visits, name)
						if assert.Len(t, r.Touches, 1, name) {
							assert.Equal(t, "spring", r.Touches[0].Campaign, name)
						}
					})
				}
			}
		}
	}
}

// Redirects that follow each other are one page in the end, and whoever has followed them is
// no visitor yet.
func TestAChainOfRedirects(t *testing.T) {
	for _, k := range keepings {
		for _, chain := range []int{1, 2, 3, 5} {
			synctest.Test(t, func(t *testing.T) {
				b := newCounted(t, k, revisit.Cookie{}, true)
				for i := range chain {
					query := ""
					if i == 0 {
						query = "?utm_campaign=spring"
					}
					b.get("/302"+query, clickFrom)
				}
				resp := b.get("/page", clickFrom)
				r := record(t, b.store, resp)
				assert.False(t, r.Confirmed, "%s, %d: it has opened one link", k.name, chain)
				r = b.record(t, resp)
				assert.EqualValues(t, 1, r.Hits, "%s, %d", k.name, chain)
				assert.EqualValues(t, 1, r.Visits)
				assert.Len(t, r.Touches, 1)
				r = b.record(t, b.get("/next", link))
				assert.True(t, r.Confirmed)
				assert.EqualValues(t, 2, r.Hits)
			})
			// In the middle of the second visit.
			synctest.Test(t, func(t *testing.T) {
				b := newCounted(t, k, revisit.Cookie{}, true)
				b.get("/page")
				b.get("/page", link)
				time.Sleep(time.Hour)
				for range chain {
					b.get("/302?utm_campaign=summer", clickFrom)
				}
				r := b.record(t, b.get("/page", clickFrom))
				assert.EqualValues(t, 3, r.Hits, "%s, %d", k.name, chain)
				assert.EqualValues(t, 2, r.Visits)
				assert.Equal(t, "summer", r.Touches[len(r.Touches)-1].Campaign)
			})
		}
	}
}

// Only what a browser shows as a page is taken back where it shows none: the answer to a
// client of which nobody knows that it goes to a page counts as it did.
func TestWhoGoesToNoPage(t *testing.T) {
	for _, strategy := range []revisit.Strategy{revisit.Cookie{}, revisit.Hybrid(revisit.Cookie{}, revisit.ETag{})} {
		synctest.Test(t, func(t *testing.T) {
			b := newCounted(t, keepings[0], strategy, false)
			b.get("/page")
			b.get("/303", fetch)
			b.get("/204", image)
			b.get("/303", header("Accept", "text/html,*/*"))
			b.get("/204", header("Accept", "text/html,*/*"))
			b.get("/303", bare)
			r := b.record(t, b.get("/page", link))
			assert.EqualValues(t, 3, r.Hits, strategy.Via())
		})
	}
}

// A redirect does not wait for the store to take its page view back.
func TestARedirectDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newAllStore(t)
		slow := storetest.Faulty(store, storetest.Faults{Latency: 50 * time.Millisecond})
		b := newBrowser(newTracker(t, revisit.Config{Store: slow, Strategy: revisit.Cookie{}}).Handler(answersWith))
		b.get("/page")
		begin := time.Now()
		b.get("/200", link)
		page := time.Since(begin)
		begin = time.Now()
		resp := b.get("/303", link)
		assert.Equal(t, page, time.Since(begin))
		time.Sleep(time.Second)
		assert.EqualValues(t, 2, record(t, store, resp).Hits)
	})
}
