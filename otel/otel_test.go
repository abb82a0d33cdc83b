package otel_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	exporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/revisit-go/revisit"
	"github.com/revisit-go/revisit/otel"
)

// What Prometheus gets, over the wire, after a few visits: each field of Stats.
func TestPrometheus(t *testing.T) {
	tracker, err := revisit.New(revisit.Config{
		Keys: [][]byte{make([]byte, 32)}, Consent: func(*http.Request) revisit.Permission { return revisit.Restore },
		Logger: slog.New(slog.DiscardHandler), Strategy: revisit.Cookie{},
	})
	require.NoError(t, err)
	defer tracker.Close()
	registry := prometheus.NewRegistry()
	reader, err := exporter.New(exporter.WithRegisterer(registry))
	require.NoError(t, err)
	provider := metric.NewMeterProvider(metric.WithReader(reader))
	stop, err := otel.Observe(provider, tracker)
	require.NoError(t, err)

	mux := http.NewServeMux()
	mux.Handle("/", tracker.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {})))
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	server := httptest.NewServer(mux)
	defer server.Close()
	get := func(path, name, value string) string {
		r, err := http.NewRequest("GET", server.URL+path, nil)
		require.NoError(t, err)
		r.Header.Set(name, value)
		resp, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		if cookies := resp.Header["Set-Cookie"]; len(cookies) > 0 {
			pair, _, _ := strings.Cut(cookies[0], ";")
			return pair
		}
		return string(body)
	}
	cookie := get("/", "X", "")
	get("/", "Cookie", cookie)
	get("/", "Cookie", cookie)
	get("/", "Cookie", "__Host-revisit=forged")
	get("/", "User-Agent", "Googlebot/2.1")

	page := get("/metrics", "X", "")
	for _, want := range []string{
		`revisit_sessions_started_total{.*} 2`, `revisit_sessions_confirmed_total{.*} 1`, `revisit_requests_recognised_total{.*via="cookie"} 2`,
		`revisit_tokens_refused_total{.*reason="forged"} 1`, `revisit_requests_left_alone_total{.*reason="bot"} 1`, `revisit_changes_dropped_total{.*reason="timeout"} 0`,
	} {
		assert.Regexp(t, `(?m)^`+want+`$`, page)
	}
	// Each field is there: a number is a series, and so is each entry of a map.
	stats := tracker.Stats()
	series := 0
	for i := range reflect.TypeFor[revisit.Stats]().NumField() {
		if f := reflect.ValueOf(stats).Field(i); f.Kind() == reflect.Map {
			series += f.Len()
		} else {
			series++
		}
	}
	assert.Len(t, regexp.MustCompile(`(?m)^revisit_`).FindAllString(page, -1), series)
	assert.NotContains(t, page, strings.TrimPrefix(cookie, "__Host-revisit="))

	require.NoError(t, stop())
	assert.NotContains(t, get("/metrics", "X", ""), "revisit_sessions_started")
}
