package revisit_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/revisit-go/revisit"
	"github.com/revisit-go/revisit/storetest"
)

func parse(t *testing.T, id string) revisit.ID {
	t.Helper()
	parsed, err := revisit.ParseID(id)
	require.NoError(t, err)
	return parsed
}

// A customer who is known on two devices is one visitor from then on, on both, and
// whatever comes next goes to the older session.
func TestMergeByTheApplication(t *testing.T) {
	for _, every := range []time.Duration{0, 10 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			store := newAllStore(t)
			slow := storetest.Faulty(store, storetest.Faults{Latency: time.Millisecond})
			tracker := newTracker(t, revisit.Config{Store: slow, Consent: grant(revisit.Recognise), FlushEvery: every})
			h := tracker.Handler(seen)
			phone, desk := newBrowser(h), newBrowser(h)
			a := phone.get("/?utm_source=mail")
			time.Sleep(40 * 24 * time.Hour / 100)
			b := desk.get("/?utm_source=ads")
			desk.get("/")
			time.Sleep(time.Minute)
			for range 2 { // twice is once
				root, err := tracker.Merge(t.Context(), parse(t, idOf(b)), parse(t, idOf(a)))
				require.NoError(t, err)
				assert.Equal(t, idOf(a), root.String(), "the older one")
			}
			assert.Equal(t, idOf(a), idOf(desk.get("/")))
			assert.Equal(t, idOf(a), idOf(phone.get("/")))
			time.Sleep(time.Minute)
			r := record(t, store, a)
			assert.EqualValues(t, 5, r.Hits)
			require.Len(t, r.Touches, 2)
			assert.Equal(t, "ads", r.Touches[1].Source)
			assert.Empty(t, r.ConflictingCookies, "that was no tag's doing")
			assert.EqualValues(t, 1, tracker.Stats().Merged)
		})
	}
}

// What cannot be merged, and stays as it was.
func TestWhatMergeRefuses(t *testing.T) {
	store := newAllStore(t)
	tracker := newTracker(t, revisit.Config{Store: store})
	h := tracker.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, _ := revisit.FromContext(r.Context())
		if lead := r.FormValue("lead"); lead != "" {
			require.NoError(t, s.Set(r.Context(), "lead", lead))
		}
		if r.FormValue("renew") != "" {
			require.NoError(t, tracker.Renew(r.Context()))
		}
		seen(w, r)
	}))
	var ids []revisit.ID
	for _, query := range []string{"lead=1", "lead=2", "x=1", "x=2", "renew=1"} {
		b := newBrowser(h)
		resp := b.get("/")
		b.get("/?" + query)
		ids = append(ids, parse(t, idOf(resp)))
	}
	require.NoError(t, tracker.Forget(t.Context(), ids[3]))
	unknown := ids[0]
	unknown[15] ^= 1
	before := store.records(t)
	for _, c := range []struct {
		name string
		a, b revisit.ID
		want error
	}{
		{"different values", ids[0], ids[1], revisit.ErrApart},
		{"not there", ids[0], unknown, revisit.ErrNotFound},
		{"not there, the other way round", unknown, ids[0], revisit.ErrNotFound},
		{"no ID", ids[0], revisit.ID{}, revisit.ErrNotFound},
		{"forgotten", ids[2], ids[3], revisit.ErrForgotten},
		{"renewed", ids[2], ids[4], revisit.ErrForgotten},
	} {
		_, err := tracker.Merge(t.Context(), c.a, c.b)
		assert.ErrorIs(t, err, c.want, c.name)
	}
	assert.Equal(t, before, store.records(t))
	same, err := tracker.Merge(t.Context(), ids[0], ids[0])
	require.NoError(t, err)
	assert.Equal(t, ids[0], same)
}

