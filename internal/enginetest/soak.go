package enginetest

import (
	"context"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/revisit-go/revisit"
)

// Many saves many sessions, a million in a long run, lists them all and finds some.
func Many(t *testing.T, store interface {
	revisit.Batcher
	revisit.Lister
}) {
	n := 20_000
	if os.Getenv("REVISIT_FULL") != "" {
		n = 1_000_000
	}
	before := 0
	for range store.Sessions(t.Context()) {
		before++
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	var some []revisit.Record
	begin := time.Now()
	for done := 0; done < n; {
		changes := make([]revisit.Change, min(1000, n-done))
		for i := range changes {
			r := revisit.Record{Version: 1, Created: now, LastSeen: now, LastHit: now, VisitStart: now, Expires: now.Add(time.Hour), Visits: 1, Hits: 1, Via: "new",
				Touches: []revisit.Touch{{Time: now, Landing: "/shoes"}}}
			ms := uint64(now.UnixMilli())
			for j := range 6 {
				r.ID[j] = byte(ms >> (40 - 8*j))
			}
			for j := 6; j < 16; j++ {
				r.ID[j] = byte(rand.Uint32())
			}
			r.ID[6], r.ID[8] = r.ID[6]&0x0f|0x70, r.ID[8]&0x3f|0x80
			changes[i] = revisit.Change{Record: r}
		}
		slices.SortFunc(changes, func(a, b revisit.Change) int { return slices.Compare(a.Record.ID[:], b.Record.ID[:]) })
		for _, err := range store.SaveAll(t.Context(), changes) {
			if err != nil {
				t.Fatal(err)
			}
		}
		some = append(some, changes[0].Record)
		done += len(changes)
	}
	saved := time.Since(begin)
	listed := 0
	begin = time.Now()
	for _, err := range store.Sessions(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		listed++
	}
	if listed != before+n {
		t.Errorf("%d sessions are listed, want %d", listed, before+n)
	}
	t.Logf("%d sessions: saved in %v, listed in %v", n, saved.Round(time.Millisecond), time.Since(begin).Round(time.Millisecond))
	for _, want := range some {
		if got, err := store.Load(t.Context(), want.ID); err != nil || got.Hits != 1 {
			t.Errorf("%v: %v", want.ID, err)
		}
	}
}

// Soak has 64 clients come for a while, a minute in a long run, and sees that
// nothing piles up.
func Soak(t *testing.T, store revisit.Store) {
	lasts := 2 * time.Second
	if os.Getenv("REVISIT_FULL") != "" {
		lasts = time.Minute
	}
	tr := tracker(t, store, 200*time.Millisecond, time.Minute)
	h := tr.Handler(page)
	state := func() (goroutines int, heap uint64) {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return runtime.NumGoroutine(), m.HeapAlloc
	}
	ctx, cancel := context.WithTimeout(t.Context(), lasts)
	defer cancel()
	var pages [64]int64
	var goroutines int
	var heap uint64
	var wg sync.WaitGroup
	for i := range pages {
		wg.Go(func() {
			b := &browser{}
			for ctx.Err() == nil {
				if rand.IntN(50) == 0 {
					b = &browser{} // somebody else
				}
				if w := b.get(h, "/"); w.Code != 200 {
					t.Errorf("status %d", w.Code)
				}
				pages[i]++
			}
		})
	}
	time.Sleep(lasts / 4)
	goroutines, heap = state()
	wg.Wait()
	time.Sleep(time.Second) // what has gathered is saved
	after, heapAfter := state()
	total := int64(0)
	for _, n := range pages {
		total += n
	}
	t.Logf("%d pages in %v; goroutines %d then, %d after; heap %d KiB then, %d KiB after", total, lasts, goroutines, after, heap>>10, heapAfter>>10)
	if after > goroutines {
		t.Errorf("%d goroutines after a quarter, %d at the end", goroutines, after)
	}
	if heapAfter > 3*heap+64<<20 {
		t.Errorf("a heap of %d bytes after a quarter, of %d at the end", heap, heapAfter)
	}
	for reason, n := range tr.Stats().Dropped {
		if n > 0 {
			t.Errorf("dropped, %s: %d", reason, n)
		}
	}
}
