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
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Config is what a [Tracker] is made from. The zero value of every field but
// Consent is a good default; a negative duration is an error.
type Config struct {
	// Keys seal the tokens, 32 random bytes or more each: the first signs, all
	// verify. To rotate, append the new key on every node, then move it to the
	// front; remove the old one after Lifetime. Default: a random key that dies
	// with the process, so that a restart recognises nobody (logged once).
	Keys [][]byte

	// Consent says what may be done with the visitor behind a request: see
	// OptIn and OptOut. It is required, there is no default for it. It is called
	// once for each request, by many at a time.
	Consent func(*http.Request) Permission

	// Bot says whether a request is that of a crawler, a previewer of links or another
	// robot. Those get no session and no token; tags that they present are translated.
	// It is called once for each request with any other permission than Deny, by many at a
	// time. Default IsBot.
	Bot func(*http.Request) bool

	// ClientAddr returns the address of the client behind a request; one that is not
	// valid if it is not known. Default: Request.RemoteAddr; for a Fingerprint only
	// where that can be no proxy's (see Visit.ClientAddr). Behind a proxy say whom to
	// believe, with Forwarded. No address is stored.
	ClientAddr func(*http.Request) netip.Addr

	// Strategy is how clients carry the token.
	// Default Hybrid(Cookie{}, ETag{}).
	Strategy Strategy

	// Adopt, if not nil, returns what another library knows the browser behind a request
	// by, "" for nothing: see docs/migrate.md. A browser that comes without a token of
	// ours, on a request that may start a session, is given the one session of that value,
	// and a token; Session.Via is "adopted" then. The value must be checked as the other
	// library checks it, and be one that nobody can guess, as a session's random token: who
	// presents it is recognised. Customer numbers are not. Values of over 4,096 bytes count
	// for nothing. If it returns an error, as when the other library's store is away, the
	// request gets no token, so that the browser is asked again next time. It is called by
	// many at a time.
	Adopt func(*http.Request) (string, error)

	// Store keeps the sessions. Default: a memory store of 100,000 sessions,
	// which is gone with the process; see NewMemoryStore.
	Store Store

	// Lifetime is how long a session lasts, from its birth; a visit does not
	// extend it. Default 395 days, about the 13 months that the CNIL allows a
	// tracker of its audience measurement exemption; at most 400 days, as long
	// as browsers keep a cookie (RFC 6265bis, section 5.5).
	Lifetime time.Duration

	// Retention is how long the store keeps what it knows of a session, from its birth:
	// longer than its tokens recognise anybody, for reports of orders. Default 25 months
	// (761 days), as long as the CNIL allows the data of its audience measurement
	// exemption to be kept; at least Lifetime.
	Retention time.Duration

	// VisitGap is how long a visitor is away until the next hit begins a new
	// visit. Default 30 minutes.
	VisitGap time.Duration

	// FlushEvery, if not 0, has the page views of visits that are under way gather in
	// this process and be saved in batches, at the latest after this time: a request
	// costs no round trip to the store if this process asked it about the session
	// within FlushEvery. So another process learns of a page view, and of a session
	// that was forgotten, up to FlushEvery late, and a process that is killed takes
	// up to FlushEvery of page views with it; Close saves them. New sessions, the
	// page view that begins a visit, touches, values, merges and forgetting are
	// saved at once all the same. It must be less than VisitGap/2. Default 0. It is
	// ignored for a MemoryStore.
	FlushEvery time.Duration

	// StoreTimeout is how long a request waits for the Store. After that the
	// page is served all the same. Default 250 milliseconds.
	StoreTimeout time.Duration

	// OwnHosts are further hosts of the site, their subdomains included, as
	// "example.com": their pages are no referrers. The host of the request is one in
	// any case, and so are the payment providers and logins that are known to
	// referrers.txt, where a visitor comes back from.
	OwnHosts []string

	// BeaconPath is where the site serves Tracker.Beacon, as browsers see it. It
	// begins and ends with a slash. Default "/revisit/".
	BeaconPath string

	// OnHit, if not nil, is told of page views once the Store has them, and of a session
	// that is confirmed without one. That is best effort: it is called by one goroutine, in
	// no particular order of sessions; what comes while 4,096 others wait, or after Close,
	// is dropped and counted in Stats.Dropped["hook"]. It may be told of a page view
	// after OnForget or OnMerge was of its session, and is not told of those of sessions
	// that were never saved.
	OnHit func(ctx context.Context, h Hit)

	// OnMerge, if not nil, is told that the session from was merged into the session
	// into, once the Store has that, so that the application can move what it has hung on
	// from. It is called until it has returned nil: when the merge happens, on the visitor's
	// next request, and by Tracker.TellMerges, in this process or another. So it must be
	// idempotent, and safe for concurrent use. It has ten seconds. Set it in every process
	// that shares the Store: merges by one without it are not told of. A merge that was
	// broken off halfway is finished, and told of, when the visitor comes.
	OnMerge func(ctx context.Context, from, into ID) error

	// OnForget, if not nil, is told that a session is about to be forgotten, by
	// whichever way: Tracker.Forget, a Deny, the beacon's form. It is called for the
	// session and for each that was merged into it, so that the application can erase
	// what it has hung on the ID. If it returns an error, the session is not forgotten,
	// and whoever wanted that tries again. So it must be idempotent, and safe for
	// concurrent use. It has ten seconds, and a request under Deny waits no longer than
	// StoreTimeout for it, but with a MemoryStore. A session lists the latest 64 that were
	// merged into it: what hangs on older ones is for OnMerge to move.
	OnForget func(ctx context.Context, id ID) error

	// Logger takes the few messages there are. None has anything of a request in
	// it, save the IDs of sessions that are forgotten. Default slog.Default().
	Logger *slog.Logger
}

