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
	keys      *keyring
	lifetime  time.Duration
	ledger    *ledger
	stats     *counters
	logger    *slog.Logger
	close     func() error

	clientAddr func(*http.Request) netip.Addr // nil for Request.RemoteAddr

	ownHosts   []string
	clickIDs   map[string]clickName // of Config, by name in small letters
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
		key := make([]byte, minKeyLen)
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
		keys:     newKeyring(c.Keys),
		lifetime: c.Lifetime,
		stats:    newCounters(strategies),
		logger:   c.Logger,

		clearUnasked: c.ClearUnasked,

		clientAddr: c.ClientAddr,
		ownHosts:   slices.Clone(c.OwnHosts),
		clickIDs:   clickNames(c.ClickIDs),
		beaconPath: c.BeaconPath,
	}
	t.close = sync.OnceValue(func() error {
		t.ledger.idle(t.ledger.timeout)
		if t.ledger.writeBehind != nil {
			t.ledger.writeBehind.close(flushLimit * t.ledger.timeout)
		}
		t.ledger.hooks.close(t.ledger.timeout)
		t.ledger.closeSalts()
		return closeStore()
	})
	t.names = t.stats.names[:len(strategies)]
	t.tagsAlone = !slices.ContainsFunc(t.names, func(name string) bool { return name != (ETag{}).Via() && name != (Fingerprint{}).Via() })
	t.ledger = &ledger{
		store: c.Store, backing: c.Store, lifetime: c.Lifetime, retention: c.Retention, visitGap: c.VisitGap, timeout: c.StoreTimeout,
		logger: c.Logger, stats: t.stats, turns: newTurns(),
	}
	t.ledger.hooks.onHit, t.ledger.hooks.onMerge, t.ledger.hooks.onForget = c.OnHit, c.OnMerge, c.OnForget
	t.ledger.hooks.start(t.ledger)
	t.ledger.memory, _ = c.Store.(*MemoryStore)
	if c.FlushEvery > 0 && t.ledger.memory == nil {
		w := newWriteBehind(t.ledger, c.FlushEvery)
		t.ledger.writeBehind, t.ledger.store = w, observedStore{c.Store, w.observe}
		w.start()
	}
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

	v := &Visit{tracker: t, kind: h.kind, request: r, now: milli(time.Now()), permission: t.consent(r)}
	v.context = visitContext{r.Context(), v}
	v.carriers = v.few[:0]
	v.response = response{ResponseWriter: w, v: v}
	if v.permission != Deny && t.bot(r) {
		v.permission, v.bot = Unasked, true
	}
	v.classify()

	t.strategy.Identify(v) // what does the client carry?
	if !v.awaitForm() {
		t.settle(v) // which session is that?
	}
	if v.session.counted && v.navigation {
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
	h.next.ServeHTTP(v.response.hook(), &v.inner)
	v.response.finish()
}

