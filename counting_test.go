package revisit_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/revisit-go/revisit"
)

func readCloser(s string) io.ReadCloser { return io.NopCloser(strings.NewReader(s)) }

// The same tagged URL is a second click if something says so: another campaign, another
// page that has led here, or time. A reload is none, however long ago the click was.
func TestTheSameURLIsNoSecondClick(t *testing.T) {
	firefox := header("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0")
	const letter, other = "/sale?utm_source=crm&utm_campaign=spring", "/sale?utm_source=crm&utm_campaign=summer"
	for _, c := range []struct {
		name    string
		first   []kind // of the click
		between string // another page, or none
		after   time.Duration
		url     string
		kinds   []kind
		touches int
	}{
		{"once more in the visit", []kind{typed}, "", time.Minute, letter, []kind{typed}, 1},
		{"back after another campaign", []kind{typed}, "/?utm_source=ads", time.Minute, letter, []kind{typed}, 2},
		{"forward after another campaign, in the same way", []kind{typed}, "/?utm_source=ads", time.Minute, letter, []kind{link}, 2},
		{"after the visit", []kind{typed}, "", time.Hour, letter, []kind{typed}, 1},
		{"after the visit, without metadata", []kind{bare, header("Accept", acceptPage)}, "", time.Hour, letter, []kind{bare, header("Accept", acceptPage)}, 1},
		{"another campaign", []kind{typed}, "", time.Hour, other, []kind{typed}, 2},
		{"another page", []kind{typed}, "", time.Hour, strings.Replace(letter, "sale", "shoes", 1), []kind{typed}, 2},
		{"another click", []kind{typed}, "", time.Hour, letter + "&gclid=1", []kind{typed}, 2},
		{"a week later", []kind{typed}, "", 7 * 24 * time.Hour, letter, []kind{typed}, 2},
		{"from a mail on the web, twice", []kind{clickFrom}, "", time.Hour, letter, []kind{clickFrom}, 2},
		{"from a page that says its name", []kind{clickFrom, header("Referer", "https://blog.example/")}, "", time.Hour, letter, []kind{clickFrom, header("Referer", "https://blog.example/")}, 2},
		{"Chromium's reload, a week later", []kind{typed}, "", 7 * 24 * time.Hour, letter, []kind{typed, header("Cache-Control", "max-age=0")}, 1},
		{"Firefox's reload, a week later", []kind{typed, firefox}, "", 7 * 24 * time.Hour, letter, []kind{typed, firefox}, 1},
		{"Firefox's reload of what a page has led to", []kind{clickFrom, firefox, header("Sec-Fetch-User", "?1")}, "", 7 * 24 * time.Hour, letter, []kind{clickFrom, firefox}, 1},
		{"Firefox's click, a week later", []kind{typed, firefox, header("Sec-Fetch-User", "?1")}, "", 7 * 24 * time.Hour, letter, []kind{typed, firefox, header("Sec-Fetch-User", "?1")}, 2},
		{"Firefox's click by a service worker", []kind{forwarded("same-origin", "same-origin"), firefox}, "", 7 * 24 * time.Hour, letter, []kind{forwarded("same-origin", "same-origin"), firefox}, 2},
		{"Firefox's click with navigation preload", []kind{typed, firefox, header("Service-Worker-Navigation-Preload", "true")}, "", 7 * 24 * time.Hour, letter, []kind{typed, firefox, header("Service-Worker-Navigation-Preload", "true")}, 2},
		{"Firefox's back, after another campaign", []kind{typed, firefox, header("Sec-Fetch-User", "?1")}, "/?utm_source=ads", 7 * 24 * time.Hour, letter, []kind{typed, firefox}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := newAllStore(t)
				b := newBrowser(newTracker(t, revisit.Config{Store: store}).Handler(seen))
				first := b.get(letter, c.first...)
				b.get("/logo", image) // which confirms the session
				if c.between != "" {
					time.Sleep(time.Minute)
					b.get(c.between)
				}
				visits := record(t, store, first).Visits
				time.Sleep(c.after)
				b.get(c.url, c.kinds...)
				r := record(t, store, first)
				assert.Len(t, r.Touches, c.touches)
				want := visits
				if c.after > 30*time.Minute || c.between == "" && c.touches > 1 {
					want++
				}
				assert.Equal(t, want, r.Visits)
			})
		})
	}
}

