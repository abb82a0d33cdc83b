package revisit_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/revisit-go/revisit"
)

// The wrapped handler is not to notice. Each case is asked of a real server,
// alone and wrapped, over HTTP/1.1 and HTTP/2.

type wire struct {
	name  string
	http2 bool
}

var wires = []wire{{"HTTP/1.1", false}, {"HTTP/2", true}}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func serve(t *testing.T, w wire, h http.Handler) (*httptest.Server, *logBuffer) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = w.http2
	var errors logBuffer
	s.Config.ErrorLog = log.New(&errors, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s, &errors
}

// answer is all that a client sees of a response.
type answer struct {
	status  int
	body    string
	bodyErr bool
	length  int64
	trailer http.Header
	early   []string // 103
	header  http.Header
}

func ask(t *testing.T, s *httptest.Server, method, path string, body io.Reader) answer {
	t.Helper()
	var a answer
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			a.early = append(a.early, fmt.Sprint(code, " ", h["Link"], " ", h["Set-Cookie"], " ", h["Etag"]))
			return nil
		},
	})
	r, err := http.NewRequestWithContext(ctx, method, s.URL+path, body)
	require.NoError(t, err)
	resp, err := s.Client().Do(r)
	if err != nil {
		a.bodyErr = true
		return a
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	a.status, a.body, a.bodyErr, a.length, a.trailer, a.header = resp.StatusCode, string(b), err != nil, resp.ContentLength, resp.Trailer, resp.Header
	for _, name := range []string{"Date", "Set-Cookie", "Etag", "Cache-Control"} {
		a.header.Del(name)
	}
	return a
}

