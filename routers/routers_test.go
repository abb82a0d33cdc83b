package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/labstack/echo/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/revisit-go/revisit"
	"github.com/revisit-go/revisit/internal/servers"
)

// Through every router the visitor is recognised by cookie and by tag, gets 304s, and
// streams and takes over connections as without the Tracker.
func TestEveryRouter(t *testing.T) {
	for name, site := range sites {
		t.Run(name, func(t *testing.T) {
			if name == "proxy-to-a-server" {
				address := servers.FreeAddress(t)
				_, port, _ := net.SplitHostPort(address)
				servers.Process(t, address, func() *exec.Cmd {
					cmd := exec.Command("node", "testdata/backend.js", port)
					cmd.Stderr = os.Stderr
					return cmd
				})
				*backend = "http://" + address
			}
			tracker, err := revisit.New(config())
			require.NoError(t, err)
			defer tracker.Close()
			server := httptest.NewServer(site(tracker))
			defer server.Close()

			for _, encoding := range []string{"identity", "gzip"} {
				first := get(t, server.URL+"/products/7", "Accept-Encoding", encoding)
				require.Equal(t, 200, first.StatusCode)
				id, tag := first.Header.Get("X-Session-Id"), first.Header.Get("Etag")
				require.NotEmpty(t, id)
				require.NotEmpty(t, tag)
				require.Len(t, first.Cookies(), 1)
				cookie := first.Cookies()[0].Name + "=" + first.Cookies()[0].Value

				other := get(t, server.URL+"/products/8", "Cookie", cookie, "Accept-Encoding", encoding)
				assert.Equal(t, id, other.Header.Get("X-Session-Id"), "by cookie")

				again := get(t, server.URL+"/products/7", "If-None-Match", tag, "Accept-Encoding", encoding)
				assert.Equal(t, 304, again.StatusCode, "by tag: %s", tag)
				assert.Equal(t, id, again.Header.Get("X-Session-Id"), "by tag: %s", tag)

				nothing := get(t, server.URL+"/nosuch", "Accept-Encoding", encoding)
				assert.Equal(t, 404, nothing.StatusCode)
				assert.Empty(t, nothing.Cookies())
				assert.Empty(t, nothing.Header.Get("Etag"))

				// Flush: the event comes while the handler goes on.
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				r, err := http.NewRequestWithContext(ctx, "GET", server.URL+"/events", nil)
				require.NoError(t, err)
				r.Header.Set("Cookie", cookie)
				r.Header.Set("Accept-Encoding", encoding)
				stream, err := http.DefaultTransport.RoundTrip(r)
				require.NoError(t, err)
				if stream.Header.Get("Content-Encoding") == "" {
					line, err := bufio.NewReader(stream.Body).ReadString('\n')
					require.NoError(t, err)
					assert.Equal(t, "data: in stock\n", line)
				} else {
					_, err := io.ReadFull(stream.Body, make([]byte, 10))
					require.NoError(t, err)
				}
				assert.Equal(t, id, stream.Header.Get("X-Session-Id"))
				cancel()
				stream.Body.Close()

				// Hijack.
				conn, err := net.Dial("tcp", server.Listener.Addr().String())
				require.NoError(t, err)
				defer conn.Close()
				require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
				_, err = io.WriteString(conn, "GET /upgrade HTTP/1.1\r\nHost: shop.example\r\nConnection: Upgrade\r\nUpgrade: echo\r\nAccept-Encoding: "+encoding+"\r\nCookie: "+cookie+"\r\n\r\n")
				require.NoError(t, err)
				in := bufio.NewReader(conn)
				resp, err := http.ReadResponse(in, nil)
				require.NoError(t, err)
				require.Equal(t, 101, resp.StatusCode)
				assert.Equal(t, id, resp.Header.Get("X-Session-Id"))
				_, err = io.WriteString(conn, "hello\n")
				require.NoError(t, err)
				line, err := in.ReadString('\n')
				require.NoError(t, err)
				assert.Equal(t, "hello\n", line)
			}
		})
	}
}

func get(t *testing.T, url string, header ...string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	require.NoError(t, err)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, resp.Body)
	require.NoError(t, err)
	resp.Body.Close()
	return resp
}

