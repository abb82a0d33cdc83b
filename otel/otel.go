// Package otel exports the statistics of a Tracker to OpenTelemetry and, through its
// exporter, to Prometheus:
//
//	exporter, err := prometheus.New() // go.opentelemetry.io/otel/exporters/prometheus
//	provider := metric.NewMeterProvider(metric.WithReader(exporter))
//	stop, err := otel.Observe(provider, tracker)
//	mux.Handle("/metrics", promhttp.Handler())
//
// The metrics are the fields of [revisit.Stats], for this process. No metric describes a
// visitor, so the number of metrics does not grow.
package otel

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/revisit-go/revisit"
)

// name of the instrumentation scope.
const name = "github.com/revisit-go/revisit"

// A number is a field of Stats as a metric.
type number struct {
	name, description, unit string
	of                      func(s *revisit.Stats) int64
	with                    []attribute.KeyValue
}

func attributes(key, value string) []attribute.KeyValue {
	return []attribute.KeyValue{attribute.String(key, value)}
}

var numbers = []number{
	{"revisit.sessions.started", "Sessions started and saved", "{session}", func(s *revisit.Stats) int64 { return s.New }, nil},
	{"revisit.sessions.confirmed", "Sessions whose token came back for the first time: visitors", "{session}", func(s *revisit.Stats) int64 { return s.Confirmed }, nil},
	{"revisit.sessions.merged", "Sessions merged into an older one", "{session}", func(s *revisit.Stats) int64 { return s.Merged }, nil},
	{"revisit.sessions.forgotten", "sessions erased at the visitor's request", "{session}", func(s *revisit.Stats) int64 { return s.Forgotten }, nil},
	{"revisit.links.used", "Link tokens used: a page and the anchor are one browser", "{link}", func(s *revisit.Stats) int64 { return s.LinksUsed }, nil},
	{"revisit.tokens.refused", "Presented tokens that count for nothing", "{token}", func(s *revisit.Stats) int64 { return s.Forged }, attributes("reason", "forged")},
	{"revisit.tokens.refused", "Presented tokens that count for nothing", "{token}", func(s *revisit.Stats) int64 { return s.Expired }, attributes("reason", "expired")},
	{"revisit.tokens.refused", "Presented tokens that count for nothing", "{token}", func(s *revisit.Stats) int64 { return s.Ambiguous }, attributes("reason", "ambiguous")},
	{"revisit.tokens.refused", "Presented tokens that count for nothing", "{token}", func(s *revisit.Stats) int64 { return s.Leaked }, attributes("reason", "leaked")},
	{"revisit.requests.left_alone", "Requests that nothing was done with", "{request}", func(s *revisit.Stats) int64 { return s.Denied }, attributes("reason", "denied")},
	{"revisit.requests.left_alone", "Requests that nothing was done with", "{request}", func(s *revisit.Stats) int64 { return s.Unasked }, attributes("reason", "unasked")},
	{"revisit.requests.left_alone", "Requests that nothing was done with", "{request}", func(s *revisit.Stats) int64 { return s.Bots }, attributes("reason", "bot")},
	{"revisit.requests.unverified", "Requests recognised from the token alone", "{request}", func(s *revisit.Stats) int64 { return s.Unverified }, nil},
	{"revisit.store.errors", "Errors of the Store, conflicts and absence aside", "{error}", func(s *revisit.Stats) int64 { return s.StoreErrors }, nil},
	{"revisit.notify.errors", "Calls of OnMerge that returned an error", "{call}", func(s *revisit.Stats) int64 { return s.NotifyErrors }, nil},
}

// Observe has the provider ask for the counts of a Tracker. The function that it
// returns ends that.
func Observe(provider metric.MeterProvider, tracker *revisit.Tracker) (stop func() error, err error) {
	meter := provider.Meter(name)
	var errs []error
	counters := make(map[string]metric.Int64ObservableCounter)
	counter := func(name, description, unit string) metric.Int64ObservableCounter {
		c, known := counters[name]
		if !known {
			var err error
			c, err = meter.Int64ObservableCounter(name, metric.WithDescription(description), metric.WithUnit(unit))
			errs = append(errs, err)
			counters[name] = c
		}
		return c
	}
	for _, n := range numbers {
		counter(n.name, n.description, n.unit)
	}
	recognised := counter("revisit.requests.recognised", "Requests whose session was recognised, by strategy", "{request}")
	dropped := counter("revisit.changes.dropped", "Changes that were not kept, by reason", "{change}")
	clipped := counter("revisit.links.clipped", "What links said and was not kept, by reason", "{value}")
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	var all []metric.Observable
	for _, c := range counters {
		all = append(all, c)
	}
	registration, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		s := tracker.Stats()
		for _, n := range numbers {
			o.ObserveInt64(counters[n.name], n.of(&s), metric.WithAttributes(n.with...))
		}
		for via, times := range s.Returning {
			o.ObserveInt64(recognised, times, metric.WithAttributes(attributes("via", via)...))
		}
		for reason, times := range s.Dropped {
			o.ObserveInt64(dropped, times, metric.WithAttributes(attributes("reason", reason)...))
		}
		for reason, times := range s.Clipped {
			o.ObserveInt64(clipped, times, metric.WithAttributes(attributes("reason", reason)...))
		}
		return nil
	}, all...)
	if err != nil {
		return nil, err
	}
	return registration.Unregister, nil
}
