package revisit_test

import (
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/revisit-go/revisit"
)

// seenAs has a handler see another Host than the browser has asked for.
func seenAs(host string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Host = host
		next.ServeHTTP(w, r)
	})
}

// One origin has its host written in several ways: by proxies with "Host $host:$server_port",
// by people with the dot of DNS.
func TestTheHostIsWrittenInSeveralWays(t *testing.T) {
	for _, host := range []string{"example.com", "example.com:443", "example.com:80", "EXAMPLE.com", "example.com.", "example.com.:443"} {
		for _, scheme := range []string{"https", "http"} {
			origin := scheme + "://example.com"
			store := newAllStore(t)
			var log strings.Builder
			tr := newTracker(t, revisit.Config{Store: store, Strategy: revisit.ETag{}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			h := seenAs(host, site(tr, tagged))

			// Without script, three pages are one visitor, and no page is another one's referrer.
			b := newBrowser(h)
			for _, page := range []string{"/a", "/b", "/c"} {
				b.get(page, link, header("Referer", origin+"/a"))
				m := framed51.FindStringSubmatch(b.bodies[page])
				require.NotNil(t, m, host)
				b.get("/revisit/link/"+m[1], frame, header("Referer", origin+page))
				b.get(anchor, image, header("Referer", origin+"/revisit/link/"+m[1]))
			}
			confirmed, all := store.sessions(t)
			assert.Len(t, all, 1, host)
			require.Len(t, confirmed, 1, host)
			require.Len(t, confirmed[0].Touches, 1, host)
			assert.True(t, confirmed[0].Touches[0].IsDirect(), "%s: %+v", host, confirmed[0].Touches[0])

			// The picture of a page that is not wrapped, in an old browser, too; a landing page
			// before consent.
			newBrowser(h).get(anchor, image, header("Referer", origin+"/static?utm_source=crm"))
			newBrowser(h).get(anchor, bare, header("Referer", origin+"/static?utm_source=old"))
			newBrowser(h).get(anchor, fetch, header("Revisit-Landing", "/shoes"), header("Revisit-Referrer", origin+"/?utm_source=letter"))
			found := map[string]int64{}
			_, all = store.sessions(t)
			for _, r := range all {
				for _, touch := range r.Touches {
					found[touch.Source] += r.Hits
				}
			}
			assert.Equal(t, map[string]int64{"": 3, "crm": 1, "old": 1, "letter": 1}, found, host)

			// An old browser's form.
			resp := b.do("POST", "/revisit/forget", bare, header("Origin", origin), header("If-None-Match", b.tags[anchor]))
			assert.NotEqual(t, http.StatusForbidden, resp.StatusCode, host)
			assert.NotContains(t, log.String(), "another Host", "no proxy is to blame")
		}
	}
}

// Another origin is another origin, however alike its host looks.
func TestAnotherHostIsNotOurs(t *testing.T) {
	for host, origin := range map[string]string{
		"example.com": "https://www.example.com", "example.com:8443": "https://example.com", "example.com:443": "https://example.com:8443",
		"example.com:80": "https://example.com:8080", "www.example.com": "https://example.com", "example.com.": "https://example.com.evil",
	} {
		store := newAllStore(t)
		h := seenAs(host, site(newTracker(t, revisit.Config{Store: store, Strategy: revisit.ETag{}}), tagged))
		newBrowser(h).get(anchor, bare, header("Referer", origin+"/static?utm_source=crm"))
		_, all := store.sessions(t)
		assert.Empty(t, all, "%s %s", host, origin)
	}
}

// Pages of the site are no referrers, with www. and without, and on another port.
func TestOwnPagesAreNoReferrers(t *testing.T) {
	for _, host := range []string{"example.com", "www.example.com", "www.example.com:443", "WWW.example.com."} {
		for _, referer := range []string{"https://example.com/x", "https://www.example.com/x", "https://www.example.com./x", "http://EXAMPLE.com:8080/x", "https://shop.other.example./x"} {
			var touch revisit.Touch
			b := newBrowser(seenAs(host, newTracker(t, revisit.Config{OwnHosts: []string{"other.example"}}).Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				s, _ := revisit.FromContext(r.Context())
				touch = s.First()
			}))))
			b.get("/y", clickFrom, header("Referer", referer))
			assert.True(t, touch.IsDirect(), "%s %s: %+v", host, referer, touch)
			b = newBrowser(b.handler)
			b.get("/y", clickFrom, header("Referer", "https://notexample.com/x"))
			assert.Equal(t, "notexample.com", touch.Source, host)
		}
	}
}

