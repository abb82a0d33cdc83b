package revisit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// The ledger holds all the rules of sessions, on nothing but Load and Save.
//
// Every change is: load, apply, Save with a new random Version. After a
// conflict or any other error, load again: a record with that very Version
// says that the write has happened, whatever the answer was (an answer may be
// lost, and clients of databases retry by themselves).
type ledger struct {
	store     Store
	backing   Store        // the store as Config has it, which may be a Batcher and a Lister, too
	memory    *MemoryStore // the store, if it is one that never blocks and needs no deadline
	lifetime  time.Duration
	retention time.Duration
	visitGap  time.Duration
	timeout   time.Duration
	logger    *slog.Logger
	stats     *counters

	turns
	hooks       hooks
	writeBehind *writeBehind // nil without Config.FlushEvery

	saltsMu sync.Mutex
	salts   map[string]salts // by purpose

	saltsClosed bool
}

const (
	// unconfirmedLife is how long a session lasts whose token never comes back:
	// that of a bot, of a blocked cookie, of all but one of the parallel first
	// requests of a browser.
	unconfirmedLife = 24 * time.Hour

	// tombstoneLife is the least that a tombstone lasts. Browsers keep a cookie
	// for 400 days at most (RFC 6265bis, section 5.5).
	tombstoneLife = 400 * 24 * time.Hour

	// burst is how far apart the sessions of one first burst of requests are
	// born at most.
	burst = 10 * time.Second

	// maxRivals is how many different cookies one tag may meet, and how many
	// anchors its links may join, before it counts as leaked: handed out by a cache,
	// or replayed.
	maxRivals = 8

	// anchorLife is how long an anchor lasts in a browser, at the least.
	anchorLife = 30 * 24 * time.Hour

	// maxAbsorbed bounds how many sessions a record lists that were merged into
	// it.
	maxAbsorbed = 64

	// clickAgain is how long the same tagged URL, with nothing new about it, is no second
	// click: a tab that is loaded again in the course of a working day. Somebody who opens
	// the same newsletter in the evening, or a week later, has clicked on it again.
	clickAgain = 8 * time.Hour

	// seenEvery is the precision of LastSeen between hits, so that the twenty
	// images of a page are not twenty writes.
	seenEvery = time.Minute

	// maxFailures is how many errors other than conflicts one change survives.
	maxFailures = 3
)

var (
	// ErrForgotten is returned for a session that the visitor has had forgotten.
	ErrForgotten = errors.New("revisit: the session was forgotten")

	errEnded   = fmt.Errorf("%w: its lifetime is over", ErrForgotten)
	errApart   = ErrApart
	errCorrupt = errors.New("revisit: an alias points to a younger session")
)

// A change is what one request does to a session. It is applied to a record,
// again if that was changed in between.
type change struct {
	at    time.Time
	via   string
	claim bool      // a token came back
	hit   bool      // a page view
	times int64     // that many page views, for more than one
	first time.Time // when the first of them was, if it was before at
	touch Touch     // of the hit

	landing bool // the hit was before consent: it counts if it begins the visit
	led     bool // a page of another host has led to it

	undo int64 // that many page views counted before were no page that was shown: see Visit.takeViewBack

	seen   bool // it is none: apply has found the visit under way, or another hit since
	reload bool // the browser loads once more what it shows
	stored bool // the token is that of a stored response, which is worth nothing once it has leaked

	since     time.Time // the hit counts unless another one has come since; zero for one that counts
	takesBack bool      // no hit: the one that has come since then was no click

	key, text string // with a key: of Session.Set
}

// begin returns when the first of the page views was.
func (c *change) begin() time.Time {
	if c.first.IsZero() {
		return c.at
	}
	return c.first
}

