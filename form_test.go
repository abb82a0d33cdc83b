package revisit_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
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
)

// slowPost sends the header of a POST and the beginning of its form, and no more.
func slowPost(t *testing.T, server *httptest.Server, path, kind, body string) *bufio.Reader {
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: shop\r\nOrigin: http://shop\r\nUser-Agent: Mozilla/5.0 Firefox/140.0\r\nContent-Type: %s\r\nContent-Length: 5000\r\n\r\n%s", path, kind, body)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(20*time.Second)))
	return bufio.NewReader(conn)
}

// A handler that refuses a request, or reads it with a deadline, does not wait for a client
// that is slow to send it.
func TestNobodyWaitsForAForm(t *testing.T) {
	handlers := map[string]http.HandlerFunc{
		"401": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Connection", "close")
			http.Error(w, "no", http.StatusUnauthorized)
		},
		"408": func(w http.ResponseWriter, r *http.Request) {
			http.NewResponseController(w).SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			_, err := io.ReadAll(r.Body)
			assert.Error(t, err)
			w.Header().Set("Connection", "close")
			http.Error(w, "late", http.StatusRequestTimeout)
		},
		"403": func(w http.ResponseWriter, r *http.Request) { // which asks, with a deadline
			http.NewResponseController(w).SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			_, ok := revisit.FromContext(r.Context())
			assert.False(t, ok)
			w.Header().Set("Connection", "close")
			http.Error(w, "no", http.StatusForbidden)
		},
	}
	for _, strategy := range []revisit.Strategy{nil, revisit.Cookie{}, revisit.ETag{}} {
		tracker := newTracker(t, revisit.Config{Strategy: strategy})
		for status, h := range handlers {
			for _, kind := range []string{"application/x-www-form-urlencoded", "multipart/form-data; boundary=b"} {
				server := httptest.NewServer(tracker.Handler(h))
				answer, err := slowPost(t, server, "/", kind, "a=b").ReadString('\n')
				require.NoError(t, err)
				assert.Contains(t, answer, status)
				server.CloseClientConnections()
				server.Close()
			}
		}
		assert.Zero(t, tracker.Stats().New)
	}
}

// Nobody knows whose a form is that was not read, so no session begins with it: the visitor
// has one already.
func TestAFormThatNobodyReads(t *testing.T) {
	tracker := newTracker(t, revisit.Config{})
	b := newBrowser(tracker.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) })))
	r := b.request("POST", "/", link, header("Content-Type", "application/x-www-form-urlencoded"))
	r.Body = io.NopCloser(strings.NewReader("a=b"))
	assert.Empty(t, b.send(r).Cookies())
	assert.Zero(t, tracker.Stats().New)

	b = newBrowser(tracker.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.NoError(t, r.ParseForm())
		w.WriteHeader(http.StatusNoContent)
	})))
	r = b.request("POST", "/", link, header("Content-Type", "application/x-www-form-urlencoded"))
	r.Body = io.NopCloser(strings.NewReader("a=b"))
	assert.NotEmpty(t, b.send(r).Cookies(), "one without a ticket begins a session")
}

// The session of a form is there whichever way the handler goes about it.
func TestAFormSpeaksWhenItIsAsked(t *testing.T) {
	var field string
	for name, read := range map[string]func(*http.Request) (*revisit.Session, bool){
		"the session first": func(r *http.Request) (*revisit.Session, bool) {
			s, ok := revisit.FromContext(r.Context())
			assert.Equal(t, "b", r.PostFormValue("a"))
			return s, ok
		},
		"the form first": func(r *http.Request) (*revisit.Session, bool) {
			assert.Equal(t, "b", r.PostFormValue("a"))
			return revisit.FromContext(r.Context())
		},
		"the body byte by byte": func(r *http.Request) (*revisit.Session, bool) {
			var one [1]byte
			for range 3 {
				r.Body.Read(one[:])
			}
			s, ok := revisit.FromContext(r.Context())
			rest, err := io.ReadAll(r.Body)
			assert.NoError(t, err)
			assert.True(t, strings.HasSuffix(string(rest), "&a=b"))
			return s, ok
		},
		"many at once": func(r *http.Request) (*revisit.Session, bool) {
			done := make(chan bool)
			for range 4 {
				go func() {
					revisit.FromContext(r.Context())
					revisit.Field(r.Context())
					done <- true
				}()
			}
			for range 4 {
				<-done
			}
			return revisit.FromContext(r.Context())
		},
	} {
		tracker := newTracker(t, revisit.Config{Strategy: revisit.ETag{}})
		var id string
		b := newBrowser(tracker.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == "POST" {
				s, ok := read(r)
				if assert.True(t, ok, name) {
					assert.Equal(t, id, s.ID.String(), name)
					assert.Equal(t, "form", s.Via, name)
				}
				return
			}
			field = string(revisit.Field(r.Context()))
			s, _ := revisit.FromContext(r.Context())
			id = s.ID.String()
		})))
		b.get("/")
		value := field[strings.Index(field, `value="`)+7:]
		r := b.request("POST", "/", link, header("Content-Type", "application/x-www-form-urlencoded"))
		r.Body = io.NopCloser(strings.NewReader("revisit=" + value[:51] + "&a=b"))
		b.send(r)
		assert.EqualValues(t, 1, tracker.Stats().Returning["form"], name)
	}
}

