package main

import (
	"net/http"

	"github.com/gorilla/mux"

	"github.com/revisit-go/revisit"
)

// gorillaRouter has the Tracker as a middleware. It runs for routes that match.
func gorillaRouter(tracker *revisit.Tracker) http.Handler {
	r := mux.NewRouter()
	r.Use(tracker.Handler)
	r.HandleFunc("/products/{id}", func(w http.ResponseWriter, r *http.Request) {
		product(w, r, mux.Vars(r)["id"])
	}).Methods(http.MethodGet, http.MethodHead)
	r.HandleFunc("/events", events)
	r.HandleFunc("/upgrade", upgrade)
	r.PathPrefix("/revisit/").Handler(tracker.Beacon())
	return r
}