// apply changes r and reports whether there is something to be saved.
func (l *ledger) apply(r *Record, c *change) (dirty bool, err error) {
	if c.key != "" {
		return setValue(r, c.key, Value{Text: c.text, At: c.at})
	}
	if c.stored && r.leaked() {
		return false, nil
	}
	switch {
	case !c.claim || r.Confirmed:
	case r.Via == viaRedirect && c.hit && c.at.Sub(r.Created) < burst:
		dirty = true // whoever scans a letter goes on to the target
	default:
		r.Confirmed, r.Expires = true, l.keep(r.ID)
		dirty = true
	}
	if c.hit {
		if c.seen = !c.since.IsZero() && !r.LastHit.Before(c.since); !c.seen {
			dirty = l.applyHits(r, c) || dirty
		}
	}
	if c.undo > 0 {
		r.Hits, dirty = max(0, r.Hits-c.undo), true
	}
	if c.takesBack {
		dirty = r.takeBack(&c.touch, c.since) || dirty
	}
	if dirty || c.at.Sub(r.LastSeen) >= seenEvery {
		r.LastSeen = later(r.LastSeen, c.at)
		if c.hit || c.undo == 0 {
			r.Via = c.via
		}
		if c.undo > 0 && !r.Confirmed && r.Hits == 0 {
			r.Via = viaRedirect // as before: redirects follow each other
		}
		dirty = true
	}
	return dirty, nil
}

// goOn applies a request with a token to the session of c in its place, if that is one in
// memory that has come before, and the request brings nothing but itself: no campaign, no
// visit that begins. It is commit for that case, and into is what the session is then.
// Not ok is any other case, and nothing has happened. TestGoOn holds the two to the same.
// (That the session's lifetime is not over, the token has shown.)
func (l *ledger) goOn(into *slot, c *claim, at time.Time, hit bool, isCampaign func() bool) (ok bool) {
	if l.memory == nil || l.hooks.hits != nil || hit && isCampaign() {
		return false
	}
	now := at.UnixMilli()
	return l.memory.update(into, c.id, c.via, func(s *slot) (dirty, ok bool) {
		if !s.is(slotGoesOn) || now >= s.expires || hit && now-s.lastHit >= inMilli(l.visitGap) {
			return false, false
		}
		if hit {
			s.hits++
			s.lastHit = max(s.lastHit, now)
		}
		if !hit && now-s.lastSeen < seenEvery.Milliseconds() {
			return false, true
		}
		s.lastSeen = max(s.lastSeen, now)
		if now-s.id.milli() >= returnGap.Milliseconds() {
			s.flags |= slotReturned
		}
		return true, true
	})
}

// inMilli is d in milliseconds, those begun included.
func inMilli(d time.Duration) int64 { return int64((d + time.Millisecond - 1) / time.Millisecond) }

// applyHits is applyHit for several page views of one visit. It begins with the first of
// them, and goes on to the last.
func (l *ledger) applyHits(r *Record, c *change) (dirty bool) {
	if c.times <= 1 || !c.begin().Before(c.at) {
		return l.applyHit(r, c)
	}
	first, others := *c, *c
	first.at, first.times = c.first, 1
	others.times, others.touch = c.times-1, Touch{}
	l.applyHit(r, &first)
	return l.applyHit(r, &others)
}

func (l *ledger) applyHit(r *Record, c *change) (dirty bool) {
	var last Touch
	if n := len(r.Touches); n > 0 {
		last = r.Touches[n-1]
	}
	begins := r.LastHit.IsZero() || c.at.Sub(r.LastHit) >= l.visitGap
	// A tagged URL that is loaded again is no new click, and one with a click identifier
	// never is: from a bookmark, say, or a tab that was restored. Not all browsers say that
	// they load it again, so the same URL by itself is none for a while.
	again := c.reload && r.hasTouch(&c.touch) ||
		!c.led && c.touch.Referrer == "" && r.hadTouch(&c.touch, c.at.Add(-clickAgain), c.at)
	campaign := c.touch.campaign() && (begins || !c.touch.sameCampaign(&last)) && !r.hasClick(&c.touch) && !again
	if c.seen = c.landing && !begins; c.seen {
		// A page of this visit was counted. What is new is where it came from: the first
		// page seemed to have been opened directly, as long as nobody was asked.
		n := len(r.Touches)
		switch direct := n > 0 && last.IsDirect() && !last.Time.Before(r.VisitStart); {
		case direct && (campaign || c.touch.Referrer != "" && !again && !r.hasClick(&c.touch)):
			found := c.touch.clone()
			found.Time = last.Time
			r.Touches = append(slices.Clone(r.Touches[:n-1]), found)
			return true
		case campaign:
			r.Touches = withTouch(r.Touches, c.touch)
		}
		return campaign
	}
	if begins || campaign {
		r.Visits++
		r.VisitStart = later(r.VisitStart, c.at)
	}
	// A referrer counts where a visit begins: in the middle of one it is the
	// way back from a payment page or a login. A direct hit is a touch only if
	// nothing came before it.
	referral := begins && c.touch.Referrer != "" && !r.hasClick(&c.touch) && !again
	if !c.touch.Time.IsZero() && (campaign || referral || r.LastHit.IsZero() && len(r.Touches) == 0) {
		r.Touches = withTouch(r.Touches, c.touch)
	}
	r.Hits += max(1, c.times)
	r.LastHit = later(r.LastHit, c.at)
	return true
}

