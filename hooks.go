package revisit

import (
	"context"
	"time"
)

// A Hit is one page view of a session or several, as Config.OnHit gets them. A Count of
// 0 says that the session has changed for reports without a page view: it was
// confirmed by a second signal, or has got the touch that began its visit. A negative Count
// retracts page views that OnHit was called for: the handler has answered
// with a redirect, say. The Counts of a session add up to its Record.Hits, except what was dropped.
type Hit struct {
	Session Record // as it is in the store, these page views included; see Record for what must not be changed
	Count   int64  // how many: more than one with FlushEvery, and where several came at once; 0 or less as above
	Time    time.Time
	Touch   Touch // of the last of them, whose page is Landing; with FlushEvery it may be empty
}

// NotifyMerges looks through the Store for merges that Config.OnMerge has not returned nil
// for, and calls it again, also for visitors who do not come back. Call it now and then, from one
// process. The Store must be a Lister. It returns the Store's first error, or OnMerge's, joined.
func (t *Tracker) NotifyMerges(ctx context.Context) error { return t.ledger.NotifyMerges(ctx) }