// After a logout on a shared device the next person is somebody else, whatever is
// left in the browser: the cookie, the tags of all pages, links. What was stored stays.
func TestRenewOnASharedDevice(t *testing.T) {
	for _, c := range []struct {
		name       string
		strategy   revisit.Strategy
		permission revisit.Permission
	}{
		{"hybrid", nil, revisit.Restore},
		{"hybrid", nil, revisit.Recognise},
		{"cookie", revisit.Cookie{}, revisit.Recognise},
		{"etag", revisit.ETag{}, revisit.Restore},
		{"fingerprint", revisit.Fingerprint{}, revisit.Recognise},
	} {
		for _, every := range []time.Duration{0, 10 * time.Second} {
			t.Run(fmt.Sprintf("%s, %v, %v", c.name, c.permission, every), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					store := newAllStore(t)
					slow := storetest.Faulty(store, storetest.Faults{Latency: time.Millisecond})
					tracker := newTracker(t, revisit.Config{Store: slow, Strategy: c.strategy, Consent: grant(c.permission), FlushEvery: every})
					h := site(tracker, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if r.URL.Path == "/logout" {
							assert.NoError(t, tracker.Renew(r.Context()))
						}
						if s, ok := revisit.FromContext(r.Context()); ok {
							w.Header().Set("X-Id", s.ID.String())
						}
						fmt.Fprint(w, revisit.Field(r.Context()), revisit.Tag(r.Context()))
					}))
					b := newBrowser(h)
					b.userAgent, b.address = chrome, "198.51.100.7:1"
					visit := func(b *browser, url string) revisit.ID { return parse(t, idOf(b.open(url, true))) }
					for range 3 {
						visit(b, "/")
						visit(b, "/cart")
						time.Sleep(time.Second)
					}
					old := visit(b, "/")
					was := b.clone()
					time.Sleep(time.Minute)
					form := url.Values{}
					if field := fieldOf.FindStringSubmatch(b.bodies["/"]); field != nil {
						form.Set("revisit", field[1])
					}
					b.post("/logout", form, posted)
					time.Sleep(time.Second)
					stored := store.records(t)[old]
					require.EqualValues(t, -1, stored.LinksUsed)
					for range 2 {
						for _, page := range []string{"/", "/cart", "/new"} {
							assert.NotEqual(t, old, visit(b, page), page)
							time.Sleep(20 * time.Second)
						}
					}
					assert.NotEqual(t, old, visit(was, "/"), "a copy of the cookie, or of the tags")
					assert.NotEqual(t, old, visit(was, "/cart"))
					now := store.records(t)[old]
					assert.Equal(t, stored.Hits, now.Hits, "nothing is added")
					assert.Equal(t, stored.Touches, now.Touches)
					assert.False(t, now.Forgotten)
				})
			})
		}
	}
}

func TestRenewWithoutASession(t *testing.T) {
	tracker := newTracker(t, revisit.Config{})
	assert.ErrorIs(t, tracker.Renew(t.Context()), revisit.ErrNotFound)

	store := newAllStore(t)
	fresh := newTracker(t, revisit.Config{Store: store})
	b := newBrowser(fresh.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.NoError(t, fresh.Renew(r.Context()))
	})))
	resp := b.get("/")
	assert.False(t, hasToken(resp), "what was begun by the page that ends it")
	assert.Empty(t, store.records(t))
}

// All that is stored about one visitor, and nothing of anybody else; then nothing.
func TestExportAndErase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newAllStore(t)
		tracker := newTracker(t, revisit.Config{Store: store})
		h := tracker.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if s, ok := revisit.FromContext(r.Context()); ok {
				_ = s.Set(r.Context(), "lead", "L42")
			}
			seen(w, r)
		}))
		b, other := newBrowser(h), newBrowser(h)
		first := b.get("/?utm_campaign=spring")
		other.get("/?utm_campaign=other")
		time.Sleep(time.Second)
		clear(b.cookies)
		second := b.get("/new")
		b.get("/?utm_campaign=spring")
		for _, id := range []string{idOf(first), idOf(second)} {
			text, err := tracker.Export(t.Context(), parse(t, id))
			require.NoError(t, err)
			var got struct {
				Session revisit.Record
				Merged  []revisit.Record
			}
			require.NoError(t, json.Unmarshal(text, &got))
			assert.Equal(t, record(t, store, first), got.Session, "by whichever of the IDs")
			require.Len(t, got.Merged, 1)
			assert.Equal(t, idOf(second), got.Merged[0].ID.String())
			assert.Contains(t, string(text), "spring")
			assert.Contains(t, string(text), "L42")
			assert.NotContains(t, string(text), "other")
		}
		require.NoError(t, tracker.Forget(t.Context(), parse(t, idOf(second))))
		for _, id := range []string{idOf(first), idOf(second)} {
			_, err := tracker.Export(t.Context(), parse(t, id))
			assert.ErrorIs(t, err, revisit.ErrForgotten)
		}
		_, err := tracker.Export(t.Context(), revisit.ID{1})
		assert.ErrorIs(t, err, revisit.ErrNotFound)
		text, err := json.Marshal(store.records(t))
		require.NoError(t, err)
		assert.NotContains(t, string(text), "spring")
	})
}