// hasClick reports whether a touch is a click that was seen before: it has a click
// identifier of an earlier touch, and no other campaign beside it. With another one it is a
// link that somebody has made from a copied one.
func (r *Record) hasClick(t *Touch) bool {
	return t.Click != "" && slices.ContainsFunc(r.Touches, func(u Touch) bool {
		return u.sharesClick(t) && (t.isUntagged() || t.sameTags(&u))
	})
}

// hasTouch reports whether there is a touch that came by the same way to the same page.
func (r *Record) hasTouch(t *Touch) bool {
	return slices.ContainsFunc(r.Touches, func(u Touch) bool {
		return u.sameCampaign(t) && u.Referrer == t.Referrer && u.Landing == t.Landing
	})
}

// hadTouch is hasTouch for a time.
func (r *Record) hadTouch(t *Touch, from, to time.Time) bool {
	return slices.ContainsFunc(r.Touches, func(u Touch) bool {
		return u.sameCampaign(t) && u.Referrer == t.Referrer && u.Landing == t.Landing && !u.Time.Before(from) && !u.Time.After(to)
	})
}

// takeBack removes a touch like t that has come since, if there was one before it. A visit
// that has begun with it has begun all the same: after the gap it would have anyway.
func (r *Record) takeBack(t *Touch, since time.Time) bool {
	n := len(r.Touches) - 1
	if n < 1 || r.Touches[n].Time.Before(since) {
		return false
	}
	last, before := Record{Touches: r.Touches[n:]}, Record{Touches: r.Touches[:n]}
	if !last.hasTouch(t) || !before.hasTouch(t) {
		return false
	}
	r.Touches = slices.Clone(r.Touches[:n])
	return true
}

// Limits of what Session.Set keeps.
const (
	maxValues    = 32
	maxKeyLen    = 64
	maxValueText = 1024
)

