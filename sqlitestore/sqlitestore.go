// Package sqlitestore keeps sessions in an SQLite file, for one process on one
// machine. It needs no server and no C compiler (modernc.org/sqlite).
//
//	store, err := sqlitestore.Open("revisit.db", sqlitestore.Options{})
//	defer store.Close()
//	tracker, err := revisit.New(revisit.Config{Store: store, ...})
//
// The file is in WAL mode with synchronous=NORMAL. Saved sessions survive the end of
// the process, kill -9 included. A power cut may lose the last moments, but no
// tombstone: a forgotten session stays forgotten.
package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"os"
	"runtime"
	"strings"
	"time"

	"modernc.org/sqlite"

	"github.com/revisit-go/revisit"
	"github.com/revisit-go/revisit/internal/encoding"
	"github.com/revisit-go/revisit/internal/sweep"
)

// Options are the options of a Store. The zero value is a good default.
type Options struct {
	// SweepEvery is how often expired rows are deleted, a thousand at a time.
	// Default a minute, for 0; below 0 never.
	SweepEvery time.Duration
}

// A Store implements revisit.Store, Batcher, Lister and Indexer.
type Store struct {
	writer *sql.DB // one connection: SQLite has one writer
	reader *sql.DB
	stop   func()

	load, create, change *sql.Stmt
}

var (
	_ revisit.Batcher = (*Store)(nil)
	_ revisit.Lister  = (*Store)(nil)
	_ revisit.Indexer = (*Store)(nil)
)

// An alias has the ID of its root as "m". In the text of a string the quotation marks are
// escaped, so looking for that is enough, and spares each write of a plain session the
// reading of its JSON.
const (
	isMerged = `instr(data, '"m":"') > 0`
	root     = `json_extract(data, '$.m')`
)

// schema is narrow: what a write costs is the pages that it changes. The record is
// in JSON, as internal/encoding writes it, so json_extract(data, '$.i') are the
// page views.
const schema = `
CREATE TABLE IF NOT EXISTS sessions (
	id      BLOB PRIMARY KEY,  -- 16 bytes, UUIDv7
	version INTEGER NOT NULL,
	expires INTEGER NOT NULL,  -- Unix milliseconds
	data    TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS sessions_expires ON sessions (expires);
CREATE INDEX IF NOT EXISTS sessions_merged ON sessions (` + root + `) WHERE ` + isMerged + `;
PRAGMA user_version = 1;`

// Open opens the file, and creates it if there is none. Its folder has to be there, to be
// writable, because SQLite makes two more files in it, and to be on a local disk: WAL
// needs a file system with shared memory. If another process holds the lock of the file,
// Open and each write wait for it, five seconds at most.
func Open(path string, options Options) (*Store, error) { return openWith(path, options, "") }

// openWith opens by one of SQLite's ways to the file system, "" for its default.
func openWith(path string, options Options, vfs string) (*Store, error) {
	if path == "" || strings.HasPrefix(path, ":memory:") {
		return nil, errors.New("sqlitestore: a file is needed; in memory use revisit.NewMemoryStore")
	}
	s := &Store{}
	fail := func(err error) (*Store, error) {
		s.close()
		return nil, fmt.Errorf("sqlitestore: %s: %w", path, explain(err))
	}
	// What is known of visitors is not for everybody on the machine. SQLite makes its other
	// files with the rights of this one.
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fail(err)
	}
	if err := file.Close(); err != nil {
		return fail(err)
	}
	if s.writer, err = open(path, "rwc", vfs); err != nil {
		return fail(err)
	}
	s.writer.SetMaxOpenConns(1)
	// Where there is no shared memory SQLite keeps the mode that it had, without an error.
	var mode string
	if err := s.writer.QueryRow(`PRAGMA journal_mode`).Scan(&mode); err != nil {
		return fail(err)
	}
	if mode != "wal" {
		return fail(fmt.Errorf("journal_mode is %s, WAL is needed: %s", mode, noSharedMemory))
	}
	if _, err := s.writer.Exec(schema); err != nil {
		return fail(err)
	}
	if s.reader, err = open(path, "ro", vfs); err != nil {
		return fail(err)
	}
	s.reader.SetMaxOpenConns(max(4, runtime.GOMAXPROCS(0)))
	s.reader.SetMaxIdleConns(max(4, runtime.GOMAXPROCS(0)))
	for _, p := range []struct {
		statement **sql.Stmt
		db        *sql.DB
		text      string
	}{
		{&s.load, s.reader, `SELECT version, data FROM sessions WHERE id = ? AND expires > ?`},
		{&s.create, s.writer, `INSERT INTO sessions (id, version, expires, data) VALUES (?1, ?2, ?3, ?4)
			ON CONFLICT (id) DO UPDATE SET version = ?2, expires = ?3, data = ?4 WHERE expires <= ?5`},
		{&s.change, s.writer, `UPDATE sessions SET version = ?2, expires = ?3, data = ?4 WHERE id = ?1 AND version = ?6 AND expires > ?5`},
	} {
		if *p.statement, err = p.db.Prepare(p.text); err != nil {
			return fail(err)
		}
	}
	s.stop = sweep.Every(options.SweepEvery, func(ctx context.Context) {
		_, _ = s.Sweep(ctx) // the next one does what this one could not
	})
	return s, nil
}