// Tokens end with Lifetime, what was stored with Retention.
func TestRetention(t *testing.T) {
	const day = 24 * time.Hour
	synctest.Test(t, func(t *testing.T) {
		store := newAllStore(t)
		tracker := newTracker(t, revisit.Config{Store: store, Lifetime: 100 * day, Retention: 200 * day, Strategy: revisit.Cookie{}})
		b := newBrowser(tracker.Handler(seen))
		first := b.get("/?utm_source=x")
		b.get("/")
		time.Sleep(99 * day)
		assert.Equal(t, idOf(first), idOf(b.get("/")))
		time.Sleep(2 * day)
		assert.NotEqual(t, idOf(first), idOf(b.get("/")), "its lifetime is over")
		assert.EqualValues(t, 3, record(t, store, first).Hits, "and it is still there, for reports")
		time.Sleep(98 * day)
		_, err := tracker.Export(t.Context(), parse(t, idOf(first)))
		require.NoError(t, err)
		time.Sleep(2 * day)
		_, err = tracker.Export(t.Context(), parse(t, idOf(first)))
		assert.ErrorIs(t, err, revisit.ErrNotFound, "until nothing is")
	})
	for _, c := range []revisit.Config{{Retention: 30 * day}, {Lifetime: 100 * day, Retention: 99 * day}, {Retention: -1}} {
		c.Keys, c.Consent = [][]byte{testKey}, grant(revisit.Restore)
		_, err := revisit.New(c)
		assert.ErrorContains(t, err, "Retention", fmt.Sprint(c.Retention))
	}
}

// A merge that was broken off before the older session was renewed does not bring it
// back when somebody finishes it.
func TestAnUnfinishedMergeDoesNotReviveARenewedSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := revisit.NewMemoryStore(revisit.MemoryOptions{})
		defer memory.Close()
		store := &crashingStore{Store: memory, left: 1 << 30}
		tracker := newTracker(t, revisit.Config{Store: store})
		b := newBrowser(tracker.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-Logout") != "" {
				assert.NoError(t, tracker.Renew(r.Context()))
			}
			seen(w, r)
		})))
		first := b.get("/old")
		clear(b.cookies)
		time.Sleep(time.Second)
		second := b.get("/new")
		store.left = 2
		b.clone().get("/old") // the merge breaks off
		require.Equal(t, idOf(first), record(t, memory, second).MergedInto.String())
		require.Empty(t, record(t, memory, first).MergedSessions)
		store.left = 1 << 30
		out := b.clone()
		clear(out.cookies)
		out.get("/old", typed, header("X-Logout", "1"))
		require.EqualValues(t, -1, record(t, memory, first).LinksUsed)
		clear(b.tags)
		next := b.get("/other")
		assert.NotEqual(t, idOf(first), idOf(next))
		assert.NotEqual(t, idOf(second), idOf(next))
		assert.EqualValues(t, -1, record(t, memory, first).LinksUsed)
	})
}

// Who opens a letter's links for the reader (a scanner of the mail server, say) is no
// visitor until there is a second signal.
func TestAMailScannerIsNoVisitor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newAllStore(t)
		tracker := newTracker(t, revisit.Config{Store: store})
		h := site(tracker, tagged)
		for _, kinds := range [][]kind{{bare}, {typed}, {typed, header("Sec-Purpose", "prefetch")}} {
			newBrowser(h).get("/?utm_source=crm&utm_medium=email", kinds...)
		}
		reader := newBrowser(h)
		reader.get("/?utm_source=crm&utm_medium=email")
		reader.get("/page", link)
		confirmed, all := store.sessions(t)
		assert.Len(t, confirmed, 1)
		assert.Len(t, all, 3, "the prefetch leaves nothing")
		for _, r := range all {
			require.Len(t, r.Touches, 1)
			assert.Equal(t, "crm", r.Touches[0].Source, "and is known by then")
		}
		time.Sleep(24 * time.Hour)
		confirmed, all = store.sessions(t)
		assert.Len(t, all, 1)
		assert.Equal(t, confirmed, all)
	})
}

