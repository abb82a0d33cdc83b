package report

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/revisit-go/revisit"
	"github.com/revisit-go/revisit/internal/servers"
)

// onBoth runs a test on a file of SQLite and on a PostgreSQL.
func onBoth(t *testing.T, f func(t *testing.T, r *Report, db *sql.DB)) {
	t.Run("SQLite", func(t *testing.T) {
		db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: filepath.Join(t.TempDir(), "shop.db")}).EscapedPath()+
			"?_txlock=immediate&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_pragma=busy_timeout(5000)")
		require.NoError(t, err)
		defer db.Close()
		r, err := Open(t.Context(), db, false)
		require.NoError(t, err)
		f(t, r, db)
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		server := servers.PostgreSQL(t)
		db, err := sql.Open("pgx", "postgres://postgres@"+server.Address+"/postgres?sslmode=disable")
		require.NoError(t, err)
		defer db.Close()
		r, err := Open(t.Context(), db, true)
		require.NoError(t, err)
		f(t, r, db)
		again, err := Open(t.Context(), db, true)
		require.NoError(t, err, "and once more")
		assert.NotNil(t, again)
	})
}

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func id(n byte) revisit.ID { return revisit.ID{0: 1, 6: 0x70, 8: 0x80, 15: n} }

// session is one of so many visits, the last one begun at the time.
func session(n byte, visits int64, at time.Time, touches ...revisit.Touch) revisit.Record {
	return revisit.Record{ID: id(n), Created: at.Add(-time.Hour), VisitStart: at, LastHit: at, LastSeen: at, Confirmed: true, Visits: visits, Hits: visits, Via: "cookie", Touches: touches}
}

// What the dashboard makes of hits, orders, leads and merges.
func TestTheReport(t *testing.T) {
	onBoth(t, func(t *testing.T, r *Report, _ *sql.DB) {
		ctx := t.Context()
		letter := revisit.Touch{Time: now.Add(-48 * time.Hour), Source: "crm", Medium: "email", Campaign: "letter"}
		search := revisit.Touch{Time: now, Source: "google", Medium: "search", Referrer: "https://www.google.com/"}
		unconfirmed := session(9, 1, now)
		unconfirmed.Confirmed = false
		for _, s := range []revisit.Record{
			unconfirmed,
			session(1, 1, now.Add(-48*time.Hour), letter),
			session(1, 1, now.Add(-48*time.Hour), letter), // notified twice
			session(1, 2, now, letter, search),
			session(2, 2, now.Add(-time.Minute), revisit.Touch{Time: now.Add(-time.Hour), Landing: "/"}), // confirmed by its second visit
			session(3, 1, now.Add(-24*time.Hour), search),
		} {
			require.NoError(t, r.Hit(ctx, revisit.Hit{Session: s, Count: 1, Time: s.LastHit}))
		}
		require.NoError(t, r.Lead(ctx, "L1", id(3).String(), search, now))
		order := Order{"O1", id(1).String(), now, 1001, "a teapot"}
		require.NoError(t, r.Order(ctx, order, []revisit.Touch{letter, search}))
		require.NoError(t, r.Order(ctx, order, nil), "the form was sent twice")
		require.NoError(t, r.Order(ctx, Order{"O2", "", now, 500, "never paid"}, []revisit.Touch{letter}))
		for i := range 2 {
			first, err := r.Paid(ctx, "O1", now)
			require.NoError(t, err)
			assert.Equal(t, i == 0, first)
		}
		first, err := r.Paid(ctx, "nothing", now)
		require.NoError(t, err)
		assert.False(t, first)

		s, err := r.Summary(ctx, now, 3, "linear")
		require.NoError(t, err)
		assert.EqualValues(t, 2, s.Now)
		assert.Equal(t, []Day{
			{time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC), 1, 0},
			{time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC), 1, 0},
			{time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC), 1, 2},
		}, s.Days)
		assert.Equal(t, []Count{{"cookie", 5}}, s.Via)
		assert.ElementsMatch(t, []Campaign{
			{"crm", "email", "letter", 1, 0, 0.5, 501},
			{"google", "search", "", 2, 1, 0.5, 500},
			{"", "", "", 2, 0, 0, 0},
		}, s.Campaigns)
		assert.EqualValues(t, 1, s.Count)
		assert.EqualValues(t, 1001, s.Cents)
		require.Len(t, s.Orders, 1)
		assert.Equal(t, order, s.Orders[0].Order)
		last, err := r.Summary(ctx, now, 3, "last non-direct")
		require.NoError(t, err)
		for _, c := range last.Campaigns {
			assert.Equal(t, c.Source == "google", c.Cents == 1001, "%+v", c)
		}

		// Two sessions turn out to be one browser, and that is notified twice.
		for range 2 {
			require.NoError(t, r.Merge(ctx, id(1), id(3)))
		}
		v, err := r.Visitor(ctx, id(3).String())
		require.NoError(t, err)
		var events []string
		for _, e := range v.Events {
			events = append(events, e.Kind+" "+e.Text)
		}
		assert.ElementsMatch(t, []string{"visit crm / letter", "visit google (search)", "visit google (search)", "lead L1", "order O1: a teapot"}, events)
		_, err = r.Visitor(ctx, id(1).String())
		assert.ErrorIs(t, err, sql.ErrNoRows)

		require.NoError(t, r.Forget(ctx, id(3)))
		for _, n := range []byte{1, 3} { // notified of late
			require.NoError(t, r.Hit(ctx, revisit.Hit{Session: session(n, 3, now), Count: 1, Time: now}))
			_, err = r.Visitor(ctx, id(n).String())
			assert.ErrorIs(t, err, sql.ErrNoRows)
		}
		s, err = r.Summary(ctx, now, 3, "linear")
		require.NoError(t, err)
		assert.Empty(t, s.Orders[0].Session, "an order stays, and is nobody's")
		assert.EqualValues(t, 1001, s.Cents)
	})
}