const (
	defaultLifetime     = 395 * 24 * time.Hour
	maxLifetime         = 400 * 24 * time.Hour
	defaultRetention    = 761 * 24 * time.Hour
	defaultVisitGap     = 30 * time.Minute
	defaultStoreTimeout = 250 * time.Millisecond

	maxStrategies = 32 // Visit.offers has a bit for each
)

// A Tracker recognises returning browsers for the handlers that it wraps. It is
// safe for concurrent use.
type Tracker struct {
	consent  func(*http.Request) Permission
	bot      func(*http.Request) bool
	adopt    func(*http.Request) (string, error)
	strategy Strategy
	names    []string // of its leaves, in the order of trust
	keys     *keyring
	lifetime time.Duration
	ledger   *ledger
	stats    *counters
	logger   *slog.Logger
	close    func() error

	clientAddr func(*http.Request) netip.Addr // nil for Request.RemoteAddr

	ownHosts   []string
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

		clientAddr: c.ClientAddr,
		ownHosts:   slices.Clone(c.OwnHosts),
		beaconPath: c.BeaconPath,
	}
	t.close = sync.OnceValue(func() error {
		t.ledger.idle(t.ledger.timeout)
		if t.ledger.gather != nil {
			t.ledger.gather.close(flushLimit * t.ledger.timeout)
		}
		t.ledger.hooks.close(t.ledger.timeout)
		t.ledger.closeSalts()
		return closeStore()
	})
	t.names = t.stats.names[:len(strategies)]
	t.ledger = &ledger{
		store: c.Store, lifetime: c.Lifetime, retention: c.Retention, visitGap: c.VisitGap, timeout: c.StoreTimeout,
		logger: c.Logger, stats: t.stats, turns: newTurns(),
	}
	t.ledger.hooks.onHit, t.ledger.hooks.onMerge, t.ledger.hooks.onForget = c.OnHit, c.OnMerge, c.OnForget
	t.ledger.hooks.start(t.ledger)
	t.ledger.memory, _ = c.Store.(*MemoryStore)
	if c.FlushEvery > 0 && t.ledger.memory == nil {
		t.ledger.gather = newGatherer(t.ledger, c.FlushEvery)
	}
	return t, nil
}

