// Stores measures the stores beside what their engines do without them, in one
// run, and writes the table of docs/stores.md: compare ratios, not figures.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/rueidis"

	"github.com/revisit-go/revisit"
	"github.com/revisit-go/revisit/bench"
	"github.com/revisit-go/revisit/internal/servers"
	"github.com/revisit-go/revisit/pgstore"
	"github.com/revisit-go/revisit/redisstore"
	"github.com/revisit-go/revisit/sqlitestore"
)

const (
	begin = "<!-- made by make bench: begin -->\n"
	end   = "<!-- made by make bench: end -->\n"
)

// tb lets internal/servers run outside of a test.
type tb struct {
	testing.TB
	dir     string
	cleanup []func()
}

func (t *tb) Helper()                      {}
func (t *tb) Fatal(args ...any)            { t.done(); log.Fatal(args...) }
func (t *tb) Fatalf(f string, args ...any) { t.done(); log.Fatalf(f, args...) }
func (t *tb) Cleanup(f func())             { t.cleanup = append(t.cleanup, f) }
func (t *tb) Context() context.Context     { return context.Background() }
func (t *tb) TempDir() string {
	dir, err := os.MkdirTemp(t.dir, "")
	t.check(err)
	return dir
}

func (t *tb) done() {
	for _, f := range slices.Backward(t.cleanup) {
		f()
	}
	t.cleanup = nil
}

func (t *tb) check(err error) {
	if err != nil {
		t.Fatal(err)
	}
}

// A work is done over and over for a while, by so many goroutines, and does so
// many things at a time.
type work struct {
	group, name string
	by, each    int
	do          func(worker int) error
}