// What comes of merges does not depend on when the two hooks are called: visits are those
// that the sessions have, under the campaigns that began them.
func TestVisitsAreCountedOnce(t *testing.T) {
	type event struct {
		hit        revisit.Hit
		from, into revisit.ID
	}
	const gap = time.Hour
	letter, lamps, ads := "/?utm_source=letter&utm_campaign=x", "/lamps?utm_source=lamps&utm_campaign=x", "/?utm_source=ads&utm_campaign=x"
	for name, c := range map[string]struct {
		walk func(get func(string), lose func())
		want map[string]int64
	}{
		"two campaigns, then one browser": {func(get func(string), lose func()) {
			get(letter)
			get("/a")
			time.Sleep(gap)
			lose()
			get(lamps)
			get("/b")
			time.Sleep(gap)
			get("/a") // whose tag knows the first one
			time.Sleep(gap)
			get(ads)
		}, map[string]int64{"letter": 1, "lamps": 1, "ads": 1, "": 1}},
		"a cookie that was lost in the visit": {func(get func(string), lose func()) {
			get("/a")
			get("/a?x")
			lose()
			get("/new")
			get("/new2")
			get("/a")
			time.Sleep(gap)
			get(ads)
		}, map[string]int64{"": 1, "ads": 1}},
		"a page that nobody has heard of": {func(get func(string), lose func()) {
			get(letter)
			get("/a")
			time.Sleep(gap)
			lose()
			get(lamps)
			get("/a")
			time.Sleep(gap)
			get(ads)
		}, map[string]int64{"letter": 1, "lamps": 1, "ads": 1}},
		"a visit of one page": {func(get func(string), _ func()) {
			get(letter)
			time.Sleep(gap)
			get("/a")
		}, map[string]int64{"letter": 1, "": 1}},
	} {
		var events []event
		var visits int64
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			add := func(e event) {
				mu.Lock()
				defer mu.Unlock()
				events = append(events, e)
			}
			store := revisit.NewMemoryStore(revisit.MemoryOptions{})
			defer store.Close()
			tracker, err := revisit.New(revisit.Config{
				Keys: [][]byte{make([]byte, 32)}, Store: store, Consent: func(*http.Request) revisit.Permission { return revisit.Restore },
				OnHit: func(_ context.Context, h revisit.Hit) { add(event{hit: h}) },
				OnMerge: func(_ context.Context, from, into revisit.ID) error {
					add(event{from: from, into: into})
					return nil
				},
			})
			require.NoError(t, err)
			defer tracker.Close()
			h := tracker.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.URL) }))
			cookie, tags := "", make(map[string]string)
			c.walk(func(path string) {
				time.Sleep(time.Second)
				r := httptest.NewRequest("GET", path, nil)
				r.Header.Set("Sec-Fetch-Mode", "navigate")
				r.Header.Set("Sec-Fetch-Dest", "document")
				r.Header.Set("Sec-Fetch-Site", "none")
				r.Header.Set("Cookie", cookie)
				if tag := tags[path]; tag != "" {
					r.Header.Set("If-None-Match", tag)
				}
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				for _, k := range w.Result().Cookies() {
					cookie = k.Name + "=" + k.Value
				}
				if w.Code == 200 {
					tags[path] = w.Header().Get("Etag")
				}
				synctest.Wait()
			}, func() { cookie = "" })
			for s, err := range store.Sessions(t.Context()) {
				require.NoError(t, err)
				if s.Confirmed {
					visits += s.Visits
				}
			}
		})
		merges := slices.DeleteFunc(slices.Clone(events), func(e event) bool { return e.into.IsZero() })
		hits := slices.DeleteFunc(slices.Clone(events), func(e event) bool { return !e.into.IsZero() })
		orders := map[string][]event{
			"as it happened": events, "merges notified late": append(slices.Clone(hits), merges...), "merges notified early": append(slices.Clone(merges), hits...),
			"twice": append(slices.Clone(events), events...),
		}
		for i := range 6 {
			mixed := slices.Clone(events)
			rand.New(rand.NewPCG(1, uint64(i))).Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
			orders[fmt.Sprint("mixed ", i)] = mixed
		}
		for order, all := range orders {
			db, err := sql.Open("sqlite", ":memory:")
			require.NoError(t, err)
			db.SetMaxOpenConns(1) // each connection has a memory of its own
			r, err := Open(t.Context(), db, false)
			require.NoError(t, err)
			for _, e := range all {
				if e.into.IsZero() {
					require.NoError(t, r.Hit(t.Context(), e.hit))
				} else {
					require.NoError(t, r.Merge(t.Context(), e.from, e.into))
				}
			}
			last := events[len(events)-1].hit.Session
			s, err := r.Summary(t.Context(), last.LastHit.Add(time.Minute), 3, "last")
			require.NoError(t, err)
			v, err := r.Visitor(t.Context(), last.ID.String())
			require.NoError(t, err)
			assert.Equal(t, last.Hits, v.Hits, "%s, %s: page views", name, order)
			assert.Equal(t, visits, v.Visits, "%s, %s", name, order)
			got, sum, fresh := make(map[string]int64), int64(0), int64(0)
			for _, c := range s.Campaigns {
				got[c.Source] = c.Visits
				sum += c.Visits
			}
			for _, d := range s.Days {
				fresh += d.New
			}
			assert.Equal(t, c.want, got, "%s, %s", name, order)
			assert.Equal(t, visits, sum, "%s, %s: the sessions' own count", name, order)
			assert.EqualValues(t, 1, fresh, "%s, %s: one browser is one visitor", name, order)
			db.Close()
		}
	}
}

