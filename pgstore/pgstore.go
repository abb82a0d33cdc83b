// Package pgstore keeps sessions in PostgreSQL 12 or later, one row per session, with
// columns that SQL queries for marketing can use.
//
//	pool, err := pgxpool.New(ctx, "postgres://localhost/shop")
//	err = pgstore.Migrate(ctx, pool)          // once, at each start
//	store := pgstore.New(pool, pgstore.Options{})
//	defer store.Close()
//	tracker, err := revisit.New(revisit.Config{Store: store, FlushEvery: 10 * time.Second, ...})
//
// Each Load and each Save is one statement, in one round trip. PostgreSQL cannot store
// texts with a zero byte, so they are an error.
//
// # Poolers
//
// All query exec modes of pgx work. Behind a pooler in transaction mode, such as
// PgBouncer, set default_query_exec_mode=exec, cache_describe or simple_protocol in the
// pool's connection string. The default of pgx, cache_statement, needs PgBouncer 1.21
// with max_prepared_statements. The package does not depend on a connection's session:
// it uses no SET, no LISTEN, and no advisory lock that outlives its transaction.
//
// # Isolation
//
// Any default_transaction_isolation works. If PostgreSQL rolls a statement back because of
// concurrent work (SQLSTATE 40001, 40P01, 55P03), it is retried a few times, as long as the
// context lasts. A write that still does not succeed returns [revisit.ErrConflict].
package pgstore

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/revisit-go/revisit"
	"github.com/revisit-go/revisit/internal/sweep"
)

//go:embed schema.sql
var schema string

// Schema returns the statements that Migrate executes, for those who run their
// migrations themselves.
func Schema() string { return schema }

// ErrOlderTable is returned by Migrate for a table of a version before the first release,
// whose columns have other names.
var ErrOlderTable = errors.New("the table revisit_sessions is of an older version: rename its columns absorbed, joins, rivals and likely to merged_sessions, links_used, conflicting_cookies and probable_match and in the first one Untold to NotifyPending, or drop it together with the view revisit_visitors")

// Migrate creates the table and its indexes, or changes them to what this version
// needs. It may be called at every start, and by several nodes at once. If there is nothing
// to change, it does not wait for transactions that are writing to the table. It returns
// ErrOlderTable for a table that it cannot use.
func Migrate(ctx context.Context, pool *pgxpool.Pool) error {
	// At READ COMMITTED, so that a node that has waited sees what the one before it did.
	err := try(ctx, func() error {
		return pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
			// CREATE ... IF NOT EXISTS of two nodes at once can fail.
			if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtext('revisit_sessions'))`); err != nil {
				return err
			}
			// This version's tables have no migration from the ones of before the first release.
			var older bool
			if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('revisit_sessions') AND attname = 'absorbed' AND NOT attisdropped)`).Scan(&older); err != nil {
				return err
			}
			if older {
				return ErrOlderTable
			}
			_, err := tx.Exec(ctx, schema)
			return err
		})
	})
	if err != nil {
		return fmt.Errorf("pgstore: migrate: %w", explain(err))
	}
	return nil
}

// Options are the options of a Store. The zero value is a good default.
type Options struct {
	// SweepEvery is how often expired rows are deleted, a thousand at a time.
	// Several nodes may do so at once. Default a minute, for 0; below 0 never.
	SweepEvery time.Duration
}

// A Store implements revisit.Store, Batcher, Lister and Indexer.
type Store struct {
	pool *pgxpool.Pool
	mode []any // what a statement is to be executed with, if not as the pool has it
	stop func()
}

var (
	_ revisit.Batcher = (*Store)(nil)
	_ revisit.Lister  = (*Store)(nil)
	_ revisit.Indexer = (*Store)(nil)
)

// New returns a store that uses the pool, which stays the caller's to close. Its
// Close ends the goroutine that deletes expired rows.
func New(pool *pgxpool.Pool, options Options) *Store {
	s := &Store{pool: pool}
	if pool.Config().ConnConfig.DefaultQueryExecMode == pgx.QueryExecModeDescribeExec {
		// It prepares in one round trip and executes in another. A pooler in between may
		// send the second to another connection, where another statement has been prepared.
		s.mode = []any{pgx.QueryExecModeExec}
	}
	s.stop = sweep.Every(options.SweepEvery, func(ctx context.Context) {
		_, _ = s.Sweep(ctx) // the next one does what this one could not
	})
	return s
}

