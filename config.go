package revisit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/revisit-go/revisit/internal/token"
	"github.com/revisit-go/revisit/internal/touch"
	"github.com/revisit-go/revisit/store"
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
	// once for each request, and once more where a visitor is forgotten, to
	// learn which cookie OptIn has the consent from. It must be safe for concurrent use.
	Consent func(*http.Request) Permission

	// ClearUnasked has the carriers of a visitor under Unasked cleared, by a navigation
	// within the site or a typed one. Default: they stay, unread, since a consent that has
	// expired may be given again, and the visitor is recognised then. A withdrawal is to be
	// reported by Deny or Tracker.Forget in any case: docs/decisions/13-expired-consent.md.
	ClearUnasked bool

	// Bot says whether a request is that of a crawler, a previewer of links or another
	// robot. Those get no session and no token; tags that they present are translated.
	// It is called once for each request with any other permission than Deny, and must be safe
	// for concurrent use. Default IsBot.
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
	// request gets no token, so that the browser is asked again next time. It must
	// be safe for concurrent use.
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

	// FlushEvery, if not 0, has this process buffer the page views of visits under way, and save
	// them in batches, after this time at the latest: a request costs no round trip to the store
	// if the process has asked it about the session within FlushEvery. Another process sees a
	// page view, and a forgotten session, up to FlushEvery late, and a process that is killed
	// loses up to FlushEvery of page views; Close saves them. New sessions, the
	// page view that begins a visit, touches, values, merges and forgetting are
	// still saved at once. It must be less than VisitGap/2. Default 0. It is
	// ignored for a MemoryStore.
	FlushEvery time.Duration

	// StoreTimeout is how long a request waits for the Store. After that the
	// page is served all the same. Default 250 milliseconds.
	StoreTimeout time.Duration

	// OwnHosts are further hosts of the site, their subdomains included, as
	// "example.com": their pages are no referrers. The host of the request is one in
	// any case, on whichever port, with and without www., and so are the payment providers and logins that are known to
	// referrers.txt, where a visitor comes back from.
	OwnHosts []string

	// ClickIDs are further query parameters by which advertising platforms and affiliate
	// networks mark a click, as "tduid", in the order in which you want them in Touch.Click,
	// behind those that are known: see docs/orders.md. Names are matched in letters of any
	// case. Those that name a person, as Mailchimp's mc_eid does, are an error.
	ClickIDs []string

	// BeaconPath is where the site serves Tracker.Beacon, as browsers see it. It
	// begins and ends with a slash. Default "/revisit/".
	BeaconPath string

	// OnHit, if not nil, is called for page views once the Store has them, and for a session
	// that is confirmed without one. It is best effort: one goroutine calls it, in
	// no particular order of sessions. What comes while 4,096 others wait, or after Close,
	// is dropped and counted in Stats.Dropped["hook"]. A page view can come after
	// OnForget or OnMerge of its session. Sessions that were never saved have none.
	OnHit func(ctx context.Context, h Hit)

	// OnMerge, if not nil, is called once the Store has merged the session from into the session
	// into, so that the application can move what refers to from. It is called until it returns
	// nil: when the merge happens, on the visitor's next request, and by Tracker.NotifyMerges,
	// in this process or another. So it must be idempotent, and safe for concurrent use. It has
	// ten seconds. Set it in every process that shares the Store: merges by a process without it
	// cause no notification. An interrupted merge is finished, and notified, when the visitor
	// comes back.
	OnMerge func(ctx context.Context, from, into ID) error

	// OnForget, if not nil, is called before a session is forgotten, whichever way:
	// Tracker.Forget, a Deny, the beacon's form. It is called for the
	// session and for each that was merged into it, so that the application can erase
	// what refers to the ID. If it returns an error, the session is not forgotten, and the next
	// attempt calls it again. So it must be idempotent, and safe for
	// concurrent use. It has ten seconds; a request under Deny waits
	// StoreTimeout for it at most, except with a MemoryStore.
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

func (c *Config) check() error {
	errs := []error{token.CheckKeys(c.Keys)}
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf("revisit: "+format, args...)) }
	if c.Consent == nil {
		fault("Config.Consent is missing (OptIn and OptOut return nil for a name or a value that no cookie can have): say who may be recognised, with OptIn, OptOut or a function of your own")
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
	if p := c.BeaconPath; p == "/" {
		fault("Config.BeaconPath is %q, and all that lies below it is the beacon's, which would be everything: want a path like %q", p, defaultBeaconPath)
	} else if p != "" && (p[0] != '/' || p[len(p)-1] != '/' || path.Clean(p)+"/" != p || (&url.URL{Path: p}).String() != p) {
		fault("Config.BeaconPath is %q, want a path like %q", p, defaultBeaconPath)
	}
	if h, ok := c.Strategy.(hybrid); ok {
		errs = append(errs, h.check())
	}
	for _, host := range c.OwnHosts {
		if host == "" || host != strings.ToLower(host) || strings.ContainsAny(host, "/:*@ ") || host[0] == '.' || host[len(host)-1] == '.' {
			fault("Config.OwnHosts has %q, want a host name in small letters, without port", host)
		}
	}
	for _, name := range c.ClickIDs {
		if wrong := touch.CheckClickID(name); wrong != "" {
			fault("Config.ClickIDs has %q, %s", name, wrong)
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
		if name := s.Via(); name == "" || name == store.ViaNew || name == store.ViaRedirect || name == viaLink || name == viaForm || name == viaAdopted || name == store.ViaMerged || name == store.ViaDenied || seen[name] {
			fault("Config.Strategy: the name %q is empty, reserved or there twice", name)
		}
		seen[s.Via()] = true
		if checker, ok := s.(interface{ check() error }); ok {
			errs = append(errs, checker.check())
		}
	}
	return errors.Join(errs...)
}
