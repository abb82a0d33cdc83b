package proxies

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/revisit-go/revisit"
)

// each runs a test for each proxy that there is one of in docs/deploy.md.
func each(t *testing.T, test func(t *testing.T, p proxy)) {
	for _, p := range proxies {
		if !p.negates {
			t.Run(p.name, func(t *testing.T) {
				t.Parallel()
				test(t, p)
			})
		}
	}
}

// The tag alone brings the visitor back, whatever the proxy has made of it.
func TestRecognisedBehind(t *testing.T) {
	each(t, func(t *testing.T, p proxy) {
		o := newOrigin(t, revisit.ETag{}, nil)
		address := p.start(t, o.address)
		for _, path := range pages {
			for _, encoding := range []string{"identity", "gzip", "br", "zstd", "gzip, deflate, br, zstd"} {
				name := fmt.Sprint(path, " ", encoding)
				c := newClient(name, address)
				first, _ := c.do(t, "GET", path, encoding)
				require.Equal(t, 200, first.StatusCode, name)
				require.Len(t, tokens(first), 1, "%s: the tag is %q", name, first.Header.Get("Etag"))
				via, _ := o.recognised(name)
				require.Equal(t, "new", via, name)
				require.Equal(t, "shop.example", o.host, "the site sees its own host")

				again, _ := c.do(t, "GET", path, encoding)
				via, sessions := o.recognised(name)
				assert.Equal(t, "etag", via, "%s: %s", name, first.Header.Get("Etag"))
				assert.Equal(t, 1, sessions, name)
				assert.Equal(t, 304, again.StatusCode, "%s: %s", name, first.Header.Get("Etag"))

				o.change()
				changed, body := c.do(t, "GET", path, encoding)
				via, sessions = o.recognised(name)
				assert.Equal(t, "etag", via, name)
				assert.Equal(t, 1, sessions, name)
				assert.Equal(t, 200, changed.StatusCode, name)
				if changed.Header.Get("Content-Encoding") != "br" && changed.Header.Get("Content-Encoding") != "zstd" {
					assert.Equal(t, content(path, o.version), body, name)
				}
			}
		}
	})
}

// Squid tells nobody of its clients.
func TestSquidKeepsItsManagerToItself(t *testing.T) {
	for _, p := range proxies {
		if p.name != "squid" {
			continue
		}
		o := newOrigin(t, revisit.ETag{}, nil)
		c := newClient("c", p.start(t, o.address))
		for _, path := range []string{"/squid-internal-mgr/info", "/squid-internal-mgr/client_list"} {
			resp, _ := c.do(t, "GET", path, "identity")
			assert.Equal(t, 403, resp.StatusCode, path)
		}
	}
}

// What docs/deploy.md says of proxies that need a setting is so.
func TestWithoutTheSettingNoTagComesBack(t *testing.T) {
	for _, p := range proxies {
		if !p.negates {
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			o := newOrigin(t, revisit.ETag{}, nil)
			c := newClient("c", p.start(t, o.address))
			for range 3 {
				c.do(t, "GET", "/tagged", "identity")
				via, _ := o.recognised("c")
				assert.Equal(t, "new", via)
			}
		})
	}
}

// Invariant 1, by real caches: nobody is given the token of somebody else.
func TestNoTokenLeaks(t *testing.T) {
	each(t, func(t *testing.T, p proxy) {
		for _, strategy := range []revisit.Strategy{revisit.Cookie{}, revisit.ETag{}, revisit.Hybrid(revisit.Cookie{}, revisit.ETag{})} {
			o := newOrigin(t, strategy, nil)
			address := p.start(t, o.address)
			given := 0
			for way := range ways {
				leaks, n := interleave(t, o, address, way)
				assert.Empty(t, leaks, "%T %v", strategy, ways[way])
				given += n
			}
			assert.Greater(t, given, 100, "tokens that were given out")
		}
	})
}

// A site that makes private pages public, outside of the Handler, leaks. This is what the
// documentation warns of, and shows that the test above can fail.
func TestALeakIsSeen(t *testing.T) {
	for _, p := range proxies {
		if !p.cache || p.negates {
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			o := newOrigin(t, revisit.Hybrid(revisit.Cookie{}, revisit.ETag{}), func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					next.ServeHTTP(public{w}, r)
				})
			})
			leaks, _ := interleave(t, o, p.start(t, o.address), 0)
			assert.NotEmpty(t, leaks)
		})
	}
}