// Close ends the sweeper.
func (s *Store) Close() error {
	s.stop()
	return nil
}

// Sweep deletes what has expired, a thousand rows a statement, and returns how
// many. Rows that another node is about to delete are left to it.
func (s *Store) Sweep(ctx context.Context) (deleted int64, err error) {
	for {
		n, err := s.exec(ctx, `DELETE FROM revisit_sessions WHERE id IN (
			SELECT id FROM revisit_sessions WHERE expires <= now() LIMIT 1000 FOR UPDATE SKIP LOCKED)`)
		if err != nil {
			return deleted, fmt.Errorf("pgstore: sweep: %w", explain(err))
		}
		if deleted += n; n < 1000 {
			return deleted, nil
		}
	}
}

// exec executes a statement that changes rows, and returns how many it has changed.
func (s *Store) exec(ctx context.Context, statement string, arguments ...any) (changed int64, err error) {
	arguments = append(s.mode[:len(s.mode):len(s.mode)], arguments...)
	err = try(ctx, func() error {
		tag, err := s.pool.Exec(ctx, statement, arguments...)
		changed = tag.RowsAffected()
		return err
	})
	return changed, err
}

// tries is how often a statement is tried that others get in the way of.
const tries = 8

// try calls f until it has not been rolled back because of others, tries times at most, and
// as long as ctx lasts. f must be a single transaction.
func try(ctx context.Context, f func() error) error {
	for i := 1; ; i++ {
		err := f()
		if !inTheWay(err) || i == tries {
			return err
		}
		timer := time.NewTimer(rand.N(time.Millisecond << i))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		}
	}
}

func code(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	return ""
}

// inTheWay reports whether a transaction was rolled back because of others that are at work
// at the same time. Nothing of it has happened.
// https://www.postgresql.org/docs/current/errcodes-appendix.html
func inTheWay(err error) bool {
	switch code(err) {
	case "40001", // serialization_failure
		"40P01", // deadlock_detected
		"55P03": // lock_not_available: with a lock_timeout of the database
		return true
	}
	return false
}

// explain says what an error of PostgreSQL means here, where that is not plain.
func explain(err error) error {
	switch code(err) {
	case "25006": // read_only_sql_transaction
		return fmt.Errorf("this server is a read-only replica; connect to the primary, with target_session_attrs=read-write: %w", err)
	case "26000", "42P05": // invalid_sql_statement_name, duplicate_prepared_statement
		return fmt.Errorf("behind a pooler in transaction mode, set default_query_exec_mode=exec: %w", err)
	}
	return err
}

// unsaved is the error of a change that was not saved.
func unsaved(err error) error {
	if inTheWay(err) {
		return fmt.Errorf("pgstore: %w: %w", revisit.ErrConflict, err)
	}
	return fmt.Errorf("pgstore: %w", explain(err))
}

// columns are those that a record is read from and written to, in this order. The
// others of the table are generated from them.
const columns = `id, version, created, last_seen, last_hit, visit_start, expires, confirmed, forgotten, visits, hits, via,
	touches, "values", merged_into, merged_sessions, links_used, conflicting_cookies, probable_match`

// selected are the columns as they are read. Times come as milliseconds: the modes of pgx
// that read text would depend on the DateStyle of the database.
const selected = `id, version, (extract(epoch FROM created) * 1000)::bigint, (extract(epoch FROM last_seen) * 1000)::bigint,
	(extract(epoch FROM last_hit) * 1000)::bigint, (extract(epoch FROM visit_start) * 1000)::bigint, (extract(epoch FROM expires) * 1000)::bigint,
	confirmed, forgotten, visits, hits, via, touches, "values", merged_into, merged_sessions, links_used, conflicting_cookies, probable_match`

