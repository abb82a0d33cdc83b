package revisit

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/revisit-go/revisit/internal/header"
	"github.com/revisit-go/revisit/internal/ledger"
	"github.com/revisit-go/revisit/internal/millis"
	"github.com/revisit-go/revisit/internal/rules"
	"github.com/revisit-go/revisit/internal/token"
	"github.com/revisit-go/revisit/internal/touch"
	"github.com/revisit-go/revisit/store"
)

// A Tracker recognises returning browsers for the handlers that it wraps. It is
// safe for concurrent use.
type Tracker struct {
	consent  func(*http.Request) Permission
	bot      func(*http.Request) bool
	adopt    func(*http.Request) (string, error)
	strategy Strategy
	names    []string // of its leaves, in the order of trust

	clearUnasked bool

	tagsAlone bool // nothing else than tags can carry a token
	keys      *token.Keyring
	lifetime  time.Duration
	ledger    *ledger.Ledger
	stats     *counters
	logger    *slog.Logger
	close     func() error

	clientAddr func(*http.Request) netip.Addr // nil for Request.RemoteAddr

	links      *touch.Reader
	beaconPath string
	beaconOn   atomic.Bool // Beacon was called
}

// New returns a Tracker, or every fault of the Config, joined.
func New(c Config) (*Tracker, error) {
	if c.Strategy == nil {
		c.Strategy = Hybrid(Cookie{}, ETag{})
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	if c.Bot == nil {
		c.Bot = IsBot
	}
	if c.BeaconPath == "" {
		c.BeaconPath = defaultBeaconPath
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if len(c.Keys) == 0 {
		key := make([]byte, token.MinKeyLen)
		rand.Read(key)
		c.Keys = [][]byte{key}
		c.Logger.Warn("revisit: no Config.Keys: a random key is used, and after a restart nobody is recognised")
	}
	c.Lifetime = cmp.Or(c.Lifetime, defaultLifetime)
	c.Retention = cmp.Or(c.Retention, defaultRetention)
	c.VisitGap = cmp.Or(c.VisitGap, defaultVisitGap)
	c.StoreTimeout = cmp.Or(c.StoreTimeout, defaultStoreTimeout)
	closeStore := func() error { return nil }
	if c.Store == nil {
		m := NewMemoryStore(MemoryOptions{})
		c.Store, closeStore = m, m.Close
	}

	strategies := leaves(c.Strategy)
	t := &Tracker{
		consent:  c.Consent,
		bot:      c.Bot,
		adopt:    c.Adopt,
		strategy: c.Strategy,
		keys:     token.New(c.Keys),
		lifetime: c.Lifetime,
		stats:    newCounters(strategies),
		logger:   c.Logger,

		clearUnasked: c.ClearUnasked,

		clientAddr: c.ClientAddr,
		links:      touch.NewReader(c.OwnHosts, c.ClickIDs),
		beaconPath: c.BeaconPath,
	}
	t.names = t.stats.names[:len(strategies)]
	t.tagsAlone = !slices.ContainsFunc(t.names, func(name string) bool { return name != (ETag{}).Via() && name != (Fingerprint{}).Via() })
	memory, _ := c.Store.(*MemoryStore)
	lc := ledger.Config{
		Store: c.Store, Timeout: c.StoreTimeout, FlushEvery: c.FlushEvery, Counters: &t.stats.Counters, Logger: c.Logger,
		Rules: rules.Rules{Lifetime: c.Lifetime, Retention: c.Retention, VisitGap: c.VisitGap},
		Hooks: ledger.Hooks{OnMerge: c.OnMerge, OnForget: c.OnForget},
	}
	if onHit := c.OnHit; onHit != nil {
		lc.Hooks.OnHit = func(ctx context.Context, h ledger.Hit) { onHit(ctx, Hit(h)) }
	}
	if memory != nil {
		lc.Store, lc.Memory = memory.store, memory.store
	}
	t.ledger = ledger.New(lc)
	t.close = sync.OnceValue(func() error {
		t.ledger.Close()
		return closeStore()
	})
	return t, nil
}

// Handler returns a handler that recognises the visitor behind a request and
// calls next, which finds the session with [FromContext]. A handler within
// another one of the same Tracker is called as it is.
func (t *Tracker) Handler(next http.Handler) http.Handler {
	return &handler{tracker: t, next: next}
}

// handler is a named type: a function literal would keep Request.WithContext
// from being inlined, and cost an allocation.
type handler struct {
	tracker *Tracker
	next    http.Handler
	kind    kind
}

// kind is what a handler serves.
type kind int8

const (
	kindPage   kind = iota // of the site
	kindAnchor             // of the beacon
	kindForget             // of the beacon
)

// ServeHTTP is the way of a request.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	t := h.tracker
	if t.visit(r.Context()) != nil || h.kind == kindPage && t.isBeacon(r) {
		h.next.ServeHTTP(w, r)
		return
	}

	v := &Visit{tracker: t, kind: h.kind, request: r, now: millis.Truncate(time.Now()), permission: t.consent(r)}
	v.context = visitContext{r.Context(), v}
	v.carriers = v.few[:0]
	if v.permission != Deny && t.bot(r) {
		v.permission, v.bot = Unasked, true
	}
	v.classify()

	t.strategy.Identify(v) // what does the client carry?
	if !v.awaitForm() {
		t.resolve(v) // which session is that?
	}
	if v.session.counted && v.class.Navigation {
		v.hooked = true // for takeViewBack
	}
	if v.hooked && !v.isPortable() {
		v.bind()
	}

	v.inner = *r.WithContext(&v.context)
	if v.form != nil {
		v.inner.Body = v.form
	}
	if v.header != nil {
		v.inner.Header = v.header
	}
	defer v.giveBack(r)
	if !v.hooked {
		h.next.ServeHTTP(w, &v.inner)
		return
	}
	v.response.Reset(w, decider{v})
	h.next.ServeHTTP(v.response.Hook(), &v.inner)
	v.resolveForm(false)
	v.response.Finish()
}

// resolve decides what the request may do, and which session it belongs to.
func (t *Tracker) resolve(v *Visit) {
	switch v.permission {
	case Recognise, Restore:
		if !v.class.Foreign {
			t.recognise(v)
		}
	case Deny:
		t.stats.denied.Add(1)
		// What could not be forgotten keeps its carriers: the next request tries
		// again.
		if v.forgotten = t.deny(v); v.forgotten && len(v.carriers) > 0 {
			v.clear()
		}
	default:
		if v.bot {
			t.stats.bots.Add(1)
			return
		}
		t.stats.unasked.Add(1)
		if !t.clearUnasked {
			return // consent may have expired, and be given again
		}
		// Consent was there once, and is not any more. A click from another
		// site is no proof: its cookies may have been held back.
		site := header.Value(v.request.Header, "Sec-Fetch-Site")
		if len(v.carriers) > 0 && (v.class.Navigation && (site == "same-origin" || site == "none") || v.kind == kindAnchor && site == "same-origin") {
			v.clear()
		}
	}
}

// recognise finds the session of what was presented, or starts one.
func (t *Tracker) recognise(v *Visit) {
	var room [2]rules.Claim
	claims := v.claims(room[:0])
	if len(claims) == 1 && t.fastPath(v, &claims[0]) {
		return
	}
	change := [1]rules.Change{{At: v.now, Hit: v.class.Hit, BeforeConsent: v.beforeConsent}}
	if v.class.Hit {
		change[0].Touch, change[0].Reload, change[0].FromOtherHost = v.touch(), v.reloads(), v.isLed()
		if v.report != nil && v.report.Stale {
			change[0].UnlessHitSince = v.report.Since(v.now)
		}
	} else if v.takesBack() {
		change[0].Touch, change[0].RetractTouch, change[0].UnlessHitSince = v.touch(), true, v.report.Since(v.now)
	}
	forgotten := false
	if len(claims) > 0 {
		record, via, err := t.resolveClaims(v, claims, &change, t.ledger.Timeout())
		if err == nil {
			t.stats.recognised(via)
			v.open(record.ID, via, &record)
			v.replaceStored()
			v.bindVisit(&record)
			return
		}
		forgotten = errors.Is(err, ErrForgotten)
		if !forgotten {
			// The token is proof enough of who it is, and that is all there is.
			if !t.ledger.Buffers() {
				t.stats.Drop(err)
			}
			t.stats.unverified.Add(1)
			t.stats.recognised(claims[0].Via)
			v.open(claims[0].ID, claims[0].Via, &Record{ID: claims[0].ID})
			v.session.Unverified = true
			v.session.counted = v.class.Hit && t.ledger.Buffers() && !claims[0].Follows // which has kept it
			return
		}
	}
	strong := v.class.MayStart && v.offers != 0
	if v.form != nil {
		if _, open := v.form.Text(); open {
			strong = false // there may be a form token that nobody has read
		}
	}
	var silent error
	if len(claims) > 0 || slices.ContainsFunc(v.carriers, func(c carrier) bool { return !c.id.IsZero() }) {
		v.fingerprint = nil // a token came, whatever became of it
	} else if strong {
		var ok bool
		if ok, silent = t.adopted(v, &change); ok {
			return
		}
	}
	if v.fingerprint != nil && silent == nil {
		begin := time.Now()
		err := t.lookup(v, strong)
		if err == nil && !strong && t.resumeByFingerprint(v, begin, &change) {
			return
		}
		if !strong { // which does not hang on a hint that comes too late
			silent = err
		}
	}
	if strong || v.startsWeak() {
		v.weak = !strong
		record := t.ledger.NewSession(&change[0])
		if v.fingerprint != nil && v.permission == Restore && strong {
			record.ProbableMatch = v.fingerprint.Match.ID
		}
		v.session.counted = v.class.Hit
		v.session.saveFail = silent // a store that did not answer is not asked again
		v.open(record.ID, store.ViaNew, &record)
		v.session.saved = false
		v.replaceStored()
		v.wantStart()
	} else if forgotten {
		v.clear()
	}
}

// fastPath handles the common case: a known visitor continuing a visit. In a memory
// store that is a matter of a few numbers. It reports whether that is all there is to it.
func (t *Tracker) fastPath(v *Visit, c *rules.Claim) bool {
	if c.Follows || !v.isPlain() || !t.ledger.FastPath(&v.session.slot, c, v.now, v.class.Hit, v.isCampaign) {
		return false
	}
	t.stats.recognised(c.Via)
	v.session.counted = v.class.Hit
	v.open(c.ID, c.Via, nil)
	v.replaceStored()
	return true
}

// resolveClaims counts the request on the session that the claims speak for. It waits for so
// long at most.
func (t *Tracker) resolveClaims(v *Visit, claims []rules.Claim, change *[1]rules.Change, wait time.Duration) (Record, string, error) {
	c, first := &change[0], &claims[0]
	c.TokenReturned, c.Via, c.StoredToken = true, first.Via, first.Stored
	id := first.ID
	// One claim of the most trusted strategy needs no resolving.
	if len(claims) > 1 || first.Follows {
		begin := time.Now()
		resolved, err := t.ledger.Resolve(v.context.Context, claims, v.permission == Restore)
		if errors.Is(err, context.DeadlineExceeded) && !first.Follows {
			// A merge takes its time, and may be done soon. The page view need not
			// wait for it, and must not be lost with it; the carriers stay.
			v.unresolved, err = true, nil
			resolved = ledger.Resolution{ID: first.ID}
		}
		if err != nil {
			t.ledger.Unresolved(id, !first.Follows, change, err)
			return Record{}, "", err
		}
		wait = t.ledger.Left(begin)
		leader := &claims[resolved.Leader]
		id, c.Via = resolved.ID, leader.Via
		c.TokenReturned = !leader.Link // a link says nothing of whether the client keeps tokens
		c.StoredToken = leader.Stored
	}
	record, err := t.ledger.Record(v.context.Context, id, change, wait)
	if err == nil && c.StoredToken && rules.Leaked(&record) {
		t.stats.LeakedTag()
		err = ErrForgotten
	}
	v.session.counted = err == nil && c.Hit
	return record, c.Via, err
}

// mustRank returns the place of a strategy in the order of trust. That a
// strategy speaks under another name than its own is a bug in it, which would
// show as visitors who are always new.
func (t *Tracker) mustRank(via string) int {
	for i, name := range t.names {
		if name == via {
			return i
		}
	}
	panic(fmt.Sprintf("revisit: no strategy of the Tracker has the name %q: Present and Offer want Via", via))
}

// Stats returns what was counted so far.
func (t *Tracker) Stats() Stats { return t.stats.snapshot() }

// Close waits until what is under way in the Store has ended, for Config.StoreTimeout at
// most, saves the page views that wait, for twenty times that at most, and tells OnHit of what
// waits, for StoreTimeout at most. It closes the Store if New has made it. Requests that
// come afterwards are served as if the store were down (but for a memory store, which
// cannot be).
func (t *Tracker) Close() error { return t.close() }