// What was known late is put in its place, what is older than is kept goes, and who was
// forgotten does not come back by a merge.
func TestWhatIsKnownLateAndWhatIsOver(t *testing.T) {
	onBoth(t, func(t *testing.T, r *Report, db *sql.DB) {
		ctx := t.Context()
		direct := revisit.Touch{Time: now, Landing: "/second"}
		ads := revisit.Touch{Time: now, Landing: "/", Source: "ads", Campaign: "x"}
		for _, touch := range []revisit.Touch{direct, ads, ads} {
			require.NoError(t, r.Hit(ctx, revisit.Hit{Session: session(1, 1, now, touch), Time: now}))
		}
		require.NoError(t, r.Order(ctx, Order{"O1", "", now, 300, "nobody's"}, nil))
		_, err := r.Paid(ctx, "O1", now)
		require.NoError(t, err)
		require.NoError(t, r.Lead(ctx, "L1", "", revisit.Touch{}, now))
		s, err := r.Summary(ctx, now, 3, "last")
		require.NoError(t, err)
		assert.ElementsMatch(t, []Campaign{{"ads", "", "x", 1, 0, 0, 0}, {Unknown, "", "", 0, 1, 1, 300}}, s.Campaigns)
		assert.Equal(t, s.Cents, s.Campaigns[0].Cents, "the table sums up to what was sold, the most first")

		require.NoError(t, r.Forget(ctx, id(2)))
		require.NoError(t, r.Order(ctx, Order{"O2", id(3).String(), now, 300, "x"}, nil))
		require.NoError(t, r.Merge(ctx, id(3), id(2)))
		_, err = r.Visitor(ctx, id(2).String())
		assert.ErrorIs(t, err, sql.ErrNoRows)

		require.NoError(t, r.Expire(ctx, id(1).Time()))
		_, err = r.Visitor(ctx, id(1).String())
		require.NoError(t, err, "not yet")
		require.NoError(t, r.Expire(ctx, now))
		_, err = r.Visitor(ctx, id(1).String())
		assert.ErrorIs(t, err, sql.ErrNoRows)
		for _, table := range []string{"visits", "visitors", "gone"} {
			var n int
			require.NoError(t, db.QueryRow("SELECT count(*) FROM "+table).Scan(&n))
			assert.Zero(t, n, table)
		}
	})
}

