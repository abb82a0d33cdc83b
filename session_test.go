package revisit_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/revisit-go/revisit"
	"github.com/revisit-go/revisit/storetest"
)

// record returns what the store has for the session of a response.
func record(t *testing.T, store revisit.Store, resp *http.Response) revisit.Record {
	t.Helper()
	id, err := revisit.ParseID(idOf(resp))
	require.NoError(t, err)
	r, err := store.Load(t.Context(), id)
	require.NoError(t, err)
	return r
}

func TestASessionIsUnconfirmedUntilItsTokenReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := revisit.NewMemoryStore(revisit.MemoryOptions{})
		defer store.Close()
		tracker := newTracker(t, revisit.Config{Store: store})
		h := tracker.Handler(seen)

		bot, b := newBrowser(h), newBrowser(h)
		gone := bot.get("/")
		first := b.get("/")
		r := record(t, store, first)
		assert.False(t, r.Confirmed)
		assert.Equal(t, 24*time.Hour, r.Expires.Sub(r.Created))

		time.Sleep(time.Hour)
		b.get("/")
		r = record(t, store, first)
		assert.True(t, r.Confirmed)
		assert.Equal(t, 761*24*time.Hour, r.Expires.Sub(r.Created), "from birth")
		assert.EqualValues(t, 2, tracker.Stats().New)
		assert.EqualValues(t, 1, tracker.Stats().Confirmed)

		time.Sleep(24 * time.Hour)
		id, _ := revisit.ParseID(idOf(gone))
		_, err := store.Load(t.Context(), id)
		assert.ErrorIs(t, err, revisit.ErrNotFound)
		assert.Equal(t, 1, store.Len(), "and nothing is left of it")

		// A token that comes back later all the same is a visitor.
		assert.Equal(t, idOf(gone), idOf(bot.get("/")))
		assert.True(t, record(t, store, gone).Confirmed)
		assert.EqualValues(t, 2, tracker.Stats().Confirmed)
	})
}

func TestVisitsHitsAndTouches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := revisit.NewMemoryStore(revisit.MemoryOptions{})
		defer store.Close()
		var got *revisit.Session
		tracker := newTracker(t, revisit.Config{Store: store})
		b := newBrowser(tracker.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			got, _ = revisit.FromContext(r.Context())
		})))
		google := header("Referer", "https://news.example/")
		for i, c := range []struct {
			after        time.Duration
			url          string
			kinds        []kind
			visits, hits int64
			touches      string // sources, or landing pages of direct ones
		}{
			{0, "/start", []kind{typed}, 1, 1, "/start"},
			{time.Minute, "/style.css", []kind{image}, 1, 1, "/start"},
			{time.Minute, "/api", []kind{fetch}, 1, 1, "/start"},
			{time.Minute, "/next", []kind{typed, header("Sec-Purpose", "prefetch")}, 1, 1, "/start"},
			{time.Minute, "/next", []kind{link}, 1, 2, "/start"},
			{29 * time.Minute, "/next", []kind{link}, 1, 3, "/start"},
			{30 * time.Minute, "/", []kind{typed}, 2, 4, "/start"},
			{time.Minute, "/?utm_source=mail", []kind{clickFrom}, 3, 5, "/start mail"},
			{time.Minute, "/?utm_source=mail", []kind{typed}, 3, 6, "/start mail"},   // loaded once more
			{time.Minute, "/thanks", []kind{clickFrom, google}, 3, 7, "/start mail"}, // the way back from elsewhere
			{time.Minute, "/?gclid=1", []kind{clickFrom, google}, 4, 8, "/start mail gclid=1"},
			{time.Hour, "/", []kind{clickFrom, google}, 5, 9, "/start mail gclid=1 news.example"},
			{time.Hour, "/", []kind{typed}, 6, 10, "/start mail gclid=1 news.example"}, // direct: no touch
			{time.Hour, "/?utm_source=mail", []kind{clickFrom}, 7, 11, "/start mail gclid=1 news.example mail"},
			// A page that polls all night is one visit, and not extended by it.
			{time.Hour, "/api", []kind{fetch}, 7, 11, "/start mail gclid=1 news.example mail"},
			{time.Minute, "/", []kind{typed}, 8, 12, "/start mail gclid=1 news.example mail"},
		} {
			time.Sleep(c.after)
			b.get(c.url, c.kinds...)
			var touches []string
			for _, touch := range got.Touches() {
				switch {
				case touch.Click != "":
					touches = append(touches, touch.Click)
				case touch.Source != "":
					touches = append(touches, touch.Source)
				default:
					touches = append(touches, touch.Landing)
				}
			}
			assert.Equal(t, c.touches, strings.Join(touches, " "), "step %d", i)
			assert.Equal(t, c.visits, got.Visits(), "step %d: visits", i)
			assert.Equal(t, c.hits, got.Hits(), "step %d: hits", i)
			stored, err := store.Load(t.Context(), got.ID)
			require.NoError(t, err)
			assert.Equal(t, c.hits, stored.Hits, "step %d: saved before the handler runs", i)
		}
		assert.Equal(t, "/start", got.First().Landing)
		assert.Equal(t, "mail", got.Last().Source)
	})
}

