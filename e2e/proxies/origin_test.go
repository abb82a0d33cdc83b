package proxies

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/revisit-go/revisit"
)

// An origin is a site of three pages, one with a tag of its own, one with a date and one
// with neither. Its query ?way= says how the answer speaks to caches, see ways.
type origin struct {
	address string

	mu      sync.Mutex
	version int
	seen    map[string][]revisit.ID // by client: the sessions that it was
	owners  map[revisit.ID]string   // the client that a session was first
	via     map[string]string       // by client: how it was recognised the last time
	host    string                  // of the last request
}

var pages = []string{"/tagged", "/dated", "/plain"}

// ways are the headers by which a handler may speak to caches.
var ways = []http.Header{
	{},
	{"Cache-Control": {"private"}},
	{"Cache-Control": {"private, max-age=60"}},
	{"Cache-Control": {"no-cache"}},
	{"Cache-Control": {"no-store"}},
	{"Cache-Control": {"must-revalidate"}},
	{"Cache-Control": {"max-age=0"}},
	{"Cache-Control": {"max-age=0, must-revalidate"}},
	{"Cache-Control": {"max-age=60"}},
	{"Cache-Control": {"public"}},
	{"Cache-Control": {"public, max-age=0"}},
	{"Cache-Control": {"public, max-age=60"}},
	{"Cache-Control": {"s-maxage=60"}},
	{"Cache-Control": {"max-age=0, s-maxage=60"}},
	{"Cache-Control": {`private="X-Name", max-age=60`}},
	{"Cache-Control": {`no-cache="Set-Cookie", max-age=60`}},
	{"Cache-Control": {"max-age=60, stale-while-revalidate=60, immutable"}},
	{"Expires": {"Fri, 01 Jan 2100 00:00:00 GMT"}},
	{"Pragma": {"no-cache"}},
	{"Cdn-Cache-Control": {"max-age=60"}},
	{"Surrogate-Control": {"max-age=60"}, "Cache-Control": {"no-cache"}},
	{"X-Accel-Expires": {"60"}, "Cache-Control": {"private"}},
}

// newOrigin serves the site, wrapped if there is a strategy. wrong stands outside of it.
func newOrigin(t *testing.T, strategy revisit.Strategy, wrong func(http.Handler) http.Handler) *origin {
	o := &origin{seen: make(map[string][]revisit.ID), owners: make(map[revisit.ID]string), via: make(map[string]string)}
	var h http.Handler = o
	if strategy != nil {
		tracker, err := revisit.New(revisit.Config{
			Keys: [][]byte{make([]byte, 32)}, Strategy: strategy,
			Consent: func(r *http.Request) revisit.Permission {
				if r.Header.Get("X-Consent") == "no" {
					return revisit.Unasked
				}
				return revisit.Restore
			},
		})
		require.NoError(t, err)
		t.Cleanup(func() { tracker.Close() })
		h = tracker.Handler(h)
	}
	if wrong != nil {
		h = wrong(h)
	}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	o.address = server.Listener.Addr().(*net.TCPAddr).String()
	return o
}

func (o *origin) change() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.version++
}

func modified(version int) time.Time { return time.Unix(1_600_000_000+int64(version)*3600, 0).UTC() }

// content is a page that is worth compressing.
func content(path string, version int) string {
	return fmt.Sprintf("<!doctype html><title>%s %d</title>", path, version) + strings.Repeat("<p>0123456789 abcdefghij</p>", 100)
}

func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	version := o.version
	client := r.Header.Get("X-Client")
	o.host = r.Host
	o.via[client] = ""
	if s, ok := revisit.FromContext(r.Context()); ok {
		o.via[client] = s.Via
		if !slices.Contains(o.seen[client], s.ID) {
			o.seen[client] = append(o.seen[client], s.ID)
		}
		if _, ok := o.owners[s.ID]; !ok {
			o.owners[s.ID] = client
		}
	}
	o.mu.Unlock()

	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	way, _ := strconv.Atoi(r.FormValue("way"))
	if r.FormValue("private") != "" {
		way = 1
	}
	for name, lines := range ways[way] {
		h[name] = lines
	}
	body := strings.NewReader(content(r.URL.Path, version))
	switch r.URL.Path {
	case "/tagged":
		h.Set("Etag", fmt.Sprintf(`"v%d"`, version))
		http.ServeContent(w, r, "", time.Time{}, body)
	case "/dated":
		http.ServeContent(w, r, "", modified(version), body)
	default:
		io.Copy(w, body)
	}
}

// recognised returns how the client was recognised the last time, and how many sessions
// it was.
func (o *origin) recognised(client string) (via string, sessions int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.via[client], len(o.seen[client])
}

// owns reports whether a token is of a session that the client was first. That it was the
// session at some time proves nothing: whoever sends somebody else's token is taken for them.
func (o *origin) owns(client, token string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.owners[idOf(token)] == client
}

// A client is a browser's cache and cookies, as far as they matter here.
type client struct {
	name   string
	base   string
	cookie string
	stored map[string]stored // by URL
}

type stored struct{ tag, date, body string }

var transport = &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 10}

func newClient(name, address string) *client {
	return &client{name: name, base: "http://" + address, stored: make(map[string]stored)}
}

// do sends a request with what is stored, and stores what comes back, gzip undone.
func (c *client) do(t *testing.T, method, path string, encoding string, more ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, c.base+path, nil)
	require.NoError(t, err)
	r.Host = "shop.example"
	r.Header.Set("X-Client", c.name)
	r.Header.Set("Accept", "text/html,*/*;q=0.8")
	r.Header.Set("Accept-Encoding", encoding)
	if c.cookie != "" {
		r.Header.Set("Cookie", c.cookie)
	}
	have, ok := c.stored[path+" "+encoding]
	if ok && have.tag != "" {
		r.Header.Set("If-None-Match", have.tag)
	}
	if ok && have.date != "" {
		r.Header.Set("If-Modified-Since", have.date)
	}
	for i := 0; i < len(more); i += 2 {
		if more[i+1] == "" {
			r.Header.Del(more[i])
		} else {
			r.Header.Set(more[i], more[i+1])
		}
	}
	resp, err := transport.RoundTrip(r)
	require.NoError(t, err)
	b, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	require.NoError(t, err)
	if resp.Header.Get("Content-Encoding") == "gzip" && len(b) > 0 && resp.StatusCode == http.StatusOK {
		z, err := gzip.NewReader(bytes.NewReader(b))
		require.NoError(t, err)
		b, err = io.ReadAll(z)
		require.NoError(t, err)
	}
	body := string(b)
	for _, k := range resp.Cookies() {
		c.cookie = k.Name + "=" + k.Value
	}
	if resp.StatusCode == http.StatusOK && method == http.MethodGet {
		c.stored[path+" "+encoding] = stored{resp.Header.Get("Etag"), resp.Header.Get("Last-Modified"), body}
	}
	return resp, body
}

// tokens returns those in a response.
func tokens(resp *http.Response) []string {
	var found []string
	tag := strings.TrimPrefix(resp.Header.Get("Etag"), "W/")
	if len(tag) > 46 && tag[0] == '"' && tag[44] == '~' {
		found = append(found, tag[1:44])
	}
	for _, k := range resp.Cookies() {
		if k.Name == "__Host-revisit" && k.Value != "" {
			found = append(found, k.Value)
		}
	}
	return found
}

func query(path string, way int) string {
	return path + "?" + url.Values{"way": {strconv.Itoa(way)}}.Encode()
}
