package revisit_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/revisit-go/revisit"
	"github.com/revisit-go/revisit/internal/uuid"
	"github.com/revisit-go/revisit/ja4"
	"github.com/revisit-go/revisit/storetest"
)

const (
	chrome  = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/154.0.0.0 Safari/537.36"
	firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0"
)

// lookalike is a browser that keeps nothing of what it is given.
func lookalike(h http.Handler, address string) *browser {
	b := newBrowser(h)
	b.userAgent, b.language, b.address, b.keepsNothing = chrome, "de,en;q=0.5", address, true
	return b
}

// What makes two requests one visitor's, and what does not.
func TestWhatLooksAlike(t *testing.T) {
	const home = "198.51.100.7:40000"
	id := func(r *http.Request) string { return r.Header.Get("Visitor-Hint") }
	for _, c := range []struct {
		name        string
		fingerprint revisit.Fingerprint
		address     string // of the first
		change      func(*http.Request)
		same        bool
	}{
		{"nothing changed", revisit.Fingerprint{}, home, func(*http.Request) {}, true},
		{"another port", revisit.Fingerprint{}, home, from("198.51.100.7:1"), true},
		{"another page", revisit.Fingerprint{}, home, func(r *http.Request) { r.URL.Path = "/other" }, true},
		{"another Accept, another Accept-Encoding", revisit.Fingerprint{}, home, set("Accept", "text/html", "Accept-Encoding", "br"), true},
		{"another address", revisit.Fingerprint{}, home, from("198.51.100.8:40000"), false},
		{"another browser", revisit.Fingerprint{}, home, set("User-Agent", firefox), false},
		{"another version", revisit.Fingerprint{}, home, set("User-Agent", strings.Replace(chrome, "154", "155", 1)), false},
		{"another language", revisit.Fingerprint{}, home, set("Accept-Language", "fr"), false},
		{"no language", revisit.Fingerprint{}, home, func(r *http.Request) { r.Header.Del("Accept-Language") }, false},
		{"what is hashed, shifted", revisit.Fingerprint{}, home, set("User-Agent", chrome+"d", "Accept-Language", "e,en;q=0.5"), false},
		{"another host", revisit.Fingerprint{}, home, func(r *http.Request) { r.Host = "shop.example.com" }, false},
		{"a host in capitals", revisit.Fingerprint{}, home, func(r *http.Request) { r.Host = "EXAMPLE.com" }, true},
		{"another host of the site", revisit.Fingerprint{Site: "example.com"}, home, func(r *http.Request) { r.Host = "shop.example.com" }, true},
		{"the same network", revisit.Fingerprint{Subnet: true}, home, from("198.51.100.200:1"), true},
		{"another network", revisit.Fingerprint{Subnet: true}, home, from("198.51.101.7:1"), false},
		{"IPv4 in IPv6", revisit.Fingerprint{}, home, from("[::ffff:198.51.100.7]:1"), true},
		{"the same /64", revisit.Fingerprint{}, "[2001:db8:1:2::7]:1", from("[2001:db8:1:2:a:b:c:d]:1"), true},
		{"another /64", revisit.Fingerprint{}, "[2001:db8:1:2::7]:1", from("[2001:db8:1:3::7]:1"), false},
		{"the same /48", revisit.Fingerprint{Subnet: true}, "[2001:db8:1:2::7]:1", from("[2001:db8:1:3::7]:1"), true},
		{"another /48", revisit.Fingerprint{Subnet: true}, "[2001:db8:1:2::7]:1", from("[2001:db8:2:2::7]:1"), false},
		{"another version, in a long window", revisit.Fingerprint{Window: 30 * 24 * time.Hour}, home, set("User-Agent", strings.Replace(chrome, "154.0", "155.10", 1)), true},
		{"another browser, in a long window", revisit.Fingerprint{Window: 30 * 24 * time.Hour}, home, set("User-Agent", firefox), false},
		{"the same hint", revisit.Fingerprint{ClientID: id}, home, func(*http.Request) {}, true},
		{"another hint", revisit.Fingerprint{ClientID: id}, home, set("Visitor-Hint", "b"), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			tracker := newTracker(t, revisit.Config{Strategy: c.fingerprint})
			b := lookalike(tracker.Handler(seen), c.address)
			first := b.request("GET", "/", typed)
			first.Header.Set("Visitor-Hint", "a")
			was := b.send(first)
			require.Equal(t, "new", viaOf(was))
			assert.False(t, hasToken(was), "a fingerprint is written nowhere")
			assert.Empty(t, was.Header.Get("Cache-Control"), "and needs no private response")
			second := b.request("GET", "/", typed)
			second.Header.Set("Visitor-Hint", "a")
			c.change(second)
			is := b.send(second)
			require.NotEmpty(t, idOf(is))
			if c.same {
				assert.Equal(t, idOf(was), idOf(is))
				assert.Equal(t, "fingerprint", viaOf(is))
				assert.EqualValues(t, 1, tracker.Stats().Confirmed)
				assert.EqualValues(t, 1, tracker.Stats().Returning["fingerprint"])
			} else {
				assert.NotEqual(t, idOf(was), idOf(is))
				assert.Equal(t, "new", viaOf(is))
			}
		})
	}
}

func from(address string) func(*http.Request) {
	return func(r *http.Request) { r.RemoteAddr = address }
}

func set(pairs ...string) func(*http.Request) {
	return func(r *http.Request) {
		for i := 0; i < len(pairs); i += 2 {
			r.Header.Set(pairs[i], pairs[i+1])
		}
	}
}

// Whom the fingerprint says nothing of: then there is no session, nothing in the
// store, and nobody else's session.
func TestWhoIsNotFingerprinted(t *testing.T) {
	asked := 0
	hint := revisit.Fingerprint{ClientID: func(r *http.Request) string {
		asked++
		return r.Header.Get("Visitor-Hint")
	}}
	for _, c := range []struct {
		name        string
		fingerprint revisit.Fingerprint
		permission  revisit.Permission
		change      func(*http.Request)
		kept        int // records of what came before: two of a visitor, one of the salt
	}{
		{"Unasked", hint, revisit.Unasked, set("Visitor-Hint", "a"), 3},
		{"Deny", hint, revisit.Deny, set("Visitor-Hint", "a"), 3},
		{"Global Privacy Control", revisit.Fingerprint{}, revisit.Restore, set("Sec-GPC", "1"), 3},
		{"a prefetch", revisit.Fingerprint{}, revisit.Restore, set("Sec-Purpose", "prefetch"), 3},
		{"no User-Agent", revisit.Fingerprint{}, revisit.Restore, func(r *http.Request) { r.Header.Del("User-Agent") }, 3},
		{"a crawler", revisit.Fingerprint{}, revisit.Restore, set("User-Agent", "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"), 3},
		{"an image on another site", revisit.Fingerprint{}, revisit.Restore, func(r *http.Request) { embedded(r.Header) }, 3},
		{"no address", revisit.Fingerprint{}, revisit.Restore, from("@"), 3},
		{"a proxy that nobody has configured", revisit.Fingerprint{}, revisit.Restore, set("X-Forwarded-For", "203.0.113.9"), 3},
		{"another one", revisit.Fingerprint{}, revisit.Restore, set("Via", "1.1 cache"), 3},
		{"what may be a proxy's address", revisit.Fingerprint{}, revisit.Restore, from("10.0.0.1:1"), 3},
		{"and this machine's", revisit.Fingerprint{}, revisit.Restore, from("[::1]:1"), 3},
		{"no hint", hint, revisit.Restore, func(*http.Request) {}, 3},
		{"a hint that is too long", hint, revisit.Restore, set("Visitor-Hint", strings.Repeat("x", 129)), 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			store := newAllStore(t)
			permission := revisit.Restore
			tracker := newTracker(t, revisit.Config{Strategy: c.fingerprint, Store: store,
				Consent: func(*http.Request) revisit.Permission { return permission }})
			b := lookalike(tracker.Handler(seen), "198.51.100.7:1")
			asked = 0
			before := b.request("GET", "/", typed)
			before.Header.Set("Visitor-Hint", "a")
			require.NotEmpty(t, idOf(b.send(before)))
			require.Len(t, store.records(t), c.kept)
			permission = c.permission
			r := b.request("GET", "/", typed)
			c.change(r)
			was := asked
			assert.Empty(t, idOf(b.send(r)))
			assert.Len(t, store.records(t), c.kept)
			if c.permission <= revisit.Deny {
				assert.Equal(t, was, asked, "nothing is looked at")
			}
			for _, r := range store.records(t) {
				assert.False(t, r.Confirmed, "the session of who looks like that")
				assert.False(t, r.Forgotten, "somebody else may be meant")
			}
		})
	}
}

