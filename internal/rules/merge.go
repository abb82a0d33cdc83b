package rules

import (
	"maps"
	"slices"
	"time"

	"github.com/revisit-go/revisit/internal/touch"
	"github.com/revisit-go/revisit/internal/uuid"
	"github.com/revisit-go/revisit/store"
)

// A Claim is a session that a client has presented a token of.
type Claim struct {
	ID      store.ID
	Via     string
	Follows bool // another strategy is trusted more, so this carrier is one that could have leaked
	Stored  bool // the carrier sits in a stored response

	Link      bool // a link token, which is used up
	LinksUsed int  // while this is the session's count

	AliasEnd time.Time // of an alias that has no tokens; zero for others
	Trusted  bool      // the application says so: there is nothing to be suspected
}

// Meets returns the claim's own record after a tag has come beside a cookie of
// another session. One cookie counts once, however often a merge is
// tried. A link is used up instead. Not ok is what has leaked, and a link that
// was used already.
func (c *Claim) Meets(own store.Record, cookie store.ID) (met store.Record, ok bool) {
	switch {
	case c.Trusted:
	case c.Link && own.LinksUsed != c.LinksUsed:
		return own, false
	case c.Link:
		own.LinksUsed++
		own.Version = NewVersion()
	case !slices.Contains(own.ConflictingCookies, cookie):
		if Leaked(&own) {
			return own, !c.Follows
		}
		own.ConflictingCookies = append(slices.Clone(own.ConflictingCookies), cookie)
		own.Version = NewVersion()
	}
	return own, true
}

// Leaked reports whether what this ID's tags and links have met is too much for
// one browser: so many different cookies, or anchors. A browser may lose its
// anchor now and then, with a part of its cache. A record that was not saved yet has no
// LastSeen, and nothing behind it.
func Leaked(r *store.Record) bool {
	return len(r.ConflictingCookies) >= maxConflicts || r.LinksUsed >= maxConflicts+max(0, int(r.LastSeen.Sub(r.Created)/anchorLife))
}

// MayMerge reports whether two sessions of one browser may become one. With restore, they may
// also where the visitor has taken them apart, by deleting cookies, say.
func MayMerge(older, younger *store.Record, restore bool) bool {
	if !restore {
		// Not what the visitor took apart: only the parallel first requests.
		if younger.Confirmed || younger.Created.Sub(older.Created) > Burst {
			return false
		}
	}
	return SameValues(older, younger)
}

