package revisit_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
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

// moves is what an application keeps by session, and moves when sessions are merged.
type moves struct {
	mu    sync.Mutex
	owned map[revisit.ID]int
	calls []string
	fail  int // that many calls
}

func (m *moves) onMerge(_ context.Context, from, into revisit.ID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls = append(m.calls, from.String()+" "+into.String())
	if m.fail > 0 {
		m.fail--
		if m.fail%2 == 0 {
			panic("a bug")
		}
		return errors.New("the database is down")
	}
	m.owned[into] += m.owned[from]
	delete(m.owned, from)
	return nil
}

// two gives a browser two sessions, and returns the pages that they are of.
func two(t *testing.T, b *browser) (older, younger revisit.ID) {
	first := b.get("/old")
	clear(b.cookies)
	time.Sleep(time.Second)
	second := b.get("/new")
	return parse(t, idOf(first)), parse(t, idOf(second))
}

// Each merge is notified of, once where nothing fails, after the store has it.
func TestOnMerge(t *testing.T) {
	for _, every := range []time.Duration{0, 10 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			store := newAllStore(t)
			slow := storetest.Faulty(store, storetest.Faults{Latency: time.Millisecond})
			m := &moves{owned: map[revisit.ID]int{}}
			tracker := newTracker(t, revisit.Config{Store: slow, FlushEvery: every, OnMerge: func(ctx context.Context, from, into revisit.ID) error {
				r, err := store.Load(ctx, from)
				assert.NoError(t, err)
				assert.Equal(t, into, r.MergedInto, "the store has it")
				return m.onMerge(ctx, from, into)
			}})
			b := newBrowser(tracker.Handler(seen))
			older, younger := two(t, b)
			m.owned[younger] = 3
			b.get("/old")
			time.Sleep(time.Minute)
			synctest.Wait()
			assert.Equal(t, []string{younger.String() + " " + older.String()}, m.calls)
			assert.Equal(t, map[revisit.ID]int{older: 3}, m.owned)
			b.get("/old")
			b.get("/new")
			time.Sleep(time.Hour)
			synctest.Wait()
			assert.Len(t, m.calls, 1)
			assert.False(t, record(t, store, b.get("/old")).MergedSessions[0].NotifyPending)
		})
	}
}

