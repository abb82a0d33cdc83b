package pgstore_test

import (
	"context"
	"math/rand/v2"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/revisit-go/revisit"
	"github.com/revisit-go/revisit/internal/enginetest"
	"github.com/revisit-go/revisit/internal/servers"
	"github.com/revisit-go/revisit/pgstore"
	"github.com/revisit-go/revisit/storetest"
)

// with is an address with more parameters, as name=value.
func with(address string, more ...string) string {
	for _, p := range more {
		name, value, _ := strings.Cut(p, "=")
		address += "&" + name + "=" + url.PathEscape(value)
	}
	return address
}

func record() revisit.Record {
	now := time.UnixMilli(time.Now().UnixMilli()).UTC()
	r := revisit.Record{Version: rand.Int64()>>1 + 1, Created: now, LastSeen: now, Expires: now.Add(time.Hour), Via: "cookie"}
	for i := range r.ID {
		r.ID[i] = byte(rand.Uint32())
	}
	r.ID[6], r.ID[8] = r.ID[6]&0x0f|0x70, r.ID[8]&0x3f|0x80
	return r
}

// changed saves n records and returns a change of each, in the order of their IDs.
func changed(t testing.TB, s revisit.Store, n int) []revisit.Change {
	t.Helper()
	changes := make([]revisit.Change, n)
	for i := range changes {
		r := record()
		require.NoError(t, s.Save(t.Context(), r, 0))
		old := r.Version
		r.Version, r.Hits = rand.Int64()>>1+1, 1
		changes[i] = revisit.Change{Record: r, Old: old}
	}
	slices.SortFunc(changes, func(a, b revisit.Change) int { return slices.Compare(a.Record.ID[:], b.Record.ID[:]) })
	return changes
}

var modes = []string{"cache_statement", "cache_describe", "describe_exec", "exec", "simple_protocol"}

// All query exec modes of pgx, on a database whose settings change what text looks like.
func TestQueryExecModes(t *testing.T) {
	server := servers.PostgreSQL(t, "DateStyle=German, DMY", "TimeZone=Asia/Kolkata", "extra_float_digits=-10", "bytea_output=escape")
	admin, err := pgxpool.New(t.Context(), tcp(server))
	require.NoError(t, err)
	t.Cleanup(admin.Close)
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			_, err := admin.Exec(t.Context(), `CREATE DATABASE `+mode)
			require.NoError(t, err)
			pool, store := open(t, with(strings.Replace(tcp(server), "/postgres?", "/"+mode+"?", 1), "default_query_exec_mode="+mode))
			require.NoError(t, pgstore.Migrate(t.Context(), pool), "again")
			storetest.Run(t, func(*testing.T) revisit.Store { return store })
			r := record()
			r.Via = "a\x00b"
			assert.Error(t, store.Save(t.Context(), r, 0), "a zero byte")
			r.Via, r.Values = "", map[string]revisit.Value{"a": {Text: "\x00", At: r.Created}}
			assert.Error(t, store.Save(t.Context(), r, 0), "a zero byte")
			r.Values, r.Expires = nil, time.Now().Add(-time.Second)
			require.NoError(t, store.Save(t.Context(), r, 0), "the connection is whole")
			n, err := store.Sweep(t.Context())
			require.NoError(t, err)
			assert.Positive(t, n)
		})
	}
}

