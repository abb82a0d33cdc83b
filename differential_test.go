package revisit_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/revisit-go/revisit"
)

// Invariant 2. The same random requests go to a handler alone and to the
// wrapped one; what a caching client ends up with must be the same, once our
// token is taken out.

// origin is content that changes between requests, with a handler for it.
type origin struct {
	name    string
	handler func(o *origin, w http.ResponseWriter, r *http.Request)
	dir     string
	version int
	cache   string // Cache-Control, if any
}

func (o *origin) content() string {
	return fmt.Sprintf("%s version %d: ", o.name, o.version) + strings.Repeat("0123456789", 5+o.version%3)
}

func (o *origin) modified() time.Time { return time.Unix(1_600_000_000+int64(o.version)*3600, 0).UTC() }

func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if o.cache != "" {
		w.Header().Set("Cache-Control", o.cache)
	}
	o.handler(o, w, r)
}

func (o *origin) serveContent(w http.ResponseWriter, r *http.Request, tag string, modified time.Time) {
	if tag != "" {
		w.Header().Set("Etag", tag)
	}
	http.ServeContent(w, r, "x.txt", modified, strings.NewReader(o.content()))
}

// origins are the kinds of handlers there are.
func origins(t testing.TB) []*origin {
	dir := t.TempDir()
	files := http.FileServer(http.Dir(dir))
	version := func(o *origin) string { return "v" + strconv.Itoa(o.version) }
	return []*origin{
		{name: "FileServer", dir: dir, handler: func(o *origin, w http.ResponseWriter, r *http.Request) { files.ServeHTTP(w, r) }},
		{name: "FileServer with a tag", dir: dir, handler: func(o *origin, w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Etag", `"`+version(o)+`"`)
			files.ServeHTTP(w, r)
		}},
		{name: "strong", handler: func(o *origin, w http.ResponseWriter, r *http.Request) {
			o.serveContent(w, r, `"`+version(o)+`"`, time.Time{})
		}},
		{name: "strong and dated", handler: func(o *origin, w http.ResponseWriter, r *http.Request) {
			o.serveContent(w, r, `"`+version(o)+`"`, o.modified())
		}},
		{name: "weak", handler: func(o *origin, w http.ResponseWriter, r *http.Request) {
			o.serveContent(w, r, `W/"`+version(o)+`"`, time.Time{})
		}},
		{name: "a strange tag", handler: func(o *origin, w http.ResponseWriter, r *http.Request) {
			o.serveContent(w, r, []string{`"~h,` + version(o) + `~"`, `""`, `"a~, ~` + version(o) + `-gzip"`}[o.version%3], time.Time{})
		}},
		{name: "dated", handler: func(o *origin, w http.ResponseWriter, r *http.Request) {
			o.serveContent(w, r, "", o.modified())
		}},
		{name: "no validator", handler: func(o *origin, w http.ResponseWriter, r *http.Request) { io.WriteString(w, o.content()) }},
		{name: "no validator, with ranges", handler: func(o *origin, w http.ResponseWriter, r *http.Request) {
			o.serveContent(w, r, "", time.Time{})
		}},
		{name: "flushed", handler: func(o *origin, w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, o.content()[:5])
			http.NewResponseController(w).Flush()
			io.WriteString(w, o.content()[5:])
		}},
		{name: "a tag, but no conditions", handler: func(o *origin, w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Etag", `"`+version(o)+`"`)
			io.WriteString(w, o.content())
		}},
		{name: "errors", handler: func(o *origin, w http.ResponseWriter, r *http.Request) {
			if o.version%2 == 1 {
				http.Error(w, "gone", http.StatusGone)
				return
			}
			o.serveContent(w, r, `"`+version(o)+`"`, time.Time{})
		}},
		{name: "shared", cache: "public, max-age=60", handler: func(o *origin, w http.ResponseWriter, r *http.Request) {
			o.serveContent(w, r, `"`+version(o)+`"`, o.modified())
		}},
		{name: "no-store", cache: "no-store", handler: func(o *origin, w http.ResponseWriter, r *http.Request) {
			o.serveContent(w, r, `"`+version(o)+`"`, o.modified())
		}},
		{name: "shared at times", handler: func(o *origin, w http.ResponseWriter, r *http.Request) {
			if o.version%2 == 1 {
				w.Header().Set("Cache-Control", "max-age=60")
			}
			o.serveContent(w, r, `"v`+strconv.Itoa(o.version/2)+`"`, time.Time{})
		}},
	}
}