func TestFingerprintOptions(t *testing.T) {
	for _, window := range []time.Duration{-time.Hour, time.Minute, 32 * 24 * time.Hour} {
		_, err := revisit.New(revisit.Config{Keys: [][]byte{testKey}, Consent: grant(revisit.Restore), Strategy: revisit.Fingerprint{Window: window}})
		assert.ErrorContains(t, err, "Window", "%v", window)
	}
	_, err := revisit.New(revisit.Config{Keys: [][]byte{testKey}, Consent: grant(revisit.Restore), Strategy: revisit.Hybrid(revisit.Fingerprint{}, revisit.Cookie{})})
	assert.ErrorContains(t, err, "comes last")
}

// At the end of a Hybrid the fingerprint goes into no carrier and merges nothing.
func TestAFingerprintIsAHint(t *testing.T) {
	hybrid := revisit.Hybrid(revisit.Cookie{}, revisit.ETag{}, revisit.Fingerprint{})
	for _, permission := range []revisit.Permission{revisit.Restore, revisit.Recognise} {
		synctest.Test(t, func(t *testing.T) {
			store := newAllStore(t)
			tracker := newTracker(t, revisit.Config{Strategy: hybrid, Store: store, Consent: grant(permission)})
			b := newBrowser(tracker.Handler(seen))
			b.userAgent, b.address = chrome, "198.51.100.7:1"
			first := b.get("/")
			require.True(t, hasToken(first))
			assert.Equal(t, "cookie", viaOf(b.get("/")))
			synctest.Wait() // nobody waits for what is remembered of a look

			again := lookalike(b.handler, b.address)
			again.language = ""
			post := again.do("POST", "/lead", fetch)
			assert.Equal(t, idOf(first), idOf(post), "no token came, and none can be given")
			assert.Equal(t, "fingerprint", viaOf(post))
			assert.False(t, hasToken(post))
			image := again.get("/logo.png", image)
			assert.Equal(t, "fingerprint", viaOf(image))
			assert.False(t, hasToken(image), "what somebody looks like is no token")

			second := again.get("/")
			assert.Equal(t, "new", viaOf(second), "a page view begins a session that has carriers")
			assert.True(t, hasToken(second))
			assert.NotEqual(t, idOf(first), idOf(second))
			if permission == revisit.Restore {
				assert.Equal(t, idOf(first), record(t, store, second).ProbableMatch.String())
			} else {
				assert.Zero(t, record(t, store, second).ProbableMatch, "what the visitor has cleared is not brought back")
			}
			confirmed, all := store.sessions(t)
			assert.Len(t, all, 2)
			assert.Len(t, confirmed, 1)
			assert.EqualValues(t, 2, confirmed[0].Hits, "a guess counts for nothing")
			assert.Zero(t, tracker.Stats().Merged)
		})
	}
}

// A request that cannot get a tag, as for a part of a page, gets no ticket either:
// with that the anchor would take the guess for a token.
func TestAGuessGetsNoLink(t *testing.T) { synctest.Test(t, testAGuessGetsNoLink) }

func testAGuessGetsNoLink(t *testing.T) {
	tracker := newTracker(t, revisit.Config{Strategy: revisit.Hybrid(revisit.ETag{}, revisit.Fingerprint{})})
	h := site(tracker, tagged)
	b := newBrowser(h)
	b.userAgent, b.address = chrome, "198.51.100.7:1"
	assert.NotEmpty(t, linkOf(b.get("/")))
	synctest.Wait()
	guess := lookalike(h, b.address)
	guess.language = ""
	resp := guess.get("/", fetch, header("Range", "bytes=0-"))
	assert.EqualValues(t, 1, tracker.Stats().Returning["fingerprint"])
	assert.Empty(t, linkOf(resp))
	assert.NotContains(t, guess.bodies["/"], "<iframe")
	assert.False(t, hasToken(resp))
}

// A cookie that was planted, stolen or forgotten is no case for a fingerprint: a
// token came.
func TestATokenSilencesTheFingerprint(t *testing.T) {
	tracker := newTracker(t, revisit.Config{Strategy: revisit.Hybrid(revisit.Cookie{}, revisit.Fingerprint{})})
	b := newBrowser(tracker.Handler(seen))
	b.userAgent, b.address = chrome, "198.51.100.7:1"
	first := b.get("/")
	id, err := revisit.ParseID(idOf(first))
	require.NoError(t, err)
	other := newBrowser(b.handler)
	other.get("/")
	r := b.request("POST", "/", fetch)
	r.Header.Add("Cookie", cookieName+"="+other.cookies[cookieName])
	assert.Empty(t, idOf(b.send(r)), "two cookies are no claim, and not the fingerprint's either")

	require.NoError(t, tracker.Forget(t.Context(), id))
	assert.Empty(t, idOf(b.do("POST", "/", fetch)))
	fresh := b.get("/")
	assert.Equal(t, "new", viaOf(fresh))
	assert.NotEqual(t, idOf(first), idOf(fresh))
}

// Two browsers with tokens of their own that look alike: from the moment that both
// have been seen, what they look like says nothing, whatever their hints are.
func TestACrowdIsNobody(t *testing.T) {
	for _, permission := range []revisit.Permission{revisit.Recognise, revisit.Restore} {
		for _, gap := range []time.Duration{5 * time.Second, time.Hour} {
			synctest.Test(t, func(t *testing.T) {
				store := newAllStore(t)
				tracker := newTracker(t, revisit.Config{Strategy: revisit.Hybrid(revisit.Cookie{}, revisit.Fingerprint{}), Store: store, Consent: grant(permission)})
				h := tracker.Handler(seen)
				one, two := newBrowser(h), newBrowser(h)
				one.userAgent, one.address = chrome, "198.51.100.7:1"
				two.userAgent, two.address = chrome, "198.51.100.7:1"
				stranger := lookalike(h, one.address)
				stranger.language = ""
				a := one.get("/")
				time.Sleep(gap)
				assert.Equal(t, idOf(a), idOf(stranger.do("POST", "/", fetch)))
				b := two.get("/")
				for range 2 {
					time.Sleep(time.Hour)
					assert.Equal(t, idOf(a), idOf(one.get("/")))
					time.Sleep(time.Hour)
					assert.Equal(t, idOf(b), idOf(two.get("/")))
				}
				synctest.Wait()
				assert.Empty(t, idOf(stranger.do("POST", "/", fetch)), "A or B")
				c := stranger.get("/")
				assert.Equal(t, "new", viaOf(c))
				assert.Zero(t, record(t, store, c).ProbableMatch)
				assert.Equal(t, idOf(a), idOf(one.get("/")), "cookies go on")

				time.Sleep(48 * time.Hour)
				assert.Empty(t, idOf(stranger.do("POST", "/", fetch)), "nobody was seen with the new salts")
			})
		}
	}
}

// One browser that has lost its cookie is no crowd: the session that it has now
// takes the place of the one that it had.
func TestAnHeirIsNoCrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newAllStore(t)
		tracker := newTracker(t, revisit.Config{Strategy: revisit.Hybrid(revisit.Cookie{}, revisit.Fingerprint{}), Store: store})
		b := newBrowser(tracker.Handler(seen))
		b.userAgent, b.address = chrome, "198.51.100.7:1"
		guess := lookalike(b.handler, b.address)
		guess.language = ""
		var lost []string
		for range 3 {
			first := b.get("/")
			time.Sleep(time.Hour)
			b.get("/")
			synctest.Wait()
			assert.Equal(t, idOf(first), idOf(guess.do("POST", "/", fetch)))
			if n := len(lost); n > 0 {
				assert.Equal(t, lost[n-1], record(t, store, first).ProbableMatch.String())
			}
			lost = append(lost, idOf(first))
			time.Sleep(time.Hour)
			clear(b.cookies)
		}
	})
}

// A guess sees whom it looks like, and can do nothing about him: not write, not
// forget, not confirm, not count.
func TestAGuessOnlyLooks(t *testing.T) { synctest.Test(t, testAGuessOnlyLooks) }

func testAGuessOnlyLooks(t *testing.T) {
	store := newAllStore(t)
	var tracker *revisit.Tracker
	var set, forgotten error
	tracker = newTracker(t, revisit.Config{Strategy: revisit.Hybrid(revisit.Cookie{}, revisit.Fingerprint{}), Store: store})
	h := site(tracker, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s, ok := revisit.FromContext(r.Context()); ok && s.Via == "fingerprint" {
			assert.True(t, s.IsGuess())
			set, forgotten = s.Set(r.Context(), "lead", "42"), tracker.Forget(r.Context(), s.ID)
			defer fmt.Fprint(w, revisit.Field(r.Context()), revisit.Tag(r.Context(), revisit.NoScript()))
		}
		seen(w, r)
	}))
	ann := newBrowser(h)
	ann.userAgent, ann.address = chrome, "198.51.100.7:1"
	first := ann.get("/")
	synctest.Wait()
	was := record(t, store, first)
	bob := lookalike(h, ann.address)
	bob.language = ""
	resp := bob.do("POST", "/", posted)
	assert.Equal(t, "new", viaOf(resp), "a navigation can carry a cookie")
	resp = bob.do("POST", "/", fetch)
	assert.Equal(t, idOf(first), idOf(resp))
	assert.ErrorIs(t, set, revisit.ErrGuess)
	assert.ErrorIs(t, forgotten, revisit.ErrGuess)
	assert.NotContains(t, bob.bodies["/"], "revisit\"")
	assert.NotContains(t, bob.bodies["/"], "<iframe")
	assert.Equal(t, was, record(t, store, first))
	require.NoError(t, tracker.Forget(t.Context(), was.ID), "whoever means it can")
}

