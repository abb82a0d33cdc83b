// Package beacon serves what the pages of a site include: the script, a transparent pixel, and
// the frame for browsers without script.
package beacon

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"net/http"
	"strings"
	"time"

	"github.com/revisit-go/revisit/internal/header"
	"github.com/revisit-go/revisit/internal/origin"
)

// Only answers other methods with 405.
func Only(next http.Handler, methods ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, method := range methods {
			if r.Method == method {
				next.ServeHTTP(w, r)
				return
			}
		}
		w.Header().Set("Allow", strings.Join(methods, ", "))
		http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
	})
}

// Pixel is a transparent GIF of 1×1.
const Pixel = "GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"

//go:embed revisit.js
var source string

// Script is what is sent: the source without its comments and indentation.
var Script = func() string {
	var b strings.Builder
	for line := range strings.Lines(source) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), " // ")
		if line != "" && !strings.HasPrefix(line, "// ") {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}()

// Version is of the content, so that a page's script may be kept for ever.
var Version = func() string {
	sum := sha256.Sum256([]byte(Script))
	return hex.EncodeToString(sum[:6])
}()

// ServeScript never sees a session: the script is for everybody.
func ServeScript(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/javascript; charset=utf-8")
	h.Set("Cache-Control", "public, max-age=3600")
	if r.URL.RawQuery == "v="+Version {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	h.Set("Etag", `"`+Version+`"`)
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(Script))
}

// ServeFrame answers with a page that holds the anchor, whose Referer then has
// the link token. It is for a frame in a page of the same origin only: anywhere
// else it would tell the anchor what some other site likes it to hear, or whoever
// has put a link into a comment. A browser that does not say gets an empty page.
func ServeFrame(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; img-src 'self'; frame-ancestors 'self'")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("X-Robots-Tag", "noindex")
	if dest := header.Value(r.Header, "Sec-Fetch-Dest"); origin.IsSame(r) && (dest == "iframe" || dest == "frame") {
		_, _ = w.Write([]byte(`<!DOCTYPE html><title>.</title><img src="../pixel.gif" alt="">`))
	}
}