func TestTheHandlerDoesNotNotice(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, bytes.Repeat([]byte("0123456789abcdef"), 1<<14), 0o600))
	cases := map[string]http.HandlerFunc{
		"nothing written": func(w http.ResponseWriter, r *http.Request) {},
		"a small body":    func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") },
		"html is sniffed": func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<!DOCTYPE html><p>hello") },
		"many small writes": func(w http.ResponseWriter, r *http.Request) {
			for i := range 3000 {
				fmt.Fprintln(w, i)
			}
		},
		"many writes over the limit": func(w http.ResponseWriter, r *http.Request) {
			for i := range 30000 {
				fmt.Fprintln(w, i)
			}
		},
		"one large write": func(w http.ResponseWriter, r *http.Request) { w.Write(bytes.Repeat([]byte("x"), 1<<20)) },
		"a declared length": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "5")
			io.WriteString(w, "hello")
		},
		"more than was declared": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "5")
			io.WriteString(w, "hello")
			if _, err := io.WriteString(w, "\n"); err != nil {
				assert.ErrorIs(t, err, http.ErrContentLength)
			}
		},
		"less than was declared": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "50")
			io.WriteString(w, "hello")
		},
		"Hijack after WriteHeader": func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			w.Header().Set("Connection", "close")
			w.WriteHeader(http.StatusOK)
			conn, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return // HTTP/2
			}
			rw.WriteString("raw")
			rw.Flush()
			conn.Close()
		},
		"a large declared length": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100000")
			w.Write(bytes.Repeat([]byte("x"), 100000))
		},
		"WriteHeader twice": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusAccepted)
			w.WriteHeader(http.StatusTeapot)
			io.WriteString(w, "hello")
		},
		"a header after Write": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-One", "1")
			w.Header().Set("X-Two", "2")
			io.WriteString(w, "hello")
			w.Header().Set("X-One", "3")
			w.Header().Del("X-Two")
			w.Header().Set("X-Late", "yes")
			w.Header().Set("Cache-Control", "public")
			w.Header().Set("Content-Encoding", "gzip")
		},
		"a header after WriteHeader": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusAccepted)
			w.Header().Set("X-Late", "yes")
		},
		"103, then 200": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", "</style.css>; rel=preload")
			w.WriteHeader(http.StatusEarlyHints)
			w.Header().Del("Link")
			io.WriteString(w, "hello")
		},
		"Flush first": func(w http.ResponseWriter, r *http.Request) {
			w.(http.Flusher).Flush()
			io.WriteString(w, "hello")
		},
		"Flush by the controller": func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "hello")
			if err := http.NewResponseController(w).Flush(); err != nil {
				w.Header().Set(http.TrailerPrefix+"X-Flush", err.Error())
			}
			io.WriteString(w, " world")
		},
		"a file": func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, file) },
		"io.Copy": func(w http.ResponseWriter, r *http.Request) {
			f, err := os.Open(file)
			if assert.NoError(t, err) {
				defer f.Close()
				n, err := io.Copy(w, f)
				w.Header().Set(http.TrailerPrefix+"X-Copied", fmt.Sprint(n, err))
			}
		},
		"io.Copy of little": func(w http.ResponseWriter, r *http.Request) {
			n, err := io.Copy(w, strings.NewReader("hello"))
			w.Header().Set(http.TrailerPrefix+"X-Copied", fmt.Sprint(n, err))
		},
		"trailers": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Trailer", "X-Sum")
			io.WriteString(w, "hello")
			w.Header().Set("X-Sum", "42")
		},
		"unannounced trailers": func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "hello")
			w.(http.Flusher).Flush()
			w.Header().Set(http.TrailerPrefix+"X-Sum", "42")
		},
		"a trailer with an early value": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set(http.TrailerPrefix+"X-Sum", "0")
			io.WriteString(w, "hello")
			w.Header().Set(http.TrailerPrefix+"X-Sum", "42")
		},
		"103 after the final status": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusOK)
			w.Header().Set("Link", "</style.css>; rel=preload")
			w.WriteHeader(http.StatusEarlyHints)
			io.WriteString(w, "hello")
		},
		"204":        func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) },
		"304":        func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNotModified) },
		"a redirect": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/204", http.StatusNotFound) },
		"an error":   func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", http.StatusInternalServerError) },
		"writes to 204": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusNoContent)
			_, err := io.WriteString(w, "hello")
			assert.ErrorIs(t, err, http.ErrBodyNotAllowed)
		},
		"ErrAbortHandler": func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "hello")
			panic(http.ErrAbortHandler)
		},
		"ErrAbortHandler after a flush": func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "hello")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		},
		"MaxBytesReader": func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, 3)
			_, err := io.ReadAll(r.Body)
			var tooLarge *http.MaxBytesError
			if errors.As(err, &tooLarge) {
				http.Error(w, "too large", http.StatusRequestEntityTooLarge)
			}
		},
		"deadlines": func(w http.ResponseWriter, r *http.Request) {
			c := http.NewResponseController(w)
			assert.NoError(t, c.SetReadDeadline(time.Now().Add(time.Minute)))
			assert.NoError(t, c.SetWriteDeadline(time.Now().Add(time.Minute)))
			if r.Method == http.MethodGet {
				assert.NoError(t, c.EnableFullDuplex())
			}
			io.WriteString(w, "hello")
		},
		"the request": func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			assert.NoError(t, err)
			fmt.Fprint(w, r.Method, r.URL.Path, r.ContentLength, string(body), r.TLS != nil, r.Context().Value(http.ServerContextKey) != nil)
		},
		"Pusher and Hijacker are claimed as by the server": func(w http.ResponseWriter, r *http.Request) {
			_, flush := w.(http.Flusher)
			_, hijack := w.(http.Hijacker)
			_, push := w.(http.Pusher)
			_, notify := w.(interface{ CloseNotify() <-chan bool })
			fmt.Fprint(w, flush, hijack, push, notify)
		},
	}
	strategies := map[string]revisit.Strategy{"cookie": revisit.Cookie{}, "etag": revisit.ETag{}, "hybrid": nil}
	for _, wire := range wires {
		for name, h := range cases {
			for strategyName, strategy := range strategies {
				t.Run(wire.name+"/"+name+"/"+strategyName, func(t *testing.T) {
					alone, aloneLog := serve(t, wire, h)
					wrapped, wrappedLog := serve(t, wire, newTracker(t, revisit.Config{Strategy: strategy}).Handler(h))
					for _, method := range []string{"GET", "HEAD", "POST"} {
						if method == "POST" && strings.HasPrefix(name, "ErrAbortHandler") {
							continue // how far a client that is still sending gets is chance
						}
						var body io.Reader
						var again io.Reader
						if method == "POST" {
							body, again = strings.NewReader("four and more"), strings.NewReader("four and more")
						}
						want, got := ask(t, alone, method, "/x", body), ask(t, wrapped, method, "/x", again)
						if name == "ErrAbortHandler" || name == "one large write" || name == "many writes over the limit" {
							// How much of it had left by then is a matter of buffers.
							want.length, got.length = 0, 0
							want.header.Del("Content-Length")
							got.header.Del("Content-Length")
						}
						assert.Equal(t, want, got, method)
					}
					if name == "WriteHeader twice" || name == "103 after the final status" {
						assert.Equal(t, strings.Count(aloneLog.String(), "superfluous"), strings.Count(wrappedLog.String(), "superfluous"))
					} else {
						assert.Equal(t, aloneLog.String(), wrappedLog.String())
					}
				})
			}
		}
	}
}