// What one request has begun without a carrier, another one may have begun with
// one, while the first was slow: a guess is not merged into that.
func TestASlowGuessIsNotMergedIntoATag(t *testing.T) {
	for _, permission := range []revisit.Permission{revisit.Recognise, revisit.Restore} {
		synctest.Test(t, func(t *testing.T) {
			store := newAllStore(t)
			tracker := newTracker(t, revisit.Config{Strategy: revisit.Hybrid(revisit.ETag{}, revisit.Fingerprint{}), Store: store, Consent: grant(permission)})
			h := tracker.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPost {
					s, _ := revisit.FromContext(r.Context())
					assert.NoError(t, s.Set(r.Context(), "lead", "bob"))
					time.Sleep(2 * time.Second)
				}
				seen(w, r)
			}))
			ann := newBrowser(h)
			ann.userAgent, ann.language, ann.address = chrome, "de,en;q=0.5", "198.51.100.7:1"
			var wg sync.WaitGroup
			var bob *http.Response
			wg.Go(func() { bob = lookalike(h, ann.address).do("POST", "/lead", typed) })
			time.Sleep(time.Second)
			first := ann.get("/")
			wg.Wait()
			assert.NotEqual(t, idOf(bob), idOf(first))
			again := ann.get("/")
			assert.Equal(t, idOf(first), idOf(again))
			assert.Zero(t, record(t, store, first).Values)
			assert.Zero(t, tracker.Stats().Merged)
		})
	}
}

// Invariant 3 in a Hybrid: what looks like a session that has just begun does not
// confirm it, or one browser would end as two.
func TestAGuessConfirmsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newAllStore(t)
		tracker := newTracker(t, revisit.Config{Strategy: revisit.Hybrid(revisit.Cookie{}, revisit.Fingerprint{}), Store: store})
		b := newBrowser(tracker.Handler(seen))
		b.userAgent, b.address = chrome, "198.51.100.7:1"
		tabs := []*browser{b.clone(), b.clone(), b.clone()}
		tabs[0].get("/")
		tabs[1].get("/")
		tabs[2].do("POST", "/api", fetch)
		for range 3 {
			time.Sleep(time.Hour)
			tabs[1].get("/")
		}
		confirmed, all := store.sessions(t)
		assert.Len(t, confirmed, 1)
		assert.Len(t, all, 2)
		time.Sleep(24 * time.Hour)
		_, all = store.sessions(t)
		assert.Len(t, all, 1)
	})
}

// What nobody comes back for is gone after a day, and what was made from looks a day
// later: of requests that came at once, too.
func TestNothingIsLeftOfWhoNeverReturns(t *testing.T) {
	for _, sets := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			store := newAllStore(t)
			slow := storetest.Faulty(store, storetest.Faults{Latency: 5 * time.Millisecond})
			tracker := newTracker(t, revisit.Config{Strategy: revisit.Fingerprint{}, Store: slow})
			h := tracker.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if s, ok := revisit.FromContext(r.Context()); ok && sets {
					_ = s.Set(r.Context(), "theme", "dark")
				}
				seen(w, r)
			}))
			var wg sync.WaitGroup
			for i := range 5 {
				wg.Go(func() { lookalike(h, "198.51.100.7:1").get(fmt.Sprint("/", i)) })
			}
			wg.Wait()
			_, all := store.sessions(t)
			require.Len(t, all, 1)
			assert.EqualValues(t, 5, all[0].Hits)
			lookalike(h, "203.0.113.9:1").get("/") // alone, and once
			time.Sleep(48 * time.Hour)
			for _, r := range store.records(t) {
				assert.True(t, r.IsSession(), "%v", r)
				assert.True(t, r.Confirmed)
			}
			assert.Equal(t, "new", viaOf(lookalike(h, "198.51.100.7:1").get("/")))
		})
	}
}

// The session outlives the salt while the visitor keeps coming, on all nodes.
func TestSaltsRotate(t *testing.T) {
	for _, every := range []time.Duration{0, 10 * time.Second} {
		synctest.Test(t, func(t *testing.T) { // begins at midnight UTC
			store := newAllStore(t)
			slow := storetest.Faulty(store, storetest.Faults{Latency: time.Millisecond})
			nodes := make([]*browser, 2)
			for i := range nodes {
				tracker := newTracker(t, revisit.Config{Strategy: revisit.Fingerprint{}, Store: slow, FlushEvery: every})
				nodes[i] = lookalike(tracker.Handler(seen), "198.51.100.7:1")
			}
			time.Sleep(23*time.Hour + 59*time.Minute)
			first := nodes[0].get("/")
			assert.Equal(t, idOf(first), idOf(nodes[1].get("/")), "nodes agree on the salt")
			salts := saltsIn(store.records(t))
			require.Len(t, salts, 1)
			time.Sleep(2 * time.Minute) // past midnight
			for day := range 20 {
				assert.Equal(t, idOf(first), idOf(nodes[day%2].get("/")), "day %d", day)
				assert.Equal(t, idOf(first), idOf(nodes[1-day%2].get("/")), "day %d, the other node", day)
				now := saltsIn(store.records(t))
				assert.Len(t, now, 2, "this day's and the day's before")
				if day > 0 {
					assert.NotContains(t, now, salts[0], "destroyed")
				}
				time.Sleep(24 * time.Hour)
			}
			assert.NotEqual(t, idOf(first), idOf(nodes[0].get("/new", header("User-Agent", firefox))))
			assert.Equal(t, idOf(first), idOf(nodes[0].get("/")))
			time.Sleep(24 * time.Hour)
			assert.Equal(t, idOf(first), idOf(nodes[0].get("/")))
			time.Sleep(48 * time.Hour)
			assert.NotEqual(t, idOf(first), idOf(nodes[0].get("/")), "away for longer than the salts are kept")
			record := record(t, store, first)
			assert.True(t, record.Confirmed)
		})
	}
}

// saltsIn returns the salts that a store has.
func saltsIn(records map[revisit.ID]revisit.Record) (salts []string) {
	for _, r := range records {
		if v, ok := r.Values["salt"]; ok && !r.IsSession() {
			salts = append(salts, v.Text)
		}
	}
	return salts
}

// A keeper keeps every record that was ever saved, as a disk may, but for the salts: those
// it has as long as the store below has them.
type keeper struct {
	*allStore
	mu    sync.Mutex
	saved []revisit.Record
}

func (k *keeper) Save(ctx context.Context, r revisit.Record, old int64) error {
	k.mu.Lock()
	if _, salt := r.Values["salt"]; !salt {
		k.saved = append(k.saved, r)
	}
	k.mu.Unlock()
	return k.allStore.Save(ctx, r, old)
}

// Who holds the keys and all that the store and the log have ever had in them, but not
// the salts that were destroyed, cannot say who has looked like what. While the
// salts are there, one can: that is what destroying them is for.
func TestNothingCanBeComputedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &keeper{allStore: newAllStore(t)}
		var log bytes.Buffer
		tracker := newTracker(t, revisit.Config{Strategy: revisit.Fingerprint{}, Store: store, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		h := tracker.Handler(seen)
		suspects := make([]*browser, 50)
		for i := range suspects {
			suspects[i] = lookalike(h, fmt.Sprintf("198.51.100.%d:1", i))
		}
		guilty := suspects[17]
		first := guilty.get("/")
		guilty.get("/")
		// linked is what one finds who has all that was stored, and any secret that could
		// be a salt: the suspects whose key leads to the session.
		linked := func() (found []int) {
			secrets := [][]byte{testKey, make([]byte, 32)}
			for id, r := range store.records(t) {
				if text, ok := r.Values["salt"]; ok {
					salt, err := base64.RawURLEncoding.DecodeString(text.Text)
					require.NoError(t, err)
					secrets = append(secrets, salt)
				}
				// A salt that could be computed from where it was kept would be none.
				sum := sha256.Sum256(id[:])
				secrets = append(secrets, sum[:], append(id[:], id[:]...))
			}
			for i, b := range suspects {
				for _, secret := range secrets {
					key := keyOf(secret, "example.com", string(netip.MustParseAddrPort(b.address).Addr().AsSlice()), b.userAgent, b.language, "", "")
					if slices.ContainsFunc(store.saved, func(r revisit.Record) bool { return r.ID == key && r.MergedInto.String() == idOf(first) }) && !slices.Contains(found, i) {
						found = append(found, i)
					}
				}
			}
			return found
		}
		assert.Equal(t, []int{17}, linked(), "with the salt one can")
		everything := func() string {
			text, err := json.Marshal(store.saved)
			require.NoError(t, err)
			return string(text) + log.String()
		}
		for _, secret := range []string{"198.51.100", "Mozilla", "Chrome", "de,en", base64.StdEncoding.EncodeToString([]byte{198, 51, 100, 17})[:5]} {
			assert.NotContains(t, everything(), secret)
		}
		time.Sleep(24 * time.Hour)
		assert.Equal(t, []int{17}, linked(), "still kept for those who come back")
		suspects[3].get("/") // somebody else, so that there is a salt of this day, too
		assert.Len(t, revisit.SaltsInMemory(tracker), 2)
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		assert.Empty(t, linked())
		assert.NotEmpty(t, store.saved, "though the keys are still known")
		assert.Len(t, revisit.SaltsInMemory(tracker), 1, "nor in a process that nobody asks for anything")
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		assert.Empty(t, revisit.SaltsInMemory(tracker))
		for id, r := range store.records(t) {
			assert.True(t, r.IsSession(), "%v is left, made from what somebody looks like", id)
		}
		assert.NotEqual(t, idOf(first), idOf(guilty.get("/")))
	})
}

