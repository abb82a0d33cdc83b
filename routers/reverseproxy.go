package main

import (
	"net/http"
	"net/http/httputil"
	"net/url"

	"github.com/revisit-go/revisit"
)

// reverseProxy is in front of a backend in any language, and tells it who comes.
func reverseProxy(tracker *revisit.Tracker, backend string) http.Handler {
	target, err := url.Parse(backend)
	if err != nil {
		panic(err)
	}
	return tracker.Handler(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.SetXForwarded()
			r.Out.Header.Del("X-Session-Id") // nobody but us says so
			if s, ok := revisit.FromContext(r.In.Context()); ok {
				r.Out.Header.Set("X-Session-Id", s.ID.String())
			}
		},
	})
}