// Two clicks are two visits, whichever part of the link tells them apart; and what says no
// more than an identifier is a campaign, too.
func TestClicksAreToldApart(t *testing.T) {
	onBoth(t, func(t *testing.T, r *Report, _ *sql.DB) {
		ctx := t.Context()
		first := revisit.Touch{Time: now, Source: "google", Medium: "cpc", Campaign: "teapots", Click: "gclid=1"}
		second := first
		second.Time, second.Click = now.Add(10*time.Minute), "gclid=2"
		third := revisit.Touch{Time: now.Add(time.Hour), ID: "spring-4711"}
		for i, touches := range [][]revisit.Touch{{first}, {first, second}, {first, second, third}} {
			require.NoError(t, r.Hit(ctx, revisit.Hit{Session: session(2, int64(i+1), touches[i].Time, touches...)}))
		}
		require.NoError(t, r.Merge(ctx, id(2), id(1))) // which has no page view
		require.NoError(t, r.Order(ctx, Order{"O1", id(2).String(), third.Time, 300, "x"}, []revisit.Touch{third}))
		_, err := r.Paid(ctx, "O1", third.Time)
		require.NoError(t, err)
		s, err := r.Summary(ctx, now, 3, "last")
		require.NoError(t, err)
		assert.ElementsMatch(t, []Campaign{{"google", "cpc", "teapots", 2, 0, 0, 0}, {"", "", "spring-4711", 1, 0, 1, 300}}, s.Campaigns)
		assert.Equal(t, "spring-4711", Name("", "", "spring-4711"))
		assert.Equal(t, "qr", Name("", "qr", ""))
		assert.Equal(t, "direct", Name("", "", ""))
		v, err := r.Visitor(ctx, id(1).String())
		require.NoError(t, err)
		assert.Len(t, v.Events, 4, "the order is the heir's")
	})
}

// While a merge is being notified, the session that it goes into is merged into another one: then
// it is notified again. Nothing is lost on the way, and nobody takes it for forgotten.
func TestMergesInARow(t *testing.T) {
	onBoth(t, func(t *testing.T, r *Report, _ *sql.DB) {
		ctx := t.Context()
		require.NoError(t, r.Hit(ctx, revisit.Hit{Session: session(3, 1, now)}))
		require.NoError(t, r.Order(ctx, Order{"O1", id(3).String(), now, 300, "x"}, nil))
		for _, m := range [][2]byte{{2, 1}, {3, 2}, {2, 1}, {3, 1}} {
			require.NoError(t, r.Merge(ctx, id(m[0]), id(m[1])))
		}
		v, err := r.Visitor(ctx, id(1).String())
		require.NoError(t, err)
		assert.Len(t, v.Events, 2, "a visit and an order")
	})
}