// inPlaceOrNot is a store whose sessions go on in their place, if nothing is gathered.
func inPlaceOrNot(t *testing.T, gather time.Duration) revisit.Store {
	if gather > 0 {
		return newAllStore(t)
	}
	m := revisit.NewMemoryStore(revisit.MemoryOptions{SweepEvery: 24 * time.Hour})
	t.Cleanup(func() { m.Close() })
	return m
}

// What the script says of how a page was loaded.
func TestHowAPageWasLoaded(t *testing.T) {
	const ads, letter = "/?utm_source=google&utm_medium=cpc", "/letter?utm_source=crm"
	page := header("Revisit-Page", ads)
	for _, gather := range []time.Duration{0, time.Minute} {
		for _, c := range []struct {
			name         string
			wait         time.Duration
			kinds        []kind
			hits, visits int64
			touches      int
		}{
			{"a view", 0, []kind{page}, 3, 3, 3},
			{"gone back to", 0, []kind{page, header("Revisit-Load", "again")}, 3, 2, 2},
			{"gone back to, later", 24 * time.Hour, []kind{page, header("Revisit-Load", "again,age=100,seen=undefined")}, 3, 3, 2},
			{"counted just now", 0, []kind{page, header("Revisit-Load", "age=100,seen=NOW-50")}, 2, 2, 2},
			{"counted in time", 0, []kind{page, header("Revisit-Load", "age=3000,seen=NOW-3500")}, 2, 2, 2},
			{"counted long ago", 0, []kind{page, header("Revisit-Load", "age=100,seen=NOW-1200")}, 3, 3, 3},
			{"of an age for ever", 0, []kind{page, header("Revisit-Load", "age=9999999999999,seen=NOW-36000000")}, 2, 2, 2},
			{"of an age below nothing", 0, []kind{page, header("Revisit-Load", "age=-5000,seen=NOW-500")}, 2, 2, 2},
			{"a copy of a minute ago, and a newer one was asked for", 0, []kind{page, header("Revisit-Load", "age=70000,seen=NOW-120000")}, 2, 2, 2},
			{"a copy of two minutes ago, and nothing since", 0, []kind{page, header("Revisit-Load", "age=100,seen=NOW-120000")}, 3, 3, 3},
			{"nonsense", 0, []kind{page, header("Revisit-Load", strings.Repeat("again,", 1000))}, 3, 3, 3},
			{"counted, and nothing more", 0, []kind{header("Revisit-Again", ads)}, 2, 2, 2},
		} {
			t.Run(fmt.Sprintf("%s, %v", c.name, gather), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					store := inPlaceOrNot(t, gather)
					tracker := newTracker(t, revisit.Config{Store: store, FlushEvery: gather / 6})
					b := newBrowser(site(tracker, tagged))
					first := b.get(ads)
					time.Sleep(time.Minute)
					b.get(letter)
					time.Sleep(time.Minute + c.wait)
					r := b.request("GET", anchor, append([]kind{fetch}, c.kinds...)...)
					if load := r.Header.Get("Revisit-Load"); strings.Contains(load, "NOW-") {
						before, after, _ := strings.Cut(load, "NOW-")
						var ms int64
						_, err := fmt.Sscan(after, &ms)
						require.NoError(t, err)
						r.Header.Set("Revisit-Load", before+fmt.Sprint(time.Now().UnixMilli()-ms))
					}
					// A report in a visit that goes on is no second click by itself: see clickAgain.
					if c.touches == 3 {
						r.Header.Set("Revisit-Referrer", "https://www.google.com/")
					}
					b.send(r)
					require.NoError(t, tracker.Close())
					got := record(t, store, first)
					assert.Equal(t, c.hits, got.Hits)
					assert.Equal(t, c.visits, got.Visits)
					assert.Len(t, got.Touches, c.touches)
				})
			})
		}
	}
}

