package revisit_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/revisit-go/revisit"
	"github.com/revisit-go/revisit/storetest"
)

// allStore remembers every ID that was ever saved, so that a test can look at
// all records, aliases and tombstones included.
type allStore struct {
	revisit.Store
	mu  sync.Mutex
	ids map[revisit.ID]bool
}

func (s *allStore) Save(ctx context.Context, r revisit.Record, old int64) error {
	s.mu.Lock()
	s.ids[r.ID] = true
	s.mu.Unlock()
	return s.Store.Save(ctx, r, old)
}

func (s *allStore) records(t *testing.T) map[revisit.ID]revisit.Record {
	s.mu.Lock()
	ids := maps.Clone(s.ids)
	s.mu.Unlock()
	all := make(map[revisit.ID]revisit.Record)
	for id := range ids {
		if r, err := s.Load(context.Background(), id); err == nil {
			all[id] = r
		}
	}
	return all
}

// visitor is one of the model: a person with a cookie and a tag for each of a
// few pages, whose carriers are lost now and then.
type visitor struct {
	name    string
	b       *browser
	known   map[string]bool // sessions that its requests were counted on
	hits    int64           // answered by a session that was verified
	maybe   int64           // answered without, or by an unverified one
	set     bool            // a value was kept
	forgets bool            // has called Forget, with success
	links   *sync.Map       // by name, the last link of each visitor
}

// The ledger against a simple model: visitors that mint, hit, merge, join, set and
// forget, over three nodes on one store; by both carriers, and by tags alone.
func TestTheLedgerAgainstAModel(t *testing.T) {
	type weather struct {
		name   string
		faults storetest.Faults
	}
	latency := storetest.Faults{Latency: time.Millisecond, Jitter: 4 * time.Millisecond}
	with := func(change func(*storetest.Faults)) storetest.Faults {
		f := latency
		change(&f)
		return f
	}
	runs := 12 * full
	for _, w := range []weather{
		{"no faults", latency},
		{"false conflicts", with(func(f *storetest.Faults) { f.FalseConflict = 0.05 })},
		{"failures", with(func(f *storetest.Faults) { f.Fail = 0.05 })},
		{"lost answers", with(func(f *storetest.Faults) { f.LoseAnswer, f.LoseConflict = 0.05, 0.05 })},
		{"everything", with(func(f *storetest.Faults) {
			f.Fail, f.FalseConflict, f.LoseAnswer, f.LoseConflict = 0.05, 0.05, 0.05, 0.05
		})},
	} {
		t.Run(w.name, func(t *testing.T) {
			for seed := range runs {
				synctest.Test(t, func(t *testing.T) {
					modelRun(t, uint64(seed), w.faults, w.name == "no faults" || w.name == "false conflicts")
				})
			}
		})
	}
}

// flushEvery is that of a third of the model's lives.
const flushEvery = 10 * time.Millisecond

// tellAll sets what it is asked to, and tells what it sees.
var tellAll = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	if s, ok := revisit.FromContext(r.Context()); ok {
		w.Header().Set("X-Unverified", fmt.Sprint(s.Unverified))
		if name := r.Header.Get("X-Set"); name != "" {
			if err := s.Set(r.Context(), name, name); err == nil {
				w.Header().Set("X-Kept", "yes")
			}
		}
	}
	seen(w, r)
})

