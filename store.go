package revisit

import (
	"context"
	"errors"
	"iter"
	"time"
)

// Errors that every Store returns. A Store may wrap them.
var (
	// ErrNotFound is what Load returns for a record that is not there or has
	// expired.
	ErrNotFound = errors.New("revisit: no such record")
	// ErrConflict is what Save returns if the record is not the one that the
	// caller has read. Nothing has changed then.
	ErrConflict = errors.New("revisit: the record has another version")
)

// A Store keeps records. It is a dumb place: it knows nothing of HTTP and none
// of the rules, and two methods are all of it. Package storetest checks an
// implementation against this contract.
//
// A Store is linearizable for each ID: what a Save has put there is what every
// Load that begins afterwards returns, on whichever node. It is safe for
// concurrent use.
//
// Both methods give up when ctx ends and return its error. A Tracker calls
// them with a deadline of [Config.StoreTimeout], and of a few times that for
// merging and forgetting, which no request waits for.
//
// A Store deletes expired records itself, some time after Record.Expires. How it writes a
// Record down is its own choice; encoding/json keeps all of it.
type Store interface {
	// Load returns the record of id. It returns ErrNotFound if there is none
	// or it has expired.
	Load(ctx context.Context, id ID) (Record, error)

	// Save puts r in place of the record of r.ID whose Version is old. An old
	// of 0 means that there is no record, or that it has expired; a nonzero old
	// never creates one. If that is not so, Save returns ErrConflict and
	// nothing has changed. After any other error the write may have happened.
	Save(ctx context.Context, r Record, old int64) error
}

// A Change is a record that is to take the place of the version Old: what Save is
// called with.
type Change struct {
	Record Record
	Old    int64
}

// A Batcher is a Store that does many things at once faster than one by one. A
// Tracker with [Config.FlushEvery] makes use of it.
type Batcher interface {
	Store

	// LoadAll returns the records of ids, in any order. Those that are not there
	// or have expired are left out.
	LoadAll(ctx context.Context, ids []ID) ([]Record, error)

	// SaveAll does what Save does for each change, and returns an error for each.
	// Each is atomic by itself: one that conflicts does not keep the others from
	// being saved. The changes are of different IDs, and sorted by ID: an engine
	// that locks rows locks them in that order, or two nodes could block each
	// other.
	SaveAll(ctx context.Context, changes []Change) []error
}

// A Lister is a Store that can be looked through, for exports and reports.
type Lister interface {
	Store

	// Sessions returns all sessions, in any order: neither aliases nor
	// tombstones nor records of derived IDs (see Record.IsSession), nor what has
	// expired. It reads page by page, so what is saved meanwhile may be in it or
	// not. An error ends it.
	Sessions(ctx context.Context) iter.Seq2[Record, error]
}

// An Indexer is a Store that finds the aliases of a session. Without it, a merge that was
// broken off after its first write leaves an alias that Tracker.Forget and Tracker.Export of
// the session do not find, until its token comes or it expires.
type Indexer interface {
	Store

	// Aliases returns the IDs of all records whose MergedInto is root, in any order.
	// Records under derived IDs (see Record.IsSession) and those that have expired may be
	// left out. An alias is found as soon as the Save that made it has returned, and by
	// every node.
	Aliases(ctx context.Context, root ID) ([]ID, error)
}

// A Record is what a Store keeps of a session: plain data.
//
// Slices and maps are immutable once they are handed over, in both directions:
// whoever wants another value makes a new slice or map. So a Store may keep
// and return them without a copy, and need not copy what it gets.
//
// Times are in UTC, to the millisecond.
type Record struct {
	ID      ID
	Version int64 // random, never 0, chosen by the writer: who lost the answer to a Save knows its own write again

	Created    time.Time // the birth of the session, as in ID.Time
	LastSeen   time.Time // of the last request, to a minute; of the last hit exactly
	LastHit    time.Time // of the last hit; zero if there was none
	VisitStart time.Time // of the first hit of the current visit
	Expires    time.Time // from then on the record counts as absent; never zero

	Confirmed bool // a token came back, so the client keeps them: a visitor
	Forgotten bool // a tombstone: nothing but ID, Version, Created, Expires, and "denied" as Via if a request has made it

	Visits int64 // begun, those of absorbed sessions included
	Hits   int64 // page views, those of absorbed sessions included; a redirect is none

	Via     string           // how it was recognised last, as in Session.Via; before that "new", or "redirect" if one has begun it
	Touches []Touch          // the first, then the latest 15 after it, by time
	Values  map[string]Value // by key; see Session.Set

	MergedInto ID         // if not zero, an alias of that older session
	Absorbed   []Absorbed // the sessions that were merged into this one, the latest 64 at least
	Rivals     []ID       // up to eight different cookies met beside a tag of this ID
	Joins      int        // links honoured that a page of this session has sent; -1 if it was renewed, and its tokens are worth nothing
	Likely     ID         // a weak match when the session was born: a hint, no merge; see Fingerprint
}

// IsSession reports whether the record is that of a session: neither an alias, nor
// a tombstone, nor one under an ID that was derived from something else (UUIDv8).
func (r *Record) IsSession() bool {
	return r.MergedInto.IsZero() && !r.Forgotten && !r.ID.derived()
}

// A Touch is one way that led the visitor here: a landing page with the
// campaign or the referrer behind it. The texts come from the client: escape
// them wherever they are shown. Each has at most 256 bytes, Click at most four
// identifiers of 1,024. docs/orders.md says how links are read.
type Touch struct {
	Time     time.Time
	Landing  string // path of the page as URLs have it, without the query; "*" for a segment with a mail address or a credential in it
	Referrer string // scheme, host and path of the page before, if on another host
	Source   string // utm_source, else the name of the referrer's site in referrers.txt, else its host
	Medium   string // utm_medium, else "cpc" (Google says that an ad was clicked), "organic-shopping" (or a product of its free listings), else what the referrer is: "search", "social", "mail", "ai" (an assistant), else "referral"
	Campaign string // utm_campaign
	Term     string // utm_term
	Content  string // utm_content
	ID       string // utm_id, else gad_campaignid
	Click    string // the click identifiers with their names, as a query: "gclid=Cj0KC...&gbraid=0AAA..."; see ClickID and ClickIDs
}

// A Value is what the application has attached to a session under a key.
type Value struct {
	Text string    // "" if it was removed
	At   time.Time // when it was set; of two, the newer one counts
}

// Absorbed is a session that was merged into another one, with what it brought.
type Absorbed struct {
	ID           ID
	Visits, Hits int64
	Untold       bool `json:",omitempty"` // Config.OnMerge has not returned nil for it yet
}
