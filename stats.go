package revisit

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"
)

// Stats are the counts of a [Tracker] since it was made, in this process.
type Stats struct {
	New       int64            // sessions started and saved
	Confirmed int64            // of these and older ones, those whose token came back for the first time: visitors
	Returning map[string]int64 // requests whose session was recognised, by strategy, "link", "form" or "adopted"
	Joined    int64            // links honoured: a page and the anchor are one browser
	Merged    int64            // sessions merged into an older one
	Forgotten int64            // visitors erased at their request, with all that was merged: the log has a line for each ID

	Forged    int64 // presented tokens that none of our keys has sealed for the purpose; tickets of another network, and fields with over 8 KiB of tags, too
	Expired   int64 // presented tokens past Config.Lifetime
	Ambiguous int64 // requests with two different valid tokens in one carrier
	Leaked    int64 // claims of tags that have met too many different cookies

	Denied  int64 // requests under Deny
	Unasked int64 // requests under Unasked
	Bots    int64 // requests of bots, which are under neither

	Unverified  int64            // requests recognised from the token alone
	StoreErrors int64            // errors of the Store, conflicts and absence aside
	Untold      int64            // calls of OnMerge that returned an error: they are made again
	Dropped     map[string]int64 // changes that were not kept, by reason: "timeout", "busy", "store"; with FlushEvery "full" (too many sessions in hand) and "closed" (Close could not save them); of calls of OnHit "hook" (it is too slow)

	// Clipped counts what links of page views said and was not kept, by reason: "long" (a
	// text of over 256 bytes, a click identifier of over 1,024, what stands behind 8 KiB of
	// query), "many" (a second value of the same name, a fifth click identifier, what stands
	// behind 256 pairs or 32 values), "personal" (an address, a credential, a parameter that
	// names somebody), "macro" (of a template that nobody has filled in) and "unreadable"
	// (not UTF-8, or with control characters).
	Clipped map[string]int64
}

// counters is Stats while it counts.
type counters struct {
	created, confirmed, merged, joined, forgotten atomic.Int64
	forged, expired, ambiguous, leaked            atomic.Int64
	denied, unasked, bots                         atomic.Int64
	unverified, storeErrors                       atomic.Int64
	timeout, busy, store, full, closed            atomic.Int64
	hook, untold                                  atomic.Int64

	names     []string // of the strategies, "link", "form" and "adopted"
	returning []atomic.Int64

	clipped [clipKinds]atomic.Int64

	complaints, leaks, denials, proxied, hooks, adopts, hosts rare
}

func newCounters(strategies []Strategy) *counters {
	c := &counters{}
	for _, s := range strategies {
		c.names = append(c.names, s.Via())
	}
	c.names = append(c.names, viaLink, viaForm, viaAdopted)
	c.returning = make([]atomic.Int64, len(c.names))
	return c
}

// recognised counts a request of a known session.
func (c *counters) recognised(via string) {
	for i, name := range c.names {
		if name == via {
			c.returning[i].Add(1)
			return
		}
	}
}

func (c *counters) snapshot() Stats {
	s := Stats{
		New: c.created.Load(), Confirmed: c.confirmed.Load(), Merged: c.merged.Load(), Joined: c.joined.Load(), Forgotten: c.forgotten.Load(),
		Forged: c.forged.Load(), Expired: c.expired.Load(), Ambiguous: c.ambiguous.Load(), Leaked: c.leaked.Load(),
		Denied: c.denied.Load(), Unasked: c.unasked.Load(), Bots: c.bots.Load(),
		Unverified: c.unverified.Load(), StoreErrors: c.storeErrors.Load(),
		Returning: make(map[string]int64, len(c.names)),
		Dropped:   map[string]int64{"timeout": c.timeout.Load(), "busy": c.busy.Load(), "store": c.store.Load(), "full": c.full.Load(), "closed": c.closed.Load(), "hook": c.hook.Load()},
		Untold:    c.untold.Load(),
		Clipped:   make(map[string]int64, clipKinds),
	}
	for i, name := range clipNames {
		s.Clipped[name] = c.clipped[i].Load()
	}
	for i, name := range c.names {
		s.Returning[name] = c.returning[i].Load()
	}
	return s
}

// drop counts a change that err has cost.
func (c *counters) drop(err error) {
	switch {
	case errors.Is(err, ErrForgotten):
	case errors.Is(err, errBusy):
		c.busy.Add(1)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		c.timeout.Add(1)
	default:
		c.store.Add(1)
	}
}

// clip counts what was left out of a link.
func (c *counters) clip(left *clips) {
	for i, n := range left {
		if n > 0 {
			c.clipped[i].Add(n)
		}
	}
}

// complain logs an error of the store, now and then.
func (c *counters) complain(logger *slog.Logger, err error) {
	if times, ok := c.complaints.now(); ok {
		logger.Error("revisit: the store fails; pages are served, visitors are recognised from their tokens alone",
			"error", err, "times", times)
	}
}

// rare is for a message that would otherwise be logged once a request.
type rare struct{ last, times atomic.Int64 }

// now reports whether it is time for the message, and how often there was an
// occasion since the last one.
func (r *rare) now() (times int64, ok bool) {
	r.times.Add(1)
	now, last := time.Now().UnixNano(), r.last.Load()
	if last != 0 && now-last < int64(time.Minute) || !r.last.CompareAndSwap(last, now) {
		return 0, false
	}
	return r.times.Swap(0), true
}