func open(path, mode, vfs string) (*sql.DB, error) {
	query := url.Values{"mode": {mode}, "_txlock": {"immediate"}, "_pragma": {"journal_mode(WAL)", "synchronous(NORMAL)", "busy_timeout(5000)", "temp_store(MEMORY)"}}
	if mode == "ro" {
		query["_pragma"] = []string{"busy_timeout(5000)", "query_only(1)"}
	}
	if vfs != "" {
		query.Set("vfs", vfs)
	}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: query.Encode()}).String())
	if err != nil {
		return nil, err
	}
	return db, db.Ping()
}

// Close ends the sweeper and closes the file.
func (s *Store) Close() error {
	s.stop()
	return s.close()
}

func (s *Store) close() error {
	var errs []error
	for _, db := range []*sql.DB{s.reader, s.writer} { // the last one writes the log back
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}

// Sweep deletes what has expired, a thousand rows a statement, and returns how
// many.
func (s *Store) Sweep(ctx context.Context) (deleted int64, err error) {
	for {
		result, err := s.writer.ExecContext(ctx, `DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE expires <= ? LIMIT 1000)`, now())
		if err != nil {
			return deleted, wrap(err)
		}
		n, err := result.RowsAffected()
		if err != nil {
			return deleted, wrap(err)
		}
		if deleted += n; n < 1000 {
			return deleted, nil
		}
	}
}

func now() int64 { return time.Now().UnixMilli() }

func wrap(err error) error { return fmt.Errorf("sqlitestore: %w", explain(err)) }

const noSharedMemory = "the file system has no shared memory, as those of networks; use a local disk"

// explain says what an error of SQLite means here, where that is not plain.
// https://www.sqlite.org/rescode.html
func explain(err error) error {
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return err
	}
	what := ""
	switch code := e.Code(); code & 0xff {
	case 5: // SQLITE_BUSY
		what = "another process holds the lock of the file, which is for one process"
	case 8: // SQLITE_READONLY
		what = "the file, or the folder of it, is read-only"
	case 14: // SQLITE_CANTOPEN
		what = "the folder of the file has to be there and writable"
	case 10: // SQLITE_IOERR
		if op := code >> 8; op < 18 || op > 21 { // SHMOPEN, SHMSIZE, SHMLOCK, SHMMAP
			return err
		}
		what = noSharedMemory
	default:
		return err
	}
	return fmt.Errorf("%s: %w", what, err)
}

// Load implements revisit.Store.
func (s *Store) Load(ctx context.Context, id revisit.ID) (revisit.Record, error) {
	var version int64
	var data []byte
	switch err := s.load.QueryRowContext(ctx, id[:], now()).Scan(&version, &data); {
	case errors.Is(err, sql.ErrNoRows):
		return revisit.Record{}, revisit.ErrNotFound
	case err != nil:
		return revisit.Record{}, wrap(err)
	}
	r, err := encoding.Decode(data, id, version)
	if err != nil {
		return revisit.Record{}, wrap(err)
	}
	return r, nil
}

// Save implements revisit.Store.
func (s *Store) Save(ctx context.Context, r revisit.Record, old int64) error {
	if r.Forgotten {
		return s.bury(ctx, &r, old)
	}
	return save(ctx, s.create, s.change, &r, old)
}

// bury saves a tombstone, and has it written to the disk before it returns: otherwise a
// power cut could bring back what was forgotten.
func (s *Store) bury(ctx context.Context, r *revisit.Record, old int64) error {
	conn, err := s.writer.Conn(ctx)
	if err != nil {
		return wrap(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, `PRAGMA synchronous = FULL`); err != nil {
		return wrap(err)
	}
	defer func() { _, _ = conn.ExecContext(context.WithoutCancel(ctx), `PRAGMA synchronous = NORMAL`) }()
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return wrap(err)
	}
	defer func() { _ = tx.Rollback() }()
	if err := save(ctx, tx.StmtContext(ctx, s.create), tx.StmtContext(ctx, s.change), r, old); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return wrap(err)
	}
	return nil
}

