package migrate

import (
	"context"
	"errors"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/gorilla/sessions"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/revisit-go/revisit"
)

// Visitors of a site that ran on another library are known on the one that runs on this
// one, and by our token alone later on. Who brings a value that the library did not make is
// a new visitor.
func TestVisitorsAreKept(t *testing.T) {
	const random = "5f0c2b5e-3d5b-4c8e-9a41-d1a5b7c0e9f2"
	manager := scs.New()
	manager.Cookie.Secure = false
	store := sessions.NewCookieStore([]byte("0123456789abcdef0123456789abcdef"))
	store.Options.Secure = false
	for _, c := range []struct {
		name   string
		cookie string // of the old site
		forged string
		adopt  func(*http.Request) (string, error)
		old    http.Handler
	}{
		{"alexedwards/scs", "session", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", FromSCS(manager),
			manager.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { manager.Put(r.Context(), "seen", true) }))},
		{"gorilla/sessions", "shop", "MTc", FromGorilla(store, "shop", "visitor"),
			http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				s, _ := store.Get(r, "shop")
				s.Values["visitor"] = random
				_ = s.Save(r, w)
			})},
		{"a plain UUID", "visitor", "1 OR 1=1", FromUUID("visitor"),
			http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				http.SetCookie(w, &http.Cookie{Name: "visitor", Value: random, Path: "/"})
			})},
	} {
		t.Run(c.name, func(t *testing.T) {
			tracker, err := revisit.New(revisit.Config{
				Strategy: revisit.Cookie{Insecure: true}, Adopt: c.adopt,
				Consent: func(*http.Request) revisit.Permission { return revisit.Recognise },
			})
			require.NoError(t, err)
			defer tracker.Close()
			mux := http.NewServeMux()
			mux.Handle("/old", c.old)
			mux.Handle("/", tracker.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				s, _ := revisit.FromContext(r.Context())
				w.Header().Set("X-Session", s.ID.String()+" "+s.Via)
			})))
			server := httptest.NewServer(mux)
			defer server.Close()
			base, err := url.Parse(server.URL)
			require.NoError(t, err)
			jar, err := cookiejar.New(nil)
			require.NoError(t, err)
			get := func(path string) (id, via string) {
				r, err := http.NewRequestWithContext(t.Context(), "GET", server.URL+path, nil)
				require.NoError(t, err)
				resp, err := (&http.Client{Jar: jar}).Do(r)
				require.NoError(t, err)
				resp.Body.Close()
				if session := resp.Header.Get("X-Session"); session != "" {
					return session[:36], session[37:]
				}
				return "", ""
			}
			oldCookies := func() []*http.Cookie {
				var found []*http.Cookie
				for _, k := range jar.Cookies(base) {
					if k.Name == c.cookie {
						found = append(found, k)
					}
				}
				return found
			}

			get("/old")
			require.Len(t, oldCookies(), 1)
			old := oldCookies()[0]
			id, via := get("/")
			assert.Equal(t, "adopted", via)
			again, via := get("/")
			assert.Equal(t, "cookie", via)
			assert.Equal(t, id, again)

			// The old cookie is deleted; and one who has it alone is the same.
			jar.SetCookies(base, []*http.Cookie{{Name: c.cookie, MaxAge: -1, Path: "/"}})
			require.Empty(t, oldCookies())
			again, via = get("/")
			assert.Equal(t, "cookie", via)
			assert.Equal(t, id, again)
			jar, err = cookiejar.New(nil)
			require.NoError(t, err)
			jar.SetCookies(base, []*http.Cookie{{Name: c.cookie, Value: old.Value, Path: "/"}})
			again, via = get("/")
			assert.Equal(t, "adopted", via)
			assert.Equal(t, id, again)

			jar, err = cookiejar.New(nil)
			require.NoError(t, err)
			jar.SetCookies(base, []*http.Cookie{{Name: c.cookie, Value: c.forged, Path: "/"}})
			again, via = get("/")
			assert.Equal(t, "new", via)
			assert.NotEqual(t, id, again)
		})
	}
}

// down is a store of gorilla/sessions that does not answer.
type down struct{}

func (down) Get(r *http.Request, name string) (*sessions.Session, error) {
	return sessions.GetRegistry(r).Get(down{}, name)
}

func (down) New(*http.Request, string) (*sessions.Session, error) {
	s := sessions.NewSession(down{}, "shop")
	s.IsNew = true
	return s, errors.New("connection refused")
}

func (down) Save(*http.Request, http.ResponseWriter, *sessions.Session) error { return nil }

// While the other library's store does not answer, nobody is taken for somebody new; and
// a session that cannot be read any more is a session.
func TestWhoCannotBeAskedNow(t *testing.T) {
	r := httptest.NewRequest("GET", "/", nil)
	_, err := FromGorilla(down{}, "shop", "visitor")(r)
	assert.ErrorContains(t, err, "refused")

	manager := scs.New()
	require.NoError(t, manager.Store.Commit("token", []byte("not what this program has registered"), time.Now().Add(time.Hour)))
	r.AddCookie(&http.Cookie{Name: manager.Cookie.Name, Value: "token"})
	value, err := FromSCS(manager)(r)
	require.NoError(t, err)
	assert.Equal(t, "token", value)

	manager.Store = redisDown{}
	_, err = FromSCS(manager)(r)
	assert.ErrorContains(t, err, "refused")
}

// redisDown is a store of alexedwards/scs that wants a context, as goredisstore does, and
// does not answer.
type redisDown struct{ scs.Store }

func (redisDown) Find(string) ([]byte, bool, error) { panic("missing context arg") }

func (redisDown) FindCtx(context.Context, string) ([]byte, bool, error) {
	return nil, false, errors.New("connection refused")
}

// A session whose file has gone is none: who has its cookie is a visitor like any other.
func TestASessionThatWasLost(t *testing.T) {
	dir := t.TempDir()
	store := sessions.NewFilesystemStore(dir, []byte("0123456789abcdef0123456789abcdef"))
	r := httptest.NewRequest("GET", "/", nil)
	s, err := store.Get(r, "shop")
	require.NoError(t, err)
	s.Values["visitor"] = "somebody"
	w := httptest.NewRecorder()
	require.NoError(t, s.Save(r, w))
	r = httptest.NewRequest("GET", "/", nil)
	r.AddCookie(w.Result().Cookies()[0])
	value, err := FromGorilla(store, "shop", "visitor")(r)
	require.NoError(t, err)
	assert.Equal(t, "somebody", value)

	kept, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	require.Len(t, kept, 1)
	require.NoError(t, os.Remove(kept[0]))
	r = httptest.NewRequest("GET", "/", nil)
	r.AddCookie(w.Result().Cookies()[0])
	value, err = FromGorilla(store, "shop", "visitor")(r)
	require.NoError(t, err)
	assert.Empty(t, value)
}
