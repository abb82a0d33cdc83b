package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/revisit-go/revisit"
)

// A protocol serves a handler, and has a client that speaks nothing else.
type protocol struct {
	name  string
	proto string // as the handler sees it
	serve func(t *testing.T, h http.Handler) (url string, client http.RoundTripper)
}

var protocols = []protocol{
	{"HTTP-1.1", "HTTP/1.1", func(t *testing.T, h http.Handler) (string, http.RoundTripper) { return overTCP(t, h, "http/1.1") }},
	{"HTTP-2", "HTTP/2.0", func(t *testing.T, h http.Handler) (string, http.RoundTripper) { return overTCP(t, h, "h2") }},
	{"h2c", "HTTP/2.0", func(t *testing.T, h http.Handler) (string, http.RoundTripper) { return overTCP(t, h, "h2c") }},
	{"HTTP-3", "HTTP/3.0", overQUIC},
}

func overTCP(t *testing.T, h http.Handler, kind string) (string, http.RoundTripper) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p, scheme := new(http.Protocols), "http"
	switch kind {
	case "http/1.1":
		p.SetHTTP1(true)
	case "h2":
		p.SetHTTP2(true)
		scheme = "https"
		listener = tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{testCA().site}, NextProtos: []string{"h2"}})
	case "h2c":
		p.SetUnencryptedHTTP2(true)
	}
	server := &http.Server{Handler: h, Protocols: p, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	client := &http.Transport{Protocols: p, DisableCompression: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "localhost", NextProtos: []string{"h2"}}}
	t.Cleanup(client.CloseIdleConnections)
	return scheme + "://" + listener.Addr().String(), client
}

func overQUIC(t *testing.T, h http.Handler) (string, http.RoundTripper) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	server := &http3.Server{Handler: h, TLSConfig: http3.ConfigureTLSConfig(&tls.Config{Certificates: []tls.Certificate{testCA().site}}), Logger: slog.New(slog.DiscardHandler)}
	go server.Serve(conn)
	client := &http3.Transport{DisableCompression: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "localhost"}}
	t.Cleanup(func() {
		client.Close()
		server.Close()
		conn.Close()
	})
	return "https://" + conn.LocalAddr().String(), client
}