func main() {
	rounds := flag.Int("rounds", 5, "how often each is measured")
	lasts := flag.Duration("for", time.Second, "how long each time")
	date := flag.String("date", "", "the date to write down")
	out := flag.String("o", "", "the file whose table is replaced; default: print it")
	flag.Parse()
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		log.Fatal(err)
	}
	t := &tb{dir: dir}
	t.Cleanup(func() { os.RemoveAll(dir) })
	defer t.done()

	works := slices.Concat(postgres(t), redis(t), sqlite(t), warm(t))
	speed := make([][]float64, len(works))
	for range *rounds {
		for i, w := range works { // in turn, so that a slow moment is everybody's
			speed[i] = append(speed[i], w.run(t, *lasts))
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\nMeasured %s with %s on %s/%s, %d cores, all on one machine; medians of %d rounds.\n", *date, runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), *rounds)
	group, base := "", 0.0
	for i, w := range works {
		slices.Sort(speed[i])
		median := speed[i][len(speed[i])/2]
		if w.group != group {
			group, base = w.group, median
			fmt.Fprintf(&b, "\n### %s\n\n| | a second | ratio |\n|---|--:|--:|\n", group)
		}
		fmt.Fprintf(&b, "| %s | %.0f | %.2f |\n", w.name, median, median/base)
	}
	b.WriteString("\n")
	if *out == "" {
		fmt.Print(b.String())
		return
	}
	t.check(bench.WriteBetween(*out, begin, end, strings.Trim(b.String(), "\n")+"\n"))
}

func (w *work) run(t *tb, lasts time.Duration) (each float64) {
	var wg sync.WaitGroup
	counts := make([]int, w.by)
	start := time.Now()
	for i := range w.by {
		wg.Go(func() {
			for time.Since(start) < lasts {
				t.check(w.do(i))
				counts[i] += w.each
			}
		})
	}
	wg.Wait()
	total := 0
	for _, n := range counts {
		total += n
	}
	return float64(total) / time.Since(start).Seconds()
}

// sessions makes records of the usual kind.
func sessions(n int) []revisit.Record {
	at := time.Now().UTC().Truncate(time.Millisecond)
	all := make([]revisit.Record, n)
	for i := range all {
		var id revisit.ID
		ms := uint64(at.UnixMilli())
		for j := range 6 {
			id[j] = byte(ms >> (40 - 8*j))
		}
		for j := 6; j < 16; j++ {
			id[j] = byte(rand.Uint32())
		}
		id[6], id[8] = id[6]&0x0f|0x70, id[8]&0x3f|0x80
		all[i] = revisit.Record{
			ID: id, Version: rand.Int64() | 1, Created: at, LastSeen: at, LastHit: at, VisitStart: at, Expires: at.AddDate(1, 0, 0), Confirmed: true, Visits: 1, Hits: 2, Via: "cookie",
			Touches: []revisit.Touch{{Time: at, Landing: "/product/teapot", Source: "newsletter", Medium: "mail", Campaign: "spring"}},
		}
	}
	slices.SortFunc(all, func(a, b revisit.Record) int { return slices.Compare(a.ID[:], b.ID[:]) })
	return all
}

const batch = 500

// fill saves sessions, some for each worker.
func fill(t *tb, s revisit.Batcher, workers int) [][]revisit.Record {
	parts := make([][]revisit.Record, workers)
	for i := range parts {
		parts[i] = sessions(batch)
		changes := make([]revisit.Change, batch)
		for j, r := range parts[i] {
			changes[j] = revisit.Change{Record: r}
		}
		for _, err := range s.SaveAll(context.Background(), changes) {
			t.check(err)
		}
	}
	return parts
}

// one saves a worker's sessions in turn, together all at once.
func one(s revisit.Store, parts [][]revisit.Record) func(int) error {
	next := make([]int, len(parts))
	return func(w int) error {
		r := &parts[w][next[w]%batch]
		next[w]++
		old := r.Version
		r.Version, r.Hits = rand.Int64()|1, r.Hits+1
		return s.Save(context.Background(), *r, old)
	}
}

func together(s revisit.Batcher, parts [][]revisit.Record) func(int) error {
	return func(w int) error {
		changes := make([]revisit.Change, batch)
		for i := range changes {
			r := &parts[w][i]
			changes[i].Old = r.Version
			r.Version, r.Hits = rand.Int64()|1, r.Hits+1
			changes[i].Record = *r
		}
		for _, err := range s.SaveAll(context.Background(), changes) {
			if err != nil {
				return err
			}
		}
		return nil
	}
}

func postgres(t *tb) []work {
	server := servers.PostgreSQL(t)
	pool, err := pgxpool.New(context.Background(), "postgres://postgres@"+server.Address+"/postgres?pool_max_conns=16")
	t.check(err)
	t.Cleanup(pool.Close)
	t.check(pgstore.Migrate(context.Background(), pool))
	s := pgstore.New(pool, pgstore.Options{})
	t.Cleanup(func() { s.Close() })
	parts := fill(t, s, 16)
	// What somebody would write by hand who needs no compare-and-swap.
	raw := func(w int) error {
		var ids [][16]byte
		var versions, hits, visits []int64
		var touches, values, vias []string
		var at, ends []time.Time
		for i := range parts[w] {
			r := &parts[w][i]
			r.Version, r.Hits = rand.Int64()|1, r.Hits+1
			ids, versions, hits, visits = append(ids, r.ID), append(versions, r.Version), append(hits, r.Hits), append(visits, r.Visits)
			touches = append(touches, `[{"Time":"2026-11-22T00:00:00Z","Landing":"/product/teapot","Source":"newsletter","Medium":"mail","Campaign":"spring"}]`)
			values, vias, at, ends = append(values, "{}"), append(vias, r.Via), append(at, r.LastHit), append(ends, r.Expires)
		}
		_, err := pool.Exec(context.Background(), `UPDATE revisit_sessions s SET version = b.version, created = b.at, last_seen = b.at, last_hit = b.at, visit_start = b.at,
			expires = b.ends, visits = b.visits, hits = b.hits, via = b.via, touches = b.touches, "values" = b.vals
			FROM unnest($1::uuid[], $2::bigint[], $3::timestamptz[], $4::timestamptz[], $5::bigint[], $6::bigint[], $7::text[], $8::jsonb[], $9::jsonb[])
			AS b (id, version, at, ends, visits, hits, via, touches, vals) WHERE s.id = b.id`, ids, versions, at, ends, visits, hits, vias, touches, values)
		return err
	}
	const group = "PostgreSQL, changes"
	return []work{
		{group, "one by one, 16 connections", 16, 1, one(s, parts)},
		{group, "batches of 500, 4 connections", 4, batch, together(s, parts)},
		{group, "a bare UPDATE ... unnest, by hand, 4 connections", 4, batch, raw},
	}
}

func redis(t *tb) []work {
	server := servers.Redis(t)
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{server.Address}, DisableCache: true})
	t.check(err)
	t.Cleanup(client.Close)
	s := redisstore.New(client, redisstore.Options{})
	parts := fill(t, s, 16)
	script := rueidis.NewLuaScript(`
if redis.call('GETRANGE', KEYS[1], 0, 15) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PXAT', ARGV[3])
return 1`)
	value := strings.Repeat("x", 240)
	raw := func(w int) error {
		key := fmt.Sprint("raw:", w)
		return script.Exec(context.Background(), client, []string{key}, []string{"", value, "4102444800000"}).Error()
	}
	set := func(w int) error {
		return client.Do(context.Background(), client.B().Set().Key(fmt.Sprint("set:", w)).Value(value).Build()).Error()
	}
	const group = "Redis, changes, 16 goroutines"
	return []work{
		{group, "the same script by the client alone", 16, 1, raw},
		{group, "one by one", 16, 1, one(s, parts)},
		{group, "batches of 500", 16, batch, together(s, parts)},
		{group, "a plain SET by the client alone", 16, 1, set},
	}
}

