package sqlitestore_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/revisit-go/revisit"
	"github.com/revisit-go/revisit/internal/enginetest"
	"github.com/revisit-go/revisit/sqlitestore"
	"github.com/revisit-go/revisit/storetest"
)

func open(t testing.TB, path string) *sqlitestore.Store {
	t.Helper()
	store, err := sqlitestore.Open(path, sqlitestore.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { store.Close() })
	return store
}

func TestTheContract(t *testing.T) {
	store := open(t, filepath.Join(t.TempDir(), "a b?c%d.db"))
	storetest.Run(t, func(*testing.T) revisit.Store { return store })
}

func TestWhatCannotBeOpened(t *testing.T) {
	for _, path := range []string{"", ":memory:", filepath.Join(t.TempDir(), "none", "x.db"), t.TempDir()} {
		_, err := sqlitestore.Open(path, sqlitestore.Options{})
		assert.ErrorContains(t, err, "sqlitestore: ", path)
	}
	other := filepath.Join(t.TempDir(), "x.db")
	require.NoError(t, os.WriteFile(other, []byte("this is no database, and it is long enough to be seen as one"), 0o600))
	_, err := sqlitestore.Open(other, sqlitestore.Options{})
	assert.Error(t, err)
}

func record(t testing.TB, life time.Duration) revisit.Record {
	now := time.Now().UTC().Truncate(time.Millisecond)
	var r revisit.Record
	require.NoError(t, r.ID.UnmarshalText([]byte("01890a5d-ac96-774b-bcce-b302099a8057")))
	r.ID[15] = byte(life / time.Second)
	r.Version, r.Created, r.Expires, r.Hits = 7, r.ID.Time(), now.Add(life), 3
	return r
}

func TestItSurvivesARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	store := open(t, path)
	r := record(t, time.Hour)
	require.NoError(t, store.Save(t.Context(), r, 0))
	files, err := filepath.Glob(path + "*")
	require.NoError(t, err)
	require.Len(t, files, 3, "and its -wal and -shm")
	for _, name := range files {
		info, err := os.Stat(name)
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o600), info.Mode().Perm(), "%s is for nobody else", name)
	}
	require.NoError(t, store.Close())
	got, err := open(t, path).Load(t.Context(), r.ID)
	require.NoError(t, err)
	assert.Equal(t, r, got)
}

// What has expired leaves the file.
func TestExpiredRowsAreDeleted(t *testing.T) {
	store, err := sqlitestore.Open(filepath.Join(t.TempDir(), "x.db"), sqlitestore.Options{SweepEvery: -1})
	require.NoError(t, err)
	defer store.Close()
	require.NoError(t, store.Save(t.Context(), record(t, -time.Second), 0))
	require.NoError(t, store.Save(t.Context(), record(t, time.Hour), 0))
	n, err := store.Sweep(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 1, n)
	_, err = store.Load(t.Context(), record(t, time.Hour).ID)
	assert.NoError(t, err)
}

func TestNodes(t *testing.T) {
	store := open(t, filepath.Join(t.TempDir(), "x.db"))
	enginetest.Nodes(t, store)
	enginetest.Merges(t, store)
}

func TestManySessionsAndASoak(t *testing.T) {
	store := open(t, filepath.Join(t.TempDir(), "x.db"))
	enginetest.Many(t, store)
	enginetest.Soak(t, store)
}

// A backup is older than the wish to be forgotten: the log is replayed over it.
func TestTheForgetLogIsReplayedOverABackup(t *testing.T) {
	dir := t.TempDir()
	path, backup := filepath.Join(dir, "x.db"), filepath.Join(dir, "backup.db")
	logged := new(bytes.Buffer)
	config := revisit.Config{
		Keys: [][]byte{make([]byte, 32)}, Strategy: revisit.Cookie{}, Logger: slog.New(slog.NewTextHandler(logged, nil)),
		Consent: func(*http.Request) revisit.Permission { return revisit.Restore },
	}
	visit := func(tracker *revisit.Tracker, cookie string) (id, next string) {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Cookie", cookie)
		tracker.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if s, ok := revisit.FromContext(r.Context()); ok {
				id = s.ID.String()
			}
		})).ServeHTTP(w, r)
		next, _, _ = strings.Cut(w.Header().Get("Set-Cookie"), ";")
		return id, next
	}
	with := func(path string) (*revisit.Tracker, func()) {
		store, err := sqlitestore.Open(path, sqlitestore.Options{})
		require.NoError(t, err)
		config.Store = store
		tracker, err := revisit.New(config)
		require.NoError(t, err)
		return tracker, func() {
			require.NoError(t, tracker.Close())
			require.NoError(t, store.Close())
		}
	}
	tracker, done := with(path)
	id, cookie := visit(tracker, "")
	kept, other := visit(tracker, "")
	done()
	file, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(backup, file, 0o600))

	tracker, done = with(path)
	parsed, err := revisit.ParseID(id)
	require.NoError(t, err)
	require.NoError(t, tracker.Forget(t.Context(), parsed))
	done()

	tracker, done = with(backup)
	defer done()
	for line := range strings.Lines(logged.String()) {
		if _, rest, ok := strings.Cut(line, `msg="revisit: forgotten" session=`); ok {
			id, err := revisit.ParseID(strings.TrimSpace(rest))
			require.NoError(t, err)
			require.NoError(t, tracker.Forget(t.Context(), id))
		}
	}
	again, _ := visit(tracker, cookie)
	assert.NotEqual(t, id, again)
	again, _ = visit(tracker, other)
	assert.Equal(t, kept, again)
}
