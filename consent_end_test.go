package revisit_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/revisit-go/revisit"
)

// ended returns the lines of a response that expire the consent.
func ended(resp *http.Response) (lines []string) {
	for _, line := range resp.Header["Set-Cookie"] {
		if strings.HasPrefix(line, "consent=;") {
			lines = append(lines, line)
		}
	}
	return lines
}

const endOfConsent = "consent=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; SameSite=Lax"

// A visitor who had themselves forgotten has taken the consent back: the next page begins no
// session. That is so for the beacon's form and for a handler that forgets, by each strategy, and
// for OptIn within a function of the site's own.
func TestForgettingEndsConsent(t *testing.T) {
	optIn := revisit.OptIn("consent", "yes")
	for name, strategy := range map[string]revisit.Strategy{
		"cookie": revisit.Cookie{}, "etag": revisit.ETag{}, "hybrid": revisit.Hybrid(revisit.Cookie{}, revisit.ETag{}),
	} {
		for way, path := range map[string]string{"form": "/revisit/forget", "handler": "/forget"} {
			for whose, consent := range map[string]func(*http.Request) revisit.Permission{
				"OptIn": optIn,
				"own": func(r *http.Request) revisit.Permission {
					if optIn(r) == revisit.Restore {
						return revisit.Recognise
					}
					return revisit.Unasked
				},
			} {
				t.Run(name+", "+way+", "+whose, func(t *testing.T) {
					store := newAllStore(t)
					tracker := newTracker(t, revisit.Config{Store: store, Strategy: strategy, Consent: consent})
					mux := http.NewServeMux()
					mux.Handle("/", lead)
					mux.HandleFunc("POST /forget", func(w http.ResponseWriter, r *http.Request) {
						s, ok := revisit.FromContext(r.Context())
						require.True(t, ok)
						require.NoError(t, tracker.Forget(r.Context(), s.ID))
						http.Redirect(w, r, "/", http.StatusSeeOther)
					})
					b := newBrowser(site(tracker, mux))
					b.cookies["consent"] = "yes"
					first := b.get("/lead")
					require.NotEmpty(t, idOf(first))
					form := map[string][]string{}
					if name == "etag" { // nothing else says whose it is
						form["revisit"] = fieldOf.FindStringSubmatch(b.bodies["/lead"])[1:]
					}
					resp := b.post(path, form, posted)
					require.Equal(t, http.StatusSeeOther, resp.StatusCode)
					assert.Equal(t, []string{endOfConsent}, ended(resp))
					assert.Contains(t, resp.Header.Get("Cache-Control"), "private")
					assert.True(t, record(t, store, first).Forgotten)

					_, before := store.sessions(t)
					for _, path := range []string{"/lead", "/other", "/lead"} {
						assert.Empty(t, idOf(b.get(path)), "a new session on %s", path)
					}
					_, after := store.sessions(t)
					assert.Len(t, after, len(before))
				})
			}
		}
	}
}

// By script, too, and where there was nobody to be forgotten.
func TestAForgetWithoutASessionEndsConsent(t *testing.T) {
	h := site(newTracker(t, revisit.Config{Consent: revisit.OptIn("consent", "yes")}), lead)
	b := newBrowser(h)
	b.cookies["consent"] = "yes"
	resp := b.do("POST", "/revisit/forget", fetch)
	assert.Equal(t, 204, resp.StatusCode)
	assert.Equal(t, []string{endOfConsent}, ended(resp))

	resp = newBrowser(h).do("POST", "/revisit/forget", fetch)
	assert.Equal(t, 204, resp.StatusCode)
	assert.Empty(t, ended(resp), "there is no consent")

	b.cookies["consent"] = "yes"
	evil := b.do("POST", "/revisit/forget", metadata("cross-site", "navigate", "document"), header("Origin", "http://evil.example"))
	assert.Empty(t, ended(evil), "another site ends nobody's consent")
}