// While OnMerge fails, or panics, it is called again when the visitor comes, by
// whichever process, and at last by NotifyMerges. Three sessions in a row end as one.
func TestOnMergeIsCalledUntilItWorks(t *testing.T) {
	for i := range 4 {
		returns, inARow := i%2 == 0, i < 2
		synctest.Test(t, func(t *testing.T) {
			store := revisit.NewMemoryStore(revisit.MemoryOptions{})
			defer store.Close()
			m := &moves{owned: map[revisit.ID]int{}, fail: 5}
			first := newTracker(t, revisit.Config{Store: store, OnMerge: m.onMerge})
			b := newBrowser(first.Handler(seen))
			older, younger := two(t, b)
			youngest := b.clone()
			clear(youngest.cookies)
			clear(youngest.tags)
			third := parse(t, idOf(youngest.get("/third")))
			m.owned[younger], m.owned[third] = 3, 5
			if !inARow {
				b.get("/old") // younger into older
			}
			if _, err := first.Merge(t.Context(), younger, third); err != nil {
				t.Fatal(err)
			}
			if inARow {
				b.get("/old") // and what younger was not notified of goes along
			}
			time.Sleep(time.Second)
			synctest.Wait()
			assert.NotEmpty(t, m.calls)
			assert.Len(t, m.owned, 2)
			assert.EqualValues(t, len(m.calls), first.Stats().NotifyErrors)
			first.Close()

			second := newTracker(t, revisit.Config{Store: store, OnMerge: m.onMerge})
			if returns {
				b.handler = second.Handler(seen)
				for range 12 {
					time.Sleep(time.Minute)
					b.get("/old")
				}
			} else {
				for range 6 {
					_ = second.NotifyMerges(t.Context())
				}
				require.NoError(t, second.NotifyMerges(t.Context()))
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			assert.Equal(t, map[revisit.ID]int{older: 8}, m.owned)
			n := len(m.calls)
			require.NoError(t, second.NotifyMerges(t.Context()))
			b.get("/old")
			time.Sleep(time.Hour)
			synctest.Wait()
			assert.Len(t, m.calls, n, "and then no more")
		})
	}
}

// Without OnMerge nothing is noted, and nobody can be notified later.
func TestNotifyMergesWantsSomebodyToTell(t *testing.T) {
	store := newAllStore(t)
	tracker := newTracker(t, revisit.Config{Store: store})
	assert.Error(t, tracker.NotifyMerges(t.Context()))
	b := newBrowser(tracker.Handler(seen))
	b.get("/old")
	clear(b.cookies)
	b.get("/new")
	b.get("/old")
	for _, r := range store.records(t) {
		for _, a := range r.MergedSessions {
			assert.False(t, a.NotifyPending)
		}
	}
}

// Page views are notified of once the store has them: each once, whatever way they went.
func TestOnHit(t *testing.T) {
	for _, every := range []time.Duration{0, 10 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			store := newAllStore(t)
			slow := storetest.Faulty(store, storetest.Faults{Latency: time.Millisecond, LoseAnswer: 0.1, FalseConflict: 0.1})
			var mu sync.Mutex
			hits := map[revisit.ID]int64{}
			var landings []string
			tracker := newTracker(t, revisit.Config{Store: slow, FlushEvery: every, StoreTimeout: time.Minute, OnHit: func(ctx context.Context, h revisit.Hit) {
				r, err := store.Load(ctx, h.Session.ID)
				assert.NoError(t, err)
				assert.GreaterOrEqual(t, r.Hits, h.Session.Hits, "the store has it")
				assert.False(t, h.Time.IsZero())
				mu.Lock()
				defer mu.Unlock()
				hits[h.Session.ID] += h.Count
				landings = append(landings, h.Touch.Landing)
			}})
			h := tracker.Handler(seen)
			var wg sync.WaitGroup
			ids := make([]revisit.ID, 5)
			for i := range ids {
				wg.Go(func() {
					b := newBrowser(h)
					for n := range 10 {
						ids[i] = parse(t, idOf(b.get(fmt.Sprint("/", n%3))))
						b.get("/logo.png", image)
						if n%4 == 3 {
							time.Sleep(40 * time.Minute)
						}
					}
				})
			}
			wg.Wait()
			time.Sleep(time.Minute)
			synctest.Wait()
			for _, id := range ids {
				r, err := store.Load(t.Context(), id)
				require.NoError(t, err)
				assert.EqualValues(t, 10, r.Hits)
				assert.EqualValues(t, 10, hits[id])
			}
			assert.Contains(t, landings, "/0")
		})
	}
}

// A function of the application's that is slow, or hangs, costs no page.
func TestHooksCostNoPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		tracker := newTracker(t, revisit.Config{
			OnHit:   func(context.Context, revisit.Hit) { <-hang },
			OnMerge: func(context.Context, revisit.ID, revisit.ID) error { <-hang; return nil },
		})
		b := newBrowser(tracker.Handler(seen))
		begin := time.Now()
		b.get("/old")
		clear(b.cookies)
		b.get("/new")
		for range 5000 {
			b.get("/old")
		}
		assert.Zero(t, time.Since(begin))
		assert.Greater(t, tracker.Stats().Dropped["hook"], int64(800))
		close(hang)
	})
}

// Whoever wants a session erased, the application hears of it first, for each of the IDs;
// and while it cannot erase its own part, nothing is forgotten, and that is tried again.
func TestOnForget(t *testing.T) {
	for _, way := range []string{"Forget", "Deny", "the beacon"} {
		t.Run(way, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := newAllStore(t)
				permission := revisit.Restore
				fails := true
				notified := map[revisit.ID]int{}
				tracker := newTracker(t, revisit.Config{
					Store: store, Consent: func(*http.Request) revisit.Permission { return permission },
					OnForget: func(ctx context.Context, id revisit.ID) error {
						r, err := store.Load(ctx, id)
						assert.NoError(t, err)
						assert.False(t, r.Forgotten, "before it is erased")
						if fails {
							return errors.New("the database is down")
						}
						notified[id]++
						return nil
					},
				})
				b := newBrowser(site(tracker, seen))
				older, younger := two(t, b)
				b.get("/old")
				forget := func() {
					switch way {
					case "Forget":
						err := tracker.Forget(t.Context(), younger)
						assert.Equal(t, fails, err != nil)
					case "Deny":
						permission = revisit.Deny
						b.clone().get("/old")
					case "the beacon":
						resp := b.clone().post("/revisit/forget", nil, posted)
						assert.Equal(t, fails, resp.StatusCode == 503, resp.Status)
					}
				}
				forget()
				for _, id := range []revisit.ID{older, younger} {
					assert.False(t, store.records(t)[id].Forgotten)
				}
				fails = false
				forget()
				for _, id := range []revisit.ID{older, younger} {
					assert.True(t, store.records(t)[id].Forgotten)
					assert.Positive(t, notified[id], "%v", id)
				}
				n := len(notified)
				forget()
				assert.Len(t, notified, n)
				permission = revisit.Restore
				assert.Equal(t, "new", viaOf(b.get("/old")))
			})
		})
	}
}