func TestOwnHostsOfAConfig(t *testing.T) {
	for _, bad := range []string{"", ".example.com", "example.com.", "Example.com", "example.com:443", "*.example.com", "https://example.com"} {
		_, err := revisit.New(revisit.Config{Consent: grant(revisit.Restore), Keys: [][]byte{testKey}, OwnHosts: []string{bad}})
		assert.ErrorContains(t, err, "Config.OwnHosts", bad)
	}
}

// A proxy that does not pass the Host on makes no page of the site a referrer, where the
// browser says whose it is; and the log says what is wrong, once a minute.
func TestAProxyHidesTheHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const shop = "https://shop.example"
		store := newAllStore(t)
		var log strings.Builder
		tr := newTracker(t, revisit.Config{Store: store, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		h := seenAs("backend:8080", site(tr, tagged))
		warned := func() int { return strings.Count(log.String(), "another Host") }

		b := newBrowser(h)
		b.get("/?utm_source=crm", clickFrom, header("Referer", "https://news.example/"))
		assert.Zero(t, warned(), "that one is another site's")
		for range 3 {
			time.Sleep(time.Hour)
			b.get("/x", link, header("Referer", shop+"/"))
			b.get("/y", link, header("Referer", shop+"/x"))
			// A route of a single-page application, whose referrer is the page before.
			b.get(anchor, fetch, header("Referer", shop+"/y"), header("Revisit-Page", "/z"), header("Revisit-Referrer", shop+"/y"))
		}
		confirmed, _ := store.sessions(t)
		require.Len(t, confirmed, 1)
		assert.EqualValues(t, 4, confirmed[0].Visits)
		require.Len(t, confirmed[0].Touches, 1, "%+v", confirmed[0].Touches)
		assert.Equal(t, 3, warned(), "once a minute")
		assert.NotContains(t, log.String(), "shop.example", "nothing of a request")

		// What is of another site stays so.
		time.Sleep(time.Hour)
		b.get(anchor, fetch, header("Referer", shop+"/y"), header("Revisit-Page", "/z"), header("Revisit-Referrer", "https://news.example/"))
		time.Sleep(time.Hour)
		b.get("/x", metadata("same-site", "navigate", "document"), header("Referer", "https://blog.shop.example/"))
		time.Sleep(time.Hour)
		b.get("/x", typed, header("Referer", "https://other.example/"))
		confirmed, _ = store.sessions(t)
		var sources []string
		for _, touch := range confirmed[0].Touches {
			sources = append(sources, touch.Source)
		}
		assert.Equal(t, []string{"crm", "news.example", "blog.shop.example", "other.example"}, sources)

		// An image that a style sheet of another site has asked for says same-origin, too, with
		// the Referer of that sheet: it counts no view, brings no campaign and joins nobody.
		before, _ := store.sessions(t)
		time.Sleep(time.Hour)
		n := warned()
		b.get(anchor, image, header("Referer", "https://cdn.example/style.css?utm_source=thief"))
		after, _ := store.sessions(t)
		assert.Equal(t, before[0].Hits, after[0].Hits)
		assert.Len(t, after[0].Touches, 4)
		assert.Equal(t, n+1, warned(), "nor does the site's own pixel count, and that is said")

		// Back to the page of a form, and never to another host.
		resp := b.do("POST", "/revisit/forget", link, header("Referer", shop+"//evil.example/account"))
		assert.Equal(t, http.StatusSeeOther, resp.StatusCode)
		to, err := url.Parse(resp.Header.Get("Location"))
		require.NoError(t, err)
		assert.Empty(t, to.Host)
	})
}
