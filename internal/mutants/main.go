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
	{"1: public is no carrier", "internal/cachecontrol/cachecontrol.go", "case \"public\", \"s-maxage\":\n\t\t\t\treturn Caching{}", "case \"public\", \"s-maxage\":", "CarrierRule|Differential"},
	{"1: headers for CDNs are heeded", "internal/cachecontrol/cachecontrol.go", "if speaksToCaches(name) {", "if false {", "CarrierRule"},
	{"1: a 304 obeys the rule, too", "etag.go", "c.NoStore || !c.Carries()", "c.NoStore", "Differential"},
	{"1: links obey the rule", "link.go", "\tc := cachecontrol.Of(h)\n\tif !c.Carries() {\n\t\treturn\n\t}", "\tc := cachecontrol.Of(h)", "ALinkObeys"},
	{"1: a page with a ticket is private", "visit_response.go", "if v.personal && !done {", "if false {", "InTheBody"},
	{"1: no ticket after a public header", "script.go", "v.attached && !v.sentPrivate || ", "", "InTheBody"},
	{"1: no cookie on a 304", "visit_response.go", "return status == http.StatusNotModified ||", "return", "Freshens|NewTokenRides"},
	{"1: Seal knows what freshens", "visit_response.go", "if v.freshening {", "if false {", "SealRefuses|Freshens"},
	{"3: a stored page begins a session", "tracker.go", "\t\tv.wantStart()\n", "", "StoredPageBegins"},
	{"5: a no is not answered with a 304", "visit_response.go", "v.wantWhole() // nothing is cleared on a 304", "_ = v", "StoredPageBegins"},
	{"1: no cookie on HEAD", "visit_response.go", " || v.request.Method == http.MethodHead\n}", "\n}", "Freshens|NewTokenRides"},
	{"1: a 304 of a date has none", "etag.go", "delete(h, \"Last-Modified\")", "", "Freshens"},
	{"1: HEAD has no new tag", "etag.go", "if v.request.Method == http.MethodGet { // see freshens", "if true {", "HEADHasNoNewToken"},
	{"1: a page is private for everybody", "visit_response.go", "if v.isPersonalURL() {", "if v.isPersonalURL() && v.session.tracker != nil {", "ForEverybody"},
	{"1: also where nobody is recognised", "etag.go", "v.Hook() // also where", "v.hooked = v.hooked || v.permission >= Recognise // also where", "ForEverybody"},
	{"1: the response's type comes before the request", "visit_response.go", "if c := media.Of(h, first); c != media.Unknown {", "if c := media.Of(h, first); false {", "ForEverybody"},
	{"1: a body is known by its beginning", "internal/media/media.go", "if kind == \"\" && len(first) > 0 {", "if false {", "ForEverybody|AssetsAre"},
	{"1: a page as an image has no tag", "visit_response.go", "\tcase fetchmeta.Asset:\n\t\treturn false\n\tcase fetchmeta.Data:\n\t\treturn v.tracker.tagsAlone", "\tcase fetchmeta.Data:\n\t\treturn v.tracker.tagsAlone", "AssetsAre|AsAnImage|ForEverybody"},
	{"1: assets are left alone", "internal/media/media.go", "case \"image\", \"font\", \"audio\", \"video\":\n\t\treturn Asset", "case \"image\", \"font\", \"audio\", \"video\":", "AssetsAre"},
	{"1: Fetch Metadata tells a part of a page", "internal/fetchmeta/fetchmeta.go", "\treturn Asset\n}\n", "\treturn Page\n}\n", "AssetsAre"},
	{"7: a long list of tags costs nothing", "etag.go", "if entitytag.IsLong(lines) {\n\t\t\tv.tracker", "if false {\n\t\t\tv.tracker", "LongList"},
	{"1: no cookie begins on an asset", "cookie.go", "v.content == media.Asset || ", "", "AssetsAre"},
	{"1: no link on an asset", "link.go", "v.content == media.Asset || ", "", "AssetsAre"},
	{"1: data has tags where nothing else can carry", "tracker.go", "name != (ETag{}).Via() && name != (Fingerprint{}).Via()", "name != (ETag{}).Via()", "DataIs"},
	{"1: no link on somebody else's 304", "link.go", "status == http.StatusNotModified && !ours", "false && !ours", "Freshens"},
	{"1: Seal obeys the rule", "visit_response.go", "!v.sealable(purpose) || !c.Carries()", "!v.sealable(purpose)", "Differential|Shared"},

	{"beacon: mounted by path and method", "beacon.go", "mux.Handle(\"GET \"+host+t.beaconPath+name, h)", "mux.Handle(host+t.beaconPath+name, h)", "MountWorks"},
	{"beacon: mounted at each host", "beacon.go", "range append([]string{\"\"}, hosts...)", "range append([]string{\"\"}, hosts[:0]...)", "MountWorks"},
	{"beacon: no path that browsers clean", "config.go", "path.Clean(p)+\"/\" != p", "path.Clean(p) == \"\"", "NeverAskedFor"},

	{"8: Forget ends consent", "forget.go", "\t\tv.disclaims.Store(true)\n", "", "ForgettingEnds"},
	{"8: the form ends consent", "beacon.go", "\tv.endConsent(w.Header())\n", "", "EndsConsent"},
	{"8: an OptIn within is asked", "consent.go", "v.tracker.consent(v.request.WithContext(q))", "_ = q", "ForgettingEnds"},
	{"8: the end of consent is not shared", "consent.go", " || !cachecontrol.AllowPrivate(h) {", " {", "ConsentDoesNotEnd"},
	{"8: the end of consent freshens nothing", "visit_response.go", "v.disclaims.Load() && !v.freshening", "v.disclaims.Load()", "ConsentDoesNotEnd"},
	{"8: what the handler says of consent stays", "consent.go", "cookies.Sets(h, name) || ", "", "ConsentDoesNotEnd"},
	{"8: consent ends for the Domain, too", "consent.go", "domains = append(domains, c.Domain)", "_ = c.Domain", "TheConsentCookieIs"},
	{"8: a prefix keeps its promise", "internal/cookies/cookies.go", "secure = \"; Secure\" // or", "_ = secure // or", "TheConsentCookieIs"},
	{"8: OptIn has a name", "consent.go", "if !cookies.IsName(cookie) || !cookies", "if !cookies", "CookiesThatCannotBe"},
	{"8: OptIn has a value", "consent.go", " || !cookies.IsValue(value)", "", "CookiesThatCannotBe"},
	{"8: OptOut has a name", "consent.go", "if !cookies.IsName(cookie) {", "if false {", "CookiesThatCannotBe"},

	// 2. Nobody gets stale or mixed content.
	{"2: tags are taken apart", "internal/entitytag/entitytag.go", "kept = append(kept, WeakPrefix(tag.Weak)+`\"`+own+`\"`)", "kept = append(kept, member)", "Differential|OwnTags"},
	{"2: the suffix stays in If-Range", "internal/entitytag/entitytag.go", "own+tag.Suffix+`\"`", "own+`\"`", "Resumed|OwnTags"},
	{"2: a derived tag lets the date speak", "internal/entitytag/entitytag.go", "\t\t\t\t// Derived: without us the client would have no tag.", "\t\t\t\tkept = append(kept, member)", "Differential|OwnTags|Composed"},
	{"2: a 200 replaces a wrong tag", "visit_response.go", "{\"If-None-Match\", \"If-Modified-Since\"} {\n\t\tif _, ok := v.request", "{\"If-Modified-Since\"} {\n\t\tif _, ok := v.request", "Damaged|Hybrid"},
	{"2: the date goes with the tag", "visit_response.go", "{\"If-None-Match\", \"If-Modified-Since\"} {\n\t\tif _, ok := v.request", "{\"If-None-Match\"} {\n\t\tif _, ok := v.request", "Damaged"},
	{"2: a hash speaks for the header", "internal/httpwriter/httpwriter.go", "b.body = append(b.body, header.Value(h, name)...)", "_ = name", "ContentType"},
	{"2: a changed body is sent", "etag.go", "sent.Tag.Token == token && sent.Tag.Content == content", "sent.Tag.Token == token", "Composed|Differential"},
	{"2: the late header is dropped", "internal/httpwriter/httpwriter.go", "clear(h)\n\tfor i", "for i", "Notice"},
	{"2: a flush lets go of a held body", "internal/httpwriter/httpwriter.go", "\tif w.held != nil {\n\t\tif err := w.release(false); err != nil {\n\t\t\treturn err\n\t\t}\n\t}\n\treturn http.NewResponseController", "\treturn http.NewResponseController", "Events|Notice|Composed"},

	// 3. One browser ends as one confirmed session.
	{"3: the first burst is merged", "internal/rules/merge.go", "younger.Created.Sub(older.Created) > Burst", "true", "Burst"},
	{"3: the older session wins", "internal/ledger/merge.go", "if uuid.Older(b.ID, a.ID) {", "if !uuid.Older(b.ID, a.ID) {", "Oldest|Model"},
	{"3: what was absorbed is not added twice", "internal/rules/merge.go", "next.MergedSessions[i]; isNew || a.Hits > have.Hits {", "next.MergedSessions[i]; true {\n\t\t\thave.Visits, have.Hits = 0, 0", "Crash|Model"},
	{"3: what comes late of a merge in a row counts", "internal/rules/merge.go", "isNew || a.Hits > have.Hits {", "isNew {", "InARow|Model"},
	{"3: a lost answer is not counted twice", "internal/ledger/update.go", "case err == nil && isOurs(&r):", "case false:", "LostAnswer"},
	{"3: a Save compares", "internal/memstore/memstore.go", "if version != old {", "if version != old && false {", "Model|Parallel|MemoryStore"},

	{"3: touches are taken over in a merge", "internal/rules/merge.go", "next.Touches = touch.Add(next.Touches, t)", "_ = t", "Brings"},
	{"3: a confirmed alias confirms", "internal/rules/merge.go", "if alias.Confirmed && !root.Confirmed {", "if false {", "Unfinished"},
	{"3: an alias lasts as long as its tokens", "internal/ledger/merge.go", "\t\tif alias.Expires = m.rules.KeepUntil(alias.ID); !c.AliasEnd.IsZero() { // longer than its tokens: orders have its ID\n\t\t\talias.Expires = c.AliasEnd\n\t\t}\n", "", "Unfinished"},
	{"3: one cookie is met once", "internal/rules/merge.go", "case !slices.Contains(own.ConflictingCookies, cookie):", "default:", "MetOnce|SlowStore"},
	{"3: the page's session takes the anchor", "internal/ledger/merge.go", "case leader < 0 && c.Link:", "case leader < 0 && c.Link:\n\t\t\tcontinue\n\t\tcase false:", "Joined|ManyPages|AJoinedSite"},
	{"3: a 304 has a link, too", "link.go", "status != http.StatusOK && status != http.StatusNotModified", "status != http.StatusOK", "OfThePagesOwn"},
	{"3: the anchor is seeded, though it never changes", "beacon.go", "if v.session.tracker != nil && !v.isStored() {", "if false {", "AsksForConsent"},
	{"3: a link does not confirm", "tracker.go", "c.TokenReturned = !leader.Link", "c.TokenReturned = true", "Confirm"},
	{"3: a form confirms", "tracker.go", "c.TokenReturned, c.Via, c.StoredToken = true, first", "c.TokenReturned, c.Via, c.StoredToken = first.Via != viaForm, first", "ALead"},
	{"3: the landing page counts once", "internal/rules/rules.go", "if c.NotCounted = c.BeforeConsent && !begins; c.NotCounted {", "if false {", "Landing|WhatIsNotWrapped"},
	{"3: a merge brings no direct touch", "internal/rules/merge.go", "t.Referrer != \"\" && !visiting(&root, t.Time, u.VisitGap) || len(root.Touches) == 0", "true", "JoinedPage"},
	{"3: a tagged page loaded again is one click", "internal/rules/merge.go", "touch.IsCampaign(&t) && !sameClick(&root, &t)", "touch.IsCampaign(&t)", "JoinedPage"},
	{"3: a slow merge costs no page view", "tracker.go", "if errors.Is(err, context.DeadlineExceeded) && !first.Follows {", "if false && errors.Is(err, context.DeadlineExceeded) {", "TakeLong"},
	{"3: while a merge is under way the carriers stay", "visit_response.go", "if v.unresolved && !v.clearing.Load() {", "if false {", "CarriersStay"},
	{"3: a payment page's POST starts no session", "internal/fetchmeta/fetchmeta.go", "if site == \"cross-site\" && r.Method != http.MethodGet {", "if false {", "Payment"},

	// 4. Nobody is given somebody else's session.
	{"4: two different tokens are no claim", "visit_claims.go", "\t\tc.ambiguous = true\n", "", "TwoDifferent"},
	{"4: a planted cookie is taken away", "cookie.go", "\tif v.isAmbiguous(\"cookie\") {\n\t\tc.expireOther(v, h)\n\t\treturn\n\t}\n", "", "TwoCookies"},
	{"4: the host's own cookie stays", "cookie.go", "\tif c.Domain != \"\" {\n\t\tother.Domain = \"\"\n", "\tif true {\n\t\tother.Domain = \"\"\n", "TwoCookies"},
	{"4: a leaked tag dies", "internal/rules/merge.go", "if Leaked(&own) {\n\t\t\treturn own, !c.Follows", "if false {\n\t\t\treturn own, !c.Follows", "Leaked"},
	{"4: a dead tag recognises nobody", "internal/ledger/merge.go", "case c.Follows && rules.Leaked(&own):", "case c.Follows && rules.Leaked(&own) && false:", "Leaked"},
	{"4: a dead tag is dead by itself", "tracker.go", "if err == nil && c.StoredToken && rules.Leaked(&record) {", "if false {", "LeakedPage"},
	{"4: a link is honoured once", "internal/rules/merge.go", "case c.Link && own.LinksUsed != c.LinksUsed:", "case false:", "UsedOnce|Model"},
	{"4: a link that leads nowhere is used up", "internal/rules/merge.go", "\t\town.LinksUsed++\n", "", "UsedOnce|LeakedPage"},
	{"4: a used link stays used in an alias", "internal/rules/merge.go", "ConflictingCookies: alias.ConflictingCookies, LinksUsed: alias.LinksUsed,", "ConflictingCookies: alias.ConflictingCookies,", "UsedOnce|StaysUsed"},
	{"4: many anchors are a leak", "internal/rules/merge.go", " || r.LinksUsed >= maxConflicts+max(0, int(r.LastSeen.Sub(r.Created)/anchorLife))", "", "LeakedPage"},
	{"4: the anchor asks where it is asked from", "visit_class.go", "\t\tv.class.Foreign = true\n\t\treturn\n", "", "FromAnotherSite"},
	{"4: the anchor asks what for", "visit_class.go", "site != \"\" && dest != \"image\" && dest != \"empty\"", "site == \"?\"", "FromAnotherSite"},
	{"4: an old browser has to show it", "internal/origin/origin.go", "\t_, ok := Referrer(r)\n\treturn ok", "\treturn true", "FromAnotherSite|ItsOwnOrigin"},
	{"4: the frame answers its own origin", "internal/beacon/beacon.go", "origin.IsSame(r) && (dest == \"iframe\" ||", "(dest == \"iframe\" ||", "ItsOwnOrigin"},
	{"4: the frame answers frames", "internal/beacon/beacon.go", "origin.IsSame(r) && (dest == \"iframe\" || dest == \"frame\")", "origin.IsSame(r) && dest != \"?\"", "ItsOwnOrigin"},
	{"4: a link is bound to the browser", "internal/token/bound.go", "{to.Agent, to.Language}", "{to.Language}", "Bound|UsedOnce|Model"},
	{"4: a link is bound to the language", "internal/token/bound.go", "{to.Agent, to.Language}", "{to.Agent}", "Bound|UsedOnce"},
	{"4: a link is bound to the network", "internal/token/bound.go", "return append(b, addressKey(to.From)...)", "return b", "Bound|UsedOnce"},
	{"4: a link has its time", "visit_class.go", "age <= int64(token.LinkLife/time.Second)", "true", "UsedOnce"},
	{"4: a ticket of the page is none of the script's", "visit_class.go", "ok && t.Issued == 0 {", "ok {", "FromAnotherSite"},
	{"4: a form comes from this origin", "form.go", "&& !v.class.Foreign && origin.IsSame(v.request)", "&& !v.class.Foreign", "WhichForms"},
	{"7: a handler does not wait for a form", "tracker.go", "if !v.awaitForm() {", "if v.awaitForm(); v.form != nil {\n\t\tv.settleForm(true)\n\t} else {", "NobodyWaitsForAForm"},
	{"4: no session begins while a form is unread", "tracker.go", "if _, open := v.form.Text(); open {", "if false {", "AFormThatNobodyReads"},
	{"7: who stands further out has the whole body", "visit_response.go", "r.Body = v.form // which", "_ = v.form // which", "FurtherOutHasTheBody"},
	{"4: a ticket is bound to what the client sent", "tracker.go", "if v.hooked && !v.isPortable() {\n\t\tv.bind()\n\t}", "", "BoundToWhatWasSent"},
	{"4: values that differ keep sessions apart", "internal/rules/merge.go", "if ok && v.Text != \"\" && w.Text != \"\" && w.Text != v.Text {", "if ok && v.Text != \"\" && w.Text != \"\" && w.Text != v.Text && false {", "DifferentValues"},
	{"4: other sites' pages are not answered", "internal/fetchmeta/fetchmeta.go", "c.Foreign = site == \"cross-site\" && !page", "c.Foreign = false", "CrossSite|WhatMints"},

	// 5. A forgotten session never returns.
	{"5: a tombstone stops a hit", "internal/ledger/update.go", "case err == nil && u.rules.IsOver(&r, changes[0].At):\n\t\t\treturn store.Record{}, 0, ErrForgotten", "case false:", "Forget|Model"},
	{"5: what was merged is forgotten with it", "internal/ledger/forget.go", "\t\tif err := bury(&r); err != nil {\n\t\t\treturn false, err\n\t\t}\n", "", "MergedSessionsAlong|EveryAlias"},
	{"5: an alias that is taken off the list is found", "internal/ledger/merge.go", "\t\t\tif err := m.aliases.add(ctx, r.ID, a.ID, m.rules.KeepUntil(a.ID)); err != nil {\n\t\t\t\treturn err\n\t\t\t}\n", "", "EveryAlias"},
	{"5: aliases of aliases are found", "internal/ledger/aliases.go", "queue = append(queue, id)", "_ = id", "EveryAlias"},
	{"5: an alias of a merge that broke off is found", "internal/ledger/aliases.go", "if f.indexer != nil {", "if false {", "BrokeOff"},
	{"4: who has become no alias is not forgotten", "internal/ledger/aliases.go", "case !seen[r.MergedInto]:", "case false:", "BrokeOff|EveryAlias"},
	{"5: pages end with what they list", "internal/ledger/tombstones.go", "\tif err := t.aliases.drop(ctx, r.ID); err != nil {\n\t\treturn err\n\t}\n", "", "EveryAlias"},
	{"3: an alias off the list is merged once", "internal/ledger/merge.go", "alias.Via == store.ViaMerged && rules.IsEmpty(&alias)", "false && rules.IsEmpty(&alias)", "OffTheList"},
	{"5: a no is for all cookies", "visit_claims.go", "if v.permission == Deny && len(v.carriers) < maxDenied {", "if false {", "ANoForgets"},
	{"5: a denied session that was never confirmed leaves soon", "internal/rules/rules.go", "\t\tt.Expires = r.Expires\n", "", "FloodOfDenials"},
	{"5: a full store goes on forgetting", "internal/memstore/memstore.go", " && !s.evictTombstone()", "", "FloodOfDenials"},
	{"5: what the application has forgotten stays so", "internal/memstore/memstore.go", " && s.vias[have.via] == store.ViaDenied {", " {", "FloodOfDenials|ForgetFails"},
	{"8: the log names who was forgotten only", "internal/ledger/tombstones.go", "if !uuid.IsDerived(r.ID) && !next.Expires.Equal(r.Expires) {", "if true {", "FloodOfDenials|EveryAlias"},
	{"8: a link keeps nobody for long", "internal/rules/rules.go", "Expires: now.Add(unconfirmedLife)}, now", "Expires: u.KeepUntil(id)}, now", "ALinkKeeps"},
	{"5: aliases between are forgotten, too", "internal/ledger/forget.go", "path = append(path, r)\n", "_ = path\n", "ForgetTakes|ForgetByAnAlias|Row"},
	{"5: tombstones are kept", "internal/memstore/memstore.go", "!have.is(slotUsed) || have.is(slotListed) || have.is(slotPermanent):", "!have.is(slotUsed) || have.is(slotListed):", "Tombstone"},
	{"5: what is not there can be forgotten", "internal/ledger/records.go", "return s.reborn(id)\n", "return store.Record{}, ErrForgotten\n", "NotThere"},

	// 6. A token not signed by our keys is worth nothing.
	{"6: the MAC is compared", "internal/token/token.go", "subtle.ConstantTimeCompare(s.mac()[:], s.raw[len(id):]) == 1", "true", "Worth|Damaged|Rotate"},
	{"6: each purpose has a key of its own", "internal/token/token.go", "\"revisit v1 token \"+purpose", "\"revisit v1 token\"", "Golden|Worth"},
	{"6: decoded strictly", "internal/token/token.go", "base64.RawURLEncoding.Strict()", "base64.RawURLEncoding", "Damaged"},
	{"6: a token has its time", "visit_claims.go", "case v.now.UnixMilli()-uuid.Millis(id) >= millis.Ceil(v.tracker.lifetime):", "case false:", "Lifetime"},

	// 7. The store's failure is never the page's failure.
	{"7: a change waits for so long", "internal/ledger/queue.go", "case <-ctx.Done():\n\t\treturn store.Record{}, true, ctx.Err()", "case <-make(chan int):\n\t\treturn store.Record{}, true, nil", "FailsOrHangs"},
	{"7: other work waits for so long", "internal/ledger/runner.go", "case <-timer.C:\n\t\treturn zero, context.DeadlineExceeded", "case <-make(chan int):\n\t\treturn zero, nil", "FailsOrHangs"},
	{"7: a panic is an error", "internal/ledger/runner.go", "if p := recover(); p != nil {", "if p := any(nil); p != nil {", "Panics"},
	{"7: no carrier without a session", "visit_response.go", "if err := v.session.create(v.context.Context); err != nil {", "if v.session.create(v.context.Context); false {", "FailsOrHangs"},

	// 8. Who has not been asked, or said no, leaves no trace.
	{"7: page views wait for the store", "internal/ledger/writebehind.go", "\tcase len(b.tried) == 0:\n\t\t\tw.end(b)\n\t\t\tw.requeue(b.id, b.changes)", "\tcase len(b.tried) == 0:\n\t\t\tw.end(b)", "WaitForTheStore|Model|WritesHang"},
	{"7: what waits is kept apart if it may have been saved", "internal/ledger/writebehind.go", "case len(b.tried) == 0:", "default:\n\t\t\tw.end(b)\n\t\t\tw.requeue(b.id, b.changes)\n\t\tcase false:", "WaitForTheStore|Model"},
	{"3: a write that was replaced is known all the same", "internal/ledger/batch.go", "b.saved = true", "_ = b", "WriteBehindAgainst"},
	{"3: what is shown is not what is written", "internal/ledger/flush.go", "r := e.stored\n\t\t\t\tf.was = r.Confirmed", "r := w.shown(e)\n\t\t\t\tf.was = r.Confirmed", "TakenAlong|WriteBehindAgainst|WritesHang"},
	{"3: each campaign of an outage is kept", "internal/ledger/writebehind.go", "!touch.IsCampaign(&c.Touch) &&\n", "true &&\n", "OfAnOutage"},
	{"3: page views of an outage keep their visits", "internal/ledger/writebehind.go", "c.At.Sub(first) < w.rules.VisitGap", "true", "OfAnOutage"},
	{"3: page views of a renewal count", "internal/ledger/writebehind.go", "e.held++", "_ = e", "WhileItIsRenewed"},
	{"3: a redirect is no page view", "visit_response.go", "return status < 300 || status >= 400", "return true", "PageThatWasShown|ChainOf"},
	{"3: nor is what leaves the browser where it is", "visit_response.go", "case http.StatusNoContent, http.StatusResetContent:\n\t\treturn false", "case http.StatusNoContent:\n\t\treturn false", "PageThatWasShown"},
	{"3: a 304 shows a page", "visit_response.go", "case http.StatusNotModified:\n\t\treturn true\n\t}\n\treturn status < 300", "}\n\treturn status < 300", "PageThatWasShown"},
	{"3: the header of each page is looked at", "tracker.go", "if v.session.counted && v.class.Navigation {", "if false {", "PageThatWasShown|ChainOf"},
	{"3: only a navigation shows no page", "visit_response.go", "if v.session.counted && v.class.Navigation && !isShown", "if v.session.counted && !isShown", "GoesToNoPage"},
	{"3: a session begins without its redirect", "session.go", "s.known().Hits = 0", "_ = s", "PageThatWasShown|ChainOf"},
	{"3: what was no page view waits with the others", "internal/rules/rules.go", "return c.Hit || c.Retracted > 0", "return c.Hit", "PageThatWasShown|WriteBehindAgainst"},
	{"3: what was no page view is folded in", "internal/ledger/writebehind.go", "e.pending[n-1].Retracted += c.Retracted", "_ = n", "PageThatWasShown|WriteBehindAgainst"},
	{"3: redirects in a row are no coming back", "internal/rules/rules.go", "if c.Retracted > 0 && !r.Confirmed && r.Hits == 0 {", "if false {", "ChainOf"},
	{"3: OnHit is notified of what was none", "internal/ledger/notify.go", "count := v.count - v.retracted", "count := v.count", "PageThatWasShown|ChainOf"},
	{"7: a redirect does not wait", "internal/ledger/ledger.go", "if err := l.queue.add(ctx, id, task{change: *c}); err != nil && !l.keep(id, &[1]rules.Change{*c}) {\n\t\tl.missed(err)\n\t}", "l.Record(ctx, id, &[1]rules.Change{*c}, l.runner.timeout)", "RedirectDoesNotWait"},
	{"7: Close saves what waits", "internal/ledger/writebehind.go", "for ctx.Err() == nil && !w.isEmpty() {", "for false {", "Gather|CloseTells"},
	{"7: Close goes on while it has time", "internal/ledger/writebehind.go", "if !w.flush(ctx) {\n\t\t\tsleep(ctx, closePause)", "if !w.flush(ctx) {\n\t\t\tbreak", "CloseWaits"},
	{"3: what comes while a flush is under way is not lost", "internal/ledger/writebehind.go", "\tbehind := e.pending\n\te.pending = nil\n", "\tvar behind []rules.Change\n\te.pending = nil\n", "Model|WaitForTheStore|WritesHang"},
	{"5: a forgotten session has nothing in hand", "internal/ledger/writebehind.go", "\t\tdelete(w.entries, id)\n\t}\n\tw.forgotten[id] = time.Now()\n", "\t}\n", "Agree"},
	{"3: what begins a visit does not wait", "internal/rules/rules.go", "!c.UnlessHitSince.IsZero() || r.LastHit.IsZero() || c.At.Sub(r.LastHit) >= u.VisitGap", "!c.UnlessHitSince.IsZero() || r.LastHit.IsZero()", "DoesNotGather"},
	{"3: what goes on is a session that may", "internal/memstore/memstore.go", "!have.is(slotContinues) || ", "", "FastPath|Forget|Model"},
	{"3: what goes on has not expired", "internal/memstore/memstore.go", "now >= have.expires || ", "", "KeptInAFlood"},
	{"3: a visit that goes on ends", "internal/memstore/memstore.go", " || hit && now-have.lastHit >= millis.Ceil(gap)", "", "FastPath|Journeys"},
	{"3: a campaign does not just go on", "internal/ledger/ledger.go", " || hit && isCampaign() {", " {", "FastPath|Journeys"},
	{"3: a page view that goes on counts", "internal/memstore/memstore.go", "\t\thave.hits++\n", "", "FastPath|Model"},
	{"3: what goes on is seen", "internal/memstore/memstore.go", "\t\thave.lastSeen = max(have.lastSeen, now)\n", "", "FastPath"},
	{"3: who goes on has returned", "internal/memstore/memstore.go", "\t\t\thave.flags |= slotReturned\n\t\t}\n\t\thave.version", "\t\t\t_ = have\n\t\t}\n\t\thave.version", "KeptInAFlood"},
	{"3: a change in place is a version", "internal/memstore/memstore.go", "have.version = rules.NewVersion()", "_ = have", "Model|FastPath|Parallel"},
	{"4: a leaked tag does not go on", "internal/rules/merge.go", " && !Leaked(r)", "", "Leaked"},
	{"5: a renewed session does not go on", "internal/rules/merge.go", " && r.LinksUsed != store.Renewed", "", "FastPath|Renew"},
	{"3: pending merges are not on the fast path", "internal/rules/merge.go", "!slices.ContainsFunc(r.MergedSessions, func(a store.MergedSession) bool { return a.NotifyPending }) && ", "", "OnMerge"},
	{"3: another carrier is noted", "internal/memstore/memstore.go", "s.vias[have.via] != via || ", "", "FastPath"},
	{"3: a flood pushes out itself", "internal/memstore/memstore.go", "if !have.is(slotReturned) {\n\t\t\treturn n", "if true {\n\t\t\treturn n", "InAFlood"},
	{"3: who asks twice at once has not returned", "internal/memstore/memstore.go", "case now.Sub(r.Created) >= returnGap:", "default:", "InAFlood"},
	{"4: a guess is written into no carrier", "visit_response.go", "v.class.Foreign || v.weak {", "v.class.Foreign {", "Hint"},
	{"4: a guess goes into no link", "link.go", "!v.session.isSaved() || v.weak || v.isPortable()", "!v.session.isSaved() || v.isPortable()", "NoLink"},
	{"4: a form makes no token of a guess", "visit_claims.go", "(t.LinksUsed == 0 || v.permission == Deny)", "true", "WhoHasNoToken"},
	{"4: a crowd is nobody", "internal/ledger/fingerprint.go", "next.ConflictingCookies = []store.ID{s.ID}", "return root.ID, true, nil", "Crowd"},
	{"4: a token silences the fingerprint", "tracker.go", "v.fingerprint = nil // a token came", "_ = 0 // a token came", "Silences"},
	{"4: a proxy that is not configured has no address", "clientaddr.go", "if why == \"\" {", "if true {", "NotFingerprinted"},
	{"4: the list is read from its end", "internal/clientip/clientip.go", "i := strings.LastIndexByte(list, ',')\n\treturn list[:max(i, 0)], list[i+1:]", "a, b, _ := strings.Cut(list, \",\")\n\treturn b, a", "Forwarded"},
	{"4: a guess writes nothing", "session.go", "\tif s.guess {\n\t\treturn ErrGuess\n\t}\n", "", "OnlyLooks"},
	{"4: a guess forgets nobody", "forget.go", "if v != nil && v.session.guess {", "if false {", "OnlyLooks"},
	{"3: a guess confirms nobody", "match.go", "\tif k.HasTokens {\n", "\tif false {\n", "OnlyLooks|ConfirmsNobody"},
	{"4: a weak session is not merged into one with tokens", "internal/ledger/fingerprint.go", "case isSaved && (to == record.ID || hasTokens):", "case isSaved && to == record.ID:", "SlowGuess"},
	{"3: what nobody comes back for leaves no alias", "internal/ledger/merge.go", "alias.Expires = c.AliasEnd\n", "_ = c.AliasEnd\n", "NothingIsLeft"},
	{"8: no hint of what was cleared", "tracker.go", "v.fingerprint != nil && v.permission == Restore && strong", "v.fingerprint != nil && strong", "Hint"},
	{"8: an expired consent clears nothing", "tracker.go", "if !t.clearUnasked {", "if false {", "LeavesNoTrace|UnaskedTags|ConsentExpires"},
	{"8: a site may have them cleared", "tracker.go", "if !t.clearUnasked {", "if true {", "LeavesNoTrace|UnaskedTags|ConsentExpires"},
	{"8: Global Privacy Control", "fingerprint.go", "header.Value(h, \"Sec-Gpc\") == \"1\"", "false", "NotFingerprinted"},
	{"8: a fingerprint needs permission", "match.go", "(v.permission == Recognise || v.permission == Restore) &&", "true &&", "NotFingerprinted"},
	{"8: salts are destroyed", "internal/ledger/salts.go", "return time.UnixMilli((period + 2) * window.Milliseconds()).UTC()", "return time.UnixMilli((period + 20) * window.Milliseconds()).UTC()", "Salts|Again|Golden"},
	{"8: salts are destroyed in memory", "internal/ledger/salts.go", "at(period, func(salts) { delete(k.all, via) })", "at(period, func(salts) {})", "Again"},
	{"8: the salt before is destroyed in memory", "internal/ledger/salts.go", "\t\t\t\tknown.previous = nil\n", "", "Again"},
	{"8: salts are random", "internal/ledger/salts.go", "rand.Read(fresh[:])\n", "rand.Read(nil)\n\t\tid := saltID(via, window, period)\n\t\tfresh = sha256.Sum256(id[:])\n", "SaltsAre|Again"},
	{"4: a guess tells nothing", "match.go", "shown.Values, shown.Touches, shown.MergedSessions = nil, nil, nil", "shown.MergedSessions = nil", "GuessTells"},
	{"3: a look gives way to a token", "internal/ledger/fingerprint.go", "case !own.Confirmed, !root.Confirmed,", "case !root.Confirmed,", "LookGives"},
	{"4: yesterday's crowd is one today", "internal/ledger/fingerprint.go", "case before.Ambiguous:", "case false:", "NextDay"},
	{"7: a hint costs no cookie", "tracker.go", "if !strong { // which", "if true { // which", "SlowHint"},
	{"4: a signal of the handshake counts", "fingerprint.go", "hello = seen.Stable", "_ = seen", "Handshake"},
	{"4: where all are proxies nobody is known", "internal/clientip/clientip.go", "if line == 0 {\n\t\t\t\t\treturn netip.Addr{}", "if line == 0 {\n\t\t\t\t\treturn addr", "Forwarded"},
	{"5: a salt is not forgotten", "forget.go", "if uuid.IsDerived(id) || id.IsZero() {", "if false {", "WhatIsNoSession"},
	{"3: what is born again is no leak", "internal/rules/merge.go", "max(0, int(r.LastSeen.Sub(r.Created)/anchorLife))", "int(r.LastSeen.Sub(r.Created)/anchorLife)", "TagOutlives"},
	{"2: the status of nothing is left open", "internal/httpwriter/httpwriter.go", "\tw.decider.Final(Final{Header: w.Header(), Status: http.StatusOK, Unwritten: true})\n}", "\tw.WriteHeader(http.StatusOK)\n}", "FurtherOut"},
	{"2: a body that was broken off is no page", "internal/httpwriter/httpwriter.go", "if done && (held.declared < 0 || len(held.body) == held.declared) {", "if done {", "BrokenOff"},
	{"2: a body does not end like a header", "internal/httpwriter/httpwriter.go", "b.body = strconv.AppendInt(b.body, int64(n), 10)", "_ = strconv.AppendInt", "ABodyIs"},
	{"touches: a reload is none", "internal/rules/rules.go", "again := c.Reload && hasTouch(r, &c.Touch)", "again := false", "Journeys"},
	{"touches: a redirect's target confirms nobody", "internal/rules/rules.go", "case r.Via == store.ViaRedirect && c.Hit", "case false && c.Hit", "MailScanner"},
	{"touches: the landing page takes the direct one's place", "internal/rules/rules.go", "switch direct := n > 0 &&", "switch direct := false && n > 0 &&", "LandingPage"},
	{"touches: a click counts once in a merge", "internal/rules/merge.go", " && !hasClick(&root, &t) ||", " ||", "ClickOnTwo"},
	{"touches: credentials are left out", "internal/touch/personal.go", "hasToken(s) ||", "", "Personal"},
	{"touches: long texts are not looked at", "internal/touch/personal.go", "s = s[:min(len(s), maxPersonal)]", "s = s[:min(len(s), 1<<30)]", "LongLink"},
	{"touches: a lone percent sign hides nothing", "internal/touch/personal.go", "\t\tb = append(b, s[i])\n\t}", "\t\treturn s\n\t}", "Personal"},
	{"touches: a plus sign begins a number", "internal/touch/query.go", "isPersonal(raw) || ", "", "NoNumber"},
	{"touches: the URL's base64 is a token, too", "internal/touch/personal.go", "whole.changes*2 > whole.n-parts", "false", "RandomTokens|Personal"},
	{"links: a click counts with another campaign", "internal/rules/rules.go", " && (touch.IsUntagged(t) || touch.SameTags(t, &u))", "", "Journeys"},
	{"links: a click without its campaign is the same", "internal/rules/rules.go", "touch.IsUntagged(t) || ", "", "Journeys"},
	{"links: one click of two is seen again", "internal/touch/query.go", "other == pair {", "other == pair && false {", "Journeys"},
	{"links: clicks are kept by preference", "internal/touch/query.go", "q.clicks[i].rank < c.rank {", "true {", "ClickIdentifiers"},
	{"links: half a click is none", "internal/touch/query.go", "half || len(value) > maxClickText", "half", "ClickIdentifiers"},
	{"links: a click is not cut with the query", "internal/touch/query.go", "half || len(value) > maxClickText", "len(value) > maxClickText", "ClickIdentifiers"},
	{"links: no login in a click", "internal/touch/query.go", "} else if namesSomebody(value) {", "} else if false {", "ClickIdentifiers"},
	{"links: macros are no clicks", "internal/touch/query.go", "(isMacro(raw) || isMacro(value))", "false", "Macros"},
	{"links: a macro is looked at as it came", "internal/touch/query.go", "(isMacro(raw) || isMacro(value))", "isMacro(value)", "Macros"},
	{"links: what names a person is counted", "internal/touch/query.go", "case kind == paramPersonal:\n\t\tq.left[clipPersonal]++", "case kind == paramPersonal:", "ClickIdentifiers"},
	{"links: what names a person is no Config.ClickIDs", "internal/touch/query.go", "case kind == paramPersonal:\n\t\treturn \"", "case false:\n\t\treturn \"", "ClickIDsOfAConfig"},
	{"links: what names a person is in no text", "internal/touch/query.go", " || hasPersonalName(s) {", " {", "Personal"},
	{"links: names are unescaped", "internal/touch/query.go", "\t\tkey = unescapeOnce(key)\n", "", "NamesInALink"},
	{"links: names have no ampersand of HTML", "internal/touch/query.go", "\t\tkey = key[i+1:]\n", "", "NamesInALink"},
	{"links: names are in letters of any case", "internal/touch/query.go", "name = strings.ToLower(key)", "name = key", "NamesInALink"},
	{"links: a second question mark", "internal/touch/query.go", "\t\tpair = rest\n", "\t\tif pair = rest; true {\n\t\t\treturn true\n\t\t}\n", "NamesInALink"},
	{"links: another page's campaign", "internal/touch/query.go", "if !ok || isAddress(before) {", "if !ok || isAddress(before) && false {", "NamesInALink"},
	{"links: an escaped query", "internal/touch/query.go", "\t\t\t\tq.read(inner, nested+1)\n", "", "NamesInALink"},
	{"links: an escaped question mark", "internal/touch/touch.go", "\t\t\t\t\treturn path[:i], rest\n", "", "NamesInALink"},
	{"links: Google's number of the campaign", "internal/touch/query.go", "\t\tq.touch.ID = q.campaign\n", "", "GoogleTags"},
	{"links: an ad found by search is paid", "internal/touch/touch.go", "case search && paid:", "case search && paid && false:", "GoogleTags"},
	{"links: a free listing is no campaign", "internal/touch/fields.go", " && !(is == shoppingListing && kind == referrerKind{\"search\", \"google\"})", "", "GoogleTags"},
	{"links: a long query is not looked at", "internal/touch/query.go", "if len(text) > maxQuery {", "if false {", "LongQuery|ClickIdentifiers"},
	{"links: many pairs are not looked at", "internal/touch/query.go", "q.pairs > maxPairs {", "false {", "ClickIdentifiers"},
	{"links: many values are not looked at", "internal/touch/query.go", "case q.tries == maxValuesRead:", "case false:", "ClickIdentifiers"},
	{"links: what is left out is counted once", "campaign.go", "\t\tv.clipped = true\n", "", "ClippedIsCounted"},
	{"links: marks of direction are left out", "internal/touch/query.go", ", unicode.Is(unicode.Bidi_Control, r):", ":", "CannotBeSeen|Touches"},
	{"links: control characters are no text", "internal/touch/query.go", "\t\t\tok = false\n", "", "CannotBeSeen|Touches"},
	{"links: an escape is not cut", "internal/touch/query.go", "n = i // within an escape", "_ = i", "CutBetween"},
	{"links: an escaped character is not cut", "internal/touch/query.go", "ok && isContinuation(c) {", "false && ok && isContinuation(c) {", "CutBetween"},
	{"links: a landing page begins with one slash", "internal/touch/touch.go", "\t\tpath = \"/\" + rest\n", "", "ALandingPageIs"},
	{"links: a product is no telephone", "internal/touch/personal.go", " && !isProduct(part) {", " {", "Personal"},
	{"links: a product has its check digit", "internal/touch/personal.go", "return sum%10 == 0", "return true", "Personal"},
	{"links: an ISBN has its check digit", "internal/touch/personal.go", "return sum%11 == 0", "return true", "Personal"},
	{"links: a path keeps what is not personal", "internal/touch/personal.go", "\t\t\tsegments[i] = \"*\"\n", "\t\t\t_ = i\n", "NoPersonalPath|Touches"},
	{"links: an exact host is one", "internal/touch/referrer.go", "domain, in = host, all.hosts", "domain = host", "ReferrersAre"},
	{"links: a host has a port", "internal/origin/origin.go", " || strings.EqualFold(hostname.Of(u), hostname.Plain(r.Host))", "", "HostIsWritten"},
	{"links: the browser's word on its origin", "internal/origin/origin.go", "return ok && IsBehindProxy(from, r) &&", "return false && ok && IsBehindProxy(from, r) &&", "ProxyHides"},
	{"links: a style sheet's image is no word", "internal/origin/origin.go", " && header.Value(r.Header, \"Sec-Fetch-Dest\") != \"image\" &&", " &&", "ProxyHides"},
	{"links: www. is the same site", "internal/touch/referrer.go", "strings.EqualFold(hostname.WithoutWWW(host), hostname.WithoutWWW(", "strings.EqualFold(host, (", "OwnPagesAre"},
	{"links: www. is another origin", "internal/origin/origin.go", "strings.EqualFold(hostname.Of(u), hostname.Plain(r.Host))", "strings.EqualFold(hostname.WithoutWWW(hostname.Of(u)), hostname.WithoutWWW(hostname.Plain(r.Host)))", "AnotherHostIs"},
	{"touches: hosts are in ASCII", "internal/touch/referrer.go", "!hostname.IsValid(u.Host) ||", "", "HostsAre"},
	{"touches: a late landing page has its referral", "internal/rules/rules.go", "direct && (campaign || c.Touch.Referrer != \"\"", "direct && (campaign || false", "LandingPageIs"},
	{"4: what is merged while it is renewed is renewed", "internal/ledger/renew.go", "if !root.MergedInto.IsZero() {\n\t\t\treturn store.ErrConflict", "if false {\n\t\t\treturn store.ErrConflict", "RenewDuring"},
	{"5: OnForget has its time", "internal/ledger/ledger.go", "return forgetLimit*l.runner.timeout + hookTimeout", "return forgetLimit * l.runner.timeout", "MayTake"},
	{"7: nothing begins after Close", "internal/ledger/runner.go", "\tdefer r.closed.Store(true)\n", "", "BeginsAfter"},
	{"3: the list of merges ends", "internal/ledger/merge.go", "alias.Via == store.ViaMerged && rules.IsEmpty(&alias) // taken", "false // taken", "ListOfMerges"},
	{"2: what nobody has written has no hash", "internal/httpwriter/httpwriter.go", "\tw.decider.Final(Final{Header: w.Header(), Status: http.StatusOK, Unwritten: true})\n}", "\tb := hold(w.Header(), -1)\n\tb.hashed = b.hash(w.Header())\n\tw.decider.Final(Final{Header: w.Header(), Status: http.StatusOK, Unwritten: true, Whole: b})\n}", "FurtherOut"},
	{"5: each forgotten session is logged", "internal/ledger/tombstones.go", "t.logger.Info(\"revisit: forgotten\", \"session\", r.ID)", "_ = r", "MergedSessions"},
	{"7: calls that hang are bounded", "internal/ledger/flush.go", "default: // all of them hang\n\t\tvar zero T\n\t\treturn zero, errBusy\n", "default:\n\t\tgo func() { w.busy <- struct{}{} }()\n", "HangsForEver"},
	{"7: nobody joins a group that is waited for", "internal/ledger/notify.go", "if n.closed || a.underWay", "if a.underWay", "CloseStarts"},
	{"8: a word of a robot's begins where words do", "internal/bot/bot.go", "(!word.begin || beginsWord(s, i))", "true", "RobotsName|IsBotOnLists"},
	{"8: a word of a robot's ends where words do", "internal/bot/bot.go", "(!word.end || endsWord(s, i+len(word.text)))", "true", "RobotsName|IsBotOnLists"},
	{"8: a model is called what it likes", "internal/bot/bot.go", "(kind == desktop || comment == 0 || hasVersion(userAgent[i:]))", "true", "RobotsName"},
	{"8: a robot gives its version in a comment", "internal/bot/bot.go", "return ok && version != \"\"", "return false && ok && version != \"\"", "RobotsName"},
	{"8: apps of telephones do what robots do", "internal/bot/bot.go", "case kind == desktop && (found&workWord", "case (found&workWord", "RobotsName"},
	{"8: a robot says what it does", "internal/bot/bot.go", "found&workWord != 0 || ", "", "RobotsName"},
	{"8: an address of a site betrays a robot", "internal/bot/bot.go", "found&topLevel != 0 && comment == 0", "false", "RobotsName"},
	{"8: an address is not in a comment, and has no version", "internal/bot/bot.go", "found&topLevel != 0 && comment == 0 && !hasVersion(userAgent[i:])", "found&topLevel != 0", "RobotsName"},
	{"8: an at sign alone is no mail address", "internal/bot/bot.go", "found&mail != 0 && isMail(userAgent, i)", "found&mail != 0", "RobotsName"},
	{"8: a telephone of the oldest has no engine", "internal/bot/bot.go", "if deviceWords.at(userAgent, i) != 0 {", "if false {", "RobotsName"},
	{"8: a browser on a computer is no program", "internal/bot/bot.go", "\t\t\tkind = desktop\n", "\t\t\tkind = program\n", "RobotsName"},
	{"8: Internet Explorer is compatible", "internal/bot/bot.go", " && !strings.Contains(comment, \"Trident/\") && !strings.Contains(comment, \"MSIE \")", "", "RobotsName"},
	{"8: a later comment may be a robot's", "internal/bot/bot.go", "at += i + len(\"ompatible;\")\n", "at += i + len(\"ompatible;\")\n\t\tif at > 30 {\n\t\t\treturn false\n\t\t}\n", "RobotsName"},
	{"8: a telephone needs no version", "internal/bot/bot.go", " && kindOf(userAgent) != device\n", "\n", "RobotsName"},
	{"8: bots get nothing", "tracker.go", "v.permission != Deny && t.bot(r)", "false", "Bots"},
	{"3: nodes agree on the salt", "internal/ledger/salts.go", "case !errors.Is(err, store.ErrConflict):\n\t\t\treturn nil, err\n", "case errors.Is(err, store.ErrConflict):\n\t\t\treturn &fresh, nil\n\t\tcase true:\n\t\t\treturn nil, err\n", "LookAlike"},
	{"3: those that look alike at once are merged", "internal/ledger/fingerprint.go", "return l.Update(ctx, to, []rules.Change{c})", "return l.updater.create(ctx, record)", "LookAlike"},
	{"5: the tokens of a renewed session are worth nothing", "internal/rules/rules.go", "r.Forgotten || r.LinksUsed == store.Renewed ||", "r.Forgotten ||", "Renew"},
	{"5: a renewed session stays so", "internal/rules/merge.go", "if next.LinksUsed != store.Renewed {", "if true {", "Renew|WhatMergeRefuses"},
	{"6: an alias's token does not outlive the root's lifetime", "internal/rules/rules.go", "r.LinksUsed == store.Renewed || !at.Before(u.TokensEnd(r.ID))", "r.LinksUsed == store.Renewed", "Lifetime|Retention"},
	{"3: what was stored outlives the tokens", "internal/rules/rules.go", "return id.Time().Add(u.Retention)", "return id.Time().Add(u.Lifetime)", "Retention"},
	{"3: merges by the application suspect nobody", "internal/rules/merge.go", "case c.Trusted:\n", "", "MergeByTheApplication"},
	{"3: who comes back from paying was not brought by that", "internal/touch/touch.go", "if kind.medium == pass {", "if false {", "Touches|Journeys"},
	{"3: a click counts once", "internal/rules/rules.go", " && !hasClick(r, &c.Touch) && !again\n\tif c.NotCounted", " && !again\n\tif c.NotCounted", "Journeys"},
	{"8: no mail address of a link is kept", "internal/touch/query.go", "if isPersonal(raw) || isPersonal(value) {", "if false {", "Touches|Journeys"},
	{"3: a merge is pending until its notification", "internal/rules/merge.go", ", NotifyPending: notify}", "}", "OnMerge"},
	{"3: a merge is notified once that works", "internal/ledger/notify.go", "next.MergedSessions[i].NotifyPending = pending", "next.MergedSessions[i].NotifyPending = true", "OnMerge"},
	{"3: a pending merge moves along", "internal/rules/merge.go", "have.NotifyPending = have.NotifyPending || a.NotifyPending", "have.NotifyPending = have.NotifyPending || a.NotifyPending && a.ID == alias.ID", "OnMerge"},
	{"7: OnHit costs no page", "internal/ledger/notify.go", "\tdefault:\n\t\tn.dropHits(count)", "\tcase <-make(chan int):\n\t\tn.dropHits(count)", "HooksCost"},
	{"5: a no by an old cookie forgets", "forget.go", "if err := t.denyAdopted(v); err != nil {", "if err := error(nil); err != nil {", "AdoptedVisitorCan"},
	{"3: who is adopted at once is one", "internal/ledger/fingerprint.go", "\treturn to, err\n}", "\treturn record.ID, err\n}", "ParallelFirstRequestsAreAdopted"},
	{"3: an adopted visitor gets a token", "visit_claims.go", "v.session.Via == viaAdopted && (c == nil || c.id.IsZero())", "false", "AdoptedOnce|DeadOne"},
	{"7: nobody is adopted while the store is away", "tracker.go", "v.session.saveFail = silent", "_ = silent", "WhileTheStoreIsAway"},
	{"8: Unasked recognises nobody", "tracker.go", "case Recognise, Restore:", "case Unasked, Recognise, Restore:", "Trace"},
	{"8: the anchor is cleared as pages are", "tracker.go", " || v.kind == kindAnchor && site == \"same-origin\"", "", "AsksForConsent"},
	{"8: nobody else can have a visitor forgotten", "beacon.go", "http.NewCrossOriginProtection().Handler(forget)", "forget", "ForgetByTheBeacon"},
	{"8: Deny forgets", "tracker.go", "if v.forgotten = t.deny(v); v.forgotten", "if v.forgotten = true; v.forgotten", "SaysNo|ANo"},
	{"8: Deny clears", "tracker.go", "v.forgotten && len(v.carriers) > 0 {\n\t\t\tv.clear()", "v.forgotten && len(v.carriers) > 0 {", "SaysNo"},
	{"8: a missing cookie is not made again", "visit_claims.go", "return v.permission == Restore", "return true", "Restore"},
	{"8: what was forgotten is not given another session's cookie", "internal/ledger/merge.go", "if !restore && leader < 0 {", "if false {", "IsNotRebuilt"},
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
	{"views: a navigation that is handed on is one", "internal/fetchmeta/fetchmeta.go", "(dest == \"document\" || dest == \"\") || forwarded", "(dest == \"document\" || dest == \"\")", "HandsOn"},
	{"views: Firefox hands on what asks for a page", "internal/fetchmeta/fetchmeta.go", " && strings.HasPrefix(header.Value(h, \"Accept\"), \"text/html\")\n}", "\n}", "HandsOn"},
	{"views: Firefox hands on what wants https", "internal/fetchmeta/fetchmeta.go", "header.Value(h, \"Upgrade-Insecure-Requests\") == \"1\" && ", "", "HandsOn"},
	{"views: a preview is none", "internal/fetchmeta/fetchmeta.go", "\"Purpose\", \"X-Purpose\", \"X-Sec-Purpose\"", "\"Purpose\", \"X-Sec-Purpose\"", "AllTheirNames"},
	{"views: whoever asks for JSON has none", "internal/fetchmeta/fetchmeta.go", "case strings.HasSuffix(kind, \"/json\"), strings.HasSuffix(kind, \"+json\"), kind == \"text/event-stream\":", "case false:", "WithoutMetadata"},
	{"views: a page that polls has none", "internal/fetchmeta/fetchmeta.go", "len(h[\"Accept\"]) == 0 || !byScript", "true || byScript", "TabThat"},
	{"3: a fetch to another host of the site begins nothing", "internal/fetchmeta/fetchmeta.go", " && site != \"same-site\"", "", "AnotherHost"},
	{"3: nor one of an old browser", "internal/fetchmeta/fetchmeta.go", " && (from == \"\" || origin.IsSame(r))", "", "AnotherHost"},
	{"3: a picture that is handed on begins nothing", "internal/fetchmeta/fetchmeta.go", " && mode != \"no-cors\" && site", " && site", "HandsOn|WhatMints"},
	{"touches: Firefox says that it reloads", "campaign.go", "strings.Contains(header.Value(h, \"User-Agent\"), \" Firefox/\")", "false", "SecondClick"},
	{"touches: a service worker knows no clicks", "campaign.go", " && !v.class.ByWorker &&", " &&", "SecondClick"},
	{"touches: the same URL is no second click", "internal/rules/rules.go", "hadTouch(r, &c.Touch, c.At.Add(-clickAgain), c.At)", "false", "SecondClick"},
	{"touches: another site's link is one", "internal/rules/rules.go", "!c.FromOtherHost && ", "", "SecondClick"},
	{"touches: the way back is no click", "internal/beacon/report.go", "\t\t\tr.Again = true\n", "", "HowAPage"},
	{"touches: a reload is taken back", "internal/rules/rules.go", "\tif c.RetractTouch {", "\tif false {", "TakenBack"},
	{"touches: only the reload is taken back", "internal/rules/rules.go", " || r.Touches[n].Time.Before(since)", "", "TakenBack"},
	{"touches: the only click stays", "internal/rules/rules.go", " || !hasTouch(&before, t)", " || hasTouch(&before, t) && false", "TakenBack"},
	{"touches: campaigns in a fragment count", "internal/touch/touch.go", "if isRoute && more != \"\" {", "if false {", "InTheFragment"},
	{"views: what the server has counted is not counted again", "internal/beacon/report.go", "name == fieldPage && seen", "name == fieldPage && seen && false", "HowAPage"},
	{"views: a kept copy counts, unless a newer one was asked for", "internal/beacon/report.go", "r.Stale = at > 0 && !seen", "r.Stale = false", "HowAPage"},
	{"views: the fast way leaves alone what is not plain", "tracker.go", "!v.isPlain() || !t.ledger.FastPath", "v.beforeConsent || !t.ledger.FastPath", "HowAPage|TakenBack"},
	{"views: a page behind a service worker says that it was counted", "beacon.go", "(v.class.ByWorker || ", "(", "SaysThatItWas"},
	{"views: a page under tags says that it was counted", "beacon.go", "v.tracker.tagsAlone && cachecontrol.Of(h).Carries()", "false", "UnderTags"},
	{"views: the script knows that there are only tags", "script.go", "if v.tracker.tagsAlone {", "if false {", "UnderTags"},
	{"views: a picture that is handed on is one", "visit_class.go", "if dest != \"image\" && mode != \"no-cors\" {", "if dest != \"image\" {", "AnchorBehind"},
	{"4: nobody goes to the anchor", "visit_class.go", "if goes || !origin.IsSame(r)", "if goes && false || !origin.IsSame(r)", "AnchorBehind"},
	{"3: the two anchors are joined", "beacon.go", "v.now.Sub(v.session.Created()) < token.LinkLife", "false", "TwoAnchors"},
	{"7: so many links are looked at", "visit_class.go", "n < maxLinks; n++", "n < 1000*maxLinks; n++", "LongList"},
	{"7: a long list of links is not looked at", "visit_class.go", "if len(list) > maxLinkText {", "if false {", "LongList"},
	{"7: the beacon is not everywhere", "config.go", "p == \"/\" {", "p == \"//\" {", "WhereTheBeacon"},
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
	case "internal":
		return ".", []string{".", "./" + filepath.Dir(file)}
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
