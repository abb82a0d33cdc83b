// Package rules has the rules of a session: what a change makes of a record, when two
// sessions become one, and how long each is kept. It is all pure functions of records.
package rules

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/revisit-go/revisit/internal/millis"
	"github.com/revisit-go/revisit/internal/touch"
	"github.com/revisit-go/revisit/internal/uuid"
	"github.com/revisit-go/revisit/store"
)

// Rules are what the rules of sessions depend on.
type Rules struct {
	Lifetime  time.Duration // of tokens, from the session's birth
	Retention time.Duration // of what is stored of a session, from its birth
	VisitGap  time.Duration // without a hit, after which a visit is over
}

// ErrValue is returned for a key or a text that is not kept.
var ErrValue = errors.New("revisit: not a value that a session keeps (keys of 1 to 64 bytes, texts of 1,024, valid UTF-8)")

const (
	// unconfirmedLife is how long a session lasts whose token never comes back:
	// that of a bot, of a blocked cookie, of all but one of the parallel first
	// requests of a browser.
	unconfirmedLife = 24 * time.Hour

	// tombstoneLife is the least that a tombstone lasts. Browsers keep a cookie
	// for 400 days at most (RFC 6265bis, section 5.5).
	tombstoneLife = 400 * 24 * time.Hour

	// Burst is how far apart the sessions of one first burst of requests are
	// born at most.
	Burst = 10 * time.Second

	// maxConflicts is how many different cookies one tag may meet, and how many
	// anchors its links may join, before it counts as leaked: handed out by a cache,
	// or replayed.
	maxConflicts = 8

	// anchorLife is how long an anchor lasts in a browser, at the least.
	anchorLife = 30 * 24 * time.Hour

	// MaxMerged bounds how many sessions a record lists that were merged into
	// it.
	MaxMerged = 64

	// clickAgain is how long the same URL of a campaign, with nothing new about it, is no second
	// click: a tab that is loaded again in the course of a working day. Somebody who opens
	// the same newsletter in the evening, or a week later, has clicked on it again.
	clickAgain = 8 * time.Hour

	// SeenEvery is the precision of LastSeen between hits, so that the twenty
	// images of a page are not twenty writes.
	SeenEvery = time.Minute
)

// A Change is what one request does to a session. It is applied to a record,
// again if that was changed in between.
type Change struct {
	At            time.Time
	Via           string
	TokenReturned bool        // which confirms the session
	Hit           bool        // a page view
	Count         int64       // that many page views, for more than one
	First         time.Time   // when the first of them was, if it was before At
	Touch         store.Touch // of the hit

	BeforeConsent bool // the hit was before consent: it counts if it begins the visit
	FromOtherHost bool // a page of another host has led to it

	Retracted int64 // that many page views counted before showed no page: the handler has answered with a redirect, say

	NotCounted  bool // set by Apply: the hit is no page view of its own, since the visit is under way, or another hit has come since
	Reload      bool // the browser loads once more what it shows
	StoredToken bool // the token is that of a stored response, which is worthless once it has leaked

	UnlessHitSince time.Time // the hit counts unless another one has come since; zero for one that counts
	RetractTouch   bool      // no hit: the one that has come since UnlessHitSince was no click

	Key, Text string // with a key: of Session.Set
}

// Begin returns when the first of the page views was.
func (c *Change) Begin() time.Time {
	if c.First.IsZero() {
		return c.At
	}
	return c.First
}

// Apply changes r and reports whether there is something to be saved.
func (u Rules) Apply(r *store.Record, c *Change) (dirty bool, err error) {
	if c.Key != "" {
		return SetValue(r, c.Key, store.Value{Text: c.Text, At: c.At})
	}
	if c.StoredToken && Leaked(r) {
		return false, nil
	}
	switch {
	case !c.TokenReturned || r.Confirmed:
	case r.Via == store.ViaRedirect && c.Hit && c.At.Sub(r.Created) < Burst:
		dirty = true // a scanner of mail follows the redirect, too
	default:
		r.Confirmed, r.Expires = true, u.KeepUntil(r.ID)
		dirty = true
	}
	if c.Hit {
		if c.NotCounted = !c.UnlessHitSince.IsZero() && !r.LastHit.Before(c.UnlessHitSince); !c.NotCounted {
			dirty = u.applyHits(r, c) || dirty
		}
	}
	if c.Retracted > 0 {
		r.Hits, dirty = max(0, r.Hits-c.Retracted), true
	}
	if c.RetractTouch {
		dirty = takeBack(r, &c.Touch, c.UnlessHitSince) || dirty
	}
	if dirty || c.At.Sub(r.LastSeen) >= SeenEvery {
		r.LastSeen = Later(r.LastSeen, c.At)
		if c.Hit || c.Retracted == 0 {
			r.Via = c.Via
		}
		if c.Retracted > 0 && !r.Confirmed && r.Hits == 0 {
			r.Via = store.ViaRedirect // as before: redirects follow each other
		}
		dirty = true
	}
	return dirty, nil
}

