package revisit_test

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/revisit-go/revisit"
)

func plainRecord(i int, confirmed bool) revisit.Record {
	now := time.Now()
	var id revisit.ID
	id[0], id[1], id[8], id[9], id[15] = 1, byte(i>>8), byte(i), byte(i>>4), byte(i)
	id[2] = byte(i >> 16)
	id[3] = byte(i)
	return revisit.Record{ID: id, Version: int64(i) + 1, Created: now, LastSeen: now, Expires: now.Add(time.Hour), Confirmed: confirmed}
}

func TestTheMemoryStoreIsBoundedAndKeepsVisitorsInAFlood(t *testing.T) {
	for _, max := range []int{1, 10, 1000, 10_000} {
		synctest.Test(t, func(t *testing.T) {
			m := revisit.NewMemoryStore(revisit.MemoryOptions{MaxSessions: max})
			defer m.Close()
			ctx := t.Context()
			visitors := make([]revisit.Record, max/2)
			for i := range visitors {
				visitors[i] = plainRecord(i, false)
				require.NoError(t, m.Save(ctx, visitors[i], 0))
			}
			time.Sleep(2 * time.Minute)
			for i := range visitors { // they come back
				old := visitors[i].Version
				visitors[i].Confirmed, visitors[i].Version, visitors[i].Hits = true, old+1, 2
				require.NoError(t, m.Save(ctx, visitors[i], old))
			}
			for i := range 4 * max {
				bot := plainRecord(100_000+i, false)
				require.NoError(t, m.Save(ctx, bot, 0))
				bot.Version++
				require.NoError(t, m.Save(ctx, bot, bot.Version-1)) // and asks once more at once
				require.LessOrEqual(t, m.Len(), max)
			}
			lost := 0
			for i := range visitors {
				if r, err := m.Load(ctx, visitors[i].ID); err != nil || r.Hits != 2 {
					lost++
				}
			}
			assert.LessOrEqual(t, lost, max/100, "a flood of clients that never return pushes out itself")

			// All come back: it is still bounded, and there is room for new ones.
			for i := range 2 * max {
				r := plainRecord(1_000_000+i, true)
				require.NoError(t, m.Save(ctx, r, 0))
				r.Created = r.Created.Add(-time.Hour)
				r.Version++
				require.NoError(t, m.Save(ctx, r, r.Version-1))
				require.LessOrEqual(t, m.Len(), max)
			}
		})
	}
}

// Who was confirmed at once and goes on after a minute has returned, though his record
// was never saved since.
func TestWhoGoesOnIsKeptInAFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := revisit.NewMemoryStore(revisit.MemoryOptions{MaxSessions: 100, SweepEvery: time.Hour})
		defer m.Close()
		b := newBrowser(newTracker(t, revisit.Config{Store: m}).Handler(seen))
		id := idOf(b.get("/"))
		time.Sleep(time.Second)
		b.get("/shoes")
		time.Sleep(2 * time.Minute)
		b.get("/cart")
		for i := range 1000 {
			require.NoError(t, m.Save(t.Context(), plainRecord(i, false), 0))
		}
		again := b.get("/")
		assert.Equal(t, id, idOf(again))
		parsed, err := revisit.ParseID(id)
		require.NoError(t, err)
		r, err := m.Load(t.Context(), parsed)
		require.NoError(t, err)
		assert.EqualValues(t, 4, r.Hits)

		// And what has expired does not go on, whoever said when.
		old := r.Version
		r.Version, r.Expires = old+1, time.Now().Add(time.Second)
		require.NoError(t, m.Save(t.Context(), r, old))
		time.Sleep(2 * time.Second) // the sweeper comes later
		b.get("/")
		r, err = m.Load(t.Context(), parsed)
		require.NoError(t, err)
		assert.EqualValues(t, 1, r.Hits)
	})
}

func TestTombstonesAreNotEvicted(t *testing.T) {
	m := revisit.NewMemoryStore(revisit.MemoryOptions{MaxSessions: 100})
	defer m.Close()
	ctx := context.Background()
	for i := range 50 {
		r := plainRecord(i, false)
		r.Forgotten = true
		require.NoError(t, m.Save(ctx, r, 0))
	}
	for i := range 1000 {
		r := plainRecord(1000+i, i%2 == 0)
		require.NoError(t, m.Save(ctx, r, 0))
		if i%2 == 0 { // one who comes back, and is kept
			r.Created = r.Created.Add(-time.Hour)
			r.Version++
			require.NoError(t, m.Save(ctx, r, r.Version-1))
		}
	}
	for i := range 50 {
		r, err := m.Load(ctx, plainRecord(i, false).ID)
		require.NoError(t, err)
		assert.True(t, r.Forgotten)
	}
}

// sweepers counts the sweepers of this bubble. Those of other tests may be about
// to end.
func sweepers() int {
	synctest.Wait() // one that has just begun has no stack yet
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	n := 0
	for stack := range strings.SplitSeq(string(stacks), "\n\n") {
		if strings.Contains(stack, "synctest bubble") && strings.Contains(stack, "memstore.New.func") {
			n++
		}
	}
	return n
}

