package revisit_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
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

// batchStore saves in batches, by one question.
type batchStore struct {
	*storetest.FaultyStore
	under            revisit.Store
	batches, changes atomic.Int64
	lose             atomic.Bool // batches are done, whatever else fails, and the answers lost
}

func (s *batchStore) LoadAll(ctx context.Context, ids []revisit.ID) (all []revisit.Record, err error) {
	for _, id := range ids {
		if r, err := s.Load(ctx, id); err == nil {
			all = append(all, r)
		}
	}
	return all, nil
}

func (s *batchStore) SaveAll(ctx context.Context, changes []revisit.Change) []error {
	s.batches.Add(1)
	s.changes.Add(int64(len(changes)))
	errs := make([]error, len(changes))
	for i, c := range changes {
		if s.lose.Load() {
			_ = s.under.Save(ctx, c.Record, c.Old)
			errs[i] = storetest.ErrInjected
			continue
		}
		errs[i] = s.Save(ctx, c.Record, c.Old)
	}
	return errs
}

var _ revisit.Batcher = (*batchStore)(nil)

// gathering makes trackers that gather, on one store in memory.
func gathering(t *testing.T, every time.Duration, nodes int) (store *allStore, faulty *batchStore, trackers []*revisit.Tracker, handlers []http.Handler) {
	store = newAllStore(t)
	faulty = &batchStore{under: store, FaultyStore: storetest.Faulty(store, storetest.Faults{Latency: time.Millisecond})}
	for range nodes {
		tracker := newTracker(t, revisit.Config{Store: faulty, FlushEvery: every})
		trackers = append(trackers, tracker)
		handlers = append(handlers, tracker.Handler(seen))
	}
	return store, faulty, trackers, handlers
}

// A session that this process has asked the store about within FlushEvery costs
// no round trip, and its page views are saved in one batch with others.
func TestPageViewsGather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, faulty, trackers, nodes := gathering(t, 10*time.Second, 1)
		browsers := make([]*browser, 50)
		var first []*http.Response
		for i := range browsers {
			browsers[i] = newBrowser(nodes[0])
			first = append(first, browsers[i].get("/")) // saved at once: it is new
			browsers[i].get("/")                        // at once: it is confirmed
		}
		loads, saves := faulty.Loads(), faulty.Saves()
		for range 10 {
			for _, b := range browsers {
				resp := b.get("/")
				assert.Equal(t, "cookie", viaOf(resp))
			}
		}
		assert.Equal(t, loads, faulty.Loads())
		assert.Equal(t, saves, faulty.Saves())
		assert.EqualValues(t, 2, record(t, store, first[0]).Hits)
		time.Sleep(11 * time.Second)
		for i := range browsers {
			assert.EqualValues(t, 12, record(t, store, first[i]).Hits)
		}
		assert.EqualValues(t, 1, faulty.batches.Load())
		assert.EqualValues(t, 50, faulty.changes.Load())
		// Long ago: the store is asked, and what it says is used.
		time.Sleep(time.Minute)
		loads = faulty.Loads()
		browsers[0].get("/")
		assert.Equal(t, loads+1, faulty.Loads())
		require.NoError(t, trackers[0].Close())
		assert.EqualValues(t, 13, record(t, store, first[0]).Hits, "Close saves what is left")
	})
}

// What is more than a page view of the visit under way is saved at once.
func TestWhatDoesNotGather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, _, _, nodes := gathering(t, 5*time.Minute, 1)
		b := newBrowser(nodes[0])
		first := b.get("/")
		b.get("/")
		b.get("/")
		assert.EqualValues(t, 2, record(t, store, first).Hits, "the third has gathered")
		b.get("/?utm_source=mail")
		r := record(t, store, first)
		assert.EqualValues(t, 4, r.Hits, "a campaign, and what has gathered before it")
		assert.EqualValues(t, 2, r.Visits)
		assert.Len(t, r.Touches, 2)
		time.Sleep(31 * time.Minute)
		b.get("/")
		r = record(t, store, first)
		assert.EqualValues(t, 5, r.Hits)
		assert.EqualValues(t, 3, r.Visits, "the page view that begins a visit")
	})
}