// PgBouncer in transaction mode, with fewer connections to the server than the pool has to it:
// each transaction may be on another one.
func TestAPooler(t *testing.T) {
	server := servers.PostgreSQL(t)
	pooler := servers.PgBouncer(t, server, 3)
	for _, mode := range modes[1:] { // Debian's has no prepared statements
		t.Run(mode, func(t *testing.T) {
			pool, store := open(t, with(tcp(pooler), "default_query_exec_mode="+mode))
			storetest.Run(t, func(*testing.T) revisit.Store { return store })

			// Batches, single changes and what others do, all at once.
			changes := changed(t, store, 400)
			var wg sync.WaitGroup
			for part := range slices.Chunk(changes, 50) {
				wg.Go(func() {
					for _, err := range store.SaveAll(t.Context(), part) {
						assert.NoError(t, err)
					}
				})
				wg.Go(func() {
					for range 20 {
						var n int
						assert.NoError(t, pool.QueryRow(t.Context(), `SELECT $1::int`, pgx.QueryExecModeExec, 7).Scan(&n))
						assert.Equal(t, 7, n)
						r := record()
						assert.NoError(t, store.Save(t.Context(), r, 0))
						got, err := store.Load(t.Context(), r.ID)
						assert.NoError(t, err)
						assert.Equal(t, r, got)
					}
				})
			}
			wg.Wait()
			for _, c := range changes {
				got, err := store.Load(t.Context(), c.Record.ID)
				require.NoError(t, err)
				assert.Equal(t, c.Record, got)
			}
		})
	}
}

// What a pooler does to prepared statements is said in words that help.
func TestLostStatementsAreExplained(t *testing.T) {
	server := servers.PostgreSQL(t)
	pool, store := open(t, with(strings.Replace(tcp(server), "pool_max_conns=16", "pool_max_conns=1", 1)))
	r := record()
	require.NoError(t, store.Save(t.Context(), r, 0))
	for range 2 {
		_, err := store.Load(t.Context(), r.ID)
		require.NoError(t, err)
	}
	_, err := pool.Exec(t.Context(), `DEALLOCATE ALL`) // as another client of the same connection has it
	require.NoError(t, err)
	_, err = store.Load(t.Context(), r.ID)
	assert.ErrorContains(t, err, "default_query_exec_mode=exec")
}

// Above READ COMMITTED PostgreSQL rolls back those who come second.
func TestIsolationLevels(t *testing.T) {
	server := servers.PostgreSQL(t)
	for _, level := range []string{"read committed", "repeatable read", "serializable"} {
		t.Run(level, func(t *testing.T) {
			pool, store := open(t, with(tcp(server), "default_transaction_isolation="+level))
			storetest.Run(t, func(*testing.T) revisit.Store { return store })

			// As of several nodes: each change is counted once, or is a conflict.
			r := record()
			require.NoError(t, store.Save(t.Context(), r, 0))
			others := changed(t, store, 100)
			var saved, tried atomic.Int64
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					for range 50 {
						have, err := store.Load(t.Context(), r.ID)
						if !assert.NoError(t, err) {
							return
						}
						next := have
						next.Version, next.Hits = rand.Int64()>>1+1, have.Hits+1
						tried.Add(1)
						if err := store.Save(t.Context(), next, have.Version); err == nil {
							saved.Add(1)
						} else {
							assert.ErrorIs(t, err, revisit.ErrConflict)
						}
					}
				})
			}
			wg.Go(func() {
				for range 20 {
					_, err := store.Sweep(t.Context())
					assert.NoError(t, err)
					for _, err := range store.Sessions(t.Context()) {
						assert.NoError(t, err)
					}
					assert.NoError(t, pgstore.Migrate(t.Context(), pool))
				}
			})
			// A batch with the contended row in it: the other rows are saved.
			wg.Go(func() {
				for range 20 {
					batch := slices.Clone(others)
					for j := range others { // and the next change of it
						others[j].Old, others[j].Record.Version = others[j].Record.Version, others[j].Record.Version+1
					}
					have, err := store.Load(t.Context(), r.ID)
					assert.NoError(t, err)
					next := have
					next.Version, next.Hits = rand.Int64()>>1+1, have.Hits+1
					batch = append(batch, revisit.Change{Record: next, Old: have.Version})
					slices.SortFunc(batch, func(a, b revisit.Change) int { return slices.Compare(a.Record.ID[:], b.Record.ID[:]) })
					for j, err := range store.SaveAll(t.Context(), batch) {
						switch {
						case batch[j].Record.ID != r.ID:
							assert.NoError(t, err)
						case err == nil:
							saved.Add(1)
						default:
							assert.ErrorIs(t, err, revisit.ErrConflict)
						}
					}
				}
			})
			wg.Wait()
			have, err := store.Load(t.Context(), r.ID)
			require.NoError(t, err)
			assert.Equal(t, saved.Load(), have.Hits)
			t.Logf("%d of %d changes of one row were saved", saved.Load(), tried.Load())
			enginetest.Nodes(t, store)
		})
	}
}