// A handler further out that goes on with the same request, after this one did not want it.
func TestWhoStandsFurtherOutHasTheBody(t *testing.T) {
	for _, asks := range []bool{false, true} {
		tracker := newTracker(t, revisit.Config{})
		first := tracker.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if asks {
				revisit.FromContext(r.Context())
			}
		}))
		r := httptest.NewRequest("POST", "http://shop/", strings.NewReader("a=b&c=d"))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", "http://shop")
		first.ServeHTTP(httptest.NewRecorder(), r)
		b, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		assert.Equal(t, "a=b&c=d", string(b), "asks: %v", asks)
	}
}

// Anybody can send to forget: it reads as much as a ticket takes, and no more.
func TestForgetReadsNoMoreThanATicketTakes(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	server := httptest.NewServer(newTracker(t, revisit.Config{}).Beacon())
	defer server.Close()
	for _, head := range []string{"--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x\"\r\n\r\n", "--b\r\nContent-Disposition: form-data; name=\"revisit\"\r\n\r\n"} {
		body, feed := io.Pipe()
		sent := make(chan int, 1)
		go func() {
			n, _ := io.WriteString(feed, head)
			block := strings.Repeat("x", 64<<10)
			for range 64 << 20 / len(block) {
				m, err := io.WriteString(feed, block)
				if n += m; err != nil {
					break
				}
			}
			feed.Close()
			sent <- n
		}()
		r, err := http.NewRequest("POST", server.URL+"/revisit/forget", body)
		require.NoError(t, err)
		r.Header.Set("Content-Type", "multipart/form-data; boundary=b")
		if resp, err := http.DefaultClient.Do(r); err == nil {
			resp.Body.Close()
		}
		assert.Less(t, <-sent, 16<<20, "the server takes some, and closes the connection")
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	assert.Empty(t, files)
	_, err = os.Stat(dir)
	require.NoError(t, err)
}

// A handler may change the header of its request, as middleware for languages does: tickets
// are bound to what the client sent.
func TestATicketIsBoundToWhatWasSent(t *testing.T) {
	tracker := newTracker(t, revisit.Config{Strategy: revisit.ETag{}})
	change := false
	b := newBrowser(site(tracker, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if change {
			r.Header.Set("Accept-Language", "de")
			r.Header.Set("User-Agent", "another")
			r.Header.Set("X-Forwarded-For", "192.0.2.7")
			r.RemoteAddr = "192.0.2.9:1"
		}
		io.WriteString(w, "x")
	})))
	b.language = "en"
	for _, change = range []bool{false, true} {
		resp := b.get(fmt.Sprintf("/%v", change))
		ticket := strings.TrimSuffix(strings.TrimPrefix(resp.Header.Get("Server-Timing"), `rv;desc="`), `"`)
		require.NotEmpty(t, ticket)
		before := tracker.Stats()
		b.get(anchor, fetch, header("Revisit-Link", ticket))
		assert.EqualValues(t, 1, tracker.Stats().LinksUsed-before.LinksUsed, "changed: %v", change)
		assert.Equal(t, before.Forged, tracker.Stats().Forged)
	}
}

// Whatever a form is, the handler gets every byte of it.
func FuzzForm(f *testing.F) {
	f.Add("revisit="+strings.Repeat("A", 51)+"&mail=a", "application/x-www-form-urlencoded", 7)
	f.Add("--b\r\nContent-Disposition: form-data; name=\"revisit\"\r\n\r\n"+strings.Repeat("A", 51)+"\r\n--b--", "multipart/form-data; boundary=b", 1)
	f.Add("revisit=", "text/plain", 0)
	tracker, err := revisit.New(revisit.Config{Keys: [][]byte{make([]byte, 32)}, Consent: func(*http.Request) revisit.Permission { return revisit.Restore }})
	require.NoError(f, err)
	f.Cleanup(func() { tracker.Close() })
	f.Fuzz(func(t *testing.T, body, kind string, chunk int) {
		r := httptest.NewRequest("POST", "https://shop.example/", &chunks{body, max(1, chunk%100)})
		r.Header["Content-Type"] = []string{kind}
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		tracker.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if s, ok := revisit.FromContext(r.Context()); ok && s.Via == "form" {
				t.Fatal("a forged token has a session")
			}
			if got, err := io.ReadAll(r.Body); err != nil || string(got) != body {
				t.Fatalf("got %q (%v), want %q", got, err, body)
			}
		})).ServeHTTP(httptest.NewRecorder(), r)
	})
}

// chunks is a body that comes in small pieces.
type chunks struct {
	rest string
	size int
}

func (c *chunks) Read(p []byte) (int, error) {
	if c.rest == "" {
		return 0, io.EOF
	}
	n := copy(p, c.rest[:min(len(c.rest), c.size)])
	c.rest = c.rest[n:]
	return n, nil
}
