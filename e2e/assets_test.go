package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/revisit-go/revisit"
)

// assets are what every page of a shop is made of, by path, with their types. They have a date, and
// nothing else that says how long they may be kept: browsers keep them for a tenth of their age.
var assets = map[string]string{
	"/style.css": "text/css", "/shop.js": "text/javascript", "/logo.png": "image/png", "/mug.svg": "image/svg+xml", "/lamp.jpg": "image/jpeg",
	"/sans.woff2": "font/woff2", "/film.vtt": "text/vtt", "/app.webmanifest": "application/manifest+json",
}

// A shop that is wrapped as a whole costs the server as many requests as one that is not: what
// pages are made of stays in the browser. Data does, too, unless nothing but its tag could carry
// a token.
func TestAssetsCostNoRequests(t *testing.T) {
	data := func(log []asked) int { return count(log, "/stock.json") }
	for _, engine := range engines {
		t.Run(engine.name, func(t *testing.T) {
			b := engine.open(t)
			walk := func(name string, wrap func(*site, http.Handler) http.Handler, c revisit.Config) []asked {
				s := newBareSite(t, c)
				mux := http.NewServeMux()
				mux.Handle("/revisit/", s.tracker.Beacon())
				mux.Handle("/", wrap(s, http.HandlerFunc(shopOfAssets)))
				s.serve(t, mux, false)
				for _, path := range []string{"/", "/mugs", "/lamps", "/clocks", "/"} {
					mark := s.mark()
					b.visit(t, s.at(name+".localhost", path))
					s.until(t, mark, path, func(log []asked) bool { s.mu.Lock(); defer s.mu.Unlock(); return count(log, path) > 0 && s.active == 0 })
				}
				s.until(t, 0, "all that the pages are made of", func(log []asked) bool {
					for path := range assets {
						if path != "/film.vtt" && path != "/app.webmanifest" && count(log, path) == 0 { // which not all browsers ask for
							return false
						}
					}
					return data(log) > 0
				})
				return slices.DeleteFunc(s.since(0), func(a asked) bool { return strings.HasPrefix(a.path, "/revisit/") })
			}
			bare := walk("bare", func(_ *site, shop http.Handler) http.Handler { return shop }, revisit.Config{})
			for path := range assets {
				assert.LessOrEqual(t, count(bare, path), 1, "the browser keeps %s", path)
			}
			assert.Equal(t, 1, data(bare))
			for _, c := range []struct {
				strategy   string
				permission revisit.Permission
				data       int // requests for it
			}{
				{"cookie", revisit.Restore, 1}, {"hybrid", revisit.Restore, 1}, {"etag", revisit.Unasked, 1},
				{"etag", revisit.Restore, 5}, // each page asks whether it has changed
			} {
				name := fmt.Sprint(c.strategy, "-", c.permission)
				wrapped := walk(strings.ToLower(name), func(s *site, shop http.Handler) http.Handler { return s.tracker.Handler(shop) }, revisit.Config{
					Strategy: strategyOf(c.strategy, false), Consent: func(*http.Request) revisit.Permission { return c.permission },
				})
				assert.Equal(t, len(bare)-data(bare), len(wrapped)-data(wrapped), "%s: %v", name, pathsOf(wrapped))
				assert.Equal(t, c.data, data(wrapped), name)
			}
		})
	}
}

func pathsOf(log []asked) (paths []string) {
	for _, a := range log {
		paths = append(paths, fmt.Sprint(a.path, " ", a.status))
	}
	return paths
}

func shopOfAssets(w http.ResponseWriter, r *http.Request) {
	kind, body := assets[r.URL.Path], ""
	switch r.URL.Path {
	case "/style.css":
		body = `@font-face { font-family: Sans; src: url(/sans.woff2) } body { font-family: Sans; background: url(/lamp.jpg) }`
	case "/shop.js":
		body = `fetch("/stock.json")`
	case "/stock.json":
		kind, body = "application/json", `{"mugs": 3}`
	case "/favicon.ico":
		kind, body = "image/x-icon", " "
	case "/mug.svg":
		body = `<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>`
	}
	if kind == "" {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, `<!DOCTYPE html><html><head><title>%s</title><link rel="icon" href="/logo.png"><link rel="manifest" href="/app.webmanifest">
			<link rel="stylesheet" href="/style.css"><link rel="preload" as="font" href="/sans.woff2" crossorigin><script src="/shop.js"></script></head>
			<body>A shop. <img src="/logo.png" alt=""><img src="/mug.svg" alt=""><video><track default src="/film.vtt"></video>%s`, r.URL.Path, revisit.Tag(r.Context()))
		return
	}
	w.Header().Set("Content-Type", kind)
	http.ServeContent(w, r, "", time.Now().Add(-1000*time.Hour), strings.NewReader(body))
}
