// Mutants [part of a rule's name] takes the rules of the library out, one at a time, and sees the tests
// fail: a test that cannot fail is worth nothing. The source stays as it is; go
// test gets the changed file by -overlay.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

type mutant struct {
	rule     string // what is taken out
	file     string
	from, to string
	tests    string // of which one must fail at least
}

var mutants = []mutant{
	// 1. No response that a shared cache may keep carries anyone's token.
	{"1: public is no carrier", "carrier.go", "case \"public\", \"s-maxage\":\n\t\t\t\treturn caching{}", "case \"public\", \"s-maxage\":", "CarrierRule|Differential"},
	{"1: headers for CDNs are heeded", "carrier.go", "if speaksToCaches(name) {", "if false {", "CarrierRule"},
	{"1: a 304 obeys the rule, too", "etag.go", "c.noStore || !c.carries()", "c.noStore", "Differential"},
	{"1: links obey the rule", "link.go", "\tc := cachingOf(h)\n\tif !c.carries() {\n\t\treturn\n\t}", "\tc := cachingOf(h)", "ALinkObeys"},
	{"1: a page with a ticket is private", "response.go", "if v.personal && !done {", "if false {", "InTheBody"},
	{"1: no ticket after a public header", "tag.go", "v.attached && !v.sentPrivate || ", "", "InTheBody"},
	{"1: no cookie on a 304", "visit.go", "return status == http.StatusNotModified ||", "return", "Freshens|NewTokenRides"},
	{"1: Seal knows what freshens", "visit.go", "if v.freshening {", "if false {", "SealRefuses|Freshens"},
	{"3: a stored page begins a session", "tracker.go", "\t\tv.wantStart()\n", "", "StoredPageBegins"},
	{"5: a no is not answered with a 304", "visit.go", "v.wantWhole() // nothing is cleared on a 304", "_ = v", "StoredPageBegins"},
	{"1: no cookie on HEAD", "visit.go", " || v.request.Method == http.MethodHead\n}", "\n}", "Freshens|NewTokenRides"},
	{"1: a 304 of a date has none", "etag.go", "delete(h, \"Last-Modified\")", "", "Freshens"},
	{"1: HEAD has no new tag", "etag.go", "if v.request.Method == http.MethodGet { // see freshens", "if true {", "HEADHasNoNewToken"},
	{"1: a page is private for everybody", "response.go", "if v.isPersonalURL() {", "if v.isPersonalURL() && v.session.tracker != nil {", "ForEverybody"},
	{"1: also where nobody is recognised", "etag.go", "v.Hook() // also where", "v.hooked = v.hooked || v.permission >= Recognise // also where", "ForEverybody"},
	{"1: the response's type comes before the request", "carrier.go", "if c := contentOf(h, first); c != contentUnknown {", "if c := contentOf(h, first); false {", "ForEverybody"},
	{"1: a body is known by its beginning", "carrier.go", "if kind == \"\" && len(first) > 0 {", "if false {", "ForEverybody|AssetsAre"},
	{"1: a page as an image has no tag", "carrier.go", "\tcase contentAsset:\n\t\treturn false\n\tcase contentData:\n\t\treturn v.tracker.tagsAlone", "\tcase contentData:\n\t\treturn v.tracker.tagsAlone", "AssetsAre|AsAnImage|ForEverybody"},
	{"1: assets are left alone", "carrier.go", "case \"image\", \"font\", \"audio\", \"video\":\n\t\treturn contentAsset", "case \"image\", \"font\", \"audio\", \"video\":", "AssetsAre"},
	{"1: Fetch Metadata tells a part of a page", "carrier.go", "\treturn contentAsset\n}\n", "\treturn contentPage\n}\n", "AssetsAre"},
	{"7: a long list of tags costs nothing", "etag.go", "if isLong(lines) {\n\t\t\tv.tracker", "if false {\n\t\t\tv.tracker", "LongList"},
	{"1: no cookie begins on an asset", "cookie.go", "v.content == contentAsset || ", "", "AssetsAre"},
	{"1: no link on an asset", "link.go", "v.content == contentAsset || ", "", "AssetsAre"},
	{"1: data has tags where nothing else can carry", "tracker.go", "name != (ETag{}).Via() && name != (Fingerprint{}).Via()", "name != (ETag{}).Via()", "DataIs"},
	{"1: no link on somebody else's 304", "link.go", "status == http.StatusNotModified && !ours", "false && !ours", "Freshens"},
	{"1: Seal obeys the rule", "visit.go", "!v.sealable(purpose) || !c.carries()", "!v.sealable(purpose)", "Differential|Shared"},

	{"beacon: mounted by path and method", "beacon.go", "mux.Handle(\"GET \"+host+t.beaconPath+name, h)", "mux.Handle(host+t.beaconPath+name, h)", "MountWorks"},
	{"beacon: mounted at each host", "beacon.go", "range append([]string{\"\"}, hosts...)", "range append([]string{\"\"}, hosts[:0]...)", "MountWorks"},
	{"beacon: no path that browsers clean", "config.go", "path.Clean(p)+\"/\" != p", "path.Clean(p) == \"\"", "NeverAskedFor"},

	{"8: Forget ends consent", "forget.go", "\t\tv.disclaims.Store(true)\n", "", "ForgettingEnds"},
	{"8: the form ends consent", "beacon.go", "\tv.endConsent(w.Header())\n", "", "EndsConsent"},
	{"8: an OptIn within is asked", "consent.go", "v.tracker.consent(v.request.WithContext(q))", "_ = q", "ForgettingEnds"},
	{"8: the end of consent is not shared", "consent.go", " || !allowPrivate(h) {", " {", "ConsentDoesNotEnd"},
	{"8: the end of consent freshens nothing", "response.go", "v.disclaims.Load() && !v.freshening", "v.disclaims.Load()", "ConsentDoesNotEnd"},
	{"8: what the handler says of consent stays", "consent.go", "setsCookie(h, name) || ", "", "ConsentDoesNotEnd"},
	{"8: consent ends for the Domain, too", "consent.go", "domains = append(domains, c.Domain)", "_ = c.Domain", "TheConsentCookieIs"},
	{"8: a prefix keeps its promise", "consent.go", "secure = \"; Secure\" // or", "_ = secure // or", "TheConsentCookieIs"},
	{"8: OptIn has a name", "consent.go", "if !isCookieName(cookie) || value == \"\"", "if value == \"\"", "CookiesThatCannotBe"},
	{"8: OptIn has a value", "consent.go", " || value == \"\" ||", " ||", "CookiesThatCannotBe"},
	{"8: OptOut has a name", "consent.go", "if !isCookieName(cookie) {", "if false {", "CookiesThatCannotBe"},

	// 2. Nobody gets stale or mixed content.
	{"2: tags are taken apart", "etag.go", "kept = append(kept, weakPrefix(tag.weak)+`\"`+own+`\"`)", "kept = append(kept, member)", "Differential|OwnTags"},
	{"2: the suffix stays in If-Range", "etag.go", "own+tag.suffix+`\"`", "own+`\"`", "Resumed|OwnTags"},
	{"2: a derived tag lets the date speak", "etag.go", "\t\t\t\t// Derived: without us the client would have no tag.", "\t\t\t\tkept = append(kept, member)", "Differential|OwnTags|Composed"},
	{"2: a 200 replaces a wrong tag", "visit.go", "{\"If-None-Match\", \"If-Modified-Since\"} {\n\t\tif _, ok := v.request", "{\"If-Modified-Since\"} {\n\t\tif _, ok := v.request", "Damaged|Hybrid"},
	{"2: the date goes with the tag", "visit.go", "{\"If-None-Match\", \"If-Modified-Since\"} {\n\t\tif _, ok := v.request", "{\"If-None-Match\"} {\n\t\tif _, ok := v.request", "Damaged"},
	{"2: a hash speaks for the header", "response.go", "b.body = append(b.body, headerValue(h, name)...)", "_ = name", "ContentType"},
	{"2: a changed body is sent", "etag.go", "sent.tag.token == token && sent.tag.content == content", "sent.tag.token == token", "Composed|Differential"},
	{"2: the late header is dropped", "response.go", "clear(h)\n\tfor i", "for i", "Notice"},
	{"2: a flush lets go of a held body", "response.go", "\tif w.held != nil {\n\t\tif err := w.release(false); err != nil {\n\t\t\treturn err\n\t\t}\n\t}\n\treturn http.NewResponseController", "\treturn http.NewResponseController", "Events|Notice|Composed"},

	// 3. One browser ends as one confirmed session.
	{"3: the first burst is merged", "merge.go", "younger.Created.Sub(older.Created) > burst", "true", "Burst"},
	{"3: the older session wins", "merge.go", "if b.ID.older(a.ID) {", "if !b.ID.older(a.ID) {", "Oldest|Model"},
	{"3: what was absorbed is not added twice", "merge.go", "next.Absorbed[i]; isNew || a.Hits > have.Hits {", "next.Absorbed[i]; true {\n\t\t\thave.Visits, have.Hits = 0, 0", "Crash|Model"},
	{"3: what comes late of a merge in a row counts", "merge.go", "isNew || a.Hits > have.Hits {", "isNew {", "InARow|Model"},
	{"3: a lost answer is not counted twice", "ledger.go", "case err == nil && isOurs(&r):", "case false:", "LostAnswer"},
	{"3: a Save compares", "memory.go", "if version != old {", "if version != old && false {", "Model|Parallel|MemoryStore"},

	{"3: touches are taken over in a merge", "merge.go", "next.Touches = withTouch(next.Touches, t)", "_ = t", "Brings"},
	{"3: a confirmed alias confirms", "merge.go", "if alias.Confirmed && !root.Confirmed {", "if false {", "Unfinished"},
	{"3: an alias lasts as long as its tokens", "merge.go", "\t\tif alias.Expires = l.keep(alias.ID); !c.end.IsZero() { // longer than its tokens: orders have its ID\n\t\t\talias.Expires = c.end\n\t\t}\n", "", "Unfinished"},
	{"3: one cookie is met once", "merge.go", "case !slices.Contains(own.Rivals, rival):", "default:", "MetOnce|SlowStore"},
	{"3: the page's session takes the anchor", "merge.go", "case leader < 0 && c.link:", "case leader < 0 && c.link:\n\t\t\tcontinue\n\t\tcase false:", "Joined|ManyPages|AJoinedSite"},
	{"3: a 304 has a link, too", "link.go", "status != http.StatusOK && status != http.StatusNotModified", "status != http.StatusOK", "OfThePagesOwn"},
	{"3: the anchor is seeded, though it never changes", "beacon.go", "if v.session.tracker != nil && !v.isStored() {", "if false {", "AsksForConsent"},
	{"3: a link does not confirm", "tracker.go", "c.claim = !leader.link", "c.claim = true", "Confirm"},
	{"3: a form confirms", "tracker.go", "c.claim, c.via, c.stored = true, claims", "c.claim, c.via, c.stored = claims[0].via != viaForm, claims", "ALead"},
	{"3: the landing page counts once", "ledger.go", "if c.seen = c.landing && !begins; c.seen {", "if false {", "Landing|WhatIsNotWrapped"},
	{"3: a merge brings no direct touch", "merge.go", "t.Referrer != \"\" && !root.visiting(t.Time, l.visitGap) || len(root.Touches) == 0", "true", "JoinedPage"},
	{"3: a tagged page loaded again is one click", "merge.go", "t.campaign() && !sameClick(&root, &t)", "t.campaign()", "JoinedPage"},
	{"3: a slow merge costs no page view", "tracker.go", "if errors.Is(err, context.DeadlineExceeded) && !claims[0].follows {", "if false && errors.Is(err, context.DeadlineExceeded) {", "TakeLong"},
	{"3: while a merge is under way the carriers stay", "visit.go", "if v.unsettled && !v.clearing.Load() {", "if false {", "CarriersStay"},
	{"3: a payment page's POST starts no session", "visit.go", "if site == \"cross-site\" && v.request.Method != http.MethodGet {", "if false {", "Payment"},

	// 4. Nobody is given somebody else's session.
	{"4: two different tokens are no claim", "visit.go", "\t\tc.ambiguous = true\n", "", "TwoDifferent"},
	{"4: a planted cookie is taken away", "cookie.go", "\tif v.isAmbiguous(\"cookie\") {\n\t\tc.expireOther(v, h)\n\t\treturn\n\t}\n", "", "TwoCookies"},
	{"4: the host's own cookie stays", "cookie.go", "\tif c.Domain != \"\" {\n\t\tother.Domain = \"\"\n", "\tif true {\n\t\tother.Domain = \"\"\n", "TwoCookies"},
	{"4: a leaked tag dies", "merge.go", "if own.leaked() {\n\t\t\treturn own, !c.follows", "if false {\n\t\t\treturn own, !c.follows", "Leaked"},
	{"4: a dead tag recognises nobody", "merge.go", "case c.follows && own.leaked():", "case c.follows && own.leaked() && false:", "Leaked"},
	{"4: a dead tag is dead by itself", "tracker.go", "if err == nil && c.stored && record.leaked() {", "if false {", "LeakedPage"},
	{"4: a link is honoured once", "merge.go", "case c.link && own.Joins != c.joins:", "case false:", "UsedOnce|Model"},
	{"4: a link that leads nowhere is used up", "merge.go", "\t\town.Joins++\n", "", "UsedOnce|LeakedPage"},
	{"4: a used link stays used in an alias", "merge.go", "Rivals: alias.Rivals, Joins: alias.Joins,", "Rivals: alias.Rivals,", "UsedOnce|StaysUsed"},
	{"4: many anchors are a leak", "merge.go", " || r.Joins >= maxRivals", "", "LeakedPage"},
	{"4: the anchor asks where it is asked from", "beacon.go", "\t\tv.foreign = true\n\t\treturn\n", "", "FromAnotherSite"},
	{"4: the anchor asks what for", "beacon.go", "site != \"\" && dest != \"image\" && dest != \"empty\"", "site == \"?\"", "FromAnotherSite"},
	{"4: an old browser has to show it", "beacon.go", "\t_, ok := ownReferrer(r)\n\treturn ok", "\treturn true", "FromAnotherSite|ItsOwnOrigin"},
	{"4: the frame answers its own origin", "beacon.go", "isSameOrigin(r) && (dest == \"iframe\" ||", "(dest == \"iframe\" ||", "ItsOwnOrigin"},
	{"4: the frame answers frames", "beacon.go", "isSameOrigin(r) && (dest == \"iframe\" || dest == \"frame\")", "isSameOrigin(r) && dest != \"?\"", "ItsOwnOrigin"},
	{"4: a link is bound to the browser", "link.go", "{to.agent, to.language}", "{to.language}", "Bound|UsedOnce|Model"},
	{"4: a link is bound to the language", "link.go", "{to.agent, to.language}", "{to.agent}", "Bound|UsedOnce"},
	{"4: a link is bound to the network", "link.go", "return append(b, addressKey(to.from)...)", "return b", "Bound|UsedOnce"},
	{"4: a link has its time", "beacon.go", "age <= int64(linkLife/time.Second)", "true", "UsedOnce"},
	{"4: a ticket of the page is none of the script's", "beacon.go", "ok && t.issued == 0 {", "ok {", "FromAnotherSite"},
	{"4: a form comes from this origin", "form.go", "&& !v.foreign && isSameOrigin(v.request)", "&& !v.foreign", "WhichForms"},
	{"7: a handler does not wait for a form", "tracker.go", "if !v.awaitForm() {", "if v.awaitForm(); v.form != nil {\n\t\tv.settleForm(true)\n\t} else {", "NobodyWaitsForAForm"},
	{"4: no session begins while a form is unread", "tracker.go", "if _, open := v.form.text(); open {", "if false {", "AFormThatNobodyReads"},
	{"7: who stands further out has the whole body", "visit.go", "r.Body = v.form // which", "_ = v.form // which", "FurtherOutHasTheBody"},
	{"4: a ticket is bound to what the client sent", "tracker.go", "if v.hooked && !v.isPortable() {\n\t\tv.bind()\n\t}", "", "BoundToWhatWasSent"},
	{"4: values that differ keep sessions apart", "merge.go", "if ok && v.Text != \"\" && w.Text != \"\" && w.Text != v.Text {", "if ok && v.Text != \"\" && w.Text != \"\" && w.Text != v.Text && false {", "DifferentValues"},
	{"4: other sites' pages are not answered", "visit.go", "v.foreign = site == \"cross-site\" && !page", "v.foreign = false", "CrossSite|WhatMints"},

	// 5. A forgotten session never returns.
	{"5: a tombstone stops a hit", "ledger.go", "case err == nil && l.isOver(&r, changes[0].at):\n\t\t\treturn Record{}, 0, ErrForgotten", "case false:", "Forget|Model"},
	{"5: what was merged is forgotten with it", "forget.go", "\t\tif err := bury(&r); err != nil {\n\t\t\treturn false, err\n\t\t}\n", "", "MergedSessionsAlong|EveryAlias"},
	{"5: an alias that is taken off the list is found", "merge.go", "\t\t\tif err := l.listMerged(ctx, r.ID, a.ID, l.keep(a.ID)); err != nil {\n\t\t\t\treturn err\n\t\t\t}\n", "", "EveryAlias"},
	{"5: aliases of aliases are found", "merged.go", "queue = append(queue, id)", "_ = id", "EveryAlias"},
	{"5: an alias of a merge that broke off is found", "merged.go", "if index, ok := l.backing.(Indexer); ok {", "if index, ok := l.backing.(Indexer); ok && false {", "BrokeOff"},
	{"4: who has become no alias is not forgotten", "merged.go", "case !seen[r.MergedInto]:", "case false:", "BrokeOff|EveryAlias"},
	{"5: pages end with what they list", "forget.go", "\tif err := l.dropPages(ctx, r.ID); err != nil {\n\t\treturn err\n\t}\n", "", "EveryAlias"},
	{"3: an alias off the list is merged once", "merge.go", "alias.Via == viaMerged && isEmpty(&alias)", "false && isEmpty(&alias)", "OffTheList"},
	{"5: a no is for all cookies", "visit.go", "if v.permission == Deny && len(v.carriers) < maxDenied {", "if false {", "ANoForgets"},
	{"5: a denied session that was never confirmed leaves soon", "forget.go", "\t\tt.Expires = r.Expires\n", "", "FloodOfDenials"},
	{"5: a full store goes on forgetting", "memory.go", " && !s.evictTombstone()", "", "FloodOfDenials"},
	{"5: what the application has forgotten stays so", "memory.go", " && s.vias[have.via] == viaDenied {", " {", "FloodOfDenials|ForgetFails"},
	{"8: the log names who was forgotten only", "forget.go", "if !r.ID.derived() && !next.Expires.Equal(r.Expires) {", "if true {", "FloodOfDenials|EveryAlias"},
	{"8: a link keeps nobody for long", "ledger.go", "Expires: now.Add(unconfirmedLife)} // until a token confirms it", "Expires: l.keep(id)}", "ALinkKeeps"},
	{"5: aliases between are forgotten, too", "forget.go", "path = append(path, r)\n", "_ = path\n", "ForgetTakes|ForgetByAnAlias|Row"},
	{"5: tombstones are kept", "memory.go", "!have.is(slotUsed) || have.is(slotListed) || have.is(slotPermanent):", "!have.is(slotUsed) || have.is(slotListed):", "Tombstone"},
	{"5: what is not there can be forgotten", "ledger.go", "return l.reborn(id)\n", "return Record{}, ErrForgotten\n", "NotThere"},

	// 6. A token not signed by our keys is worth nothing.
	{"6: the MAC is compared", "token.go", "subtle.ConstantTimeCompare(s.mac()[:], s.raw[len(id):]) == 1", "true", "Worth|Damaged|Rotate"},
	{"6: each purpose has a key of its own", "token.go", "\"revisit v1 token \"+purpose", "\"revisit v1 token\"", "Golden|Worth"},
	{"6: decoded strictly", "token.go", "base64.RawURLEncoding.Strict()", "base64.RawURLEncoding", "Damaged"},
	{"6: a token has its time", "visit.go", "case v.now.UnixMilli()-id.milli() >= inMilli(v.tracker.lifetime):", "case false:", "Lifetime"},

	// 7. The store's failure is never the page's failure.
	{"7: a change waits for so long", "turns.go", "case <-ctx.Done():\n\t\treturn Record{}, ctx.Err()", "case <-make(chan int):\n\t\treturn Record{}, nil", "FailsOrHangs"},
	{"7: other work waits for so long", "turns.go", "case <-timer.C:\n\t\treturn zero, context.DeadlineExceeded", "case <-make(chan int):\n\t\treturn zero, nil", "FailsOrHangs"},
	{"7: a panic is an error", "turns.go", "if p := recover(); p != nil {", "if p := any(nil); p != nil {", "Panics"},
	{"7: no carrier without a session", "visit.go", "if err := v.session.create(v.context.Context); err != nil {", "if v.session.create(v.context.Context); false {", "FailsOrHangs"},

	// 8. Who has not been asked, or said no, leaves no trace.
	{"7: page views wait for the store", "writebehind.go", "\tcase len(b.tried) == 0:\n\t\t\tw.end(b)\n\t\t\tw.requeue(b.id, b.changes)", "\tcase len(b.tried) == 0:\n\t\t\tw.end(b)", "WaitForTheStore|Model|WritesHang"},
	{"7: what waits is kept apart if it may have been saved", "writebehind.go", "case len(b.tried) == 0:", "default:\n\t\t\tw.end(b)\n\t\t\tw.requeue(b.id, b.changes)\n\t\tcase false:", "WaitForTheStore|Model"},
	{"3: a write that was replaced is known all the same", "writebehind.go", "b.saved = true", "_ = b", "WriteBehindAgainst"},
	{"3: what is shown is not what is written", "writebehind.go", "r := e.stored\n\t\t\t\tf.was = r.Confirmed", "r := w.shown(e)\n\t\t\t\tf.was = r.Confirmed", "TakenAlong|WriteBehindAgainst|WritesHang"},
	{"3: each campaign of an outage is kept", "writebehind.go", "!c.touch.campaign() &&\n", "true &&\n", "OfAnOutage"},
	{"3: page views of an outage keep their visits", "writebehind.go", "c.at.Sub(first) < w.ledger.visitGap", "true", "OfAnOutage"},
	{"3: page views of a renewal count", "writebehind.go", "e.held++", "", "WhileItIsRenewed"},
	{"3: a redirect is no page view", "response.go", "return status < 300 || status >= 400", "return true", "PageThatWasShown|ChainOf"},
	{"3: nor is what leaves the browser where it is", "response.go", "case http.StatusNoContent, http.StatusResetContent:\n\t\treturn false", "case http.StatusNoContent:\n\t\treturn false", "PageThatWasShown"},
	{"3: a 304 shows a page", "response.go", "case http.StatusNotModified:\n\t\treturn true\n\t}\n\treturn status < 300", "}\n\treturn status < 300", "PageThatWasShown"},
	{"3: the header of each page is looked at", "tracker.go", "if v.session.counted && v.navigation {", "if false {", "PageThatWasShown|ChainOf"},
	{"3: only a navigation shows no page", "response.go", "if v.session.counted && v.navigation && !isShown", "if v.session.counted && !isShown", "GoesToNoPage"},
	{"3: a session begins without its redirect", "session.go", "s.known().Hits = 0", "_ = s", "PageThatWasShown|ChainOf"},
	{"3: what was no page view waits with the others", "writebehind.go", "return c.hit || c.undo > 0", "return c.hit", "PageThatWasShown|WriteBehindAgainst"},
	{"3: what was no page view is folded in", "writebehind.go", "e.pending[n-1].undo += c.undo", "_ = n", "PageThatWasShown|WriteBehindAgainst"},
	{"3: redirects in a row are no coming back", "ledger.go", "if c.undo > 0 && !r.Confirmed && r.Hits == 0 {", "if false {", "ChainOf"},
	{"3: OnHit is told of what was none", "hooks.go", "count := h.count - h.undo", "count := h.count", "PageThatWasShown|ChainOf"},
	{"7: a redirect does not wait", "turns.go", "if err := l.enqueue(ctx, id, job{change: *c}); err != nil && !l.park(id, &[1]change{*c}) {\n\t\tl.missed(err)\n\t}", "l.record(ctx, id, &[1]change{*c}, l.timeout)", "RedirectDoesNotWait"},
	{"7: Close saves what waits", "writebehind.go", "for ctx.Err() == nil && !w.isEmpty() {", "for false {", "Gather|CloseTells"},
	{"7: Close goes on while it has time", "writebehind.go", "if !w.flush(ctx) {\n\t\t\tsleep(ctx, closePause)", "if !w.flush(ctx) {\n\t\t\tbreak", "CloseWaits"},
	{"3: what comes while a flush is under way is not lost", "writebehind.go", "\tbehind := e.pending\n\te.pending = nil\n", "\tvar behind []change\n\te.pending = nil\n", "Model|WaitForTheStore|WritesHang"},
	{"5: a forgotten session has nothing in hand", "writebehind.go", "\t\tdelete(w.entries, id)\n\t}\n\tw.forgotten[id] = time.Now()\n", "\t}\n", "Agree"},
	{"3: what begins a visit does not wait", "writebehind.go", "r.LastHit.IsZero() || c.at.Sub(r.LastHit) >= l.visitGap", "r.LastHit.IsZero()", "DoesNotGather"},
	{"3: what goes on is a session that may", "ledger.go", "!s.is(slotGoesOn) || ", "", "GoOn|Forget|Model"},
	{"3: what goes on has not expired", "ledger.go", "now >= s.expires || ", "", "KeptInAFlood"},
	{"3: a visit that goes on ends", "ledger.go", " || hit && now-s.lastHit >= inMilli(l.visitGap)", "", "GoOn|Journeys"},
	{"3: a campaign does not just go on", "ledger.go", " || hit && isCampaign() {", " {", "GoOn|Journeys"},
	{"3: a page view that goes on counts", "ledger.go", "\t\t\ts.hits++\n", "", "GoOn|Model"},
	{"3: what goes on is seen", "ledger.go", "\t\ts.lastSeen = max(s.lastSeen, now)\n", "", "GoOn"},
	{"3: who goes on has returned", "ledger.go", "s.flags |= slotReturned\n", "_ = s\n", "KeptInAFlood"},
	{"3: a change in place is a version", "memory.go", "have.version = newVersion()", "_ = have", "Model|GoOn|Parallel"},
	{"4: a leaked tag does not go on", "slot.go", " && !r.leaked()", "", "Leaked"},
	{"5: a renewed session does not go on", "slot.go", " && r.Joins != renewed", "", "GoOn|Renew"},
	{"3: what is not told of does not go on", "slot.go", "!slices.ContainsFunc(r.Absorbed, func(a Absorbed) bool { return a.Untold }) && ", "", "OnMerge"},
	{"3: another carrier is noted", "memory.go", "if s.vias[have.via] != via {", "if false {", "GoOn"},
	{"3: a flood pushes out itself", "memory.go", "if !have.is(slotReturned) {\n\t\t\treturn n", "if true {\n\t\t\treturn n", "InAFlood"},
	{"3: who asks twice at once has not returned", "memory.go", "case now.Sub(r.Created) >= returnGap:", "default:", "InAFlood"},
	{"4: a guess is written into no carrier", "visit.go", "v.foreign || v.weak {", "v.foreign {", "Hint"},
	{"4: a guess goes into no link", "link.go", "!v.session.isSaved() || v.weak || v.isPortable()", "!v.session.isSaved() || v.isPortable()", "NoLink"},
	{"4: a form makes no token of a guess", "visit.go", "(form.joins == 0 || v.permission == Deny)", "true", "WhoHasNoToken"},
	{"4: a crowd is nobody", "match.go", "next.Rivals = []ID{s.ID}", "return root.ID, true, nil", "Crowd"},
	{"4: a token silences the fingerprint", "tracker.go", "v.like = nil // a token came", "_ = 0 // a token came", "Silences"},
	{"4: a proxy nobody has told of has no address", "clientaddr.go", "if why == \"\" {", "if true {", "NotFingerprinted"},
	{"4: the list is read from its end", "clientaddr.go", "i := strings.LastIndexByte(list, ',')\n\treturn list[:max(i, 0)], list[i+1:]", "a, b, _ := strings.Cut(list, \",\")\n\treturn b, a", "Forwarded"},
	{"4: a guess writes nothing", "session.go", "\tif s.guess {\n\t\treturn ErrGuess\n\t}\n", "", "OnlyLooks"},
	{"4: a guess forgets nobody", "forget.go", "if v != nil && v.session.guess {", "if false {", "OnlyLooks"},
	{"3: a guess confirms nobody", "tracker.go", "\tif k.strong {\n", "\tif false {\n", "OnlyLooks|ConfirmsNobody"},
	{"4: a weak session is not merged into one with tokens", "match.go", "case saved && (to == record.ID || strong):", "case saved && to == record.ID:", "SlowGuess"},
	{"3: what nobody comes back for leaves no alias", "merge.go", "alias.Expires = c.end\n", "_ = c.end\n", "NothingIsLeft"},
	{"8: no hint of what was cleared", "tracker.go", "v.like != nil && v.permission == Restore && strong", "v.like != nil && strong", "Hint"},
	{"8: an expired consent clears nothing", "tracker.go", "if !t.clearUnasked {", "if false {", "LeavesNoTrace|UnaskedTags|ConsentExpires"},
	{"8: a site may have them cleared", "tracker.go", "if !t.clearUnasked {", "if true {", "LeavesNoTrace|UnaskedTags|ConsentExpires"},
	{"8: Global Privacy Control", "fingerprint.go", "headerValue(h, \"Sec-Gpc\") == \"1\"", "false", "NotFingerprinted"},
	{"8: a fingerprint needs permission", "match.go", "(v.permission == Recognise || v.permission == Restore) &&", "true &&", "NotFingerprinted"},
	{"8: salts are destroyed", "match.go", "return time.UnixMilli((period + 2) * window.Milliseconds()).UTC()", "return time.UnixMilli((period + 20) * window.Milliseconds()).UTC()", "Salts|Again|Golden"},
	{"8: salts are destroyed in memory", "match.go", "at(period, func(salts) { delete(l.salts, via) })", "at(period, func(salts) {})", "Again"},
	{"8: the salt before is destroyed in memory", "match.go", "\t\t\t\tknown.previous = nil\n", "", "Again"},
	{"8: salts are random", "match.go", "rand.Read(fresh[:])\n", "rand.Read(nil)\n\t\tid := saltID(via, window, period)\n\t\tfresh = sha256.Sum256(id[:])\n", "SaltsAre|Again"},
	{"4: a guess tells nothing", "tracker.go", "shown.Values, shown.Touches, shown.Absorbed = nil, nil, nil", "shown.Absorbed = nil", "GuessTells"},
	{"3: a look gives way to a token", "match.go", "case !own.Confirmed, !root.Confirmed,", "case !root.Confirmed,", "LookGives"},
	{"4: yesterday's crowd is one today", "match.go", "case before.crowded:", "case false:", "NextDay"},
	{"7: a hint costs no cookie", "tracker.go", "if !strong { // which", "if true { // which", "SlowHint"},
	{"4: a signal of the handshake counts", "fingerprint.go", "hello = seen.Stable", "_ = seen", "Handshake"},
	{"4: where all are proxies nobody is known", "clientaddr.go", "if line == 0 {\n\t\t\t\t\treturn netip.Addr{}", "if line == 0 {\n\t\t\t\t\treturn addr", "Forwarded"},
	{"5: a salt is not forgotten", "forget.go", "if id.derived() || id.IsZero() {", "if false {", "WhatIsNoSession"},
	{"3: what is born again is no leak", "merge.go", "max(0, int(r.LastSeen.Sub(r.Created)/anchorLife))", "int(r.LastSeen.Sub(r.Created)/anchorLife)", "TagOutlives"},
	{"2: the status of nothing is left open", "response.go", "\tw.v.attach(w.Header(), http.StatusOK, nil)\n}", "\tw.WriteHeader(http.StatusOK)\n}", "FurtherOut"},
	{"2: a body that was broken off is no page", "response.go", "if done && (held.declared < 0 || len(held.body) == held.declared) {", "if done {", "BrokenOff"},
	{"2: a body does not end like a header", "response.go", "b.body = strconv.AppendInt(b.body, int64(n), 10)", "_ = strconv.AppendInt", "ABodyIs"},
	{"touches: a reload is none", "ledger.go", "again := c.reload && r.hasTouch(&c.touch)", "again := false", "Journeys"},
	{"touches: a redirect's target confirms nobody", "ledger.go", "case r.Via == viaRedirect && c.hit", "case false && c.hit", "MailScanner"},
	{"touches: the landing page takes the direct one's place", "ledger.go", "switch direct := n > 0 &&", "switch direct := false && n > 0 &&", "LandingPage"},
	{"touches: a click counts once in a merge", "merge.go", " && !root.hasClick(&t) ||", " ||", "ClickOnTwo"},
	{"touches: credentials are left out", "personal.go", "hasToken(s) ||", "", "Personal"},
	{"touches: long texts are not looked at", "personal.go", "s = s[:min(len(s), maxPersonal)]", "s = s[:min(len(s), 1<<30)]", "LongLink"},
	{"touches: a lone percent sign hides nothing", "personal.go", "\t\tb = append(b, s[i])\n\t}", "\t\treturn s\n\t}", "Personal"},
	{"touches: a plus sign begins a number", "query.go", "isPersonal(raw) || ", "", "NoNumber"},
	{"touches: the URL's base64 is a token, too", "personal.go", "whole.changes*2 > whole.n-parts", "false", "RandomTokens|Personal"},
	{"links: a click counts with another campaign", "ledger.go", " && (t.isUntagged() || t.sameTags(&u))", "", "Journeys"},
	{"links: a click without its campaign is the same", "ledger.go", "t.isUntagged() || ", "", "Journeys"},
	{"links: one click of two is seen again", "query.go", "other == pair {", "other == pair && false {", "Journeys"},
	{"links: clicks are kept by preference", "query.go", "q.clicks[i].rank < c.rank {", "true {", "ClickIdentifiers"},
	{"links: half a click is none", "query.go", "half || len(value) > maxClickText", "half", "ClickIdentifiers"},
	{"links: a click is not cut with the query", "query.go", "half || len(value) > maxClickText", "len(value) > maxClickText", "ClickIdentifiers"},
	{"links: no login in a click", "query.go", "} else if namesSomebody(value) {", "} else if false {", "ClickIdentifiers"},
	{"links: macros are no clicks", "query.go", "(isMacro(raw) || isMacro(value))", "false", "Macros"},
	{"links: a macro is looked at as it came", "query.go", "(isMacro(raw) || isMacro(value))", "isMacro(value)", "Macros"},
	{"links: what names a person is counted", "query.go", "case kind == paramPersonal:\n\t\tq.left[clipPersonal]++", "case kind == paramPersonal:", "ClickIdentifiers"},
	{"links: what names a person is no Config.ClickIDs", "query.go", "case kind == paramPersonal:\n\t\treturn \"", "case false:\n\t\treturn \"", "ClickIDsOfAConfig"},
	{"links: what names a person is in no text", "personal.go", " || hasPersonalName(s) {", " {", "Personal"},
	{"links: names are unescaped", "query.go", "\t\tkey = unescapeOnce(key)\n", "", "NamesInALink"},
	{"links: names have no ampersand of HTML", "query.go", "\t\tkey = key[i+1:]\n", "", "NamesInALink"},
	{"links: names are in letters of any case", "query.go", "name = strings.ToLower(key)", "name = key", "NamesInALink"},
	{"links: a second question mark", "query.go", "\t\tpair = rest\n", "\t\tif pair = rest; true {\n\t\t\treturn true\n\t\t}\n", "NamesInALink"},
	{"links: another page's campaign", "query.go", "if !ok || isAddress(before) {", "if !ok || isAddress(before) && false {", "NamesInALink"},
	{"links: an escaped query", "query.go", "\t\t\t\tq.read(inner, nested+1)\n", "", "NamesInALink"},
	{"links: an escaped question mark", "campaign.go", "\t\t\t\t\treturn path[:i], rest\n", "", "NamesInALink"},
	{"links: Google's number of the campaign", "query.go", "\t\tq.touch.ID = q.campaign\n", "", "GoogleTags"},
	{"links: an ad found by search is paid", "campaign.go", "case search && paid:", "case search && paid && false:", "GoogleTags"},
	{"links: a free listing is no campaign", "campaign.go", " && !(is == shoppingListing && kind == referrerKind{\"search\", \"google\"})", "", "GoogleTags"},
	{"links: a long query is not looked at", "query.go", "if len(text) > maxQuery {", "if false {", "LongQuery|ClickIdentifiers"},
	{"links: many pairs are not looked at", "query.go", "q.pairs > maxPairs {", "false {", "ClickIdentifiers"},
	{"links: many values are not looked at", "query.go", "case q.tries == maxValuesRead:", "case false:", "ClickIdentifiers"},
	{"links: what is left out is counted once", "campaign.go", "\t\tv.clipped = true\n", "", "ClippedIsCounted"},
	{"links: marks of direction are left out", "query.go", ", unicode.Is(unicode.Bidi_Control, r):", ":", "CannotBeSeen|Touches"},
	{"links: control characters are no text", "query.go", "\t\t\tok = false\n", "", "CannotBeSeen|Touches"},
	{"links: an escape is not cut", "query.go", "n = i // within an escape", "_ = i", "CutBetween"},
	{"links: an escaped character is not cut", "query.go", "ok && isContinuation(c) {", "false && ok && isContinuation(c) {", "CutBetween"},
	{"links: a landing page begins with one slash", "campaign.go", "\t\tpath = \"/\" + rest\n", "", "ALandingPageIs"},
	{"links: a product is no telephone", "personal.go", " && !isProduct(part) {", " {", "Personal"},
	{"links: a product has its check digit", "personal.go", "return sum%10 == 0", "return true", "Personal"},
	{"links: an ISBN has its check digit", "personal.go", "return sum%11 == 0", "return true", "Personal"},
	{"links: a path keeps what is not personal", "personal.go", "\t\t\tsegments[i] = \"*\"\n", "\t\t\t_ = i\n", "NoPersonalPath|Touches"},
	{"links: an exact host is one", "referrer.go", "domain, in = host, all.hosts", "domain = host", "ReferrersAre"},
	{"links: a host has a port", "beacon.go", " || strings.EqualFold(hostOf(u), plainHost(r.Host))", "", "HostIsWritten"},
	{"links: the browser's word on its origin", "referrer.go", "if err != nil || !isBehindProxy(from, r) ||", "if err != nil || true || !isBehindProxy(from, r) ||", "ProxyHides"},
	{"links: a style sheet's image is no word", "beacon.go", " && headerValue(r.Header, \"Sec-Fetch-Dest\") != \"image\" &&", " &&", "ProxyHides"},
	{"links: www. is the same site", "referrer.go", "strings.EqualFold(withoutWWW(host), withoutWWW(", "strings.EqualFold(host, (", "OwnPagesAre"},
	{"links: www. is another origin", "beacon.go", "strings.EqualFold(hostOf(u), plainHost(r.Host))", "strings.EqualFold(withoutWWW(hostOf(u)), withoutWWW(plainHost(r.Host)))", "AnotherHostIs"},
	{"touches: hosts are in ASCII", "referrer.go", "!isHost(u.Host) ||", "", "HostsAre"},
	{"touches: a late landing page has its referral", "ledger.go", "direct && (campaign || c.touch.Referrer != \"\"", "direct && (campaign || false", "LandingPageIs"},
	{"4: what is merged while it is renewed is renewed", "customer.go", "if !root.MergedInto.IsZero() {\n\t\t\treturn ErrConflict", "if false {\n\t\t\treturn ErrConflict", "RenewDuring"},
	{"5: OnForget has its time", "forget.go", "return forgetLimit*l.timeout + hookTimeout", "return forgetLimit * l.timeout", "MayTake"},
	{"7: nothing begins after Close", "turns.go", "\tdefer t.over.Store(true)\n", "", "BeginsAfter"},
	{"3: the list of merges ends", "merge.go", "alias.Via == viaMerged && isEmpty(&alias) // taken", "false // taken", "ListOfMerges"},
	{"2: what nobody has written has no hash", "response.go", "\tw.v.attach(w.Header(), http.StatusOK, nil)\n}", "\tw.v.whole = hold(w.Header(), -1)\n\tw.v.whole.hashed = w.v.whole.hash(w.Header())\n\tw.v.attach(w.Header(), http.StatusOK)\n}", "FurtherOut"},
	{"5: each forgotten session is logged", "forget.go", "l.logger.Info(\"revisit: forgotten\", \"session\", r.ID)", "_ = r", "MergedSessions"},
	{"7: calls that hang are bounded", "writebehind.go", "default: // all of them hang\n\t\tvar zero T\n\t\treturn zero, errBusy\n", "default:\n\t\tgo func() { w.busy <- struct{}{} }()\n", "HangsForEver"},
	{"7: nobody joins a group that is waited for", "hooks.go", "if l.hooks.closed || a.underWay", "if a.underWay", "CloseStarts"},
	{"8: a word of a robot's begins where words do", "bot.go", "(!word.begin || beginsWord(s, i))", "true", "RobotsName|IsBotOnLists"},
	{"8: a word of a robot's ends where words do", "bot.go", "(!word.end || endsWord(s, i+len(word.text)))", "true", "RobotsName|IsBotOnLists"},
	{"8: a model is called what it likes", "bot.go", "(kind == desktop || comment == 0 || hasVersion(userAgent[i:]))", "true", "RobotsName"},
	{"8: a robot gives its version in a comment", "bot.go", "return ok && version != \"\"", "return false && ok && version != \"\"", "RobotsName"},
	{"8: apps of telephones do what robots do", "bot.go", "case kind == desktop && (found&workWord", "case (found&workWord", "RobotsName"},
	{"8: a robot says what it does", "bot.go", "found&workWord != 0 || ", "", "RobotsName"},
	{"8: an address of a site betrays a robot", "bot.go", "found&topLevel != 0 && comment == 0", "false", "RobotsName"},
	{"8: an address is not in a comment, and has no version", "bot.go", "found&topLevel != 0 && comment == 0 && !hasVersion(userAgent[i:])", "found&topLevel != 0", "RobotsName"},
	{"8: an at sign alone is no mail address", "bot.go", "found&mail != 0 && isMail(userAgent, i)", "found&mail != 0", "RobotsName"},
	{"8: a telephone of the oldest has no engine", "bot.go", "if deviceWords.at(userAgent, i) != 0 {", "if false {", "RobotsName"},
	{"8: a browser on a computer is no program", "bot.go", "\t\t\tkind = desktop\n", "\t\t\tkind = program\n", "RobotsName"},
	{"8: Internet Explorer is compatible", "bot.go", " && !strings.Contains(comment, \"Trident/\") && !strings.Contains(comment, \"MSIE \")", "", "RobotsName"},
	{"8: a later comment may be a robot's", "bot.go", "at += i + len(\"ompatible;\")\n", "at += i + len(\"ompatible;\")\n\t\tif at > 30 {\n\t\t\treturn false\n\t\t}\n", "RobotsName"},
	{"8: a telephone needs no version", "bot.go", " && kindOf(userAgent) != device\n", "\n", "RobotsName"},
	{"8: bots get nothing", "tracker.go", "v.permission != Deny && t.bot(r)", "false", "Bots"},
	{"3: nodes agree on the salt", "match.go", "case !errors.Is(err, ErrConflict):\n\t\t\treturn nil, err\n", "case errors.Is(err, ErrConflict):\n\t\t\treturn &fresh, nil\n\t\tcase true:\n\t\t\treturn nil, err\n", "LookAlike"},
	{"3: those that look alike at once are merged", "match.go", "return l.settle(ctx, to, []change{c})", "return l.create(ctx, record)", "LookAlike"},
	{"5: the tokens of a renewed session are worth nothing", "ledger.go", "r.Forgotten || r.Joins == renewed ||", "r.Forgotten ||", "Renew"},
	{"5: a renewed session stays so", "merge.go", "if next.Joins != renewed {", "if true {", "Renew|WhatMergeRefuses"},
	{"6: an alias's token does not outlive the root's lifetime", "ledger.go", "r.Joins == renewed || !at.Before(l.end(r.ID))", "r.Joins == renewed", "Lifetime|Retention"},
	{"3: what was stored outlives the tokens", "ledger.go", "return id.Time().Add(l.retention)", "return id.Time().Add(l.lifetime)", "Retention"},
	{"3: merges by the application suspect nobody", "merge.go", "case c.known:\n", "", "MergeByTheApplication"},
	{"3: who comes back from paying was not brought by that", "campaign.go", "if kind.medium == pass {", "if false {", "Touches|Journeys"},
	{"3: a click counts once", "ledger.go", " && !r.hasClick(&c.touch) && !again\n\tif c.seen", " && !again\n\tif c.seen", "Journeys"},
	{"8: no mail address of a link is kept", "query.go", "if isPersonal(raw) || isPersonal(value) {", "if false {", "Touches|Journeys"},
	{"3: a merge is noted until it was told of", "merge.go", "Untold: l.hooks.onMerge != nil}", "}", "OnMerge"},
	{"3: a merge is told of once it works", "hooks.go", "next.Absorbed[i].Untold = untold", "next.Absorbed[i].Untold = true", "OnMerge"},
	{"3: a merge that was not told of moves along", "merge.go", "have.Untold = have.Untold || a.Untold", "have.Untold = have.Untold || a.Untold && a.ID == alias.ID", "OnMerge"},
	{"7: OnHit costs no page", "hooks.go", "\tdefault:\n\t\tl.stats.hook.Add(max(count, -count))", "\tcase <-make(chan int):\n\t\tl.stats.hook.Add(count)", "HooksCost"},
	{"5: a no by an old cookie forgets", "forget.go", "if err := t.denyAdopted(v); err != nil {", "if err := error(nil); err != nil {", "AdoptedVisitorCan"},
	{"3: who is adopted at once is one", "adopt.go", "\treturn to, err\n}", "\treturn record.ID, err\n}", "ParallelFirstRequestsAreAdopted"},
	{"3: an adopted visitor gets a token", "visit.go", "v.session.Via == viaAdopted && (c == nil || c.id.IsZero())", "false", "AdoptedOnce|DeadOne"},
	{"7: nobody is adopted while the store is away", "tracker.go", "v.session.saveFail = silent", "_ = silent", "WhileTheStoreIsAway"},
	{"8: Unasked recognises nobody", "tracker.go", "case Recognise, Restore:", "case Unasked, Recognise, Restore:", "Trace"},
	{"8: the anchor is cleared as pages are", "tracker.go", " || v.kind == kindAnchor && site == \"same-origin\"", "", "AsksForConsent"},
	{"8: nobody else can have a visitor forgotten", "beacon.go", "http.NewCrossOriginProtection().Handler(forget)", "forget", "ForgetByTheBeacon"},
	{"8: Deny forgets", "tracker.go", "if v.forgotten = t.deny(v); v.forgotten", "if v.forgotten = true; v.forgotten", "SaysNo|ANo"},
	{"8: Deny clears", "tracker.go", "v.forgotten && len(v.carriers) > 0 {\n\t\t\tv.clear()", "v.forgotten && len(v.carriers) > 0 {", "SaysNo"},
	{"8: a missing cookie is not made again", "visit.go", "return v.permission == Restore", "return true", "Restore"},
	{"8: what was forgotten is not given another session's cookie", "merge.go", "if permission != Restore && leader < 0 {", "if false {", "IsNotRebuilt"},
	{"stores: describe_exec is no match for a pooler", "pgstore/pgstore.go", "s.mode = []any{pgx.QueryExecModeExec}", "_ = s.mode", "APooler"},
	{"stores: what was rolled back is tried again", "pgstore/pgstore.go", "if !inTheWay(err) || i == tries {", "if true {", "RolledBack"},
	{"stores: a serialization failure is a conflict", "pgstore/pgstore.go", "case \"40001\", // serialization_failure", "case", "RolledBack"},
	{"stores: a deadlock is a conflict", "pgstore/pgstore.go", "\"40P01\", // deadlock_detected", "", "RolledBack"},
	{"stores: a foreign key holds up no batch", "pgstore/pgstore.go", "FOR NO KEY UPDATE SKIP LOCKED)\n\t\tUPDATE", "FOR UPDATE SKIP LOCKED)\n\t\tUPDATE", "OneRow"},
	{"stores: a held row is skipped", "pgstore/pgstore.go", "FOR NO KEY UPDATE SKIP LOCKED)\n\t\tUPDATE", "FOR NO KEY UPDATE)\n\t\tUPDATE", "OneRow"},
	{"stores: nobody waits long for a new row", "pgstore/pgstore.go", "SET LOCAL lock_timeout = '50ms'", "SET LOCAL lock_timeout = 0", "OneRow"},
	{"stores: a batch is halved", "pgstore/pgstore.go", "len(which) > 1 && (inTheWay(err) || isOfData(err))", "len(which) > 1 && inTheWay(err)", "OneRow"},
	{"stores: PostgreSQL has tombstones on the disk", "pgstore/pgstore.go", "if r.Forgotten {\n\t\terr = try", "if false {\n\t\terr = try", "OnTheDisk"},
	{"stores: PostgreSQL finds aliases of its own root", "pgstore/pgstore.go", "WHERE merged_into = $1 AND", "WHERE merged_into IS NOT NULL AND $1 <> '' AND", "TheContract"},
	{"stores: fingerprints are no aliases", "pgstore/pgstore.go", "return !(&revisit.Record{ID: id}).IsSession()", "return false", "AliasesAreIndexed"},
	{"stores: a read is tried again", "pgstore/pgstore.go", "	err := try(ctx, func() error {\n\t\trows", "	err := func(_ context.Context, f func() error) error { return f() }(ctx, func() error {\n\t\trows", "ReadsAre"},
	{"stores: a tombstone waits for replicas", "redisstore/redisstore.go", "if err == nil && s.waits(&r) {", "if false {", "TombstoneWaits"},
	{"stores: an unconfirmed tombstone is not read", "redisstore/redisstore.go", "if s.replicas > 0 && strings.HasSuffix(", "if false && strings.HasSuffix(", "TombstoneWaits"},
	{"stores: a batch's tombstone waits, too", "redisstore/redisstore.go", "if s.waits(&changes[i].Record) {", "if false {", "TombstoneWaits"},
	{"stores: WAIT comes after a write", "redisstore/redisstore.go", "if err := replace(value); err != nil {", "if err := error(nil); err != nil {", "TombstoneWaits"},
	{"stores: an evicting policy is found", "redisstore/redisstore.go", "policy != \"noeviction\" && number", "policy == \"\" && number", "TestCheck"},
	{"stores: Redis has an alias found before it is there", "redisstore/redisstore.go", "if command, ok := s.index(&r); ok {", "if command, ok := s.index(&r); ok && false {", "TheContract|IndexedFirst"},
	{"stores: a batch's aliases are found, too", "redisstore/redisstore.go", "errs := s.indexAll(ctx, changes)", "errs := make([]error, len(changes))", "TheContract|IndexedFirst"},
	{"stores: a set of aliases is not shortened", "redisstore/redisstore.go", "ARGV[2], 'GT')", "ARGV[2])", "TheSetOfAliases"},
	{"stores: a set of aliases is prolonged", "redisstore/redisstore.go", "if redis.call('PEXPIREAT', KEYS[1], ARGV[2], 'NX') == 0 then", "if redis.call('PEXPIREAT', KEYS[1], ARGV[2], 'NX') == 2 then", "TheSetOfAliases"},
	{"stores: the record tells whose alias it is", "redisstore/redisstore.go", "if r.MergedInto == root {", "if true {", "TheContract|TheSetOfAliases"},
	{"stores: SQLite finds aliases by an index", "sqlitestore/sqlitestore.go", "` + isMerged + ` AND ` + root + ` = ?", "` + root + ` = ?", "AliasesAreIndexed"},
	{"stores: SQLite is in WAL mode", "sqlitestore/sqlitestore.go", "if mode != \"wal\" {", "if mode == \"\" {", "WithoutShared"},
	{"stores: SQLite has tombstones on the disk", "sqlitestore/sqlitestore.go", "\tif r.Forgotten {\n\t\treturn s.bury", "\tif false {\n\t\treturn s.bury", "OnTheDisk"},
	{"stores: what is lacking is skipped", "storetest/storetest.go", "t.Skipf(", "t.Logf(", "IsSkipped"},
	{"8: withdrawn consent clears", "tracker.go", "(site == \"same-origin\" || site == \"none\")", "site == \"nowhere\"", "Unasked|Trace"},

	// Page views and clicks, as browsers and their service workers send them.
	{"views: a navigation that is handed on is one", "visit.go", "(dest == \"document\" || dest == \"\") || forwarded", "(dest == \"document\" || dest == \"\")", "HandsOn"},
	{"views: Firefox hands on what asks for a page", "visit.go", " && strings.HasPrefix(headerValue(h, \"Accept\"), \"text/html\")\n}", "\n}", "HandsOn"},
	{"views: Firefox hands on what wants https", "visit.go", "headerValue(h, \"Upgrade-Insecure-Requests\") == \"1\" && ", "", "HandsOn"},
	{"views: a preview is none", "visit.go", "\"Purpose\", \"X-Purpose\", \"X-Sec-Purpose\"", "\"Purpose\", \"X-Sec-Purpose\"", "AllTheirNames"},
	{"views: whoever asks for JSON has none", "visit.go", "case strings.HasSuffix(kind, \"/json\"), strings.HasSuffix(kind, \"+json\"), kind == \"text/event-stream\":", "case false:", "WithoutMetadata"},
	{"views: a page that polls has none", "visit.go", "len(h[\"Accept\"]) == 0 || !byScript", "true || byScript", "TabThat"},
	{"3: a fetch to another host of the site begins nothing", "visit.go", " && site != \"same-site\"", "", "AnotherHost"},
	{"3: nor one of an old browser", "visit.go", " && (origin == \"\" || isSameOrigin(v.request))", "", "AnotherHost"},
	{"3: a picture that is handed on begins nothing", "visit.go", " && mode != \"no-cors\" && site", " && site", "HandsOn|WhatMints"},
	{"touches: Firefox says that it reloads", "campaign.go", "strings.Contains(headerValue(h, \"User-Agent\"), \" Firefox/\")", "false", "SecondClick"},
	{"touches: a service worker knows no clicks", "campaign.go", " && !v.byWorker &&", " &&", "SecondClick"},
	{"touches: the same URL is no second click", "ledger.go", "r.hadTouch(&c.touch, c.at.Add(-clickAgain), c.at)", "false", "SecondClick"},
	{"touches: another site's link is one", "ledger.go", "!c.led && ", "", "SecondClick"},
	{"touches: the way back is no click", "beacon.go", "\t\t\tv.told.again = true\n", "", "HowAPage"},
	{"touches: a reload is taken back", "ledger.go", "\tif c.takesBack {", "\tif false {", "TakenBack"},
	{"touches: only the reload is taken back", "ledger.go", " || r.Touches[n].Time.Before(since)", "", "TakenBack"},
	{"touches: the only click stays", "ledger.go", " || !before.hasTouch(t)", " || before.hasTouch(t) && false", "TakenBack"},
	{"touches: campaigns in a fragment count", "campaign.go", "if isRoute && more != \"\" {", "if false {", "InTheFragment"},
	{"views: what the server has counted is not counted again", "beacon.go", "name == headerPage && seen", "name == headerPage && seen && false", "HowAPage"},
	{"views: a kept copy counts, unless a newer one was asked for", "beacon.go", "v.told.stale = at > 0 && !seen", "v.told.stale = false", "HowAPage"},
	{"views: the fast way leaves alone what is not plain", "tracker.go", "!v.isPlain() || !t.ledger.goOn", "v.landing || !t.ledger.goOn", "HowAPage|TakenBack"},
	{"views: a page behind a service worker says that it was counted", "beacon.go", "(v.byWorker || ", "(", "SaysThatItWas"},
	{"views: a page under tags says that it was counted", "beacon.go", "v.tracker.tagsAlone && cachingOf(h).carries()", "false", "UnderTags"},
	{"views: the script knows that there are only tags", "tag.go", "if v.tracker.tagsAlone {", "if false {", "UnderTags"},
	{"views: a picture that is handed on is one", "beacon.go", "if dest != \"image\" && mode != \"no-cors\" {", "if dest != \"image\" {", "AnchorBehind"},
	{"4: nobody goes to the anchor", "beacon.go", "if goes || !isSameOrigin(r)", "if goes && false || !isSameOrigin(r)", "AnchorBehind"},
	{"3: the two anchors are joined", "beacon.go", "v.now.Sub(v.session.Created()) < linkLife", "false", "TwoAnchors"},
	{"7: so many links are looked at", "beacon.go", "n < maxLinks; n++", "n < 1000*maxLinks; n++", "LongList"},
	{"7: a long list of links is not looked at", "beacon.go", "if len(list) > maxLinkText {", "if false {", "LongList"},
	{"7: the beacon is not everywhere", "config.go", "p == \"/\" {", "false {", "WhereTheBeacon"},
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

// where returns the module of a file and the packages in it whose tests look at that file.
func where(file string) (module string, packages []string) {
	switch folder, _, _ := strings.Cut(file, "/"); folder {
	case "pgstore", "redisstore", "sqlitestore":
		return folder, []string{"."}
	case "storetest":
		return ".", []string{"./storetest"}
	}
	return ".", []string{".", "./attribution"}
}

// timeout is by module: real databases take longer.
var timeout = map[string]string{".": "60s", "pgstore": "300s", "redisstore": "300s", "sqlitestore": "300s"}

func run() error {
	dir, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	root, err := os.Getwd()
	if err != nil {
		return err
	}
	for _, m := range mutants { // before an hour has gone by
		if text, err := os.ReadFile(m.file); err != nil || !strings.Contains(string(text), m.from) {
			return fmt.Errorf("%s: %s has no %q: bring the list up to date (%v)", m.rule, m.file, m.from, err)
		}
	}
	survivors, tried := 0, 0
	for i, m := range mutants {
		if len(os.Args) > 1 && !strings.Contains(m.rule, os.Args[1]) {
			continue // only those that were asked for
		}
		tried++
		path := filepath.Join(root, m.file)
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		changed := filepath.Join(dir, fmt.Sprint(i, ".go"))
		if err := os.WriteFile(changed, []byte(strings.Replace(string(text), m.from, m.to, 1)), 0o600); err != nil {
			return err
		}
		overlay := filepath.Join(dir, fmt.Sprint(i, ".json"))
		replace, err := json.Marshal(map[string]any{"Replace": map[string]string{path: changed}})
		if err != nil {
			return err
		}
		if err := os.WriteFile(overlay, replace, 0o600); err != nil {
			return err
		}
		in, packages := where(m.file)
		test := func(args ...string) ([]byte, error) {
			cmd := exec.Command("go", append(args, packages...)...)
			cmd.Dir = filepath.Join(root, in)
			return cmd.CombinedOutput()
		}
		if out, err := test("vet", "-overlay", overlay); err != nil && strings.Contains(string(out), "vet: ") {
			return fmt.Errorf("%s: it does not compile: %s", m.rule, out)
		}
		out, err := test("test", "-overlay", overlay, "-timeout", timeout[in], "-run", m.tests)
		switch {
		case err == nil:
			survivors++
			fmt.Printf("SURVIVED  %s\n", m.rule)
		case !strings.Contains(string(out), "--- FAIL") && !strings.Contains(string(out), "panic:"):
			return fmt.Errorf("%s: %s", m.rule, out)
		default:
			fmt.Printf("caught    %s\n", m.rule)
		}
	}
	if survivors > 0 {
		return fmt.Errorf("%d of %d survived", survivors, tried)
	}
	fmt.Printf("%d of %d caught\n", tried, tried)
	return nil
}
