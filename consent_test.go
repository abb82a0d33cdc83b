package revisit_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/revisit-go/revisit"
)

func TestOptInAndOptOut(t *testing.T) {
	in, out := revisit.OptIn("consent", "yes"), revisit.OptOut("optout")
	for _, c := range []struct {
		header http.Header
		in     revisit.Permission
		out    revisit.Permission
	}{
		{http.Header{}, revisit.Unasked, revisit.Recognise},
		{http.Header{"Cookie": {"consent=yes"}}, revisit.Restore, revisit.Recognise},
		{http.Header{"Cookie": {"a=b; consent=yes; c"}}, revisit.Restore, revisit.Recognise},
		{http.Header{"Cookie": {"a=b", "consent=yes"}}, revisit.Restore, revisit.Recognise},
		{http.Header{"Cookie": {"consent=no"}}, revisit.Unasked, revisit.Recognise},
		{http.Header{"Cookie": {"consent=yes; consent=no"}}, revisit.Unasked, revisit.Recognise},
		{http.Header{"Cookie": {"consent=yes; consent=yes"}}, revisit.Restore, revisit.Recognise},
		{http.Header{"Cookie": {"Consent=yes; xconsent=yes; consent"}}, revisit.Unasked, revisit.Recognise},
		{http.Header{"Cookie": {"optout=1"}}, revisit.Unasked, revisit.Deny},
		{http.Header{"Cookie": {"optout="}}, revisit.Unasked, revisit.Deny},
		{http.Header{"Sec-Gpc": {"1"}}, revisit.Unasked, revisit.Deny},
		{http.Header{"Sec-Gpc": {"0"}}, revisit.Unasked, revisit.Recognise},
		{http.Header{"Dnt": {"1"}}, revisit.Unasked, revisit.Deny},
	} {
		r := &http.Request{Header: c.header}
		assert.Equal(t, c.in, in(r), "OptIn: %v", c.header)
		assert.Equal(t, c.out, out(r), "OptOut: %v", c.header)
	}
	assert.Equal(t, "Unasked Deny Recognise Restore", revisit.Unasked.String()+" "+revisit.Deny.String()+" "+revisit.Recognise.String()+" "+revisit.Restore.String())
	assert.Equal(t, "Permission(9)", revisit.Permission(9).String())
}

// countingStore tells whether a store was asked for anything.
type countingStore struct {
	revisit.Store
	calls int
}

func (s *countingStore) Load(ctx context.Context, id revisit.ID) (revisit.Record, error) {
	s.calls++
	return s.Store.Load(ctx, id)
}

func (s *countingStore) Save(ctx context.Context, r revisit.Record, old int64) error {
	s.calls++
	return s.Store.Save(ctx, r, old)
}

// Invariant 8: who has not been asked leaves no trace.
func TestWhoWasNotAskedLeavesNoTrace(t *testing.T) {
	for _, clears := range []bool{false, true} {
		testWhoWasNotAskedLeavesNoTrace(t, clears)
	}
}

func testWhoWasNotAskedLeavesNoTrace(t *testing.T, clears bool) {
	memory := revisit.NewMemoryStore(revisit.MemoryOptions{})
	defer memory.Close()
	store := &countingStore{Store: memory}
	asked := newBrowser(newTracker(t, revisit.Config{Store: memory}).Handler(seen))
	asked.get("/")

	tracker := newTracker(t, revisit.Config{Store: store, Consent: grant(revisit.Unasked), ClearUnasked: clears})
	h := tracker.Handler(seen)
	for name, kinds := range map[string][]kind{
		"a typed address": {typed}, "a link": {link}, "a click elsewhere": {clickFrom}, "an image": {image}, "a fetch": {fetch}, "no browser": {bare},
	} {
		plain := httptest.NewRecorder()
		seen(plain, httptest.NewRequest("GET", "/", nil))

		b := newBrowser(h)
		resp := b.get("/?utm_source=x", kinds...)
		assert.Empty(t, viaOf(resp), name)
		want := plain.Result().Header
		if name != "an image" && name != "a fetch" {
			want.Set("Cache-Control", "private") // as for everybody else
		}
		assert.Equal(t, want, resp.Header, "%s: the answer is the handler's own, and private", name)

		// With what an earlier consent has left.
		b = asked.clone()
		b.handler = h
		resp = b.get("/", kinds...)
		assert.Empty(t, viaOf(resp), name)
		assert.False(t, hasToken(resp), name)
		cleared := clears && (name == "a typed address" || name == "a link")
		assert.Equal(t, cleared, len(b.cookies) == 0, "%s: cookie", name)
		assert.Equal(t, http.StatusOK, resp.StatusCode, name)
	}
	assert.Zero(t, store.calls, "the store was asked for something")
	assert.EqualValues(t, 12, tracker.Stats().Unasked)
	assert.Zero(t, tracker.Stats().New)
}

// Under Unasked caching goes on working for tags with a token, which stays
// where it is. With ClearUnasked a navigation of the visitor's own clears it.
func TestUnaskedTagsAreTranslated(t *testing.T) {
	for _, clears := range []bool{false, true} {
		testUnaskedTagsAreTranslated(t, clears)
	}
}

