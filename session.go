package revisit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/revisit-go/revisit/internal/memstore"
	"github.com/revisit-go/revisit/internal/millis"
	"github.com/revisit-go/revisit/internal/rules"
	"github.com/revisit-go/revisit/store"
)

// Errors of [Session.Set].
var (
	// ErrValue is returned for a key or a text that is not kept.
	ErrValue = rules.ErrValue
	// ErrGuess is returned for a session that has tokens, but was found by its fingerprint.
	ErrGuess = errors.New("revisit: the session is a guess, no token came for it")
	// ErrUnverified is returned for a session that is known from its token only,
	// because the store did not answer.
	ErrUnverified = errors.New("revisit: the session is unverified, the store did not answer")
)

// A Session is what a handler sees of a visitor: one browser, or what is taken
// for one. It is safe for concurrent use.
//
// Recognition is not authentication: show personal data to somebody who has logged in, not to
// somebody who was recognised.
type Session struct {
	// ID names the session for as long as it lasts. An order that has it can be
	// attributed to the visitor's campaigns.
	ID ID

	// Via is how the visitor was recognised: the name of a strategy, as
	// "cookie" or "etag"; "fingerprint", which is no proof; "form", by the token of
	// Field; "link", at the beacon's anchor; "adopted", by what Config.Adopt returned; or
	// "new".
	Via string

	// Unverified is true if the token was valid but the store did not answer in
	// time. Nothing but ID and Via is known then (and Created, which the ID says),
	// and Set fails.
	Unverified bool

	tracker *Tracker // nil for NewSession's
	guess   bool     // the request only has the session's fingerprint
	counted bool     // the session has the page view of this request, or is about to have it

	mu       sync.Mutex    // for what follows
	slot     memstore.Slot // of a memory store
	record   *Record       // nil as long as nobody has asked what the slot has
	saved    bool
	saveFail error
}

// NewSession returns a session with the data of r, for the tests of a handler:
// see [NewContext]. It belongs to no Tracker, and Set changes it alone. A via of
// "new" makes one that New is true of.
func NewSession(r Record, via string) *Session {
	return &Session{ID: r.ID, Via: via, record: &r, saved: true}
}

// NewContext returns a context in which [FromContext] finds s, for the tests of
// a handler.
func NewContext(ctx context.Context, s *Session) context.Context {
	return context.WithValue(ctx, sessionKey{}, s)
}

// FromContext returns the session of the request that ctx belongs to. There is
// none outside of a [Tracker.Handler], under Unasked and Deny, and where the client has
// presented no valid token and no session could be started: on a POST that is no navigation,
// on HEAD, and for images and the like. With a [Fingerprint] it may be a guess.
func FromContext(ctx context.Context) (*Session, bool) {
	s, _ := ctx.Value(sessionKey{}).(*Session)
	return s, s != nil
}

// New reports whether the session was started by this request. It is kept for
// a day then, and longer once the client comes back with its token.
func (s *Session) New() bool { return s.Via == store.ViaNew }

// Created returns when the session began.
func (s *Session) Created() time.Time { return s.ID.Time() }

// Hits returns how many pages the visitor has seen, this one included. If the handler
// answers a navigation with a redirect, or with 204 or 205, this one is taken back then.
func (s *Session) Hits() int64 { return s.Record().Hits }

// Visits returns how many visits the session has seen, this one included. A
// visit ends with [Config.VisitGap] without a hit.
func (s *Session) Visits() int64 { return s.Record().Visits }

// First returns the touch that first led the visitor here; the zero Touch if
// there is none, as before the first page view.
func (s *Session) First() Touch {
	if t := s.Touches(); len(t) > 0 {
		return t[0]
	}
	return Touch{}
}

// Last returns the touch that led the visitor here last. A direct hit is none,
// unless it is the first.
func (s *Session) Last() Touch {
	if t := s.Touches(); len(t) > 0 {
		return t[len(t)-1]
	}
	return Touch{}
}

// Touches returns the first touch and the latest 15 after it, by time. The
// slice must not be changed.
func (s *Session) Touches() []Touch { return s.Record().Touches }

// VisitTouch returns the touch that began the current visit, or came within it last.
// Not ok is a visit that began directly.
func (s *Session) VisitTouch() (touch Touch, ok bool) {
	r := s.Record()
	if n := len(r.Touches); n > 0 && !r.Touches[n-1].Time.Before(r.VisitStart) && !r.Touches[n-1].IsDirect() {
		return r.Touches[n-1], true
	}
	return Touch{}, false
}

// Value returns what Set has attached under the key.
func (s *Session) Value(key string) (text string, ok bool) {
	v := s.Record().Values[key]
	return v.Text, v.Text != ""
}

// Record returns all that is stored about the session, as of this request. Its
// slices and maps must not be changed.
func (s *Session) Record() Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return *s.known()
}

// known is Record for a caller who holds mu.
func (s *Session) known() *Record {
	if s.record == nil {
		r := Record{ID: s.ID}
		if s.slot.IsUsed() {
			r = s.slot.Record(s.Via)
		}
		s.record = &r
	}
	return s.record
}

// IsGuess reports whether the session was found by a [Fingerprint] though it has tokens, which
// did not come. Do not attach an order or a lead to a guess.
func (s *Session) IsGuess() bool { return s.guess }

// isSaved reports whether the store has the session.
func (s *Session) isSaved() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tracker != nil && s.saved && !s.Unverified
}

// isRedirect takes note that a session begins with a redirect, if it was not saved yet.
func (s *Session) isRedirect() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.saved {
		s.known().Via = store.ViaRedirect
	}
}

// hasShownNothing takes note that a session begins without a page view, and reports whether
// it is in time for that: it was not saved yet.
func (s *Session) hasShownNothing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.saved {
		s.known().Hits = 0
	}
	return !s.saved
}

// Set attaches a value to the session under a key, at once: a session that was
// started by this request is saved with it. An empty text removes the value. A
// session keeps 32 keys of 1 to 64 bytes with texts of up to 1,024 bytes, all in
// valid UTF-8; anything else is an ErrValue.
//
// Set returns ErrGuess, ErrUnverified or the store's error if the value may not have been
// kept, and ErrForgotten if the session was forgotten.
func (s *Session) Set(ctx context.Context, key, text string) error {
	if key == "" || len(key) > rules.MaxKeyLen || len(text) > rules.MaxValueText || !utf8.ValidString(key) || !utf8.ValidString(text) {
		return fmt.Errorf("%w: key of %d bytes, text of %d bytes", ErrValue, len(key), len(text))
	}
	if s.Unverified {
		return ErrUnverified
	}
	if s.guess {
		return ErrGuess
	}
	c := rules.Change{Key: strings.Clone(key), Text: strings.Clone(text), At: millis.Truncate(time.Now())}
	if s.tracker == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		_, err := rules.SetValue(s.known(), c.Key, Value{Text: c.Text, At: c.At})
		return err
	}
	if err := s.create(ctx); err != nil {
		return err
	}
	id := s.Record().ID // which may be another request's, that was faster
	r, err := s.tracker.ledger.SetValue(ctx, id, c)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.record = &r
	return nil
}

// create saves the session if this request has started it. It tries once: a
// store that did not answer is not asked again by the same request.
func (s *Session) create(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.saved || s.saveFail != nil {
		return s.saveFail
	}
	r, err := s.tracker.ledger.Create(ctx, s.known())
	if err != nil {
		s.saveFail = err
		s.tracker.stats.Drop(err)
		return err
	}
	*s.record, s.saved = r, true // which is ours: mint has made it
	return nil
}