type public struct{ http.ResponseWriter }

func (w public) WriteHeader(status int) {
	w.Header().Set("Cache-Control", "public, max-age=60")
	w.Header().Del("Set-Cookie")
	w.ResponseWriter.WriteHeader(status)
}

func (w public) Write(b []byte) (int, error) { return w.ResponseWriter.Write(b) }

// interleave sends 70 requests of two visitors and of newcomers in turn. It returns what
// was given to the wrong one, and how many tokens were given out.
func interleave(t *testing.T, o *origin, address string, way int) (leaks []string, given int) {
	rnd := rand.New(rand.NewPCG(20261123, uint64(way)))
	two := [2]*client{newClient(fmt.Sprint("a", way), address), newClient(fmt.Sprint("b", way), address)}
	for i := range 90 { // so many that those without a token, as HEAD, leave enough
		c := two[i%2]
		if rnd.IntN(5) == 0 {
			c = newClient(fmt.Sprint("newcomer ", way, " ", i), address)
		}
		if rnd.IntN(10) == 0 {
			o.change()
		}
		if rnd.IntN(20) == 0 {
			c.cookie = ""
		}
		path := query(pages[rnd.IntN(len(pages))], way)
		encoding := []string{"identity", "gzip"}[rnd.IntN(2)]
		method, more := "GET", []string{}
		if rnd.IntN(2) == 0 {
			more = append(more, "Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document")
		}
		if rnd.IntN(3) == 0 {
			more = append(more, "X-Consent", "no") // so that a cache may hold pages without a token
		}
		switch rnd.IntN(10) {
		case 0:
			method = "HEAD"
		case 1:
			more = append(more, "Range", "bytes=0-99", "If-None-Match", "", "If-Modified-Since", "")
		case 2:
			more = append(more, "Cache-Control", "no-cache", "If-None-Match", "", "If-Modified-Since", "") // a hard reload
		}
		resp, _ := c.do(t, method, path, encoding, more...)
		for _, token := range tokens(resp) {
			given++
			if !o.owns(c.name, token) {
				leaks = append(leaks, fmt.Sprintf("request %d, %s %s of %s: %d %v", i, method, path, c.name, resp.StatusCode, resp.Header))
			}
		}
	}
	return leaks, given
}

// A shared cache in front of a wrapped handler gives clients what it would give them in
// front of the handler alone, or what is newer: what was heuristically kept is private now.
func TestACacheChangesNothing(t *testing.T) {
	for _, p := range proxies {
		if !p.cache || p.negates {
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			plain, wrapped := newOrigin(t, nil, nil), newOrigin(t, revisit.Hybrid(revisit.Cookie{}, revisit.ETag{}), nil)
			front := [2]string{p.start(t, plain.address), p.start(t, wrapped.address)}
			newer, notModified := 0, 0
			for way := range ways {
				rnd := rand.New(rand.NewPCG(20261124, uint64(way)))
				var clients [2][3]*client // with the plain one, with the wrapped one
				for i := range clients {
					for j := range clients[i] {
						clients[i][j] = newClient(fmt.Sprint(way, " ", j), front[i])
					}
				}
				for i := range 60 {
					if rnd.IntN(4) == 0 {
						plain.change()
						wrapped.change()
					}
					j, page, encoding := rnd.IntN(3), pages[rnd.IntN(len(pages))], []string{"identity", "gzip"}[rnd.IntN(2)]
					kind := rnd.IntN(9)
					a := end(t, clients[0][j], query(page, way), encoding, kind)
					b := end(t, clients[1][j], query(page, way), encoding, kind)
					if kind < 2 {
						// What the cache sees of a page for the first time is a condition or a part,
						// and then somebody else asks for all of it.
						path := fmt.Sprint(query(page, way), "&new=", i)
						condition := [][]string{{"If-None-Match", clients[0][j].stored[query(page, way)+" "+encoding].tag}, {"Range", "bytes=5-9"}}[kind]
						clients[0][j].do(t, "GET", path, encoding, condition...)
						if kind == 0 {
							condition[1] = clients[1][j].stored[query(page, way)+" "+encoding].tag
						}
						clients[1][j].do(t, "GET", path, encoding, condition...)
						a = end(t, clients[0][(j+1)%3], path, encoding, 0)
						b = end(t, clients[1][(j+1)%3], path, encoding, 0)
					}
					if b.status == http.StatusOK && b.header == nil {
						notModified++
					}
					assert.Equal(t, a.status, b.status, "%v, request %d, kind %d", ways[way], i, kind)
					if a.header != nil && b.header != nil {
						assert.Equal(t, a.header, b.header, "%v, request %d, kind %d", ways[way], i, kind)
					}
					if a.body == b.body {
						continue
					}
					newer++
					require.Equal(t, content(page, wrapped.version), b.body, "%v, request %d, kind %d: alone %d, wrapped %d", ways[way], i, kind, a.status, b.status)
				}
			}
			assert.Greater(t, notModified, 50)
			t.Logf("%d answers were newer than what the cache gives for the handler alone", newer)
		})
	}
}

