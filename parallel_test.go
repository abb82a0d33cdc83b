package revisit_test

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/revisit-go/revisit"
	"github.com/revisit-go/revisit/storetest"
)

// round opens a page in each of n tabs at once, spread over the nodes, and what
// the script does in each. The browser keeps of each carrier what came last.
func (b *browser) round(nodes []http.Handler, n int, script bool) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	keep := func(c *browser) {
		mu.Lock()
		defer mu.Unlock()
		maps.Copy(b.cookies, c.cookies)
		maps.Copy(b.tags, c.tags)
		maps.Copy(b.bodies, c.bodies)
	}
	tabs := make([]*browser, n)
	for i := range tabs {
		tabs[i] = b.clone()
		tabs[i].handler = nodes[i%len(nodes)]
	}
	for i, c := range tabs {
		wg.Go(func() {
			page := fmt.Sprint("/", i)
			resp := c.get(page)
			if c.tags[anchor] == "" {
				mu.Lock()
				maps.Copy(c.cookies, b.cookies) // another tab may have got one meanwhile
				mu.Unlock()
			}
			keep(c)
			if script {
				c.join(page, resp, true)
				keep(c)
			}
		})
	}
	wg.Wait()
}

// parallelWay is a way to carry tokens, and what becomes of n first requests.
type parallelWay struct {
	name     string
	strategy revisit.Strategy
	script   bool
	want     func(n int) (confirmed int, hits int64) // after one further round
	note     string
}

var parallelWays = []parallelWay{
	{"hybrid", nil, false, func(n int) (int, int64) { return 1, int64(2 * n) }, "the cookie that was kept and the tag of each page are one browser"},
	{"hybrid, with the anchor", nil, true, func(n int) (int, int64) { return 1, int64(2 * n) }, ""},
	{"etag, with the anchor", revisit.ETag{}, true, func(n int) (int, int64) { return 1, int64(2 * n) }, "each page's link, and the anchor's tag"},
	{"cookie", revisit.Cookie{}, false, func(n int) (int, int64) { return 1, int64(n + 1) }, "no evidence for the others: unconfirmed, and gone after a day"},
	{"etag, without the anchor", revisit.ETag{}, false, func(n int) (int, int64) { return n, int64(2 * n) }, "the negative control: a session for each page"},
}

var (
	latencies = []time.Duration{0, time.Millisecond, 5 * time.Millisecond, 20 * time.Millisecond}
	atOnce    = []int{2, 6, 20}
)

// Invariant 3 where it is hardest: the first requests of a browser come at once,
// over one node and three, on a store that takes its time. After one further
// round there is one confirmed session, with every hit of the sessions that were
// joined.
func TestParallelFirstRequestsEndAsOneVisitor(t *testing.T) {
	// The race detector makes it five times as slow, and wants it less often.
	trials := 100
	if underRace {
		trials = 15 * full
	}
	begun := map[string]map[int]int{} // the most that the first round began
	for _, way := range parallelWays {
		begun[way.name] = map[int]int{}
		for _, latency := range latencies {
			for _, n := range atOnce {
				for _, nodes := range []int{1, 3} {
					for trial := range trials {
						synctest.Test(t, func(t *testing.T) {
							store := newAllStore(t)
							slow := storetest.Faulty(store, storetest.Faults{Latency: latency})
							var handlers []http.Handler
							for range nodes {
								handlers = append(handlers, site(newTracker(t, revisit.Config{Strategy: way.strategy, Store: slow, StoreTimeout: time.Minute}), seen))
							}
							b := newBrowser(nil)
							b.round(handlers, n, way.script)
							_, all := store.sessions(t)
							begun[way.name][n] = max(begun[way.name][n], len(store.ids))
							require.NotEmpty(t, all)
							time.Sleep(time.Second)
							b.round(handlers, n, way.script)
							confirmed, _ := store.sessions(t)
							wantConfirmed, wantHits := way.want(n)
							where := fmt.Sprintf("%s: %v, %d at once, %d nodes, trial %d", way.name, latency, n, nodes, trial)
							require.Len(t, confirmed, wantConfirmed, where)
							var hits int64
							for _, r := range confirmed {
								hits += r.Hits
							}
							require.Equal(t, wantHits, hits, where)
						})
					}
				}
			}
		}
	}
	if t.Failed() || underRace {
		return
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\nStore latencies of %v, one node and three, %d trials each: %d trials a row and column.\n\n| way | at once | begun by the first round | confirmed after one further round | |\n|---|---|---|---|---|\n",
		latencies, trials, trials*len(latencies)*2)
	for _, way := range parallelWays {
		for _, n := range atOnce {
			confirmed, _ := way.want(n)
			fmt.Fprintf(&b, "| %s | %d | %d | %d | %s |\n", way.name, n, begun[way.name][n], confirmed, way.note)
		}
	}
	b.WriteString("\n")
	require.NoError(t, writeBetween("docs/recognition.md", "TestParallelFirstRequestsEndAsOneVisitor", b.String()))
}