// What another session saw while a visit was under way, which is until half an hour after its
// last page view, is that visit.
func TestAVisitGoesOn(t *testing.T) {
	onBoth(t, func(t *testing.T, r *Report, _ *sql.DB) {
		ctx := t.Context()
		long := session(1, 1, now)
		long.LastHit = now.Add(25 * time.Minute)
		for _, s := range []revisit.Record{session(1, 1, now), long, session(2, 1, now.Add(40*time.Minute)), session(3, 1, now.Add(71*time.Minute))} {
			require.NoError(t, r.Hit(ctx, revisit.Hit{Session: s}))
		}
		for n := byte(2); n <= 3; n++ {
			require.NoError(t, r.Merge(ctx, id(n), id(1)))
			v, err := r.Visitor(ctx, id(1).String())
			require.NoError(t, err)
			assert.EqualValues(t, n-1, v.Visits, "the second one's is the first one's, the third one's is another")
			assert.EqualValues(t, n, v.Hits)
		}
	})
}

// An order that was under way while its visitor was forgotten is nobody's.
func TestWhatComesAfterAForget(t *testing.T) {
	onBoth(t, func(t *testing.T, r *Report, db *sql.DB) {
		ctx := t.Context()
		require.NoError(t, r.Merge(ctx, id(2), id(1)))
		require.NoError(t, r.Forget(ctx, id(1)))
		require.NoError(t, r.Order(ctx, Order{"O", id(3).String(), now, 300, "x"}, nil))
		require.NoError(t, r.Merge(ctx, id(3), id(2))) // notified of late
		require.NoError(t, r.Forget(ctx, id(4)))
		require.NoError(t, r.Merge(ctx, id(4), id(5)))
		for n := range byte(4) {
			require.NoError(t, r.Order(ctx, Order{fmt.Sprint("O", n), id(n + 1).String(), now, 300, "x"}, nil))
			require.NoError(t, r.Lead(ctx, fmt.Sprint("L", n), id(n+1).String(), revisit.Touch{}, now))
			require.NoError(t, r.Hit(ctx, revisit.Hit{Session: session(n+1, 1, now)}))
		}
		var n int
		require.NoError(t, db.QueryRow(`SELECT (SELECT count(*) FROM orders WHERE session <> '') + (SELECT count(*) FROM leads WHERE session <> '') +
			(SELECT count(*) FROM visits) + (SELECT count(*) FROM visitors)`).Scan(&n))
		assert.Zero(t, n)

		require.NoError(t, r.Hit(ctx, revisit.Hit{Session: session(5, 1, now)}))
		require.NoError(t, r.Merge(ctx, id(5), id(5)))
		_, err := r.Visitor(ctx, id(5).String())
		assert.NoError(t, err, "who is merged into himself stays")
	})
}

// Nobody is forgotten while a page view of his is written, which would bring him back.
func TestOneWriterAtATime(t *testing.T) {
	onBoth(t, func(t *testing.T, r *Report, _ *sql.DB) {
		ctx := t.Context()
		writes, goOn, done := make(chan bool), make(chan bool), make(chan error, 2)
		go func() {
			done <- r.inTx(ctx, func(tx) error {
				close(writes)
				<-goOn
				return nil
			})
		}()
		<-writes
		forgets := make(chan error, 1)
		go func() { forgets <- r.Forget(ctx, id(1)) }()
		select {
		case err := <-forgets:
			close(goOn)
			t.Fatalf("a second writer got through: %v", err)
		case <-time.After(100 * time.Millisecond): // which is as long as it takes a bad one, and more
		}
		close(goOn)
		require.NoError(t, <-done)
		require.NoError(t, <-forgets)
	})
}