// applyHits is applyHit for several page views of one visit. It begins with the first of
// them, and goes on to the last.
func (u Rules) applyHits(r *store.Record, c *Change) (dirty bool) {
	if c.Count <= 1 || !c.Begin().Before(c.At) {
		return u.applyHit(r, c)
	}
	first, others := *c, *c
	first.At, first.Count = c.First, 1
	others.Count, others.Touch = c.Count-1, store.Touch{}
	u.applyHit(r, &first)
	return u.applyHit(r, &others)
}

func (u Rules) applyHit(r *store.Record, c *Change) (dirty bool) {
	var last store.Touch
	if n := len(r.Touches); n > 0 {
		last = r.Touches[n-1]
	}
	begins := r.LastHit.IsZero() || c.At.Sub(r.LastHit) >= u.VisitGap
	// A campaign's URL that is loaded again is no new click, and one with a click identifier
	// never is: from a bookmark, say, or a tab that was restored. Not all browsers say that
	// they load it again, so the same URL by itself is none for a while.
	again := c.Reload && hasTouch(r, &c.Touch) ||
		!c.FromOtherHost && c.Touch.Referrer == "" && hadTouch(r, &c.Touch, c.At.Add(-clickAgain), c.At)
	campaign := touch.IsCampaign(&c.Touch) && (begins || !touch.SameCampaign(&c.Touch, &last)) && !hasClick(r, &c.Touch) && !again
	if c.NotCounted = c.BeforeConsent && !begins; c.NotCounted {
		// A page of this visit was counted. What is new is where it came from: the first
		// page seemed to have been opened directly, as long as nobody was asked.
		n := len(r.Touches)
		switch direct := n > 0 && last.IsDirect() && !last.Time.Before(r.VisitStart); {
		case direct && (campaign || c.Touch.Referrer != "" && !again && !hasClick(r, &c.Touch)):
			found := touch.Clone(c.Touch)
			found.Time = last.Time
			r.Touches = append(slices.Clone(r.Touches[:n-1]), found)
			return true
		case campaign:
			r.Touches = touch.Add(r.Touches, c.Touch)
		}
		return campaign
	}
	if begins || campaign {
		r.Visits++
		r.VisitStart = Later(r.VisitStart, c.At)
	}
	// A referrer counts where a visit begins: in the middle of one it is the
	// way back from a payment page or a login. A direct hit is a touch only if
	// nothing came before it.
	referral := begins && c.Touch.Referrer != "" && !hasClick(r, &c.Touch) && !again
	if !c.Touch.Time.IsZero() && (campaign || referral || r.LastHit.IsZero() && len(r.Touches) == 0) {
		r.Touches = touch.Add(r.Touches, c.Touch)
	}
	r.Hits += max(1, c.Count)
	r.LastHit = Later(r.LastHit, c.At)
	return true
}

// hasClick reports whether a touch is a click that was seen before: it has a click
// identifier of an earlier touch, and no other campaign beside it. With another one it is a
// link that somebody has made from a copied one.
func hasClick(r *store.Record, t *store.Touch) bool {
	return t.Click != "" && slices.ContainsFunc(r.Touches, func(u store.Touch) bool {
		return touch.SharesClick(&u, t) && (touch.IsUntagged(t) || touch.SameTags(t, &u))
	})
}

// hasTouch reports whether there is a touch that came by the same way to the same page.
func hasTouch(r *store.Record, t *store.Touch) bool {
	return slices.ContainsFunc(r.Touches, func(u store.Touch) bool {
		return touch.SameCampaign(&u, t) && u.Referrer == t.Referrer && u.Landing == t.Landing
	})
}

// hadTouch is hasTouch for a time.
func hadTouch(r *store.Record, t *store.Touch, from, to time.Time) bool {
	return slices.ContainsFunc(r.Touches, func(u store.Touch) bool {
		return touch.SameCampaign(&u, t) && u.Referrer == t.Referrer && u.Landing == t.Landing && !u.Time.Before(from) && !u.Time.After(to)
	})
}

// takeBack removes a touch like t that has come since, if there was one before it. A visit
// that has begun with it has begun all the same: after the gap it would have anyway.
func takeBack(r *store.Record, t *store.Touch, since time.Time) bool {
	n := len(r.Touches) - 1
	if n < 1 || r.Touches[n].Time.Before(since) {
		return false
	}
	last, before := store.Record{Touches: r.Touches[n:]}, store.Record{Touches: r.Touches[:n]}
	if !hasTouch(&last, t) || !hasTouch(&before, t) {
		return false
	}
	r.Touches = slices.Clone(r.Touches[:n])
	return true
}