func modelRun(t *testing.T, seed uint64, faults storetest.Faults, exact bool) {
	memory := revisit.NewMemoryStore(revisit.MemoryOptions{})
	defer memory.Close()
	all := &allStore{Store: memory, ids: make(map[revisit.ID]bool)}
	faulty := storetest.Faulty(all, faults)

	var trackers []*revisit.Tracker
	var nodes []http.Handler
	for range 3 {
		// Long enough for every retry: what is dropped for lack of time would be
		// an under-count that is reported, not one that is a fault.
		c := revisit.Config{Store: faulty, StoreTimeout: time.Minute}
		if seed%2 == 1 {
			c.Strategy = revisit.ETag{}
		}
		if seed%3 == 2 {
			c.FlushEvery = flushEvery
		}
		tracker := newTracker(t, c)
		trackers = append(trackers, tracker)
		nodes = append(nodes, site(tracker, tellAll))
	}

	visitors := make([]*visitor, 6)
	var wg sync.WaitGroup
	var links sync.Map // the last one of each
	for i := range visitors {
		v := &visitor{name: fmt.Sprint("v", i), b: newBrowser(nil), known: map[string]bool{}, links: &links}
		v.b.userAgent = v.name
		visitors[i] = v
		rnd := rand.New(rand.NewPCG(seed, uint64(i)))
		wg.Go(func() { v.live(t, rnd, nodes, trackers) })
	}
	wg.Wait()

	// What has gathered is saved, and after a last look from everybody the merges
	// that were broken off are done.
	faulty.Set(storetest.Faults{})
	for _, tracker := range trackers {
		require.NoError(t, tracker.Close())
		require.Zero(t, tracker.Stats().Dropped["closed"]+tracker.Stats().Dropped["full"])
	}
	c := revisit.Config{Store: all}
	if seed%2 == 1 {
		c.Strategy = revisit.ETag{}
	}
	last := site(newTracker(t, c), tellAll)
	for _, v := range visitors {
		v.b.handler = last
		for range 2 {
			for url := range v.b.tags {
				v.request(v.b.request("GET", url))
			}
		}
	}

	records := all.records(t)
	for id, r := range records {
		for at := r; !at.MergedInto.IsZero(); at = records[at.MergedInto] {
			require.Less(t, at.MergedInto.String(), at.ID.String(), "an alias points to an older session")
			_, ok := records[at.MergedInto]
			require.True(t, ok, "an alias of %v points nowhere", id)
		}
		if r.Forgotten {
			require.Equal(t, revisit.Record{ID: r.ID, Version: r.Version, Created: r.Created, Expires: r.Expires, Forgotten: true}, r)
		}
		var visits, hits int64
		ids := map[revisit.ID]bool{}
		for _, a := range r.MergedSessions {
			require.False(t, ids[a.ID], "absorbed twice")
			ids[a.ID] = true
			visits += a.Visits
			hits += a.Hits
		}
		require.LessOrEqual(t, hits, r.Hits)
		require.LessOrEqual(t, visits, r.Visits)
		require.True(t, slices.IsSortedFunc(r.Touches, func(a, b revisit.Touch) int { return a.Time.Compare(b.Time) }))
	}

	owner := map[string]string{}
	for _, v := range visitors {
		var hits int64
		values, counted := false, map[revisit.ID]bool{}
		for id := range v.known {
			require.Contains(t, []string{"", v.name}, owner[id], "session %s is somebody else's", id)
			owner[id] = v.name
			parsed, _ := revisit.ParseID(id)
			r := records[parsed]
			for alias := r; !r.MergedInto.IsZero(); {
				r = records[r.MergedInto]
				// A page whose tag is gone may be joined to the anchor's session
				// by a merge that was broken off: nobody meets it again.
				if r.MergedInto.IsZero() && !slices.ContainsFunc(r.MergedSessions, func(a revisit.MergedSession) bool { return a.ID == alias.ID }) {
					hits += alias.Hits
				}
			}
			// No page may have shown the session that the others were joined to.
			if counted[r.ID] {
				continue
			}
			counted[r.ID] = true
			require.Contains(t, []string{"", v.name}, owner[r.ID.String()], "session %s is somebody else's", r.ID)
			owner[r.ID.String()] = v.name
			hits += r.Hits
			for name := range r.Values {
				require.Equal(t, v.name, name, "a value of somebody else's")
				values = true
			}
		}
		if v.forgets {
			continue // what was counted before is gone with it
		}
		if exact {
			require.Equal(t, v.hits, hits, "seed %d: %s: hits, %d sessions", seed, v.name, len(v.known))
		} else {
			require.GreaterOrEqual(t, hits, v.hits, "seed %d: %s: an acknowledged hit is missing", seed, v.name)
		}
		require.Equal(t, v.set, values, "seed %d: %s: values", seed, v.name)
	}
}