// What PostgreSQL rolls back because of others is tried again, in each method; what fails for
// another reason is an error. (A trigger fails the first few times, as it says it is. Sequences are
// not rolled back.)
func TestRolledBackBecauseOfOthers(t *testing.T) {
	server := servers.PostgreSQL(t)
	pool, store := open(t, tcp(server))
	_, err := pool.Exec(t.Context(), `
		CREATE SEQUENCE failures; CREATE TABLE failing (code text, times int); INSERT INTO failing VALUES ('', 0);
		CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
		DECLARE f record;
		BEGIN
			SELECT * INTO f FROM failing;
			IF nextval('failures') <= f.times THEN
				RAISE EXCEPTION 'as asked' USING ERRCODE = f.code;
			END IF;
			IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
			RETURN NEW;
		END $$;
		CREATE TRIGGER fail BEFORE INSERT OR UPDATE OR DELETE ON revisit_sessions FOR EACH ROW EXECUTE FUNCTION fail()`)
	require.NoError(t, err)
	failing := func(code string, times int) {
		_, err := pool.Exec(t.Context(), `UPDATE failing SET code = $1, times = $2`, code, times)
		require.NoError(t, err)
		_, err = pool.Exec(t.Context(), `ALTER SEQUENCE failures RESTART`)
		require.NoError(t, err)
	}
	calls := map[string]func() error{
		"create": func() error { return store.Save(t.Context(), record(), 0) },
		"change": func() error {
			failing("", 0)
			c := changed(t, store, 1)[0]
			return store.Save(t.Context(), c.Record, c.Old)
		},
		"sweep": func() error {
			_, err := store.Sweep(t.Context())
			return err
		},
	}
	for _, code := range []string{"40001", "40P01", "55P03"} {
		for name, call := range calls {
			if name == "change" {
				continue
			}
			if name == "sweep" {
				failing("", 0)
				r := record()
				r.Expires = time.Now().Add(-time.Second)
				require.NoError(t, store.Save(t.Context(), r, 0))
			}
			failing(code, 3)
			assert.NoError(t, call(), "%s, %s three times", name, code)
		}
		failing("", 0)
		c := changed(t, store, 1)[0]
		failing(code, 3)
		assert.NoError(t, store.Save(t.Context(), c.Record, c.Old), "change, %s three times", code)

		failing("", 0)
		batch := changed(t, store, 64)
		failing(code, 3)
		for i, err := range store.SaveAll(t.Context(), batch) {
			if err != nil {
				assert.ErrorIs(t, err, revisit.ErrConflict)
				got, err := store.Load(t.Context(), batch[i].Record.ID)
				require.NoError(t, err)
				assert.Equal(t, batch[i].Old, got.Version, "nothing of a conflict was saved")
			}
		}

		failing(code, 1_000_000)
		err := store.Save(t.Context(), record(), 0)
		assert.ErrorIs(t, err, revisit.ErrConflict, "%s for ever", code)
		assert.ErrorContains(t, err, code)
		ended, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		assert.ErrorIs(t, store.Save(ended, record(), 0), context.DeadlineExceeded)
		cancel()
	}
	failing("53400", 1_000_000)
	err = store.Save(t.Context(), record(), 0)
	assert.ErrorContains(t, err, "53400")
	assert.NotErrorIs(t, err, revisit.ErrConflict)
}

// countBatches counts what is sent as a batch.
type countBatches struct{ sent atomic.Int64 }