func TestValues(t *testing.T) {
	store := revisit.NewMemoryStore(revisit.MemoryOptions{})
	defer store.Close()
	tracker := newTracker(t, revisit.Config{Store: store})
	var do func(*revisit.Session, *http.Request)
	b := newBrowser(tracker.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, _ := revisit.FromContext(r.Context())
		do(s, r)
		seen(w, r)
	})))
	do = func(s *revisit.Session, r *http.Request) {
		_, ok := s.Value("lead")
		assert.False(t, ok)
		assert.NoError(t, s.Set(r.Context(), "lead", "42"))
		text, ok := s.Value("lead")
		assert.True(t, ok)
		assert.Equal(t, "42", text)
		_, err := store.Load(r.Context(), s.ID)
		assert.NoError(t, err, "Set saves a new session")
	}
	first := b.get("/")
	assert.EqualValues(t, 1, tracker.Stats().New, "once")
	do = func(s *revisit.Session, r *http.Request) {
		text, _ := s.Value("lead")
		assert.Equal(t, "42", text)
		set := func(key, text string) error { return s.Set(r.Context(), key, text) }
		assert.ErrorIs(t, set("", "x"), revisit.ErrValue)
		assert.ErrorIs(t, set(strings.Repeat("k", 65), "x"), revisit.ErrValue)
		assert.ErrorIs(t, set("k", strings.Repeat("x", 1025)), revisit.ErrValue)
		assert.ErrorIs(t, set("k", "\xff"), revisit.ErrValue)
		for i := range 31 {
			assert.NoError(t, set(fmt.Sprint("key", i), strings.Repeat("x", 1024)))
		}
		assert.ErrorIs(t, set("one more", "x"), revisit.ErrValue)
		assert.NoError(t, set("lead", ""))
		_, ok := s.Value("lead")
		assert.False(t, ok, "an empty text removes a value")
		assert.NoError(t, set("lead", "43"))
	}
	assert.Equal(t, idOf(first), idOf(b.get("/")))
	assert.Equal(t, "43", record(t, store, first).Values["lead"].Text)
}

