package revisit

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/revisit-go/revisit/internal/fetchmeta"
	"github.com/revisit-go/revisit/internal/ledger"
	"github.com/revisit-go/revisit/internal/rules"
)

// MayMatch reports whether Match would do anything with this request. It does not
// without permission, nor for a page that is fetched before anybody has asked for it
// (prefetches).
func (v *Visit) MayMatch() bool {
	return (v.permission == Recognise || v.permission == Restore) && !v.class.Foreign && !fetchmeta.IsPrefetch(v.request.Header)
}

// Match identifies the client by signals of its request, for a strategy that keeps nothing
// in the client. The purpose is the strategy's Via; another one panics. A match is weak: it
// decides which session a request belongs to only where no token came, and that session goes
// into no carrier. Two requests match if all signals are the same, in the same order. They
// are kept as an HMAC with a salt that is destroyed at the end of the next window. A window is
// an hour to 31 days; another one panics. The first Match of a request counts.
func (v *Visit) Match(purpose string, window time.Duration, signals ...string) {
	v.tracker.mustRank(purpose)
	if window < minWindow || window > maxWindow {
		panic(fmt.Sprintf("revisit: Match: the window is %v, want %v to %v", window, minWindow, maxWindow))
	}
	if v.fingerprint == nil && v.MayMatch() {
		v.fingerprint = ledger.NewFingerprint(purpose, window, signals...)
	}
}

// lookup looks for the session of the request's fingerprint. An error means that it is not
// known. For a hint there is half of the time: the session that it is for is to be saved yet.
func (t *Tracker) lookup(v *Visit, hint bool) error {
	wait := t.ledger.Timeout()
	if hint {
		wait /= 2
	}
	found, err := t.ledger.Lookup(v.context.Context, v.fingerprint, v.now, wait)
	if err != nil {
		t.stats.Drop(err)
		v.fingerprint = nil
		return err
	}
	v.fingerprint = found
	return nil
}

// startsWeak reports whether a session may be started that has nothing but a
// fingerprint. As with a cookie, the many requests of a page must not
// start one each.
func (v *Visit) startsWeak() bool {
	return v.class.MayStart && v.fingerprint != nil && !v.fingerprint.Ambiguous && (v.class.Navigation || v.seedable() || v.fingerprint.ByScript)
}

// bindNew has the request's fingerprint lead to the session that it has started,
// before the header of the response goes. A session that has nothing else is saved
// here.
func (v *Visit) bindNew(status int) {
	switch {
	case v.fingerprint == nil || !v.New() || v.fingerprint.Ambiguous:
	case !v.weak:
		if v.session.isSaved() {
			v.bindFingerprint(v.session.Record())
		}
	case v.class.Navigation || status == http.StatusOK && v.seedable() || status < 300 && v.fingerprint.ByScript:
		v.session.createByFingerprint(v)
	}
}

// bindVisit has the request's fingerprint lead to the session that it came with, where
// it begins a visit, or may have shown that the session is one (its second page view): once
// is enough. What a script reports comes when it comes.
func (v *Visit) bindVisit(s *Record) {
	if v.fingerprint != nil && (v.class.Hit && (s.Hits <= 2 || s.VisitStart.Equal(v.now)) || v.fingerprint.ByScript) {
		v.bindFingerprint(*s)
	}
}

func (v *Visit) bindFingerprint(s Record) {
	v.tracker.ledger.Bind(v.context.Context, v.fingerprint, &s, v.now, v.weak)
}

// createByFingerprint saves a session that has nothing but a fingerprint. If another request
// has been faster, it counts on that one's session.
func (s *Session) createByFingerprint(v *Visit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.saveFail != nil {
		return
	}
	c := rules.Change{At: v.now, Via: v.fingerprint.Via, Hit: v.class.Hit, BeforeConsent: v.beforeConsent}
	if c.Hit {
		c.Touch, c.Reload = v.touch(), v.reloads()
	}
	if v.class.Hit && !v.session.counted { // see takeViewBack
		c.Retracted = 1
	}
	r, err := v.tracker.ledger.CreateByFingerprint(v.context.Context, v.fingerprint, s.known(), s.saved, v.permission == Restore, c)
	if err != nil {
		s.saveFail = err
		v.tracker.stats.Drop(err)
		return
	}
	s.record, s.saved = &r, true
}

// resumeByFingerprint continues the session of the request's fingerprint, and reports whether
// there is one. A session that has tokens is shown, no more: it may be another browser's.
func (t *Tracker) resumeByFingerprint(v *Visit, begin time.Time, change *[1]rules.Change) bool {
	k := v.fingerprint
	if k.Match.ID.IsZero() {
		return false
	}
	if k.HasTokens {
		t.stats.recognised(k.Via)
		v.weak, v.session.guess = true, true
		shown := k.Match
		shown.Values, shown.Touches, shown.MergedSessions = nil, nil, nil // which are the visitor's own
		v.open(shown.ID, k.Via, &shown)
		return true
	}
	record, via, err := t.resolveClaims(v, []rules.Claim{{ID: k.Match.ID, Via: k.Via}}, change, t.ledger.Left(begin))
	if err != nil {
		if !errors.Is(err, ErrForgotten) {
			if !t.ledger.Buffers() {
				t.stats.Drop(err)
			}
			v.fingerprint = nil
		}
		return false
	}
	t.stats.recognised(via)
	v.weak = true
	v.open(record.ID, via, &record)
	if k.IsStale {
		v.bindFingerprint(record)
	}
	return true
}