func (c *countBatches) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	c.sent.Add(1)
	return ctx
}
func (*countBatches) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}
func (*countBatches) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData)     {}
func (*countBatches) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}
func (*countBatches) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// One row that somebody else holds, or that the database refuses, and 499 others.
func TestOneRowOfABatch(t *testing.T) {
	server := servers.PostgreSQL(t)
	config, err := pgxpool.ParseConfig(tcp(server))
	require.NoError(t, err)
	batches := &countBatches{}
	config.ConnConfig.Tracer = batches
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	require.NoError(t, pgstore.Migrate(t.Context(), pool))
	store := pgstore.New(pool, pgstore.Options{SweepEvery: -1})
	hold := func(statement string, arguments ...any) (release func()) {
		tx, err := pool.Begin(t.Context())
		require.NoError(t, err)
		_, err = tx.Exec(t.Context(), statement, arguments...)
		require.NoError(t, err)
		release = sync.OnceFunc(func() { _ = tx.Rollback(context.Background()) })
		t.Cleanup(release)
		return release
	}
	// saved expects that all but one of a batch are saved.
	saved := func(batch []revisit.Change, but int, want error) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		for i, err := range store.SaveAll(ctx, batch) {
			switch {
			case i != but:
				assert.NoError(t, err, "change %d", i)
			case want != nil:
				assert.ErrorIs(t, err, want)
			default:
				assert.Error(t, err)
				assert.NotErrorIs(t, err, revisit.ErrConflict)
			}
		}
	}

	batch := changed(t, store, 500)
	release := hold(`SELECT FROM revisit_sessions WHERE id = $1 FOR UPDATE`, batch[250].Record.ID.String())
	batches.sent.Store(0)
	saved(batch, 250, revisit.ErrConflict)
	assert.EqualValues(t, 1, batches.sent.Load(), "it is left out at once")
	release()
	assert.NoError(t, store.Save(t.Context(), batch[250].Record, batch[250].Old), "it was not saved before")

	batch = changed(t, store, 100)
	release = hold(`SELECT FROM revisit_sessions WHERE id = $1 FOR KEY SHARE`, batch[50].Record.ID.String()) // as a foreign key does
	saved(batch, -1, nil)
	release()

	// The same of new ones: over one that has expired, over one that is there, and of one that somebody
	// else is about to create.
	expired := record()
	expired.Expires = time.Now().Add(-time.Second)
	require.NoError(t, store.Save(t.Context(), expired, 0))
	there := changed(t, store, 1)[0].Record
	coming := record()
	for name, id := range map[string]revisit.ID{"expired": expired.ID, "there": there.ID, "coming": coming.ID} {
		batch = nil
		for range 50 {
			batch = append(batch, revisit.Change{Record: record()})
		}
		batch[25].Record.ID = id
		slices.SortFunc(batch, func(a, b revisit.Change) int { return slices.Compare(a.Record.ID[:], b.Record.ID[:]) })
		but := slices.IndexFunc(batch, func(c revisit.Change) bool { return c.Record.ID == id })
		statement := `SELECT FROM revisit_sessions WHERE id = $1 FOR UPDATE`
		if name == "coming" {
			statement = `INSERT INTO revisit_sessions (id, version, created, expires, confirmed, forgotten, visits, hits, via, links_used)
				VALUES ($1, 1, now(), now() + interval '1 hour', false, false, 1, 1, 'new', 0)`
		}
		release := hold(statement, id.String())
		saved(batch, but, revisit.ErrConflict)
		release()
		if err := store.Save(t.Context(), batch[but].Record, 0); name == "there" {
			assert.ErrorIs(t, err, revisit.ErrConflict)
		} else {
			assert.NoError(t, err, name)
		}
	}

	batch = changed(t, store, 100)
	batch[7].Record.Values = map[string]revisit.Value{"a": {Text: "\x00", At: time.Now()}}
	saved(batch, 7, nil)
	_, err = pool.Exec(t.Context(), `ALTER TABLE revisit_sessions ADD CONSTRAINT own CHECK (hits <> 13)`)
	require.NoError(t, err)
	batch = changed(t, store, 100)
	batch[8].Record.Hits = 13
	saved(batch, 8, nil)
}