// One table for all protocols: who is recognised, and what the handler writes arrives as
// it would without us.
func TestEveryProtocol(t *testing.T) {
	const large = 3 << 20
	for _, p := range protocols {
		t.Run(p.name, func(t *testing.T) {
			tracker, err := revisit.New(revisit.Config{Consent: func(*http.Request) revisit.Permission { return revisit.Restore }})
			require.NoError(t, err)
			defer tracker.Close()
			next := make(chan struct{})
			mux := http.NewServeMux()
			mux.HandleFunc("/page", func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Etag", `"v1"`)
				http.ServeContent(w, r, "page.txt", time.Time{}, strings.NewReader("0123456789"))
			})
			mux.HandleFunc("/plain", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") })
			mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
				b, err := io.ReadAll(r.Body) // HTTP/1.1 has no more of it once something is written
				assert.NoError(t, err)
				w.Write(b)
			})
			mux.HandleFunc("/large", func(w http.ResponseWriter, r *http.Request) {
				io.Copy(w, io.LimitReader(zeros{}, large))
			})
			mux.HandleFunc("/stream", func(w http.ResponseWriter, r *http.Request) {
				io.WriteString(w, "one\n")
				assert.NoError(t, http.NewResponseController(w).Flush())
				<-next
				io.WriteString(w, "two\n")
			})
			mux.HandleFunc("/early", func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Link", "</style.css>; rel=preload")
				w.WriteHeader(http.StatusEarlyHints)
				w.Header().Del("Link")
				io.WriteString(w, "late")
			})
			mux.HandleFunc("/trailer", func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Trailer", "X-Sum")
				io.WriteString(w, "hello")
				w.Header().Set("X-Sum", "42")
			})
			mux.HandleFunc("/panic", func(w http.ResponseWriter, r *http.Request) {
				io.WriteString(w, "half a")
				panic(http.ErrAbortHandler)
			})
			url, client := p.serve(t, tracker.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				assert.Equal(t, p.proto, r.Proto)
				if s, ok := revisit.FromContext(r.Context()); ok {
					w.Header().Set("X-Session", s.ID.String()+" "+s.Via)
				}
				mux.ServeHTTP(w, r)
			})))
			ask := func(ctx context.Context, method, path, body string, header ...string) (*http.Response, string, error) {
				var in io.Reader
				if body != "" {
					in = strings.NewReader(body)
				}
				r, err := http.NewRequestWithContext(ctx, method, url+path, in)
				require.NoError(t, err)
				for i := 0; i < len(header); i += 2 {
					r.Header.Set(header[i], header[i+1])
				}
				resp, err := client.RoundTrip(r)
				if err != nil {
					return nil, "", err
				}
				defer resp.Body.Close()
				b, err := io.ReadAll(resp.Body)
				return resp, string(b), err
			}
			get := func(path string, header ...string) (*http.Response, string) {
				t.Helper()
				resp, body, err := ask(t.Context(), "GET", path, "", header...)
				require.NoError(t, err)
				return resp, body
			}
			session := func(r *http.Response) (id, via string) {
				id, via, _ = strings.Cut(r.Header.Get("X-Session"), " ")
				return id, via
			}

			first, body := get("/page")
			assert.Equal(t, "0123456789", body)
			id, via := session(first)
			require.Equal(t, "new", via)
			tag := first.Header.Get("Etag")
			require.Len(t, first.Cookies(), 1)
			cookie := first.Cookies()[0].Name + "=" + first.Cookies()[0].Value

			again, body := get("/page", "If-None-Match", tag)
			assert.Equal(t, 304, again.StatusCode)
			assert.Empty(t, body)
			got, via := session(again)
			assert.Equal(t, "etag", via)
			assert.Equal(t, id, got)
			part, body := get("/page", "Range", "bytes=2-4", "If-Range", tag)
			assert.Equal(t, 206, part.StatusCode)
			assert.Equal(t, "234", body)
			head, body, err := ask(t.Context(), "HEAD", "/page", "", "Cookie", cookie)
			require.NoError(t, err)
			assert.Empty(t, body)
			assert.EqualValues(t, 10, head.ContentLength)
			hashed, _ := get("/plain", "Cookie", cookie)
			again, _ = get("/plain", "If-None-Match", hashed.Header.Get("Etag"))
			assert.Equal(t, 304, again.StatusCode)

			form, body, err := ask(t.Context(), "POST", "/echo", strings.Repeat("a=1&", 1<<16), "Cookie", cookie, "Content-Type", "application/x-www-form-urlencoded")
			require.NoError(t, err)
			got, via = session(form)
			assert.Equal(t, "cookie", via)
			assert.Equal(t, id, got)
			assert.Len(t, body, 4<<16)
			_, body = get("/large", "Cookie", cookie)
			assert.Len(t, body, large)

			// A flushed part arrives while the handler goes on.
			r, err := http.NewRequestWithContext(t.Context(), "GET", url+"/stream", nil)
			require.NoError(t, err)
			r.Header.Set("Cookie", cookie)
			stream, err := client.RoundTrip(r)
			require.NoError(t, err)
			line := make([]byte, 4)
			_, err = io.ReadFull(stream.Body, line)
			require.NoError(t, err)
			assert.Equal(t, "one\n", string(line))
			close(next)
			rest, err := io.ReadAll(stream.Body)
			require.NoError(t, err)
			assert.Equal(t, "two\n", string(rest))
			stream.Body.Close()

			var early []string
			late, body, err := ask(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
				early = append(early, fmt.Sprint(code, h["Link"], h["Etag"], h["Set-Cookie"]))
				return nil
			}}), "GET", "/early", "")
			require.NoError(t, err)
			assert.Equal(t, []string{"103 [</style.css>; rel=preload] [] []"}, early, "no token on it")
			assert.Equal(t, "late", body)
			assert.Len(t, late.Cookies(), 1)

			trailer, _ := get("/trailer", "Cookie", cookie)
			assert.Equal(t, http.Header{"X-Sum": {"42"}}, trailer.Trailer)
			_, _, err = ask(t.Context(), "GET", "/panic", "", "Cookie", cookie)
			assert.Error(t, err, "half a page is no page")
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return copy(p, bytes.Repeat([]byte{'0'}, len(p))), nil }