// Consent stays where nobody was forgotten, where a shared cache could keep its end, and where
// the handler says itself what becomes of it.
func TestWhereConsentDoesNotEnd(t *testing.T) {
	for name, c := range map[string]struct {
		header http.Header
		status int
		forget bool
		want   []string
	}{
		"forgotten":                  {nil, 200, true, []string{endOfConsent}},
		"an error":                   {nil, 500, true, []string{endOfConsent}},
		"another session":            {nil, 200, false, nil},
		"what freshens another page": {nil, 304, true, nil},
		"shared":                     {http.Header{"Cache-Control": {"public, max-age=60"}}, 200, true, nil},
		"kept by a CDN":              {http.Header{"Cdn-Cache-Control": {"max-age=60"}}, 200, true, nil},
		"not kept":                   {http.Header{"Cache-Control": {"no-store"}}, 200, true, []string{endOfConsent}},
		"the handler says no":        {http.Header{"Set-Cookie": {"consent=no; Path=/"}}, 200, true, nil},
		"it sets another one":        {http.Header{"Set-Cookie": {"consent2=no; Path=/"}}, 200, true, []string{endOfConsent}},
	} {
		t.Run(name, func(t *testing.T) {
			tracker := newTracker(t, revisit.Config{Consent: revisit.OptIn("consent", "yes")})
			mux := http.NewServeMux()
			mux.Handle("/", seen)
			mux.HandleFunc("POST /forget", func(w http.ResponseWriter, r *http.Request) {
				s, ok := revisit.FromContext(r.Context())
				require.True(t, ok)
				id := s.ID
				if !c.forget {
					id = revisit.ID{0, 1, 2, 3, 4, 5, 0x70, 7, 0x80}
				}
				require.NoError(t, tracker.Forget(r.Context(), id))
				for name, lines := range c.header {
					w.Header()[name] = lines
				}
				w.WriteHeader(c.status)
			})
			b := newBrowser(tracker.Handler(mux))
			b.cookies["consent"] = "yes"
			b.get("/")
			resp := b.do("POST", "/forget", metadata("same-origin", "cors", "empty"))
			assert.Equal(t, c.want, ended(resp))
		})
	}
}

// The cookie of a banner is where the Tracker's own is; and browsers refuse a cookie with a prefix that
// does not keep what the prefix promises.
func TestWhereTheConsentCookieIs(t *testing.T) {
	const end = "=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT"
	for name, want := range map[string][]string{
		"consent":          {"consent" + end + "; SameSite=Lax", "consent=; Path=/; Domain=example.com; Expires=Thu, 01 Jan 1970 00:00:00 GMT; SameSite=Lax"},
		"__Host-consent":   {"__Host-consent" + end + "; Secure; SameSite=Lax"},
		"__Secure-consent": {"__Secure-consent" + end + "; Secure; SameSite=Lax", "__Secure-consent=; Path=/; Domain=example.com; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Secure; SameSite=Lax"},
	} {
		tracker := newTracker(t, revisit.Config{Strategy: revisit.Hybrid(revisit.Cookie{Domain: "example.com"}, revisit.ETag{}), Consent: revisit.OptIn(name, "yes")})
		b := newBrowser(site(tracker, lead))
		b.cookies[name] = "yes"
		resp := b.do("POST", "/revisit/forget", fetch)
		assert.Equal(t, want, resp.Header["Set-Cookie"])
	}
}

// Names and values that no cookie can have are faults of the Config.
func TestConsentCookiesThatCannotBe(t *testing.T) {
	check := func(consent func(*http.Request) revisit.Permission) error {
		tracker, err := revisit.New(revisit.Config{Keys: [][]byte{testKey}, Consent: consent})
		if err == nil {
			tracker.Close()
		}
		return err
	}
	for _, c := range [][2]string{
		{"", ""}, {"", "yes"}, {"consent", ""}, {"a b", "yes"}, {"a=b", "yes"}, {"a;b", "yes"}, {" a", "yes"}, {"a\r\nb", "yes"}, {"zustimmung\u00e4", "yes"}, {"a,b", "yes"},
		{strings.Repeat("a", 257), "yes"}, {"consent", "yes;no"}, {"consent", " yes"}, {"consent", "yes\t"}, {"consent", "a\nb"}, {"consent", "a\x7fb"},
	} {
		assert.ErrorContains(t, check(revisit.OptIn(c[0], c[1])), "Config.Consent", "%q", c)
		if c[1] == "yes" || c[0] == "" {
			assert.ErrorContains(t, check(revisit.OptOut(c[0])), "Config.Consent", "%q", c)
		}
	}
	for _, c := range [][2]string{{"consent", "yes"}, {"__Host-consent", "1"}, {"a.b_c-d!", `"yes"`}, {"consent", `{"ads": true, "stats": 1}`}, {"consent", "a=b"}, {"c", "j\u00e4"}} {
		assert.NoError(t, check(revisit.OptIn(c[0], c[1])), "%q", c)
		assert.NoError(t, check(revisit.OptOut(c[0])), "%q", c)
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["Cookie"] = []string{c[0] + "=" + c[1]}
		assert.Equal(t, revisit.Restore, revisit.OptIn(c[0], c[1])(r), "%q", c)
	}
}