// A tombstone is on the disk when Save has returned, though nothing else waits for the disk.
func TestATombstoneIsOnTheDisk(t *testing.T) {
	server := servers.PostgreSQL(t)
	for _, mode := range modes {
		pool, store := open(t, with(tcp(server), "synchronous_commit=off", "default_query_exec_mode="+mode))
		_, err := pool.Exec(t.Context(), `
			CREATE TABLE IF NOT EXISTS seen (id uuid, synchronous text);
			CREATE OR REPLACE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$
				BEGIN INSERT INTO seen VALUES (NEW.id, current_setting('synchronous_commit')); RETURN NEW; END $$;
			DROP TRIGGER IF EXISTS see ON revisit_sessions;
			CREATE TRIGGER see BEFORE INSERT OR UPDATE ON revisit_sessions FOR EACH ROW EXECUTE FUNCTION see()`)
		require.NoError(t, err)
		level := func(id revisit.ID) (levels []string) {
			rows, err := pool.Query(t.Context(), `SELECT synchronous FROM seen WHERE id = $1`, id.String())
			require.NoError(t, err)
			levels, err = pgx.CollectRows(rows, pgx.RowTo[string])
			require.NoError(t, err)
			return levels
		}
		r := record()
		require.NoError(t, store.Save(t.Context(), r, 0))
		gone := r
		gone.Version, gone.Forgotten = 1, true
		require.NoError(t, store.Save(t.Context(), gone, r.Version))
		assert.ErrorIs(t, store.Save(t.Context(), gone, r.Version), revisit.ErrConflict)
		assert.Equal(t, []string{"off", "on"}, level(r.ID), mode)
		batch := []revisit.Change{{Record: record()}, {Record: record()}}
		batch[1].Record.Forgotten = true
		for i, err := range store.SaveAll(t.Context(), batch) {
			require.NoError(t, err)
			assert.Equal(t, []string{[]string{"off", "on"}[i]}, level(batch[i].Record.ID), mode)
		}
	}
}

// A held row costs no page view, and no other visitor anything.
func TestAHeldRowCostsNoPageView(t *testing.T) {
	server := servers.PostgreSQL(t)
	pool, store := open(t, tcp(server))
	enginetest.Held(t, store, func(id revisit.ID) (release func()) {
		tx, err := pool.Begin(t.Context())
		require.NoError(t, err)
		_, err = tx.Exec(t.Context(), `SELECT FROM revisit_sessions WHERE id = $1 FOR UPDATE`, id.String())
		require.NoError(t, err)
		return func() { assert.NoError(t, tx.Rollback(context.Background())) }
	})
}

// A Migrate that has nothing to do waits for nobody, and nobody waits for it.
func TestMigrateWaitsForNobody(t *testing.T) {
	server := servers.PostgreSQL(t)
	pool, store := open(t, tcp(server))
	r := record()
	require.NoError(t, store.Save(t.Context(), r, 0))
	tx, err := pool.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = tx.Rollback(context.Background()) }()
	_, err = tx.Exec(t.Context(), `UPDATE revisit_sessions SET hits = 1`)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	require.NoError(t, pgstore.Migrate(ctx, pool))
	require.NoError(t, store.Save(ctx, record(), 0))

	// In a schema of its own it makes its own index, though there is one of that name.
	_, err = pool.Exec(t.Context(), `CREATE SCHEMA tenant`)
	require.NoError(t, err)
	open(t, with(tcp(server), "search_path=tenant,public"))
	var n int
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT count(*) FROM pg_indexes WHERE indexname = 'revisit_sessions_expires'`).Scan(&n))
	assert.Equal(t, 2, n)
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT count(*) FROM pg_indexes WHERE indexname = 'revisit_sessions_merged_into'`).Scan(&n))
	assert.Equal(t, 2, n)
}

