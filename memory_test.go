package revisit_test

import (
	"context"
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
		m := revisit.NewMemoryStore(revisit.MemoryOptions{MaxSessions: max})
		ctx := t.Context()
		for i := range max / 4 {
			require.NoError(t, m.Save(ctx, plainRecord(i, true), 0))
		}
		for i := range 4 * max {
			require.NoError(t, m.Save(ctx, plainRecord(100_000+i, false), 0))
			require.LessOrEqual(t, m.Len(), max)
		}
		lost := 0
		for i := range max / 4 {
			if _, err := m.Load(ctx, plainRecord(i, true).ID); err != nil {
				lost++
			}
		}
		assert.Zero(t, lost, "a flood of clients that never return pushes out itself")

		// All confirmed: it is still bounded.
		for i := range 2 * max {
			require.NoError(t, m.Save(ctx, plainRecord(1_000_000+i, true), 0))
			require.LessOrEqual(t, m.Len(), max)
		}
		m.Close()
	}
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
		require.NoError(t, m.Save(ctx, plainRecord(1000+i, i%2 == 0), 0))
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
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	n := 0
	for stack := range strings.SplitSeq(string(stacks), "\n\n") {
		if strings.Contains(stack, "synctest bubble") && strings.Contains(stack, "revisit.NewMemoryStore.func") {
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