func TestForget(t *testing.T) {
	store := revisit.NewMemoryStore(revisit.MemoryOptions{})
	defer store.Close()
	var log strings.Builder
	for name, strategy := range map[string]revisit.Strategy{"cookie": revisit.Cookie{}, "cookie, not on a page": revisit.Cookie{}, "hybrid": nil, "etag": revisit.ETag{}} {
		log.Reset()
		asked := typed
		if name == "cookie, not on a page" {
			asked = image
		}
		tracker := newTracker(t, revisit.Config{Store: store, Strategy: strategy, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		b := newBrowser(tracker.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s, _ := revisit.FromContext(r.Context())
			if r.Header.Get("X-Forget") != "" {
				assert.NoError(t, tracker.Forget(r.Context(), s.ID))
				assert.ErrorIs(t, s.Set(r.Context(), "lead", "x"), revisit.ErrForgotten)
			}
			seen(w, r)
		})))
		first := b.get("/")
		before := b.clone()
		resp := b.get("/", asked, header("X-Forget", "yes"))
		assert.False(t, hasToken(resp), name)
		if name == "cookie, not on a page" {
			// Nobody looks at the header of this answer: the next one does it.
			require.NotEmpty(t, b.cookies)
			assert.NotEqual(t, before.cookies, func() map[string]string { b.get("/"); return b.cookies }())
			b.cookies = maps.Clone(before.cookies)
			b.get("/", image)
		}
		assert.Empty(t, b.cookies, "%s: the cookie has expired", name)
		assert.Contains(t, log.String(), idOf(first), "the ID is logged")

		r := record(t, store, first)
		assert.Equal(t, revisit.Record{ID: r.ID, Version: r.Version, Created: r.Created, Expires: r.Expires, Forgotten: true}, r, "nothing is left")
		assert.True(t, time.Until(r.Expires) > 399*24*time.Hour, "a tombstone outlives every token")

		after := before.get("/")
		assert.Equal(t, "new", viaOf(after), name)
		assert.NotEqual(t, idOf(first), idOf(after))
		require.NoError(t, tracker.Forget(t.Context(), r.ID), "twice is no error")
		assert.EqualValues(t, 1, tracker.Stats().Forgotten, name)
	}
}

// A token whose record the store never had, or has lost, must not come back
// after Forget either.
func TestForgetOfWhatIsNotThere(t *testing.T) {
	store := revisit.NewMemoryStore(revisit.MemoryOptions{})
	defer store.Close()
	other := revisit.NewMemoryStore(revisit.MemoryOptions{})
	defer other.Close()
	b := newBrowser(newTracker(t, revisit.Config{Store: store}).Handler(seen))
	first := b.get("/")
	id, _ := revisit.ParseID(idOf(first))
	tracker := newTracker(t, revisit.Config{Store: other})
	require.NoError(t, tracker.Forget(t.Context(), id))
	b.handler = tracker.Handler(seen)
	assert.NotEqual(t, idOf(first), idOf(b.get("/")))
}

func TestForgetTakesTheMergedSessionsAlong(t *testing.T) {
	synctest.Test(t, testForgetTakesTheMergedSessionsAlong)
}