// Two shops with the same keys, on the same day, have salts of their own.
func TestSaltsAreRandom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all []string
		for range 2 {
			tracker := newTracker(t, revisit.Config{Strategy: revisit.Fingerprint{}})
			lookalike(tracker.Handler(seen), "198.51.100.7:1").get("/")
			all = append(all, revisit.SaltsInMemory(tracker)...)
		}
		require.Len(t, all, 2)
		assert.NotEqual(t, all[0], all[1])
	})
}

// A hint is worth no visitor: a store that is slow, but there, gives everybody a cookie.
func TestASlowHintCostsNoCookie(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := storetest.Faulty(newAllStore(t), storetest.Faults{Latency: 100 * time.Millisecond})
		tracker := newTracker(t, revisit.Config{Strategy: revisit.Hybrid(revisit.Cookie{}, revisit.Fingerprint{}), Store: slow})
		for i := range 5 {
			b := newBrowser(tracker.Handler(seen))
			b.userAgent, b.address = chrome, fmt.Sprintf("198.51.100.%d:1", i)
			begin := time.Now()
			assert.True(t, hasToken(b.get("/")))
			assert.LessOrEqual(t, time.Since(begin), 375*time.Millisecond, "half of StoreTimeout for the hint")
		}
	})
}

// What the page's own script has found out comes with a fetch, as in the documentation,
// after a page that could not say it.
func TestAScriptSaysWhoItIs(t *testing.T) {
	hint := func(r *http.Request) string { return r.Header.Get("Visitor-Hint") }
	hello := func(b *browser, id string) *http.Response {
		return b.do("POST", "/api/hello", fetch, header("Visitor-Hint", id))
	}
	synctest.Test(t, func(t *testing.T) {
		h := newTracker(t, revisit.Config{Strategy: revisit.Fingerprint{ClientID: hint}}).Handler(seen)
		b := lookalike(h, "198.51.100.7:1")
		assert.Empty(t, idOf(b.get("/")), "a page cannot say it")
		first := hello(b, "abc")
		assert.Equal(t, "new", viaOf(first))
		b.get("/")
		again := hello(b, "abc")
		assert.Equal(t, idOf(first), idOf(again))
		assert.Equal(t, "fingerprint", viaOf(again))
		assert.NotEqual(t, idOf(first), idOf(hello(b, "def")))
	})
	synctest.Test(t, func(t *testing.T) {
		store := newAllStore(t)
		strategy := revisit.Hybrid(revisit.Cookie{}, revisit.Fingerprint{ClientID: hint})
		h := newTracker(t, revisit.Config{Strategy: strategy, Store: store}).Handler(seen)
		b := newBrowser(h)
		b.userAgent, b.address = chrome, "198.51.100.7:1"
		first := b.get("/")
		assert.Equal(t, idOf(first), idOf(hello(b, "abc")))
		synctest.Wait()
		clear(b.cookies)
		again := hello(b, "abc")
		assert.Equal(t, idOf(first), idOf(again), "shown, as a guess")
		assert.Equal(t, "fingerprint", viaOf(again))
	})
}

// Two that look alike are nobody on the next day, either, as long as that is known.
func TestACrowdIsOneTheNextDay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newAllStore(t)
		strategy := revisit.Hybrid(revisit.Cookie{}, revisit.Fingerprint{})
		h := newTracker(t, revisit.Config{Strategy: strategy, Store: store}).Handler(seen)
		both := []*browser{newBrowser(h), newBrowser(h)}
		for range 3 {
			for _, b := range both {
				b.userAgent, b.address = chrome, "198.51.100.7:1"
				b.get("/")
				time.Sleep(time.Second)
			}
		}
		stranger := lookalike(h, "198.51.100.7:1")
		stranger.language = ""
		assert.Empty(t, idOf(stranger.do("POST", "/", fetch)), "two who look alike")
		time.Sleep(24 * time.Hour)
		both[0].get("/")
		synctest.Wait()
		assert.Empty(t, idOf(stranger.do("POST", "/", fetch)))
		assert.Zero(t, record(t, store, stranger.get("/")).ProbableMatch)
	})
}

// A session that has nothing but a look gives it up to one that has a token: a browser
// ends as one that counts.
func TestALookGivesWayToAToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newAllStore(t)
		strategy := revisit.Hybrid(revisit.ETag{}, revisit.Fingerprint{})
		h := newTracker(t, revisit.Config{Strategy: strategy, Store: store}).Handler(seen)
		b := newBrowser(h)
		b.userAgent, b.address = chrome, "198.51.100.7:1"
		b.do("POST", "/lead", link)
		b.do("POST", "/lead", link) // which comes back, as far as its look says
		page := b.get("/")
		for range 3 {
			time.Sleep(time.Second)
			assert.Equal(t, idOf(page), idOf(b.get("/")))
			synctest.Wait()
			assert.Equal(t, idOf(page), idOf(b.do("POST", "/lead", link)))
		}
		confirmed, _ := store.sessions(t)
		assert.Len(t, confirmed, 2, "that of the look stays, and gets no more")
	})
}

// What a visitor has entered is not shown to a client with the same fingerprint.
func TestAGuessTellsNothing(t *testing.T) {
	tracker := newTracker(t, revisit.Config{Strategy: revisit.Hybrid(revisit.Cookie{}, revisit.Fingerprint{})})
	var got *revisit.Session
	h := tracker.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, _ = revisit.FromContext(r.Context())
		if r.Method == "GET" {
			require.NoError(t, got.Set(r.Context(), "mail", "ann"))
		}
	}))
	ann := newBrowser(h)
	ann.userAgent, ann.address = chrome, "198.51.100.7:1"
	ann.get("/?utm_campaign=clinic")
	ann.get("/")
	bob := lookalike(h, "198.51.100.7:1")
	bob.language = ""
	require.Eventually(t, func() bool { bob.do("POST", "/", fetch); return got != nil && got.IsGuess() }, 5*time.Second, time.Millisecond)
	_, ok := got.Value("mail")
	assert.False(t, ok)
	assert.Empty(t, got.Touches())
}

// What the handshake says is one more signal: two browsers that call themselves the same.
func TestTheHandshakeTellsApart(t *testing.T) {
	server := httptest.NewUnstartedServer(newTracker(t, revisit.Config{
		Strategy: revisit.Fingerprint{TLS: true}, ClientAddr: revisit.Forwarded("X-Forwarded-For"),
	}).Handler(seen))
	ja4.Watch(server.Config)
	server.TLS = server.Config.TLSConfig
	server.StartTLS()
	defer server.Close()
	visit := func(c *tls.Config) string {
		c.InsecureSkipVerify, c.ServerName = true, "example.com"
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: c}}
		r, err := http.NewRequest("GET", server.URL, nil)
		require.NoError(t, err)
		r.Header.Set("User-Agent", chrome)
		resp, err := client.Do(r)
		require.NoError(t, err)
		resp.Body.Close()
		client.CloseIdleConnections()
		return idOf(resp)
	}
	first := visit(&tls.Config{})
	require.NotEmpty(t, first)
	assert.Equal(t, first, visit(&tls.Config{}))
	assert.NotEqual(t, first, visit(&tls.Config{MaxVersion: tls.VersionTLS12}))
}

// Bots are counted, whatever they were asked.
func TestBotsAreCountedUnasked(t *testing.T) {
	tracker := newTracker(t, revisit.Config{Consent: grant(revisit.Unasked)})
	b := lookalike(tracker.Handler(seen), "198.51.100.7:1")
	b.userAgent = "Googlebot/2.1"
	b.get("/")
	assert.EqualValues(t, 1, tracker.Stats().Bots)
	assert.Zero(t, tracker.Stats().Unasked)
}

