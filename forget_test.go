package revisit_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/revisit-go/revisit"
)

// plainStore hides all but the two methods.
type plainStore struct{ revisit.Store }

// notified is what OnForget and the log were notified.
type notified struct {
	mu  sync.Mutex
	ids map[revisit.ID]int
	log bytes.Buffer
}

func (o *notified) config(store revisit.Store) revisit.Config {
	o.ids = map[revisit.ID]int{}
	return revisit.Config{
		Store: store, Strategy: revisit.Cookie{}, StoreTimeout: time.Minute, Logger: slog.New(slog.NewTextHandler(&o.log, nil)),
		OnForget: func(_ context.Context, id revisit.ID) error {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.ids[id]++
			return nil
		},
	}
}

// confirmed starts a session, confirms it, and returns its ID.
func confirmed(t *testing.T, h http.Handler) (*browser, revisit.ID) {
	b := newBrowser(h)
	id, err := revisit.ParseID(idOf(b.get("/")))
	require.NoError(t, err)
	b.get("/")
	return b, id
}

// However many sessions were merged into one, and in whatever order, all of them are
// forgotten, notified of, logged and exported with it: by a store of two methods, too.
func TestEveryAliasIsFound(t *testing.T) {
	for name, hide := range map[string]func(revisit.Store) revisit.Store{
		"two methods": func(s revisit.Store) revisit.Store { return plainStore{s} },
		"an index":    func(s revisit.Store) revisit.Store { return s },
	} {
		synctest.Test(t, func(t *testing.T) {
			store := newAllStore(t)
			var out notified
			tracker := newTracker(t, out.config(hide(store)))
			h := tracker.Handler(seen)
			var roots []revisit.ID
			var all []revisit.ID
			var last *browser
			for range 3 { // three of 70, then those into one
				_, root := confirmed(t, h)
				roots, all = append(roots, root), append(all, root)
				for range 70 {
					time.Sleep(time.Second)
					b, id := confirmed(t, h)
					require.NoError(t, sessionOf(t, tracker, b).Set(t.Context(), fmt.Sprint("k", len(all)%20), "v"))
					_, err := tracker.Merge(t.Context(), root, id)
					require.NoError(t, err)
					all, last = append(all, id), b
				}
			}
			for _, id := range roots[1:] {
				_, err := tracker.Merge(t.Context(), roots[0], id)
				require.NoError(t, err)
			}
			merged := tracker.Stats().Merged
			last.get("/")
			assert.Equal(t, merged, tracker.Stats().Merged)

			export, err := tracker.Export(t.Context(), roots[0])
			require.NoError(t, err)
			for _, id := range all {
				assert.Contains(t, string(export), id.String(), name)
			}
			require.NoError(t, tracker.Forget(t.Context(), all[40]))
			records := store.records(t)
			for i, id := range all {
				assert.True(t, records[id].Forgotten, "%s: %d", name, i)
				assert.Equal(t, 1, strings.Count(out.log.String(), id.String()), "%s: %d in the log", name, i)
				assert.Positive(t, out.ids[id], "%s: OnForget of %d", name, i)
			}
			for id, r := range records {
				assert.True(t, r.Forgotten, "%s: what is left: %v %v", name, id, r)
			}
		})
	}
}

func sessionOf(t *testing.T, tracker *revisit.Tracker, b *browser) (s *revisit.Session) {
	old := b.handler
	defer func() { b.handler = old }()
	b.handler = tracker.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s, _ = revisit.FromContext(r.Context()) }))
	b.get("/", fetch)
	require.NotNil(t, s)
	return s
}

// indexedCrashing is a crashingStore that finds aliases.
type indexedCrashing struct {
	*crashingStore
	*revisit.MemoryStore
}

func (s indexedCrashing) Load(ctx context.Context, id revisit.ID) (revisit.Record, error) {
	return s.crashingStore.Load(ctx, id)
}

