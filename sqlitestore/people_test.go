//go:build unix

package sqlitestore

import (
	"context"
	"database/sql"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/revisit-go/revisit"
	"github.com/revisit-go/revisit/internal/enginetest"
)

func newRecord(t testing.TB) revisit.Record {
	t.Helper()
	id, err := revisit.ParseID("01890a5d-ac96-774b-bcce-b302099a8057")
	require.NoError(t, err)
	return revisit.Record{ID: id, Version: 1, Created: id.Time(), Expires: time.UnixMilli(time.Now().UnixMilli()).UTC().Add(time.Hour)}
}

// A file system without shared memory cannot have WAL. (This way to the file system has none, and
// SQLite is silent about it.)
func TestWithoutSharedMemory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	_, err := openWith(path, Options{}, "unix-dotfile")
	require.ErrorContains(t, err, "no shared memory")
	assert.ErrorContains(t, err, path)
	s, err := Open(path, Options{}) // one that is in WAL mode already
	require.NoError(t, err)
	require.NoError(t, s.Save(t.Context(), newRecord(t), 0))
	require.NoError(t, s.Close())
	_, err = openWith(path, Options{}, "unix-dotfile")
	assert.Error(t, err)
	s, err = Open(path, Options{})
	require.NoError(t, err)
	_, err = s.Load(t.Context(), newRecord(t).ID)
	assert.NoError(t, err, "nothing has happened to it")
	require.NoError(t, s.Close())
}

// other is another process, as far as SQLite can tell.
func other(t testing.TB, path string, statements ...string) *sql.Conn {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	c, err := db.Conn(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	for _, s := range statements {
		_, err := c.ExecContext(t.Context(), s)
		require.NoError(t, err, s)
	}
	return c
}

// Another process holds the lock: reading goes on, writing waits as long as the context lasts, page
// views are kept meanwhile, and what cannot wait any longer says why.
func TestAnotherProcessHoldsTheLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	s, err := Open(path, Options{})
	require.NoError(t, err)
	defer s.Close()
	r := newRecord(t)
	require.NoError(t, s.Save(t.Context(), r, 0))
	tool := other(t, path, "BEGIN IMMEDIATE")
	release := func() {
		_, err := tool.ExecContext(context.Background(), "COMMIT")
		assert.NoError(t, err)
	}
	next, gone := r, r
	next.Version, gone.Version, gone.Forgotten = 2, 3, true
	for _, change := range []revisit.Record{next, gone} {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		before := time.Now()
		assert.ErrorIs(t, s.Save(ctx, change, 1), context.DeadlineExceeded)
		assert.Less(t, time.Since(before), 4*time.Second)
		cancel()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	assert.ErrorIs(t, s.SaveAll(ctx, []revisit.Change{{Record: next, Old: 1}})[0], context.DeadlineExceeded)
	got, err := s.Load(t.Context(), r.ID)
	require.NoError(t, err)
	assert.Equal(t, r, got)
	assert.ErrorContains(t, s.Save(t.Context(), next, 1), "another process holds the lock")
	_, err = Open(path, Options{})
	assert.ErrorContains(t, err, "another process holds the lock")
	done := make(chan error, 1)
	go func() { done <- s.Save(context.Background(), next, 1) }()
	release()
	assert.NoError(t, <-done, "and once it is free, it is done")
	require.NoError(t, s.Save(t.Context(), gone, 2))

	enginetest.Outage(t, s, func() { tool = other(t, path, "BEGIN IMMEDIATE") }, release, 2*time.Second)

	path = filepath.Join(t.TempDir(), "y.db")
	other(t, path, "PRAGMA locking_mode = EXCLUSIVE", "CREATE TABLE t (x)", "INSERT INTO t VALUES (1)")
	_, err = Open(path, Options{})
	assert.ErrorContains(t, err, "another process holds the lock")
}

// A tombstone is on the disk when Save has returned; nothing else waits for the disk.
func TestATombstoneIsOnTheDisk(t *testing.T) {
	s, err := Open(filepath.Join(t.TempDir(), "x.db"), Options{})
	require.NoError(t, err)
	defer s.Close()
	_, err = s.writer.Exec(`CREATE TEMP TABLE seen (synchronous);
		CREATE TEMP TRIGGER see AFTER UPDATE ON main.sessions BEGIN INSERT INTO seen SELECT synchronous FROM pragma_synchronous; END`)
	require.NoError(t, err)
	r := newRecord(t)
	require.NoError(t, s.Save(t.Context(), r, 0))
	save := func(r revisit.Record) error { return s.Save(t.Context(), r, r.Version-1) }
	for name, save := range map[string]func(revisit.Record) error{
		"Save": save, "SaveAll": func(r revisit.Record) error {
			return s.SaveAll(t.Context(), []revisit.Change{{Record: r, Old: r.Version - 1}})[0]
		},
	} {
		for _, forgotten := range []bool{false, true, false} {
			r.Version, r.Forgotten = r.Version+1, forgotten
			require.NoError(t, save(r))
			var level int
			require.NoError(t, s.writer.QueryRow(`SELECT synchronous FROM seen ORDER BY rowid DESC LIMIT 1`).Scan(&level))
			assert.Equal(t, map[bool]int{false: 1, true: 2}[forgotten], level, "%s, forgotten: %v (1 is NORMAL, 2 is FULL)", name, forgotten)
		}
		r.Version++
		r.Forgotten = true
		stale := r
		stale.Version += 5
		assert.ErrorIs(t, save(stale), revisit.ErrConflict)
		require.NoError(t, save(r))
	}
}

// A folder or a file that cannot be written to is an error at the start, which names it. Root may write
// anywhere, so this runs as nobody.
func TestWhatCannotBeWritten(t *testing.T) {
	if os.Getuid() == 0 {
		dir, err := os.MkdirTemp("", "nobody")
		require.NoError(t, err)
		t.Cleanup(func() { os.RemoveAll(dir) })
		require.NoError(t, os.Chown(dir, 65534, 65534))
		self, err := os.ReadFile(os.Args[0])
		require.NoError(t, err)
		program := filepath.Join(dir, "test")
		require.NoError(t, os.WriteFile(program, self, 0o755))
		cmd := exec.Command(program, "-test.run=^TestWhatCannotBeWritten$", "-test.v")
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "TMPDIR="+dir)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Contains(t, string(out), "--- PASS: TestWhatCannotBeWritten")
		return
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "x.db")
	s, err := Open(path, Options{})
	require.NoError(t, err)
	require.NoError(t, s.Close())
	for name, c := range map[string]struct {
		path        string
		file, place os.FileMode
		want        string
	}{
		"the file is read-only":                 {path, 0o400, 0o700, "permission denied"},
		"the folder is read-only":               {path, 0o600, 0o500, "folder"},
		"a new file, and the folder is as well": {filepath.Join(dir, "new.db"), 0o600, 0o500, "permission denied"},
		"the folder is not there":               {filepath.Join(dir, "none", "x.db"), 0o600, 0o700, "no such file or directory"},
	} {
		require.NoError(t, os.Chmod(path, c.file))
		require.NoError(t, os.Chmod(dir, c.place))
		_, err := Open(c.path, Options{})
		if assert.ErrorContains(t, err, c.want, name) {
			assert.ErrorContains(t, err, c.path, name)
		}
		require.NoError(t, os.Chmod(dir, 0o700))
	}
}

