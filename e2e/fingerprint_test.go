package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/revisit-go/revisit"
	"github.com/revisit-go/revisit/ja4"
)

// A sighting is one request as the fingerprint has seen it.
type sighting struct {
	kind    string // of request
	session string
	ja4     string
	resumed bool
	private bool // Global Privacy Control
}

// One browser has one fingerprint, whatever it asks for, on old connections, new ones
// and resumed ones, though its JA4 changes. So has its private window, which is what
// the documentation warns of: the visitor wanted the two apart. It is but where the
// browser says Sec-GPC: 1 there.
func TestAFingerprintIsStable(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	tracker, err := revisit.New(revisit.Config{
		Keys: [][]byte{make([]byte, 32)}, Logger: slog.New(slog.DiscardHandler),
		Strategy:   revisit.Fingerprint{TLS: true, Window: 31 * 24 * time.Hour, Site: "test"}, // midnight may come any time
		Consent:    func(*http.Request) revisit.Permission { return revisit.Restore },
		ClientAddr: revisit.Forwarded("X-Forwarded-For"), // loopback is no proxy here
	})
	require.NoError(t, err)
	defer tracker.Close()

	var mu sync.Mutex
	var log0 []sighting
	pages := http.NewServeMux()
	see := func(pattern, kind, contentType, body string) {
		pages.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			s := sighting{kind: kind, resumed: r.TLS.DidResume, private: r.Header.Get("Sec-GPC") == "1"}
			if session, ok := revisit.FromContext(r.Context()); ok {
				s.session = session.ID.String()
			}
			if hello, ok := ja4.FromContext(r.Context()); ok {
				s.ja4 = hello.JA4
			}
			mu.Lock()
			log0 = append(log0, s)
			mu.Unlock()
			if kind == "websocket" {
				http.Error(w, "enough", http.StatusBadRequest)
				return
			}
			w.Header().Set("Connection", "close") // the next request is a new handshake
			w.Header().Set("Cache-Control", "no-store")
			w.Header().Set("Content-Type", contentType)
			fmt.Fprint(w, body)
		})
	}
	see("/{$}", "navigation", "text/html", `<!DOCTYPE html><title>one</title><link rel=icon href=/picture><img src=/picture alt=""><link rel=stylesheet href=/style>
		<script>fetch("/data").then(() => fetch("/data", {method: "POST"})).then(() => new WebSocket("wss://" + location.host + "/socket"))</script>`)
	see("/picture", "image", "image/svg+xml", `<svg xmlns="http://www.w3.org/2000/svg"/>`)
	see("/style", "style", "text/css", "body{}")
	see("/data", "fetch", "application/json", "{}")
	see("/socket", "websocket", "", "")
	server := &http.Server{
		Handler:   tracker.Handler(pages),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{testCA().site}},
		ErrorLog:  log.New(io.Discard, "", 0),
	}
	server.TLSConfig.NextProtos = []string{"h2", "http/1.1"}
	ja4.Watch(server)
	go func() { _ = server.ServeTLS(listener, "", "") }()
	defer server.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	require.NoError(t, err)
	url := "https://localhost:" + port + "/"

	kinds := []string{"navigation", "image", "style", "fetch", "websocket"}
	// visit returns what was seen of a page and its parts.
	visit := func(t *testing.T, b browser) []sighting {
		mu.Lock()
		mark := len(log0)
		mu.Unlock()
		b.visit(t, url)
		opened := time.Now()
		for begin := opened; ; time.Sleep(10 * time.Millisecond) {
			// A connection that the server closes just then can cost a page its script.
			if time.Since(opened) > 10*time.Second {
				b.visit(t, url)
				opened = time.Now()
			}
			mu.Lock()
			seen := slices.Clone(log0[mark:])
			mu.Unlock()
			if !slices.ContainsFunc(kinds, func(kind string) bool {
				return !slices.ContainsFunc(seen, func(s sighting) bool { return s.kind == kind })
			}) {
				return seen
			}
			require.Less(t, time.Since(begin), patience, "%v", seen)
		}
	}
	ids := func(seen []sighting) (sessions, ja4s map[string]bool, resumed int) {
		sessions, ja4s = make(map[string]bool), make(map[string]bool)
		for _, s := range seen {
			sessions[s.session], ja4s[s.ja4] = true, true
			if s.resumed {
				resumed++
			}
		}
		return sessions, ja4s, resumed
	}

	of := make(map[string]string) // browser → its session
	for _, open := range []func(*testing.T) browser{openChromium, openFirefox} {
		b := open(t)
		t.Run(b.name(), func(t *testing.T) {
			first := visit(t, b)
			// The very first requests may come at once, before there is a session that
			// they could be taken for: those that begin one are merged.
			visit(t, b)
			seen := append(visit(t, b), visit(t, b)...)
			sessions, ja4s, resumed := ids(seen)
			require.Len(t, sessions, 1, "%v", seen)
			require.NotContains(t, sessions, "")
			assert.NotZero(t, resumed, "no handshake was a resumption: %v", seen)
			all, _, _ := ids(first)
			t.Logf("%d requests, %d values of JA4, %d resumed; ids of the first page: %d", len(seen), len(ja4s), resumed, len(all))
			for id := range sessions {
				of[b.name()] = id
			}

			closeWindow := b.private(t)
			window := visit(t, b)
			closeWindow()
			private, _, _ := ids(window)
			if window[0].private {
				// Firefox says no in private windows by itself, and is obeyed.
				t.Log("the private window sends Sec-GPC: 1")
				assert.Equal(t, map[string]bool{"": true}, private)
				assert.Contains(t, b.name(), "Firefox")
			} else {
				assert.Equal(t, sessions, private, "a private window is not apart")
			}
		})
	}
	values := make(map[string]bool)
	for _, id := range of {
		values[id] = true
	}
	assert.Len(t, values, 2, "two browsers on one machine: %v", of)
}