func testForgetTakesTheMergedSessionsAlong(t *testing.T) {
	store := revisit.NewMemoryStore(revisit.MemoryOptions{})
	defer store.Close()
	var log strings.Builder
	tracker := newTracker(t, revisit.Config{Store: store, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	b := newBrowser(tracker.Handler(seen))
	b.get("/old")
	clear(b.cookies)
	time.Sleep(time.Second)
	second := b.get("/new")
	young := b.clone()
	first := b.get("/old") // merges
	id, _ := revisit.ParseID(idOf(first))
	require.NoError(t, tracker.Forget(t.Context(), id))
	assert.True(t, record(t, store, second).Forgotten)
	for _, resp := range []*http.Response{first, second} { // a backup may have them apart
		assert.Equal(t, 1, strings.Count(log.String(), `msg="revisit: forgotten" session=`+idOf(resp)))
	}
	delete(young.tags, "/old")
	for _, url := range []string{"/new", "/else"} {
		resp := young.clone().get(url)
		assert.NotContains(t, []string{idOf(first), idOf(second)}, idOf(resp), url)
	}

	// By the ID of a merged one, too.
	b = newBrowser(tracker.Handler(seen))
	b.get("/old")
	clear(b.cookies)
	time.Sleep(time.Second)
	second = b.get("/new")
	first = b.get("/old")
	id, _ = revisit.ParseID(idOf(second))
	require.NoError(t, tracker.Forget(t.Context(), id))
	assert.True(t, record(t, store, first).Forgotten)
	assert.True(t, record(t, store, second).Forgotten)
}

// Invariant 7: the store's failure is never the page's failure.
func TestAStoreThatFailsOrHangsCostsNoPage(t *testing.T) {
	for name, faults := range map[string]storetest.Faults{
		"fails":   {Fail: 1},
		"hangs":   {Hang: true},
		"is slow": {Latency: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				memory := revisit.NewMemoryStore(revisit.MemoryOptions{})
				defer memory.Close()
				store := storetest.Faulty(memory, storetest.Faults{})
				defer store.Release()
				var log strings.Builder
				var setError error
				tracker := newTracker(t, revisit.Config{Store: store, StoreTimeout: 100 * time.Millisecond,
					Logger: slog.New(slog.NewTextHandler(&log, nil))})
				h := tracker.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if s, ok := revisit.FromContext(r.Context()); ok && s.Unverified {
						setError = s.Set(r.Context(), "lead", "x")
					}
					seen(w, r)
				}))
				b := newBrowser(h)
				first := b.get("/")
				b.get("/")

				store.Set(faults)
				for range 50 {
					begin := time.Now()
					resp := b.get("/")
					assert.LessOrEqual(t, time.Since(begin), 100*time.Millisecond)
					assert.Equal(t, idOf(first), idOf(resp), "recognised from the token")
					assert.Equal(t, "cookie", viaOf(resp))
					assert.Empty(t, resp.Header["Set-Cookie"])
					assert.ErrorIs(t, setError, revisit.ErrUnverified)

					begin = time.Now()
					stranger := newBrowser(h)
					resp = stranger.get("/")
					assert.Equal(t, http.StatusOK, resp.StatusCode)
					assert.LessOrEqual(t, time.Since(begin), 100*time.Millisecond)
					assert.False(t, hasToken(resp), "no carrier for a session that was not saved")
					assert.False(t, hasToken(stranger.get("/")))
				}
				stats := tracker.Stats()
				assert.EqualValues(t, 50, stats.Unverified)
				dropped := stats.Dropped["timeout"] + stats.Dropped["store"] + stats.Dropped["busy"]
				assert.EqualValues(t, 150, dropped, "%v", stats.Dropped)
				assert.LessOrEqual(t, strings.Count(log.String(), "the store fails"), 2, "logged now and then")

				store.Set(storetest.Faults{})
				store.Release()
				synctest.Wait()
				resp := b.get("/")
				assert.Equal(t, idOf(first), idOf(resp))
				assert.GreaterOrEqual(t, record(t, memory, first).Hits, int64(3))
			})
		})
	}
}

// The tag of a response without a validator of its own must not be lost while
// the store is down: a 200 without it would be the browser's new entry.
func TestTagsOutliveAStoreThatIsDown(t *testing.T) {
	memory := revisit.NewMemoryStore(revisit.MemoryOptions{})
	defer memory.Close()
	store := storetest.Faulty(memory, storetest.Faults{})
	tracker := newTracker(t, revisit.Config{Store: store, Strategy: revisit.ETag{}})
	content := "v1"
	for name, page := range pages(&content) {
		content = "v1"
		store.Set(storetest.Faults{})
		b := newBrowser(tracker.Handler(page))
		b.get("/")
		token := b.tags["/"][strings.IndexByte(b.tags["/"], '"')+1:][:43]
		store.Set(storetest.Faults{Fail: 1})
		b.get("/")
		content = "version 2"
		b.get("/")
		assert.Contains(t, b.bodies["/"], "version 2", name)
		assert.Contains(t, b.tags["/"], token, name)
	}
}

func TestForgetFailsLoudly(t *testing.T) {
	memory := revisit.NewMemoryStore(revisit.MemoryOptions{})
	defer memory.Close()
	store := storetest.Faulty(memory, storetest.Faults{Fail: 1})
	tracker := newTracker(t, revisit.Config{Store: store})
	err := tracker.Forget(t.Context(), revisit.ID{1})
	assert.ErrorIs(t, err, storetest.ErrInjected)
	assert.Zero(t, tracker.Stats().Forgotten)

	full := revisit.NewMemoryStore(revisit.MemoryOptions{MaxSessions: 2})
	defer full.Close()
	tracker = newTracker(t, revisit.Config{Store: full})
	b := newBrowser(tracker.Handler(seen))
	fresh, err := revisit.ParseID(idOf(b.get("/")))
	require.NoError(t, err)
	for i := range 3 {
		id := fresh
		id[15] += byte(i)
		err = tracker.Forget(t.Context(), id)
	}
	assert.ErrorIs(t, err, revisit.ErrFull, "tombstones are not evicted")
	assert.True(t, hasToken(newBrowser(tracker.Handler(seen)).get("/")), "and leave room for sessions")
}

