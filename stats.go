package revisit

import (
	"sync/atomic"

	"github.com/revisit-go/revisit/internal/ledger"
	"github.com/revisit-go/revisit/internal/throttle"
	"github.com/revisit-go/revisit/internal/touch"
)

// Stats are the counts of a [Tracker] since it was made, in this process.
type Stats struct {
	New       int64            // sessions started and saved
	Confirmed int64            // of these and older ones, those whose token came back for the first time: visitors
	Returning map[string]int64 // requests whose session was recognised, by strategy, "link", "form" or "adopted"
	LinksUsed int64            // link tokens used: a page and the anchor are one browser
	Merged    int64            // sessions merged into an older one
	Forgotten int64            // visitors erased at their request, with all that was merged: the log has a line for each ID

	Forged    int64 // presented tokens that none of our keys has sealed for the purpose; link and form tokens of another network, and fields with over 8 KiB of tags, too
	Expired   int64 // presented tokens past Config.Lifetime
	Ambiguous int64 // requests with two different valid tokens in one carrier
	Leaked    int64 // claims of tags that have met too many different cookies

	Denied  int64 // requests under Deny
	Unasked int64 // requests under Unasked
	Bots    int64 // requests of bots, which are under neither

	Unverified   int64            // requests recognised from the token alone
	StoreErrors  int64            // errors of the Store, conflicts and absence aside
	NotifyErrors int64            // calls of OnMerge that returned an error: they are made again
	Dropped      map[string]int64 // changes that were not kept, by reason: "timeout", "busy", "store"; with FlushEvery "full" (too many sessions in hand) and "closed" (Close could not save them); of calls of OnHit "hook" (it is too slow)

	// Clipped counts what links of page views said and was not kept, by reason: "long" (a
	// text of over 256 bytes, a click identifier of over 1,024, what stands behind 8 KiB of
	// query), "many" (a second value of the same name, a fifth click identifier, what stands
	// behind 256 pairs or 32 values), "personal" (an address, a credential, a parameter that
	// names somebody), "macro" (of a template that nobody has filled in) and "unreadable"
	// (not UTF-8, or with control characters).
	Clipped map[string]int64
}

// counters is Stats while it counts: what the ledger counts, and what requests are about.
type counters struct {
	ledger.Counters
	forged, expired, ambiguous atomic.Int64
	denied, unasked, bots      atomic.Int64
	unverified                 atomic.Int64

	names     []string // of the strategies, "link", "form" and "adopted"
	returning []atomic.Int64

	clipped [touch.ClipReasons]atomic.Int64

	denials, proxied, adopts, hosts throttle.Minute
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
		New: c.Created.Load(), Confirmed: c.Confirmed.Load(), Merged: c.Merged.Load(), LinksUsed: c.LinksUsed.Load(), Forgotten: c.Forgotten.Load(),
		Forged: c.forged.Load(), Expired: c.expired.Load(), Ambiguous: c.ambiguous.Load(), Leaked: c.Leaked.Load(),
		Denied: c.denied.Load(), Unasked: c.unasked.Load(), Bots: c.bots.Load(),
		Unverified: c.unverified.Load(), StoreErrors: c.StoreErrors.Load(), NotifyErrors: c.NotifyErrors.Load(),
		Returning: make(map[string]int64, len(c.names)),
		Dropped: map[string]int64{
			"timeout": c.Timeout.Load(), "busy": c.Busy.Load(), "store": c.Store.Load(),
			"full": c.Full.Load(), "closed": c.Closed.Load(), "hook": c.Hook.Load(),
		},
		Clipped: make(map[string]int64, touch.ClipReasons),
	}
	for i := range c.clipped {
		s.Clipped[touch.ClipReason(i)] = c.clipped[i].Load()
	}
	for i, name := range c.names {
		s.Returning[name] = c.returning[i].Load()
	}
	return s
}

// clip counts what was left out of a link.
func (c *counters) clip(left *touch.Clipped) {
	for i, n := range left {
		if n > 0 {
			c.clipped[i].Add(n)
		}
	}
}
