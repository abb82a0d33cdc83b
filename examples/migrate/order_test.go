package migrate

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/gorilla/sessions"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/revisit-go/revisit"
)

// A session library may stand inside of the Tracker or outside of it: a visitor whose session it
// renews with every page is recognised on the second one, by each strategy. scs says
// no-cache="Set-Cookie" then, which is private with our token on it.
func TestASessionLibraryMayStandInsideOrOutside(t *testing.T) {
	manager := scs.New()
	manager.Cookie.Secure = false
	manager.IdleTimeout = 20 * time.Minute
	store := sessions.NewCookieStore([]byte("0123456789abcdef0123456789abcdef"))
	store.Options.Secure = false

	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s, ok := revisit.FromContext(r.Context()); ok {
			w.Header().Set("X-Session", s.ID.String()+" "+s.Via)
		}
		_, _ = io.WriteString(w, "<!DOCTYPE html><title>a page</title>")
	})
	for library, wrap := range map[string]func(http.Handler) http.Handler{
		"alexedwards/scs": func(next http.Handler) http.Handler {
			return manager.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				manager.Put(r.Context(), "seen", "a page")
				next.ServeHTTP(w, r)
			}))
		},
		"gorilla/sessions": func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				s, _ := store.Get(r, "shop")
				s.Values["seen"] = "a page"
				_ = s.Save(r, w)
				next.ServeHTTP(w, r)
			})
		},
	} {
		for via, strategy := range map[string]revisit.Strategy{
			"cookie": revisit.Cookie{Insecure: true}, "etag": revisit.ETag{}, "hybrid": revisit.Hybrid(revisit.Cookie{Insecure: true}, revisit.ETag{}),
		} {
			for _, inside := range []bool{true, false} {
				name := library + " outside, " + via
				if inside {
					name = library + " inside, " + via
				}
				t.Run(name, func(t *testing.T) {
					tracker, err := revisit.New(revisit.Config{Strategy: strategy, Consent: func(*http.Request) revisit.Permission { return revisit.Restore }})
					require.NoError(t, err)
					defer tracker.Close()
					h := wrap(tracker.Handler(page))
					if inside {
						h = tracker.Handler(wrap(page))
					}
					server := httptest.NewServer(h)
					defer server.Close()
					jar, err := cookiejar.New(nil)
					require.NoError(t, err)
					get := func(tag string) (resp *http.Response, id, via string) {
						r, err := http.NewRequestWithContext(t.Context(), "GET", server.URL+"/", nil)
						require.NoError(t, err)
						r.Header.Set("Accept", "text/html")
						if tag != "" {
							r.Header.Set("If-None-Match", tag)
						}
						resp, err = (&http.Client{Jar: jar}).Do(r)
						require.NoError(t, err)
						resp.Body.Close()
						id, via, _ = strings.Cut(resp.Header.Get("X-Session"), " ")
						return resp, id, via
					}

					first, id, how := get("")
					require.Equal(t, "new", how)
					control := strings.Join(first.Header["Cache-Control"], ", ")
					assert.Contains(t, control, "private")
					if library == "alexedwards/scs" {
						assert.Contains(t, control, `no-cache="Set-Cookie"`, "or the test tries nothing")
					}
					tag := first.Header.Get("Etag")
					second, again, how := get(tag)
					assert.Equal(t, id, again)
					assert.NotEqual(t, "new", how)
					if tag != "" {
						assert.Equal(t, http.StatusNotModified, second.StatusCode)
					}
					_, again, _ = get(second.Header.Get("Etag"))
					assert.Equal(t, id, again)
				})
			}
		}
	}
}
