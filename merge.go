package revisit

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"
)

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
			l.leak()
			continue
		case leader < 0 && c.stored && next.leaked():
			l.leak()
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
func (l *ledger) leak() {
	l.stats.leaked.Add(1)
	if times, ok := l.stats.leaks.now(); ok {
		l.logger.Warn("revisit: a tag came with many different cookies or anchors: a cache hands it out, or it was stolen; it is ignored", "times", times)
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
		if l.writeBehind != nil {
			l.writeBehind.stale(older.ID, younger.ID)
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
			if err := l.listMerged(ctx, r.ID, a.ID, l.keep(a.ID)); err != nil {
				return err
			}
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
			if err := l.bury(ctx, alias.ID, denied); err != nil {
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
		known := slices.ContainsFunc(root.Absorbed, func(a Absorbed) bool { return a.ID == alias.ID }) ||
			alias.Via == viaMerged && isEmpty(&alias) // taken off the list
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
		if t.campaign() && !sameClick(&root, &t) && !root.hasClick(&t) || !t.campaign() && t.Referrer != "" && !root.visiting(t.Time, l.visitGap) || len(root.Touches) == 0 {
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
		Confirmed: alias.Confirmed, Via: viaMerged, MergedInto: root, Rivals: alias.Rivals, Joins: alias.Joins,
	}
}