// The aliases of a session are found by an index, which has nothing but aliases in it, and which
// a table of before gets.
func TestAliasesAreIndexed(t *testing.T) {
	pool, store := open(t, tcp(servers.PostgreSQL(t)))
	ctx := t.Context()
	_, err := pool.Exec(ctx, `DROP INDEX revisit_sessions_merged_into`) // as of before
	require.NoError(t, err)
	_, err = pool.Exec(ctx, `INSERT INTO revisit_sessions (id, version, created, expires, confirmed, forgotten, visits, hits, via, links_used, merged_into)
		SELECT gen_random_uuid(), 1, now(), now() + interval '1 hour', false, false, 1, 1, 'new', 0, CASE WHEN i % 10 = 0 THEN gen_random_uuid() END
		FROM generate_series(1, 20000) i`)
	require.NoError(t, err)
	root := record().ID
	alias, derived, expired := record(), record(), record()
	derived.ID[6] = derived.ID[6]&0x0f | 0x80
	expired.Expires = time.Now().Add(-time.Second)
	for _, r := range []*revisit.Record{&alias, &derived, &expired} {
		r.MergedInto = root
		require.NoError(t, store.Save(ctx, *r, 0))
	}
	index := func() (oid uint32, definition string) {
		require.NoError(t, pgstore.Migrate(ctx, pool))
		require.NoError(t, pool.QueryRow(ctx, `SELECT oid, pg_get_indexdef(oid) FROM pg_class WHERE relname = 'revisit_sessions_merged_into'`).Scan(&oid, &definition))
		return oid, definition
	}
	_, made := index()
	assert.Equal(t, `CREATE INDEX revisit_sessions_merged_into ON public.revisit_sessions USING btree (merged_into) WHERE (merged_into IS NOT NULL)`, made)
	// Made by hand, as docs/stores.md says, it stays.
	page, err := os.ReadFile("../docs/stores.md")
	require.NoError(t, err)
	statement := regexp.MustCompile("`(CREATE INDEX CONCURRENTLY [^`]+)`").FindStringSubmatch(string(page))
	require.NotNil(t, statement)
	_, err = pool.Exec(ctx, `DROP INDEX revisit_sessions_merged_into`)
	require.NoError(t, err)
	_, err = pool.Exec(ctx, statement[1])
	require.NoError(t, err)
	var before uint32
	require.NoError(t, pool.QueryRow(ctx, `SELECT oid FROM pg_class WHERE relname = 'revisit_sessions_merged_into'`).Scan(&before))
	after, same := index()
	assert.Equal(t, before, after)
	assert.Equal(t, made, same)
	_, err = pool.Exec(ctx, `ANALYZE revisit_sessions`)
	require.NoError(t, err)
	for range 10 { // a plan for any argument comes after five with their own
		got, err := store.Aliases(ctx, root)
		require.NoError(t, err)
		assert.Equal(t, []revisit.ID{alias.ID}, got)
	}
	pool.Reset() // a connection's statistics arrive when it ends, or some time later
	require.Eventually(t, func() bool {
		var scans int
		require.NoError(t, pool.QueryRow(ctx, `SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'revisit_sessions_merged_into'`).Scan(&scans))
		return scans >= 10
	}, time.Minute, 50*time.Millisecond, "the index is used")
}