// Invariant 3 for what has no token: first requests that come at once are one
// visitor, and each page counts once.
func TestParallelFirstRequestsThatLookAlike(t *testing.T) {
	for _, latency := range latencies {
		for _, n := range atOnce {
			for _, nodes := range []int{1, 3} {
				for range 3 * full {
					synctest.Test(t, func(t *testing.T) {
						store := newAllStore(t)
						slow := storetest.Faulty(store, storetest.Faults{Latency: latency, Jitter: latency / 2})
						browsers := make([]*browser, nodes)
						var trackers []*revisit.Tracker
						for i := range browsers {
							trackers = append(trackers, newTracker(t, revisit.Config{Strategy: revisit.Fingerprint{}, Store: slow, StoreTimeout: time.Minute}))
							browsers[i] = lookalike(trackers[i].Handler(seen), "198.51.100.7:1")
						}
						var wg sync.WaitGroup
						for i := range n {
							wg.Go(func() { browsers[i%nodes].clone().get(fmt.Sprint("/", i)) })
						}
						wg.Wait()
						assert.Equal(t, "fingerprint", viaOf(browsers[0].get("/after")))
						confirmed, all := store.sessions(t)
						assert.Len(t, all, 1)
						require.Len(t, confirmed, 1)
						assert.EqualValues(t, n+1, confirmed[0].Hits)
						assert.EqualValues(t, 1, confirmed[0].Visits)
						assert.Len(t, saltsIn(store.records(t)), 1)
						for _, tracker := range trackers {
							assert.Zero(t, tracker.Stats().Dropped["timeout"])
						}
					})
				}
			}
		}
	}
}

// The store's failure is not the page's, and no reason to make up a visitor.
func TestAFingerprintWithoutAStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, strategy := range []revisit.Strategy{revisit.Fingerprint{}, revisit.Hybrid(revisit.Cookie{}, revisit.Fingerprint{})} {
			faulty := storetest.Faulty(newAllStore(t), storetest.Faults{})
			b := lookalike(newTracker(t, revisit.Config{Strategy: strategy, Store: faulty}).Handler(seen), "198.51.100.7:1")
			for _, faults := range []storetest.Faults{{Fail: 1}, {Hang: true}} {
				faulty.Set(faults)
				resp := b.get("/")
				assert.Equal(t, 200, resp.StatusCode)
				assert.False(t, hasToken(resp))
			}
			faulty.Set(storetest.Faults{LoseAnswer: 0.5})
			faulty.Release()
			var first *http.Response
			for range 20 {
				if first = b.get("/"); idOf(first) != "" {
					break
				}
			}
			require.NotEmpty(t, idOf(first))
			faulty.Set(storetest.Faults{})
			time.Sleep(time.Minute)
			b.get("/")
			synctest.Wait()
			assert.NotEmpty(t, idOf(b.do("POST", "/", fetch)))
			assert.Equal(t, idOf(b.do("POST", "/", fetch)), idOf(b.do("POST", "/", fetch)))
		}
	})
}

// Who is known by looks only can still be forgotten, by a form of the page, and
// nobody else is. The form makes no token of it.
func TestForgettingWhoHasNoToken(t *testing.T) {
	store := newAllStore(t)
	strategy := revisit.Hybrid(revisit.Fingerprint{})
	tracker := newTracker(t, revisit.Config{Strategy: strategy, Store: store})
	b := lookalike(site(tracker, lead), "198.51.100.7:1")
	first := b.get("/lead")
	second := b.get("/lead")
	require.Equal(t, idOf(first), idOf(second))
	ticket := fieldOf.FindStringSubmatch(b.bodies["/lead"])
	require.NotNil(t, ticket)
	resp := b.post("/lead", url.Values{"revisit": {ticket[1]}}, posted)
	assert.Equal(t, "fingerprint", viaOf(resp), "the form says nothing that the request does not")
	resp = b.post("/revisit/forget", nil, posted)
	assert.Equal(t, 303, resp.StatusCode)
	_, all := store.sessions(t)
	assert.Len(t, all, 1, "without the field nobody is meant")
	resp = b.post("/revisit/forget", url.Values{"revisit": {ticket[1]}}, posted)
	assert.Equal(t, 303, resp.StatusCode)
	_, all = store.sessions(t)
	assert.Empty(t, all)
	third := b.get("/lead")
	require.NotEmpty(t, idOf(third), "consent has stayed")
	assert.NotEqual(t, idOf(first), idOf(third))
	assert.Equal(t, idOf(third), idOf(b.get("/lead")))

	// The same ticket under a strategy that has carriers: no cookie comes of it.
	both := newTracker(t, revisit.Config{Strategy: revisit.Hybrid(revisit.Cookie{}, revisit.Fingerprint{}), Store: store})
	c := lookalike(site(both, lead), "198.51.100.7:1")
	for _, found := range fieldOf.FindAllStringSubmatch(b.bodies["/lead"], -1) {
		resp := c.post("/lead", url.Values{"revisit": {found[1]}}, posted)
		assert.NotEqual(t, "form", viaOf(resp))
		if viaOf(resp) != "new" {
			assert.False(t, hasToken(resp))
		}
	}
}

// Robots get no session and no token, and are counted.
func TestBotsGetNothing(t *testing.T) {
	store := newAllStore(t)
	tracker := newTracker(t, revisit.Config{Store: store, Strategy: revisit.Hybrid(revisit.Cookie{}, revisit.ETag{}, revisit.Fingerprint{})})
	b := newBrowser(tracker.Handler(seen))
	b.userAgent = "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm) Chrome/116.0.1938.76 Safari/537.36"
	for range 3 {
		resp := b.get("/")
		assert.Empty(t, idOf(resp))
		assert.False(t, hasToken(resp))
	}
	assert.Empty(t, store.records(t))
	assert.EqualValues(t, 3, tracker.Stats().Bots)
	assert.Zero(t, tracker.Stats().Unasked)

	// Who was known before is not cleared: Bot may be wrong.
	known := newBrowser(b.handler)
	first := known.get("/")
	known.userAgent = b.userAgent
	resp := known.get("/")
	assert.Empty(t, idOf(resp))
	assert.Empty(t, resp.Cookies())
	known.userAgent = ""
	assert.Equal(t, idOf(first), idOf(known.get("/")))

	all := newTracker(t, revisit.Config{Bot: func(*http.Request) bool { return true }, Consent: grant(revisit.Deny)})
	newBrowser(all.Handler(seen)).get("/")
	assert.EqualValues(t, 1, all.Stats().Denied, "a no is a no, whoever says it")
}

// How good IsBot is stands in docs/fingerprint.md; here is what it must not fall
// below. The lists are not the ones that it was made with.
func TestIsBotOnLists(t *testing.T) {
	for _, c := range []struct {
		file    string
		at, min float64
	}{{"bots.txt", 1, 0.95}, {"browsers.txt", 0, 1}, {"people.txt.gz", 0, 0.999}} {
		file := openTestdata(t, c.file)
		defer file.Close()
		var list io.Reader = file
		if strings.HasSuffix(c.file, ".gz") {
			var err error
			list, err = gzip.NewReader(file)
			require.NoError(t, err)
		}
		all, right := 0, 0
		names := make(map[string]bool) // without versions: a family of robots counts once
		for lines := bufio.NewScanner(list); lines.Scan(); {
			if strings.HasPrefix(lines.Text(), "# ") {
				continue
			}
			all++
			r := httptest.NewRequest("GET", "/", nil)
			r.Header.Set("User-Agent", lines.Text())
			is := revisit.IsBot(r) == (c.at == 1)
			if is {
				right++
			}
			names[digits.ReplaceAllString(lines.Text(), "")] = is
		}
		byName := 0
		for _, is := range names {
			if is {
				byName++
			}
		}
		t.Logf("%s: %d of %d different names, %.2f %%", c.file, byName, len(names), 100*float64(byName)/float64(len(names)))
		assert.GreaterOrEqual(t, float64(byName)/float64(len(names)), c.min, c.file)
		t.Logf("%s: %d of %d, %.2f %%", c.file, right, all, 100*float64(right)/float64(all))
		require.Greater(t, all, 300)
		assert.GreaterOrEqual(t, float64(right)/float64(all), c.min, c.file)
	}
}

// openTestdata opens a file of testdata/, which is a module of its own, and so not in the
// zip that the go command makes of this one. Tests that run from that zip skip: it has no
// tools/ either, for the same reason. In the repository a file that is missing fails.
func openTestdata(t *testing.T, name string) *os.File {
	file, err := os.Open("testdata/" + name)
	if err != nil {
		if _, err := os.Stat("tools/go.mod"); os.IsNotExist(err) {
			t.Skipf("testdata/%s is in the repository only, not in the module's zip", name)
		}
	}
	require.NoError(t, err)
	return file
}

var digits = regexp.MustCompile("[0-9]+")

