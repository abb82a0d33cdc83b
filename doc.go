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
// When the program ends, call [Tracker.Close] after [http.Server.Shutdown]: it saves the page
// views that wait. A deferred Close before log.Fatal(server.ListenAndServe()) never
// runs, so wait for the signal:
//
//	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
//	defer stop()
//	go func() {
//		log.Print(server.ListenAndServe())
//		stop()
//	}()
//	<-ctx.Done()
//	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
//	defer cancel()
//	server.Shutdown(ctx) // waits for the requests that are under way
//	tracker.Close()
//
// A handler must do without a session, too: there is none for a visitor who was
// not asked or said no, nor for requests that nobody could be recognised by.
//
// # Words
//
// A token is a session's ID with a MAC. A carrier is the cookie or the entity tag that
// holds one, and a claim is a valid token that a request has presented. The anchor is the
// pixel of the beacon, one URL that all pages share; a link is a ticket of a few minutes
// by which a page's session is joined to the anchor's. A session without a token, found by
// what a request looks like, is a guess.
//
// # What it is not
//
// A recognition is not a login. Any script of the page can read a tag and replay
// it, and a shared browser is one visitor whoever sits in front of it. Show what
// a session says of a person to somebody who has logged in.
//
// It is not a way around consent. An ETag that recognises a browser falls under
// the same rule as a cookie: see [Permission] and docs/privacy.md. That is why
// [Config].Consent is required, why a visitor is forgotten under [Deny], and why a
// cookie that was deleted is not made again from a tag without [Restore]. With
// [OptIn] a no is for you to pass on: call [Tracker.Forget].
//
// It does not see people across browsers, devices or sites.
//
// # Strategies
//
// A [Strategy] is a way for the client to carry the token.
//
// [Cookie] recognises a browser on every URL of the host, until the visitor
// deletes cookies. Where cookies are blocked it recognises nobody, and leaves
// nothing that counts.
//
// [ETag] recognises a browser on a URL that it has stored. It needs no cookie
// and survives their deletion; it fails after a hard reload, a cleared cache and
// on URLs that were not seen before, and where a proxy in front takes
// If-None-Match away (nginx with proxy_cache and Varnish do, unless told not to).
// Caching stays right: the handler sees the tags that it has given itself, and
// handlers without tags get 304s that they did not have before.
//
// [Hybrid] looks at several, and brings all of a browser's carriers to one
// session.
//
// [Fingerprint] guesses by what a request looks like, where no token came. It shares
// sessions in offices, and loses who changes the network: see docs/fingerprint.md
// before you use it. What it finds is written into no carrier.
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
// A POST carries no tag; [Field] gives a form what says whose it is. See
// docs/beacon.md.
//
// Measured, event by event, in Chromium and Firefox: docs/recognition.md.
//
// # Which responses carry a token
//
// Only those that a shared cache will not keep: with an unqualified private in
// Cache-Control, or none of Cache-Control, Expires and Pragma at all (then
// "private, no-cache" is added), or a bare no-cache, max-age=0, must-revalidate
// or no-store (then private is added; no tag rides on no-store). Everything else
// goes out as the handler has made it, and so does a response with
// CDN-Cache-Control or its kin: an asset that is public stays so.
//
// No token is added to a 304, a 206 or the answer to a HEAD, because a shared cache may
// put their header into a page that it has stored; only the tag that the client has sent
// is repeated there. (The 304 of a page that was hashed here may have a cookie beside it.)
// So a page that begins a session is sent as a whole, also where the browser has it.
//
// Under [ETag] a URL is either personal or shared, for everybody. A page whose answer
// could carry a tag is private also for visitors who were not asked, for robots and for
// errors and redirects; nothing else of such an answer changes. What the handler marks as
// shared carries no tag for anybody. Styles, scripts, images, fonts and media are left
// alone. Data that scripts fetch is private as pages are, and carries a tag only where nothing
// else can carry the token.
//
// A middleware that makes responses public must stand inside of the Tracker's Handler.
//
// # Sessions
//
// A session is started by a request of a kind that may be a visitor's first: a
// navigation, a fetch by a page of this host, or a GET without Fetch Metadata that does not ask for
// images or styles; and only if a strategy could carry its token on the answer:
// a cookie rides on that of any navigation, else cookie and tag ride on a GET
// without Range that is answered with a 200. It is kept for a day, and is a visitor only
// when its token comes back; bots and blocked cookies leave nothing else. A visitor of one
// page who gives no second signal (a part of the page, the beacon) is recognised after
// that day, too, but has lost the touch that brought him. A session ends with
// [Config].Lifetime, counted from its birth.
//
// A hit is a page view: a navigation that is no prefetch, also one that a service worker
// hands on. Without Fetch Metadata it is a GET that asks for a page, or says nothing of
// what it wants; one that asks for JSON is none. A visit ends with [Config].VisitGap
// without a hit, or where a campaign begins the next. A [Touch] is what led the
// visitor here: a landing page with a campaign (utm_*), a click identifier
// (gclid and its like) or a referrer on another host.
//
// Two sessions that turn out to be one browser are merged: the older one takes
// the younger one's counts, touches and values, and the younger one becomes an
// alias.
//
// # Visitors of another library
//
// A site that has recognised its visitors before keeps them with [Config].Adopt: see
// docs/migrate.md.
//
// # Proxies and robots
//
// Behind a proxy [Config].ClientAddr says whose address counts, with [Forwarded]:
// for fingerprints, and for the tickets of Tag and Field. Robots get no session and no
// token: [Config].Bot, by default [IsBot].
//
// # Writing a Store
//
// A [Store] has two methods, Load and a compare-and-swap Save, and knows nothing
// of sessions: see the example of Store. Package storetest checks it, and puts
// faults in front of it. The page is never the victim of the store: after
// [Config].StoreTimeout it is served, and the visitor is known from the token
// alone (Session.Unverified).
//
// [MemoryStore] is the default. It forgets everything with the process, those
// who asked to be forgotten included. The modules sqlitestore, pgstore and
// redisstore keep sessions in SQLite, PostgreSQL and Redis: see docs/stores.md.
//
// # Writing a Strategy
//
// Identify presents what the client carries, and offers to carry a new token
// ([Visit.Offer]: without an offer no session is started). Attach writes a
// carrier if one is due ([Visit.Due]), with a token from [Visit.Seal], which
// applies the rule above. Clear takes away what was carried ([Visit.Carried]).
// See the example of Strategy: it fits on a page. A strategy for clients that carry
// nothing calls [Visit.Match] instead, and Attach and Clear have nothing to do.
//
// # Errors
//
// Bad input from a client is no error: a token that is forged, damaged, expired
// or meant for another purpose is no token, and counted in [Stats]. Errors of
// the store are counted, and logged once a minute at most.
package revisit