// live is what a visitor does.
func (v *visitor) live(t *testing.T, rnd *rand.Rand, nodes []http.Handler, trackers []*revisit.Tracker) {
	forgotten := map[string]time.Time{}
	for range 25 {
		time.Sleep(time.Duration(rnd.IntN(3)) * time.Millisecond)
		url := fmt.Sprint("/", rnd.IntN(3))
		switch rnd.IntN(10) {
		case 0:
			clear(v.b.cookies)
		case 1:
			// A burst: the same browser asks several nodes at once.
			var wg sync.WaitGroup
			copies := make([]*browser, 4)
			var hits atomic.Int64
			var mu sync.Mutex
			for i := range copies {
				copies[i] = v.b.clone()
				copies[i].handler = nodes[rnd.IntN(len(nodes))]
				url := fmt.Sprint("/", rnd.IntN(3))
				wg.Go(func() {
					resp := copies[i].get(url)
					mu.Lock()
					defer mu.Unlock()
					v.note(resp)
					hits.Add(1)
				})
			}
			wg.Wait()
			for _, c := range copies { // it keeps what came last
				maps.Copy(v.b.cookies, c.cookies)
				maps.Copy(v.b.tags, c.tags)
				maps.Copy(v.b.bodies, c.bodies)
			}
			continue
		case 2:
			if rnd.IntN(4) > 0 {
				break
			}
			// Says no, once and for all of what it has.
			resp := v.b.clone()
			resp.handler = nodes[0]
			id := idOf(resp.get(url))
			v.known[id] = true
			v.hits++
			parsed, err := revisit.ParseID(id)
			if err != nil {
				break
			}
			if trackers[rnd.IntN(len(trackers))].Forget(t.Context(), parsed) == nil {
				v.forgets = true
				forgotten[id] = time.Now()
			}
		}
		v.b.handler = nodes[rnd.IntN(len(nodes))]
		begin := time.Now()
		r := v.b.request("GET", url)
		if rnd.IntN(4) == 0 {
			r.Header.Set("X-Set", v.name)
		}
		resp := v.request(r)
		if link := linkOf(resp); link != "" {
			v.links.Store(v.name, link)
			switch rnd.IntN(4) {
			case 0: // the page is left before its script has run
			case 1: // it runs in two places at once
				twin := v.b.clone()
				twin.handler = nodes[rnd.IntN(len(nodes))]
				var wg sync.WaitGroup
				wg.Go(func() { twin.get(anchor, fetch, header("Revisit-Link", link)) })
				v.b.get(anchor, fetch, header("Revisit-Link", link))
				wg.Wait()
			default:
				v.b.handler = nodes[rnd.IntN(len(nodes))]
				v.b.get(anchor, fetch, header("Revisit-Link", link))
			}
			if stolen, ok := v.links.Load(fmt.Sprint("v", rnd.IntN(6))); ok && rnd.IntN(4) == 0 && stolen != link {
				v.b.get(anchor, fetch, header("Revisit-Link", stolen.(string)))
			}
		}
		at, ok := forgotten[idOf(resp)]
		assert.False(t, ok && begin.Sub(at) > flushEvery && resp.Header.Get("X-Unverified") == "false", "a forgotten session has returned")
	}
}

func (v *visitor) request(r *http.Request) *http.Response {
	resp := v.b.send(r)
	v.note(resp)
	return resp
}

// note takes down what the answer says of the session.
func (v *visitor) note(resp *http.Response) {
	id := idOf(resp)
	if id == "" {
		return
	}
	v.known[id] = true
	if resp.Header.Get("X-Unverified") != "false" || viaOf(resp) == "new" && !hasToken(resp) && resp.Header.Get("X-Kept") == "" {
		v.maybe++
		return
	}
	v.hits++
	v.set = v.set || resp.Header.Get("X-Kept") != ""
}

// Invariant 3, for what does not need the beacon: parallel requests of one
// known browser, on a store that takes its time.
func TestParallelHitsAreCountedExactly(t *testing.T) {
	for _, nodes := range []int{1, 3} {
		for _, latency := range []time.Duration{0, time.Millisecond, 5 * time.Millisecond} {
			synctest.Test(t, func(t *testing.T) {
				memory := revisit.NewMemoryStore(revisit.MemoryOptions{})
				defer memory.Close()
				store := storetest.Faulty(memory, storetest.Faults{Latency: latency})
				var handlers []http.Handler
				for range nodes {
					handlers = append(handlers, newTracker(t, revisit.Config{Store: store, StoreTimeout: time.Minute}).Handler(seen))
				}
				b := newBrowser(handlers[0])
				first := b.get("/")
				saves := store.Saves()
				begin := time.Now()
				var wg sync.WaitGroup
				for i := range 20 {
					c := b.clone()
					c.handler = handlers[i%nodes]
					wg.Go(func() { assert.Equal(t, idOf(first), idOf(c.get("/"))) })
				}
				wg.Wait()
				took := time.Since(begin)
				r := record(t, memory, first)
				assert.EqualValues(t, 21, r.Hits)
				assert.EqualValues(t, 1, r.Visits)
				if nodes == 1 {
					// One writer, who folds the others in: two rounds of Load and Save.
					assert.LessOrEqual(t, took, 4*latency)
					if latency > 0 {
						assert.LessOrEqual(t, store.Saves()-saves, int64(2))
					}
				}
			})
		}
	}
}