// A reload that the server has taken for a click, because the browser does not say which
// it is, is taken back when the script says so: that one, and no other.
func TestAReloadIsTakenBack(t *testing.T) {
	const letter = "/?utm_source=crm"
	reload := func(age string) []kind {
		return []kind{fetch, header("Revisit-Again", letter), header("Revisit-Load", "again,age="+age)}
	}
	for _, gather := range []time.Duration{0, 10 * time.Second} {
		for _, c := range []struct {
			name  string
			kinds []kind
			want  int
		}{
			{"at once", reload("2000"), 2},
			{"of a page that was open since the click", reload("100"), 3},
			{"of another page", []kind{fetch, header("Revisit-Again", "/other?utm_source=crm"), header("Revisit-Load", "again,age=2000")}, 3},
			{"of another campaign", []kind{fetch, header("Revisit-Again", "/?utm_source=ads"), header("Revisit-Load", "again,age=2000")}, 3},
			{"from another site", []kind{metadata("cross-site", "cors", "empty"), header("Revisit-Again", letter), header("Revisit-Load", "again,age=2000")}, 3},
		} {
			t.Run(fmt.Sprintf("%s, %v", c.name, gather), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					store := inPlaceOrNot(t, gather)
					tracker := newTracker(t, revisit.Config{Store: store, FlushEvery: gather})
					b := newBrowser(site(tracker, tagged))
					first := b.get("/")
					b.get("/logo", image) // which confirms the session
					time.Sleep(24 * time.Hour)
					b.get(letter)
					time.Sleep(24 * time.Hour)
					delete(b.tags, letter) // WebKit's
					b.get(letter)
					time.Sleep(2 * time.Second)
					b.get(anchor, c.kinds...)
					require.NoError(t, tracker.Close())
					r := record(t, store, first)
					assert.EqualValues(t, 3, r.Hits)
					assert.EqualValues(t, 3, r.Visits)
					assert.Len(t, r.Touches, c.want)
				})
			})
		}
	}
	// The only click stays.
	store := newAllStore(t)
	b := newBrowser(site(newTracker(t, revisit.Config{Store: store}), tagged))
	first := b.get("/")
	b.get(letter)
	b.get(anchor, reload("2000")...)
	assert.Len(t, record(t, store, first).Touches, 2)
}

// The anchor has two addresses, of which a browser keeps two tags. The script joins them.
func TestTheTwoAnchorsAreJoined(t *testing.T) {
	const other = "/revisit/anchor"
	synctest.Test(t, func(t *testing.T) {
		store := newAllStore(t)
		b := newBrowser(site(newTracker(t, revisit.Config{Strategy: revisit.ETag{}, Store: store}), tagged))
		page := header("Revisit-Page", "/static")
		b.get(anchor, image, header("Referer", "http://example.com/static"))
		time.Sleep(time.Minute)
		resp := b.get(other, fetch, page)
		assert.Equal(t, "new", resp.Header.Get("Revisit-Anchor"))
		_, all := store.sessions(t)
		require.Len(t, all, 2)
		resp = b.get(anchor, fetch, header("Revisit-Anchor", "link"))
		require.NotEmpty(t, linkOf(resp))
		assert.Empty(t, resp.Header.Get("Revisit-Anchor"))
		resp = b.get(other, fetch, header("Revisit-Link", linkOf(resp)))
		assert.Equal(t, "new", resp.Header.Get("Revisit-Anchor"), "the page may be left before it has reported")
		time.Sleep(10 * time.Minute)
		assert.Equal(t, "known", b.get(other, fetch, header("Revisit-Link", "")).Header.Get("Revisit-Anchor"))
		_, all = store.sessions(t)
		require.Len(t, all, 1)
		assert.EqualValues(t, 2, all[0].Hits, "that it was asked for a link is no view")
		b.get(anchor, image, header("Referer", "http://example.com/static"))
		resp = b.get(other, fetch, page)
		assert.Equal(t, "known", resp.Header.Get("Revisit-Anchor"))
		confirmed, all := store.sessions(t)
		require.Len(t, all, 1)
		require.Len(t, confirmed, 1)
		assert.EqualValues(t, 4, confirmed[0].Hits)
		assert.Empty(t, b.get(anchor, image).Header["Server-Timing"], "a picture has no link")
	})
	// A cookie is one for both.
	b := newBrowser(site(newTracker(t, revisit.Config{}), tagged))
	b.get("/")
	assert.Equal(t, "known", b.get(other, fetch, header("Revisit-Page", "/")).Header.Get("Revisit-Anchor"))
	// Who is not recognised has nothing to be joined.
	b = newBrowser(site(newTracker(t, revisit.Config{Consent: grant(revisit.Unasked)}), tagged))
	assert.Equal(t, "known", b.get(other, fetch, header("Revisit-Page", "/")).Header.Get("Revisit-Anchor"))
}