// Three nodes count exactly, and what one of them forgets is forgotten on all
// after FlushEvery.
func TestNodesThatGatherAgree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, faulty, trackers, nodes := gathering(t, 10*time.Second, 3)
		b := newBrowser(nodes[0])
		first := b.get("/")
		b.get("/")
		var wg sync.WaitGroup
		for i := range 300 {
			c := b.clone()
			c.handler = nodes[i%3]
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 100 * time.Millisecond)
				c.get("/")
			})
		}
		wg.Wait()
		time.Sleep(11 * time.Second)
		assert.EqualValues(t, 302, record(t, store, first).Hits)
		assert.Less(t, faulty.Saves(), int64(60))

		// Not at the time of a flush, and with nothing to be flushed.
		time.Sleep(2400 * time.Millisecond)
		for _, h := range nodes {
			b.handler = h
			b.get("/")
			b.get("/", fetch)
		}
		time.Sleep(5 * time.Second)
		for _, h := range nodes {
			b.handler = h
			b.get("/", fetch)
		}
		id, _ := revisit.ParseID(idOf(first))
		require.NoError(t, trackers[1].Forget(t.Context(), id))
		b.handler = nodes[1]
		assert.NotEqual(t, idOf(first), idOf(b.clone().get("/")), "on the same node at once")
		time.Sleep(10 * time.Second)
		for _, h := range nodes {
			c := b.clone()
			c.handler = h
			assert.NotEqual(t, idOf(first), idOf(c.get("/", fetch)))
		}
		time.Sleep(11 * time.Second)
		assert.True(t, record(t, store, first).Forgotten, "nothing that had gathered brings it back")
	})
}

// While the store is away visitors are recognised, and their page views wait; then
// they are saved, once.
func TestPageViewsWaitForTheStore(t *testing.T) {
	for _, c := range []struct {
		name   string
		faults storetest.Faults
		lose   bool
	}{
		{"it fails", storetest.Faults{Fail: 1}, false},
		{"it does, and says that it failed", storetest.Faults{LoseAnswer: 1}, true},
		{"it does the batch, and then fails", storetest.Faults{Fail: 1}, true},
		{"it hangs", storetest.Faults{Latency: time.Minute}, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			store, faulty, trackers, nodes := gathering(t, 10*time.Second, 1)
			var first []*http.Response
			browsers := make([]*browser, 20)
			for i := range browsers {
				browsers[i] = newBrowser(nodes[0])
				first = append(first, browsers[i].get("/"))
				browsers[i].get("/")
				browsers[i].get("/")
			}
			faulty.Set(c.faults)
			faulty.lose.Store(c.lose)
			for range 12 {
				time.Sleep(5 * time.Second)
				for i, b := range browsers {
					begin := time.Now()
					resp := b.get("/")
					assert.Equal(t, idOf(first[i]), idOf(resp), c.name)
					assert.LessOrEqual(t, time.Since(begin), 250*time.Millisecond)
				}
			}
			faulty.Set(storetest.Faults{Latency: time.Millisecond})
			faulty.lose.Store(false)
			time.Sleep(2 * time.Minute)
			for i := range browsers {
				assert.EqualValues(t, 15, record(t, store, first[i]).Hits, "%s: %d", c.name, i)
			}
			assert.Equal(t, map[string]int64{"timeout": 0, "busy": 0, "store": 0, "full": 0, "closed": 0, "hook": 0}, trackers[0].Stats().Dropped)
		})
	}
}

// Close does not wait for a store that is away for ever, and says what is lost.
func TestCloseTellsWhatIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, faulty, trackers, nodes := gathering(t, 10*time.Second, 1)
		b := newBrowser(nodes[0])
		for range 5 {
			b.get("/")
		}
		faulty.Set(storetest.Faults{Fail: 1})
		begin := time.Now()
		require.NoError(t, trackers[0].Close())
		assert.LessOrEqual(t, time.Since(begin), 10*time.Second)
		assert.EqualValues(t, 3, trackers[0].Stats().Dropped["closed"])
	})
}

// A batch in which some have changed meanwhile saves the others, and then those.
func TestABatchWithConflicts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, _, trackers, nodes := gathering(t, 10*time.Second, 2)
		var first []*http.Response
		browsers := make([]*browser, 30)
		for i := range browsers {
			browsers[i] = newBrowser(nodes[0])
			first = append(first, browsers[i].get("/"))
			browsers[i].get("/")
			browsers[i].get("/") // gathers here
			if i%3 == 0 {
				browsers[i].handler = nodes[1]
				browsers[i].get(fmt.Sprint("/?utm_campaign=", i)) // and is changed there
			}
			if i%3 == 1 {
				id, _ := revisit.ParseID(idOf(first[i]))
				require.NoError(t, trackers[1].Forget(t.Context(), id))
			}
		}
		time.Sleep(11 * time.Second)
		for i := range browsers {
			r := record(t, store, first[i])
			switch i % 3 {
			case 0:
				assert.EqualValues(t, 4, r.Hits)
				assert.Len(t, r.Touches, 2)
			case 1:
				assert.True(t, r.Forgotten)
			case 2:
				assert.EqualValues(t, 3, r.Hits)
			}
		}
	})
}