// A procedure knows the visitor of the page: by a POST, and by a GET with its tag.
func TestProceduresKnowTheVisitor(t *testing.T) {
	tracker, err := revisit.New(config())
	require.NoError(t, err)
	defer tracker.Close()
	server := httptest.NewServer(connectRPC(tracker))
	defer server.Close()

	page := get(t, server.URL+"/products/7")
	id, cookie := page.Header.Get("X-Session-Id"), page.Cookies()[0].Name+"="+page.Cookies()[0].Value
	for _, options := range [][]connect.ClientOption{nil, {connect.WithHTTPGet()}} {
		client := connect.NewClient[emptypb.Empty, wrapperspb.StringValue](server.Client(), server.URL+visitorProcedure,
			append(options, connect.WithIdempotency(connect.IdempotencyNoSideEffects))...)
		call := connect.NewRequest(&emptypb.Empty{})
		call.Header().Set("Cookie", cookie)
		answer, err := client.CallUnary(t.Context(), call)
		require.NoError(t, err)
		assert.Equal(t, id, answer.Msg.Value)
	}

	// Without a cookie there is nobody.
	client := connect.NewClient[emptypb.Empty, wrapperspb.StringValue](server.Client(), server.URL+visitorProcedure)
	_, err = client.CallUnary(t.Context(), connect.NewRequest(&emptypb.Empty{}))
	assert.Equal(t, connect.CodeNotFound, connect.CodeOf(err))

	// A call by GET is recognised by its tag, too, with a 304.
	url := server.URL + visitorProcedure + "?connect=v1&encoding=json&message=%7B%7D"
	first := get(t, url, "Cookie", cookie)
	require.Equal(t, 200, first.StatusCode)
	assert.Equal(t, 304, get(t, url, "If-None-Match", first.Header.Get("Etag")).StatusCode)

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	stock := connect.NewClient[emptypb.Empty, wrapperspb.StringValue](server.Client(), server.URL+stockProcedure)
	call := connect.NewRequest(&emptypb.Empty{})
	call.Header().Set("Cookie", cookie)
	stream, err := stock.CallServerStream(ctx, call)
	require.NoError(t, err)
	require.True(t, stream.Receive(), "the first message comes while the procedure goes on")
	assert.Equal(t, "in stock", stream.Msg().Value)
	assert.Equal(t, id, stream.ResponseHeader().Get("X-Session-Id"))
}

// What a framework makes of an error is the visitor's to see, as without a Tracker.
func TestErrorsStayErrors(t *testing.T) {
	for _, middleware := range []bool{false, true} {
		tracker, err := revisit.New(config())
		require.NoError(t, err)
		defer tracker.Close()
		site := echoRouter(tracker)
		if middleware { // not as we recommend it
			e := echo.New()
			e.Use(echo.WrapMiddleware(tracker.Handler))
			e.GET("/gone", func(*echo.Context) error { return echo.NewHTTPError(http.StatusGone, "sold out for good") })
			site = e
		}
		server := httptest.NewServer(site)
		defer server.Close()
		gone := get(t, server.URL+"/gone")
		assert.Equal(t, http.StatusGone, gone.StatusCode)
		again := get(t, server.URL+"/gone", "If-None-Match", gone.Header.Get("Etag"))
		assert.Equal(t, http.StatusGone, again.StatusCode, "never a 304")
		if !middleware {
			assert.Empty(t, gone.Header.Get("Etag"))
			assert.Empty(t, gone.Cookies())
		}
	}
}

// gin's own way to stream, which asks for more of the writer than the others.
func TestGinStreams(t *testing.T) {
	tracker, err := revisit.New(config())
	require.NoError(t, err)
	defer tracker.Close()
	server := httptest.NewServer(ginRouter(tracker))
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", server.URL+"/stream", nil)
	require.NoError(t, err)
	resp, err := http.DefaultTransport.RoundTrip(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	line, err := bufio.NewReader(resp.Body).ReadString('\n')
	require.NoError(t, err)
	assert.Equal(t, "event:message\n", line)
	assert.NotEmpty(t, resp.Header.Get("X-Session-Id"))
}

// Each router is in the documentation, and each that is there is here.
func TestTheDocumentationNamesEachRouter(t *testing.T) {
	text, err := os.ReadFile("../docs/routers.md")
	require.NoError(t, err)
	for name := range sites {
		assert.Contains(t, string(text), "`TestEveryRouter/"+name+"`")
	}
	assert.Equal(t, len(sites), strings.Count(string(text), "`TestEveryRouter/"))
}