func (s indexedCrashing) Save(ctx context.Context, r revisit.Record, old int64) error {
	return s.crashingStore.Save(ctx, r, old)
}

// Wherever a merge breaks off, nothing is left of the younger session after the older one
// was forgotten, once it has become its alias; and until then it is a visitor of its own.
func TestForgetAfterAMergeThatBrokeOff(t *testing.T) {
	for writes := range 6 {
		memory := revisit.NewMemoryStore(revisit.MemoryOptions{})
		defer memory.Close()
		crashing := &crashingStore{Store: memory, left: 1 << 30}
		tracker := newTracker(t, revisit.Config{Store: indexedCrashing{crashing, memory}, Strategy: revisit.Cookie{}})
		h := tracker.Handler(seen)
		_, older := confirmed(t, h)
		time.Sleep(2 * time.Millisecond) // so that it is older
		b := newBrowser(h)
		younger, _ := revisit.ParseID(idOf(b.get("/?utm_source=secret-letter")))
		b.get("/")
		require.NoError(t, sessionOf(t, tracker, b).Set(t.Context(), "lead", "jane"))
		crashing.left = writes
		_, err := tracker.Merge(t.Context(), older, younger)
		assert.Equal(t, writes < 2, err != nil, "%d: %v", writes, err)
		crashing.left = 1 << 30

		alias, err := memory.Load(t.Context(), younger)
		require.NoError(t, err)
		isAlias := alias.MergedInto == older
		assert.Equal(t, writes > 0, isAlias)
		export, err := tracker.Export(t.Context(), older)
		require.NoError(t, err)
		assert.Equal(t, isAlias, strings.Contains(string(export), "jane"), "%d: %s", writes, export)
		require.NoError(t, tracker.Forget(t.Context(), older))
		alias, err = memory.Load(t.Context(), younger)
		require.NoError(t, err)
		assert.Equal(t, isAlias, alias.Forgotten, "%d", writes)
	}
}

// An alias that was taken off the list of its root is not merged again each time its token
// comes.
func TestAnAliasOffTheListIsMergedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newAllStore(t)
		var mu sync.Mutex
		calls := map[revisit.ID]int{}
		tracker := newTracker(t, revisit.Config{Store: plainStore{store}, Strategy: revisit.Cookie{}, OnMerge: func(_ context.Context, from, _ revisit.ID) error {
			mu.Lock()
			defer mu.Unlock()
			calls[from]++
			return nil
		}})
		h := tracker.Handler(seen)
		_, root := confirmed(t, h)
		var all []*browser
		for range 100 {
			time.Sleep(time.Second)
			b, id := confirmed(t, h)
			all = append(all, b)
			_, err := tracker.Merge(t.Context(), root, id)
			require.NoError(t, err)
			synctest.Wait()
		}
		before := tracker.Stats().Merged
		for _, b := range all {
			assert.Equal(t, root.String(), idOf(b.get("/")))
		}
		synctest.Wait()
		assert.Equal(t, before, tracker.Stats().Merged)
		for id, n := range calls {
			assert.Equal(t, 1, n, id)
		}
	})
}

// A visitor with several of our cookies who says no is forgotten, whichever of them is theirs.
func TestANoForgetsEveryCookiesSession(t *testing.T) {
	memory := revisit.NewMemoryStore(revisit.MemoryOptions{})
	defer memory.Close()
	tracker := newTracker(t, revisit.Config{Store: memory, Consent: revisit.OptOut("no")})
	h := tracker.Handler(seen)
	var pairs []string
	var ids []revisit.ID
	for range 3 {
		b, id := confirmed(t, h)
		pairs, ids = append(pairs, cookieName+"="+b.cookies[cookieName]), append(ids, id)
	}
	b := newBrowser(h)
	r := b.request("GET", "/", link)
	r.Header.Set("Cookie", strings.Join(pairs, "; ")+"; no=1")
	b.send(r)
	for _, id := range ids {
		have, err := memory.Load(t.Context(), id)
		require.NoError(t, err)
		assert.True(t, have.Forgotten)
	}
	assert.EqualValues(t, 3, tracker.Stats().Forgotten)
}