// A merge that is broken off after any of its writes is finished by whoever
// meets it, and counts nothing twice.
func TestAMergeSurvivesACrashAtAnyPoint(t *testing.T) {
	// The writes are: the tag has met a cookie, alias, absorbed, emptied, the hit.
	for broken := 1; broken <= 5; broken++ {
		synctest.Test(t, func(t *testing.T) {
			memory := revisit.NewMemoryStore(revisit.MemoryOptions{})
			defer memory.Close()
			store := &crashingStore{Store: memory, left: 1 << 30}
			b := newBrowser(newTracker(t, revisit.Config{Store: store}).Handler(seen))
			first := b.get("/old")
			b.get("/old")
			clear(b.cookies)
			time.Sleep(time.Second)
			second := b.get("/new")
			b.get("/new")
			young := b.clone()

			store.left = broken
			b.clone().get("/old") // merges, as far as it gets
			store.left = 1 << 30
			// Another node meets what is left, by the younger one's carriers.
			young.handler = newTracker(t, revisit.Config{Store: store}).Handler(seen)
			delete(young.tags, "/old")
			young.get("/new")
			b.get("/old")

			root, alias := record(t, memory, first), record(t, memory, second)
			assert.Equal(t, root.ID, alias.MergedInto, "broken after %d", broken)
			assert.Zero(t, alias.Hits, "broken after %d: the alias is emptied", broken)
			require.Len(t, root.MergedSessions, 1)
			absorbed := int64(2)
			if broken == 1 {
				absorbed++ // the hit on /new came before the merge
			}
			assert.EqualValues(t, absorbed, root.MergedSessions[0].Hits, "broken after %d", broken)
			assert.Zero(t, root.MergedSessions[0].Visits, "its visit was a part of the other's")
			hits := int64(2 + 2 + 1 + 1) // the two sessions', and the two after the crash
			if broken == 5 {
				hits++ // the one that merged was counted as well
			}
			assert.Equal(t, hits, root.Hits, "broken after %d", broken)
			assert.EqualValues(t, 1, root.Visits)
		})
	}
}

// crashingStore fails from a Save on.
type crashingStore struct {
	revisit.Store
	left int
}

func (s *crashingStore) Load(ctx context.Context, id revisit.ID) (revisit.Record, error) {
	if s.left <= 0 {
		return revisit.Record{}, storetest.ErrInjected
	}
	return s.Store.Load(ctx, id)
}

func (s *crashingStore) Save(ctx context.Context, r revisit.Record, old int64) error {
	if s.left--; s.left < 0 {
		return storetest.ErrInjected
	}
	return s.Store.Save(ctx, r, old)
}

// threeInARow begins three sessions, each a second younger than the one before.
// claim sends a request with the cookie of one and the tag of another, -1 for
// none.
func threeInARow(h http.Handler) (first [3]*http.Response, claim func(cookie, tag int)) {
	var b [3]*browser
	for i := range b {
		b[i] = newBrowser(h)
		first[i] = b[i].get(fmt.Sprint("/", i))
		time.Sleep(time.Second)
	}
	return first, func(cookie, tag int) {
		c := newBrowser(h)
		if cookie >= 0 {
			maps.Copy(c.cookies, b[cookie].cookies)
		}
		if tag >= 0 {
			maps.Copy(c.tags, b[tag].tags)
			c.get(fmt.Sprint("/", tag))
			return
		}
		c.get("/")
	}
}

// Three sessions in a row, the youngest merged into the middle one and emptied,
// and the middle one's own merge broken off: what the youngest had counts once.
func TestMergesInARowLoseNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := revisit.NewMemoryStore(revisit.MemoryOptions{})
		defer memory.Close()
		store := &crashingStore{Store: memory, left: 1 << 30}
		h := newTracker(t, revisit.Config{Store: store}).Handler(seen)
		first, claim := threeInARow(h)
		claim(1, 2) // 2 into 1
		store.left = 1
		claim(0, 1) // 1 becomes an alias of 0, and no more
		store.left = 1 << 30
		claim(2, -1)
		claim(1, -1)
		claim(0, -1)
		root := record(t, memory, first[0])
		assert.EqualValues(t, 3+1+3, root.Hits)
		assert.EqualValues(t, 1, root.Visits)
		assert.Len(t, root.MergedSessions, 2)
	})
}