func save(ctx context.Context, create, change *sql.Stmt, r *revisit.Record, old int64) error {
	data, err := encoding.Encode(r)
	if err != nil {
		return wrap(err)
	}
	statement, arguments := create, []any{r.ID[:], r.Version, r.Expires.UnixMilli(), string(data), now()}
	if old != 0 {
		statement, arguments = change, append(arguments, old)
	}
	result, err := statement.ExecContext(ctx, arguments...)
	if err != nil {
		return wrap(err)
	}
	if n, err := result.RowsAffected(); err != nil {
		return wrap(err)
	} else if n == 0 {
		return revisit.ErrConflict
	}
	return nil
}

// LoadAll implements revisit.Batcher.
func (s *Store) LoadAll(ctx context.Context, ids []revisit.ID) ([]revisit.Record, error) {
	all := make([]revisit.Record, 0, len(ids))
	for _, id := range ids { // without a server a question costs no round trip
		r, err := s.Load(ctx, id)
		if errors.Is(err, revisit.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

// SaveAll implements revisit.Batcher, in one transaction, but for tombstones. If that
// fails, nothing else was saved.
func (s *Store) SaveAll(ctx context.Context, changes []revisit.Change) []error {
	errs := make([]error, len(changes))
	var plain []int
	for i := range changes {
		if changes[i].Record.Forgotten {
			errs[i] = s.Save(ctx, changes[i].Record, changes[i].Old)
		} else {
			plain = append(plain, i)
		}
	}
	if len(plain) == 0 {
		return errs
	}
	fail := func(err error) []error {
		for _, i := range plain {
			errs[i] = err
		}
		return errs
	}
	tx, err := s.writer.BeginTx(ctx, nil)
	if err != nil {
		return fail(wrap(err))
	}
	defer func() { _ = tx.Rollback() }()
	create, change := tx.StmtContext(ctx, s.create), tx.StmtContext(ctx, s.change)
	for _, i := range plain {
		errs[i] = save(ctx, create, change, &changes[i].Record, changes[i].Old)
		if errs[i] != nil && !errors.Is(errs[i], revisit.ErrConflict) {
			return fail(errs[i])
		}
	}
	if err := tx.Commit(); err != nil {
		return fail(wrap(err))
	}
	return errs
}

// Sessions implements revisit.Lister: a thousand rows at a time, by ID.
func (s *Store) Sessions(ctx context.Context) iter.Seq2[revisit.Record, error] {
	return func(yield func(revisit.Record, error) bool) {
		last := []byte{}
		for {
			page, err := s.page(ctx, last)
			if err != nil {
				yield(revisit.Record{}, wrap(err))
				return
			}
			for _, r := range page {
				if r.IsSession() && !yield(r, nil) {
					return
				}
				last = r.ID[:]
			}
			if len(page) < pageLen {
				return
			}
		}
	}
}

const pageLen = 1000

func (s *Store) page(ctx context.Context, after []byte) (page []revisit.Record, err error) {
	rows, err := s.reader.QueryContext(ctx, `SELECT id, version, data FROM sessions WHERE id > ? AND expires > ? ORDER BY id LIMIT ?`, after, now(), pageLen)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id, data []byte
		var version int64
		if err := rows.Scan(&id, &version, &data); err != nil {
			return nil, err
		}
		if len(id) != len(revisit.ID{}) {
			return nil, fmt.Errorf("an ID of %d bytes", len(id))
		}
		r, err := encoding.Decode(data, revisit.ID(id), version)
		if err != nil {
			return nil, err
		}
		page = append(page, r)
	}
	return page, rows.Err()
}

// Aliases implements revisit.Indexer.
func (s *Store) Aliases(ctx context.Context, of revisit.ID) ([]revisit.ID, error) {
	rows, err := s.reader.QueryContext(ctx, aliases, of.String(), now())
	if err != nil {
		return nil, wrap(err)
	}
	defer rows.Close()
	var ids []revisit.ID
	for rows.Next() {
		var id []byte
		if err := rows.Scan(&id); err != nil {
			return nil, wrap(err)
		}
		if len(id) != len(revisit.ID{}) {
			return nil, wrap(fmt.Errorf("an ID of %d bytes", len(id)))
		}
		// What is kept of fingerprints leads to sessions as well.
		if r := (revisit.Record{ID: revisit.ID(id)}); r.IsSession() {
			ids = append(ids, r.ID)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, wrap(err)
	}
	return ids, nil
}

// aliases names the index's condition, which SQLite has to see to use it.
const aliases = `SELECT id FROM sessions WHERE ` + isMerged + ` AND ` + root + ` = ? AND expires > ?`