// Two requests make a session and have it forgotten, which anybody can send: its tombstone
// lasts no longer than it would have, is not logged, and takes nobody's place.
func TestAFloodOfDenials(t *testing.T) {
	for _, confirm := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			memory := revisit.NewMemoryStore(revisit.MemoryOptions{MaxSessions: 200, SweepEvery: time.Hour})
			defer memory.Close()
			var out notified
			c := out.config(memory)
			c.Consent = revisit.OptOut("no")
			tracker := newTracker(t, c)
			h := tracker.Handler(seen)
			_, mine := confirmed(t, h)
			_, gone := confirmed(t, h)
			require.NoError(t, tracker.Forget(t.Context(), gone))
			var first revisit.ID
			for i := range 500 {
				b := newBrowser(h)
				id, _ := revisit.ParseID(idOf(b.get("/")))
				if confirm {
					b.get("/", fetch)
				}
				b.get("/", typed, header("Sec-Gpc", "1"))
				if i == 0 {
					first = id
					r, err := memory.Load(t.Context(), id)
					require.NoError(t, err)
					assert.True(t, r.Forgotten)
					if !confirm {
						assert.Equal(t, 24*time.Hour, r.Expires.Sub(r.Created))
					}
				}
			}
			assert.Equal(t, confirm, strings.Contains(out.log.String(), first.String()), "the log")
			require.NoError(t, tracker.Forget(t.Context(), mine))
			for _, id := range []revisit.ID{mine, gone} {
				r, err := memory.Load(t.Context(), id)
				require.NoError(t, err)
				assert.True(t, r.Forgotten, "what the application has forgotten stays so")
			}
		})
	}
}

// The log has the IDs of sessions that were forgotten, and of nobody else.
func TestTheLogNamesWhoWasForgottenOnly(t *testing.T) {
	var out notified
	memory := revisit.NewMemoryStore(revisit.MemoryOptions{})
	defer memory.Close()
	c := out.config(memory)
	c.Strategy = nil
	tracker := newTracker(t, c)
	h := tracker.Handler(seen)
	b := newBrowser(h)
	id := idOf(b.get("/"))
	for range 12 { // as if a cache handed the tag out
		other, _ := confirmed(t, h)
		other.tags["/"] = b.tags["/"]
		other.get("/")
	}
	assert.Positive(t, tracker.Stats().Leaked)
	assert.Contains(t, out.log.String(), "many different cookies")
	assert.NotContains(t, out.log.String(), id)
}

// A link proves nothing of a client that keeps tokens: what it brings back of a session that
// the store has lost lasts a day.
func TestALinkKeepsNobodyForLong(t *testing.T) {
	memory := revisit.NewMemoryStore(revisit.MemoryOptions{})
	defer memory.Close()
	store := &swapStore{Store: memory}
	tracker := newTracker(t, revisit.Config{Store: store, Strategy: revisit.ETag{}})
	b := newBrowser(site(tracker, tagged))
	resp := b.get("/")
	ticket := strings.TrimSuffix(strings.TrimPrefix(resp.Header.Get("Server-Timing"), `rv;desc="`), `"`)
	require.NotEmpty(t, ticket)
	lost := revisit.NewMemoryStore(revisit.MemoryOptions{})
	defer lost.Close()
	store.Store = lost
	newBrowser(b.handler).get(anchor, fetch, header("Revisit-Link", ticket))
	id, err := revisit.ParseID(idOf(resp))
	require.NoError(t, err)
	r, err := lost.Load(t.Context(), id)
	require.NoError(t, err)
	assert.False(t, r.Confirmed)
	assert.LessOrEqual(t, time.Until(r.Expires), 24*time.Hour)
}

type swapStore struct{ revisit.Store }