// A picture of a page that is not wrapped, handed on by a service worker; and what only
// looks like a request of the script's.
func TestTheAnchorBehindAServiceWorker(t *testing.T) {
	for _, c := range []struct {
		name  string
		kinds []kind
		hits  int64
	}{
		{"a picture", []kind{metadata("same-origin", "no-cors", "empty"), header("Referer", "http://example.com/static")}, 1},
		{"a picture of another site's page", []kind{metadata("cross-site", "no-cors", "empty"), header("Referer", "http://evil.example/static")}, 0},
		{"a link to it, in Chromium", []kind{forwarded("same-origin", "navigate"), header("Referer", "http://example.com/static")}, 0},
		{"a link to it, in Firefox", []kind{forwarded("same-origin", "same-origin"), header("Referer", "http://example.com/static")}, 0},
		{"a link to it, without metadata", []kind{bare, header("Accept", acceptPage), header("Referer", "http://example.com/static")}, 0},
	} {
		store := newAllStore(t)
		b := newBrowser(site(newTracker(t, revisit.Config{Store: store}), tagged))
		first := b.get("/")
		b.get(anchor, c.kinds...)
		assert.Equal(t, 1+c.hits, record(t, store, first).Hits, c.name)
	}
}

// A page that a service worker asks for says that it was counted, whatever its handler says to
// caches, because the script cannot know. What freshens a stored part does not.
func TestAPageBehindAServiceWorkerSaysThatItWasCounted(t *testing.T) {
	b := newBrowser(site(newTracker(t, revisit.Config{}), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if control := r.Header.Get("X-Control"); control != "" {
			w.Header().Set("Cache-Control", control)
		}
		http.ServeContent(w, r, "page.html", time.Time{}, strings.NewReader("the page"))
	})))
	b.get("/")
	for _, c := range []struct {
		name  string
		kinds []kind
		want  bool
	}{
		{"handed on in Chromium", []kind{forwarded("cross-site", "navigate")}, true},
		{"handed on in Firefox", []kind{forwarded("same-origin", "same-origin")}, true},
		{"asked for beforehand", []kind{link, header("Service-Worker-Navigation-Preload", "true")}, true},
		{"that all may keep", []kind{forwarded("none", "navigate"), header("X-Control", "public, max-age=60")}, true},
		{"without a service worker", []kind{link}, false},
		{"by its address", []kind{fetch}, false},
		{"a part", []kind{forwarded("none", "navigate"), header("Range", "bytes=0-2")}, false},
		{"a prefetch", []kind{forwarded("none", "navigate"), header("Sec-Purpose", "prefetch")}, false},
	} {
		resp := b.get("/", c.kinds...)
		assert.Equal(t, c.want, strings.HasPrefix(resp.Header.Get("Server-Timing"), "rvs;dur="), c.name)
	}
	for _, p := range []revisit.Permission{revisit.Unasked, revisit.Deny} {
		b := newBrowser(site(newTracker(t, revisit.Config{Consent: grant(p)}), tagged))
		assert.Empty(t, b.get("/", forwarded("none", "navigate")).Header["Server-Timing"])
	}
}