// change brings the content to another version, perhaps one that was there.
func (o *origin) change(version int) {
	o.version = version
	if o.dir == "" {
		return
	}
	path := filepath.Join(o.dir, "x.txt")
	if err := os.WriteFile(path, []byte(o.content()), 0o600); err != nil {
		panic(err)
	}
	if err := os.Chtimes(path, o.modified(), o.modified()); err != nil {
		panic(err)
	}
}

// cachingClient is a client that has stored what it was given, all of it.
type cachingClient struct {
	handler http.Handler
	stored  []storedResponse // the last one is the one it would revalidate
}

type storedResponse struct{ tag, date, body string }

// step is one request, in terms that mean the same to both clients.
type step struct {
	method    string
	which     int // how far back the tag is, of what was stored
	noneMatch int // a form of If-None-Match
	match     int
	ifRange   int
	since     int
	unmod     int
	ranged    int
	kind      int
}

var ranges = []string{"", "bytes=0-4", "bytes=10-", "bytes=-3", "bytes=1-2,5-6", "bytes=900-", "nonsense", "items=0-3"}

var kinds = []kind{typed, link, image, fetch, bare, embedded, clickFrom}

// tagList writes a tag in one of the forms in which it may come, beside others.
// Without a tag only the others are left. A suffix is what a proxy has put
// there: it is put on our tags only, because alone it would have hidden that
// nothing has changed. Several lines come to the handler alone as one, because
// ServeContent reads the first one only.
func tagList(form int, tag string) []string {
	ours := plainTag(tag) != strings.TrimPrefix(tag, "W/")
	weak, strong := "", ""
	if tag != "" {
		weak = "W/" + strings.TrimPrefix(tag, "W/")
		strong = tag
		if ours && (form == 5 || form == 6) {
			strong = strings.TrimSuffix(strong, `"`) + `-gzip"`
			weak = strings.TrimSuffix(weak, `"`) + `-gzip"`
		}
	}
	var lines []string
	switch form {
	case 1, 5:
		lines = []string{strong}
	case 2:
		lines = []string{`"other"`, strong, ` W/"third"`}
	case 3:
		lines = []string{weak}
	case 4:
		lines = []string{`"a,b"`, strong}
	case 6:
		lines = []string{weak, `"x~y"`}
	case 7:
		lines = []string{`"unknown~tag"`, `W/"u"`}
	case 8:
		lines = []string{"*"}
	}
	lines = slices.DeleteFunc(lines, func(s string) bool { return s == "" })
	if len(lines) == 0 || ours && form == 4 {
		return lines
	}
	return []string{strings.Join(lines, ", ")}
}

// plainTag is the handler's part of a tag.
func plainTag(tag string) string {
	tag = strings.TrimPrefix(tag, "W/")
	if len(tag) > 46 && tag[44] == '~' && strings.HasSuffix(tag, `~"`) {
		own := tag[45 : len(tag)-2]
		return `"` + strings.TrimPrefix(own, "~e") + `"`
	}
	return tag
}