func TestNewNamesEveryFault(t *testing.T) {
	_, err := revisit.New(revisit.Config{
		Keys:     [][]byte{testKey, []byte("short")},
		Lifetime: 500 * 24 * time.Hour, VisitGap: -1, StoreTimeout: -1,
		Strategy: revisit.Hybrid(revisit.Cookie{Name: "a b"}, revisit.Cookie{Name: "__Host-x", Domain: "x.example"}, nil,
			revisit.ETag{HashLimit: 1 << 30}),
	})
	require.Error(t, err)
	for _, want := range []string{"Config.Keys[1] has 5 bytes", "Config.Consent", "Config.Lifetime", "Config.VisitGap", "Config.StoreTimeout",
		`"a b"`, "forbids a Domain", "nil Strategy", `"cookie" is empty, reserved or there twice`, "HashLimit"} {
		assert.ErrorContains(t, err, want)
	}
	var joined interface{ Unwrap() []error }
	assert.True(t, errors.As(err, &joined), "joined")

	_, err = revisit.New(revisit.Config{Consent: grant(revisit.Unasked), Strategy: revisit.Hybrid()})
	assert.ErrorContains(t, err, "Hybrid of nothing")
	_, err = revisit.New(revisit.Config{Consent: grant(revisit.Unasked), Strategy: revisit.Cookie{Name: "__Secure-x", Insecure: true}})
	assert.ErrorContains(t, err, "forbid Insecure")
}

func TestTheZeroConfigButConsentWorks(t *testing.T) {
	var log strings.Builder
	tracker, err := revisit.New(revisit.Config{Consent: grant(revisit.Restore), Logger: slog.New(slog.NewTextHandler(&log, nil))})
	require.NoError(t, err)
	b := newBrowser(tracker.Handler(seen))
	assert.Equal(t, idOf(b.get("/")), idOf(b.get("/")))
	assert.Equal(t, 1, strings.Count(log.String(), "random key"), "one warning")
	require.NoError(t, tracker.Close())
	assert.Equal(t, http.StatusNotModified, b.get("/").StatusCode, "served after Close")
}

func TestNewContextIsForTheTestsOfHandlers(t *testing.T) {
	checkout := func(w http.ResponseWriter, r *http.Request) {
		if s, ok := revisit.FromContext(r.Context()); ok {
			_ = s.Set(r.Context(), "lead", "42")
			fmt.Fprint(w, s.ID, " ", s.Via, " ", s.First().Campaign)
		}
	}
	s := revisit.NewSession(revisit.Record{ID: revisit.ID{1}, Touches: []revisit.Touch{{Campaign: "spring"}}}, "cookie")
	r := httptest.NewRequest("GET", "/", nil)
	w := httptest.NewRecorder()
	checkout(w, r.WithContext(revisit.NewContext(r.Context(), s)))
	assert.Equal(t, "01000000-0000-0000-0000-000000000000 cookie spring", w.Body.String())
	text, ok := s.Value("lead")
	assert.True(t, ok)
	assert.Equal(t, "42", text)
	_, ok = revisit.FromContext(t.Context())
	assert.False(t, ok)
}

func TestAHandlerWrappedTwiceCountsOnce(t *testing.T) {
	tracker := newTracker(t, revisit.Config{})
	var hits int64
	b := newBrowser(tracker.Handler(tracker.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, _ := revisit.FromContext(r.Context())
		hits = s.Hits()
		w.Header().Set("Etag", `"v1"`)
	}))))
	resp := b.get("/")
	assert.EqualValues(t, 1, hits)
	assert.Regexp(t, `^"[A-Za-z0-9_-]{43}~v1~"$`, resp.Header.Get("Etag"))

	// Another Tracker inside has sessions of its own.
	inner := newTracker(t, revisit.Config{Consent: grant(revisit.Unasked)})
	b = newBrowser(tracker.Handler(inner.Handler(seen)))
	assert.Empty(t, idOf(b.get("/")))
	before := tracker.Stats().New
	newBrowser(tracker.Handler(inner.Handler(tracker.Handler(seen)))).get("/")
	assert.EqualValues(t, before+1, tracker.Stats().New)
}

func TestForgetByAnAliasCanBeTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := revisit.NewMemoryStore(revisit.MemoryOptions{})
		defer memory.Close()
		store := &crashingStore{Store: memory, left: 1 << 30}
		tracker := newTracker(t, revisit.Config{Store: store})
		b := newBrowser(tracker.Handler(seen))
		first := b.get("/old")
		clear(b.cookies)
		time.Sleep(time.Second)
		second := b.get("/new")
		require.Equal(t, idOf(first), idOf(b.get("/old")))
		alias, _ := revisit.ParseID(idOf(second))
		for broken := range 3 {
			store.left = broken
			err := tracker.Forget(t.Context(), alias)
			assert.Equal(t, broken < 2, err != nil, "broken after %d", broken)
		}
		store.left = 1 << 30
		assert.True(t, record(t, memory, first).Forgotten)
		assert.True(t, record(t, memory, second).Forgotten)
	})
}

// If a no could not be carried out, the carriers stay: the next request brings
// them again.
func TestANoThatFailedIsTriedAgain(t *testing.T) {
	memory := revisit.NewMemoryStore(revisit.MemoryOptions{})
	defer memory.Close()
	store := storetest.Faulty(memory, storetest.Faults{})
	consent := revisit.Restore
	tracker := newTracker(t, revisit.Config{Store: store, Consent: func(*http.Request) revisit.Permission { return consent }})
	b := newBrowser(tracker.Handler(seen))
	first := b.get("/")
	consent = revisit.Deny
	store.Set(storetest.Faults{Fail: 1})
	resp := b.get("/")
	assert.Empty(t, idOf(resp))
	assert.NotEmpty(t, b.cookies)
	store.Set(storetest.Faults{})
	b.get("/")
	assert.Empty(t, b.cookies)
	assert.True(t, record(t, memory, first).Forgotten)
}

func TestAForgottenCarrierIsClearedByWhateverComesNext(t *testing.T) {
	tracker := newTracker(t, revisit.Config{})
	b := newBrowser(tracker.Handler(seen))
	id, err := revisit.ParseID(idOf(b.get("/")))
	require.NoError(t, err)
	require.NoError(t, tracker.Forget(t.Context(), id))
	resp := b.get("/", image) // of a kind that starts no session
	assert.Empty(t, viaOf(resp))
	assert.Equal(t, http.StatusOK, resp.StatusCode)
	assert.Empty(t, b.cookies)
	assert.Empty(t, b.tags["/"])
}

type panickyStore struct{ revisit.Store }

func (panickyStore) Load(context.Context, revisit.ID) (revisit.Record, error) { panic("a bug") }

func TestAStoreThatPanicsCostsNoPage(t *testing.T) {
	memory := revisit.NewMemoryStore(revisit.MemoryOptions{})
	defer memory.Close()
	b := newBrowser(newTracker(t, revisit.Config{Store: memory}).Handler(seen))
	first := b.get("/")
	tracker := newTracker(t, revisit.Config{Store: panickyStore{memory}})
	b.handler = tracker.Handler(seen)
	for range 3 {
		assert.Equal(t, idOf(first), idOf(b.get("/")))
	}
	assert.EqualValues(t, 3, tracker.Stats().Unverified)
	assert.ErrorContains(t, tracker.Forget(t.Context(), revisit.ID{1}), "panicked")
}

// A session ends with its lifetime, also if younger ones were merged into it.
func TestASessionPastItsLifetimeIsNotRevivedByAnAlias(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracker := newTracker(t, revisit.Config{Lifetime: 10 * time.Hour})
		b := newBrowser(tracker.Handler(seen))
		first := b.get("/old")
		clear(b.cookies)
		time.Sleep(6 * time.Hour)
		b.get("/new")
		young := b.clone()
		require.Equal(t, idOf(first), idOf(b.get("/old")))
		time.Sleep(5 * time.Hour)
		clear(young.cookies)
		resp := young.get("/new")
		assert.Equal(t, "new", viaOf(resp))
		assert.NotEqual(t, idOf(first), idOf(resp))
	})
}

