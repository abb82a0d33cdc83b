package main

import (
	"net/http"

	"github.com/revisit-go/revisit"
)

// serveMux wraps single handlers, as is good for a site where few pages matter.
func serveMux(tracker *revisit.Tracker) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /products/{id}", tracker.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		product(w, r, r.PathValue("id"))
	})))
	mux.Handle("GET /events", tracker.Handler(http.HandlerFunc(events)))
	mux.Handle("GET /upgrade", tracker.Handler(http.HandlerFunc(upgrade)))
	tracker.Mount(mux)
	return mux
}
