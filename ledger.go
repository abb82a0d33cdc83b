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
	memory    *MemoryStore // the store, if it is one that never blocks and needs no deadline
	lifetime  time.Duration
	retention time.Duration
	visitGap  time.Duration
	timeout   time.Duration
	logger    *slog.Logger
	stats     *counters

	turns
	hooks  hooks
	gather *gatherer // nil without Config.FlushEvery

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
	claim bool  // a token came back
	hit   bool  // a page view
	times int64 // that many page views, for more than one
	touch Touch // of the hit

	landing bool // the hit was before consent: it counts if it begins the visit
	seen    bool // it did not: apply has found the visit under way
	reload  bool // the browser loads once more what it shows
	stored  bool // the token is that of a stored response, which is worth nothing once it has leaked

	key, text string // with a key: of Session.Set
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
		dirty = l.applyHit(r, c) || dirty
	}
	if dirty || c.at.Sub(r.LastSeen) >= seenEvery {
		r.LastSeen = later(r.LastSeen, c.at)
		r.Via = c.via
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

func (l *ledger) applyHit(r *Record, c *change) (dirty bool) {
	var last Touch
	if n := len(r.Touches); n > 0 {
		last = r.Touches[n-1]
	}
	begins := r.LastHit.IsZero() || c.at.Sub(r.LastHit) >= l.visitGap
	// A tagged URL that is loaded again in the same visit is no new click, and one with
	// a click identifier never is: from a bookmark, say, or a tab that was restored.
	again := c.reload && r.hasTouch(&c.touch)
	campaign := c.touch.campaign() && (begins || !c.touch.sameCampaign(&last)) && !r.hasClick(c.touch.Click) && !again
	if c.seen = c.landing && !begins; c.seen {
		// A page of this visit was counted. What is new is where it came from: the first
		// page seemed to have been opened directly, as long as nobody was asked.
		if n := len(r.Touches); campaign && n > 0 && last.IsDirect() && !last.Time.Before(r.VisitStart) {
			found := c.touch.clone()
			found.Time = last.Time
			r.Touches = append(slices.Clone(r.Touches[:n-1]), found)
		} else if campaign {
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
	referral := begins && c.touch.Referrer != "" && !r.hasClick(c.touch.Click) && !again
	if !c.touch.Time.IsZero() && (campaign || referral || r.LastHit.IsZero() && len(r.Touches) == 0) {
		r.Touches = withTouch(r.Touches, c.touch)
	}
	r.Hits += max(1, c.times)
	r.LastHit = later(r.LastHit, c.at)
	return true
}

// hasClick reports whether a click identifier was seen before.
func (r *Record) hasClick(click string) bool {
	return click != "" && slices.ContainsFunc(r.Touches, func(t Touch) bool { return t.Click == click })
}

// hasTouch reports whether there is a touch that came by the same way to the same page.
func (r *Record) hasTouch(t *Touch) bool {
	return slices.ContainsFunc(r.Touches, func(u Touch) bool {
		return u.sameCampaign(t) && u.Referrer == t.Referrer && u.Landing == t.Landing
	})
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
	r := Record{ID: id, Created: id.Time(), Expires: l.keep(id)}
	if !time.Now().Before(l.end(id)) {
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
	if r.Hits > 0 {
		last := gathered{hits: r.Hits, last: change{at: r.LastHit}}
		if n := len(r.Touches); n > 0 {
			last.last.touch = r.Touches[n-1]
		}
		l.hit(&r, last)
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

// commitFrom is commit for a caller who has just read the record, or has tried to
// commit these changes before: he knows the versions that he has tried, and gets
// those that may have been written if it fails again.
func (l *ledger) commitFrom(ctx context.Context, id ID, changes []change, have *Record, tried []int64) (Record, []int64, error) {
	// Each try has a version of its own. With one for all, a record could have it
	// twice, with another node's write between: who read it the first time would
	// then replace the second, and that write be lost.
	wasConfirmed := len(tried) > 0 // an earlier try has counted it, if it was not
	for failures, conflicts := 0, 0; ; {
		var r Record
		var err error
		if have != nil {
			r, have = *have, nil
		} else {
			r, err = l.read(ctx, id, changes[0].at)
		}
		switch {
		case err == nil && slices.Contains(tried, r.Version):
			// A Save whose answer was lost.
			l.kept(wasConfirmed, &r, changes)
			return r, nil, nil
		case err == nil && l.isOver(&r, changes[0].at):
			return Record{}, nil, ErrForgotten
		case err == nil && !r.MergedInto.IsZero():
			root, err := l.absorb(ctx, r)
			if err != nil && !errors.Is(err, errApart) && !errors.Is(err, ErrConflict) {
				return Record{}, tried, err
			}
			if err := ctx.Err(); err != nil {
				return Record{}, tried, err
			}
			if err != nil {
				continue
			}
			if id, r = root.ID, root; slices.Contains(tried, r.Version) {
				l.kept(wasConfirmed, &r, changes)
				return r, nil, nil
			}
			if l.isOver(&r, changes[0].at) {
				return Record{}, nil, ErrForgotten
			}
		case errors.Is(err, ErrNotFound):
			if r, err = l.reborn(id); err != nil {
				return Record{}, tried, err
			}
		case err != nil:
			l.count(err)
			if failures++; failures > maxFailures || ctx.Err() != nil {
				return Record{}, tried, err
			}
			continue
		}

		old, dirty := r.Version, false
		wasConfirmed = r.Confirmed
		for i := range changes {
			d, err := l.apply(&r, &changes[i])
			if err != nil {
				return Record{}, tried, err
			}
			dirty = dirty || d
		}
		if !dirty {
			return r, nil, nil
		}
		r.Version = newVersion()
		if err = l.write(ctx, &r, old, changes[0].at); err == nil {
			l.kept(wasConfirmed, &r, changes)
			return r, nil, nil
		}
		tried = append(tried, r.Version)
		if errors.Is(err, ErrConflict) {
			l.pause(ctx, conflicts)
			conflicts++
		} else {
			l.count(err)
			failures++
		}
		if failures > maxFailures || ctx.Err() != nil {
			return Record{}, tried, err
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

// A claim is a session that a client has presented a token of.
type claim struct {
	id  ID
	via string
	// follows: another strategy is trusted more, so this carrier is one that
	// could have leaked.
	follows bool
	stored  bool // the carrier sits in a stored response

	link  bool // a link ticket, which is honoured
	joins int  // while this is the session's count

	end time.Time // of an alias that has no tokens; zero for others

	known bool // the application says so, there is nothing to be suspected
}

// An agreement is the session that claims speak for, and the index of the claim
// that counts.
type agreement struct {
	id     ID
	leader int
}

// agree settles which session several claims of one request speak for, and
// merges those that may be.
func (l *ledger) agree(ctx context.Context, claims []claim, permission Permission) (agreement, error) {
	var root Record
	leader := -1
	for i, c := range claims {
		own, next, err := l.trace(ctx, c.id)
		switch {
		case errors.Is(err, ErrForgotten):
			if permission != Restore && leader < 0 {
				// The carrier that counts most speaks of a session that is gone. To
				// give it another one would rebuild what was cleared.
				return agreement{}, ErrForgotten
			}
			continue // before any merge
		case err != nil:
			return agreement{}, err
		case c.follows && own.leaked():
			l.leak(c.id)
			continue
		case leader < 0 && c.stored && next.leaked():
			l.leak(next.ID)
			continue
		case leader < 0 && c.link:
			// The anchor has no session of its own yet, and takes the page's.
			next, err = l.honour(ctx, c)
			if errors.Is(err, errApart) || errors.Is(err, ErrForgotten) {
				continue
			}
			if err != nil {
				return agreement{}, err
			}
			leader, root = i, next
			continue
		case leader < 0:
			leader, root = i, next
			continue
		case next.ID == root.ID:
			continue
		}
		merged, err := l.merge(ctx, root.ID, claims[leader].id, c, permission)
		if errors.Is(err, errApart) || errors.Is(err, ErrForgotten) {
			continue // the leader counts, and the other carrier is brought to it
		}
		if err != nil {
			return agreement{}, err
		}
		root = merged
	}
	if leader < 0 {
		return agreement{}, ErrForgotten
	}
	return agreement{root.ID, leader}, nil
}

// leak takes note of a tag that is worth nothing any more.
func (l *ledger) leak(id ID) {
	l.stats.leaked.Add(1)
	if times, ok := l.stats.leaks.now(); ok {
		l.logger.Warn("revisit: a tag came with many different cookies or anchors: a cache hands it out, or it was stolen; it is ignored",
			"session", id, "times", times)
	}
}

// honour uses a link up, and returns the session that it speaks for.
func (l *ledger) honour(ctx context.Context, c claim) (Record, error) {
	for {
		if err := ctx.Err(); err != nil {
			return Record{}, err
		}
		own, root, err := l.trace(ctx, c.id)
		if err != nil {
			return Record{}, err
		}
		next, ok := c.meets(own, ID{})
		if !ok {
			return Record{}, errApart
		}
		err = l.swap(ctx, next, own.Version)
		if errors.Is(err, ErrConflict) {
			continue
		}
		if err != nil {
			return Record{}, err
		}
		l.stats.joined.Add(1)
		if root.ID == own.ID {
			root = next
		}
		return root, nil
	}
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

// merge makes the sessions of root and of the claim one, the older one. It can
// be broken off at any point and done again:
//
//  1. the younger becomes an alias of the older, frozen, its data kept;
//  2. the older takes its counts, under its ID, its touches and values;
//  3. the alias is emptied.
//
// Whoever meets an alias that was not absorbed does the rest.
func (l *ledger) merge(ctx context.Context, root, rival ID, c claim, permission Permission) (Record, error) {
	honoured := false // the link is used up, by us
	for {
		if err := ctx.Err(); err != nil {
			return Record{}, err
		}
		_, a, err := l.trace(ctx, root)
		if err != nil {
			return Record{}, err
		}
		tag, b, err := l.trace(ctx, c.id)
		if err != nil {
			return Record{}, err
		}
		if a.ID == b.ID {
			return a, nil
		}
		older, younger := a, b
		if b.ID.older(a.ID) {
			older, younger = b, a
		}
		if !mayMerge(&older, &younger, permission) {
			return Record{}, errApart
		}
		if len(older.Absorbed)+1+len(younger.Absorbed) > maxAbsorbed {
			long := &older
			if len(younger.Absorbed) > len(older.Absorbed) {
				long = &younger
			}
			if err := l.shorten(ctx, long); err != nil && !errors.Is(err, ErrConflict) {
				return Record{}, err
			}
			continue
		}

		// That the tag has met a different cookie, or that the link was honoured, is
		// written before anything is merged: so no more than maxRivals get through at
		// one time, and a link once.
		met := tag
		if !honoured {
			var ok bool
			if met, ok = c.meets(tag, rival); !ok {
				return Record{}, errApart
			}
		}
		if tag.ID != younger.ID && met.Version != tag.Version {
			err := l.swap(ctx, met, tag.Version)
			if err != nil && !errors.Is(err, ErrConflict) {
				return Record{}, err
			}
			honoured = c.link && err == nil
			continue
		}
		alias, old := younger, younger.Version
		alias.MergedInto, alias.Version = older.ID, newVersion()
		if alias.Expires = l.keep(alias.ID); !c.end.IsZero() { // longer than its tokens: orders have its ID
			alias.Expires = c.end
		}
		if tag.ID == younger.ID {
			alias.Rivals, alias.Joins = met.Rivals, met.Joins
		}
		if err := l.swap(ctx, alias, old); errors.Is(err, ErrConflict) {
			continue
		} else if err != nil {
			return Record{}, err
		}
		if c.link {
			l.stats.joined.Add(1)
		}
		if l.gather != nil {
			l.gather.stale(older.ID, younger.ID)
		}
		return l.absorb(ctx, alias)
	}
}

// meets returns the claim's own record after it has met a rival, a cookie of
// another session beside a tag. One cookie counts once, however often a merge is
// tried. A link is used up instead. Not ok is what has leaked, and a link that
// was used already.
func (c *claim) meets(own Record, rival ID) (met Record, ok bool) {
	switch {
	case c.known:
	case c.link && own.Joins != c.joins:
		return own, false
	case c.link:
		own.Joins++
		own.Version = newVersion()
	case !slices.Contains(own.Rivals, rival):
		if own.leaked() {
			return own, !c.follows
		}
		own.Rivals = append(slices.Clone(own.Rivals), rival)
		own.Version = newVersion()
	}
	return own, true
}

// leaked reports whether what this ID's tags and links have met is too much for
// one browser: so many different cookies, or anchors. A browser may lose its
// anchor now and then, with a part of its cache. A record that was not saved yet has no
// LastSeen, and nothing behind it.
func (r *Record) leaked() bool {
	return len(r.Rivals) >= maxRivals || r.Joins >= maxRivals+max(0, int(r.LastSeen.Sub(r.Created)/anchorLife))
}

// mayMerge reports whether two sessions of one browser may become one.
func mayMerge(older, younger *Record, permission Permission) bool {
	if permission != Restore {
		// Not what the visitor took apart: only the parallel first requests.
		if younger.Confirmed || younger.Created.Sub(older.Created) > burst {
			return false
		}
	}
	return sameValues(older, younger)
}

// shorten takes a few sessions that have nothing left of their own off the list of
// those that a session has absorbed: their counts are in its own, and an alias
// leads to it without the list. It returns errApart if there is none.
func (l *ledger) shorten(ctx context.Context, r *Record) error {
	next := *r
	next.Absorbed, next.Version = nil, newVersion()
	for i, a := range r.Absorbed {
		if dropped := i - len(next.Absorbed); dropped == 4 || i == 16 {
			next.Absorbed = append(next.Absorbed, r.Absorbed[i:]...)
			break
		}
		if a.Untold {
			next.Absorbed = append(next.Absorbed, a)
			continue
		}
		alias, err := l.store.Load(ctx, a.ID)
		switch {
		case errors.Is(err, ErrNotFound), err == nil && isEmpty(&alias):
		case err != nil:
			l.count(err)
			return err
		default:
			next.Absorbed = append(next.Absorbed, a)
		}
	}
	if len(next.Absorbed) == len(r.Absorbed) {
		return errApart
	}
	return l.swap(ctx, next, r.Version)
}

// sameValues reports whether two sessions' values can be put together: none of
// them differ, and there is room for all. Removed ones are no values.
func sameValues(older, younger *Record) bool {
	values := len(older.Values)
	for key, v := range younger.Values {
		w, ok := older.Values[key]
		if ok && v.Text != "" && w.Text != "" && w.Text != v.Text {
			return false
		}
		if !ok {
			values++
		}
	}
	return values <= maxValues
}

// absorb finishes the merge of an alias and returns the session at the root.
func (l *ledger) absorb(ctx context.Context, alias Record) (Record, error) {
	into := alias.MergedInto
	for failures := 0; ; {
		if !into.older(alias.ID) {
			return Record{}, errCorrupt
		}
		root, err := l.load(ctx, into)
		if errors.Is(err, ErrForgotten) {
			// What came after the forgotten session is forgotten with it.
			if err := l.bury(ctx, alias.ID); err != nil {
				return Record{}, err
			}
			return Record{}, ErrForgotten
		}
		if err != nil {
			return Record{}, err
		}
		if !root.MergedInto.IsZero() {
			into = root.MergedInto
			continue
		}
		known := slices.ContainsFunc(root.Absorbed, func(a Absorbed) bool { return a.ID == alias.ID })
		if !known && !sameValues(&root, &alias) {
			// A value was set while they were merged: they stay apart after all.
			alone := alias
			alone.MergedInto, alone.Version = ID{}, newVersion()
			if err := l.swap(ctx, alone, alias.Version); err != nil {
				return Record{}, err
			}
			return Record{}, errApart
		}
		if !known || !isEmpty(&alias) {
			next := l.absorbed(root, alias)
			err := l.swap(ctx, next, root.Version)
			if err != nil {
				if failures++; !errors.Is(err, ErrConflict) && failures > maxFailures || ctx.Err() != nil {
					return Record{}, err
				}
				continue
			}
			if !known {
				l.stats.merged.Add(1)
			}
			l.saved(root.Confirmed, &next)
			l.tell(&next)
			root = next
		}
		if !isEmpty(&alias) || alias.MergedInto != root.ID {
			// Straight to the root from now on: on a slow store a long way would take
			// more time than a request has. If this fails, whoever meets the alias next
			// does it.
			_ = l.swap(ctx, l.emptied(alias, root.ID), alias.Version)
		}
		return root, nil
	}
}

// absorbed returns root with what the alias brought. Nothing is added twice:
// counts are kept under the ID of who brought them.
func (l *ledger) absorbed(root, alias Record) Record {
	next := root
	next.Version = newVersion()

	own := Absorbed{ID: alias.ID, Visits: alias.Visits, Hits: alias.Hits, Untold: l.hooks.onMerge != nil}
	for _, a := range alias.Absorbed {
		own.Visits -= a.Visits
		own.Hits -= a.Hits
	}
	// Its first visit is no other one if it began while one of the root's was
	// under way.
	within := overlap(&root, &alias, l.visitGap)
	if own.Visits > 0 && within {
		own.Visits--
	}
	next.Absorbed = slices.Clone(root.Absorbed)
	for _, a := range append([]Absorbed{own}, alias.Absorbed...) {
		i := slices.IndexFunc(next.Absorbed, func(b Absorbed) bool { return a.ID == b.ID })
		isNew := i < 0
		if isNew {
			i = len(next.Absorbed)
			next.Absorbed = append(next.Absorbed, Absorbed{ID: a.ID})
		}
		// More than is known of it comes from a session between, whose own merge
		// was not finished, or from an alias that the store had lost.
		if have := &next.Absorbed[i]; isNew || a.Hits > have.Hits {
			// An alias that the store had lost has something new to be moved.
			have.Untold = have.Untold || a.Untold
			next.Visits += max(0, a.Visits-have.Visits)
			next.Hits += a.Hits - have.Hits
			have.Visits, have.Hits = max(a.Visits, have.Visits), a.Hits
		}
	}

	for _, t := range alias.Touches {
		// What would have been no touch on the root is none now.
		if t.campaign() && !sameClick(&root, &t) && !root.hasClick(t.Click) || !t.campaign() && t.Referrer != "" && !root.visiting(t.Time, l.visitGap) || len(root.Touches) == 0 {
			next.Touches = withTouch(next.Touches, t)
		}
	}
	if len(alias.Values) > 0 {
		values := maps.Clone(root.Values)
		if values == nil {
			values = make(map[string]Value, len(alias.Values))
		}
		for key, v := range alias.Values {
			if have, ok := values[key]; !ok || v.At.After(have.At) {
				values[key] = v
			}
		}
		next.Values = values
	}
	if alias.LastHit.After(root.LastHit) {
		next.LastHit, next.Via = alias.LastHit, alias.Via
		if !within || !root.visiting(alias.VisitStart, l.visitGap) {
			next.VisitStart = alias.VisitStart
		}
	}
	next.LastSeen = later(root.LastSeen, alias.LastSeen)
	if next.Joins != renewed {
		next.Joins = max(root.Joins, alias.Joins)
	}
	for _, id := range alias.Rivals {
		if len(next.Rivals) >= maxRivals {
			break
		}
		if !slices.Contains(next.Rivals, id) {
			next.Rivals = append(slices.Clone(next.Rivals), id)
		}
	}
	if alias.Confirmed && !root.Confirmed {
		next.Confirmed, next.Expires = true, l.keep(root.ID)
	}
	return next
}

// overlap reports whether the first hit of the younger session lies within the
// current visit of the older one, or so close behind that it belongs there. A
// campaign begins a visit of its own.
func overlap(older, younger *Record, gap time.Duration) bool {
	if older.LastHit.IsZero() || younger.LastHit.IsZero() {
		return false
	}
	if len(younger.Touches) > 0 && younger.Touches[0].campaign() && !sameClick(older, &younger.Touches[0]) {
		return false
	}
	return older.visiting(younger.Created, gap)
}

// visiting reports whether a time lies within the current visit, or so close
// behind it that a hit belongs there.
func (r *Record) visiting(at time.Time, gap time.Duration) bool {
	return !r.LastHit.IsZero() && !at.Before(r.VisitStart) && at.Sub(r.LastHit) < gap
}

// sameClick reports whether a touch is one that began the current visit of r: a
// tagged page that was loaded again, without its token.
func sameClick(r *Record, t *Touch) bool {
	return !t.Time.Before(r.VisitStart) &&
		slices.ContainsFunc(r.Touches, func(u Touch) bool { return !u.Time.Before(r.VisitStart) && u.sameCampaign(t) })
}

// isEmpty reports whether an alias has given all that it had to its root.
func isEmpty(alias *Record) bool {
	return alias.Hits == 0 && alias.Visits == 0 && len(alias.Touches) == 0 && len(alias.Values) == 0 && len(alias.Absorbed) == 0
}

// emptied returns an alias without the data, which its root has.
func (l *ledger) emptied(alias Record, root ID) Record {
	return Record{
		ID: alias.ID, Version: newVersion(), Created: alias.Created, LastSeen: alias.LastSeen, Expires: alias.Expires,
		Confirmed: alias.Confirmed, Via: alias.Via, MergedInto: root, Rivals: alias.Rivals, Joins: alias.Joins,
	}
}

// forget replaces the session of id and all that it has absorbed by tombstones.
// The session itself comes after those, then the aliases between, and the one by
// which it was found last: what fails before can be done again. fresh is false if
// it was forgotten already.
func (l *ledger) forget(ctx context.Context, id ID) (fresh bool, err error) {
	var path []Record // of aliases, from id to the root
	bury := func(absorbed []Absorbed) error {
		for _, a := range absorbed {
			if slices.ContainsFunc(path, func(r Record) bool { return r.ID == a.ID }) {
				continue // its turn comes
			}
			if err := l.bury(ctx, a.ID); err != nil {
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
		if err := bury(r.Absorbed); err != nil {
			return false, err
		}
		if err := l.forgetting(ctx, at); err != nil {
			return false, err
		}
		err = l.swap(ctx, l.tombstone(at), r.Version)
		if errors.Is(err, ErrConflict) {
			continue // it may have absorbed another one
		}
		if err != nil {
			return false, err
		}
		if l.gather != nil {
			l.gather.forget(at)
		}
		l.logForgotten(at)
		fresh = true
		break
	}
	for _, r := range slices.Backward(path) {
		if err := bury(r.Absorbed); err != nil {
			return fresh, err
		}
		if err := l.bury(ctx, r.ID); err != nil {
			return fresh, err
		}
	}
	return fresh, nil
}

// bury puts a tombstone in place of whatever is there.
func (l *ledger) bury(ctx context.Context, id ID) error {
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
		if err := l.forgetting(ctx, id); err != nil {
			return err
		}
		err = l.swap(ctx, l.tombstone(id), r.Version)
		if err == nil {
			l.logForgotten(id)
			if l.gather != nil {
				l.gather.forget(id)
			}
		}
		if !errors.Is(err, ErrConflict) {
			return err
		}
	}
}

// logForgotten has a line for each tombstone: a backup from before a merge has the merged
// sessions apart, and all of them are to be forgotten again.
func (l *ledger) logForgotten(id ID) {
	if !id.derived() {
		l.logger.Info("revisit: forgotten", "session", id)
	}
}

// tombstone outlives every token of the session.
func (l *ledger) tombstone(id ID) Record {
	return Record{
		ID: id, Version: newVersion(), Created: id.Time(),
		Expires: milli(time.Now()).Add(max(l.lifetime, tombstoneLife)), Forgotten: true,
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