// logout is a tracker's handler whose page /logout renews the session.
func logout(t *testing.T, c revisit.Config) (*revisit.Tracker, http.Handler) {
	tracker := newTracker(t, c)
	return tracker, tracker.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Late") != "" {
			seen(w, r)
			w.(http.Flusher).Flush()
		}
		if r.URL.Path == "/logout" {
			assert.NoError(t, tracker.Renew(r.Context()))
		}
		if r.Header.Get("X-Late") == "" {
			seen(w, r)
		}
	}))
}

// What this node had gathered of the session is saved before it ends.
func TestRenewLosesNoPageView(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newAllStore(t)
		slow := storetest.Faulty(store, storetest.Faults{Latency: time.Millisecond})
		notified := int64(0)
		_, h := logout(t, revisit.Config{Store: slow, FlushEvery: 10 * time.Second, OnHit: func(_ context.Context, h revisit.Hit) { notified += h.Count }})
		b := newBrowser(h)
		first := b.get("/")
		for i := range 6 {
			b.get(fmt.Sprint("/p", i))
		}
		b.get("/logout", fetch)
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.EqualValues(t, 7, record(t, store, first).Hits)
		assert.EqualValues(t, 7, notified)
	})
}

// onLoad calls a function before each Load.
type onLoad struct {
	revisit.Store
	call func(revisit.ID)
}

func (s *onLoad) Load(ctx context.Context, id revisit.ID) (revisit.Record, error) {
	s.call(id)
	return s.Store.Load(ctx, id)
}

// A session that is merged into another one while its visitor logs out is logged out all the
// same: the next person is somebody else.
func TestRenewDuringAMerge(t *testing.T) {
	during := 0
	for n := 1; n <= 4; n++ {
		synctest.Test(t, func(t *testing.T) {
			store := &onLoad{Store: newAllStore(t)}
			other := newTracker(t, revisit.Config{Store: store.Store})
			var older, younger revisit.ID
			left, merged := 0, false
			store.call = func(id revisit.ID) {
				if left == 0 || id != younger {
					return
				}
				if left--; left == 0 {
					_, err := other.Merge(t.Context(), older, younger)
					merged = err == nil
				}
			}
			_, h := logout(t, revisit.Config{Store: store, FlushEvery: 10 * time.Second})
			first, second := newBrowser(h), newBrowser(h)
			older = parse(t, idOf(first.get("/")))
			time.Sleep(time.Second)
			younger = parse(t, idOf(second.get("/")))
			second.get("/", typed)
			tokens := second.clone()
			left = n
			second.get("/logout", fetch)
			left = 0
			time.Sleep(time.Minute)
			assert.NotContains(t, []string{older.String(), younger.String()}, idOf(tokens.get("/", typed)), "merged at Load %d", n)
			if merged {
				during++
				assert.NotEqual(t, older.String(), idOf(first.get("/", typed)), "merged at Load %d", n)
			}
		})
	}
	assert.GreaterOrEqual(t, during, 2)
}

// A renewed session is not evicted from a full memory store, or its tokens would bring it
// back; and it stays for as long as they last, whatever it was.
func TestARenewedSessionOutlivesItsTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := revisit.NewMemoryStore(revisit.MemoryOptions{MaxSessions: 20})
		defer store.Close()
		tracker, h := logout(t, revisit.Config{Store: store})
		b := newBrowser(h)
		first := b.get("/")
		b.get("/")
		was := b.clone()
		time.Sleep(2 * time.Minute)
		b.do("POST", "/logout")
		for range 100 {
			time.Sleep(time.Minute)
			other := newBrowser(h)
			other.get("/")
			time.Sleep(2 * time.Minute)
			other.get("/")
		}
		assert.NotEqual(t, idOf(first), idOf(was.get("/")))
		_, err := tracker.Export(t.Context(), parse(t, idOf(first)))
		assert.NoError(t, err)

		fresh := newBrowser(h)
		first = fresh.get("/logout", typed, header("X-Late", "1")) // begun, and ended once the header has gone
		was = fresh.clone()
		time.Sleep(25 * time.Hour)
		assert.NotEqual(t, idOf(first), idOf(was.get("/")))
	})
}