// Tables that another version has made are refused at once.
func TestTablesOfAnotherVersion(t *testing.T) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "shop.db"))
	require.NoError(t, err)
	defer db.Close()
	_, err = db.Exec(`CREATE TABLE visits (session TEXT NOT NULL, at BIGINT NOT NULL, PRIMARY KEY (session, at))`)
	require.NoError(t, err)
	_, err = Open(t.Context(), db, false)
	assert.ErrorContains(t, err, "another version")
}

// Whoever opens links with made-up campaigns does not make the table longer.
func TestTheTableEnds(t *testing.T) {
	var all []Campaign
	for i := range 3000 {
		all = append(all, Campaign{Source: fmt.Sprint(i), Visits: 1, Cents: int64(i)})
	}
	short := most(all)
	assert.Len(t, short, maxCampaigns+1)
	assert.EqualValues(t, 2999, short[0].Cents)
	var visits, cents int64
	for _, c := range short {
		visits, cents = visits+c.Visits, cents+c.Cents
	}
	assert.EqualValues(t, 3000, visits)
	assert.EqualValues(t, 2999*3000/2, cents)
}

// Each panel goes by its index, whatever is there. With REVISIT_FULL=1 there are a
// million visitors, and how long each panel takes is said.
func TestThePanelsGoByTheirIndex(t *testing.T) {
	visitors := 20_000
	if os.Getenv("REVISIT_FULL") != "" {
		visitors = 1_000_000
	}
	onBoth(t, func(t *testing.T, r *Report, db *sql.DB) {
		ctx := t.Context()
		fill(t, r, db, visitors)
		since := dayOf(now) - 29
		one := fmt.Sprintf("v%d", visitors/2)
		for _, c := range []struct {
			name string
			query
			args []any
		}{
			{"visitors now", nowQuery, []any{now.Add(-5 * time.Minute).UnixMilli()}},
			{"visits by day", daysQuery, []any{since}},
			{"strategies", viaQuery, []any{since}},
			{"campaigns", visitsQuery, []any{since}},
			{"leads", leadsQuery, []any{since * day.Milliseconds()}},
			{"revenue", creditsQuery, []any{Models[0].String(), since * day.Milliseconds()}},
			{"orders", ordersQuery, nil},
			{"totals", totalsQuery, []any{since * day.Milliseconds()}},
			{"a visitor", visitorQuery, []any{one}},
			{"his visits", timelineQuery, []any{one}},
			{"his orders", ordersOfQuery, []any{one}},
			{"his leads", leadsOfQuery, []any{one}},
		} {
			plan := planOf(t, r, db, c.query, c.args)
			index := c.index
			if !strings.Contains(index, "_") {
				index = map[bool]string{true: index + "_pkey", false: "sqlite_autoindex_" + index + "_1"}[r.postgres]
			}
			if visitors < 1_000_000 && r.postgres && c.index != "daily" {
				// On few rows PostgreSQL may read all of them: that is no fault.
				assert.True(t, strings.Contains(plan, index) || strings.Contains(plan, "Seq Scan"), "%s: %s", c.name, plan)
			} else {
				assert.Contains(t, plan, index, "%s", c.name)
				assert.NotRegexp(t, `SCAN (visitors|visits|orders|leads|credits|daily)( |$)|Seq Scan on (visitors|visits|orders|leads|credits|daily)`, plan, c.name)
			}
			begin := time.Now()
			require.NoError(t, r.each(ctx, c.query, func(rows *sql.Rows) error { return nil }, c.args...))
			t.Logf("%s: %v", c.name, time.Since(begin).Round(100*time.Microsecond))
		}
		begin := time.Now()
		s, err := r.Summary(ctx, now, 30, Models[0].String())
		require.NoError(t, err)
		t.Logf("the whole dashboard of %d visitors: %v", visitors, time.Since(begin).Round(100*time.Microsecond))
		assert.NotZero(t, s.Now)
		assert.Len(t, s.Orders, 10)
		assert.NotZero(t, s.Cents)
		assert.Greater(t, len(s.Campaigns), 10)
	})
}

