package attribution_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/revisit-go/revisit"
	"github.com/revisit-go/revisit/attribution"
)

// A leg of a journey: after a time, the browser does something.
type leg struct {
	after time.Duration
	do    string // a path, "POST /path"; or "cookies", "cache", "all" are deleted; "forget"; "merge /path" with a device that opens that
	from  string // the Referer
	kinds []kind
}

// goTo opens a path from somewhere else, or by hand.
func goTo(after time.Duration, path string, from ...string) leg {
	l := leg{after: after, do: path, kinds: []kind{typed}}
	if len(from) > 0 {
		l.from, l.kinds = from[0], []kind{clickFrom}
		if strings.HasPrefix(l.from, "http://example.com/") {
			l.kinds = []kind{link}
		}
	}
	return l
}

func like(l leg, kinds ...kind) leg {
	l.kinds = kinds
	return l
}

const (
	ads     = "/?utm_source=google&utm_medium=cpc&utm_campaign=ads"
	letter  = "/?utm_source=crm&utm_medium=email&utm_campaign=letter"
	own     = "http://example.com/"
	google  = "https://www.google.com/"
	paypal  = "https://www.paypal.com/checkoutnow"
	news    = "https://news.example/story?id=7"
	hour    = time.Hour
	instant = time.Second
)