// Close tells of what waits, with a context that has not ended.
func TestCloseTellsOfTheLastHits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		notified, cancelled := 0, 0
		tracker := newTracker(t, revisit.Config{OnHit: func(ctx context.Context, _ revisit.Hit) {
			select {
			case <-time.After(10 * time.Millisecond):
				notified++
			case <-ctx.Done():
				cancelled++
			}
		}})
		b := newBrowser(tracker.Handler(seen))
		for range 10 {
			b.get("/")
		}
		tracker.Close()
		synctest.Wait()
		assert.Equal(t, 10, notified)
		assert.Zero(t, cancelled)
	})
}

// A panic of the application's, or of the store while merges are notified of, does not end
// the process.
func TestHooksThatPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		notified := 0
		tracker := newTracker(t, revisit.Config{OnHit: func(context.Context, revisit.Hit) {
			if notified++; notified == 1 {
				panic("a bug")
			}
		}})
		b := newBrowser(tracker.Handler(seen))
		b.get("/")
		b.get("/")
		synctest.Wait()
		assert.Equal(t, 2, notified)
		assert.EqualValues(t, 1, tracker.Stats().Dropped["hook"])

		store := &bugStore{Store: newAllStore(t)}
		other := newTracker(t, revisit.Config{Store: store, OnMerge: func(context.Context, revisit.ID, revisit.ID) error {
			store.bug.Store(true)
			return nil
		}})
		h := other.Handler(seen)
		_, err := other.Merge(t.Context(), parse(t, idOf(newBrowser(h).get("/"))), parse(t, idOf(newBrowser(h).get("/"))))
		require.NoError(t, err)
		time.Sleep(time.Second)
		synctest.Wait()
		assert.Positive(t, other.Stats().StoreErrors)
		store.bug.Store(false)
	})
}

type bugStore struct {
	revisit.Store
	bug atomic.Bool
}

func (s *bugStore) Load(ctx context.Context, id revisit.ID) (revisit.Record, error) {
	if s.bug.Load() {
		panic("a bug in the store")
	}
	return s.Store.Load(ctx, id)
}

// An OnMerge that hangs takes no place of those who use the store.
func TestAnOnMergeThatHangsCostsNoVisitor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := storetest.Faulty(newAllStore(t), storetest.Faults{Latency: time.Millisecond})
		hang := make(chan struct{})
		tracker := newTracker(t, revisit.Config{Store: slow, OnMerge: func(context.Context, revisit.ID, revisit.ID) error { <-hang; return nil }})
		h := tracker.Handler(seen)
		for range 500 {
			a, b := newBrowser(h), newBrowser(h)
			_, err := tracker.Merge(t.Context(), parse(t, idOf(a.get("/"))), parse(t, idOf(b.get("/"))))
			require.NoError(t, err)
			time.Sleep(20 * time.Millisecond)
		}
		assert.Less(t, runtime.NumGoroutine(), 200)
		c := newBrowser(h)
		c.get("/")
		assert.Len(t, c.cookies, 1)
		close(hang)
	})
}