// A server-sent event reaches the client while the handler goes on.
func TestServerSentEventsFlow(t *testing.T) {
	for _, wire := range wires {
		next := make(chan struct{})
		s, _ := serve(t, wire, newTracker(t, revisit.Config{}).Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			for i := range 3 {
				fmt.Fprintf(w, "data: %d\n\n", i)
				assert.NoError(t, http.NewResponseController(w).Flush())
				<-next
			}
		})))
		resp, err := s.Client().Get(s.URL)
		require.NoError(t, err)
		lines := bufio.NewScanner(resp.Body)
		for i := range 3 {
			require.True(t, lines.Scan())
			assert.Equal(t, fmt.Sprint("data: ", i), lines.Text())
			lines.Scan()
			next <- struct{}{}
		}
		assert.True(t, hasToken(resp), "and it carries a token")
		resp.Body.Close()
	}
}

func TestAnUpgradeIsHijacked(t *testing.T) {
	var hijackErr error
	s, errs := serve(t, wires[0], newTracker(t, revisit.Config{}).Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 1 {
			return
		}
		var conn net.Conn
		var rw *bufio.ReadWriter
		if r.URL.Path == "/controller" {
			conn, rw, hijackErr = http.NewResponseController(w).Hijack()
		} else {
			conn, rw, hijackErr = w.(http.Hijacker).Hijack()
		}
		if hijackErr != nil {
			return
		}
		defer conn.Close()
		rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		rw.Flush()
		line, _ := rw.ReadString('\n')
		rw.WriteString("echo " + line)
		rw.Flush()
	})))
	for _, path := range []string{"/assertion", "/controller"} {
		r, err := http.NewRequest("GET", s.URL+path, nil)
		require.NoError(t, err)
		r.Header.Set("Connection", "Upgrade")
		r.Header.Set("Upgrade", "echo")
		resp, err := s.Client().Do(r)
		require.NoError(t, err)
		require.NoError(t, hijackErr)
		require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
		conn := resp.Body.(io.ReadWriteCloser)
		_, err = io.WriteString(conn, "hello\n")
		require.NoError(t, err)
		line, err := bufio.NewReader(conn).ReadString('\n')
		require.NoError(t, err)
		assert.Equal(t, "echo hello\n", line)
		conn.Close()
	}
	assert.Empty(t, errs.String())
}

// plainWriter has nothing but the three methods.
type plainWriter struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *plainWriter) Header() http.Header         { return w.header }
func (w *plainWriter) WriteHeader(status int)      { w.status = status }
func (w *plainWriter) Write(p []byte) (int, error) { return w.body.Write(p) }

// readerFromWriter counts what goes the server's way of sending files.
type readerFromWriter struct {
	plainWriter
	viaReadFrom int64
}

func (w *readerFromWriter) ReadFrom(r io.Reader) (int64, error) {
	n, err := w.body.ReadFrom(r)
	w.viaReadFrom += n
	return n, err
}