// Journeys to an order, and what is known of them then: touches (source, or the path of
// a direct one), visits, page views, and who earns it by Linear and by LastNonDirect.
var journeys = []struct {
	name    string
	legs    []leg
	touches string
	visits  int64
	hits    int64
	linear  string
	last    string
}{
	{"direct", []leg{goTo(0, "/")}, "/", 1, 1, "/ 100", "/"},
	{"direct, twice", []leg{goTo(0, "/"), goTo(day, "/x")}, "/", 2, 2, "/ 100", "/"},
	{"a campaign", []leg{goTo(0, ads)}, "google", 1, 1, "google 100", "google"},
	{"a campaign, then pages", []leg{goTo(0, ads), goTo(instant, "/a", own), goTo(instant, "/b", own)}, "google", 1, 3, "google 100", "google"},
	{"a campaign, then direct days later", []leg{goTo(0, ads), goTo(3*day, "/")}, "google", 2, 2, "google 100", "google"},
	{"direct, then a campaign in the same visit", []leg{goTo(0, "/"), goTo(instant, ads)}, "/ google", 2, 2, "/ 50 google 50", "google"},
	{"two campaigns in a visit", []leg{goTo(0, ads), goTo(instant, letter)}, "google crm", 2, 2, "google 50 crm 50", "crm"},
	{"two campaigns, days apart", []leg{goTo(0, ads), goTo(3*day, letter)}, "google crm", 2, 2, "google 50 crm 50", "crm"},
	{"there and back again", []leg{goTo(0, ads), goTo(day, letter), goTo(day, ads)}, "google crm google", 3, 3, "google 33 crm 33 google 33", "google"},
	{"a campaign that is opened again in the visit", []leg{goTo(0, ads), goTo(instant, "/a", own), goTo(instant, ads)}, "google", 1, 3, "google 100", "google"},
	{"reload of a tagged page", []leg{goTo(0, ads), like(goTo(instant, ads), typed, header("Cache-Control", "max-age=0"))}, "google", 1, 2, "google 100", "google"},
	{"hard reload of a tagged page", []leg{goTo(0, ads), {0, "cache", "", nil}, like(goTo(instant, ads), typed, header("Cache-Control", "no-cache"))}, "google", 1, 2, "google 100", "google"},
	{"reload of a tagged page after an hour", []leg{goTo(0, ads), like(goTo(hour, ads), typed, header("Cache-Control", "max-age=0"))}, "google", 2, 2, "google 100", "google"},
	{"reload of a tagged page beside another campaign's", []leg{goTo(0, ads), goTo(instant, letter), like(goTo(instant, ads), typed, header("Cache-Control", "max-age=0"))}, "google crm", 2, 3, "google 50 crm 50", "crm"},
	{"reload of a page found by search, an hour later", []leg{goTo(0, "/shoes", google), {hour, "/shoes", google, []kind{clickFrom, header("Cache-Control", "max-age=0")}}}, "google", 2, 2, "google 100", "google"},
	{"the campaign of the same name a week later", []leg{goTo(0, letter), goTo(7*day, letter)}, "crm crm", 2, 2, "crm 50 crm 50", "crm"},
	{"a click identifier", []leg{goTo(0, "/?gclid=abc", google)}, "gclid=abc", 1, 1, "gclid=abc 100", "gclid=abc"},
	{"a click identifier that was bookmarked", []leg{goTo(0, "/?gclid=abc", google), goTo(7*day, "/?gclid=abc")}, "gclid=abc", 2, 2, "gclid=abc 100", "gclid=abc"},
	{"two clicks", []leg{goTo(0, "/?gclid=abc"), goTo(7*day, "/?gclid=def")}, "gclid=abc gclid=def", 2, 2, "gclid=abc 50 gclid=def 50", "gclid=def"},
	{"two clicks in a visit", []leg{goTo(0, "/?gclid=abc"), goTo(instant, "/?gclid=def")}, "gclid=abc gclid=def", 2, 2, "gclid=abc 50 gclid=def 50", "gclid=def"},
	{"search", []leg{goTo(0, "/shoes", google)}, "google", 1, 1, "google 100", "google"},
	{"search, then direct", []leg{goTo(0, "/shoes", google), goTo(3*day, "/")}, "google", 2, 2, "google 100", "google"},
	{"search twice in a visit", []leg{goTo(0, "/shoes", google), goTo(10*time.Minute, "/boots", google)}, "google", 1, 2, "google 100", "google"},
	{"search on two days", []leg{goTo(0, "/shoes", google), goTo(day, "/boots", google)}, "google google", 2, 2, "google 50 google 50", "google"},
	{"a referral", []leg{goTo(0, "/x", news)}, "news.example", 1, 1, "news.example 100", "news.example"},
	{"an assistant, then a letter", []leg{goTo(0, "/x", "https://chatgpt.com/"), goTo(day, letter)}, "chatgpt crm", 2, 2, "chatgpt 50 crm 50", "crm"},
	{"social", []leg{goTo(0, "/x", "https://l.facebook.com/")}, "facebook", 1, 1, "facebook 100", "facebook"},
	{"direct, then a referral in the visit", []leg{goTo(0, "/"), goTo(instant, "/x", news)}, "/", 1, 2, "/ 100", "/"},
	{"back from a payment", []leg{goTo(0, ads), goTo(instant, "/pay", own), goTo(5*time.Minute, "/thanks", paypal)}, "google", 1, 3, "google 100", "google"},
	{"back from a payment that took an hour", []leg{goTo(0, ads), goTo(instant, "/pay", own), goTo(hour, "/thanks", paypal)}, "google", 2, 3, "google 100", "google"},
	// That one comes without the Lax cookie, so nobody can say whose it is.
	{"back from a payment by POST", []leg{goTo(0, ads), goTo(instant, "/pay", own), {5 * time.Minute, "POST /thanks", paypal, []kind{clickFrom}}}, "google", 1, 2, "google 100", "google"},
	{"back from the bank", []leg{goTo(0, ads), goTo(5*time.Minute, "/thanks", "https://3ds.bank.example/")}, "google", 1, 2, "google 100", "google"},
	{"a first visit that comes back from a payment", []leg{goTo(0, "/thanks", paypal)}, "/thanks", 1, 1, "/thanks 100", "/thanks"},
	{"through a login", []leg{goTo(0, ads), goTo(hour, "/account", "https://accounts.google.com/")}, "google", 2, 2, "google 100", "google"},
	{"through a login of our own", []leg{goTo(0, ads), goTo(hour, "/account", "https://id.ours.example/")}, "google", 2, 2, "google 100", "google"},
	{"a campaign on a redirect", []leg{goTo(0, "/go/spring?utm_source=crm&utm_campaign=spring"), goTo(0, "/spring")}, "crm", 1, 1, "crm 100", "crm"},
	{"a chain of redirects", []leg{goTo(0, "/go/a?gclid=abc"), goTo(0, "/go/b"), goTo(0, "/shop")}, "gclid=abc", 1, 1, "gclid=abc 100", "gclid=abc"},
	{"over midnight", []leg{{23*hour + 50*time.Minute, "", "", nil}, goTo(0, ads), goTo(20*time.Minute, "/a", own)}, "google", 1, 2, "google 100", "google"},
	{"a campaign on a redirect, without Fetch Metadata", []leg{like(goTo(0, "/go/spring?utm_source=crm&utm_campaign=spring"), plain), like(goTo(0, "/spring"), plain)}, "crm", 1, 1, "crm 100", "crm"},
	{"29 minutes away", []leg{goTo(0, ads), goTo(29*time.Minute, "/a", own)}, "google", 1, 2, "google 100", "google"},
	{"30 minutes away", []leg{goTo(0, ads), goTo(30*time.Minute, "/a", own)}, "google", 2, 2, "google 100", "google"},
	{"slowly, without a break", []leg{goTo(0, ads), goTo(20*time.Minute, "/a", own), goTo(20*time.Minute, "/b", own), goTo(20*time.Minute, "/c", own)}, "google", 1, 4, "google 100", "google"},
	{"pictures keep no visit alive", []leg{goTo(0, ads), like(goTo(20*time.Minute, "/logo.png"), image), goTo(20*time.Minute, "/b", own)}, "google", 2, 2, "google 100", "google"},
	{"a prefetch is no visit", []leg{goTo(0, ads), like(goTo(10*time.Minute, letter), typed, header("Sec-Purpose", "prefetch"))}, "google", 1, 1, "google 100", "google"},
	{"cookies deleted, the page is known", []leg{goTo(0, ads), goTo(instant, "/a", own), {0, "cookies", "", nil}, goTo(day, "/a"), goTo(instant, letter)}, "google crm", 3, 4, "google 50 crm 50", "crm"},
	{"cookies deleted, a new page, then a known one", []leg{goTo(0, ads), goTo(instant, "/a", own), {0, "cookies", "", nil}, goTo(day, letter), goTo(instant, "/a", own)}, "google crm", 2, 4, "google 50 crm 50", "crm"},
	{"all deleted", []leg{goTo(0, ads), {0, "all", "", nil}, goTo(day, letter)}, "crm", 1, 1, "crm 100", "crm"},
	{"forgotten", []leg{goTo(0, ads), goTo(instant, "/a", own), {0, "forget", "", nil}, goTo(day, letter)}, "crm", 1, 1, "crm 100", "crm"},
	{"on two devices", []leg{goTo(0, ads), {0, "merge " + letter, "", nil}}, "google crm", 2, 2, "google 50 crm 50", "crm"},
	{"a referrer of a thousand characters", []leg{goTo(0, "/"), goTo(time.Minute, "/x", "https://www.reddit.com/r/x/"+strings.Repeat("%D0%A0", 200))}, "/", 1, 2, "/ 100", "/"},
	{"a partner who calls himself a referral", []leg{goTo(0, "/"), goTo(day, "/?utm_source=partner&utm_medium=referral")}, "/ partner", 2, 2, "/ 50 partner 50", "partner"},
	{"such a partner, with a referrer", []leg{goTo(0, "/?utm_source=partner&utm_medium=referral", "https://blog.example/")}, "partner", 1, 1, "partner 100", "partner"},
	{"a click in a tab that was restored, referrer and all", []leg{goTo(0, "/?gclid=abc", google), goTo(day, "/?gclid=abc", google)}, "gclid=abc", 2, 2, "gclid=abc 100", "gclid=abc"},
	{"another letter made of a link that was copied, click and all", []leg{goTo(0, "/?utm_source=crm&utm_campaign=may&fbclid=IwAR0"), goTo(30*day, "/?utm_source=crm&utm_campaign=june&fbclid=IwAR0")}, "crm crm", 2, 2, "crm 50 crm 50", "crm"},
	{"such a letter in the visit", []leg{goTo(0, "/?utm_source=may&fbclid=IwAR0"), goTo(instant, "/?utm_source=june&fbclid=IwAR0")}, "may june", 2, 2, "may 50 june 50", "june"},
	{"such a letter on another device", []leg{goTo(0, "/?utm_source=may&fbclid=IwAR0"), {day, "merge /?utm_source=june&fbclid=IwAR0", "", nil}}, "may june", 2, 2, "may 50 june 50", "june"},
	{"its click without a campaign, on another device", []leg{goTo(0, "/?utm_source=may&fbclid=IwAR0"), {day, "merge /?fbclid=IwAR0", "", nil}}, "may", 2, 2, "may 100", "may"},
	{"a click with its campaign that was bookmarked", []leg{goTo(0, "/?utm_source=google&gclid=abc", google), goTo(7*day, "/?utm_source=google&gclid=abc")}, "google", 2, 2, "google 100", "google"},
	{"a click whose campaign was cut off", []leg{goTo(0, "/?utm_source=google&gclid=abc"), goTo(7*day, "/?gclid=abc")}, "google", 2, 2, "google 100", "google"},
	{"one of two clicks of a link", []leg{goTo(0, "/?gclid=abc&gbraid=def"), goTo(7*day, "/?gbraid=def&gad_source=1")}, "gclid=abc&gbraid=def", 2, 2, "gclid=abc&gbraid=def 100", "gclid=abc&gbraid=def"},
	{"a macro that nobody replaced", []leg{goTo(0, "/?utm_source=spring&ttclid=__CLICKID__"), goTo(30*day, "/?utm_source=autumn&ttclid=__CLICKID__")}, "spring autumn", 2, 2, "spring 50 autumn 50", "autumn"},
	{"an ad without a click identifier", []leg{goTo(0, "/", google), goTo(instant, "/?gad_source=1", google)}, "google google", 2, 2, "google 50 google 50", "google"},
	{"a free listing in the middle of a visit", []leg{goTo(0, ads), goTo(instant, "/?srsltid=x", google)}, "google", 1, 2, "google 100", "google"},
	{"a hostile referrer", []leg{goTo(0, "/", "javascript:alert(1)")}, "/", 1, 1, "/ 100", "/"},
	{"a tagged link without a source", []leg{goTo(0, "/?utm_campaign=spring", news)}, "spring", 1, 1, "spring 100", "spring"},
	{"a mail address in a link", []leg{goTo(0, letter+"&utm_content=ann@example.com")}, "crm", 1, 1, "crm 100", "crm"},
}