const (
	load = `SELECT ` + selected + ` FROM revisit_sessions WHERE id = $1 AND expires > now()`

	create = `INSERT INTO revisit_sessions AS s (` + columns + `)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
		ON CONFLICT (id) DO UPDATE SET ` + fromExcluded + ` WHERE s.expires <= now()`

	change = `UPDATE revisit_sessions SET version = $2, created = $3, last_seen = $4, last_hit = $5, visit_start = $6, expires = $7,
		confirmed = $8, forgotten = $9, visits = $10, hits = $11, via = $12, touches = $13, "values" = $14, merged_into = $15,
		merged_sessions = $16, links_used = $17, conflicting_cookies = $18, probable_match = $19
		WHERE id = $1 AND version = $20 AND expires > now()`

	fromExcluded = `version = excluded.version, created = excluded.created, last_seen = excluded.last_seen, last_hit = excluded.last_hit,
		visit_start = excluded.visit_start, expires = excluded.expires, confirmed = excluded.confirmed, forgotten = excluded.forgotten,
		visits = excluded.visits, hits = excluded.hits, via = excluded.via, touches = excluded.touches, "values" = excluded."values",
		merged_into = excluded.merged_into, merged_sessions = excluded.merged_sessions, links_used = excluded.links_used, conflicting_cookies = excluded.conflicting_cookies, probable_match = excluded.probable_match`

	// A batch comes as one array a column.
	batch = `unnest($1::uuid[], $2::bigint[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[], $6::timestamptz[], $7::timestamptz[],
		$8::boolean[], $9::boolean[], $10::bigint[], $11::bigint[], $12::text[], $13::jsonb[], $14::jsonb[], $15::uuid[], $16::jsonb[],
		$17::integer[], $18::jsonb[], $19::uuid[]`

	// The batch is in order, so that two of them cannot wait for each other's new rows.
	createAll = `INSERT INTO revisit_sessions AS s (` + columns + `)
		SELECT * FROM ` + batch + `) AS b (` + columns + `) ORDER BY id
		ON CONFLICT (id) DO UPDATE SET ` + fromExcluded + ` WHERE s.expires <= now()
		RETURNING s.id`

	// Nor does it wait long for what somebody else holds: all the others would wait with it.
	lockTimeout = `SET LOCAL lock_timeout = '50ms'`

	// A tombstone is on the disk when Save returns, also where synchronous_commit is off for
	// the rest: what was forgotten does not come back with a crash.
	durable = `SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'`

	// A row that somebody else holds is left out at once, and counts as a conflict: it is tried
	// again by itself.
	changeAll = `WITH free AS MATERIALIZED (
			SELECT id FROM revisit_sessions WHERE id = ANY($1::uuid[]) FOR NO KEY UPDATE SKIP LOCKED)
		UPDATE revisit_sessions s SET version = b.version, created = b.created, last_seen = b.last_seen, last_hit = b.last_hit,
		visit_start = b.visit_start, expires = b.expires, confirmed = b.confirmed, forgotten = b.forgotten, visits = b.visits, hits = b.hits,
		via = b.via, touches = b.touches, "values" = b."values", merged_into = b.merged_into, merged_sessions = b.merged_sessions, links_used = b.links_used,
		conflicting_cookies = b.conflicting_cookies, probable_match = b.probable_match
		FROM ` + batch + `, $20::bigint[]) AS b (` + columns + `, old) JOIN free USING (id)
		WHERE s.id = b.id AND s.version = b.old AND s.expires > now()
		RETURNING s.id`
)

// A row is a record as it is written: each argument is of a type that all query exec
// modes of pgx write down alike. So IDs and JSON are texts; a []byte would become bytea.
type row struct {
	id                                                  string
	version                                             int64
	created                                             time.Time
	lastSeen, lastHit, visitStart                       *time.Time
	expires                                             time.Time
	confirmed, forgotten                                bool
	visits, hits                                        int64
	via                                                 string
	touches, values, mergedSessions, conflictingCookies *string // JSON
	mergedInto, probableMatch                           *string
	linksUsed                                           int32
}

func (w *row) arguments() []any {
	return []any{w.id, w.version, w.created, w.lastSeen, w.lastHit, w.visitStart, w.expires, w.confirmed, w.forgotten, w.visits, w.hits, w.via,
		w.touches, w.values, w.mergedInto, w.mergedSessions, w.linksUsed, w.conflictingCookies, w.probableMatch}
}