// SameValues reports whether two sessions' values can be put together: none of
// them differ, and there is room for all. Removed ones are no values.
func SameValues(older, younger *store.Record) bool {
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

// Absorb returns root with what the alias brought. Nothing is added twice:
// Counts are kept under the ID of who brought them.
func (u Rules) Absorb(root, alias store.Record, notify bool) store.Record {
	next := root
	next.Version = NewVersion()

	own := store.MergedSession{ID: alias.ID, Visits: alias.Visits, Hits: alias.Hits, NotifyPending: notify}
	for _, a := range alias.MergedSessions {
		own.Visits -= a.Visits
		own.Hits -= a.Hits
	}
	// Its first visit is no other one if it began while one of the root's was
	// under way.
	within := overlap(&root, &alias, u.VisitGap)
	if own.Visits > 0 && within {
		own.Visits--
	}
	next.MergedSessions = slices.Clone(root.MergedSessions)
	for _, a := range append([]store.MergedSession{own}, alias.MergedSessions...) {
		i := slices.IndexFunc(next.MergedSessions, func(b store.MergedSession) bool { return a.ID == b.ID })
		isNew := i < 0
		if isNew {
			i = len(next.MergedSessions)
			next.MergedSessions = append(next.MergedSessions, store.MergedSession{ID: a.ID})
		}
		// More than is known of it comes from a session between, whose own merge
		// was not finished, or from an alias that the store had lost.
		if have := &next.MergedSessions[i]; isNew || a.Hits > have.Hits {
			// An alias that the store had lost has something new to be moved.
			have.NotifyPending = have.NotifyPending || a.NotifyPending
			next.Visits += max(0, a.Visits-have.Visits)
			next.Hits += a.Hits - have.Hits
			have.Visits, have.Hits = max(a.Visits, have.Visits), a.Hits
		}
	}

	for _, t := range alias.Touches {
		// What would have been no touch on the root is none now.
		if touch.IsCampaign(&t) && !sameClick(&root, &t) && !hasClick(&root, &t) || !touch.IsCampaign(&t) && t.Referrer != "" && !visiting(&root, t.Time, u.VisitGap) || len(root.Touches) == 0 {
			next.Touches = touch.Add(next.Touches, t)
		}
	}
	if len(alias.Values) > 0 {
		values := maps.Clone(root.Values)
		if values == nil {
			values = make(map[string]store.Value, len(alias.Values))
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
		if !within || !visiting(&root, alias.VisitStart, u.VisitGap) {
			next.VisitStart = alias.VisitStart
		}
	}
	next.LastSeen = Later(root.LastSeen, alias.LastSeen)
	if next.LinksUsed != store.Renewed {
		next.LinksUsed = max(root.LinksUsed, alias.LinksUsed)
	}
	for _, id := range alias.ConflictingCookies {
		if len(next.ConflictingCookies) >= maxConflicts {
			break
		}
		if !slices.Contains(next.ConflictingCookies, id) {
			next.ConflictingCookies = append(slices.Clone(next.ConflictingCookies), id)
		}
	}
	if alias.Confirmed && !root.Confirmed {
		next.Confirmed, next.Expires = true, u.KeepUntil(root.ID)
	}
	return next
}

// overlap reports whether the first hit of the younger session lies within the
// current visit of the older one, or so close behind that it belongs there. A
// campaign begins a visit of its own.
func overlap(older, younger *store.Record, gap time.Duration) bool {
	if older.LastHit.IsZero() || younger.LastHit.IsZero() {
		return false
	}
	if len(younger.Touches) > 0 && touch.IsCampaign(&younger.Touches[0]) && !sameClick(older, &younger.Touches[0]) {
		return false
	}
	return visiting(older, younger.Created, gap)
}

// visiting reports whether a time lies within the current visit, or so close
// behind it that a hit belongs there.
func visiting(r *store.Record, at time.Time, gap time.Duration) bool {
	return !r.LastHit.IsZero() && !at.Before(r.VisitStart) && at.Sub(r.LastHit) < gap
}

// sameClick reports whether a touch is one that began the current visit of r: a
// page of a campaign that was loaded again, without its token.
func sameClick(r *store.Record, t *store.Touch) bool {
	return !t.Time.Before(r.VisitStart) &&
		slices.ContainsFunc(r.Touches, func(u store.Touch) bool { return !u.Time.Before(r.VisitStart) && touch.SameCampaign(&u, t) })
}

// IsEmpty reports whether an alias has given all that it had to its root.
func IsEmpty(alias *store.Record) bool {
	return alias.Hits == 0 && alias.Visits == 0 && len(alias.Touches) == 0 && len(alias.Values) == 0 && len(alias.MergedSessions) == 0
}

// Emptied returns an alias without the data, which its root has now.
func (u Rules) Emptied(alias store.Record, root store.ID) store.Record {
	return store.Record{
		ID: alias.ID, Version: NewVersion(), Created: alias.Created, LastSeen: alias.LastSeen, Expires: alias.Expires,
		Confirmed: alias.Confirmed, Via: store.ViaMerged, MergedInto: root, ConflictingCookies: alias.ConflictingCookies, LinksUsed: alias.LinksUsed,
	}
}

// Continues reports whether the fields of a slot are all that the rules of a page view look
// at, as long as a visit goes on.
func Continues(r *store.Record) bool {
	return r.Confirmed && !r.Forgotten && !uuid.IsDerived(r.ID) && r.MergedInto.IsZero() && r.LinksUsed != store.Renewed && !Leaked(r) &&
		!slices.ContainsFunc(r.MergedSessions, func(a store.MergedSession) bool { return a.NotifyPending }) && r.Created.Equal(r.ID.Time())
}
