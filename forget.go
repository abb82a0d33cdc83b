package revisit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// forgetLimit is how many times StoreTimeout it may take to forget a session,
// which is a few writes for each session that was merged into it. A request does
// not wait that long.
const forgetLimit = 20

// forgetTime is how long it may take to forget a session, or whatever else the application
// asks for. One call of Config.OnForget has its time in it: what was done then is done, and
// whoever tries again goes on from there.
func (l *ledger) forgetTime() time.Duration {
	if l.hooks.onForget != nil {
		return forgetLimit*l.timeout + hookTimeout
	}
	return forgetLimit * l.timeout
}

// deny forgets the sessions of the valid tokens, and reports whether it could.
func (t *Tracker) deny(v *Visit) bool {
	done := true
	var room [2]claim
	begin := time.Now()
	for _, c := range v.claims(room[:0]) {
		v.spoke = true
		id := c.id
		if err := t.forgetClaim(v.context.Context, c, t.ledger.left(begin)); err != nil {
			done = false
			t.stats.drop(err)
			if times, ok := t.stats.denials.now(); ok {
				t.logger.Error("revisit: a session whose visitor said no could not be forgotten yet", "session", id, "error", err, "times", times)
			}
		}
	}
	if err := t.denyAdopted(v); err != nil {
		done = false
		t.stats.drop(err)
	}
	return done
}

// Forget removes all that is stored about the session of id and about those
// that were merged into it. A tombstone stays in its place for 400 days, longer
// than any token lasts, so that none of them brings the session back; each ID is
// logged, so that the log can be replayed over a restored backup.
//
// Called in a handler for its own session, it also has the client's carriers
// cleared: the cookie with this response, if its header is looked at (always under ETag,
// for a form that is sent, and where a carrier was about to be written), else with the
// next one; a tag with the next page of its URL. The
// Session that the handler has goes on showing what was; its Set returns
// ErrForgotten. One that the request only looks like is not forgotten: ErrGuess.
//
// The consent that [OptIn] has found ends with the same response, if its header is looked at and no shared
// cache may keep it, so call Forget in the handler of a POST. If consent stays, the next page
// begins a new session.
//
// A session that is not there gets a tombstone, too: its token may be around. It returns
// ErrNotFound for an ID that no session can have, as the zero one. Record.Likely of other
// sessions may still name the ID, without anything that it leads to.
//
// An error means that the session may still be there: try again. Forget gives up after
// twenty times Config.StoreTimeout (and ten seconds, with Config.OnForget), and returns
// when ctx ends; what it has begun goes on.
func (t *Tracker) Forget(ctx context.Context, id ID) error {
	v := t.visit(ctx)
	if v != nil {
		v.settleForm(true)
	}
	if v == nil || v.session.tracker == nil || v.session.ID != id {
		v = nil
	}
	if v != nil && v.session.guess {
		return fmt.Errorf("revisit: forget %v: %w", id, ErrGuess)
	}
	if id.derived() || id.IsZero() { // no session, and what is kept there is not to go
		return fmt.Errorf("revisit: forget %v: %w", id, ErrNotFound)
	}
	if _, err := patiently(t.ledger, ctx, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, t.forgetWithin(ctx, claim{id: id})
	}); err != nil {
		return fmt.Errorf("revisit: forget %v: %w", id, err)
	}
	if v != nil {
		v.disclaims.Store(true)
		v.clearing.Store(true)
	}
	return nil
}

// forgetClaim is Forget for a request, which does not wait that long.
func (t *Tracker) forgetClaim(ctx context.Context, c claim, wait time.Duration) error {
	_, err := withinFor(t.ledger, ctx, wait, t.ledger.forgetTime(), func(ctx context.Context) (struct{}, error) {
		return struct{}{}, t.forgetWithin(ctx, c)
	})
	return err
}

func (t *Tracker) forgetWithin(ctx context.Context, c claim) error {
	if c.follows {
		// Whoever has been handed a leaked tag has no say over its session.
		if own, err := t.ledger.load(ctx, c.id); err == nil && own.leaked() {
			return nil
		}
	}
	if c.via != "" {
		// Whoever comes after a logout has no say over the session before.
		if r, err := t.ledger.root(ctx, c.id); err == nil && r.Joins == renewed {
			return nil
		}
	}
	why := denied
	if c.via == "" {
		why = asked
	}
	fresh, err := t.ledger.forget(ctx, c.id, why)
	if fresh {
		t.stats.forgotten.Add(1)
	}
	return err
}

