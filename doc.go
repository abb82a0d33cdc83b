// Package revisit recognises a returning browser, so that a backend knows which
// visits, campaigns and orders belong to one visitor.
//
// The visitor's session token travels in a cookie, in the ETag of the pages
// themselves (it comes back in If-None-Match), or in both. Wrap a handler, and
// it finds the session in the context of the request:
//
//	tracker, err := revisit.New(revisit.Config{
//		Keys:    [][]byte{key},                   // 32 random bytes or more
//		Consent: revisit.OptIn("consent", "yes"), // who may be recognised
//	})
//	if err != nil {
//		log.Fatal(err) // every fault of the Config
//	}
//	mux.Handle("/", tracker.Handler(shop))
//
//	func checkout(w http.ResponseWriter, r *http.Request) {
//		if s, ok := revisit.FromContext(r.Context()); ok {
//			order.Visitor, order.Campaign = s.ID.String(), s.First().Campaign
//			err := s.Set(r.Context(), "lead", customer.ID)
//			...
//		}
//	}
//
// A handler must work without a session, too: there is none for a visitor who was
// not asked or said no, nor for requests that carry nothing to recognise.
//
// When the program ends, call [Tracker.Close] after [http.Server.Shutdown]: it saves the
// pending page views. A deferred Close before log.Fatal(server.ListenAndServe()) never
// runs, so wait for the signal, with [signal.NotifyContext]: see docs/start.md.
//
// # Words
//
// A session is what is known of one browser, under an ID. A visit is a series of hits, and a
// hit is a page view. A touch is what led the visitor here. A carrier is the cookie or the
// HTTP entity tag (in short, a tag) that holds a token, and a claim is a valid token that a request has presented.
// The anchor is the pixel of the beacon, one URL that all pages share. A link is a token of
// a few minutes that joins a page's session to the anchor's. A guess is a session that was
// found by a fingerprint, without a token. A tombstone is what stays of a session that was
// forgotten, and an alias what stays of one that was merged into an older one.
//
// # What it is not
//
// Recognition is not a login. Any script of the page can read a tag and replay
// it, and a shared browser is one visitor, whoever uses it. Show personal data only to
// somebody who has logged in.
//
// It is not a way around consent. An ETag that recognises a browser falls under
// the same rule as a cookie: see [Permission] and docs/privacy.md. That is why
// [Config].Consent is required, why a visitor is forgotten under [Deny], and why a
// cookie that was deleted is not rebuilt from a tag without [Restore]. [OptIn] does not learn
// of a no: call [Tracker.Forget] where your banner takes it.
//
// It does not recognise people across browsers, devices or sites.
//
// # Strategies
//
// A [Strategy] is a way for the client to carry the token.
//
// [Cookie] recognises a browser on every URL of the host, until the visitor
// deletes cookies. Where cookies are blocked it recognises nobody.
//
// [ETag] recognises a browser on URLs that it has stored. It needs no cookie
// and survives their deletion. It fails after a hard reload, a cleared cache and
// on URLs that are new to the browser, and behind a proxy that removes
// If-None-Match (nginx with proxy_cache and Varnish do, unless configured otherwise).
// Caching stays correct: the handler sees only its own tags, and
// handlers without tags get 304s that they did not have before.
//
// [Hybrid] uses several, and brings all carriers of a browser to one session.
//
// [Fingerprint] matches requests that look alike, where no token came. That is a guess:
// offices share a session, and a visitor who changes the network loses theirs. Read
// docs/fingerprint.md before you use it. A guess is never written into a carrier.
//
// # Many pages, one visitor
//
// A tag belongs to one URL, so under ETag alone each page would be a visitor of
// its own. [Tracker.Beacon] serves an anchor that all pages share, and [Tag] in
// a page joins the page's session to the anchor's. It takes one line in the mux
// and one in the pages:
//
//	tracker.Mount(mux)
//	page.Tag = revisit.Tag(r.Context())
//
// A POST carries no tag; [Field] adds a form token that says whose it is. See
// docs/beacon.md, and docs/recognition.md for what was measured in Chromium and Firefox.
//
// # Which responses carry a token
//
// Only those that a shared cache will not keep: with an unqualified private in
// Cache-Control, or without Cache-Control, Expires and Pragma (then
// "private, no-cache" is added), or with a bare no-cache, max-age=0, must-revalidate
// or no-store (then private is added; no tag rides on no-store). All other responses
// are sent unchanged, and so is a response with CDN-Cache-Control or the like.
//
// No token is added to a 304, a 206 or the answer to a HEAD, because a shared cache may
// put their header into a page that it has stored. Only the tag that the client has sent
// is repeated there. (The 304 of a page that was hashed here may have a cookie beside it.)
// So a page that begins a session is sent as a whole, even if the browser has it.
//
// Under [ETag] a URL is either personal or shared, for everybody. A page whose answer
// could carry a tag is private also for visitors who were not asked, for robots and for
// errors and redirects; nothing else of such an answer changes. A response that the handler
// marks as shared carries no tag for anybody. Styles, scripts, images, fonts and media are left
// alone. Data that scripts fetch is private as pages are, and carries a tag only where nothing
// else can carry the token.
//
// Middleware that makes responses public must stand inside the Tracker's Handler.
//
// # Sessions
//
// A session is started by a request that may be a visitor's first: a
// navigation, a fetch by a page of this host, or a GET without Fetch Metadata that does not
// ask for images or styles; and only if a strategy could carry its token on the answer.
// A cookie rides on the answer to any navigation, otherwise cookie and tag ride on a GET
// without Range that is answered with a 200. The session is kept for a day, and counts as a
// visitor once its token comes back; bots and blocked cookies leave nothing else. A visitor of
// one page without a second signal (a part of the page, the beacon) is recognised after
// that day, too, but the touch is lost. A session ends with
// [Config].Lifetime, counted from its birth.
//
// A hit is a navigation that is no prefetch, also one that a service worker
// hands on. Without Fetch Metadata it is a GET that asks for a page, or does not say what it
// asks for. A visit ends with [Config].VisitGap without a hit, or where a campaign begins the
// next. A [Touch] is a landing page with a campaign (utm_*), a click identifier
// (gclid and the like) or a referrer on another host.
//
// If two sessions turn out to be one browser, they are merged: the older one takes
// the younger one's counts, touches and values, and the younger one becomes an
// alias. Visitors that another library has recognised are kept with [Config].Adopt: see
// docs/migrate.md. Behind a proxy [Config].ClientAddr says whose address counts, with
// [Forwarded]. Robots get no session: [Config].Bot, by default [IsBot].
//
// # Writing a Store or a Strategy
//
// A [Store] has two methods, Load and a compare-and-swap Save, and knows nothing
// of sessions: see package store, and the example. Package storetest checks it, and injects
// faults. If the store fails, the page is still served: after [Config].StoreTimeout the visitor
// is known from the token alone (Session.Unverified). [MemoryStore] is the default. It loses
// everything with the process, tombstones included. The modules sqlitestore, pgstore and
// redisstore keep sessions in SQLite, PostgreSQL and Redis: see docs/stores.md.
//
// A Strategy presents what the client carries (Identify), and offers to carry a new token
// ([Visit.Offer]: without an offer no session is started). Attach writes a
// carrier if one is due ([Visit.Due]), with a token from [Visit.Seal], which
// applies the rule above. Clear removes what was carried ([Visit.Carried]).
// See the example of Strategy. A strategy for clients that keep
// nothing calls [Visit.Match], and its Attach and Clear do nothing.
//
// # Errors
//
// Bad input from a client is no error: a token that is forged, damaged, expired
// or made for another purpose is ignored, and counted in [Stats]. Errors of
// the store are counted, and logged once a minute at most.
package revisit