// nameOf is how the table calls a touch.
func nameOf(t revisit.Touch) string {
	switch {
	case t.Source != "":
		return t.Source
	case t.Click != "":
		return t.Click
	case t.Campaign != "":
		return t.Campaign
	}
	return t.Landing
}

func TestJourneys(t *testing.T) {
	require.GreaterOrEqual(t, len(journeys), 40)
	for _, j := range journeys {
		t.Run(j.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tracker, store, h := newSite(t)
				b := newBrowser(h)
				var last revisit.ID
				for _, l := range j.legs {
					time.Sleep(l.after)
					switch what, path, _ := strings.Cut(l.do, " "); what {
					case "":
					case "cookies":
						clear(b.cookies)
					case "cache":
						clear(b.tags)
					case "all":
						b = newBrowser(h)
					case "forget":
						require.NoError(t, tracker.Forget(t.Context(), last))
					case "merge":
						time.Sleep(time.Second) // who is older is no matter of chance
						other := idOf(t, newBrowser(h).get(path, typed))
						_, err := tracker.Merge(t.Context(), last, other)
						require.NoError(t, err)
					default:
						method := http.MethodGet
						if what == "POST" {
							method, what = what, path
						}
						r := b.request(method, what, l.kinds...)
						r.Host = "example.com"
						if l.from != "" {
							r.Header.Set("Referer", l.from)
						}
						if method == http.MethodPost {
							r.Header.Del("Cookie") // SameSite=Lax
						}
						resp := b.send(r)
						if resp.Header.Get("X-Id") != "" {
							last = idOf(t, resp)
						}
						b.tellAnchor(resp)
					}
				}
				b.get("/order", link)
				r, err := store.Load(t.Context(), idOf(t, b.get("/order", fetch)))
				require.NoError(t, err)
				assert.Equal(t, j.hits, r.Hits-1, "page views, without the order's own")
				assert.Equal(t, j.visits, r.Visits, "visits")
				var touches []string
				for _, touch := range r.Touches {
					touches = append(touches, nameOf(touch))
				}
				assert.Equal(t, j.touches, strings.Join(touches, " "), "touches")
				var linear []string
				for _, s := range attribution.Credit(r.Touches, time.Now(), attribution.Linear) {
					linear = append(linear, fmt.Sprintf("%s %.0f", nameOf(s.Touch), 100*s.Credit))
				}
				assert.Equal(t, j.linear, strings.Join(linear, " "), "linear")
				earned := attribution.Credit(r.Touches, time.Now(), attribution.LastNonDirect)
				require.Len(t, earned, 1)
				assert.Equal(t, j.last, nameOf(earned[0].Touch), "last non-direct")
			})
		})
	}
}