// The next person's no is not about the session before.
func TestANoAfterALogout(t *testing.T) {
	store := newAllStore(t)
	permission := revisit.Recognise
	_, h := logout(t, revisit.Config{Store: store, Consent: func(*http.Request) revisit.Permission { return permission }})
	b := newBrowser(h)
	first := b.get("/")
	b.get("/")
	b.do("POST", "/logout")
	permission = revisit.Deny // and the tag is still there
	b.get("/")
	assert.False(t, record(t, store, first).Forgotten, "what was stored stays")
}

// One that goes on to the target of a redirect, cookie and all, has opened one link. A
// visitor goes on from there.
func TestAMailScannerFollowsRedirects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newAllStore(t)
		h := newTracker(t, revisit.Config{Store: store}).Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/go" {
				http.Redirect(w, r, "/spring", http.StatusFound)
				return
			}
			seen(w, r)
		}))
		for name, after := range map[string]func(*browser){
			"a scanner":                       nil,
			"who loads a picture of the page": func(b *browser) { b.get("/logo.png", image) },
			"who opens the next page":         func(b *browser) { b.get("/next", link) },
			"who comes back later":            func(b *browser) { time.Sleep(time.Hour); b.get("/spring") },
		} {
			b := newBrowser(h)
			b.get("/go?utm_campaign=spring")
			resp := b.get("/spring")
			assert.False(t, record(t, store, resp).Confirmed, name)
			if after != nil {
				after(b)
			}
			r := record(t, store, resp)
			assert.Equal(t, after != nil, r.Confirmed, name)
			assert.Equal(t, "spring", r.Touches[0].Campaign, name)
		}
	})
}

// One click is one touch, though two sessions have it.
func TestAClickOnTwoSessionsIsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newAllStore(t)
		tracker := newTracker(t, revisit.Config{Store: store, Strategy: revisit.Cookie{}})
		b := newBrowser(tracker.Handler(seen))
		first := b.get("/?gclid=abc")
		time.Sleep(12 * time.Hour)
		b.get("/x")
		time.Sleep(12 * time.Hour)
		clear(b.cookies)
		second := b.get("/?gclid=abc") // a tab that was restored
		_, err := tracker.Merge(t.Context(), parse(t, idOf(first)), parse(t, idOf(second)))
		require.NoError(t, err)
		assert.Len(t, record(t, store, first).Touches, 1)
	})
}

// Whoever asks for something that takes long decides how long he waits, and it is done all
// the same.
func TestTheApplicationsPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newAllStore(t)
		slow := storetest.Faulty(store, storetest.Faults{Latency: 100 * time.Millisecond})
		tracker := newTracker(t, revisit.Config{Store: slow})
		id := parse(t, idOf(newBrowser(tracker.Handler(seen)).get("/")))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		begin := time.Now()
		_, err := tracker.Export(ctx, id)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.ErrorIs(t, tracker.Forget(ctx, id), context.DeadlineExceeded)
		assert.Less(t, time.Since(begin), 50*time.Millisecond)
		time.Sleep(time.Second)
		r, err := store.Load(t.Context(), id)
		require.NoError(t, err)
		assert.True(t, r.Forgotten)
	})
}

// A login may be the first request of a browser.
func TestMergeOfANewcomer(t *testing.T) { synctest.Test(t, testMergeOfANewcomer) }

func testMergeOfANewcomer(t *testing.T) {
	store := newAllStore(t)
	var tracker *revisit.Tracker
	var known revisit.ID
	tracker = newTracker(t, revisit.Config{Store: store})
	h := tracker.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, _ := revisit.FromContext(r.Context())
		if r.URL.Path == "/login" {
			root, err := tracker.Merge(r.Context(), known, s.ID)
			assert.NoError(t, err)
			assert.Equal(t, known, root)
		}
		seen(w, r)
	}))
	known = parse(t, idOf(newBrowser(h).get("/")))
	time.Sleep(2 * time.Millisecond) // who is older is no matter of chance
	phone := newBrowser(h)
	phone.get("/login")
	assert.Equal(t, known.String(), idOf(phone.get("/")))
}
