package pgstore_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/revisit-go/revisit"
	"github.com/revisit-go/revisit/internal/enginetest"
	"github.com/revisit-go/revisit/internal/servers"
	"github.com/revisit-go/revisit/pgstore"
	"github.com/revisit-go/revisit/storetest"
)

func open(t testing.TB, address string) (*pgxpool.Pool, *pgstore.Store) {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), address)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	require.NoError(t, pgstore.Migrate(t.Context(), pool))
	store := pgstore.New(pool, pgstore.Options{})
	t.Cleanup(func() { store.Close() })
	return pool, store
}

func tcp(s *servers.Server) string {
	return "postgres://postgres@" + s.Address + "/postgres?pool_max_conns=16"
}

func socket(s *servers.Server) string {
	_, port, _ := cut(s.Address)
	return fmt.Sprintf("postgres://postgres@/postgres?host=%s&port=%s&pool_max_conns=16", url.QueryEscape(s.Socket), port)
}

func cut(address string) (host, port string, ok bool) {
	for i := len(address) - 1; i >= 0; i-- {
		if address[i] == ':' {
			return address[:i], address[i+1:], true
		}
	}
	return address, "", false
}

func TestMain(m *testing.M) {
	enginetest.Serve(func(address string) (revisit.Store, error) {
		pool, err := pgxpool.New(context.Background(), address)
		if err != nil {
			return nil, err
		}
		return pgstore.New(pool, pgstore.Options{}), nil
	})
	os.Exit(m.Run())
}

// The process is killed in the middle of its flushes.
func TestKilled(t *testing.T) {
	server := servers.PostgreSQL(t)
	_, store := open(t, tcp(server))
	enginetest.Killed(t, store, tcp(server), enginetest.Times(2))
}

func TestTheContract(t *testing.T) {
	server := servers.PostgreSQL(t)
	for name, address := range map[string]string{"TCP": tcp(server), "socket": socket(server)} {
		t.Run(name, func(t *testing.T) {
			_, store := open(t, address)
			storetest.Run(t, func(*testing.T) revisit.Store { return store })
		})
	}
}

// Several nodes may migrate at once, and at every start.
func TestMigrateIsIdempotent(t *testing.T) {
	server := servers.PostgreSQL(t)
	pool, err := pgxpool.New(t.Context(), tcp(server))
	require.NoError(t, err)
	defer pool.Close()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { assert.NoError(t, pgstore.Migrate(t.Context(), pool)) })
	}
	wg.Wait()
	require.NoError(t, pgstore.Migrate(t.Context(), pool))
	assert.Contains(t, pgstore.Schema(), "CREATE TABLE")
}