// ask sends the step, and returns what the client ends up with.
func (c *cachingClient) ask(s step, alone *cachingClient) (end string, resp *http.Response) {
	var mine storedResponse
	theirs := storedResponse{} // what the client of the handler alone has
	if n := len(alone.stored); n > 0 {
		i := n - 1 - s.which%n
		theirs = alone.stored[i]
		if len(c.stored) == n {
			mine = c.stored[i]
		}
	}
	r := httptest.NewRequest(s.method, "/x.txt", nil)
	kinds[s.kind%len(kinds)](r.Header)
	// What needs a tag is asked only where the handler alone gave one, and a
	// strong comparison without a suffix: alone there is none.
	if lines := tagList(s.noneMatch, mine.tag); len(lines) > 0 && (s.noneMatch != 8 || theirs.tag != "") {
		r.Header["If-None-Match"] = lines
	}
	if s.match != 5 && s.match != 6 && theirs.tag != "" {
		if lines := tagList(s.match, mine.tag); len(lines) > 0 {
			r.Header["If-Match"] = lines
		}
	}
	if s.ifRange > 0 && theirs.tag != "" {
		r.Header.Set("If-Range", mine.tag)
	} else if s.ifRange > 1 && theirs.date != "" {
		r.Header.Set("If-Range", theirs.date)
	}
	dates := []string{"", theirs.date, time.Unix(1_600_000_000, 0).UTC().Format(http.TimeFormat), time.Unix(1_700_000_000, 0).UTC().Format(http.TimeFormat)}
	if d := dates[s.since%4]; d != "" {
		r.Header.Set("If-Modified-Since", d)
	}
	if d := dates[s.unmod%4]; d != "" {
		r.Header.Set("If-Unmodified-Since", d)
	}
	if g := ranges[s.ranged%len(ranges)]; g != "" {
		r.Header.Set("Range", g)
	}

	w := httptest.NewRecorder()
	c.handler.ServeHTTP(w, r)
	resp = w.Result()
	body := w.Body.String()
	if s.method == http.MethodHead {
		body = ""
	}
	switch resp.StatusCode {
	case http.StatusNotModified:
		// The stored response that the client believes it to be about.
		body = mine.body
		if sent := resp.Header.Get("Etag"); sent != "" && len(r.Header["If-None-Match"]) > 0 {
			for _, have := range c.stored {
				if plainTag(have.tag) == plainTag(sent) {
					body = have.body
				}
			}
		}
		if s.method == http.MethodHead {
			body = ""
		}
		return "200 " + body, resp
	case http.StatusOK:
		return "200 " + body, resp
	case http.StatusPartialContent:
		if boundary := strings.Index(resp.Header.Get("Content-Type"), "boundary="); boundary >= 0 {
			body = strings.ReplaceAll(body, resp.Header.Get("Content-Type")[boundary+9:], "BOUNDARY")
		}
		return "206 " + resp.Header.Get("Content-Range") + " " + body, resp
	}
	return fmt.Sprint(resp.StatusCode, " ", body), resp
}

// both sends a step to both, and compares.
func both(o *origin, alone, wrapped *cachingClient, s step) error {
	want, plain := alone.ask(s, alone)
	got, ours := wrapped.ask(s, alone)
	if plain.StatusCode == http.StatusNotModified && ours.StatusCode == http.StatusOK && s.method == http.MethodGet {
		// The one allowed difference: a 200 that replaces a token. It is never stale.
		want = "200 " + o.content()
	}
	if got != want {
		return fmt.Errorf("%s: %+v:\nalone   (%d) %q\nwrapped (%d) %q", o.name, s, plain.StatusCode, want, ours.StatusCode, got)
	}
	// What a shared cache may keep must be the handler's own, to the last header.
	if cc := plain.Header.Get("Cache-Control"); strings.Contains(cc, "max-age=60") && plain.StatusCode == ours.StatusCode {
		a, b := fmt.Sprint(withoutBoundary(plain.Header)), fmt.Sprint(withoutBoundary(ours.Header))
		if a != b {
			return fmt.Errorf("%s: %+v: a shared answer has changed:\nalone   %v\nwrapped %v", o.name, s, a, b)
		}
	}
	if s.method != http.MethodGet || plain.StatusCode != http.StatusOK && ours.StatusCode != http.StatusOK {
		return nil
	}
	// Both keep what one of them was given in full.
	keep := func(resp *http.Response, c *cachingClient) storedResponse {
		r := storedResponse{resp.Header.Get("Etag"), resp.Header.Get("Last-Modified"), strings.TrimPrefix(want, "200 ")}
		if r.date == "" { // of a 304, which leaves it out beside a tag
			r.date = ours.Header.Get("Last-Modified")
		}
		if resp.StatusCode == http.StatusNotModified && r.tag == "" {
			r.tag = c.stored[len(c.stored)-1-s.which%len(c.stored)].tag
		}
		return r
	}
	a, b := keep(plain, alone), keep(ours, wrapped)
	alone.stored, wrapped.stored = append(alone.stored, a), append(wrapped.stored, b)
	return nil
}

// withoutBoundary takes out what differs from answer to answer.
func withoutBoundary(h http.Header) http.Header {
	h = h.Clone()
	if kind, _, ok := strings.Cut(h.Get("Content-Type"), "boundary="); ok {
		h.Set("Content-Type", kind)
	}
	return h
}

func wrap(t testing.TB, h http.Handler, permission *revisit.Permission) http.Handler {
	return newTracker(t, revisit.Config{
		Strategy: revisit.ETag{},
		Consent:  func(*http.Request) revisit.Permission { return *permission },
	}).Handler(h)
}

