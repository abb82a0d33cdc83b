package main

import (
	"net/http"

	"github.com/klauspost/compress/gzhttp"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"

	"github.com/revisit-go/revisit"
)

// gzhttpOutside compresses what the Tracker has tagged: one tag for both forms of a page.
func gzhttpOutside(tracker *revisit.Tracker) http.Handler {
	return gzhttp.GzipHandler(serveMux(tracker))
}

// gzhttpInside is tagged after it was compressed, so that a tag speaks for one form.
func gzhttpInside(tracker *revisit.Tracker) http.Handler {
	return tracker.Handler(gzhttp.GzipHandler(serveMux(tracker)))
}

// otelhttpOutside measures the Tracker, too.
func otelhttpOutside(tracker *revisit.Tracker) http.Handler {
	return otelhttp.NewHandler(serveMux(tracker), "shop")
}

// otelhttpInside measures the site alone.
func otelhttpInside(tracker *revisit.Tracker) http.Handler {
	return tracker.Handler(otelhttp.NewHandler(serveMux(tracker), "shop"))
}