// planOf returns how the database goes about a query.
func planOf(t *testing.T, r *Report, db *sql.DB, q query, args []any) string {
	explain := "EXPLAIN QUERY PLAN "
	if r.postgres {
		explain = "EXPLAIN "
	}
	rows, err := db.QueryContext(t.Context(), explain+r.sql(q.text), args...)
	require.NoError(t, err)
	defer rows.Close()
	var plan []string
	for rows.Next() {
		var line string
		if r.postgres {
			require.NoError(t, rows.Scan(&line))
		} else {
			var a, b, c int
			require.NoError(t, rows.Scan(&a, &b, &c, &line))
		}
		plan = append(plan, line)
	}
	require.NoError(t, rows.Err())
	return strings.Join(plan, "\n")
}

// fill puts so many visitors in, over two years, with visits, leads and orders.
func fill(t *testing.T, r *Report, db *sql.DB, visitors int) {
	ctx := context.Background()
	end := now.UnixMilli()
	const numbers = `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) `
	exec := func(text string, n int) {
		t.Helper()
		text = fmt.Sprintf(strings.Replace(text, "NUMBERS", numbers, 1), n)
		_, err := db.ExecContext(ctx, text)
		require.NoError(t, err, text)
	}
	at := fmt.Sprintf(`(%d - (CAST(i AS BIGINT) * 7919 %% 63072000) * 1000)`, end) // somewhere in two years
	at = strings.ReplaceAll(at, "%", "%%")
	source := `('source' || (i %% 40))`
	exec(`INSERT INTO visitors (session, first, last, hits, visits, via) NUMBERS SELECT 'v' || i, `+at+`, `+at+`, 3, 1, 'cookie' FROM n`, visitors)
	exec(`INSERT INTO visits (session, at, last, source, medium, campaign, link, landing, via, fresh) NUMBERS SELECT 'v' || i, `+at+`, `+at+`, `+source+`, 'cpc', 'c', 'c', '/', 'cookie', 1 FROM n`, visitors)
	exec(`INSERT INTO daily (day, source, medium, campaign, via, fresh, visits) NUMBERS SELECT `+fmt.Sprint(dayOf(now))+` - i / 160, 'source' || (i %% 40), 'cpc', 'c', CASE WHEN i / 40 %% 2 = 0 THEN 'cookie' ELSE 'etag' END, i / 80 %% 2, 7 FROM n`, 160*730)
	exec(`INSERT INTO leads (number, session, at, source, medium, campaign) NUMBERS SELECT 'L' || i, 'v' || i, `+at+`, `+source+`, 'cpc', 'c' FROM n`, visitors/10)
	exec(`INSERT INTO orders (number, session, at, paid, cents, what) NUMBERS SELECT 'O' || i, 'v' || i, `+at+`, `+at+`, 4900, 'x' FROM n`, visitors/20)
	for _, m := range Models {
		exec(`INSERT INTO credits (model, number, source, medium, campaign, credit, cents, paid) NUMBERS SELECT '`+m.String()+`', 'O' || i, `+source+`, 'cpc', 'c', 1, 4900, `+at+` FROM n`, visitors/20)
	}
	require.NoError(t, r.Hit(ctx, revisit.Hit{Session: session(1, 1, now), Count: 1, Time: now}))
	_, err := db.ExecContext(ctx, "ANALYZE")
	require.NoError(t, err)
}

// A page view that turns out to have been a redirect is taken back, whatever has come before.
func TestAPageViewThatWasNone(t *testing.T) {
	onBoth(t, func(t *testing.T, r *Report, _ *sql.DB) {
		notified := func(hits, count int64) int64 {
			s := session(1, 1, now)
			s.Hits = hits
			require.NoError(t, r.Hit(t.Context(), revisit.Hit{Session: s, Count: count, Time: now}))
			v, err := r.Visitor(t.Context(), s.ID.String())
			require.NoError(t, err)
			return v.Hits
		}
		assert.EqualValues(t, 2, notified(2, 2))
		assert.EqualValues(t, 3, notified(3, 1))
		assert.EqualValues(t, 2, notified(2, -1))
		assert.EqualValues(t, 3, notified(3, 1))
		assert.EqualValues(t, 3, notified(3, 0))
	})
}