func testUnaskedTagsAreTranslated(t *testing.T, clears bool) {
	content := "v1"
	store := revisit.NewMemoryStore(revisit.MemoryOptions{})
	defer store.Close()
	page := pages(&content)["strong"]
	b := newBrowser(newTracker(t, revisit.Config{Store: store}).Handler(page))
	b.get("/")
	tag := b.tags["/"]
	b.handler = newTracker(t, revisit.Config{Store: store, Consent: grant(revisit.Unasked), ClearUnasked: clears}).Handler(page)
	for _, k := range []kind{image, clickFrom, bare, fetch} {
		resp := b.get("/", k)
		assert.Equal(t, http.StatusNotModified, resp.StatusCode)
		assert.Equal(t, `"v1"`, resp.Header.Get("Etag"))
		assert.NotEmpty(t, b.cookies)
	}
	assert.Equal(t, tag, b.tags["/"])
	resp := b.get("/", link)
	if !clears {
		assert.Equal(t, http.StatusNotModified, resp.StatusCode)
		assert.NotEmpty(t, b.cookies)
		return
	}
	assert.Equal(t, http.StatusOK, resp.StatusCode)
	assert.Equal(t, `"v1"`, b.tags["/"], "the tag was replaced by a clean one")
	assert.Empty(t, b.cookies)
	assert.Equal(t, http.StatusNotModified, b.get("/", link).StatusCode)
}

// A consent cookie that ends before the session does not end the session: who consents
// again is the visitor of before, and what happened in between is not known.
func TestConsentExpiresAndIsGivenAgain(t *testing.T) {
	for _, strategy := range []revisit.Strategy{revisit.Cookie{}, revisit.ETag{}, revisit.Hybrid(revisit.Cookie{}, revisit.ETag{})} {
		for _, clears := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				store := newAllStore(t)
				h := newTracker(t, revisit.Config{Store: store, Strategy: strategy, Consent: revisit.OptIn("consent", "yes"), ClearUnasked: clears}).Handler(seen)
				b := newBrowser(h)
				b.cookies["consent"] = "yes"
				first := b.get("/?utm_campaign=spring")
				b.get("/?utm_campaign=spring", link)
				time.Sleep(180 * 24 * time.Hour)
				delete(b.cookies, "consent")
				before := record(t, store, first)
				between := "/?utm_campaign=spring"
				if strategy.Via() == "etag" {
					between = "/other" // a page without a validator of its own loses its tag when it is opened
				}
				for range 3 {
					assert.Empty(t, idOf(b.get(between, link)))
				}
				assert.Equal(t, before, record(t, store, first), "nothing of it is known")
				b.cookies["consent"] = "yes"
				again := b.get("/?utm_campaign=spring", link)
				assert.Equal(t, !clears || strategy.Via() == "etag", idOf(first) == idOf(again), "%s, ClearUnasked %v", strategy.Via(), clears)
				if !clears {
					r := record(t, store, again)
					assert.EqualValues(t, 2, r.Visits)
					assert.Equal(t, before.Expires, r.Expires, "nor does it last longer")
				}
			})
		}
	}
}

func TestWhoSaysNoIsForgotten(t *testing.T) {
	store := revisit.NewMemoryStore(revisit.MemoryOptions{})
	defer store.Close()
	consent := revisit.Restore
	tracker := newTracker(t, revisit.Config{Store: store, Consent: func(*http.Request) revisit.Permission { return consent }})
	content := "v1"
	pagesOf := pages(&content)
	mux := http.NewServeMux()
	mux.Handle("/strong", tracker.Handler(pagesOf["strong"]))
	mux.Handle("/none", tracker.Handler(pagesOf["none"]))
	mux.Handle("/", tracker.Handler(seen))
	b := newBrowser(mux)
	id, err := revisit.ParseID(idOf(b.get("/")))
	require.NoError(t, err)
	b.get("/strong")
	b.get("/none")
	kept := b.clone()

	consent = revisit.Deny
	resp := b.get("/strong")
	assert.Equal(t, http.StatusOK, resp.StatusCode)
	assert.Equal(t, `"v1"`, resp.Header.Get("Etag"), "the tagged entry is replaced")
	assert.Empty(t, b.cookies, "the cookie has expired")
	assert.Empty(t, viaOf(b.get("/")))
	b.get("/none")
	assert.Empty(t, b.tags["/none"])
	r, err := store.Load(t.Context(), id)
	require.NoError(t, err)
	assert.True(t, r.Forgotten)
	assert.EqualValues(t, 1, tracker.Stats().Forgotten)
	assert.Equal(t, http.StatusNotModified, b.get("/strong").StatusCode, "caching goes on")

	// Invariant 5: none of the tokens brings it back.
	consent = revisit.Restore
	for _, url := range []string{"/", "/strong", "/none"} {
		again := kept.clone()
		resp := again.get(url)
		assert.NotEqual(t, id.String(), idOf(resp))
	}
}

func TestACrossSiteSubresourceIsNeitherReadNorAnswered(t *testing.T) {
	memory := revisit.NewMemoryStore(revisit.MemoryOptions{})
	defer memory.Close()
	store := &countingStore{Store: memory}
	b := newBrowser(newTracker(t, revisit.Config{Store: memory}).Handler(seen))
	b.get("/")
	for _, permission := range []revisit.Permission{revisit.Unasked, revisit.Deny, revisit.Recognise, revisit.Restore} {
		other := b.clone()
		other.handler = newTracker(t, revisit.Config{Store: store, Consent: grant(permission)}).Handler(seen)
		for _, k := range []kind{embedded, framed, metadata("cross-site", "cors", "empty")} {
			resp := other.get("/", k)
			assert.Empty(t, viaOf(resp), "%v", permission)
			assert.False(t, hasToken(resp), "%v", permission)
			assert.Empty(t, resp.Header["Set-Cookie"], "%v", permission)
		}
	}
	assert.Zero(t, store.calls)
}
