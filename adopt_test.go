package revisit_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
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

// oldCookie is a Config.Adopt that believes the cookie "sid".
func oldCookie(r *http.Request) (string, error) {
	if c, err := r.Cookie("sid"); err == nil {
		return c.Value, nil
	}
	return "", nil
}

func TestAVisitorOfAnotherLibraryIsAdoptedOnce(t *testing.T) {
	for _, permission := range []revisit.Permission{revisit.Recognise, revisit.Restore} {
		for _, strategy := range []revisit.Strategy{revisit.Cookie{}, revisit.ETag{}, revisit.Hybrid(revisit.Cookie{}, revisit.ETag{})} {
			store := newAllStore(t)
			tracker := newTracker(t, revisit.Config{Strategy: strategy, Adopt: oldCookie, Store: store, Consent: grant(permission)})
			b := newBrowser(tracker.Handler(seen))
			b.cookies["sid"] = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
			first := b.get("/?utm_source=mail")
			assert.Equal(t, "adopted", viaOf(first))
			again := b.get("/?utm_source=mail")
			want := "cookie"
			if strategy == (revisit.ETag{}) {
				want = "etag"
			}
			assert.Equal(t, want, viaOf(again), "by a token from now on")
			assert.Equal(t, idOf(first), idOf(again))

			// Another page, and another device that knows nothing but the old cookie.
			other := newBrowser(b.handler)
			other.cookies["sid"] = b.cookies["sid"]
			late := other.get("/other")
			assert.Equal(t, "adopted", viaOf(late))
			assert.Equal(t, idOf(first), idOf(late))
			confirmed, all := store.sessions(t)
			require.Len(t, all, 1)
			require.Len(t, confirmed, 1)
			assert.EqualValues(t, 3, all[0].Hits)
			assert.Equal(t, "mail", all[0].Touches[0].Source)
			assert.EqualValues(t, 1, tracker.Stats().New)
			assert.EqualValues(t, 2, tracker.Stats().Returning["adopted"])

			// Who has the token needs no old cookie any more.
			delete(b.cookies, "sid")
			assert.Equal(t, idOf(first), idOf(b.get("/?utm_source=mail")))
		}
	}
}

// A client does not choose an ID, and two clients share none.
func TestAnAdoptedValueIsNoID(t *testing.T) {
	adopt := func(key byte, value string) string {
		b := newBrowser(newTracker(t, revisit.Config{Keys: [][]byte{[]byte(strings.Repeat(string(key), 32))}, Adopt: oldCookie}).Handler(seen))
		b.cookies["sid"] = value
		return idOf(b.get("/"))
	}
	ids := map[string]bool{}
	for _, value := range []string{"a", "b", "01926f2e-5a3b-7c4d-8e5f-a0b1c2d3e4f5", strings.Repeat("x", 4096)} {
		id := adopt('k', value)
		require.NotEmpty(t, id, value)
		assert.NotEqual(t, value, id)
		assert.Equal(t, byte('7'), id[14], "born now")
		assert.False(t, ids[id])
		ids[id] = true
	}
	// What is too long, or not there, is nobody: a new visitor.
	for _, value := range []string{"", strings.Repeat("x", 4097)} {
		tracker := newTracker(t, revisit.Config{Adopt: oldCookie})
		b := newBrowser(tracker.Handler(seen))
		b.cookies["sid"] = value
		assert.Equal(t, "new", viaOf(b.get("/")))
	}
}

// As many first requests as a browser sends at once, to three nodes on a slow store: one
// session.
func TestParallelFirstRequestsAreAdoptedAsOne(t *testing.T) {
	for _, latency := range []time.Duration{0, time.Millisecond, 5 * time.Millisecond} {
		for seed := range 10 * full {
			synctest.Test(t, func(t *testing.T) {
				store := newAllStore(t)
				slow := storetest.Faulty(store, storetest.Faults{Latency: latency, Seed: uint64(seed)})
				var nodes []http.Handler
				var trackers []*revisit.Tracker
				var hits, created atomic.Int64
				for range 3 {
					tracker := newTracker(t, revisit.Config{
						Store: slow, Adopt: oldCookie, StoreTimeout: time.Minute,
						OnHit: func(_ context.Context, h revisit.Hit) { hits.Add(h.Count) },
					})
					trackers, nodes = append(trackers, tracker), append(nodes, tracker.Handler(seen))
				}
				var wg sync.WaitGroup
				ids := make([]string, 12)
				for i := range ids {
					wg.Go(func() {
						b := newBrowser(nodes[i%3])
						b.cookies["sid"] = "the old one"
						ids[i] = idOf(b.get(fmt.Sprint("/", i)))
					})
				}
				wg.Wait()
				synctest.Wait()
				for _, tracker := range trackers {
					created.Add(tracker.Stats().New)
				}
				for _, id := range ids {
					assert.Equal(t, ids[0], id)
				}
				confirmed, all := store.sessions(t)
				require.Len(t, confirmed, 1)
				assert.EqualValues(t, 12, confirmed[0].Hits)
				for _, r := range all {
					assert.True(t, r.Confirmed || r.Hits == 0, "who was too late has counted nothing")
				}
				assert.EqualValues(t, 1, created.Load())
				assert.EqualValues(t, 12, hits.Load())
			})
		}
	}
}

// Keys rotate under adopted visitors, too.
func TestAdoptedVisitorsSurviveARotation(t *testing.T) {
	store := revisit.NewMemoryStore(revisit.MemoryOptions{})
	defer store.Close()
	next := []byte(strings.Repeat("n", 32))
	var ids []string
	for _, keys := range [][][]byte{{testKey}, {testKey, next}, {next, testKey}} {
		b := newBrowser(newTracker(t, revisit.Config{Keys: keys, Store: store, Adopt: oldCookie}).Handler(seen))
		b.cookies["sid"] = "the old one"
		ids = append(ids, idOf(b.get("/")))
	}
	assert.Equal(t, []string{ids[0], ids[0], ids[0]}, ids)
}