// The aliases of a session are found by an index, which has nothing but aliases in it, and which
// a file of before gets when it is opened.
func TestAliasesAreIndexed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	store, err := Open(path, Options{})
	require.NoError(t, err)
	root := newRecord(t).ID
	alias, derived, session := newRecord(t), newRecord(t), newRecord(t)
	alias.ID[15], derived.ID[15], session.ID[15] = 1, 2, 3
	derived.ID[6] = 0x80
	alias.MergedInto, derived.MergedInto = root, root
	session.Via, session.Values = `"m":"`+root.String(), map[string]revisit.Value{"m": {Text: `"m":"` + root.String(), At: session.Created}}
	for _, r := range []revisit.Record{alias, derived, session} {
		require.NoError(t, store.Save(t.Context(), r, 0))
	}
	require.NoError(t, store.Close())
	c := other(t, path, `DROP INDEX sessions_merged`) // as of before
	require.NoError(t, c.Close())

	store, err = Open(path, Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, store.Close()) }()
	ids, err := store.Aliases(t.Context(), root)
	require.NoError(t, err)
	assert.Equal(t, []revisit.ID{alias.ID}, ids)
	var plan string
	var skip any
	require.NoError(t, store.reader.QueryRow(`EXPLAIN QUERY PLAN `+aliases, root.String(), now()).Scan(&skip, &skip, &skip, &plan))
	assert.Contains(t, plan, "SEARCH sessions USING INDEX sessions_merged")
	var n int
	require.NoError(t, store.reader.QueryRow(`SELECT count(*) FROM sessions INDEXED BY sessions_merged WHERE `+isMerged).Scan(&n))
	assert.Equal(t, 2, n, "a session is not in it")
}
