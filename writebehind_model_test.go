package revisit_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
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

// mood is how one half of a store (its reads, or its writes) behaves at the time.
type mood int

const (
	well      mood = iota
	failing        // it does nothing, and says so
	hanging        // it does nothing until the context ends
	losing         // it does it, and says that it failed
	answering      // it does it, and answers that there is a conflict, as after a client's own retry
	moods
)

// A moodyStore is a store whose reads and writes fail, hang and lose answers independently
// of each other.
type moodyStore struct {
	*allStore
	mu            sync.Mutex
	rand          *rand.Rand
	reads, writes mood
	often         float64 // how many calls the moods are of
}

func (s *moodyStore) set(reads, writes mood, often float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads, s.writes, s.often = reads, writes, often
}

// begin takes the time of a call, and returns how it is to go.
func (s *moodyStore) begin(ctx context.Context, writes bool) (mood, error) {
	s.mu.Lock()
	m := s.reads
	if writes {
		m = s.writes
	}
	if s.rand.Float64() >= s.often {
		m = well
	}
	latency := time.Duration(s.rand.Int64N(int64(4 * time.Millisecond)))
	s.mu.Unlock()
	if m == hanging {
		<-ctx.Done()
		return m, ctx.Err()
	}
	time.Sleep(latency)
	if m == failing {
		return m, storetest.ErrInjected
	}
	return m, ctx.Err()
}

func (s *moodyStore) end(m mood, err error) error {
	time.Sleep(time.Millisecond)
	switch {
	case err != nil || m == well:
		return err
	case m == answering:
		return revisit.ErrConflict
	}
	return storetest.ErrInjected
}

func (s *moodyStore) Load(ctx context.Context, id revisit.ID) (revisit.Record, error) {
	m, err := s.begin(ctx, false)
	if err != nil {
		return revisit.Record{}, err
	}
	if m == losing {
		return revisit.Record{}, storetest.ErrInjected
	}
	return s.allStore.Load(ctx, id)
}

func (s *moodyStore) Save(ctx context.Context, r revisit.Record, old int64) error {
	m, err := s.begin(ctx, true)
	if err != nil {
		return err
	}
	return s.end(m, s.allStore.Save(context.Background(), r, old))
}

// A moodyBatcher saves in batches, each change of which goes its own way.
type moodyBatcher struct{ *moodyStore }

func (s moodyBatcher) LoadAll(ctx context.Context, ids []revisit.ID) (all []revisit.Record, err error) {
	for _, id := range ids {
		if r, err := s.Load(ctx, id); err == nil {
			all = append(all, r)
		}
	}
	return all, nil
}

func (s moodyBatcher) SaveAll(ctx context.Context, changes []revisit.Change) []error {
	errs := make([]error, len(changes))
	for i, c := range changes {
		errs[i] = s.Save(ctx, c.Record, c.Old)
	}
	return errs
}

// The states of the write-behind, and what each event does to a page view, whatever the
// store does meanwhile: every page view of a session that was neither forgotten nor lost to
// Close is in the store in the end, once.
func TestTheWriteBehindAgainstAModel(t *testing.T) {
	for seed := range 30 * full {
		for _, batches := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) { writeBehindRun(t, uint64(seed), batches) })
			if t.Failed() {
				t.Fatalf("seed %d, batches %v", seed, batches)
			}
		}
	}
}