func sqlite(t *tb) []work {
	s, err := sqlitestore.Open(filepath.Join(t.TempDir(), "x.db"), sqlitestore.Options{})
	t.check(err)
	t.Cleanup(func() { s.Close() })
	parts := fill(t, s, 1)
	const group = "SQLite, changes"
	return []work{
		{group, "one by one", 1, 1, one(s, parts)},
		{group, "batches of 500", 1, batch, together(s, parts)},
	}
}

// discard is a ResponseWriter that costs nothing. Nothing is written to the header
// of a visitor who is known.
type discard http.Header

func (d discard) Header() http.Header       { return http.Header(d) }
func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) WriteHeader(int)             {}

// warm is a returning visitor whose session this process has asked about.
func warm(t *tb) []work {
	visitor := func(s revisit.Store, flushEvery time.Duration) func(int) error {
		tracker, err := revisit.New(revisit.Config{
			Keys: [][]byte{make([]byte, 32)}, Store: s, Strategy: revisit.Cookie{}, FlushEvery: flushEvery, Logger: slog.New(slog.DiscardHandler),
			Consent: func(*http.Request) revisit.Permission { return revisit.Restore },
		})
		t.check(err)
		t.Cleanup(func() { tracker.Close() })
		h := tracker.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		r := httptest.NewRequest("GET", "/", nil)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		cookie, _, _ := strings.Cut(w.Header().Get("Set-Cookie"), ";")
		r.Header.Set("Cookie", cookie)
		answer := discard{}
		return func(int) error {
			h.ServeHTTP(answer, r)
			return nil
		}
	}
	server := servers.Redis(t)
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{server.Address}, DisableCache: true})
	t.check(err)
	t.Cleanup(client.Close)
	s := redisstore.New(client, redisstore.Options{})
	m := revisit.NewMemoryStore(revisit.MemoryOptions{})
	t.Cleanup(func() { m.Close() })
	const group = "A returning visitor, one goroutine"
	return []work{
		{group, "memory store", 1, 1, visitor(m, 0)},
		{group, "Redis, FlushEvery 10 s", 1, 1, visitor(s, 10*time.Second)},
		{group, "Redis, FlushEvery 0", 1, 1, visitor(s, 0)},
	}
}
