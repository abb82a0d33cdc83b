// Package origin compares the origin of a request with that of the page that made it.
package origin

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/revisit-go/revisit/internal/header"
	"github.com/revisit-go/revisit/internal/hostname"
)

// maxReferrer is the longest Referer that is looked at.
const maxReferrer = 8 << 10

// IsSame reports whether a page of this origin has made the request. A
// client without Fetch Metadata has to show it by Origin or Referer.
func IsSame(r *http.Request) bool {
	if site := header.Value(r.Header, "Sec-Fetch-Site"); site != "" {
		return site == "same-origin"
	}
	if origin := header.Value(r.Header, "Origin"); origin != "" {
		u, err := url.Parse(origin)
		return err == nil && IsOwn(u, r)
	}
	_, ok := Referrer(r)
	return ok
}

// Referrer returns a Referer of the origin of r.
func Referrer(r *http.Request) (*url.URL, bool) {
	referer := header.Value(r.Header, "Referer")
	if referer == "" || len(referer) > maxReferrer {
		return nil, false
	}
	u, err := url.Parse(referer)
	if err != nil || !IsOwn(u, r) && !IsBehindProxy(u, r) {
		return nil, false
	}
	return u, true
}

// IsOwn reports whether u is of the origin of r. That a request came without TLS
// may be the work of a proxy, and says nothing; so does a port that its scheme implies.
func IsOwn(u *url.URL, r *http.Request) bool {
	return (u.Scheme == "https" || u.Scheme == "http" && r.TLS == nil) && (strings.EqualFold(u.Host, r.Host) || strings.EqualFold(hostname.Of(u), hostname.Plain(r.Host)))
}

// IsBehindProxy reports whether u, the Referer of r, is of the origin of r though its host is
// another one: the browser says that the page is of the origin that it asks, so the Host of r
// is the work of a proxy. Browsers set Sec-Fetch-Site themselves, and it goes with the Referer:
// the reload of a page that another site has led to repeats both (seen in Chromium and Firefox).
// An image is no proof: one that a style sheet asks for has the Referer of that, which may be
// another site's, while Sec-Fetch-Site is the page's.
func IsBehindProxy(u *url.URL, r *http.Request) bool {
	return header.Value(r.Header, "Sec-Fetch-Site") == "same-origin" && header.Value(r.Header, "Sec-Fetch-Dest") != "image" &&
		(u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && !IsOwn(u, r)
}

// IsProxied reports whether u is a page of the site that r is for, though the request has
// another Host. What the browser says of the page that it comes from holds for a referrer that
// the page's script has reported, too.
func IsProxied(u *url.URL, r *http.Request) bool {
	if header.Value(r.Header, "Sec-Fetch-Site") != "same-origin" {
		return false // which spares most requests the parsing
	}
	from, ok := Referrer(r)
	return ok && IsBehindProxy(from, r) && strings.EqualFold(hostname.Of(from), hostname.Of(u))
}

// WithPlainHost has next see the Host as an Origin has it: without a default port, in small
// letters.
func WithPlainHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if host := strings.ToLower(hostname.Plain(r.Host)); host != r.Host {
			r = r.WithContext(r.Context())
			r.Host = host
		}
		next.ServeHTTP(w, r)
	})
}