func TestRemovedValuesGiveTheirPlaceBack(t *testing.T) {
	s := revisit.NewSession(revisit.Record{}, "cookie")
	for i := range 100 {
		require.NoError(t, s.Set(t.Context(), fmt.Sprint("k", i), "x"))
		require.NoError(t, s.Set(t.Context(), fmt.Sprint("k", i), ""))
	}
	require.NoError(t, s.Set(t.Context(), "lead", "42"))
}

// What a session keeps must not hold on to the request that it came with.
func TestAStoredTouchDoesNotPinItsRequest(t *testing.T) {
	tracker := newTracker(t, revisit.Config{})
	h := tracker.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, _ := revisit.FromContext(r.Context())
		assert.NoError(t, s.Set(r.Context(), "q", r.URL.Query().Get("q")[:3]))
	}))
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for i := range 50 {
		r := httptest.NewRequest("GET", fmt.Sprintf("/p%d?utm_source=a%d&q=", i, i)+strings.Repeat("y", 1<<20), nil)
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
	assert.EqualValues(t, 50, tracker.Stats().New)
	assert.Less(t, heap(), before+10<<20)
}

// A value that was removed is none: it does not stand against another one.
func TestARemovedValueDoesNotKeepSessionsApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lead := []string{"42"}
		tracker := newTracker(t, revisit.Config{})
		b := newBrowser(tracker.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s, _ := revisit.FromContext(r.Context())
			for _, text := range lead {
				assert.NoError(t, s.Set(r.Context(), "lead", text))
			}
			seen(w, r)
		})))
		first := b.get("/old")
		clear(b.cookies)
		time.Sleep(time.Second)
		lead = []string{"43", ""} // logged out
		b.get("/new")
		lead = nil
		assert.Equal(t, idOf(first), idOf(b.get("/old")))
		assert.EqualValues(t, 1, tracker.Stats().Merged)
	})
}

// Two claims on a store that hangs do not wait twice.
func TestSeveralClaimsWaitOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := revisit.NewMemoryStore(revisit.MemoryOptions{})
		defer memory.Close()
		store := storetest.Faulty(memory, storetest.Faults{})
		defer store.Release()
		permission := revisit.Restore
		tracker := newTracker(t, revisit.Config{Store: store, StoreTimeout: 100 * time.Millisecond,
			Consent: func(*http.Request) revisit.Permission { return permission }})
		b := newBrowser(tracker.Handler(seen))
		b.get("/old")
		clear(b.cookies)
		time.Sleep(time.Second)
		b.get("/new")
		store.Set(storetest.Faults{Hang: true})
		for _, permission = range []revisit.Permission{revisit.Restore, revisit.Recognise, revisit.Deny} {
			begin := time.Now()
			b.clone().get("/old")
			assert.LessOrEqual(t, time.Since(begin), 100*time.Millisecond, "%v", permission)
		}
	})
}

// A form that forgets, or logs out, is a POST: the cookie goes with its answer.
func TestAFormClearsTheCookie(t *testing.T) {
	for name, strategy := range map[string]revisit.Strategy{"cookie": revisit.Cookie{}, "hybrid": nil} {
		tracker := newTracker(t, revisit.Config{Strategy: strategy})
		b := newBrowser(tracker.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s, _ := revisit.FromContext(r.Context())
			switch r.URL.Path {
			case "/forget":
				assert.NoError(t, tracker.Forget(r.Context(), s.ID))
			case "/logout":
				assert.NoError(t, tracker.Renew(r.Context()))
			}
			w.Write([]byte("done"))
		})))
		for _, path := range []string{"/forget", "/logout"} {
			b.get("/")
			require.NotEmpty(t, b.cookies)
			b.do("POST", path, link)
			assert.Empty(t, b.cookies, "%s, %s", name, path)
		}
	}
}