func TestFlushEveryIsChecked(t *testing.T) {
	for every, ok := range map[time.Duration]bool{-1: false, 0: true, time.Minute: true, 15*time.Minute - 1: true, 15 * time.Minute: false, time.Hour: false} {
		tracker, err := revisit.New(revisit.Config{Consent: grant(revisit.Deny), Keys: [][]byte{testKey}, FlushEvery: every})
		assert.Equal(t, ok, err == nil, every)
		if err == nil {
			require.NoError(t, tracker.Close())
		}
	}
	_, err := revisit.New(revisit.Config{Consent: grant(revisit.Deny), Keys: [][]byte{testKey}, FlushEvery: time.Minute, VisitGap: time.Minute})
	assert.ErrorContains(t, err, "FlushEvery")
}

// A store that ignores its context for ever gets so many calls of the flusher, and no more.
func TestAStoreThatHangsForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &stuckStore{allStore: newAllStore(t), stuck: make(chan struct{})}
		h := newTracker(t, revisit.Config{Store: store, FlushEvery: 10 * time.Second}).Handler(seen)
		browsers := make([]*browser, 200)
		for i := range browsers {
			browsers[i] = newBrowser(h)
			browsers[i].get("/")
			browsers[i].get("/")
			browsers[i].get("/") // which waits to be saved
		}
		store.on.Store(true)
		time.Sleep(10 * time.Minute)
		assert.LessOrEqual(t, store.calls.Load(), int64(32))
		close(store.stuck)
		time.Sleep(time.Minute)
		for r := range store.records(t) {
			assert.EqualValues(t, 3, store.records(t)[r].Hits, "nothing is lost by it")
		}
	})
}

type stuckStore struct {
	*allStore
	on    atomic.Bool
	calls atomic.Int64
	stuck chan struct{}
}

func (s *stuckStore) Save(ctx context.Context, r revisit.Record, old int64) error {
	if s.on.Load() {
		s.calls.Add(1)
		<-s.stuck
	}
	return s.allStore.Save(ctx, r, old)
}

// A store whose reads go on while its writes hang (a full disk, a standby that is away): what
// a flush gives back is not lost, though the store was asked about the session meanwhile.
func TestNothingIsLostWhileWritesHang(t *testing.T) {
	for _, writes := range []mood{hanging, failing, losing, answering} {
		synctest.Test(t, func(t *testing.T) {
			store := &moodyStore{allStore: newAllStore(t), rand: rand.New(rand.NewPCG(1, 2)), often: 1}
			tracker := newTracker(t, revisit.Config{Store: moodyBatcher{store}, FlushEvery: 10 * time.Second, Strategy: revisit.Cookie{}})
			browsers := make([]*browser, 40)
			var first []*http.Response
			for i := range browsers {
				browsers[i] = newBrowser(tracker.Handler(seen))
				first = append(first, browsers[i].get("/"))
				browsers[i].get("/")
			}
			all := func() {
				for _, b := range browsers {
					b.get("/")
				}
			}
			all()
			store.set(well, writes, 1)
			time.Sleep(6 * time.Second)
			all()
			time.Sleep(20 * time.Second)
			all() // the store is asked about them
			time.Sleep(20 * time.Second)
			all()
			store.set(well, well, 1)
			time.Sleep(time.Minute)
			require.NoError(t, tracker.Close())
			for i := range browsers {
				assert.EqualValues(t, 6, record(t, store, first[i]).Hits, "%v", writes)
			}
			assert.Zero(t, tracker.Stats().Dropped["full"]+tracker.Stats().Dropped["closed"])
		})
	}
}

// slowSave lets a test stop a single Save.
type slowSave struct {
	moodyBatcher
	stop func(revisit.Record)
}

func (s *slowSave) Save(ctx context.Context, r revisit.Record, old int64) error {
	if s.stop != nil {
		s.stop(r)
	}
	return s.moodyBatcher.Save(ctx, r, old)
}

func newSlowSave(t *testing.T) *slowSave {
	return &slowSave{moodyBatcher: moodyBatcher{&moodyStore{allStore: newAllStore(t), rand: rand.New(rand.NewPCG(1, 2)), often: 1}}}
}