// Limits of what Session.Set keeps.
const (
	maxValues    = 32
	MaxKeyLen    = 64
	MaxValueText = 1024
)

// SetValue sets a value, and reports whether it is another one than before.
func SetValue(r *store.Record, key string, v store.Value) (dirty bool, err error) {
	have, ok := r.Values[key]
	if ok && have.Text == v.Text {
		return false, nil
	}
	// Who sets it has seen what is there, whatever the clocks of two nodes say.
	if ok && !v.At.After(have.At) {
		v.At = have.At.Add(time.Millisecond)
	}
	values := make(map[string]store.Value, len(r.Values)+1)
	maps.Copy(values, r.Values)
	if !ok && len(values) >= maxValues {
		// Removed ones are kept only to win over older ones of a merge.
		maps.DeleteFunc(values, func(_ string, v store.Value) bool { return v.Text == "" })
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

// Later returns the later of two times.
func Later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// NewSession returns a new session's record, which nothing but its owner knows yet.
func (u Rules) NewSession(c *Change) store.Record {
	id := store.ID(uuid.New(c.At))
	r := store.Record{ID: id, Created: id.Time(), Expires: c.At.Add(unconfirmedLife)}
	u.Apply(&r, c) // no value, no error
	r.LastSeen, r.Via = c.At, store.ViaNew
	return r
}

// Reborn returns a record for a token whose record is missing: the store has
// lost or evicted it, or it had expired before it was confirmed. A session past
// its lifetime is not ok, though its younger aliases have tokens yet.
func (u Rules) Reborn(id store.ID) (r store.Record, ok bool) {
	now := millis.Truncate(time.Now())
	return store.Record{ID: id, Created: id.Time(), Expires: now.Add(unconfirmedLife)}, now.Before(u.TokensEnd(id)) // until a token confirms it
}

// TokensEnd is when the tokens of a session end.
func (u Rules) TokensEnd(id store.ID) time.Time { return id.Time().Add(u.Lifetime) }

// KeepUntil is until when what is known of a session is kept.
func (u Rules) KeepUntil(id store.ID) time.Time { return id.Time().Add(u.Retention) }

// IsOver reports whether no token leads to a session any more: it was forgotten, or
// renewed, or its lifetime is over, though its aliases have tokens yet.
func (u Rules) IsOver(r *store.Record, at time.Time) bool {
	return r.Forgotten || r.LinksUsed == store.Renewed || !at.Before(u.TokensEnd(r.ID))
}

// NewVersion returns a random Record.Version.
func NewVersion() int64 {
	for {
		if v := int64(rand.Uint64()); v != 0 {
			return v
		}
	}
}

// OnlyCounts reports whether a change does no more to a record than count a page
// view of the visit that is under way, or nothing.
func (u Rules) OnlyCounts(r *store.Record, c *Change) bool {
	if c.Key != "" || c.RetractTouch || !r.Confirmed && c.TokenReturned || c.StoredToken && Leaked(r) {
		return false
	}
	if !c.Hit {
		return c.Retracted > 0 || c.At.Sub(r.LastSeen) < SeenEvery
	}
	if c.BeforeConsent || !c.UnlessHitSince.IsZero() || r.LastHit.IsZero() || c.At.Sub(r.LastHit) >= u.VisitGap {
		return false
	}
	return !touch.IsCampaign(&c.Touch) || len(r.Touches) > 0 && touch.SameCampaign(&c.Touch, &r.Touches[len(r.Touches)-1])
}

// Counts reports whether a change has something to do with page views: one that is counted,
// or one that was none.
func (c *Change) Counts() bool { return c.Hit || c.Retracted > 0 }

// Tombstone outlives every token of the session. If a request denies a
// session that was never confirmed, the tombstone lasts as long as the session would
// have: two requests must not cost a store a record for 400 days.
//
// Its Via shows what a request has asked for: see MemoryOptions.MaxSessions.
func (u Rules) Tombstone(r *store.Record, denied bool) store.Record {
	t := store.Record{
		ID: r.ID, Version: NewVersion(), Created: r.ID.Time(), Forgotten: true,
		Expires: millis.Truncate(time.Now()).Add(max(u.Lifetime, tombstoneLife)),
	}
	if denied {
		t.Via = store.ViaDenied
	}
	if denied && r.Version != 0 && !r.Confirmed && r.MergedInto.IsZero() {
		t.Expires = r.Expires
	}
	return t
}