// writeBetween puts text between the marks that a test has in a page of docs.
func writeBetween(path, test, text string) error {
	page, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	begin, end := "<!-- made by "+test+": begin -->\n", "<!-- made by "+test+": end -->\n"
	head, rest, ok := strings.Cut(string(page), begin)
	old, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return fmt.Errorf("%s: the marks of %s are missing", path, test)
	}
	if old == text {
		return nil
	}
	return os.WriteFile(path, []byte(head+begin+text+end+tail), 0o644)
}

// Fifty browsers behind one address, all of one kind and all at once, are fifty
// visitors, and no session is shared.
func TestFiftyBrowsersBehindOneAddress(t *testing.T) {
	for _, way := range parallelWays[:3] {
		synctest.Test(t, func(t *testing.T) {
			store := newAllStore(t)
			slow := storetest.Faulty(store, storetest.Faults{Latency: time.Millisecond, Jitter: 4 * time.Millisecond})
			var nodes []http.Handler
			for range 3 {
				nodes = append(nodes, site(newTracker(t, revisit.Config{Strategy: way.strategy, Store: slow, StoreTimeout: time.Minute}), seen))
			}
			browsers := make([]*browser, 50)
			for i := range browsers {
				browsers[i] = newBrowser(nil)
			}
			for range 3 {
				var wg sync.WaitGroup
				for _, b := range browsers {
					wg.Go(func() { b.round(nodes, 3, way.script) })
				}
				wg.Wait()
				time.Sleep(time.Second)
			}
			confirmed, _ := store.sessions(t)
			assert.Len(t, confirmed, 50, way.name)
			for _, r := range confirmed {
				assert.EqualValues(t, 9, r.Hits, way.name)
			}
			owner := map[string]int{}
			for i, b := range browsers {
				b.handler = nodes[0]
				id := idOf(b.get("/0"))
				assert.Zero(t, owner[id], "%s: a session of two browsers", way.name)
				owner[id] = i + 1
			}
		})
	}
}

// Within the default StoreTimeout a slow store does not get twenty merges done. No
// page waits longer for them, no page view is lost untold, and round by round they
// come to their end.
func TestMergesThatTakeLongCostNoPageView(t *testing.T) {
	for _, latency := range latencies[1:] {
		for _, nodes := range []int{1, 3} {
			for range 5 * full {
				synctest.Test(t, func(t *testing.T) {
					store := newAllStore(t)
					slow := storetest.Faulty(store, storetest.Faults{Latency: latency})
					var handlers []http.Handler
					var mu sync.Mutex
					var slowest time.Duration
					var trackers []*revisit.Tracker
					for range nodes {
						trackers = append(trackers, newTracker(t, revisit.Config{Store: slow}))
						h := site(trackers[len(trackers)-1], seen)
						handlers = append(handlers, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
							begin := time.Now()
							h.ServeHTTP(w, r)
							mu.Lock()
							defer mu.Unlock()
							slowest = max(slowest, time.Since(begin))
						}))
					}
					b := newBrowser(nil)
					const n = 20
					// A merge that was broken off leaves an alias, whose page views are
					// with it until it is met again.
					isDone := func() bool {
						sessions := 0
						for _, r := range store.records(t) {
							switch {
							case r.MergedInto.IsZero():
								sessions++
							case r.Hits > 0:
								return false
							}
						}
						return sessions == 1
					}
					rounds := 0
					for done := false; !done; rounds++ {
						require.Less(t, rounds, 60, "%v, %d nodes", latency, nodes)
						b.round(handlers, n, false)
						time.Sleep(time.Second)
						done = isDone()
					}
					_, all := store.sessions(t)
					require.Len(t, all, 1)
					var dropped int64
					for _, tracker := range trackers {
						dropped += tracker.Stats().Dropped["timeout"]
					}
					assert.LessOrEqual(t, all[0].Hits, int64(n*rounds))
					assert.GreaterOrEqual(t, all[0].Hits, int64(n*rounds)-dropped, "%v, %d nodes, %d rounds", latency, nodes, rounds)
					if latency == time.Millisecond {
						assert.Zero(t, dropped, "%v, %d nodes", latency, nodes)
					}
					assert.LessOrEqual(t, slowest, 250*time.Millisecond)
				})
			}
		}
	}
}

// While it is not known how a merge ends, no carrier is brought to either session:
// that would throw the evidence away.
func TestTheCarriersStayWhileAMergeIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newAllStore(t)
		slow := storetest.Faulty(store, storetest.Faults{})
		b := newBrowser(newTracker(t, revisit.Config{Store: slow}).Handler(seen))
		first := b.get("/old")
		old := b.tags["/old"]
		clear(b.cookies)
		time.Sleep(time.Second)
		second := b.get("/new")
		slow.Set(storetest.Faults{Latency: 40 * time.Millisecond})
		resp := b.clone().get("/old")
		assert.Equal(t, idOf(second), idOf(resp), "the cookie's")
		assert.Empty(t, resp.Cookies())
		assert.Equal(t, 304, resp.StatusCode)
		assert.Equal(t, old, resp.Header.Get("Etag"))
		time.Sleep(5 * time.Second)
		slow.Set(storetest.Faults{})
		assert.Equal(t, idOf(first), idOf(b.get("/old")))
		assert.EqualValues(t, 4, record(t, store, first).Hits)
	})
}