// What a Set takes along is not written by a flush as well.
func TestWhatIsTakenAlongCountsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newSlowSave(t)
		tracker := newTracker(t, revisit.Config{Store: store, FlushEvery: 10 * time.Second, StoreTimeout: time.Minute, Strategy: revisit.Cookie{}})
		var session *revisit.Session
		b := newBrowser(tracker.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			session, _ = revisit.FromContext(r.Context())
			seen(w, r)
		})))
		first := b.get("/")
		b.get("/")
		for range 3 {
			b.get("/")
		}
		release := make(chan bool)
		store.stop = func(r revisit.Record) {
			if r.Values["lead"].Text != "" {
				<-release
			}
		}
		go session.Set(context.Background(), "lead", "x")
		synctest.Wait()
		b.get("/")
		assert.EqualValues(t, 6, session.Hits())
		time.Sleep(11 * time.Second) // two flushes
		close(release)
		time.Sleep(11 * time.Second)
		r := record(t, store, first)
		assert.EqualValues(t, 6, r.Hits)
		assert.Equal(t, "x", r.Values["lead"].Text)
	})
}

// Page views of other tabs while the session is renewed.
func TestPageViewsCountWhileItIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newSlowSave(t)
		tracker := newTracker(t, revisit.Config{Store: store, FlushEvery: 10 * time.Second, StoreTimeout: time.Minute, Strategy: revisit.Cookie{}})
		b := newBrowser(tracker.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/logout" {
				assert.NoError(t, tracker.Renew(r.Context()))
			}
			seen(w, r)
		})))
		first := b.get("/")
		for range 4 {
			b.get("/")
		}
		release := make(chan bool)
		store.stop = func(r revisit.Record) {
			if r.LinksUsed == -1 {
				<-release
			}
		}
		tab := b.clone()
		go b.get("/logout")
		synctest.Wait()
		for range 5 {
			assert.Equal(t, idOf(first), idOf(tab.get("/")))
		}
		close(release)
		time.Sleep(time.Minute)
		require.NoError(t, tracker.Close())
		r := record(t, store, first)
		assert.EqualValues(t, 11, r.Hits)
		assert.Equal(t, -1, r.LinksUsed)
	})
}

// The first touch of an outage is what counts for attribution, and so do the others: each
// visit that begins while the store is away is there afterwards, with what led to it.
func TestVisitsOfAnOutage(t *testing.T) {
	for _, reads := range []mood{well, hanging, failing} {
		synctest.Test(t, func(t *testing.T) {
			store := newSlowSave(t)
			tracker := newTracker(t, revisit.Config{Store: store, FlushEvery: 10 * time.Second, Strategy: revisit.Cookie{}})
			b := newBrowser(tracker.Handler(seen))
			first := b.get("/")
			b.get("/")
			time.Sleep(time.Hour)
			store.set(reads, failing, 1)
			b.get("/?utm_campaign=a", clickFrom)
			time.Sleep(20 * time.Minute)
			b.get("/", link)
			time.Sleep(20 * time.Minute)
			b.get("/", link)
			time.Sleep(time.Minute)
			b.get("/?utm_campaign=b", clickFrom) // in the visit of a
			time.Sleep(31 * time.Minute)
			b.get("/", clickFrom, header("Referer", "https://blog.example/"))
			time.Sleep(31 * time.Minute)
			b.get("/", link)
			b.get("/", link)
			store.set(well, well, 1)
			time.Sleep(time.Minute)
			r := record(t, store, first)
			var by []string
			for _, touch := range r.Touches {
				by = append(by, touch.Campaign+touch.Source)
			}
			assert.Equal(t, []string{"", "a", "b", "blog.example"}, by)
			assert.EqualValues(t, 5, r.Visits)
			assert.EqualValues(t, 9, r.Hits)
			assert.Zero(t, tracker.Stats().Dropped["full"])
		})
	}
}

// A database that restarts while the process ends: Close has its time, and takes it.
func TestCloseWaitsForTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newSlowSave(t)
		tracker := newTracker(t, revisit.Config{Store: store, FlushEvery: 10 * time.Second, Strategy: revisit.Cookie{}})
		b := newBrowser(tracker.Handler(seen))
		first := b.get("/")
		for range 20 {
			b.get("/")
		}
		store.set(failing, failing, 1)
		time.AfterFunc(2*time.Second, func() { store.set(well, well, 1) })
		require.NoError(t, tracker.Close())
		assert.EqualValues(t, 21, record(t, store, first).Hits)
		assert.Zero(t, tracker.Stats().Dropped["closed"])
	})
}