func writeBehindRun(t *testing.T, seed uint64, batches bool) {
	random := rand.New(rand.NewPCG(seed, 7))
	under := &moodyStore{allStore: newAllStore(t), rand: rand.New(rand.NewPCG(seed, 8)), often: 1}
	store := revisit.Store(under)
	if batches {
		store = moodyBatcher{under}
	}
	tracker := newTracker(t, revisit.Config{Store: store, Strategy: revisit.Cookie{}, FlushEvery: 10 * time.Second})
	var mu sync.Mutex
	var history []string
	note := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		history = append(history, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
	}
	views := map[revisit.ID]int64{} // by the session that the handler saw
	maybe := map[revisit.ID]int64{} // of sessions that may have been saved, though nobody was answered
	sessions := map[string]*revisit.Session{}
	handler := tracker.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s, ok := revisit.FromContext(r.Context()); ok {
			w.Header().Set("X-Id", s.ID.String())
			w.Header().Set("X-Via", s.Via)
			mu.Lock()
			sessions[r.Header.Get("X-Visitor")] = s
			mu.Unlock()
		}
		switch r.URL.Path {
		case "/logout":
			note("renew: %v", tracker.Renew(r.Context()))
		case "/go":
			http.Redirect(w, r, "/", http.StatusSeeOther)
		}
	}))

	type visitor struct {
		name, cookie string
	}
	send := func(v visitor, path string, k kind) (cookie string) {
		r := httptest.NewRequest("GET", path, nil)
		k(r.Header)
		r.Header.Set("X-Visitor", v.name)
		r.Header.Set("Cookie", v.cookie)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		cookie = v.cookie
		kept := w.Header().Get("X-Via") != "new" // a new session counts if it was saved
		for _, c := range w.Result().Cookies() {
			if cookie = ""; c.Value != "" {
				cookie, kept = c.Name+"="+c.Value, true
			}
		}
		note("%s %s by %s, via %s, in %s", path, r.Header.Get("Sec-Fetch-Mode"), v.name, w.Header().Get("X-Via"), w.Header().Get("X-Id"))
		if id, err := revisit.ParseID(w.Header().Get("X-Id")); err == nil && r.Header.Get("Sec-Fetch-Mode") == "navigate" && w.Code == http.StatusOK {
			mu.Lock()
			if kept {
				views[id]++
			} else {
				maybe[id]++
			}
			mu.Unlock()
		}
		return cookie
	}
	visitors := make([]visitor, 5)
	for i := range visitors {
		visitors[i].name = fmt.Sprint(i)
	}
	gone := map[revisit.ID]bool{} // forgotten
	one := func() *visitor { return &visitors[random.IntN(len(visitors))] }
	session := func(v *visitor) *revisit.Session {
		mu.Lock()
		defer mu.Unlock()
		return sessions[v.name]
	}

	for range 60 {
		var group sync.WaitGroup
		for range 1 + random.IntN(4) { // at the same time
			v := one()
			switch n := random.IntN(20); {
			case n < 9:
				path := []string{"/", "/", "/go"}[random.IntN(3)]
				if random.IntN(4) == 0 {
					path += fmt.Sprintf("?utm_campaign=%d", random.IntN(5))
				}
				if v.cookie == "" {
					v.cookie = send(*v, path, typed) // a first page is waited for
				} else {
					asked := *v
					group.Go(func() { send(asked, path, link) })
				}
			case n < 12:
				if asked := *v; v.cookie != "" {
					group.Go(func() { send(asked, "/", fetch) })
				}
			case n < 14:
				if s := session(v); s != nil && v.cookie != "" {
					group.Go(func() { note("set %v: %v", s.ID, s.Set(context.Background(), "name", "x")) })
				}
			case n < 15:
				if a, b := session(v), session(one()); a != nil && b != nil {
					group.Go(func() {
						_, err := tracker.Merge(context.Background(), a.ID, b.ID)
						note("merge %v and %v: %v", a.ID, b.ID, err)
					})
				}
			case n < 16 && random.IntN(3) == 0:
				if s := session(v); s != nil {
					gone[s.ID] = true
					v.cookie = ""
					group.Go(func() { note("forget %v: %v", s.ID, tracker.Forget(context.Background(), s.ID)) })
				}
			case n < 17 && random.IntN(3) == 0:
				if v.cookie != "" {
					group.Wait() // nobody else has this session now
					v.cookie = send(*v, "/logout", link)
				}
			case n < 19:
				reads, writes, often := mood(random.IntN(int(moods))), mood(random.IntN(int(moods))), random.Float64()
				note("reads %d writes %d often %.2f", reads, writes, often)
				under.set(reads, writes, often)
			default:
				note("well")
				under.set(well, well, 1)
			}
		}
		group.Wait()
		switch random.IntN(8) {
		case 0:
			time.Sleep(time.Duration(random.Int64N(int64(12 * time.Second))))
		case 1:
			time.Sleep(time.Duration(random.Int64N(int64(40 * time.Minute))))
		default:
			time.Sleep(time.Duration(random.Int64N(int64(500 * time.Millisecond))))
		}
	}
	atEnd := random.IntN(3)
	if atEnd > 0 {
		under.set(well, well, 1)
		time.Sleep(time.Minute)
	}
	if atEnd == 1 {
		time.Sleep(time.Hour)
	}
	require.NoError(t, tracker.Close())
	under.set(well, well, 1)
	time.Sleep(time.Minute) // what was under way

	// What came in must be there, under the session that it was merged into.
	records := under.records(t)
	root := func(id revisit.ID) revisit.Record {
		for {
			r := records[id]
			if r.MergedInto.IsZero() {
				return r
			}
			id = r.MergedInto
		}
	}
	possible := map[revisit.ID]int64{}
	for id, n := range maybe {
		possible[root(id).ID] += n
	}
	want, forgotten := map[revisit.ID]int64{}, map[revisit.ID]bool{}
	for id := range gone {
		forgotten[root(id).ID] = true
	}
	for id, n := range views {
		if r := root(id); !r.Forgotten && !gone[id] {
			want[r.ID] += n
		}
	}
	dropped := tracker.Stats().Dropped["closed"] + tracker.Stats().Dropped["full"]
	if atEnd > 0 {
		assert.Zero(t, dropped)
	}
	var missing, excess int64
	for id, n := range want {
		if forgotten[id] {
			continue // what was under way when it was forgotten is anybody's guess
		}
		got := records[id].Hits
		for alias, r := range records { // of a merge that was broken off
			if to := root(alias); alias != id && to.ID == id && !slices.ContainsFunc(to.MergedSessions, func(a revisit.MergedSession) bool { return a.ID == alias }) {
				got += r.Hits
			}
		}
		if records[id].LinksUsed < 0 {
			// It was renewed. Its tokens may have come while the store was away, and what waited
			// under an alias of it, a page view or one taken back, came too late.
			continue
		}
		excess += max(0, got-n-possible[id])
		missing += max(0, n-got)
	}
	assert.LessOrEqual(t, excess, dropped, "page views are counted twice, or redirects as page views")
	assert.LessOrEqual(t, missing, dropped, "page views are gone, and nobody has counted them")
	if t.Failed() {
		t.Log("seed ", seed, ", batches ", batches, ", at end ", atEnd)
		for id, n := range want {
			if records[id].Hits != n {
				t.Logf("%v has %d of %d: %+v", id, records[id].Hits, n, records[id])
			}
		}
		t.Log(strings.Join(history, "\n"))
	}
}
