package sqlitestore

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/revisit-go/revisit"
)

// On a full disk pages are served, who is known is recognised, what was saved
// stays, and it goes on when there is room again. (max_page_count has SQLite answer
// SQLITE_FULL, as a full disk does.)
func TestAFullDisk(t *testing.T) {
	s, err := Open(filepath.Join(t.TempDir(), "x.db"), Options{})
	require.NoError(t, err)
	defer s.Close()
	tracker, err := revisit.New(revisit.Config{
		Keys: [][]byte{make([]byte, 32)}, Store: s, Strategy: revisit.Cookie{}, Consent: func(*http.Request) revisit.Permission { return revisit.Restore },
		Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	defer tracker.Close()
	h := tracker.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if session, ok := revisit.FromContext(r.Context()); ok {
			w.Header().Set("X-Id", session.ID.String())
		}
	}))
	visit := func(cookie, path string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", path, nil)
		r.Header.Set("Cookie", cookie)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		require.Equal(t, 200, w.Code)
		return w
	}
	first := visit("", "/")
	cookie, _, _ := strings.Cut(first.Header().Get("Set-Cookie"), ";")

	var pages int
	require.NoError(t, s.writer.QueryRow("PRAGMA page_count").Scan(&pages))
	_, err = s.writer.Exec(fmt.Sprint("PRAGMA max_page_count = ", pages+2))
	require.NoError(t, err)
	refused := 0
	for i := range 200 {
		w := visit("", fmt.Sprintf("/%d?utm_campaign=%s", i, strings.Repeat("x", 200)))
		if w.Header().Get("Set-Cookie") == "" {
			refused++
		}
		assert.Equal(t, first.Header().Get("X-Id"), visit(cookie, "/").Header().Get("X-Id"))
	}
	assert.Positive(t, refused, "the disk is full")
	assert.Positive(t, tracker.Stats().StoreErrors)

	_, err = s.writer.Exec("PRAGMA max_page_count = 1000000")
	require.NoError(t, err)
	assert.NotEmpty(t, visit("", "/").Header().Get("Set-Cookie"))
	id, err := revisit.ParseID(first.Header().Get("X-Id"))
	require.NoError(t, err)
	before, err := s.Load(t.Context(), id)
	require.NoError(t, err)
	visit(cookie, "/")
	after, err := s.Load(t.Context(), id)
	require.NoError(t, err)
	assert.Equal(t, before.Hits+1, after.Hits)
	var check string
	require.NoError(t, s.writer.QueryRow("PRAGMA integrity_check").Scan(&check))
	assert.Equal(t, "ok", check)
}
