// Package enginetest tries a Tracker on a store behind which stands a real
// database: with several nodes, and while the database is away.
package enginetest

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/revisit-go/revisit"
)

// Times is how often something is repeated: ten times as often in a long run
// (REVISIT_FULL=1, as in make test-full).
func Times(n int) int {
	if os.Getenv("REVISIT_FULL") != "" {
		return 10 * n
	}
	return n
}

// A browser keeps the cookie.
type browser struct {
	cookie string
	seen   int64 // page views that were answered by its session
	id     revisit.ID
}

func (b *browser) get(h http.Handler, path string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", path, nil)
	for name, value := range map[string]string{"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Cookie": b.cookie} {
		if value != "" {
			r.Header.Set(name, value)
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		b.cookie = c.Name + "=" + c.Value
		if c.Value == "" {
			b.cookie = ""
		}
	}
	return w
}

var page = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	if s, ok := revisit.FromContext(r.Context()); ok {
		w.Header().Set("X-Id", s.ID.String())
		w.Header().Set("X-Unverified", fmt.Sprint(s.Unverified))
	}
})

func tracker(t testing.TB, store revisit.Store, flushEvery, timeout time.Duration) *revisit.Tracker {
	t.Helper()
	tr, err := revisit.New(revisit.Config{
		Keys: [][]byte{make([]byte, 32)}, Store: store, Strategy: revisit.Cookie{}, FlushEvery: flushEvery, StoreTimeout: timeout,
		Consent: func(*http.Request) revisit.Permission { return revisit.Restore },
		Logger:  slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	return tr
}

// begin has n browsers come twice, so that they are visitors.
func begin(t testing.TB, h http.Handler, n int) []*browser {
	t.Helper()
	browsers := make([]*browser, n)
	for i := range browsers {
		b := &browser{}
		browsers[i] = b
		for range 2 {
			w := b.get(h, "/")
			if b.cookie == "" || w.Header().Get("X-Unverified") != "false" {
				t.Fatalf("browser %d is not recognised: %v", i, w.Header())
			}
			b.seen++
			id, err := revisit.ParseID(w.Header().Get("X-Id"))
			if err != nil {
				t.Fatal(err)
			}
			b.id = id
		}
	}
	return browsers
}

// Nodes has three nodes serve visitors on one store: the counts add up, what one
// forgets is forgotten on all, and merges agree.
func Nodes(t *testing.T, store revisit.Store) {
	for _, flushEvery := range []time.Duration{0, 200 * time.Millisecond} {
		t.Run(fmt.Sprintf("FlushEvery %v", flushEvery), func(t *testing.T) {
			var trackers []*revisit.Tracker
			var nodes []http.Handler
			for range 3 {
				tr := tracker(t, store, flushEvery, time.Minute)
				trackers, nodes = append(trackers, tr), append(nodes, tr.Handler(page))
			}
			browsers := begin(t, nodes[0], 8)
			const each = 60
			var wg sync.WaitGroup
			for _, b := range browsers {
				for n := range nodes {
					wg.Go(func() {
						for range each / len(nodes) {
							c := *b
							if w := c.get(nodes[n], "/"); w.Header().Get("X-Unverified") != "false" {
								t.Errorf("not verified: %v", w.Header())
							}
						}
					})
				}
			}
			wg.Wait()
			for _, tr := range trackers {
				if err := tr.Close(); err != nil {
					t.Error(err)
				}
			}
			for i, b := range browsers {
				r, err := store.Load(t.Context(), b.id)
				if err != nil || r.Hits != 2+each || r.Visits != 1 {
					t.Errorf("browser %d: %d hits (want %d), %d visits, %v", i, r.Hits, 2+each, r.Visits, err)
				}
			}

			trackers, nodes = nil, nil
			for range 3 {
				tr := tracker(t, store, flushEvery, time.Minute)
				trackers, nodes = append(trackers, tr), append(nodes, tr.Handler(page))
			}
			for _, b := range browsers {
				for _, h := range nodes {
					b.get(h, "/")
				}
			}
			for i, b := range browsers {
				if i%2 == 0 {
					if err := trackers[i%3].Forget(t.Context(), b.id); err != nil {
						t.Fatal(err)
					}
				}
			}
			time.Sleep(flushEvery)
			for i, b := range browsers {
				for n, h := range nodes {
					c := *b
					w := c.get(h, "/")
					if known := w.Header().Get("X-Id") == b.id.String(); known != (i%2 == 1) {
						t.Errorf("browser %d on node %d: known %v", i, n, known)
					}
				}
			}
		})
	}
}

// Outage has visitors come while the database is away, which down does, and after
// it is back, which up does. Pages are served all the while, the visitors are
// recognised, and each page view is counted once in the end.
func Outage(t *testing.T, store revisit.Store, down, up func(), lasts time.Duration) {
	tr := tracker(t, store, 500*time.Millisecond, 0)
	h := tr.Handler(page)
	browsers := begin(t, h, 50)
	round := func() (slowest time.Duration) {
		for i, b := range browsers {
			before := time.Now()
			w := b.get(h, "/")
			slowest = max(slowest, time.Since(before))
			if w.Code != 200 || w.Header().Get("X-Id") != b.id.String() {
				t.Errorf("browser %d: %d %v", i, w.Code, w.Header())
			}
			b.seen++
		}
		return slowest
	}
	round()
	down()
	var slowest time.Duration
	rounds := 0
	for end := time.Now().Add(lasts); time.Now().Before(end); rounds++ {
		slowest = max(slowest, round())
	}
	stranger := &browser{}
	if w := stranger.get(h, "/"); w.Code != 200 || stranger.cookie != "" {
		t.Errorf("a new browser while the database is away: %d %q", w.Code, stranger.cookie)
	}
	up()
	deadline := time.Now().Add(30 * time.Second)
	for ; ; time.Sleep(100 * time.Millisecond) {
		var wrong []string
		for i, b := range browsers {
			r, err := store.Load(t.Context(), b.id)
			if err != nil || r.Hits != b.seen {
				wrong = append(wrong, fmt.Sprintf("browser %d: %d hits of %d, %v", i, r.Hits, b.seen, err))
			}
		}
		if len(wrong) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d wrong: %s\n%+v", len(wrong), strings.Join(wrong[:min(3, len(wrong))], "; "), tr.Stats())
		}
	}
	round()
	if err := tr.Close(); err != nil {
		t.Error(err)
	}
	for i, b := range browsers {
		if r, err := store.Load(t.Context(), b.id); err != nil || r.Hits != b.seen {
			t.Errorf("at the end, browser %d: %d hits of %d, %v", i, r.Hits, b.seen, err)
		}
	}
	for reason, n := range tr.Stats().Dropped {
		if n != 0 && reason != "timeout" && reason != "store" { // of the new browser
			t.Errorf("dropped, %s: %d", reason, n)
		}
	}
	t.Logf("%d rounds of %d pages while it was away; the slowest page took %v", rounds, len(browsers), slowest.Round(time.Millisecond))
}

// Refused has browsers come before the database is there, which up brings about.
func Refused(t *testing.T, store revisit.Store, up func()) {
	h := tracker(t, store, 500*time.Millisecond, 0).Handler(page)
	b := &browser{}
	for range 5 {
		if w := b.get(h, "/"); w.Code != 200 || b.cookie != "" {
			t.Errorf("before the database is there: %d %q", w.Code, b.cookie)
		}
	}
	up()
	for _, b := range begin(t, h, 5) {
		if r, err := store.Load(t.Context(), b.id); err != nil || r.Hits < 1 {
			t.Errorf("afterwards: %d hits, %v", r.Hits, err)
		}
	}
}

// Merges has three nodes meet the same two sessions in one browser, all at once:
// they become one, with the page views of both.
func Merges(t *testing.T, store revisit.Store) {
	var nodes []http.Handler
	for range 3 {
		tr, err := revisit.New(revisit.Config{
			Keys: [][]byte{make([]byte, 32)}, Store: store, StoreTimeout: time.Minute, Logger: slog.New(slog.DiscardHandler),
			Consent: func(*http.Request) revisit.Permission { return revisit.Restore },
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { tr.Close() })
		nodes = append(nodes, tr.Handler(page))
	}
	for range Times(5) {
		var ids [2]revisit.ID
		var cookie, tag string
		for i := range ids {
			b := &browser{}
			w := b.get(nodes[i], "/")
			var err error
			if ids[i], err = revisit.ParseID(w.Header().Get("X-Id")); err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				cookie = b.cookie
			}
			tag = w.Header().Get("Etag")
			time.Sleep(2 * time.Millisecond) // one is older
		}
		var wg sync.WaitGroup
		for n := range 9 {
			wg.Go(func() {
				r := httptest.NewRequest("GET", "/", nil)
				r.Header.Set("Cookie", cookie)
				r.Header.Set("If-None-Match", tag)
				w := httptest.NewRecorder()
				nodes[n%3].ServeHTTP(w, r)
				if got := w.Header().Get("X-Id"); got != ids[0].String() {
					t.Errorf("node %d knows %s, want %s", n%3, got, ids[0])
				}
			})
		}
		wg.Wait()
		root, err := store.Load(t.Context(), ids[0])
		if err != nil || root.Hits != 2+9 || len(root.MergedSessions) != 1 {
			t.Errorf("the older one: %+v, %v", root, err)
		}
		if alias, err := store.Load(t.Context(), ids[1]); err != nil || alias.MergedInto != ids[0] || alias.Hits != 0 {
			t.Errorf("the younger one: %+v, %v", alias, err)
		}
	}
}