// Reads that PostgreSQL rolls back are tried again, too. (A view fails the first few times.)
func TestReadsAreTriedAgain(t *testing.T) {
	server := servers.PostgreSQL(t)
	pool, store := open(t, tcp(server))
	r := record()
	r.MergedInto = record().ID
	require.NoError(t, store.Save(t.Context(), r, 0))
	_, err := pool.Exec(t.Context(), `
		CREATE SEQUENCE failures;
		CREATE FUNCTION fail() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
			IF nextval('failures') <= 3 THEN
				RAISE EXCEPTION 'as asked' USING ERRCODE = CASE WHEN currval('failures') = 2 THEN '40P01' ELSE '40001' END;
			END IF;
			RETURN true;
		END $$;
		CREATE SCHEMA failing; CREATE VIEW failing.revisit_sessions AS SELECT * FROM public.revisit_sessions WHERE fail()`)
	require.NoError(t, err)
	other, err := pgxpool.New(t.Context(), with(tcp(server), "search_path=failing,public"))
	require.NoError(t, err)
	defer other.Close()
	reading := pgstore.New(other, pgstore.Options{SweepEvery: -1})
	defer reading.Close()
	for name, read := range map[string]func() error{
		"Load": func() error {
			_, err := reading.Load(t.Context(), r.ID)
			return err
		},
		"LoadAll": func() error {
			_, err := reading.LoadAll(t.Context(), []revisit.ID{r.ID})
			return err
		},
		"Aliases": func() error {
			ids, err := reading.Aliases(t.Context(), r.MergedInto)
			assert.Equal(t, []revisit.ID{r.ID}, ids)
			return err
		},
	} {
		_, err := pool.Exec(t.Context(), `ALTER SEQUENCE failures RESTART`)
		require.NoError(t, err)
		assert.NoError(t, read(), name)
		var n int
		require.NoError(t, pool.QueryRow(t.Context(), `SELECT last_value FROM failures`).Scan(&n))
		assert.Equal(t, 4, n, "%s failed three times", name)
	}
}

// split reads at one server and writes to another, as applications with a read replica do.
type split struct {
	*pgstore.Store // the primary
	reads          *pgstore.Store
}

func (s split) Load(ctx context.Context, id revisit.ID) (revisit.Record, error) {
	return s.reads.Load(ctx, id)
}

// A replica that is behind shows what was forgotten, and brings none of it back. One that
// takes over before it has heard of it does: the log of forgotten sessions repairs that.
func TestAReplicaThatIsBehind(t *testing.T) {
	primary := servers.PostgreSQL(t)
	pool, store := open(t, tcp(primary))
	replica := primary.Replica(t)
	behind, err := pgxpool.New(t.Context(), tcp(replica))
	require.NoError(t, err)
	t.Cleanup(behind.Close)
	old := pgstore.New(behind, pgstore.Options{SweepEvery: -1})

	require.ErrorContains(t, pgstore.Migrate(t.Context(), behind), "read-only replica")
	assert.ErrorContains(t, old.Save(t.Context(), record(), 0), "read-only replica")
	assert.ErrorContains(t, old.SaveAll(t.Context(), []revisit.Change{{Record: record()}})[0], "read-only replica")

	enginetest.Behind(t, store, split{store, old}, old, enginetest.Replica{
		CatchUp: func() {
			var at string
			require.NoError(t, pool.QueryRow(t.Context(), `SELECT pg_current_wal_lsn()::text`).Scan(&at))
			require.Eventually(t, func() bool {
				var there bool
				return behind.QueryRow(t.Context(), `SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn`, at).Scan(&there) == nil && there
			}, time.Minute, 20*time.Millisecond)
		},
		Stall: func() {
			// The network between the two is cut.
			_, err := behind.Exec(t.Context(), `ALTER SYSTEM SET primary_conninfo = ''`)
			require.NoError(t, err)
			_, err = behind.Exec(t.Context(), `SELECT pg_reload_conf()`)
			require.NoError(t, err)
			require.Eventually(t, func() bool {
				var receivers int
				return behind.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_wal_receiver`).Scan(&receivers) == nil && receivers == 0
			}, time.Minute, 20*time.Millisecond)
		},
		Promote: func() {
			primary.Kill()
			_, err := behind.Exec(t.Context(), `SELECT pg_promote()`)
			require.NoError(t, err)
		},
	})
}