// A cache must not keep what was meant for one client's condition: neither for a tag that
// somebody has made up, nor for one that was given out while the page was private.
func TestATagPoisonsNoCache(t *testing.T) {
	const private, public = 1, 11
	each(t, func(t *testing.T, p proxy) {
		if !p.cache {
			return // it has nothing to be poisoned
		}
		for i, path := range []string{"/tagged", "/dated", "/plain"} {
			o := newOrigin(t, revisit.ETag{}, nil)
			address := p.start(t, o.address)
			attacker, victim := newClient("attacker", address), newClient("victim", address)
			url := query(path, public)
			tag := strings.Repeat("A", 43) + []string{"~v0~", "~~mX~", "~~hX~"}[i]
			attacker.do(t, "GET", url, "identity", "If-None-Match", `"`+tag+`"`, "If-Modified-Since", modified(0).Format(http.TimeFormat), "X-Consent", "no")
			resp, body := victim.do(t, "GET", url, "identity")
			assert.Equal(t, 200, resp.StatusCode, "%s: a made-up tag", path)
			assert.Equal(t, content(path, 0), body, path)

			visitor, stranger := newClient("visitor", address), newClient("stranger", address)
			url += "&then=public"
			first, _ := visitor.do(t, "GET", url+"&private=yes", "identity")
			visitor.do(t, "GET", url, "identity", "If-None-Match", first.Header.Get("Etag"), "If-Modified-Since", first.Header.Get("Last-Modified"))
			resp, body = stranger.do(t, "GET", url, "identity")
			assert.Equal(t, 200, resp.StatusCode, "%s: a tag from before", path)
			assert.Equal(t, content(path, 0), body, path)
		}
	})
}

// An ending is what a client has after a request: a 304 is the 200 that it has stored.
type ending struct {
	status int
	body   string
	header http.Header
}

// kept are the fields that a cache and a wrapper have to leave as they are.
var kept = []string{"Content-Type", "Content-Language", "Vary"}

func keptOf(h http.Header) http.Header {
	of := make(http.Header)
	for _, name := range kept {
		if lines := h.Values(name); len(lines) > 0 {
			of[name] = lines
		}
	}
	return of
}

// end sends a request of one of several kinds, and returns what the client ends up with.
func end(t *testing.T, c *client, path, encoding string, kind int) ending {
	have := c.stored[path+" "+encoding]
	var resp *http.Response
	var body string
	switch kind {
	case 0: // the first one again
		resp, body = c.do(t, "GET", path, encoding, "If-None-Match", "", "If-Modified-Since", "")
	case 1: // a download goes on
		if encoding != "identity" || have.tag == "" || strings.HasPrefix(have.tag, "W/") {
			resp, body = c.do(t, "GET", path, encoding)
			break
		}
		resp, body = c.do(t, "GET", path, encoding, "Range", "bytes=100-", "If-Range", have.tag, "If-None-Match", "", "If-Modified-Since", "")
		if resp.StatusCode == http.StatusPartialContent {
			body = have.body[:100] + body
		}
	case 2:
		resp, _ = c.do(t, "HEAD", path, encoding)
		if resp.StatusCode == http.StatusNotModified {
			return ending{http.StatusOK, "", nil}
		}
		of := keptOf(resp.Header)
		of.Del("Vary") // that of a cache which compresses, if it has asked for the body
		return ending{resp.StatusCode, "", of}
	default:
		resp, body = c.do(t, "GET", path, encoding)
	}
	switch resp.StatusCode {
	case http.StatusNotModified:
		return ending{http.StatusOK, have.body, nil}
	case http.StatusPartialContent:
		return ending{http.StatusOK, body, nil}
	}
	return ending{resp.StatusCode, body, keptOf(resp.Header)}
}