func (c *Config) check() error {
	errs := []error{checkKeys(c.Keys)}
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf("revisit: "+format, args...)) }
	if c.Consent == nil {
		fault("Config.Consent is missing: say who may be recognised, with OptIn, OptOut or a function of your own")
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"Lifetime", c.Lifetime}, {"Retention", c.Retention}, {"VisitGap", c.VisitGap}, {"FlushEvery", c.FlushEvery}, {"StoreTimeout", c.StoreTimeout}} {
		if d.value < 0 || d.value > 0 && d.value < time.Millisecond {
			fault("Config.%s is %v, want 0, or a millisecond and more: a duration has a unit", d.name, d.value)
		}
	}
	if gap := cmp.Or(c.VisitGap, defaultVisitGap); c.FlushEvery > 0 && c.FlushEvery >= gap/2 {
		fault("Config.FlushEvery is %v, want less than half of VisitGap, %v", c.FlushEvery, gap/2)
	}
	if retention, lifetime := cmp.Or(c.Retention, defaultRetention), cmp.Or(c.Lifetime, defaultLifetime); retention < lifetime && c.Retention >= 0 {
		fault("Config.Retention is %v, want Lifetime, %v, or more", retention, lifetime)
	}
	if c.Lifetime > maxLifetime {
		fault("Config.Lifetime is %v, want %v or less", c.Lifetime, maxLifetime)
	}
	if p := c.BeaconPath; p != "" && (p[0] != '/' || p[len(p)-1] != '/' || strings.Contains(p, "//") || (&url.URL{Path: p}).String() != p) {
		fault("Config.BeaconPath is %q, want a path like %q", p, defaultBeaconPath)
	}
	if h, ok := c.Strategy.(hybrid); ok {
		errs = append(errs, h.check())
	}
	for _, host := range c.OwnHosts {
		if host == "" || host != strings.ToLower(host) || strings.ContainsAny(host, "/:*@ ") || host[0] == '.' {
			fault("Config.OwnHosts has %q, want a host name in small letters, without port", host)
		}
	}
	strategies := leaves(c.Strategy)
	if len(strategies) == 0 {
		fault("Config.Strategy is a Hybrid of nothing")
	}
	if len(strategies) > maxStrategies {
		fault("Config.Strategy has %d strategies, want %d or less", len(strategies), maxStrategies)
	}
	seen := make(map[string]bool)
	for _, s := range strategies {
		if s == nil {
			fault("Config.Strategy holds a nil Strategy")
			continue
		}
		if name := s.Via(); name == "" || name == viaNew || name == viaRedirect || name == viaLink || name == viaForm || name == viaAdopted || seen[name] {
			fault("Config.Strategy: the name %q is empty, reserved or there twice", name)
		}
		seen[s.Via()] = true
		if checker, ok := s.(interface{ check() error }); ok {
			errs = append(errs, checker.check())
		}
	}
	return errors.Join(errs...)
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
	t.settle(v)            // which session is that?

	peeked := v.inner.Body
	v.inner = *r.WithContext(&v.context)
	if peeked != nil {
		v.inner.Body = peeked
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

// classify reads the Fetch Metadata of the request. Clients without it (not
// browsers, or a plain-http host other than localhost) are told by Accept.
func (v *Visit) classify() {
	h := v.request.Header
	mode, dest := headerValue(h, "Sec-Fetch-Mode"), headerValue(h, "Sec-Fetch-Dest")
	if site := headerValue(h, "Sec-Fetch-Site"); mode == "" && dest == "" && site == "" {
		v.mayMint = v.request.Method == http.MethodGet && !wantsAsset(h["Accept"])
		v.hit = v.mayMint
		// What begins with it is what browsers send for a page, and nothing else is.
		v.navigation = v.mayMint && strings.HasPrefix(headerValue(h, "Accept"), "text/html")
	} else {
		page := mode == "navigate" && (dest == "document" || dest == "")
		v.foreign = site == "cross-site" && !page
		v.navigation = mode == "navigate" && !v.foreign
		v.hit = page
		v.mayMint = v.navigation || (dest == "empty" || dest == "") && mode != "websocket" && !v.foreign
		// The way back from a payment page can be a POST from another site, which
		// comes without SameSite=Lax cookies. That there is none means nothing, and
		// a new one would take the place of the visitor's.
		if site == "cross-site" && v.request.Method != http.MethodGet {
			v.mayMint = false
		}
	}
	if isPrefetch(h) {
		v.hit, v.mayMint = false, false
	}
	switch v.kind {
	case kindPage:
		v.linkable = v.mayMint && v.request.Method == http.MethodGet && v.tracker.beaconOn.Load()
	case kindAnchor:
		v.classifyAnchor()
	case kindForget:
		v.permission = Deny // in so many words
	}
}

// isPrefetch reports whether the browser fetches what nobody has asked for yet.
// Firefox once sent X-Moz, older Chromes Purpose.
func isPrefetch(h http.Header) bool {
	if _, ok := h["Sec-Purpose"]; ok {
		return true
	}
	return headerValue(h, "Purpose") == "prefetch" || headerValue(h, "X-Moz") == "prefetch"
}

// wantsAsset reports whether Accept asks for images, styles, fonts or media
// only. Browsers put */* at the end of such a list, which says nothing.
func wantsAsset(lines []string) bool {
	asset := false
	for _, line := range lines {
		for line != "" {
			var item string
			item, line, _ = strings.Cut(line, ",")
			kind, _, _ := strings.Cut(item, ";")
			switch kind = strings.ToLower(strings.TrimSpace(kind)); {
			case kind == "", kind == "*/*":
			case kind == "text/css",
				strings.HasPrefix(kind, "image/"), strings.HasPrefix(kind, "font/"),
				strings.HasPrefix(kind, "audio/"), strings.HasPrefix(kind, "video/"):
				asset = true
			default:
				return false
			}
		}
	}
	return asset
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
		change[0].touch, change[0].reload = v.touch(), v.reloads()
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
			if t.ledger.gather == nil {
				t.stats.drop(err)
			}
			t.stats.unverified.Add(1)
			t.stats.recognised(claims[0].via)
			v.open(claims[0].id, claims[0].via, &Record{ID: claims[0].id})
			v.session.Unverified = true
			return
		}
	}
	strong := v.mayMint && v.offers != 0
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
	if c.follows || v.landing || !t.ledger.goOn(&v.session.slot, c, v.now, v.hit, v.isCampaign) {
		return false
	}
	t.stats.recognised(c.via)
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
			if t.ledger.gather == nil {
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

// claims returns the sessions that the request speaks for, the one of the most
// trusted strategy first.
func (v *Visit) claims(claims []claim) []claim {
	for i, name := range v.tracker.names {
		c := v.ranked(i)
		if c == nil || c.id.IsZero() || c.ambiguous {
			continue
		}
		claims = withClaim(claims, claim{id: c.id, via: name, follows: i > 0, stored: c.stored})
	}
	if v.told != nil {
		for _, t := range v.told.links {
			claims = withClaim(claims, claim{id: t.id, via: viaLink, follows: true, link: true, joins: int(t.joins)})
		}
	}
	// A form speaks where nothing else does.
	if len(claims) == 0 || v.kind == kindForget {
		if form, ok := v.formTicket(); ok && (form.joins == 0 || v.permission == Deny) {
			claims = withClaim(claims, claim{id: form.id, via: viaForm})
		}
	}
	return claims
}

func withClaim(claims []claim, c claim) []claim {
	for _, have := range claims {
		if have.id == c.id && have.joins == c.joins {
			return claims
		}
	}
	return append(claims, c)
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
			if !errors.Is(err, ErrForgotten) && t.ledger.gather != nil && (claims[0].follows || !t.ledger.park(id, change)) {
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
		t.ledger.leak(record.ID)
		err = ErrForgotten
	}
	return record, c.via, err
}

// open gives the handler a session. Without a record it is that of the slot.
func (v *Visit) open(id ID, via string, record *Record) {
	s := &v.session
	s.tracker, s.ID, s.Via, s.record, s.saved = v.tracker, id, via, record, true
	if via == viaForm || v.weak || via == viaNew && v.like != nil ||
		len(v.carriers) > 0 && v.request.Method != http.MethodGet && v.request.Method != http.MethodHead {
		v.Hook() // a form may be shown, or forget; and what the client looks like is to be remembered
	}
	if v.hooked {
		return
	}
	for i, name := range v.tracker.names {
		if (v.offers&(1<<i) != 0 || v.Carried(name)) && v.Due(name) {
			v.hooked = true
		}
	}
}

// wantStart has the page that begins a session come whole, if a carrier is to be given
// out that does not ride on a 304: or the session, and the campaign that it began with,
// would be lost with a page that the browser had stored before it was asked. A tag
// alone waits for the next 200.
func (v *Visit) wantStart() {
	if !v.navigation || v.session.saveFail != nil {
		return
	}
	for i, name := range v.tracker.names {
		if name != (ETag{}).Via() && v.offers&(1<<i) != 0 && v.Due(name) {
			v.wantWhole()
			return
		}
	}
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

// forgetLimit is how many times StoreTimeout it may take to forget a session,
// which is a few writes for each session that was merged into it. A request does
// not wait that long.
const forgetLimit = 20

// deny forgets the sessions of the valid tokens, and reports whether it could.
func (t *Tracker) deny(v *Visit) bool {
	done := true
	var room [2]claim
	begin := time.Now()
	for _, c := range v.claims(room[:0]) {
		v.spoke = true
		id := c.id
		if err := t.forgetClaim(v.context.Context, c, t.ledger.left(begin)); err != nil {
			done = false
			t.stats.drop(err)
			if times, ok := t.stats.denials.now(); ok {
				t.logger.Error("revisit: a session whose visitor said no could not be forgotten yet", "session", id, "error", err, "times", times)
			}
		}
	}
	if err := t.denyAdopted(v); err != nil {
		done = false
		t.stats.drop(err)
	}
	return done
}

// clear has the carriers taken away from the client.
func (v *Visit) clear() {
	v.clearing.Store(true)
	v.hooked = true
	v.replaceStored()
	if len(v.carriers) > 0 {
		v.wantWhole() // nothing is cleared on a 304
	}
}

// stored takes note that the carrier of a purpose sits in the response that the
// client has stored for this URL, where only a 200 replaces it.
func (v *Visit) stored(purpose string) {
	if c := v.carrier(purpose); c != nil {
		c.stored = true
	}
}

// replaceStored makes the handler answer 200, if the client's stored response
// has a carrier that is to go or to be another one. A 304 leaves it as it is
// (measured in Chromium, Firefox and WebKit).
func (v *Visit) replaceStored() {
	if v.unsettled && !v.clearing.Load() {
		return
	}
	for i := range v.carriers {
		c := &v.carriers[i]
		if !c.stored || c.ambiguous || !v.clearing.Load() && c.id == v.session.ID && !c.old {
			continue
		}
		v.wantWhole()
		return
	}
}

// wantWhole makes the handler answer 200 where it would answer 304. Requests that do
// not end as a plain 200 anyway are left alone.
func (v *Visit) wantWhole() {
	if !v.seedable() || hasStar(v.request.Header["If-None-Match"]) {
		return
	}
	v.resent = true
	for _, name := range [...]string{"If-None-Match", "If-Modified-Since"} {
		if _, ok := v.request.Header[name]; ok {
			delete(v.Header(), name)
		}
	}
}

func hasStar(lines []string) bool {
	for _, line := range lines {
		for line != "" {
			var member string
			if member, line = cutMember(line); member == "*" {
				return true
			}
		}
	}
	return false
}

// giveBack puts on the request of the server what handlers put on theirs, so
// that middleware further out finds the pattern, and the server the temporary
// files of a form.
func (v *Visit) giveBack(r *http.Request) {
	in := &v.inner
	r.Form, r.PostForm, r.MultipartForm = in.Form, in.PostForm, in.MultipartForm
	if in.Pattern == r.Pattern {
		return
	}
	r.Pattern = in.Pattern
	for rest := in.Pattern; ; {
		_, after, ok := strings.Cut(rest, "{")
		if !ok {
			return
		}
		var name string
		name, rest, _ = strings.Cut(after, "}")
		name, _, _ = strings.Cut(name, ":") // a router's with regular expressions
		if name = strings.TrimSuffix(name, "..."); name != "$" {
			r.SetPathValue(name, in.PathValue(name))
		}
	}
}

// Forget removes all that is stored about the session of id and about those
// that were merged into it. A tombstone stays in its place for 400 days, longer
// than any token lasts, so that none of them brings the session back; each ID is
// logged, so that the log can be replayed over a restored backup.
//
// Called in a handler for its own session, it also has the client's carriers
// cleared: the cookie with this response, if its header is looked at (always under ETag,
// for a form that is sent, and where a carrier was about to be written), else with the
// next one; a tag with the next page of its URL. The
// Session that the handler has goes on showing what was; its Set returns
// ErrForgotten. One that the request only looks like is not forgotten: ErrGuess. If
// consent stays, the next page begins a new session.
//
// A session that is not there gets a tombstone, too: its token may be around. It returns
// ErrNotFound for an ID that no session can have, as the zero one. Record.Likely of other
// sessions may still name the ID, without anything that it leads to.
//
// An error means that the session may still be there: try again. Forget gives up after
// twenty times Config.StoreTimeout, and returns when ctx ends; what it has begun goes on.
func (t *Tracker) Forget(ctx context.Context, id ID) error {
	v := t.visit(ctx)
	if v == nil || v.session.tracker == nil || v.session.ID != id {
		v = nil
	}
	if v != nil && v.session.guess {
		return fmt.Errorf("revisit: forget %v: %w", id, ErrGuess)
	}
	if id.derived() || id.IsZero() { // no session, and what is kept there is not to go
		return fmt.Errorf("revisit: forget %v: %w", id, ErrNotFound)
	}
	if _, err := patiently(t.ledger, ctx, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, t.forgetWithin(ctx, claim{id: id})
	}); err != nil {
		return fmt.Errorf("revisit: forget %v: %w", id, err)
	}
	if v != nil {
		v.clearing.Store(true)
	}
	return nil
}

// forgetClaim is Forget for a request, which does not wait that long.
func (t *Tracker) forgetClaim(ctx context.Context, c claim, wait time.Duration) error {
	_, err := withinFor(t.ledger, ctx, wait, forgetLimit*t.ledger.timeout, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, t.forgetWithin(ctx, c)
	})
	return err
}

func (t *Tracker) forgetWithin(ctx context.Context, c claim) error {
	if c.follows {
		// Whoever has been handed a leaked tag has no say over its session.
		if own, err := t.ledger.load(ctx, c.id); err == nil && own.leaked() {
			return nil
		}
	}
	if c.via != "" {
		// Whoever comes after a logout has no say over the session before.
		if r, err := t.ledger.root(ctx, c.id); err == nil && r.Joins == renewed {
			return nil
		}
	}
	fresh, err := t.ledger.forget(ctx, c.id)
	if fresh {
		t.stats.forgotten.Add(1)
	}
	return err
}

// Stats returns what was counted so far.
func (t *Tracker) Stats() Stats { return t.stats.snapshot() }

// Close waits until what is under way in the Store has ended, for Config.StoreTimeout at
// most, saves what has gathered, for twenty times that at most, and tells OnHit of what
// waits, for StoreTimeout at most. It closes the Store if New has made it. Requests that
// come afterwards are served as if the store were down (but for a memory store, which
// cannot be).
func (t *Tracker) Close() error { return t.close() }