// An alias that the store has lost comes back as a session of its own: what is
// set on it then must not vanish when it is merged again.
func TestAnAliasThatWasLostKeepsWhatItGets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := revisit.NewMemoryStore(revisit.MemoryOptions{})
		defer memory.Close()
		store := &losingStore{Store: memory}
		set := ""
		tracker := newTracker(t, revisit.Config{Store: store})
		b := newBrowser(tracker.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if s, ok := revisit.FromContext(r.Context()); ok && set != "" {
				assert.NoError(t, s.Set(r.Context(), "lead", set))
			}
			seen(w, r)
		})))
		first := b.get("/old")
		clear(b.cookies)
		time.Sleep(time.Second)
		second := b.get("/new")
		young := b.clone()
		b.get("/old")

		require.NoError(t, store.lose(t.Context(), second))
		set = "42"
		clear(young.tags)
		young.get("/else")
		set = ""
		b.get("/new") // the older one's cookie, the younger one's tag
		assert.Equal(t, "42", record(t, memory, first).Values["lead"].Text)
	})
}

// losingStore can lose a record, as an eviction or a backup does.
type losingStore struct {
	revisit.Store
	lost revisit.ID
}

func (s *losingStore) lose(ctx context.Context, resp *http.Response) (err error) {
	s.lost, err = revisit.ParseID(idOf(resp))
	return err
}

func (s *losingStore) Load(ctx context.Context, id revisit.ID) (revisit.Record, error) {
	if id == s.lost {
		return revisit.Record{}, revisit.ErrNotFound
	}
	return s.Store.Load(ctx, id)
}

func (s *losingStore) Save(ctx context.Context, r revisit.Record, old int64) error {
	if r.ID == s.lost && old == 0 {
		have, err := s.Store.Load(ctx, r.ID)
		if err != nil {
			return err
		}
		s.lost, old = revisit.ID{}, have.Version
	}
	return s.Store.Save(ctx, r, old)
}

// Also if they all come at once, on a store that takes its time, no more than
// eight strangers get through a leaked tag; and also if the tag is renewed with
// each of them.
func TestALeakedTagDiesInAFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := revisit.NewMemoryStore(revisit.MemoryOptions{})
		defer memory.Close()
		store := storetest.Faulty(memory, storetest.Faults{Latency: 2 * time.Millisecond})
		var nodes []*revisit.Tracker
		for range 3 {
			nodes = append(nodes, newTracker(t, revisit.Config{Store: store, StoreTimeout: time.Minute}))
		}
		leak := newBrowser(nodes[0].Handler(seen))
		leak.get("/")
		time.Sleep(time.Second)
		var wg sync.WaitGroup
		for i := range 30 {
			b := newBrowser(nodes[i%3].Handler(seen))
			b.get("/home")
			b.tags["/"] = leak.tags["/"]
			wg.Go(func() { b.get("/") })
		}
		wg.Wait()
		var merged int64
		for _, n := range nodes {
			merged += n.Stats().Merged
		}
		assert.LessOrEqual(t, merged, int64(8))
		assert.Positive(t, merged)
	})
	synctest.Test(t, func(t *testing.T) {
		store := revisit.NewMemoryStore(revisit.MemoryOptions{})
		defer store.Close()
		tracker := newTracker(t, revisit.Config{Store: store})
		var victims []*browser
		for range 30 {
			b := newBrowser(tracker.Handler(seen))
			b.get("/home")
			victims = append(victims, b)
			time.Sleep(time.Second)
		}
		tag := ""
		for i := len(victims) - 1; i >= 0; i-- { // each one older than the last
			b := victims[i]
			b.tags["/"] = tag
			b.get("/")
			tag = b.tags["/"]
		}
		for _, b := range victims {
			assert.LessOrEqual(t, len(record(t, store, b.get("/home")).MergedSessions), 8)
		}
	})
}