// settle decides what the request may do, and which session it belongs to.
func (t *Tracker) settle(v *Visit) {
	switch v.permission {
	case Recognise, Restore:
		if !v.foreign {
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
		site := headerValue(v.request.Header, "Sec-Fetch-Site")
		if len(v.carriers) > 0 && (v.navigation && (site == "same-origin" || site == "none") || v.kind == kindAnchor && site == "same-origin") {
			v.clear()
		}
	}
}

// recognise finds the session of what was presented, or starts one.
func (t *Tracker) recognise(v *Visit) {
	var room [2]claim
	claims := v.claims(room[:0])
	if len(claims) == 1 && t.goOn(v, &claims[0]) {
		return
	}
	change := [1]change{{at: v.now, hit: v.hit, landing: v.landing}}
	if v.hit {
		change[0].touch, change[0].reload, change[0].led = v.touch(), v.reloads(), v.isLed()
		if v.told != nil && v.told.stale {
			change[0].since = v.now.Add(-v.told.age - reportDelay)
		}
	} else if v.takesBack() {
		change[0].touch, change[0].takesBack, change[0].since = v.touch(), true, v.now.Add(-v.told.age-reportDelay)
	}
	forgotten := false
	if len(claims) > 0 {
		record, via, err := t.arrive(v, claims, &change, t.ledger.timeout)
		if err == nil {
			t.stats.recognised(via)
			v.open(record.ID, via, &record)
			v.replaceStored()
			v.rememberVisit(&record)
			return
		}
		forgotten = errors.Is(err, ErrForgotten)
		if !forgotten {
			// The token is proof enough of who it is, and that is all there is.
			if t.ledger.writeBehind == nil {
				t.stats.drop(err)
			}
			t.stats.unverified.Add(1)
			t.stats.recognised(claims[0].via)
			v.open(claims[0].id, claims[0].via, &Record{ID: claims[0].id})
			v.session.Unverified = true
			v.session.counted = v.hit && t.ledger.writeBehind != nil && !claims[0].follows // which has kept it
			return
		}
	}
	strong := v.mayMint && v.offers != 0
	if v.form != nil {
		if _, open := v.form.text(); open {
			strong = false // there may be a ticket that nobody has read
		}
	}
	var silent error
	if len(claims) > 0 || slices.ContainsFunc(v.carriers, func(c carrier) bool { return !c.id.IsZero() }) {
		v.like = nil // a token came, whatever became of it
	} else if strong {
		var ok bool
		if ok, silent = t.adopted(v, &change); ok {
			return
		}
	}
	if v.like != nil && silent == nil {
		begin := time.Now()
		err := t.match(v, strong)
		if err == nil && !strong && t.resume(v, begin, &change) {
			return
		}
		if !strong { // which does not hang on a hint that comes too late
			silent = err
		}
	}
	if strong || v.startsWeak() {
		v.weak = !strong
		record := t.ledger.mint(&change[0])
		if v.like != nil && v.permission == Restore && strong {
			record.Likely = v.like.likely.ID
		}
		v.session.counted = v.hit
		v.session.saveFail = silent // a store that did not answer is not asked again
		v.open(record.ID, viaNew, &record)
		v.session.saved = false
		v.replaceStored()
		v.wantStart()
	} else if forgotten {
		v.clear()
	}
}

// goOn recognises a visitor who has come before and is here: most requests. In a memory
// store that is a matter of a few numbers. It reports whether that is all there is to it.
func (t *Tracker) goOn(v *Visit, c *claim) bool {
	if c.follows || !v.isPlain() || !t.ledger.goOn(&v.session.slot, c, v.now, v.hit, v.isCampaign) {
		return false
	}
	t.stats.recognised(c.via)
	v.session.counted = v.hit
	v.open(c.id, c.via, nil)
	v.replaceStored()
	return true
}

// resume goes on with a session that looks like the request, and reports whether
// that is so. One that has tokens is shown, no more: who has them may be somebody
// else.
func (t *Tracker) resume(v *Visit, begin time.Time, change *[1]change) bool {
	k := v.like
	if k.likely.ID.IsZero() {
		return false
	}
	if k.strong {
		t.stats.recognised(k.via)
		v.weak, v.session.guess = true, true
		shown := k.likely
		shown.Values, shown.Touches, shown.Absorbed = nil, nil, nil // which are the visitor's own
		v.open(shown.ID, k.via, &shown)
		return true
	}
	record, via, err := t.arrive(v, []claim{{id: k.likely.ID, via: k.via}}, change, t.ledger.left(begin))
	if err != nil {
		if !errors.Is(err, ErrForgotten) {
			if t.ledger.writeBehind == nil {
				t.stats.drop(err)
			}
			v.like = nil
		}
		return false
	}
	t.stats.recognised(via)
	v.weak = true
	v.open(record.ID, via, &record)
	if k.renew {
		v.remember(record)
	}
	return true
}

// arrive counts the request on the session that the claims speak for. It waits for so
// long at most.
func (t *Tracker) arrive(v *Visit, claims []claim, change *[1]change, wait time.Duration) (Record, string, error) {
	c := &change[0]
	c.claim, c.via, c.stored = true, claims[0].via, claims[0].stored
	id := claims[0].id
	// One claim of the most trusted strategy needs no settling.
	if len(claims) > 1 || claims[0].follows {
		begin := time.Now()
		agreed, err := t.ledger.agreeWithin(v.context.Context, claims, v.permission)
		if errors.Is(err, context.DeadlineExceeded) && !claims[0].follows {
			// A merge takes its time, and may be done soon. The page view need not
			// wait for it, and must not be lost with it; the carriers stay.
			v.unsettled, err = true, nil
			agreed = agreement{id: claims[0].id}
		}
		if err != nil {
			if !errors.Is(err, ErrForgotten) && t.ledger.writeBehind != nil && (claims[0].follows || !t.ledger.park(id, change)) {
				t.stats.drop(err)
			}
			return Record{}, "", err
		}
		wait = t.ledger.left(begin)
		leader := claims[agreed.leader]
		id, c.via = agreed.id, leader.via
		c.claim = !leader.link // which says nothing of whether the client keeps tokens
		c.stored = leader.stored
	}
	record, err := t.ledger.record(v.context.Context, id, change, wait)
	if err == nil && c.stored && record.leaked() {
		t.ledger.leak()
		err = ErrForgotten
	}
	v.session.counted = err == nil && c.hit
	return record, c.via, err
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
