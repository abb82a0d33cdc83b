package revisit

import (
	"context"
	"maps"
	"net/http"
	"time"

	"github.com/revisit-go/revisit/internal/httpwriter"
	"github.com/revisit-go/revisit/internal/token"
	"github.com/revisit-go/revisit/store"
)

// A Visit is one request on its way through a [Tracker], as a [Strategy] sees
// it. It is not safe for concurrent use, and not to be kept after the request.
//
// What the Tracker works with stands in the structs that are embedded, each with its file.
// Only these files and tracker.go write their fields.
type Visit struct {
	tracker *Tracker
	request *http.Request // as the client sent it
	header  http.Header   // the handler's, if it differs
	now     time.Time

	kind       kind
	permission Permission
	requestClass
	responseState
	identity
	responsePlan

	session Session // tracker is nil if there is none

	// One allocation holds all that a request needs.
	scratch  token.Scratch
	context  visitContext
	inner    http.Request // as the handler sees it
	response httpwriter.Writer
}

// Request returns the request as the client sent it. It must not be changed:
// see Header.
func (v *Visit) Request() *http.Request { return v.request }

// Header returns a copy of the header, which the handler will see. It may be changed.
func (v *Visit) Header() http.Header {
	if v.header == nil {
		v.header = maps.Clone(v.request.Header) // lines are replaced, never changed
	}
	return v.header
}

// Permission returns what Config.Consent answered.
func (v *Visit) Permission() Permission { return v.permission }

// Navigation reports whether the browser goes to a page, as opposed to loading
// a part of one.
func (v *Visit) Navigation() bool { return v.class.Navigation }

// New reports whether the session was started by this request.
func (v *Visit) New() bool { return v.session.tracker != nil && v.session.Via == store.ViaNew }

// Expires returns when the tokens of the session end. It is not extended by
// visits.
func (v *Visit) Expires() time.Time { return v.session.ID.Time().Add(v.tracker.lifetime) }

// visitContext is the context of the request that the handler sees.
type visitContext struct {
	context.Context
	v *Visit
}

type (
	sessionKey struct{}
	visitKey   struct{ tracker *Tracker }
	nearestKey struct{}
)

func (c *visitContext) Value(key any) any {
	switch key := key.(type) {
	case sessionKey:
		if c.v.permission != Deny {
			c.v.resolveForm(true)
		}
		// Never the session of another Tracker further out.
		if c.v.session.tracker == nil {
			return (*Session)(nil)
		}
		return &c.v.session
	case nearestKey:
		return c.v
	case visitKey:
		if key.tracker == c.v.tracker {
			return c.v
		}
	}
	return c.Context.Value(key)
}

// visitOf returns the Visit of the innermost Tracker, nil for none.
func visitOf(ctx context.Context) *Visit {
	v, _ := ctx.Value(nearestKey{}).(*Visit)
	return v
}

// visit returns the Visit of the request that ctx belongs to, nil for none.
func (t *Tracker) visit(ctx context.Context) *Visit {
	v, _ := ctx.Value(visitKey{t}).(*Visit)
	return v
}

// open gives the handler a session. Without a record it is that of the slot.
func (v *Visit) open(id ID, via string, record *Record) {
	s := &v.session
	s.tracker, s.ID, s.Via, s.record, s.saved = v.tracker, id, via, record, true
	if via == viaForm || v.weak || via == store.ViaNew && v.fingerprint != nil ||
		len(v.carriers) > 0 && v.request.Method != http.MethodGet && v.request.Method != http.MethodHead {
		v.Hook() // a form may be shown, or forget; and the fingerprint is to be bound
	}
	if v.hooked {
		return
	}
	for i, name := range v.tracker.names {
		if (v.offers&(1<<i) != 0 || v.Carried(name)) && v.Due(name) {
			v.hooked = true
		}
	}
}