func toRow(r *revisit.Record) (row, error) {
	w := row{
		id: r.ID.String(), version: r.Version, created: r.Created, lastSeen: orNil(r.LastSeen), lastHit: orNil(r.LastHit), visitStart: orNil(r.VisitStart),
		expires: r.Expires, confirmed: r.Confirmed, forgotten: r.Forgotten, visits: r.Visits, hits: r.Hits, via: r.Via,
		mergedInto: idOrNil(r.MergedInto), probableMatch: idOrNil(r.ProbableMatch), linksUsed: int32(r.LinksUsed),
	}
	if strings.ContainsRune(r.Via, 0) { // in the simple protocol it would end the statement
		return w, errors.New("a zero byte in Via")
	}
	var errs [4]error
	if len(r.Touches) > 0 {
		w.touches, errs[0] = toJSON(r.Touches)
	}
	if len(r.Values) > 0 {
		w.values, errs[1] = toJSON(r.Values)
	}
	if len(r.MergedSessions) > 0 {
		w.mergedSessions, errs[2] = toJSON(r.MergedSessions)
	}
	if len(r.ConflictingCookies) > 0 {
		w.conflictingCookies, errs[3] = toJSON(r.ConflictingCookies)
	}
	return w, errors.Join(errs[:]...)
}

func toJSON(v any) (*string, error) {
	text, err := json.Marshal(v)
	s := string(text)
	return &s, err
}

// scan reads what was selected.
func scan(from pgx.Row) (revisit.Record, error) {
	var r revisit.Record
	var id [16]byte
	var created, expires int64
	var lastSeen, lastHit, visitStart *int64
	var touches, values, mergedSessions, conflictingCookies []byte
	var mergedInto, probableMatch *[16]byte
	if err := from.Scan(&id, &r.Version, &created, &lastSeen, &lastHit, &visitStart, &expires, &r.Confirmed, &r.Forgotten, &r.Visits, &r.Hits, &r.Via,
		&touches, &values, &mergedInto, &mergedSessions, &r.LinksUsed, &conflictingCookies, &probableMatch); err != nil {
		return revisit.Record{}, err
	}
	r.ID, r.Created, r.Expires = id, time.UnixMilli(created).UTC(), time.UnixMilli(expires).UTC()
	r.LastSeen, r.LastHit, r.VisitStart = orZero(lastSeen), orZero(lastHit), orZero(visitStart)
	if mergedInto != nil {
		r.MergedInto = *mergedInto
	}
	if probableMatch != nil {
		r.ProbableMatch = *probableMatch
	}
	var errs []error
	for _, f := range []struct {
		text   []byte
		target any
	}{{touches, &r.Touches}, {values, &r.Values}, {mergedSessions, &r.MergedSessions}, {conflictingCookies, &r.ConflictingCookies}} {
		if f.text != nil {
			errs = append(errs, json.Unmarshal(f.text, f.target))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return revisit.Record{}, fmt.Errorf("the row of %v: %w", r.ID, err)
	}
	return r, nil
}

func orNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func orZero(milli *int64) time.Time {
	if milli == nil {
		return time.Time{}
	}
	return time.UnixMilli(*milli).UTC()
}

func idOrNil(id revisit.ID) *string {
	if id.IsZero() {
		return nil
	}
	s := id.String()
	return &s
}

// Load implements revisit.Store.
func (s *Store) Load(ctx context.Context, id revisit.ID) (r revisit.Record, err error) {
	arguments := append(s.mode[:len(s.mode):len(s.mode)], id.String())
	err = try(ctx, func() (err error) {
		r, err = scan(s.pool.QueryRow(ctx, load, arguments...))
		return err
	})
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return revisit.Record{}, revisit.ErrNotFound
	case err != nil:
		return revisit.Record{}, fmt.Errorf("pgstore: %w", explain(err))
	}
	return r, nil
}