// What has expired leaves the table, and what has not stays, with two sweepers.
func TestExpiredRowsAreDeleted(t *testing.T) {
	server := servers.PostgreSQL(t)
	pool, store := open(t, tcp(server))
	_, err := pool.Exec(t.Context(), `INSERT INTO revisit_sessions (id, version, created, expires, confirmed, forgotten, visits, hits, via, links_used)
		SELECT gen_random_uuid(), 1, now(), now() + (i % 2 * 2 - 1) * interval '1 hour', false, false, 1, 1, 'new', 0 FROM generate_series(1, 5000) i`)
	require.NoError(t, err)
	var total [2]int64
	var wg sync.WaitGroup
	for i := range total {
		wg.Go(func() {
			n, err := store.Sweep(t.Context())
			assert.NoError(t, err)
			total[i] = n
		})
	}
	wg.Wait()
	n, err := store.Sweep(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 2500, total[0]+total[1]+n)
	var left int
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT count(*) FROM revisit_sessions`).Scan(&left))
	assert.Equal(t, 2500, left)

	_, err = pool.Exec(t.Context(), `UPDATE revisit_sessions SET expires = now()`)
	require.NoError(t, err)
	sweeping := pgstore.New(pool, pgstore.Options{SweepEvery: 10 * time.Millisecond})
	defer sweeping.Close()
	require.Eventually(t, func() bool {
		return pool.QueryRow(t.Context(), `SELECT count(*) FROM revisit_sessions`).Scan(&left) == nil && left == 0
	}, time.Minute, 10*time.Millisecond)
}

func TestNodes(t *testing.T) {
	_, store := open(t, tcp(servers.PostgreSQL(t)))
	enginetest.Nodes(t, store)
	enginetest.Merges(t, store)
}

// PostgreSQL is killed while visitors come, and started again; and it is paused.
func TestOutage(t *testing.T) {
	server := servers.PostgreSQL(t)
	_, store := open(t, tcp(server))
	t.Run("killed", func(t *testing.T) {
		enginetest.Outage(t, store, server.Kill, func() { server.Start(t) }, 2*time.Second)
	})
	t.Run("paused", func(t *testing.T) {
		enginetest.Outage(t, store, func() { server.Signal(syscall.SIGSTOP) }, func() { server.Signal(syscall.SIGCONT) }, 10*time.Second)
	})
}

func TestManySessionsAndASoak(t *testing.T) {
	_, store := open(t, tcp(servers.PostgreSQL(t)))
	enginetest.Many(t, store)
	enginetest.Soak(t, store)
}

// The questions of docs/stores.md can be asked, and are answered.
func TestTheQuestionsOfTheDocumentation(t *testing.T) {
	pool, store := open(t, tcp(servers.PostgreSQL(t)))
	now := time.Now().UTC().Truncate(time.Millisecond)
	for i := range 3 {
		r := revisit.Record{Version: 1, Created: now.Add(-time.Hour), LastSeen: now, LastHit: now, VisitStart: now, Expires: now.Add(time.Hour), Confirmed: i > 0, Visits: 2, Hits: 3, Via: "cookie",
			Touches: []revisit.Touch{{Time: now, Landing: "/", Source: "newsletter", Medium: "mail", Campaign: "spring"}, {Time: now, Landing: "/", Source: "ad"}},
			Values:  map[string]revisit.Value{"lead": {Text: "42", At: now}}}
		r.ID[0], r.ID[6] = byte(i+1), 0x70
		require.NoError(t, store.Save(t.Context(), r, 0))
	}
	page, err := os.ReadFile("../docs/stores.md")
	require.NoError(t, err)
	asked := 0
	for _, block := range strings.Split(string(page), "```sql\n")[1:] {
		question, _, _ := strings.Cut(block, "```")
		rows, err := pool.Query(t.Context(), question)
		require.NoError(t, err, question)
		require.True(t, rows.Next(), "no answer: %s", question)
		values, err := rows.Values()
		require.NoError(t, err)
		t.Log(values)
		rows.Close()
		require.NoError(t, rows.Err(), question)
		asked++
	}
	assert.Equal(t, 5, asked)
}

// The database is not there yet when the process starts: pages are served, nobody
// is recognised, and once it is there all goes on.
func TestRefusedAtTheStart(t *testing.T) {
	server := servers.PostgreSQL(t)
	server.Kill()
	pool, err := pgxpool.New(t.Context(), tcp(server))
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	store := pgstore.New(pool, pgstore.Options{})
	t.Cleanup(func() { store.Close() })
	enginetest.Refused(t, store, func() {
		server.Start(t)
		require.NoError(t, pgstore.Migrate(t.Context(), pool))
	})
}

// A table from before the columns had their names is refused, with an error that says what to
// do, and is not touched.
func TestAnOlderTableIsRefused(t *testing.T) {
	pool, err := pgxpool.New(t.Context(), tcp(servers.PostgreSQL(t)))
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	_, err = pool.Exec(t.Context(), `CREATE TABLE revisit_sessions (id uuid PRIMARY KEY, absorbed jsonb, joins integer NOT NULL, rivals jsonb, likely uuid)`)
	require.NoError(t, err)
	err = pgstore.Migrate(t.Context(), pool)
	require.ErrorIs(t, err, pgstore.ErrOlderTable)
	assert.ErrorContains(t, err, "merged_sessions")
	var columns int
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT count(*) FROM information_schema.columns WHERE table_name = 'revisit_sessions'`).Scan(&columns))
	assert.Equal(t, 5, columns)
}