// Under tags alone a page says whether it was counted: by a link, or where it has none in
// so many words. One that says nothing is reported by the script.
func TestUnderTagsAloneAPageSaysWhetherItWasCounted(t *testing.T) {
	store := newAllStore(t)
	b := newBrowser(site(newTracker(t, revisit.Config{Strategy: revisit.ETag{}, Store: store}), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/checkout":
			w.Header().Set("Cache-Control", "no-store")
		case "/public":
			w.Header().Set("Cache-Control", "public, max-age=60")
		}
		if r.Header.Get("X-Status") != "" {
			w.WriteHeader(http.StatusTeapot)
		}
		if r.URL.Path == "/lead" {
			fmt.Fprint(w, revisit.Field(r.Context()))
		}
		fmt.Fprint(w, revisit.Tag(r.Context()))
	})))
	for _, path := range []string{"/checkout?utm_source=crm", "/public?utm_source=crm"} {
		resp := b.get(path)
		assert.Empty(t, resp.Header["Server-Timing"], path)
		assert.Contains(t, b.bodies[path], ` data-wrapped="etag"></script>`)
		assert.Empty(t, store.records(t), path)
	}
	b.get(anchor, fetch, header("Revisit-Page", "/checkout?utm_source=crm"))
	b.get(anchor, fetch, header("Revisit-Page", "/public"))
	_, all := store.sessions(t)
	require.Len(t, all, 1)
	assert.EqualValues(t, 2, all[0].Hits)
	assert.Equal(t, "crm", all[0].Touches[0].Source)

	resp := b.get("/lead")
	require.NotEmpty(t, linkOf(resp))
	b.get(anchor, fetch, header("Revisit-Link", linkOf(resp)))
	assert.NotEmpty(t, b.get("/lead", typed, header("X-Status", "418")).Header.Get("Server-Timing"), "an error that was counted has no link")
	field := fieldOf.FindStringSubmatch(b.bodies["/lead"])[1]
	post := b.request("POST", "/lead", posted)
	post.Header.Set("Content-Type", "Application/X-WWW-Form-Urlencoded ; charset=utf-8")
	post.Body = readCloser("revisit=" + field)
	resp = b.send(post)
	assert.True(t, strings.HasPrefix(resp.Header.Get("Server-Timing"), "rvs;dur="), "a form's answer that was counted has no link")
	_, all = store.sessions(t)
	require.Len(t, all, 1)
	assert.EqualValues(t, 5, all[0].Hits)

	// Where a cookie may carry the session, that there is no link says nothing.
	b = newBrowser(site(newTracker(t, revisit.Config{}), tagged))
	b.get("/")
	assert.Contains(t, b.bodies["/"], " data-wrapped></script>")
}

// A campaign in the route of a fragment counts, and what else stands there does not.
func TestACampaignInTheFragment(t *testing.T) {
	for page, want := range map[string]revisit.Touch{
		"/app#/offer?utm_source=crm&utm_campaign=x":            {Landing: "/app#/offer", Source: "crm", Campaign: "x"},
		"/app#!/offer?gclid=1":                                 {Landing: "/app#!/offer", Click: "gclid=1"},
		"/app?utm_source=ads#/offer?utm_source=crm":            {Landing: "/app#/offer", Source: "ads"},
		"/app?utm_source=ads#/offer?utm_campaign=x":            {Landing: "/app#/offer", Source: "ads", Campaign: "x"},
		"/app#utm_source=crm":                                  {Landing: "/app"},
		"/app#part?utm_source=crm":                             {Landing: "/app"},
		"/app#/login?token=1&utm_source=ann%40example.com":     {Landing: "/app#/login"},
		"/app#/reset/ann@example.com?utm_source=crm&utm_id=12": {Landing: "/app#/reset/*", Source: "crm", ID: "12"},
	} {
		store := newAllStore(t)
		b := newBrowser(site(newTracker(t, revisit.Config{Store: store}), tagged))
		b.get(anchor, fetch, header("Revisit-Page", page))
		_, all := store.sessions(t)
		require.Len(t, all, 1, page)
		require.Len(t, all[0].Touches, 1, page)
		got := all[0].Touches[0]
		got.Time = time.Time{}
		assert.Equal(t, want, got, page)
	}
}

