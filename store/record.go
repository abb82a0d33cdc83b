package store

import (
	"iter"
	"net/url"
	"strings"
	"time"

	"github.com/revisit-go/revisit/internal/uuid"
)

// A Record is what a Store keeps of a session: plain data.
//
// Slices and maps are immutable once they are handed over, in both directions:
// to change one, make a new slice or map. So a Store may keep
// and return them without a copy, and need not copy what it gets.
//
// Times are in UTC, to the millisecond.
type Record struct {
	ID      ID
	Version int64 // random, never 0, chosen by the writer, who recognises its own write by it if the answer to Save is lost

	Created    time.Time // the birth of the session, as in ID.Time
	LastSeen   time.Time // of the last request, to a minute; of the last hit exactly
	LastHit    time.Time // of the last hit; zero if there was none
	VisitStart time.Time // of the first hit of the current visit
	Expires    time.Time // from then on the record counts as absent; never zero

	Confirmed bool // a token came back, so the client keeps tokens: a visitor
	Forgotten bool // a tombstone: nothing but ID, Version, Created, Expires, and ViaDenied as Via if a request has made it

	Visits int64 // begun, those of merged sessions included
	Hits   int64 // page views, those of merged sessions included; a redirect is none

	Via     string           // how the session was recognised last, as in Session.Via; before that ViaNew or ViaRedirect
	Touches []Touch          // the first, then the latest 15 after it, by time
	Values  map[string]Value // by key; see Session.Set

	MergedInto         ID              // if not zero, this is an alias of that older session
	MergedSessions     []MergedSession // the sessions that were merged into this one, the latest 64 at least
	ConflictingCookies []ID            // up to eight different cookies that came beside a tag of this ID
	LinksUsed          int             // link tokens of this session's pages that were used; Renewed if its tokens are worthless
	ProbableMatch      ID              // the session that a fingerprint pointed to when this one was born: a hint, no merge; see Fingerprint
}

// Renewed is Record.LinksUsed of a session that was renewed: its tokens are worthless.
const Renewed = -1

// Values of Record.Via that name no strategy.
const (
	ViaNew      = "new"      // no token has come back yet
	ViaRedirect = "redirect" // the same of a session that began with a redirect: opening its target proves nothing more
	ViaMerged   = "merged"   // an alias whose data was moved to its root
	ViaDenied   = "denied"   // a tombstone that a request has made, rather than the application
)

// IsSession reports whether the record is that of a session: neither an alias, nor
// a tombstone, nor one under an ID that was derived from something else (UUIDv8).
func (r *Record) IsSession() bool {
	return r.MergedInto.IsZero() && !r.Forgotten && !uuid.IsDerived(r.ID)
}

// A Value is what the application has attached to a session under a key.
type Value struct {
	Text string    // "" if it was removed
	At   time.Time // when it was set; of two, the newer one counts
}

// A MergedSession is a session that was merged into another one, with what it brought.
type MergedSession struct {
	ID            ID
	Visits, Hits  int64
	NotifyPending bool `json:",omitempty"` // Config.OnMerge has not returned nil for it yet
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

// IsDirect reports whether nothing says where the visitor came from: no campaign, no
// referrer.
func (t Touch) IsDirect() bool {
	return t.Referrer == "" && t.Source == "" && t.Medium == "" && t.Campaign == "" && t.Term == "" && t.Content == "" && t.ID == "" && t.Click == ""
}

// ClickIDs returns the click identifiers of t by name, the one first by which an order can
// best be reported to the platform: a gclid before a gbraid.
func (t Touch) ClickIDs() iter.Seq2[string, string] {
	return func(yield func(name, id string) bool) {
		for rest := t.Click; rest != ""; {
			var pair string
			pair, rest, _ = strings.Cut(rest, "&")
			name, id, ok := strings.Cut(pair, "=")
			if plain, err := url.PathUnescape(id); err == nil {
				id = plain
			}
			if ok && !yield(name, id) {
				return
			}
		}
	}
}

// ClickID returns the click identifier of that name ("gclid", in letters of any case), ""
// for none.
func (t Touch) ClickID(name string) string {
	for have, id := range t.ClickIDs() {
		if strings.EqualFold(have, name) {
			return id
		}
	}
	return ""
}