func TestDifferential(t *testing.T) {
	rounds := 100 * full
	for _, o := range origins(t) {
		t.Run(o.name, func(t *testing.T) {
			for seed := range rounds {
				rnd := rand.New(rand.NewPCG(uint64(seed), 7))
				permission := revisit.Restore
				alone := &cachingClient{handler: o}
				wrapped := &cachingClient{handler: wrap(t, o, &permission)}
				o.change(0)
				sometimes := func(n int) int {
					if rnd.IntN(3) > 0 {
						return 0
					}
					return rnd.IntN(n)
				}
				var steps []step
				for range 12 {
					if rnd.IntN(3) == 0 {
						o.change(rnd.IntN(6))
					}
					permission = revisit.Restore
					if rnd.IntN(5) == 0 {
						permission = revisit.Permission(rnd.IntN(4))
					}
					s := step{
						method: []string{"GET", "GET", "GET", "HEAD"}[rnd.IntN(4)], which: sometimes(3), noneMatch: rnd.IntN(9),
						match: sometimes(9), ifRange: sometimes(3), since: sometimes(4), unmod: sometimes(4), ranged: sometimes(len(ranges)), kind: sometimes(len(kinds)),
					}
					if rnd.IntN(10) == 0 && len(wrapped.stored) > 0 {
						// Somebody has tampered with the token.
						last := &wrapped.stored[len(wrapped.stored)-1]
						if at := strings.IndexByte(last.tag, '"') + 1; at > 0 && len(last.tag) > at+44 {
							last.tag = last.tag[:at] + flip(last.tag[at:at+43]) + last.tag[at+43:]
						}
					}
					steps = append(steps, s)
					require.NoError(t, both(o, alone, wrapped, s), "seed %d, %d steps", seed, len(steps))
				}
			}
		})
	}
}

func FuzzDifferential(f *testing.F) {
	all := origins(f)
	permission := revisit.Restore
	handlers := make([]http.Handler, len(all))
	for i, o := range all {
		handlers[i] = wrap(f, o, &permission)
	}
	f.Add([]byte{2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 1, 0, 0, 5})
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) == 0 {
			return
		}
		which := int(data[0]) % len(all)
		o := all[which]
		alone := &cachingClient{handler: o}
		wrapped := &cachingClient{handler: handlers[which]}
		o.change(0)
		permission = revisit.Restore
		for data = data[1:]; len(data) >= 10; data = data[10:] {
			o.change(int(data[0]) % 6)
			permission = revisit.Permission(data[1]/64) ^ revisit.Restore
			s := step{
				method: []string{"GET", "HEAD"}[data[2]%2], which: int(data[2] / 2), noneMatch: int(data[3]) % 9, match: int(data[4]) % 9,
				ifRange: int(data[5]) % 3, since: int(data[6]), unmod: int(data[7]), ranged: int(data[8]), kind: int(data[9]),
			}
			if err := both(o, alone, wrapped, s); err != nil {
				t.Fatal(err)
			}
		}
	})
}

var wholeTag = regexp.MustCompile(`"[A-Za-z0-9_-]{43}~[^"]*~[^"~]*"`)

// The parser of tags takes anything, and what it takes apart it can put
// together again.
func FuzzTagHeaders(f *testing.F) {
	tracker := newTracker(f, revisit.Config{Strategy: revisit.ETag{}})
	b := newBrowser(tracker.Handler(seen))
	b.get("/")
	f.Add("If-None-Match", b.tags["/"], `"x", W/"y,z"`)
	f.Add("If-Match", `"`+strings.Repeat("A", 43)+`~v~-gzip"`, "*")
	f.Add("If-Range", `W/"unclosed`, ",,, ,")
	f.Fuzz(func(t *testing.T, name, one, two string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header[http.CanonicalHeaderKey(name)] = []string{one, two}
		w := httptest.NewRecorder()
		before := tracker.Stats()
		b.handler.ServeHTTP(w, r)
		after := tracker.Stats()
		// A token is used only out of a whole tag, by the word of another parser.
		// (Which token cannot be said: another process of the fuzzer has sealed it.)
		if after.Returning["etag"] > before.Returning["etag"] && !wholeTag.MatchString(one) && !wholeTag.MatchString(two) {
			t.Fatalf("recognised by %q, %q", one, two)
		}
	})
}
