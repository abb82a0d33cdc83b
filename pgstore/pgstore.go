// Package pgstore keeps sessions in PostgreSQL 12 or later, one row each, with
// columns that a marketer's SQL can use.
//
//	pool, err := pgxpool.New(ctx, "postgres://localhost/shop")
//	err = pgstore.Migrate(ctx, pool)          // once, at each start
//	store := pgstore.New(pool, pgstore.Options{})
//	defer store.Close()
//	tracker, err := revisit.New(revisit.Config{Store: store, FlushEvery: 10 * time.Second, ...})
//
// Each Load and each Save is one statement, in one round trip. Texts with a zero
// byte, which jsonb cannot hold, are an error.
package pgstore

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/revisit-go/revisit"
	"github.com/revisit-go/revisit/internal/sweep"
)

//go:embed schema.sql
var schema string

// Schema returns the statements that Migrate executes, for those who run their
// migrations themselves.
func Schema() string { return schema }

// Migrate creates the table and its indexes, or changes them to what this version
// needs. It may be called at every start, and by several nodes at once.
func Migrate(ctx context.Context, pool *pgxpool.Pool) error {
	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		// CREATE ... IF NOT EXISTS of two nodes at once can fail.
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtext('revisit_sessions'))`); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, schema)
		return err
	})
	if err != nil {
		return fmt.Errorf("pgstore: migrate: %w", err)
	}
	return nil
}

// Options are the options of a Store. The zero value is a good default.
type Options struct {
	// SweepEvery is how often expired rows are deleted, a thousand at a time.
	// Several nodes may do so at once. Default a minute, for 0; below 0 never.
	SweepEvery time.Duration
}

// A Store implements revisit.Store, Batcher and Lister.
type Store struct {
	pool *pgxpool.Pool
	stop func()
}

var (
	_ revisit.Batcher = (*Store)(nil)
	_ revisit.Lister  = (*Store)(nil)
)

// New returns a store that uses the pool, which stays the caller's to close. Its
// Close ends the goroutine that deletes expired rows.
func New(pool *pgxpool.Pool, options Options) *Store {
	s := &Store{pool: pool}
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
// many. Rows that somebody else is about to delete are left to him.
func (s *Store) Sweep(ctx context.Context) (deleted int64, err error) {
	for {
		tag, err := s.pool.Exec(ctx, `DELETE FROM revisit_sessions WHERE id IN (
			SELECT id FROM revisit_sessions WHERE expires <= now() LIMIT 1000 FOR UPDATE SKIP LOCKED)`)
		if err != nil {
			return deleted, fmt.Errorf("pgstore: sweep: %w", err)
		}
		deleted += tag.RowsAffected()
		if tag.RowsAffected() < 1000 {
			return deleted, nil
		}
	}
}

// columns are those that a record is read from and written to, in this order. The
// others of the table are generated from them.
const columns = `id, version, created, last_seen, last_hit, visit_start, expires, confirmed, forgotten, visits, hits, via,
	touches, "values", merged_into, absorbed, joins, rivals, likely`

const (
	load = `SELECT ` + columns + ` FROM revisit_sessions WHERE id = $1 AND expires > now()`

	create = `INSERT INTO revisit_sessions AS s (` + columns + `)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
		ON CONFLICT (id) DO UPDATE SET ` + fromExcluded + ` WHERE s.expires <= now()`

	change = `UPDATE revisit_sessions SET version = $2, created = $3, last_seen = $4, last_hit = $5, visit_start = $6, expires = $7,
		confirmed = $8, forgotten = $9, visits = $10, hits = $11, via = $12, touches = $13, "values" = $14, merged_into = $15,
		absorbed = $16, joins = $17, rivals = $18, likely = $19
		WHERE id = $1 AND version = $20 AND expires > now()`

	fromExcluded = `version = excluded.version, created = excluded.created, last_seen = excluded.last_seen, last_hit = excluded.last_hit,
		visit_start = excluded.visit_start, expires = excluded.expires, confirmed = excluded.confirmed, forgotten = excluded.forgotten,
		visits = excluded.visits, hits = excluded.hits, via = excluded.via, touches = excluded.touches, "values" = excluded."values",
		merged_into = excluded.merged_into, absorbed = excluded.absorbed, joins = excluded.joins, rivals = excluded.rivals, likely = excluded.likely`

	// A batch comes as one array a column.
	batch = `unnest($1::uuid[], $2::bigint[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[], $6::timestamptz[], $7::timestamptz[],
		$8::boolean[], $9::boolean[], $10::bigint[], $11::bigint[], $12::text[], $13::jsonb[], $14::jsonb[], $15::uuid[], $16::jsonb[],
		$17::integer[], $18::jsonb[], $19::uuid[]`

	createAll = `INSERT INTO revisit_sessions AS s (` + columns + `)
		SELECT * FROM ` + batch + `) AS b (` + columns + `) ORDER BY id
		ON CONFLICT (id) DO UPDATE SET ` + fromExcluded + ` WHERE s.expires <= now()
		RETURNING s.id`

	// The rows are locked in the order of their IDs first, so that two batches cannot
	// wait for each other. Nor do they wait long for a row that somebody else holds:
	// meanwhile they hold up the sessions before it.
	lockTimeout = `SET LOCAL lock_timeout = '50ms'`
	lockAll     = `SELECT FROM revisit_sessions WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE`

	changeAll = `UPDATE revisit_sessions s SET version = b.version, created = b.created, last_seen = b.last_seen, last_hit = b.last_hit,
		visit_start = b.visit_start, expires = b.expires, confirmed = b.confirmed, forgotten = b.forgotten, visits = b.visits, hits = b.hits,
		via = b.via, touches = b.touches, "values" = b."values", merged_into = b.merged_into, absorbed = b.absorbed, joins = b.joins,
		rivals = b.rivals, likely = b.likely
		FROM ` + batch + `, $20::bigint[]) AS b (` + columns + `, old)
		WHERE s.id = b.id AND s.version = b.old AND s.expires > now()
		RETURNING s.id`
)

// A row is a record as the columns have it.
type row struct {
	id                                [16]byte
	version                           int64
	created                           time.Time
	lastSeen, lastHit, visitStart     *time.Time
	expires                           time.Time
	confirmed, forgotten              bool
	visits, hits                      int64
	via                               string
	touches, values, absorbed, rivals []byte // JSON; nil for none
	mergedInto, likely                *[16]byte
	joins                             int32
}

func (w *row) arguments() []any {
	return []any{w.id, w.version, w.created, w.lastSeen, w.lastHit, w.visitStart, w.expires, w.confirmed, w.forgotten, w.visits, w.hits, w.via,
		w.touches, w.values, w.mergedInto, w.absorbed, w.joins, w.rivals, w.likely}
}

func (w *row) targets() []any {
	return []any{&w.id, &w.version, &w.created, &w.lastSeen, &w.lastHit, &w.visitStart, &w.expires, &w.confirmed, &w.forgotten, &w.visits, &w.hits, &w.via,
		&w.touches, &w.values, &w.mergedInto, &w.absorbed, &w.joins, &w.rivals, &w.likely}
}

func toRow(r *revisit.Record) (row, error) {
	w := row{
		id: r.ID, version: r.Version, created: r.Created, lastSeen: orNil(r.LastSeen), lastHit: orNil(r.LastHit), visitStart: orNil(r.VisitStart),
		expires: r.Expires, confirmed: r.Confirmed, forgotten: r.Forgotten, visits: r.Visits, hits: r.Hits, via: r.Via,
		mergedInto: idOrNil(r.MergedInto), likely: idOrNil(r.Likely), joins: int32(r.Joins),
	}
	var errs [4]error
	if len(r.Touches) > 0 {
		w.touches, errs[0] = json.Marshal(r.Touches)
	}
	if len(r.Values) > 0 {
		w.values, errs[1] = json.Marshal(r.Values)
	}
	if len(r.Absorbed) > 0 {
		w.absorbed, errs[2] = json.Marshal(r.Absorbed)
	}
	if len(r.Rivals) > 0 {
		w.rivals, errs[3] = json.Marshal(r.Rivals)
	}
	return w, errors.Join(errs[:]...)
}

func (w *row) record() (revisit.Record, error) {
	r := revisit.Record{
		ID: w.id, Version: w.version, Created: w.created.UTC(), LastSeen: orZero(w.lastSeen), LastHit: orZero(w.lastHit), VisitStart: orZero(w.visitStart),
		Expires: w.expires.UTC(), Confirmed: w.confirmed, Forgotten: w.forgotten, Visits: w.visits, Hits: w.hits, Via: w.via, Joins: int(w.joins),
	}
	if w.mergedInto != nil {
		r.MergedInto = *w.mergedInto
	}
	if w.likely != nil {
		r.Likely = *w.likely
	}
	var errs []error
	for _, f := range []struct {
		text   []byte
		target any
	}{{w.touches, &r.Touches}, {w.values, &r.Values}, {w.absorbed, &r.Absorbed}, {w.rivals, &r.Rivals}} {
		if f.text != nil {
			errs = append(errs, json.Unmarshal(f.text, f.target))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return revisit.Record{}, fmt.Errorf("pgstore: the row of %v: %w", r.ID, err)
	}
	return r, nil
}

func orNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func orZero(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}

func idOrNil(id revisit.ID) *[16]byte {
	if id.IsZero() {
		return nil
	}
	return (*[16]byte)(&id)
}

// Load implements revisit.Store.
func (s *Store) Load(ctx context.Context, id revisit.ID) (revisit.Record, error) {
	var w row
	switch err := s.pool.QueryRow(ctx, load, [16]byte(id)).Scan(w.targets()...); {
	case errors.Is(err, pgx.ErrNoRows):
		return revisit.Record{}, revisit.ErrNotFound
	case err != nil:
		return revisit.Record{}, fmt.Errorf("pgstore: %w", err)
	}
	return w.record()
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
	tag, err := s.pool.Exec(ctx, statement, arguments...)
	switch {
	case err != nil:
		return fmt.Errorf("pgstore: %w", err)
	case tag.RowsAffected() == 0:
		return revisit.ErrConflict
	}
	return nil
}

// LoadAll implements revisit.Batcher.
func (s *Store) LoadAll(ctx context.Context, ids []revisit.ID) ([]revisit.Record, error) {
	all := make([][16]byte, len(ids))
	for i, id := range ids {
		all[i] = id
	}
	return s.query(ctx, `SELECT `+columns+` FROM revisit_sessions WHERE id = ANY($1::uuid[]) AND expires > now()`, all)
}

func (s *Store) query(ctx context.Context, statement string, arguments ...any) ([]revisit.Record, error) {
	rows, err := s.pool.Query(ctx, statement, arguments...)
	if err != nil {
		return nil, fmt.Errorf("pgstore: %w", err)
	}
	records, err := pgx.CollectRows(rows, func(rows pgx.CollectableRow) (revisit.Record, error) {
		var w row
		if err := rows.Scan(w.targets()...); err != nil {
			return revisit.Record{}, err
		}
		return w.record()
	})
	if err != nil {
		return nil, fmt.Errorf("pgstore: %w", err)
	}
	return records, nil
}

// SaveAll implements revisit.Batcher: one statement for the changes, one for the
// new ones.
func (s *Store) SaveAll(ctx context.Context, changes []revisit.Change) []error {
	errs := make([]error, len(changes))
	var created, changed []int
	rows := make([]row, len(changes))
	for i := range changes {
		if rows[i], errs[i] = toRow(&changes[i].Record); errs[i] != nil {
			continue
		}
		if changes[i].Old == 0 {
			created = append(created, i)
		} else {
			changed = append(changed, i)
		}
	}
	s.saveAll(ctx, createAll, changes, rows, created, errs)
	s.saveAll(ctx, changeAll, changes, rows, changed, errs)
	return errs
}

func (s *Store) saveAll(ctx context.Context, statement string, changes []revisit.Change, all []row, which []int, errs []error) {
	if len(which) == 0 {
		return
	}
	var c columnsOf
	at := make(map[[16]byte]int, len(which))
	for _, i := range which {
		c.add(&all[i], changes[i].Old)
		at[all[i].id] = i
		errs[i] = revisit.ErrConflict
	}
	// One transaction, in one round trip.
	mark := func(rows pgx.Rows) error {
		var id [16]byte
		_, err := pgx.ForEachRow(rows, []any{&id}, func() error {
			errs[at[id]] = nil
			return nil
		})
		return err
	}
	var b pgx.Batch
	if arguments := c.arguments(); statement == createAll {
		b.Queue(createAll, arguments[:len(arguments)-1]...).Query(mark)
	} else {
		b.Queue(`BEGIN`)
		b.Queue(lockTimeout)
		b.Queue(lockAll, c.id)
		b.Queue(changeAll, arguments...).Query(mark)
		b.Queue(`COMMIT`)
	}
	err := s.pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
		err := conn.SendBatch(ctx, &b).Close()
		if err != nil && !conn.Conn().IsClosed() {
			// The transaction is still open, and the pool would throw the connection away.
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			_, _ = conn.Exec(end, `ROLLBACK`)
		}
		return err
	})
	if err != nil {
		for _, i := range which {
			errs[i] = fmt.Errorf("pgstore: %w", err)
		}
	}
}

// columnsOf are rows by column.
type columnsOf struct {
	id                                []*[16]byte
	version                           []int64
	created, expires                  []time.Time
	lastSeen, lastHit, visitStart     []*time.Time
	confirmed, forgotten              []bool
	visits, hits                      []int64
	via                               []string
	touches, values, absorbed, rivals []*string
	mergedInto, likely                []*[16]byte
	joins                             []int32
	old                               []int64
}

func (c *columnsOf) add(w *row, old int64) {
	c.id, c.version, c.created, c.lastSeen = append(c.id, &w.id), append(c.version, w.version), append(c.created, w.created), append(c.lastSeen, w.lastSeen)
	c.lastHit, c.visitStart, c.expires = append(c.lastHit, w.lastHit), append(c.visitStart, w.visitStart), append(c.expires, w.expires)
	c.confirmed, c.forgotten = append(c.confirmed, w.confirmed), append(c.forgotten, w.forgotten)
	c.visits, c.hits, c.via = append(c.visits, w.visits), append(c.hits, w.hits), append(c.via, w.via)
	c.touches, c.values = append(c.touches, text(w.touches)), append(c.values, text(w.values))
	c.mergedInto, c.absorbed = append(c.mergedInto, w.mergedInto), append(c.absorbed, text(w.absorbed))
	c.joins, c.rivals, c.likely = append(c.joins, w.joins), append(c.rivals, text(w.rivals)), append(c.likely, w.likely)
	c.old = append(c.old, old)
}

func (c *columnsOf) arguments() []any {
	return []any{c.id, c.version, c.created, c.lastSeen, c.lastHit, c.visitStart, c.expires, c.confirmed, c.forgotten, c.visits, c.hits, c.via,
		c.touches, c.values, c.mergedInto, c.absorbed, c.joins, c.rivals, c.likely, c.old}
}

func text(b []byte) *string {
	if b == nil {
		return nil
	}
	s := string(b)
	return &s
}

// Sessions implements revisit.Lister: a thousand rows at a time, by ID.
func (s *Store) Sessions(ctx context.Context) iter.Seq2[revisit.Record, error] {
	return func(yield func(revisit.Record, error) bool) {
		var last [16]byte
		for {
			page, err := s.query(ctx, `SELECT `+columns+` FROM revisit_sessions
				WHERE id > $1 AND merged_into IS NULL AND NOT forgotten AND expires > now() ORDER BY id LIMIT 1000`, last)
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