// Of a browser whose twenty parts of a page carry a merged session's tag, only
// one cookie was met.
func TestOneCookieIsMetOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := revisit.NewMemoryStore(revisit.MemoryOptions{})
		defer memory.Close()
		store := storetest.Faulty(memory, storetest.Faults{Latency: 2 * time.Millisecond})
		h := newTracker(t, revisit.Config{Store: store, StoreTimeout: time.Minute}).Handler(seen)
		b := newBrowser(h)
		first := b.get("/old")
		clear(b.cookies)
		time.Sleep(time.Second)
		b.get("/new")
		var wg sync.WaitGroup
		for range 20 {
			c := b.clone()
			wg.Go(func() { c.get("/old") })
		}
		wg.Wait()
		assert.Len(t, record(t, memory, first).ConflictingCookies, 1)
	})
}

// With one node there is nobody else who writes in between: a lost answer is
// not counted twice, nor is a conflict that was none.
func TestALostAnswerIsCountedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := revisit.NewMemoryStore(revisit.MemoryOptions{})
		defer memory.Close()
		store := storetest.Faulty(memory, storetest.Faults{})
		tracker := newTracker(t, revisit.Config{Store: store, StoreTimeout: time.Minute})
		b := newBrowser(tracker.Handler(seen))
		first := b.get("/")
		store.Set(storetest.Faults{LoseAnswer: 0.3, LoseConflict: 0.3})
		const hits = 300
		for range hits {
			b.get("/")
		}
		assert.Zero(t, tracker.Stats().Unverified)
		assert.EqualValues(t, 1+hits, record(t, memory, first).Hits)
	})
}

// A store that is so slow that no merge is finished in time must not make a tag
// look leaked: it has met one cookie only.
func TestASlowStoreDoesNotMakeATagLookLeaked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := revisit.NewMemoryStore(revisit.MemoryOptions{})
		defer memory.Close()
		store := storetest.Faulty(memory, storetest.Faults{})
		tracker := newTracker(t, revisit.Config{Store: store})
		b := newBrowser(tracker.Handler(seen))
		first := b.get("/old")
		clear(b.cookies)
		time.Sleep(time.Second)
		b.get("/new")
		for _, latency := range []time.Duration{20, 30, 40, 45, 50, 60, 80, 100} {
			store.Set(storetest.Faults{Latency: latency * time.Millisecond})
			for range 2 {
				b.clone().get("/old")
				time.Sleep(time.Minute)
			}
		}
		store.Set(storetest.Faults{})
		assert.Equal(t, idOf(first), idOf(b.get("/old")))
		assert.Len(t, record(t, memory, first).ConflictingCookies, 1)
		assert.Zero(t, tracker.Stats().Leaked)
	})
}

// What the younger session brings into a merge.
func TestWhatAMergeBrings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := revisit.NewMemoryStore(revisit.MemoryOptions{})
		defer memory.Close()
		tracker := newTracker(t, revisit.Config{Store: memory})
		b := newBrowser(tracker.Handler(seen))
		first := b.get("/old")
		require.False(t, record(t, memory, first).Confirmed)
		clear(b.cookies)
		time.Sleep(2 * time.Hour)
		second := b.get("/new?utm_source=mail&utm_campaign=spring")
		young := b.clone()
		time.Sleep(time.Minute)
		b.get("/new?utm_source=mail&utm_campaign=spring")
		require.True(t, record(t, memory, second).Confirmed)
		b.get("/old")

		root, alias := record(t, memory, first), record(t, memory, second)
		require.Len(t, root.Touches, 2)
		assert.Equal(t, "/old", root.Touches[0].Landing)
		assert.Equal(t, "spring", root.Touches[1].Campaign)
		assert.True(t, root.Confirmed)
		assert.EqualValues(t, 4, root.Hits)
		assert.EqualValues(t, 2, root.Visits, "a campaign's visit is one of its own")
		assert.Equal(t, alias.Created, root.VisitStart)
		assert.Equal(t, 761*24*time.Hour, alias.Expires.Sub(alias.Created), "an alias lasts as long as its tokens")
		assert.True(t, alias.LastHit.IsZero() && len(alias.Touches) == 0)

		// An unconfirmed one becomes an alias that lasts, too.
		clear(young.cookies)
		clear(young.tags)
		third := young.get("/x")
		young.cookies = maps.Clone(b.cookies)
		young.get("/x")
		alias = record(t, memory, third)
		require.Equal(t, root.ID, alias.MergedInto)
		assert.Equal(t, 761*24*time.Hour, alias.Expires.Sub(alias.Created))
		assert.True(t, record(t, memory, first).Confirmed)
	})
}