// What is being moved to a session that is merged into another one meanwhile moves on.
func TestMergesInARowThatAreToldOfSlowly(t *testing.T) {
	for _, slow := range []int{0, 1, 2} {
		synctest.Test(t, func(t *testing.T) {
			store := revisit.NewMemoryStore(revisit.MemoryOptions{})
			defer store.Close()
			var mu sync.Mutex
			owned := map[revisit.ID]int{}
			calls := 0
			tracker := newTracker(t, revisit.Config{Store: store, OnMerge: func(_ context.Context, from, into revisit.ID) error {
				mu.Lock()
				n := calls
				calls++
				mu.Unlock()
				if n == slow {
					time.Sleep(3 * time.Second)
				}
				mu.Lock()
				defer mu.Unlock()
				owned[into] += owned[from]
				delete(owned, from)
				return nil
			}})
			h := tracker.Handler(seen)
			var ids []revisit.ID
			for range 3 {
				ids = append(ids, parse(t, idOf(newBrowser(h).get("/"))))
				time.Sleep(time.Second)
				synctest.Wait()
			}
			oldest, middle, youngest := ids[0], ids[1], ids[2]
			mu.Lock()
			owned[youngest] = 1
			mu.Unlock()
			_, err := tracker.Merge(t.Context(), youngest, middle)
			require.NoError(t, err)
			time.Sleep(time.Second)
			synctest.Wait()
			_, err = tracker.Merge(t.Context(), middle, oldest)
			require.NoError(t, err)
			time.Sleep(time.Hour)
			synctest.Wait()
			require.NoError(t, tracker.NotifyMerges(t.Context()))
			mu.Lock()
			defer mu.Unlock()
			assert.Equal(t, map[revisit.ID]int{oldest: 1}, owned)
		})
	}
}

// Close waits for what is under way, and requests that go on meanwhile end nothing.
func TestCloseUnderTraffic(t *testing.T) {
	for range 20 {
		tracker := newTracker(t, revisit.Config{
			OnMerge: func(context.Context, revisit.ID, revisit.ID) error { return nil },
			OnHit:   func(context.Context, revisit.Hit) {},
		})
		h := tracker.Handler(seen)
		var wg sync.WaitGroup
		stop := make(chan struct{})
		for range 4 {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					b := newBrowser(h)
					b.get("/")
					clear(b.cookies)
					b.get("/x")
					b.get("/")
				}
			})
		}
		time.Sleep(2 * time.Millisecond)
		require.NoError(t, tracker.Close())
		close(stop)
		wg.Wait()
	}
}

// A session that a second signal confirms is notified of, though that is no page view; and the
// landing page after consent is no second one.
func TestOnHitIsToldWhoIsConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var notified []revisit.Hit
		tracker := newTracker(t, revisit.Config{OnHit: func(_ context.Context, h revisit.Hit) {
			mu.Lock()
			defer mu.Unlock()
			notified = append(notified, h)
		}})
		b := newBrowser(site(tracker, tagged))
		b.get("/second")
		b.get(anchor, fetch, header("Revisit-Landing", "/?utm_source=mail&utm_campaign=spring"))
		synctest.Wait()
		require.Len(t, notified, 2)
		assert.False(t, notified[0].Session.Confirmed)
		assert.EqualValues(t, 1, notified[0].Count)
		assert.True(t, notified[1].Session.Confirmed)
		assert.Zero(t, notified[1].Count, "one page was seen")
		assert.EqualValues(t, 1, notified[1].Session.Hits)
		require.Len(t, notified[1].Session.Touches, 1)
		assert.Equal(t, "spring", notified[1].Session.Touches[0].Campaign)
	})
}

// An OnForget that hangs or panics is an error of Forget, also with a store in memory.
func TestOnForgetThatHangsOrPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := true
		tracker := newTracker(t, revisit.Config{OnForget: func(ctx context.Context, _ revisit.ID) error {
			if hang {
				<-ctx.Done()
				return ctx.Err()
			}
			panic("a fault of the application's")
		}})
		b := newBrowser(tracker.Handler(seen))
		id := parse(t, idOf(b.get("/")))
		assert.ErrorIs(t, tracker.Forget(t.Context(), id), context.DeadlineExceeded)
		hang = false
		assert.ErrorContains(t, tracker.Forget(t.Context(), id), "panicked")
		assert.Equal(t, id.String(), idOf(b.get("/")), "nobody was forgotten")
	})
}

// OnForget has its ten seconds, whatever StoreTimeout is.
func TestOnForgetMayTakeItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newAllStore(t)
		tracker := newTracker(t, revisit.Config{Store: store, StoreTimeout: 50 * time.Millisecond, OnForget: func(ctx context.Context, _ revisit.ID) error {
			select {
			case <-time.After(9 * time.Second):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}})
		id := parse(t, idOf(newBrowser(tracker.Handler(seen)).get("/")))
		require.NoError(t, tracker.Forget(t.Context(), id))
		r, err := store.Load(t.Context(), id)
		require.NoError(t, err)
		assert.True(t, r.Forgotten)
	})
}