// Apps that show pages in a browser of their own, and programs that fetch some.
func TestWhoIsNoBot(t *testing.T) {
	for _, agent := range strings.Split(strings.TrimSpace(noBots), "\n") {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("User-Agent", agent)
		assert.False(t, revisit.IsBot(r), agent)
	}
	assert.False(t, revisit.IsBot(httptest.NewRequest("GET", "/", nil)), "no User-Agent")
	for _, agent := range []string{"@", "x@", "bot", "BOT", "cubotbot", "x@y", " .com a.com", "TelegramBot (like TwitterBot)", "Mozilla/5.0 (compatible; Discordbot/2.0)", "FlipboardProxy/1.2"} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("User-Agent", agent)
		assert.Equal(t, len(agent) > 2, revisit.IsBot(r), agent)
	}
}

// A word of a robot's in a User-Agent is one where robots name themselves, as a word, and
// with what else it says of what sent it.
func TestWhereRobotsNameThemselves(t *testing.T) {
	const (
		phone    = "Mozilla/5.0 (Linux; Android 13; %s) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/123.0.0.0 Mobile Safari/537.36"
		computer = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/123.0.0.0 Safari/537.36"
	)
	for model, is := range map[string]bool{
		// Telephones, by the names of their models, makers, builds and systems.
		"Tecno Camon i4": false, "M bot 54 Build/NRD90M": false, "IDbot553 Build/MRA58K": false, "ROBOT Build/1": false, "Cloud_M5_II": false, "HTC Butterfly 2 Build/MMB29M": false,
		"reeder P13 Blue Max": false, "moto g(50) 5G Build/S1RSS32.38-20-7-11": false, "SGPT12 Build/TJS0166": false, "MediaPad 10 Link+ Build/HuaweiMediaPad": false, "Aqua Trend": false,
		"GM Discovery II+": false, "XT1635-01 Build/NDNS26.118": false, "HMSCore 6.0.1.300.mirror": false, "Spider Scout": false, "de_DE@euro": false, "Sharp Crawler": false,
		// Robots that pretend to be one.
		"Pixel; Foobot/2.1": true, "Pixel; compatible; Foo": true, "Pixel; +https://foo.example": true, "Pixel; FooSpider/v1": true,
	} {
		agent := fmt.Sprintf(phone, model)
		assert.Equal(t, is, isBot(agent), agent)
	}
	for tail, is := range map[string]bool{
		// Apps and what is added to browsers, on a telephone and on a computer.
		" LinkedIn/9.7": false, " SP-engine/2.16.0": false, " QRScanner/2.0": false, " DailymotionEmbedSDK 1.0": false, " PriceChecker/1 Preview/2": false, " SecureMonitor/3": false,
		" Instagram 333.0.0.42.91 Android (31/12; 280dpi; cloud; spider; en_IR@calendar=gregorian)": false, " AtContent/100.5.4934.35": false, " Snapchat/12.89.0.40 (I2011; Android 13#eng.compil.20240430)": false,
		" Googlebot": true, " Baiduspider": true, " FooCrawler 1": true, " (Applebot/0.1)": true, " Chrome-Lighthouse": true, " (compatible; AdsBot-Google)": true, " LinkedInBot": true, " foo www.foo.example": true,
	} {
		agent := fmt.Sprintf(phone, "K") + tail
		assert.Equal(t, is, isBot(agent), agent)
	}
	for tail, is := range map[string]bool{
		" CreativeCloud/4.8.1.435": false, " Secure/57.0.441.112": false, " Battle.net/1.5.0": false, " StumbleUpon/1.9": false, ",gzip(gfe) (via translate.google.com)": false, " Evernote Windows/303788 (en-US)": false,
		" Safari(SonyEricsson)": false, " Presearch/1.0": false, " Checkers/2": false, " obsidian/1.11 Electron/39.5.1 PriceChecker/1": false, " me@home": false,
		" PriceChecker/1": true, " StatusMonitor": true, " (NetShelter ContentScan)": true, " (IndeedBot 1.1)": true, " adbeat.com/policy": true, " sitebulb.com": true, " FeedRSS/2": true, " audit by foo@bar.example": true, " a@b.example": true,
	} {
		agent := computer + tail
		assert.Equal(t, is, isBot(agent), agent)
	}
	for agent, is := range map[string]bool{
		// Programs: the oldest telephones, native apps, and those that are neither.
		"SonyEricssonW995/R1EA Profile/MIDP-2.1 Configuration/CLDC-1.1": false, "HTC Magic": false, "SAMSUNG-Android": false, "Shop/3.1 (Cloud Market) CFNetwork/1494.0.7 Darwin/23.4.0": false,
		"UCWEB/2.0 (Java; U; MIDP-2.0; Nokia203/20.37) U2/1.0.0 UCMini/10.9.5.983 (SpeedMode; Proxy; Android 4.4.2) U2/1.0.0 Mobile": false, "com.apple.WebKit.Networking/13604.5.6 CFNetwork/893.13.1 Darwin/17.4.0": false,
		"\"Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 5.1; .NET CLR 1.1.4322)\"": false, "Foo/1.0 (.NET CLR 1.1; .NET4.0C)": false,
		"VERSSED/1.0": false, "Camonix/1.0": false, "CloudCheck/1.0": true, "MarketEngine 2": true, "foo.com": true, "Foo/1.0 (me@home)": true, "WhatsApp/2.20.123 Android/9 Device/TECNO": true, "RSS2Mail/1": true, "Foo Bar": true,
		// Those that say that they are compatible.
		"Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1; Compatible; Version; Platform)": false, "Mozilla/5.0 (compatible; StaffsStudentImage; Windows NT 6.3; WOW64; Trident/7.0; rv:11.0) like Gecko": false,
		"Mozilla/4.0 (compatible; Linux 2.6.22) NetFront/3.4 Kindle/2.0 (screen 600x800)": false, "Mozilla/4.0 (compatible;)": false, "Mozilla/4.0(compatible;MSIE 7.0;Windows NT 6.1;SV1;.NET CLR 1.0.3705)": false,
		"Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.0; Trident/4.0;  Embedded Web Browser from: http://bsalsa.com/; SLCC1)": false,
		"Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1) (compatible; Foo)":                                                   true, "Mozilla/5.0 (compatible;Foo/1.0)": true,
	} {
		assert.Equal(t, is, isBot(agent), agent)
	}
}

func isBot(agent string) bool {
	return revisit.IsBot(&http.Request{Header: http.Header{"User-Agent": {agent}}})
}

func FuzzIsBot(f *testing.F) {
	f.Add(chrome)
	f.Add("Googlebot/2.1")
	f.Add("Mozilla/4.0 (compatible; MSIE 6.0; compatible; x")
	f.Add("a@a.b@" + strings.Repeat("bot@", 100))
	parts := strings.Fields("bot Bot spider Spider Crawler crawl scraper scan check Preview cloud Market rss feed Monitor robot css link seo news 7 53 Build .com @a")
	f.Fuzz(func(t *testing.T, agent string) {
		_ = isBot(agent)
		// Of one that is longer than any browser's, the end is not looked at.
		const robot = " (compatible; Foobot/1.0; +http://foo.example)"
		if len(agent+robot) <= 1<<10 && !isBot(agent+robot) {
			t.Errorf("%q is no bot", agent+robot)
		}
		// A model is called what its maker likes, as long as it is no address and has no version.
		var model strings.Builder
		for _, c := range []byte(agent[:min(len(agent), 100)]) {
			model.WriteString(parts[int(c)%len(parts)] + " _;-"[c>>6:][:1])
		}
		if person := "Mozilla/5.0 (Linux; Android 13; " + model.String() + ") Chrome/123.0.0.0 Safari/537.36"; isBot(person) {
			t.Errorf("%q is a bot", person)
		}
	})
}

// Config.ClientAddr may write an IPv4 address as it likes.
func TestAnAddressInAnotherForm(t *testing.T) {
	tracker := newTracker(t, revisit.Config{Strategy: revisit.Fingerprint{}, ClientAddr: func(r *http.Request) netip.Addr {
		addr, _ := netip.AddrFromSlice(net.ParseIP(r.Header.Get("X-Client")))
		return addr
	}})
	b := lookalike(tracker.Handler(seen), "10.0.0.1:1")
	first := b.get("/", header("X-Client", "198.51.100.7"))
	assert.Equal(t, idOf(first), idOf(b.get("/", header("X-Client", "::ffff:198.51.100.7"))))
	assert.NotEqual(t, idOf(first), idOf(b.get("/", header("X-Client", "203.0.113.200"))))
}