// A merge in a row that was broken off: all of it is forgotten.
func TestForgetTakesWhatLiesBetweenInARow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := revisit.NewMemoryStore(revisit.MemoryOptions{})
		defer memory.Close()
		store := &crashingStore{Store: memory, left: 1 << 30}
		tracker := newTracker(t, revisit.Config{Store: store})
		h := tracker.Handler(seen)
		first, claim := threeInARow(h)
		claim(1, 2)
		store.left = 1
		claim(0, 1) // 1 is an alias of 0 that was not absorbed
		store.left = 1 << 30
		id, _ := revisit.ParseID(idOf(first[2]))
		require.NoError(t, tracker.Forget(t.Context(), id))
		for i := range first {
			assert.True(t, record(t, memory, first[i]).Forgotten, "session %d", i)
		}
	})
}

// A value that is set while two sessions are being merged, and differs, keeps
// them apart: it was acknowledged.
func TestAValueSetDuringAMergeIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := revisit.NewMemoryStore(revisit.MemoryOptions{})
		defer memory.Close()
		store := &hookedStore{Store: memory}
		tracker := newTracker(t, revisit.Config{Store: store})
		lead := ""
		h := tracker.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if s, ok := revisit.FromContext(r.Context()); ok && lead != "" {
				assert.NoError(t, s.Set(r.Context(), "lead", lead))
			}
			seen(w, r)
		}))
		b := newBrowser(h)
		first := b.get("/old")
		old := b.clone()
		clear(b.cookies)
		time.Sleep(time.Second)
		lead = "bob"
		second := b.get("/new")
		lead = ""
		store.before = func(r revisit.Record) {
			if !r.MergedInto.IsZero() {
				store.before = nil
				lead = "ann"
				clear(old.tags)
				old.get("/else")
				lead = ""
			}
		}
		b.get("/old")
		require.Nil(t, store.before)
		assert.Equal(t, "ann", record(t, memory, first).Values["lead"].Text)
		r := record(t, memory, second)
		assert.Equal(t, "bob", r.Values["lead"].Text)
		assert.True(t, r.MergedInto.IsZero())
	})
}

// hookedStore calls a function before each Save.
type hookedStore struct {
	revisit.Store
	before func(revisit.Record)
}

func (s *hookedStore) Save(ctx context.Context, r revisit.Record, old int64) error {
	if s.before != nil {
		s.before(r)
	}
	return s.Store.Save(ctx, r, old)
}

// Of a merge that was broken off, neither side may be gone after a day: the
// alias has tokens, and the root has what a visitor brought.
func TestAnUnfinishedMergeOutlivesTheDay(t *testing.T) {
	for broken, confirmed := range map[int]bool{2: false, 3: true} {
		synctest.Test(t, func(t *testing.T) {
			memory := revisit.NewMemoryStore(revisit.MemoryOptions{})
			defer memory.Close()
			store := &crashingStore{Store: memory, left: 1 << 30}
			b := newBrowser(newTracker(t, revisit.Config{Store: store}).Handler(seen))
			first := b.get("/old")
			clear(b.cookies)
			time.Sleep(time.Second)
			second := b.get("/new")
			if confirmed {
				b.get("/new")
			}
			store.left = broken
			b.get("/old")
			alias, root := record(t, memory, second), record(t, memory, first)
			require.Equal(t, root.ID, alias.MergedInto)
			assert.Equal(t, 761*24*time.Hour, alias.Expires.Sub(alias.Created))
			if confirmed {
				require.Len(t, root.MergedSessions, 1)
				assert.True(t, root.Confirmed)
				assert.Equal(t, 761*24*time.Hour, root.Expires.Sub(root.Created))
			}
		})
	}
}

// What goes on in a memory store's slot is what the rules make of the whole record:
// the same requests on the store, and on one that cannot do that, are the same sessions.
func TestFastPath(t *testing.T) {
	for seed := range uint64(20 * full) {
		inPlace := goOnRun(t, seed, func(m *revisit.MemoryStore) revisit.Store { return m })
		whole := goOnRun(t, seed, func(m *revisit.MemoryStore) revisit.Store { return struct{ revisit.Store }{m} })
		require.Equal(t, len(whole), len(inPlace))
		for i := range whole {
			require.Equal(t, whole[i], inPlace[i], "seed %d, step %d", seed, i)
		}
	}
}