func setValue(r *Record, key string, v Value) (dirty bool, err error) {
	have, ok := r.Values[key]
	if ok && have.Text == v.Text {
		return false, nil
	}
	// Who sets it has seen what is there, whatever the clocks of two nodes say.
	if ok && !v.At.After(have.At) {
		v.At = have.At.Add(time.Millisecond)
	}
	values := make(map[string]Value, len(r.Values)+1)
	maps.Copy(values, r.Values)
	if !ok && len(values) >= maxValues {
		// Removed ones are kept only to win over older ones of a merge.
		maps.DeleteFunc(values, func(_ string, v Value) bool { return v.Text == "" })
		if v.Text == "" && len(values) >= maxValues {
			return false, nil
		}
		if len(values) >= maxValues {
			return false, fmt.Errorf("%w: a session keeps %d", ErrValue, maxValues)
		}
	}
	values[key] = v
	r.Values = values
	return true, nil
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// mint returns a new session's record, which nothing but its owner knows yet.
func (l *ledger) mint(c *change) Record {
	id := newID(c.at)
	r := Record{ID: id, Created: id.Time(), Expires: c.at.Add(unconfirmedLife)}
	l.apply(&r, c) // no value, no error
	r.LastSeen, r.Via = c.at, viaNew
	return r
}

// reborn returns a record for a token whose record is missing: the store has
// lost or evicted it, or it had expired before it was confirmed. A session past
// its lifetime is not born again, though its younger aliases have tokens yet.
func (l *ledger) reborn(id ID) (Record, error) {
	now := milli(time.Now())
	r := Record{ID: id, Created: id.Time(), Expires: now.Add(unconfirmedLife)} // until a token confirms it
	if !now.Before(l.end(id)) {
		return r, errEnded
	}
	return r, nil
}

// end is when the tokens of a session end.
func (l *ledger) end(id ID) time.Time { return id.Time().Add(l.lifetime) }

// keep is until when what is known of a session is kept.
func (l *ledger) keep(id ID) time.Time { return id.Time().Add(l.retention) }

// isOver reports whether no token leads to a session any more: it was forgotten, or
// renewed, or its lifetime is over, though its aliases have tokens yet.
func (l *ledger) isOver(r *Record, at time.Time) bool {
	return r.Forgotten || r.Joins == renewed || !at.Before(l.end(r.ID))
}

// create saves a new session. It returns ErrForgotten if a tombstone is there.
func (l *ledger) create(ctx context.Context, r Record) (Record, error) {
	r.Version = newVersion()
	err := l.swap(ctx, r, 0)
	if errors.Is(err, ErrConflict) {
		err = ErrForgotten // nobody else could have known the ID
	}
	if err != nil {
		return Record{}, err
	}
	l.stats.created.Add(1)
	if r.Hits > 0 && l.hooks.hits != nil {
		views := pageViews{count: r.Hits, last: change{at: r.LastHit}}
		if n := len(r.Touches); n > 0 {
			views.last.touch = r.Touches[n-1]
		}
		l.announce(&r, views)
	}
	return r, nil
}

// swap saves r over the version old. It knows its own write again, so nil
// means that r was saved and ErrConflict that it was not.
func (l *ledger) swap(ctx context.Context, r Record, old int64) error {
	for failures := 0; ; failures++ {
		err := l.store.Save(ctx, r, old)
		if err == nil {
			return nil
		}
		l.count(err)
		have, lerr := l.store.Load(ctx, r.ID)
		switch {
		case lerr == nil && have.Version == r.Version:
			return nil
		case lerr == nil && have.Version != old, errors.Is(lerr, ErrNotFound) && old != 0:
			return ErrConflict
		case lerr != nil && !errors.Is(lerr, ErrNotFound):
			l.count(lerr)
			err = lerr
		}
		// It did not happen, and could now.
		if failures == maxFailures || ctx.Err() != nil {
			return err
		}
	}
}

// commit applies changes to the session of id, or of the session that it was
// merged into, and returns the record as it stands then.
func (l *ledger) commit(ctx context.Context, id ID, changes []change) (Record, error) {
	r, _, err := l.commitFrom(ctx, id, changes, nil, nil)
	return r, err
}

// commitBatch is commit for a batch of the write-behind, which keeps the versions that
// were tried. The record that it changes may be known. It also returns the version that
// was replaced, 0 if that is not known.
func (l *ledger) commitBatch(ctx context.Context, b *batch, have *Record) (r Record, old int64, err error) {
	return l.commitFrom(ctx, b.id, slices.Clone(b.changes), have, b)
}

func (l *ledger) commitFrom(ctx context.Context, id ID, changes []change, have *Record, b *batch) (_ Record, old int64, _ error) {
	// Each try has a version of its own. With one for all, a record could have it
	// twice, with another node's write between: who read it the first time would
	// then replace the second, and that write be lost.
	var tried []int64
	isOurs := func(r *Record) bool {
		if b == nil {
			return slices.Contains(tried, r.Version)
		}
		return l.writeBehind.isSaved(b)
	}
	wasConfirmed := b != nil && len(b.tried) > 0 // an earlier try has counted it, if it was not
	for failures, conflicts := 0, 0; ; {
		var r Record
		var err error
		if have != nil {
			r, have = *have, nil
		} else {
			r, err = l.read(ctx, id, changes[0].at)
		}
		switch {
		case err == nil && isOurs(&r):
			// A Save whose answer was lost.
			l.kept(wasConfirmed, &r, changes)
			return r, 0, nil
		case err == nil && l.isOver(&r, changes[0].at):
			return Record{}, 0, ErrForgotten
		case err == nil && !r.MergedInto.IsZero():
			root, err := l.absorb(ctx, r)
			if err != nil && !errors.Is(err, errApart) && !errors.Is(err, ErrConflict) {
				return Record{}, 0, err
			}
			if err := ctx.Err(); err != nil {
				return Record{}, 0, err
			}
			if err != nil {
				continue
			}
			if id, r = root.ID, root; isOurs(&r) {
				l.kept(wasConfirmed, &r, changes)
				return r, 0, nil
			}
			if l.isOver(&r, changes[0].at) {
				return Record{}, 0, ErrForgotten
			}
		case errors.Is(err, ErrNotFound):
			if r, err = l.reborn(id); err != nil {
				return Record{}, 0, err
			}
		case err != nil:
			l.count(err)
			if failures++; failures > maxFailures || ctx.Err() != nil {
				return Record{}, 0, err
			}
			continue
		}

		old, dirty := r.Version, false
		wasConfirmed = r.Confirmed
		for i := range changes {
			d, err := l.apply(&r, &changes[i])
			if err != nil {
				return Record{}, 0, err
			}
			dirty = dirty || d
		}
		if !dirty {
			return r, old, nil
		}
		r.Version = newVersion()
		if b != nil {
			l.writeBehind.note(b, r.Version)
		}
		if err = l.write(ctx, &r, old, changes[0].at); err == nil {
			l.kept(wasConfirmed, &r, changes)
			return r, old, nil
		}
		if b == nil {
			tried = append(tried, r.Version)
		}
		if errors.Is(err, ErrConflict) {
			l.pause(ctx, conflicts)
			conflicts++
		} else {
			l.count(err)
			failures++
		}
		if failures > maxFailures || ctx.Err() != nil {
			return Record{}, 0, err
		}
	}
}

// pause lets others pass, if conflicts go on and on.
func (l *ledger) pause(ctx context.Context, conflicts int) {
	if conflicts < 8 || l.memory != nil {
		return
	}
	sleep(ctx, rand.N(time.Duration(min(conflicts, 100))*100*time.Microsecond))
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// read and write are Load and Save at a time that is known.
func (l *ledger) read(ctx context.Context, id ID, now time.Time) (Record, error) {
	if l.memory != nil {
		return l.memory.load(id, now)
	}
	return l.store.Load(ctx, id)
}

func (l *ledger) write(ctx context.Context, r *Record, old int64, now time.Time) error {
	if l.memory != nil {
		return l.memory.save(r, old, now)
	}
	return l.store.Save(ctx, *r, old)
}

func (l *ledger) saved(wasConfirmed bool, r *Record) {
	if r.Confirmed && !wasConfirmed {
		l.stats.confirmed.Add(1)
	}
}

// count takes note of a store's error; conflicts and absence are answers.
func (l *ledger) count(err error) {
	if errors.Is(err, ErrConflict) || errors.Is(err, ErrNotFound) {
		return
	}
	l.stats.storeErrors.Add(1)
	l.stats.complain(l.logger, err)
}

// root returns the record that the alias of id leads to, as it stands in the store.
func (l *ledger) root(ctx context.Context, id ID) (r Record, err error) {
	for {
		if r, err = l.store.Load(ctx, id); err != nil || r.MergedInto.IsZero() {
			return r, err
		}
		id = r.MergedInto
	}
}

// trace returns the record of id itself and the one of the session that it
// belongs to, which is the same if it was not merged.
func (l *ledger) trace(ctx context.Context, id ID) (own, root Record, err error) {
	for {
		if own, err = l.load(ctx, id); err != nil {
			return own, own, err
		}
		root = own
		if !own.MergedInto.IsZero() {
			root, err = l.absorb(ctx, own)
		}
		if err == nil && l.isOver(&root, time.Now()) {
			err = ErrForgotten
		}
		if err == nil || !errors.Is(err, errApart) && !errors.Is(err, ErrConflict) {
			return own, root, err
		}
		if err := ctx.Err(); err != nil {
			return own, own, err
		}
	}
}

// load returns the record of id; a new one if it is missing.
func (l *ledger) load(ctx context.Context, id ID) (Record, error) {
	for failures := 1; ; failures++ {
		r, err := l.store.Load(ctx, id)
		switch {
		case err == nil && r.Forgotten:
			return r, ErrForgotten
		case err == nil:
			return r, nil
		case errors.Is(err, ErrNotFound):
			return l.reborn(id)
		}
		l.count(err)
		if failures > maxFailures || ctx.Err() != nil {
			return Record{}, err
		}
	}
}

func newVersion() int64 {
	for {
		if v := int64(rand.Uint64()); v != 0 {
			return v
		}
	}
}

// milli is the precision of all times in records.
func milli(t time.Time) time.Time { return time.UnixMilli(t.UnixMilli()).UTC() }