func TestTheSweeperRemovesWhatHasExpiredUntilClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := revisit.NewMemoryStore(revisit.MemoryOptions{SweepEvery: time.Minute})
		for i := range 100 {
			require.NoError(t, m.Save(t.Context(), plainRecord(i, i%2 == 0), 0))
		}
		assert.Equal(t, 1, sweepers())
		time.Sleep(59 * time.Minute)
		assert.Equal(t, 100, m.Len())
		time.Sleep(3 * time.Minute)
		assert.Zero(t, m.Len())

		require.NoError(t, m.Save(t.Context(), plainRecord(1, false), 0))
		require.NoError(t, m.Close())
		require.NoError(t, m.Close(), "twice")
		synctest.Wait()
		assert.Zero(t, sweepers(), "Close has ended the sweeper")
		time.Sleep(2 * time.Hour)
		assert.Equal(t, 1, m.Len())
	})
}

// Anybody can have sessions made and forgotten: that must not leave a store
// without room.
func TestAFloodOfTombstonesLeavesRoomForSessions(t *testing.T) {
	m := revisit.NewMemoryStore(revisit.MemoryOptions{MaxSessions: 200})
	defer m.Close()
	tracker := newTracker(t, revisit.Config{Store: m, Consent: revisit.OptOut("no")})
	h := tracker.Handler(seen)
	for range 300 {
		b := newBrowser(h)
		b.get("/")
		b.get("/", typed, header("Dnt", "1"))
	}
	b := newBrowser(h)
	assert.True(t, hasToken(b.get("/")))
	assert.Equal(t, "cookie", viaOf(b.get("/")))
}

// What a record's fields are is kept through any change of them.
func TestASlotKeepsWhatItIsGiven(t *testing.T) {
	m := revisit.NewMemoryStore(revisit.MemoryOptions{})
	defer m.Close()
	rnd := rand.New(rand.NewPCG(1, 2))
	at := func() time.Time { return time.UnixMilli(rnd.Int64N(1 << 43)).UTC() }
	id := func() (id revisit.ID) {
		binary.BigEndian.PutUint64(id[:], rnd.Uint64())
		binary.BigEndian.PutUint64(id[8:], rnd.Uint64())
		return id
	}
	text := func() string { return strings.Repeat("ä", rnd.IntN(200)*rnd.IntN(2)) }
	r := revisit.Record{ID: id()}
	for i := range 2000 {
		old := r.Version
		r = revisit.Record{
			ID: r.ID, Version: int64(i) + 1, Created: at(), LastSeen: at(), LastHit: at(), VisitStart: at(), Expires: time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond),
			Confirmed: rnd.IntN(2) == 0, Forgotten: rnd.IntN(2) == 0, Visits: rnd.Int64() - 1<<62, Hits: rnd.Int64(), Via: []string{"", "etag", "cookie"}[rnd.IntN(3)],
			LinksUsed: rnd.IntN(3),
		}
		if rnd.IntN(2) == 0 {
			r.MergedInto, r.ProbableMatch = id(), id()
		}
		for range rnd.IntN(4) {
			r.Touches = append(r.Touches, revisit.Touch{Time: at(), Landing: text(), Referrer: text(), Source: text(), Medium: text(), Campaign: text(), Term: text(), Content: text(), ID: text(), Click: text()})
			r.MergedSessions = append(r.MergedSessions, revisit.MergedSession{ID: id(), Visits: rnd.Int64(), Hits: -rnd.Int64()})
			r.ConflictingCookies = append(r.ConflictingCookies, id())
			if r.Values == nil {
				r.Values = map[string]revisit.Value{}
			}
			r.Values[text()] = revisit.Value{Text: text(), At: at()}
		}
		require.NoError(t, m.Save(t.Context(), r, old))
		got, err := m.Load(t.Context(), r.ID)
		require.NoError(t, err)
		require.Equal(t, r, got)
	}
	assert.Equal(t, 1, m.Len())
}

// A million plain sessions, with the touch that each first visit leaves.
func TestTheMemoryOfASession(t *testing.T) {
	n := 100_000 * min(full, 10)
	memory := func() uint64 {
		runtime.GC()
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return stats.HeapAlloc
	}
	before := memory()
	m := revisit.NewMemoryStore(revisit.MemoryOptions{MaxSessions: n})
	defer m.Close()
	now := time.Now()
	for i := range n {
		var id revisit.ID
		binary.BigEndian.PutUint64(id[:], uint64(now.UnixMilli())<<16)
		binary.BigEndian.PutUint64(id[8:], rand.Uint64())
		binary.BigEndian.PutUint16(id[6:], uint16(i))
		r := revisit.Record{ID: id, Version: int64(i) + 1, Created: id.Time(), LastSeen: now, LastHit: now, VisitStart: now, Expires: now.Add(time.Hour),
			Visits: 1, Hits: 1, Via: "new", Touches: []revisit.Touch{{Time: now, Landing: "/product/teapot"}}}
		require.NoError(t, m.Save(t.Context(), r, 0))
	}
	each := float64(memory()-before) / float64(n)
	t.Logf("%d sessions: %.0f bytes each", n, each)
	assert.Less(t, each, 230.0)
	begin := time.Now()
	runtime.GC()
	t.Logf("a forced collection: %v", time.Since(begin))
	runtime.KeepAlive(m)
}