func prefixes(texts ...string) (all []netip.Prefix) {
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

// Whatever a client writes into the field before it gets to the first proxy of ours
// makes no difference.
func TestForwarded(t *testing.T) {
	ours := prefixes("10.0.0.0/8", "192.0.2.0/28", "2001:db8:ffff::/48")
	for _, c := range []struct {
		name, field, remote string
		lines               []string
		want                string // "" for not known
	}{
		{"no proxy", "X-Forwarded-For", "198.51.100.7:1", nil, "198.51.100.7"},
		{"no proxy of ours", "X-Forwarded-For", "198.51.100.7:1", []string{"203.0.113.9"}, "198.51.100.7"},
		{"one proxy", "X-Forwarded-For", "10.0.0.1:1", []string{"198.51.100.7"}, "198.51.100.7"},
		{"in small letters", "x-forwarded-for", "10.0.0.1:1", []string{"198.51.100.7"}, "198.51.100.7"},
		{"two proxies", "X-Forwarded-For", "10.0.0.1:1", []string{"198.51.100.7, 192.0.2.3"}, "198.51.100.7"},
		{"two lines", "X-Forwarded-For", "10.0.0.1:1", []string{"198.51.100.7", "192.0.2.3"}, "198.51.100.7"},
		{"spoofed", "X-Forwarded-For", "10.0.0.1:1", []string{"203.0.113.9, 198.51.100.7"}, "198.51.100.7"},
		{"spoofed in a line of its own", "X-Forwarded-For", "10.0.0.1:1", []string{"203.0.113.9", "198.51.100.7"}, "198.51.100.7"},
		{"spoofed as a proxy", "X-Forwarded-For", "10.0.0.1:1", []string{"203.0.113.9, 10.0.0.2, 198.51.100.7"}, "198.51.100.7"},
		{"spoofed with rubbish", "X-Forwarded-For", "10.0.0.1:1", []string{"x\"y,;=, 198.51.100.7"}, "198.51.100.7"},
		{"rubbish", "X-Forwarded-For", "10.0.0.1:1", []string{"198.51.100.7, x"}, ""},
		{"a name", "X-Forwarded-For", "10.0.0.1:1", []string{"localhost"}, ""},
		{"nothing", "X-Forwarded-For", "10.0.0.1:1", nil, ""},
		{"empty", "X-Forwarded-For", "10.0.0.1:1", []string{"", " "}, ""},
		{"an empty member", "X-Forwarded-For", "10.0.0.1:1", []string{"198.51.100.7, , 192.0.2.3"}, ""},
		{"all of them ours", "X-Forwarded-For", "10.0.0.1:1", []string{"10.0.0.9, 192.0.2.3"}, ""},
		{"IPv6", "X-Forwarded-For", "[2001:db8:ffff::1]:1", []string{"2001:db8::7"}, "2001:db8::7"},
		{"IPv6 in brackets", "X-Forwarded-For", "10.0.0.1:1", []string{"[2001:db8::7]"}, "2001:db8::7"},
		{"with ports", "X-Forwarded-For", "10.0.0.1:1", []string{"[2001:db8::7]:443, 192.0.2.3:80"}, "2001:db8::7"},
		{"IPv4 in IPv6", "X-Forwarded-For", "[::ffff:10.0.0.1]:1", []string{"::ffff:198.51.100.7"}, "198.51.100.7"},
		{"a zone", "X-Forwarded-For", "10.0.0.1:1", []string{"fe80::1%eth0"}, "fe80::1"},
		{"X-Real-Ip", "X-Real-Ip", "10.0.0.1:1", []string{"198.51.100.7"}, "198.51.100.7"},
		{"Forwarded", "Forwarded", "10.0.0.1:1", []string{`for=198.51.100.7;proto=https, For="192.0.2.3:80"; by=10.0.0.1`}, "198.51.100.7"},
		{"Forwarded, IPv6", "Forwarded", "10.0.0.1:1", []string{`for="[2001:db8::7]:4711"`}, "2001:db8::7"},
		{"Forwarded, spoofed", "Forwarded", "10.0.0.1:1", []string{`for=203.0.113.9`, `proto=http;for=198.51.100.7`}, "198.51.100.7"},
		{"Forwarded, a quote that is left open", "Forwarded", "10.0.0.1:1", []string{`for="203.0.113.9, for=198.51.100.7`}, "198.51.100.7"},
		{"Forwarded, a comma in quotes", "Forwarded", "10.0.0.1:1", []string{`for="203.0.113.9,198.51.100.7"`}, ""},
		{"Forwarded, hidden", "Forwarded", "10.0.0.1:1", []string{`for=198.51.100.7, for=_hidden`}, ""},
		{"Forwarded, unknown", "Forwarded", "10.0.0.1:1", []string{`for=unknown`}, ""},
		{"Forwarded, none", "Forwarded", "10.0.0.1:1", []string{`proto=https`}, ""},
		{"Forwarded, two", "Forwarded", "10.0.0.1:1", []string{`for=198.51.100.7;for=203.0.113.9`}, ""},
		{"no address at all", "X-Forwarded-For", "@", []string{"198.51.100.7"}, ""},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = c.remote
		r.Header[http.CanonicalHeaderKey(c.field)] = c.lines
		got := revisit.Forwarded(c.field, ours...)(r)
		want := netip.Addr{}
		if c.want != "" {
			want = netip.MustParseAddr(c.want)
		}
		assert.Equal(t, want, got, c.name)
	}
}

// What stands before the first entry of a proxy of ours is the client's word.
func FuzzForwarded(f *testing.F) {
	f.Add("203.0.113.9", "for=203.0.113.9")
	f.Add(`"`, `for="x`)
	f.Add("10.0.0.1,,", "for=10.0.0.1;for=")
	ours := prefixes("10.0.0.0/8")
	want := netip.MustParseAddr("198.51.100.7")
	f.Fuzz(func(t *testing.T, a, b string) {
		for field, lines := range map[string][]string{
			"X-Forwarded-For": {a, b + ",198.51.100.7, 10.0.0.2"},
			"Forwarded":       {b, a + `, for=198.51.100.7;proto=http, for="10.0.0.2:80"`},
		} {
			r := &http.Request{RemoteAddr: "10.0.0.1:1", Header: http.Header{field: lines}}
			if got := revisit.Forwarded(field, ours...)(r); got != want {
				t.Errorf("%q: %v", lines, got)
			}
			r.Header[field] = []string{a, b} // no more than no panic
			revisit.Forwarded(field, ours...)(r)
		}
	})
}

// Behind proxies the client's address counts, in fingerprints and in tickets.
func TestClientAddr(t *testing.T) {
	tracker := newTracker(t, revisit.Config{Strategy: revisit.Fingerprint{}, ClientAddr: revisit.Forwarded("X-Forwarded-For", prefixes("10.0.0.0/8")...)})
	b := lookalike(tracker.Handler(seen), "10.0.0.1:1")
	first := b.get("/", header("X-Forwarded-For", "198.51.100.7"))
	require.NotEmpty(t, idOf(first))
	b.address = "10.0.0.2:1" // another of the proxies
	assert.Equal(t, idOf(first), idOf(b.get("/", header("X-Forwarded-For", "203.0.113.9, 198.51.100.7"))))
	assert.NotEqual(t, idOf(first), idOf(b.get("/", header("X-Forwarded-For", "198.51.100.7, 203.0.113.9"))))
	assert.Empty(t, idOf(b.get("/", header("X-Forwarded-For", "unknown"))))

	leads := newTracker(t, revisit.Config{Strategy: revisit.ETag{}, ClientAddr: revisit.Forwarded("X-Forwarded-For", prefixes("10.0.0.0/8")...)})
	c := lookalike(site(leads, lead), "10.0.0.1:1")
	page := c.get("/lead", header("X-Forwarded-For", "198.51.100.7"))
	ticket := fieldOf.FindStringSubmatch(c.bodies["/lead"])
	require.NotNil(t, ticket)
	form := url.Values{"revisit": {ticket[1]}}
	assert.Equal(t, idOf(page), idOf(c.post("/lead", form, posted, header("X-Forwarded-For", "198.51.100.7"))))
	assert.Empty(t, idOf(c.post("/lead", form, posted, header("X-Forwarded-For", "203.0.113.9"))), "another client of the same proxy")
}

// A strategy of somebody else's that goes by looks.
type byAccount struct{}

func (byAccount) Via() string { return "account" }
func (byAccount) Identify(v *revisit.Visit) {
	if account := v.Request().Header.Get("Account"); account != "" {
		v.Match("account", time.Hour, account)
	}
}
func (byAccount) Attach(*revisit.Visit, http.Header, int) {}
func (byAccount) Clear(*revisit.Visit, http.Header, int)  {}

func TestAStrategyOfOnesOwnThatMatches(t *testing.T) {
	b := newBrowser(newTracker(t, revisit.Config{Strategy: byAccount{}}).Handler(seen))
	b.keepsNothing = true
	assert.Empty(t, idOf(b.get("/")))
	first := b.get("/", header("Account", "42"))
	assert.Equal(t, idOf(first), idOf(b.get("/", header("Account", "42"))))
	assert.NotEqual(t, idOf(first), idOf(b.get("/", header("Account", "43"))))
}

// A flood of newcomers does not take the places of those who come back, or of the
// keys that lead to them.
func TestAFloodOfNewLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := revisit.NewMemoryStore(revisit.MemoryOptions{MaxSessions: 400})
		defer store.Close()
		tracker := newTracker(t, revisit.Config{Strategy: revisit.Fingerprint{}, Store: store})
		h := tracker.Handler(seen)
		var known []*browser
		var ids []string
		for i := range 40 {
			b := lookalike(h, fmt.Sprintf("198.51.100.%d:1", i))
			known = append(known, b)
			ids = append(ids, idOf(b.get("/")))
		}
		time.Sleep(2 * time.Minute)
		for i, b := range known {
			require.Equal(t, ids[i], idOf(b.get("/")))
		}
		for i := range 2000 {
			b := lookalike(h, fmt.Sprintf("203.0.%d.%d:1", 113+i/256, i%256))
			var wg sync.WaitGroup
			for range 2 {
				wg.Go(func() { b.clone().get("/") })
			}
			wg.Wait()
		}
		kept := 0
		for i, b := range known {
			if slices.Contains(ids, idOf(b.get("/"))) && i >= 0 {
				kept++
			}
		}
		assert.GreaterOrEqual(t, kept, 38)
		assert.LessOrEqual(t, store.Len(), 400)
	})
}