// Save implements revisit.Store.
func (s *Store) Save(ctx context.Context, r revisit.Record, old int64) error {
	w, err := toRow(&r)
	if err != nil {
		return fmt.Errorf("pgstore: %w", err)
	}
	statement, arguments := create, w.arguments()
	if old != 0 {
		statement, arguments = change, append(arguments, old)
	}
	var n int64
	if r.Forgotten {
		err = try(ctx, func() error {
			n = 0
			return s.transact(ctx, durable, statement+` RETURNING id`, arguments, func([16]byte) { n++ })
		})
	} else {
		n, err = s.exec(ctx, statement, arguments...)
	}
	switch {
	case err != nil:
		return unsaved(err)
	case n == 0:
		return revisit.ErrConflict
	}
	return nil
}

// LoadAll implements revisit.Batcher.
func (s *Store) LoadAll(ctx context.Context, ids []revisit.ID) ([]revisit.Record, error) {
	all := make([]string, len(ids))
	for i, id := range ids {
		all[i] = id.String()
	}
	return s.query(ctx, `SELECT `+selected+` FROM revisit_sessions WHERE id = ANY($1::uuid[]) AND expires > now()`, all)
}

func (s *Store) query(ctx context.Context, statement string, argument any) (records []revisit.Record, err error) {
	arguments := append(s.mode[:len(s.mode):len(s.mode)], argument)
	err = try(ctx, func() error {
		rows, err := s.pool.Query(ctx, statement, arguments...)
		if err == nil {
			records, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (revisit.Record, error) { return scan(row) })
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("pgstore: %w", explain(err))
	}
	return records, nil
}

// SaveAll implements revisit.Batcher: one statement for the changes, one for the
// new ones, and one for each tombstone. It waits for no row that another transaction holds: the change of that one is
// revisit.ErrConflict, and is to be tried again.
func (s *Store) SaveAll(ctx context.Context, changes []revisit.Change) []error {
	errs := make([]error, len(changes))
	var created, changed []int
	rows := make([]row, len(changes))
	for i := range changes {
		var err error
		if rows[i], err = toRow(&changes[i].Record); err != nil {
			errs[i] = fmt.Errorf("pgstore: %w", err)
			continue
		}
		if changes[i].Record.Forgotten {
			errs[i] = s.Save(ctx, changes[i].Record, changes[i].Old)
		} else if changes[i].Old == 0 {
			created = append(created, i)
		} else {
			changed = append(changed, i)
		}
	}
	s.saveAll(ctx, createAll, changes, rows, created, errs)
	s.saveAll(ctx, changeAll, changes, rows, changed, errs)
	return errs
}

// saveAll saves those changes of a batch that which lists. If one of them is at fault, the
// batch is halved until that one is alone.
func (s *Store) saveAll(ctx context.Context, statement string, changes []revisit.Change, rows []row, which []int, errs []error) {
	if len(which) == 0 {
		return
	}
	var c columnsOf
	at := make(map[[16]byte]int, len(which))
	for _, i := range which {
		c.add(&rows[i], changes[i].Old)
		at[changes[i].Record.ID] = i
		errs[i] = revisit.ErrConflict
	}
	arguments := c.arguments()
	if statement == createAll {
		arguments = arguments[:len(arguments)-1]
	}
	err := s.transact(ctx, lockTimeout, statement, arguments, func(id [16]byte) { errs[at[id]] = nil })
	switch {
	case err == nil:
	case len(which) > 1 && (inTheWay(err) || isOfData(err)) && ctx.Err() == nil:
		half := len(which) / 2
		s.saveAll(ctx, statement, changes, rows, which[:half], errs)
		s.saveAll(ctx, statement, changes, rows, which[half:], errs)
	default:
		for _, i := range which {
			errs[i] = unsaved(err)
		}
	}
}

// isOfData reports whether a statement was refused because of the data of one of its rows.
func isOfData(err error) bool {
	c := code(err)
	return strings.HasPrefix(c, "22") || strings.HasPrefix(c, "23") // data exception, integrity constraint violation
}

// transact executes a statement that returns IDs, in one round trip, after another one. Their transaction is at
// READ COMMITTED, whatever the database's default: at a higher level one row that somebody
// else has changed meanwhile would be an error for all.
func (s *Store) transact(ctx context.Context, before, statement string, arguments []any, each func(id [16]byte)) error {
	var b pgx.Batch
	b.Queue(`BEGIN ISOLATION LEVEL READ COMMITTED`)
	b.Queue(before)
	b.Queue(statement, arguments...).Query(func(rows pgx.Rows) error {
		var id [16]byte
		_, err := pgx.ForEachRow(rows, []any{&id}, func() error {
			each(id)
			return nil
		})
		return err
	})
	b.Queue(`COMMIT`)
	return s.pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
		err := conn.SendBatch(ctx, &b).Close()
		if err != nil && !conn.Conn().IsClosed() {
			// The transaction is still open, and the pool would throw the connection away.
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			_, _ = conn.Exec(end, `ROLLBACK`)
		}
		return err
	})
}

