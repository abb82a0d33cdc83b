package main

import (
	"net/http"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"github.com/revisit-go/revisit"
)

// chiRouter has the Tracker as a middleware. One that changes Cache-Control would come
// after it, that is inside.
func chiRouter(tracker *revisit.Tracker) http.Handler {
	r := chi.NewRouter()
	r.Use(middleware.Recoverer)
	r.Use(tracker.Handler)
	r.Get("/products/{id}", func(w http.ResponseWriter, r *http.Request) {
		product(w, r, chi.URLParam(r, "id"))
	})
	r.Get("/events", events)
	r.Get("/upgrade", upgrade)
	r.Mount("/revisit/", tracker.Beacon())
	return r
}