// Who says no is forgotten by the old cookie, too, and who was not asked is not looked up.
func TestAnAdoptedVisitorCanBeForgotten(t *testing.T) {
	store := newAllStore(t)
	permission := revisit.Restore
	tracker := newTracker(t, revisit.Config{Store: store, Adopt: oldCookie, Consent: func(*http.Request) revisit.Permission { return permission }})
	b := newBrowser(tracker.Handler(seen))
	b.keepsNothing = true // the old cookie alone
	b.cookies["sid"] = "the old one"
	permission = revisit.Unasked
	assert.Empty(t, idOf(b.get("/")))
	assert.Empty(t, store.ids, "no trace")

	permission = revisit.Restore
	first := idOf(b.get("/?utm_source=mail"))
	permission = revisit.Deny
	b.get("/")
	id, err := revisit.ParseID(first)
	require.NoError(t, err)
	r, err := store.Load(t.Context(), id)
	require.NoError(t, err)
	assert.True(t, r.Forgotten)
	assert.Empty(t, r.Touches)

	permission = revisit.Restore
	again := idOf(b.get("/"))
	assert.NotEmpty(t, again)
	assert.NotEqual(t, first, again, "what was forgotten does not come back")
	assert.Equal(t, again, idOf(b.get("/")))
}

// While the store is away nobody is adopted, and nothing is written that would make the
// browser forget that it is to be.
func TestNobodyIsAdoptedWhileTheStoreIsAway(t *testing.T) {
	memory := revisit.NewMemoryStore(revisit.MemoryOptions{})
	defer memory.Close()
	store := storetest.Faulty(memory, storetest.Faults{})
	b := newBrowser(newTracker(t, revisit.Config{Store: store, Adopt: oldCookie}).Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		store.Set(storetest.Faults{}) // it is back before the header goes
		seen(w, r)
	})))
	b.cookies["sid"] = "the old one"
	first := idOf(newTrackerGet(t, memory))
	store.Set(storetest.Faults{Fail: 1})
	resp := b.get("/")
	assert.Equal(t, 200, resp.StatusCode)
	assert.False(t, hasToken(resp))
	resp = b.get("/")
	assert.Equal(t, first, idOf(resp))
	assert.True(t, hasToken(resp))
}

// While the other library does not know, the same.
func TestNobodyIsAdoptedWhileTheOtherLibraryIsAway(t *testing.T) {
	away := false
	b := newBrowser(newTracker(t, revisit.Config{Adopt: func(r *http.Request) (string, error) {
		if away {
			return "", errors.New("away")
		}
		return oldCookie(r)
	}}).Handler(seen))
	b.cookies["sid"] = "the old one"
	away = true
	resp := b.get("/")
	assert.Equal(t, 200, resp.StatusCode)
	assert.False(t, hasToken(resp))
	away = false
	resp = b.get("/")
	assert.Equal(t, "adopted", viaOf(resp))
	assert.True(t, hasToken(resp))
}

// Who is adopted has been here before: the session is kept, and found by the old value on
// every page, after days, too.
func TestAnAdoptedVisitorIsNoNewcomer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newAllStore(t)
		b := newBrowser(newTracker(t, revisit.Config{Strategy: revisit.ETag{}, Adopt: oldCookie, Store: store}).Handler(seen))
		b.cookies["sid"] = "the old one"
		first := idOf(b.get("/?utm_source=mail"))
		time.Sleep(72 * time.Hour)
		assert.Equal(t, first, idOf(b.get("/other")))
		_, all := store.sessions(t)
		require.Len(t, all, 1)
		assert.Equal(t, "mail", all[0].Touches[0].Source)
	})
}

// A dead cookie beside the old value gives way to one that works.
func TestAnAdoptedVisitorGetsANewCookieForADeadOne(t *testing.T) {
	for _, permission := range []revisit.Permission{revisit.Recognise, revisit.Restore} {
		b := newBrowser(newTracker(t, revisit.Config{Adopt: oldCookie, Consent: grant(permission)}).Handler(seen))
		b.cookies["sid"] = "the old one"
		b.get("/")
		b.cookies[cookieName] = flip(b.cookies[cookieName])
		clear(b.tags)
		assert.Equal(t, "adopted", viaOf(b.get("/")))
		assert.Equal(t, "cookie", viaOf(b.get("/")))
	}
}

// newTrackerGet is the answer to somebody with the old cookie on another node.
func newTrackerGet(t *testing.T, store revisit.Store) *http.Response {
	b := newBrowser(newTracker(t, revisit.Config{Store: store, Adopt: oldCookie}).Handler(seen))
	b.cookies["sid"] = "the old one"
	return b.get("/")
}

func FuzzAdopt(f *testing.F) {
	tracker := newTracker(f, revisit.Config{Adopt: func(r *http.Request) (string, error) { return r.Header.Get("X-Old"), nil }})
	h := tracker.Handler(seen)
	f.Add("a", "b")
	f.Add("", "\x00")
	f.Fuzz(func(t *testing.T, one, two string) {
		id := func(value string) string {
			r := httptest.NewRequest("GET", "/", nil)
			r.Header["X-Old"] = []string{value}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			return w.Header().Get("X-Id")
		}
		a, b := id(one), id(two)
		if one != two && a == b {
			t.Fatalf("%q and %q are one visitor", one, two)
		}
		if one != "" && len(one) <= 4096 && a != id(one) {
			t.Fatalf("%q is two visitors", one)
		}
	})
}