func TestWhatTheServersWriterCannotDoIsNotClaimed(t *testing.T) {
	h := newTracker(t, revisit.Config{}).Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, flush := w.(http.Flusher)
		_, hijack := w.(http.Hijacker)
		_, push := w.(http.Pusher)
		assert.False(t, flush || hijack || push)
		assert.ErrorIs(t, http.NewResponseController(w).Flush(), http.ErrNotSupported)
		_, _, err := http.NewResponseController(w).Hijack()
		assert.ErrorIs(t, err, http.ErrNotSupported)
		io.WriteString(w, "hello")
	}))
	w := &plainWriter{header: http.Header{}}
	h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	assert.Equal(t, "hello", w.body.String())
	assert.NotEmpty(t, w.header.Get("Etag"))
}

// A writer that says what it can do through Unwrap only.
type unwrapper struct{ w http.ResponseWriter }

func (u unwrapper) Header() http.Header         { return u.w.Header() }
func (u unwrapper) WriteHeader(status int)      { u.w.WriteHeader(status) }
func (u unwrapper) Write(p []byte) (int, error) { return u.w.Write(p) }
func (u unwrapper) Unwrap() http.ResponseWriter { return u.w }

func TestAnUpgradeThroughUnwrapIsNoticed(t *testing.T) {
	tracker := newTracker(t, revisit.Config{})
	h := tracker.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if !assert.NoError(t, err) {
			return
		}
		defer conn.Close()
		rw.WriteString("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nraw")
		rw.Flush()
	}))
	s, errs := serve(t, wires[0], http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(unwrapper{w}, r) }))
	assert.Equal(t, "raw", ask(t, s, "GET", "/", nil).body)
	assert.Empty(t, errs.String())
	assert.Zero(t, tracker.Stats().New, "nobody has a token of the session")
}

func TestFilesTakeTheServersWay(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, make([]byte, 1<<20), 0o600))
	tracker := newTracker(t, revisit.Config{})
	for name, h := range map[string]http.HandlerFunc{
		"ServeFile": func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, file) },
		"io.Copy": func(w http.ResponseWriter, r *http.Request) {
			f, _ := os.Open(file)
			defer f.Close()
			io.Copy(w, f)
		},
	} {
		w := &readerFromWriter{plainWriter: plainWriter{header: http.Header{}}}
		tracker.Handler(h).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		assert.Equal(t, 1<<20, w.body.Len(), name)
		assert.GreaterOrEqual(t, w.viaReadFrom, int64(1<<20-1<<17), "%s: all but what was held back", name)
	}
}

func TestMiddlewareOutsideSeesPatternPathValuesAndForm(t *testing.T) {
	tracker := newTracker(t, revisit.Config{})
	mux := http.NewServeMux()
	var tempFile string
	mux.HandleFunc("POST /shop/{shop}/file/{path...}", func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "7", r.PathValue("shop"))
		_, _, err := r.FormFile("file")
		assert.NoError(t, err)
		if assert.NoError(t, err) {
			f, err := r.MultipartForm.File["file"][0].Open()
			if assert.NoError(t, err) {
				tempFile = f.(*os.File).Name()
				f.Close()
			}
		}
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) })
	var pattern, shop, path string
	done := make(chan struct{}, 1)
	outside := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			pattern, shop, path = r.Pattern, r.PathValue("shop"), r.PathValue("path")
			done <- struct{}{}
		}()
		// Small files in memory, so that this one is in a temporary file.
		r.Body = http.MaxBytesReader(w, r.Body, 64<<20)
		tracker.Handler(mux).ServeHTTP(w, r)
	})
	s, _ := serve(t, wires[0], outside)
	var form bytes.Buffer
	m := multipart.NewWriter(&form)
	part, err := m.CreateFormFile("file", "big")
	require.NoError(t, err)
	part.Write(make([]byte, 40<<20))
	require.NoError(t, m.Close())
	resp, err := s.Client().Post(s.URL+"/shop/7/file/a/b", m.FormDataContentType(), &form)
	require.NoError(t, err)
	resp.Body.Close()
	<-done
	assert.Equal(t, "POST /shop/{shop}/file/{path...}", pattern)
	assert.Equal(t, "7", shop)
	assert.Equal(t, "a/b", path)
	require.NotEmpty(t, tempFile)
	// The server removes it when the request ends, which the client has seen.
	s.Close()
	_, err = os.Stat(tempFile)
	assert.ErrorIs(t, err, os.ErrNotExist, "the server has removed the temporary file")

	s2, _ := serve(t, wires[0], outside)
	_, err = s2.Client().Get(s2.URL)
	assert.Error(t, err)
	<-done
	assert.Equal(t, "GET /{$}", pattern, "after a panic, too")
}