// goOnRun has three browsers do by chance what visitors do, and returns what their
// handlers, and the store, knew of them each time, without IDs.
func goOnRun(t *testing.T, seed uint64, wrap func(*revisit.MemoryStore) revisit.Store) (known []string) {
	synctest.Test(t, func(t *testing.T) {
		m := revisit.NewMemoryStore(revisit.MemoryOptions{SweepEvery: 24 * time.Hour})
		defer m.Close()
		note := func(what string, r revisit.Record) {
			r.ID, r.Version = revisit.ID{}, 0
			r.MergedSessions, r.ConflictingCookies = slices.Clone(r.MergedSessions), slices.Clone(r.ConflictingCookies)
			for i := range r.MergedSessions {
				r.MergedSessions[i].ID, r.MergedSessions[i].NotifyPending = revisit.ID{}, false // OnMerge may be done, or not
			}
			clear(r.ConflictingCookies)
			known = append(known, fmt.Sprintf("%s %+v", what, r))
		}
		tracker := newTracker(t, revisit.Config{Store: wrap(m), Lifetime: 20 * 24 * time.Hour, Retention: 20 * 24 * time.Hour, OnMerge: func(context.Context, revisit.ID, revisit.ID) error { return nil }})
		rnd := rand.New(rand.NewPCG(seed, 42))
		h := tracker.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s, ok := revisit.FromContext(r.Context())
			if !ok {
				known = append(known, "nobody")
				return
			}
			if r.URL.Path == "/set" {
				assert.NoError(t, s.Set(r.Context(), "lead", r.URL.RawQuery))
			}
			note(s.Via, s.Record())
			stored, err := m.Load(r.Context(), s.ID)
			if err == nil {
				note("stored", stored)
			}
			if r.URL.Path == "/logout" {
				_ = tracker.Renew(r.Context())
			}
			if r.URL.Path == "/forget" {
				assert.NoError(t, tracker.Forget(r.Context(), s.ID))
			}
		}))
		visitors := []*browser{newBrowser(h), newBrowser(h), newBrowser(h)}
		for range 100 {
			gaps := []time.Duration{time.Second, time.Second, 20 * time.Second, 50 * time.Second, 10 * time.Minute, 30*time.Minute - time.Millisecond, 30 * time.Minute, 24 * time.Hour}
			time.Sleep(gaps[rnd.IntN(len(gaps))])
			b := visitors[rnd.IntN(len(visitors))]
			paths := []string{"/", "/", "/", "/shoes", "/shoes?size=42", "/?utm_source=google&utm_medium=cpc&utm_campaign=ads", "/?utm_source=crm&utm_medium=email&utm_campaign=letter", "/?gclid=abc", "/set?1", "/logout", "/forget"}
			path := paths[rnd.IntN(len(paths)-rnd.IntN(3))] // the last ones are rare
			from := []string{"", "", "http://example.com/", "https://www.google.com/", "https://www.paypal.com/checkoutnow", "https://news.example/story?id=7"}[rnd.IntN(6)]
			kinds := []kind{typed, link, link, clickFrom, image, fetch, bare}
			switch rnd.IntN(20) {
			case 0:
				b.cookies = map[string]string{}
			case 1:
				b.tags = map[string]string{}
			case 2: // two windows, one of which does not know what the other has done
				visitors[rnd.IntN(len(visitors))] = b.clone()
			}
			r := b.request("GET", path, kinds[rnd.IntN(len(kinds))])
			if from != "" {
				r.Header.Set("Referer", from)
			}
			b.send(r)
			synctest.Wait()
		}
	})
	return known
}

// Page views that go on, and those that do not, at once.
func TestGoOnInParallel(t *testing.T) {
	m := revisit.NewMemoryStore(revisit.MemoryOptions{})
	defer m.Close()
	first := newBrowser(newTracker(t, revisit.Config{Store: m}).Handler(seen))
	id, err := revisit.ParseID(idOf(first.get("/")))
	require.NoError(t, err)
	first.get("/")
	const each = 2000
	var group sync.WaitGroup
	for i := range 8 {
		b := first.clone()
		group.Go(func() {
			for j := range each {
				path := "/"
				if i%2 == 0 {
					path = fmt.Sprint("/?utm_source=", j%3)
				}
				assert.Equal(t, id.String(), idOf(b.get(path)))
			}
		})
	}
	group.Wait()
	r, err := m.Load(t.Context(), id)
	require.NoError(t, err)
	assert.EqualValues(t, 2+8*each, r.Hits)
}