// A reason is why a session is forgotten.
type reason int8

const (
	asked  reason = iota // by the application: Tracker.Forget
	denied               // by a request, which anybody can send
)

// forget replaces the session of id and all that were merged into it by tombstones.
// The session itself comes after those, then the aliases between, and the one by
// which it was found last: what fails before can be done again. fresh is false if
// it was forgotten already.
func (l *ledger) forget(ctx context.Context, id ID, why reason) (fresh bool, err error) {
	var path []Record // of aliases, from id to the root
	bury := func(of *Record) error {
		aliases, err := l.aliases(ctx, of)
		if err != nil {
			return err
		}
		for _, a := range aliases {
			if slices.ContainsFunc(path, func(r Record) bool { return r.ID == a.ID }) {
				continue // its turn comes
			}
			if err := l.bury(ctx, a.ID, why); err != nil {
				return err
			}
		}
		return nil
	}
	for at := id; ; {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		r, err := l.load(ctx, at)
		if errors.Is(err, ErrForgotten) {
			break
		}
		if err != nil {
			return false, err
		}
		if !r.MergedInto.IsZero() {
			if !r.MergedInto.older(at) {
				return false, errCorrupt
			}
			path = append(path, r)
			at = r.MergedInto
			continue
		}
		if err := bury(&r); err != nil {
			return false, err
		}
		err = l.buryRecord(ctx, &r, why)
		if errors.Is(err, ErrConflict) {
			continue // it may have absorbed another one
		}
		if err != nil {
			return false, err
		}
		fresh = true
		break
	}
	for _, r := range slices.Backward(path) {
		if err := bury(&r); err != nil {
			return fresh, err
		}
		if err := l.bury(ctx, r.ID, why); err != nil {
			return fresh, err
		}
	}
	return fresh, nil
}

// bury puts a tombstone in place of whatever is there.
func (l *ledger) bury(ctx context.Context, id ID, why reason) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		r, err := l.load(ctx, id)
		if errors.Is(err, ErrForgotten) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := l.buryRecord(ctx, &r, why); !errors.Is(err, ErrConflict) {
			return err
		}
	}
}

// buryRecord puts a tombstone in place of a record, whose aliases have theirs. It returns
// ErrConflict if the record has changed.
func (l *ledger) buryRecord(ctx context.Context, r *Record, why reason) error {
	if err := l.forgetting(ctx, r.ID); err != nil {
		return err
	}
	if err := l.dropPages(ctx, r.ID); err != nil {
		return err
	}
	next := l.tombstone(r, why)
	if err := l.swap(ctx, next, r.Version); err != nil {
		return err
	}
	if l.writeBehind != nil {
		l.writeBehind.forget(r.ID)
	}
	// A line for each tombstone: a backup from before a merge has the merged sessions apart,
	// and all of them are to be forgotten again. A session that ends by itself within a day
	// is in no backup for long, and anybody can have it forgotten.
	if !r.ID.derived() && !next.Expires.Equal(r.Expires) {
		l.logger.Info("revisit: forgotten", "session", r.ID)
	}
	return nil
}

// tombstone outlives every token of the session. That of a session that was never
// confirmed, at the request of whoever has its token, lasts as long as the session would
// have: two requests must not cost a store a record for 400 days.
//
// Its Via tells what a request has asked for: see MemoryOptions.MaxSessions.
func (l *ledger) tombstone(r *Record, why reason) Record {
	t := Record{
		ID: r.ID, Version: newVersion(), Created: r.ID.Time(), Forgotten: true,
		Expires: milli(time.Now()).Add(max(l.lifetime, tombstoneLife)),
	}
	if why == denied {
		t.Via = viaDenied
	}
	if why == denied && r.Version != 0 && !r.Confirmed && r.MergedInto.IsZero() {
		t.Expires = r.Expires
	}
	return t
}