// Each ticket costs a MAC, so what is counted is how many are looked at.
func TestALongListOfLinksIsNotLookedAt(t *testing.T) {
	ticket := strings.Repeat("A", 51)
	for list, forged := range map[string]int64{
		ticket:                                  1,
		strings.Repeat(ticket+", ", 16)[:16*53]: 16,
		strings.Repeat("x,", 100):               16,
		strings.Repeat(",", 100):                16,
		strings.Repeat(ticket+",", 1<<14):       1,
		strings.Repeat(",", 1<<20):              1,
	} {
		tracker := newTracker(t, revisit.Config{})
		newBrowser(site(tracker, tagged)).get(anchor, fetch, header("Revisit-Link", list))
		assert.Equal(t, forged, tracker.Stats().Forged, "%.60s", list)
	}
}

// A Content-Type of a megabyte costs no more than to read it.
func TestALongContentTypeIsNotParsed(t *testing.T) {
	handler := newTracker(t, revisit.Config{Strategy: revisit.ETag{}}).Handler(seen)
	cost := func(kind string) float64 {
		return testing.AllocsPerRun(10, func() {
			r := httptest.NewRequest("POST", "/", readCloser("a=b"))
			metadata("same-origin", "navigate", "document")(r.Header)
			r.Header["Content-Type"] = []string{kind}
			handler.ServeHTTP(httptest.NewRecorder(), r)
		})
	}
	var long strings.Builder
	for i := 0; long.Len() < 1<<20; i++ {
		fmt.Fprintf(&long, ";x%d=1", i)
	}
	const form = "application/x-www-form-urlencoded"
	assert.InDelta(t, cost(form), cost(form+long.String()), 5)
}

// Whatever the script's fields say, a request is one page view at the most, its visitor is
// whoever the cookie says, and no list makes more work than its bound.
func FuzzReport(f *testing.F) {
	f.Add("/app#/offer?utm_source=crm", "again,age=1200,seen=1764264000123", "", "*/*")
	f.Add("//x", "age=-1,seen=99999999999999999999", ",,,", "application/json, text/html")
	f.Add("/%zz", "again=again,,=", strings.Repeat("A", 51), "text/*;q=0,image/png")
	f.Fuzz(func(t *testing.T, page, load, links, accept string) {
		store := newAllStore(t)
		tracker := newTracker(t, revisit.Config{Store: store})
		b := newBrowser(site(tracker, seen))
		first := b.get("/")
		for i, name := range []string{"Revisit-Page", "Revisit-Landing", "Revisit-Again"} {
			before, forged := record(t, store, first), tracker.Stats().Forged
			resp := b.get([]string{anchor, "/revisit/anchor"}[i%2], fetch, header(name, page), header("Revisit-Load", load), header("Revisit-Link", links))
			require.Contains(t, []int{200, 304}, resp.StatusCode)
			after := record(t, store, first)
			require.LessOrEqual(t, after.Hits, before.Hits+1)
			require.LessOrEqual(t, len(after.Touches), len(before.Touches)+1)
			require.LessOrEqual(t, tracker.Stats().Forged, forged+16)
			if name == "Revisit-Again" {
				require.Equal(t, before.Hits, after.Hits)
			}
		}
		before := record(t, store, first)
		resp := b.get("/", bare, header("Accept", accept))
		require.Equal(t, idOf(first), idOf(resp))
		require.LessOrEqual(t, record(t, store, first).Hits, before.Hits+1)
	})
}