// A function of the application that ends its goroutine, as a test's FailNow does, is an
// error, and is called again.
func TestHooksThatEndTheirGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ends := true
		notified := 0
		tracker := newTracker(t, revisit.Config{
			OnForget: func(context.Context, revisit.ID) error {
				if ends {
					runtime.Goexit()
				}
				return nil
			},
			OnMerge: func(context.Context, revisit.ID, revisit.ID) error {
				if ends {
					runtime.Goexit()
				}
				notified++
				return nil
			},
		})
		h := tracker.Handler(seen)
		a, b := newBrowser(h), newBrowser(h)
		older, younger := parse(t, idOf(a.get("/"))), parse(t, idOf(b.get("/")))
		_, err := tracker.Merge(t.Context(), older, younger)
		require.NoError(t, err)
		assert.Error(t, tracker.Forget(t.Context(), younger))
		synctest.Wait()
		ends = false
		time.Sleep(time.Minute)
		a.get("/")
		synctest.Wait()
		assert.Equal(t, 1, notified)
		assert.NoError(t, tracker.Forget(t.Context(), younger))
	})
}

// After Close nothing begins in the store, also where Close could not wait for what hangs.
func TestNothingBeginsAfterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := storetest.Faulty(newAllStore(t), storetest.Faults{})
		tracker := newTracker(t, revisit.Config{Store: store})
		h := tracker.Handler(seen)
		store.Set(storetest.Faults{Hang: true})
		for range 3 {
			newBrowser(h).get("/")
		}
		require.NoError(t, tracker.Close())
		store.Set(storetest.Faults{})
		store.Release()
		synctest.Wait()
		before := store.Saves() + store.Loads()
		for range 5 {
			assert.Equal(t, http.StatusOK, newBrowser(h).get("/").StatusCode)
		}
		synctest.Wait()
		assert.Equal(t, before, store.Saves()+store.Loads())
	})
}

// Sessions that were taken off the list of those merged into one do not come back onto it,
// however many there are.
func TestTheListOfMergesStaysShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newAllStore(t)
		tracker := newTracker(t, revisit.Config{Store: store})
		h := tracker.Handler(seen)
		root := parse(t, idOf(newBrowser(h).get("/")))
		var aliases []*browser
		for range 80 {
			time.Sleep(time.Second)
			b := newBrowser(h)
			_, err := tracker.Merge(t.Context(), root, parse(t, idOf(b.get("/"))))
			require.NoError(t, err)
			aliases = append(aliases, b)
		}
		assert.EqualValues(t, 80, tracker.Stats().Merged)
		for _, b := range aliases {
			assert.Equal(t, root.String(), idOf(b.get("/x", typed)))
		}
		r, err := store.Load(t.Context(), root)
		require.NoError(t, err)
		assert.LessOrEqual(t, len(r.MergedSessions), 64)
		assert.EqualValues(t, 161, r.Hits)
	})
}

// What is no session cannot be forgotten, least of all a salt.
func TestForgetOfWhatIsNoSession(t *testing.T) {
	tracker := newTracker(t, revisit.Config{})
	salt, err := revisit.ParseID("123e4567-e89b-82d3-a456-426614174000") // a UUIDv8
	require.NoError(t, err)
	for _, id := range []revisit.ID{{}, salt} {
		assert.ErrorIs(t, tracker.Forget(t.Context(), id), revisit.ErrNotFound)
	}
}

// Nobody is notified any more once Close waits for those who are being notified.
func TestCloseStartsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		release := make(chan struct{})
		tracker := newTracker(t, revisit.Config{OnMerge: func(context.Context, revisit.ID, revisit.ID) error {
			calls.Add(1)
			<-release
			return nil
		}})
		h := tracker.Handler(seen)
		merge := func() {
			b := newBrowser(h)
			b.get("/")
			clear(b.cookies)
			time.Sleep(time.Millisecond)
			b.get("/x")
			b.get("/")
			synctest.Wait()
		}
		merge()
		require.EqualValues(t, 1, calls.Load())
		closed := make(chan error)
		go func() { closed <- tracker.Close() }()
		synctest.Wait()
		merge()
		assert.EqualValues(t, 1, calls.Load(), "by NotifyMerges, later")
		close(release)
		require.NoError(t, <-closed)
	})
}