const noBots = `
Python-urllib/3.11
python-urllib3/1.26.9
python-requests/2.32.3
undici
node
fasthttp
Go http package
go-resty/2.7.0 (https://github.com/go-resty/resty)
got (https://github.com/sindresorhus/got)
node-fetch/1.0 (+https://github.com/bitinn/node-fetch)
Google-HTTP-Java-Client/1.42.0 (gzip)
curl/7.15.5 (x86_64-redhat-linux-gnu) libcurl/7.15.5 OpenSSL/0.9.8b zlib/1.2.3 libidn/0.6.5
PycURL/7.43.0 libcurl/7.47.0 OpenSSL/1.0.2 zlib/1.2.8
Typhoeus - https://github.com/typhoeus/typhoeus
Lynx/2.8.9rel.1 libwww-FM/2.14 SSL-MM/1.4.1 OpenSSL/1.1.1d
Links (2.25; Linux 6.1 x86_64; GNU C 12; text)
ELinks/0.13.2 (textmode; Linux 6.1 x86_64; 80x24-2)
Mozilla/5.0 (Linux; Android 7.0; TP-LINK Neffos X1) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/90.0.0.0 Mobile Safari/537.36
Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 [FBAN/FBIOS;FBAV/470.0.0.40.110;FBBV/620;FBDV/iPhone14,5;FBMD/iPhone;FBSN/iOS;FBSV/17.5;FBSS/3;FBID/phone;FBLC/de_DE;FBOP/80]
Mozilla/5.0 (Linux; Android 14; SM-S918B Build/UP1A; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/126.0.6478.122 Mobile Safari/537.36 Instagram 338.0.0.29.95 Android (34/14; 480dpi; 1080x2115; samsung; SM-S918B; dm3q; qcom; de_DE; 619)
Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 [LinkedInApp]/9.29.6586
Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 NAVER(inapp; search; 1010; 12.5.3; 14PRO)
Mozilla/5.0 (Linux; Android 14; SM-S918N; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/126 Mobile Safari/537.36;KAKAOTALK 2410840
Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 MicroMessenger/8.0.49(0x18003137) NetType/WIFI Language/zh_CN
Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 Safari Line/14.9.0
Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Snapchat/12.92.0.39 (like Safari/8618, panda)
Mozilla/5.0 (Linux; Android 13; M2101K6G) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/126.0 Mobile Safari/537.36 trill_350302 JsSdk/1.0 NetType/WIFI Channel/googleplay AppName/musical_ly app_version/35.3.2 ByteLocale/de BytedanceWebview/d8a21c6
Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 [Pinterest/iOS]
Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) GSA/323.0.647062479 Mobile/15E148 Safari/604.1
Mozilla/5.0 (Linux; Android 10; CUBOT_X30) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36
Mozilla/5.0 (Windows NT 6.1; WOW64; Trident/7.0; SLCC2; .NET CLR 2.0.50727; .NET4.0C; .NET4.0E; Media Center PC 6.0; rv:11.0) like Gecko
Mozilla/5.0 (compatible; MSIE 10.0; Windows NT 6.2; Trident/6.0; .NET CLR 3.5)
Mozilla/5.0 (compatible; Konqueror/4.5; FreeBSD) KHTML/4.5.4 (like Gecko)
Opera/9.80 (Android; Opera Mini/36.2.2254/119.132; U; id) Presto/2.12.423 Version/12.16
Mozilla/5.0 (Linux; Android 9; KFTRWI) AppleWebKit/537.36 (KHTML, like Gecko) Silk/120.4.1 like Chrome/120.0.6099.230 Safari/537.36
Mozilla/5.0 (Linux; arm_64; Android 13; SM-A525F) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.6367.208 YaBrowser/24.4.0 YaApp_Android/24.40.1 YaSearchBrowser/24.40.1 BroPP/1.0 SA/3 Mobile Safari/537.36
Mozilla/5.0 (Linux; Android 12; baidubrowser) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/97 Mobile Safari/537.36 T7/13.35 baiduboxapp/13.35.0.10 (Baidu; P1 12)
Mozilla/5.0 (Web0S; Linux/SmartTV) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/94.0.4606.128 Safari/537.36 WebAppManager
Mozilla/5.0 (SMART-TV; LINUX; Tizen 6.0) AppleWebKit/537.36 (KHTML, like Gecko) 76.0.3809.146/6.0 TV Safari/537.36
HbbTV/1.5.1 (+DL;Vestel;MB181;1.0;1.0;) CE-HTML/1.0
Mozilla/5.0 (PlayStation; PlayStation 5/4.03) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/13.0 Safari/605.1.15
Mozilla/5.0 (X11; GNU/Linux) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/88.0.4324.150 Safari/537.36 Tesla/2021.44.30-6a4bbe4a8f10
Mozilla/5.0 (Linux; U; Android 11; zh-cn; MI 9 Build/RKQ1) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/89 Mobile Safari/537.36 XiaoMi/MiuiBrowser/16.9.13
Mozilla/5.0 (Linux; Android 12; LIO-AN00; HMSCore 6.13.0.322) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/114 HuaweiBrowser/15.0.4.312 Mobile Safari/537.36
Mozilla/5.0 (Mobile; Nokia 8110 4G; rv:48.0) Gecko/48.0 Firefox/48.0 KAIOS/2.5
Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15 DuckDuckGo/7 Ddg/17.5
Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0 Mobile Safari/537.36 (Ecosia android@150.0.0.0)
Mozilla/5.0 (X11; Linux x86_64; rv:115.0) Gecko/20100101 Thunderbird/115.12.0
Mozilla/5.0 (Nintendo Switch; WifiWebAuthApplet) AppleWebKit/609.4 (KHTML, like Gecko) NF/6.0.3.20.1 NintendoBrowser/5.1.0.23519
Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 NewsArticle/9.6.5 JsSdk/2.0
Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/126 Mobile Safari/537.36 SmartNews/24.6
Mozilla/5.0 (Linux; Android 13; Redmi Note 12 Build/TKQ1; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/126.0.6478.71 Mobile Safari/537.36 GoogleApp/15.24.28.28.arm64
curl/8.5.0
Wget/1.21.4
Go-http-client/2.0
python-requests/2.32.3
okhttp/4.12.0
node-fetch
axios/1.7.2
Apache-HttpClient/4.5.14 (Java/17.0.11)
Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/150.0.0.0 Safari/537.36
Dalvik/2.1.0 (Linux; U; Android 14; Pixel 8 Build/AP2A)
MyShop/3 CFNetwork/1496.0.7 Darwin/23.5.0
Java/17.0.11
PostmanRuntime/7.39.0
Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/126.0 Mobile Safari/537.36 Telegram-Android/11.4.2 (Google Pixel 8; Android 14; SDK 34; HIGH)
Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Falkon/23.08 QtWebEngine/5.15.16 Chrome/87.0.4280.144 Safari/537.36
Mozilla/5.0 (Windows NT 10.0; Win64; x64; Trident/7.0; MSAppHost/3.0; rv:11.0) like Gecko
Mozilla/5.0 (QtEmbedded; U; Linux; C) AppleWebKit/533.3 (KHTML, like Gecko) MAG200 stbapp ver: 2 rev: 250 Safari/533.3
Mozilla/5.0 (Windows NT 10.0; WOW64) AppleWebKit/537.36 (KHTML, like Gecko) discord/1.0.9155 Chrome/124.0.6367.243 Electron/30.2.0 Safari/537.36
`

// keyOf computes what a fingerprint is kept under, as anybody could who has the salt.
func keyOf(secret []byte, signals ...string) revisit.ID {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte{1})
	for _, s := range signals {
		mac.Write(binary.BigEndian.AppendUint32(nil, uint32(len(s))))
		mac.Write([]byte(s))
	}
	return uuid.Derive(mac.Sum(nil))
}
