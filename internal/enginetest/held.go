package enginetest

import (
	"bytes"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/revisit-go/revisit"
)

// Held has somebody else hold the record of one visitor, which hold does, while that one and
// others come: no page waits for it, the page views of the others are saved meanwhile, and
// those of that visitor afterwards.
func Held(t *testing.T, store revisit.Store, hold func(revisit.ID) (release func())) {
	tr := tracker(t, store, 500*time.Millisecond, 0)
	h := tr.Handler(page)
	browsers := begin(t, h, 20)
	wait := func(which []*browser) {
		t.Helper()
		var wrong int
		for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			wrong = 0
			for _, b := range which {
				if r, err := store.Load(t.Context(), b.id); err != nil || r.Hits != b.seen {
					wrong++
				}
			}
			if wrong == 0 {
				return
			}
		}
		t.Errorf("%d of %d have not all of their page views: %+v", wrong, len(which), tr.Stats())
	}
	wait(browsers)
	release := hold(browsers[0].id)
	for range 5 {
		for _, b := range browsers {
			before := time.Now()
			if w := b.get(h, "/"); w.Header().Get("X-Id") != b.id.String() {
				t.Errorf("not recognised: %v", w.Header())
			}
			b.seen++
			if took := time.Since(before); took > 2*time.Second {
				t.Errorf("a page took %v", took)
			}
		}
	}
	wait(browsers[1:])
	release()
	wait(browsers)
	if err := tr.Close(); err != nil {
		t.Error(err)
	}
	wait(browsers)
	for reason, n := range tr.Stats().Dropped {
		if n != 0 {
			t.Errorf("dropped, %s: %d", reason, n)
		}
	}
}

// A lockedBuffer is what several loggers write to.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// A Replica is a second server that follows the first.
type Replica struct {
	CatchUp func() // returns once it has all that the first one has
	Stall   func() // cuts it off
	Promote func() // ends the first one, and has this one take over
}

// Behind reads from a replica that has not heard of a forget: it brings nobody back in the
// primary. Once it has taken over it does, until the log of forgotten sessions is replayed.
// The three stores are the primary, one that reads from the replica and writes to the
// primary, and the replica.
func Behind(t *testing.T, primary, split, replica revisit.Store, r Replica) {
	log := new(lockedBuffer)
	tracker := func(store revisit.Store, flushEvery time.Duration) *revisit.Tracker {
		tr, err := revisit.New(revisit.Config{
			Keys: [][]byte{make([]byte, 32)}, Store: store, Strategy: revisit.Cookie{}, FlushEvery: flushEvery,
			Consent: func(*http.Request) revisit.Permission { return revisit.Restore },
			Logger:  slog.New(slog.NewTextHandler(log, nil)),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { tr.Close() })
		return tr
	}
	first := tracker(primary, 0)
	browsers := begin(t, first.Handler(page), 4)
	forgotten := browsers[:2]
	r.CatchUp()
	r.Stall()
	for _, b := range forgotten {
		if err := first.Forget(t.Context(), b.id); err != nil {
			t.Fatal(err)
		}
		if _, err := replica.Load(t.Context(), b.id); err != nil {
			t.Fatalf("the replica is not behind: %v", err)
		}
	}
	for _, flushEvery := range []time.Duration{0, 100 * time.Millisecond} {
		second := tracker(split, flushEvery)
		h := second.Handler(page)
		for range 3 {
			for _, b := range browsers {
				c := *b // whatever is cleared
				if w := c.get(h, "/?utm_campaign=spring"); w.Code != 200 {
					t.Errorf("answered %d", w.Code)
				}
			}
		}
		if err := second.Close(); err != nil {
			t.Error(err)
		}
		for _, b := range forgotten {
			if have, err := primary.Load(t.Context(), b.id); err != nil || !have.Forgotten {
				t.Errorf("FlushEvery %v: a stale read has brought a forgotten session back: %+v, %v", flushEvery, have, err)
			}
		}
	}

	r.Promote()
	var third *revisit.Tracker
	known := func(b *browser) bool {
		c := *b
		w := c.get(third.Handler(page), "/")
		return w.Header().Get("X-Id") == b.id.String()
	}
	third = tracker(replica, 0)
	for end := time.Now().Add(30 * time.Second); !known(browsers[3]); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the replica has not taken over")
		}
	}
	for _, b := range forgotten {
		if !known(b) {
			t.Error("the replica knew of the forget: this test shows nothing")
		}
	}
	for line := range strings.Lines(log.String()) {
		if _, rest, ok := strings.Cut(line, `msg="revisit: forgotten" session=`); ok {
			id, err := revisit.ParseID(strings.TrimSpace(rest))
			if err != nil {
				t.Fatal(err)
			}
			if err := third.Forget(t.Context(), id); err != nil {
				t.Error(err)
			}
		}
	}
	for i, b := range browsers {
		if got, want := known(b), i >= len(forgotten); got != want {
			t.Errorf("after the log was replayed, browser %d is known: %v", i, got)
		}
	}
}

// Confirmed forgets visitors of a store that has a tombstone wait for its replica: while that
// is cut off Forget fails, and once it has returned nil they stay forgotten when the replica
// takes over.
func Confirmed(t *testing.T, store, replica revisit.Store, r Replica) {
	first := tracker(t, store, 0, 0)
	h := first.Handler(page)
	browsers := begin(t, h, 4)
	r.CatchUp()
	if err := first.Forget(t.Context(), browsers[0].id); err != nil {
		t.Error(err)
	}
	r.Stall()
	for range 2 {
		if first.Forget(t.Context(), browsers[1].id) == nil {
			t.Error("Forget has returned nil, and no replica knows of it")
		}
	}
	c := *browsers[1]
	if w := c.get(h, "/"); w.Code != 200 || w.Header().Get("X-Id") == c.id.String() && w.Header().Get("X-Unverified") == "false" {
		t.Errorf("while it is not confirmed: %d %v", w.Code, w.Header())
	}
	r.CatchUp()
	if err := first.Forget(t.Context(), browsers[1].id); err != nil {
		t.Error(err)
	}
	r.Stall()
	r.Promote()
	second := tracker(t, replica, 0, 0).Handler(page)
	for i, b := range browsers {
		c := *b
		if got, want := c.get(second, "/").Header().Get("X-Id") == b.id.String(), i > 1; got != want {
			t.Errorf("after the failover, browser %d is known: %v", i, got)
		}
	}
}