func TestAPanicSendsNothingOfAHeldBody(t *testing.T) {
	h := newTracker(t, revisit.Config{}).Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "half of")
		panic("oh")
	}))
	w := httptest.NewRecorder()
	func() {
		defer func() {
			assert.Equal(t, "oh", recover())
			http.Error(w, "sorry", http.StatusInternalServerError)
		}()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	}()
	assert.Equal(t, http.StatusInternalServerError, w.Code)
	assert.Equal(t, "sorry\n", w.Body.String())
	assert.Empty(t, w.Header()["Set-Cookie"])
}

// A context of ours ends with the server's, and passes its values on.
func TestTheContextIsTheServers(t *testing.T) {
	type key struct{}
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
	h := newTracker(t, revisit.Config{}).Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "value", r.Context().Value(key{}))
		child, stop := context.WithTimeout(r.Context(), time.Hour)
		defer stop()
		cancel()
		<-child.Done()
		assert.ErrorIs(t, child.Err(), context.Canceled)
	}))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, "GET", "/", nil))
	assert.NotEmpty(t, w.Header().Get("Etag"), "a client that goes away has been here all the same")
}

// What stands further out may answer where the handler has written nothing: nobody has
// decided the status for it, and no condition is met by what was not there.
func TestWhoStandsFurtherOutMayAnswer(t *testing.T) {
	for name, strategy := range map[string]revisit.Strategy{"cookie": revisit.Cookie{}, "etag": revisit.ETag{}, "hybrid": nil} {
		status := http.StatusServiceUnavailable
		inner := newTracker(t, revisit.Config{Strategy: strategy}).Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		b := newBrowser(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			inner.ServeHTTP(w, r)
			http.Error(w, "later", status)
		}))
		first := b.get("/")
		assert.Equal(t, status, first.StatusCode, name)
		status = http.StatusNotFound
		assert.Equal(t, status, b.get("/", typed, header("If-None-Match", first.Header.Get("Etag"))).StatusCode, name)

		content := "one version"
		b = newBrowser(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			inner.ServeHTTP(w, r)
			http.ServeContent(w, r, "x.html", time.Time{}, strings.NewReader(content))
		}))
		b.get("/")
		content = "another one"
		assert.Equal(t, http.StatusOK, b.get("/").StatusCode, "%s: what somebody else has written is reported by nothing of ours", name)

		b = newBrowser(inner) // and if nobody does, it is an empty page, with all that rides on one
		assert.True(t, hasToken(b.get("/")), name)
		assert.Equal(t, http.StatusOK, b.get("/").StatusCode, name)
	}
}

// A body that was broken off is no page that a client has.
func TestABrokenOffBodyIsNotHashed(t *testing.T) {
	b := newBrowser(newTracker(t, revisit.Config{Strategy: revisit.ETag{}}).Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "50")
		io.WriteString(w, "hello")
	})))
	b.get("/")
	assert.Equal(t, http.StatusOK, b.get("/").StatusCode)
}

// A connection that was taken over is not written to.
func TestNothingIsWrittenAfterHijack(t *testing.T) {
	errs := make(chan error, 1)
	server := httptest.NewServer(newTracker(t, revisit.Config{}).Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		assert.NoError(t, err)
		_, err = io.WriteString(w, "late")
		errs <- err
		conn.Close()
	})))
	defer server.Close()
	resp, err := http.Get(server.URL)
	if err == nil {
		resp.Body.Close()
	}
	assert.ErrorIs(t, <-errs, http.ErrHijacked)
}