// columnsOf are rows by column.
type columnsOf struct {
	id                                                  []string
	version                                             []int64
	created, expires                                    []time.Time
	lastSeen, lastHit, visitStart                       []*time.Time
	confirmed, forgotten                                []bool
	visits, hits                                        []int64
	via                                                 []string
	touches, values, mergedSessions, conflictingCookies []*string
	mergedInto, probableMatch                           []*string
	linksUsed                                           []int32
	old                                                 []int64
}

func (c *columnsOf) add(w *row, old int64) {
	c.id, c.version, c.created, c.lastSeen = append(c.id, w.id), append(c.version, w.version), append(c.created, w.created), append(c.lastSeen, w.lastSeen)
	c.lastHit, c.visitStart, c.expires = append(c.lastHit, w.lastHit), append(c.visitStart, w.visitStart), append(c.expires, w.expires)
	c.confirmed, c.forgotten = append(c.confirmed, w.confirmed), append(c.forgotten, w.forgotten)
	c.visits, c.hits, c.via = append(c.visits, w.visits), append(c.hits, w.hits), append(c.via, w.via)
	c.touches, c.values = append(c.touches, w.touches), append(c.values, w.values)
	c.mergedInto, c.mergedSessions = append(c.mergedInto, w.mergedInto), append(c.mergedSessions, w.mergedSessions)
	c.linksUsed, c.conflictingCookies, c.probableMatch = append(c.linksUsed, w.linksUsed), append(c.conflictingCookies, w.conflictingCookies), append(c.probableMatch, w.probableMatch)
	c.old = append(c.old, old)
}

func (c *columnsOf) arguments() []any {
	return []any{c.id, c.version, c.created, c.lastSeen, c.lastHit, c.visitStart, c.expires, c.confirmed, c.forgotten, c.visits, c.hits, c.via,
		c.touches, c.values, c.mergedInto, c.mergedSessions, c.linksUsed, c.conflictingCookies, c.probableMatch, c.old}
}

// Sessions implements revisit.Lister: a thousand rows at a time, by ID.
func (s *Store) Sessions(ctx context.Context) iter.Seq2[revisit.Record, error] {
	return func(yield func(revisit.Record, error) bool) {
		var last revisit.ID
		for {
			page, err := s.query(ctx, `SELECT `+selected+` FROM revisit_sessions
				WHERE id > $1 AND merged_into IS NULL AND NOT forgotten AND expires > now() ORDER BY id LIMIT 1000`, last.String())
			if err != nil {
				yield(revisit.Record{}, err)
				return
			}
			for _, r := range page {
				if r.IsSession() && !yield(r, nil) {
					return
				}
				last = r.ID
			}
			if len(page) < 1000 {
				return
			}
		}
	}
}

// Aliases implements revisit.Indexer.
func (s *Store) Aliases(ctx context.Context, root revisit.ID) ([]revisit.ID, error) {
	arguments := append(s.mode[:len(s.mode):len(s.mode)], root.String())
	var ids []revisit.ID
	err := try(ctx, func() error {
		rows, err := s.pool.Query(ctx, `SELECT id FROM revisit_sessions WHERE merged_into = $1 AND expires > now()`, arguments...)
		if err == nil {
			ids, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (revisit.ID, error) {
				var id [16]byte
				err := row.Scan(&id)
				return id, err
			})
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("pgstore: %w", explain(err))
	}
	// What is kept of fingerprints leads to sessions as well.
	return slices.DeleteFunc(ids, func(id revisit.ID) bool { return !(&revisit.Record{ID: id}).IsSession() }), nil
}
