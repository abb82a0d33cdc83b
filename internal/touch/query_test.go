package touch

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/revisit-go/revisit/store"
)

// read returns what a link says, and what is left out of it.
func read(tr *Reader, target, referrer string) (store.Touch, map[string]int64) {
	page, err := url.Parse(target)
	if err != nil {
		panic(err)
	}
	var left Clipped
	r := &http.Request{Host: "shop.example", URL: page, Header: http.Header{}}
	t := tr.Read(Site{Host: r.Host}, page, referrer, time.Time{}, &left)
	counts := make(map[string]int64)
	for i, n := range left {
		if n > 0 {
			counts[reasons[i]] = n
		}
	}
	return t, counts
}

// How links are broken by those who put them together, and what is made of them.
func TestNamesInALink(t *testing.T) {
	campaign := store.Touch{Source: "news", Medium: "email", Campaign: "may"}
	at := func(landing string, c store.Touch) store.Touch { c.Landing = landing; return c }
	for _, c := range []struct {
		why, link string
		want      store.Touch
	}{
		{"the plain one", "/x?utm_source=news&utm_medium=email&utm_campaign=may", at("/x", campaign)},
		{"names that are escaped", "/x?utm%5Fsource=news&utm%5fmedium=email&%75tm_campaign=may", at("/x", campaign)},
		{"names that were escaped twice", "/x?utm%255Fsource=news&utm%255Fmedium=email&utm%255Fcampaign=may", at("/x", campaign)},
		{"the ampersand of HTML", "/x?a=1&amp;utm_source=news&amp;utm_medium=email&amp;amp;utm_campaign=may", at("/x", campaign)},
		{"the same, escaped", "/x?a=1&amp%3Butm_source=news&AMP;utm_medium=email&amp;utm_campaign=may", at("/x", campaign)},
		{"capitals", "/x?UTM_SOURCE=news&Utm_Medium=email&utm_Campaign=may", at("/x", campaign)},
		{"spaces around a name", "/x?+utm_source=news&%20utm_medium=email&utm_campaign%20=may", at("/x", campaign)},
		{"what cannot be seen in a name", "/x?%E2%80%8Butm_source=news&%EF%BB%BFutm_medium=email&utm_campaign=may", at("/x", campaign)},
		{"a second question mark", "/x?a=1?utm_source=news&utm_medium=email&utm_campaign=may", at("/x", campaign)},
		{"a question mark of its own for each", "/x?utm_source=news?utm_medium=email?utm_campaign=may", at("/x", campaign)},
		{"two question marks", "/x??utm_source=news&utm_medium=email&?utm_campaign=may", at("/x", campaign)},
		{"semicolons, as HTML 4 advised", "/x?a=1;utm_source=news;utm_medium=email;utm_campaign=may", at("/x", campaign)},
		{"a query that was escaped as a whole", "/x?utm_source%3Dnews%26utm_medium%3Demail%26utm_campaign%3Dmay", at("/x", campaign)},
		{"the same, twice", "/x?utm_source%253Dnews%2526utm_medium%253Demail%2526utm_campaign%253Dmay", at("/x", campaign)},
		{"all but the first equals sign", "/x?utm_source=news%26utm_medium%3Demail%26utm_campaign%3Dmay", at("/x", campaign)},
		{"an escaped ampersand of HTML", "/x?utm_source=news%26amp%3Butm_medium=email&utm_campaign=may", at("/x", campaign)},
		{"an escaped question mark", "/x%3Futm_source=news&utm_medium=email&utm_campaign=may", at("/x", campaign)},
		{"an escaped question mark and all behind it", "/x%3Futm_source%3Dnews%26utm_medium%3Demail%26utm_campaign%3Dmay", at("/x", campaign)},
		{"a forgotten question mark", "/x&utm_source=news&utm_medium=email&utm_campaign=may", at("/x", campaign)},
		{"the first of two", "/x?utm_source=news&utm_source=other&utm_medium=email&utm_campaign=may", at("/x", campaign)},
		{"an empty one does not count", "/x?utm_source=&utm_source=news&utm_medium=email&utm_campaign=may", at("/x", campaign)},
		{"plus signs and escapes", "/x?utm_source=%6Eews&utm_medium=email&utm_campaign=%20may+", at("/x", campaign)},
		{"a value that was escaped twice stays as a query has it", "/x?utm_campaign=spring%2520sale", store.Touch{Landing: "/x", Campaign: "spring%20sale"}},
		{"a percent sign", "/x?utm_campaign=50%25%20off%20100%", store.Touch{Landing: "/x", Campaign: "50% off 100%"}},
		{"a question mark in a value", "/x?utm_content=why?really&utm_term=a;b", store.Touch{Landing: "/x", Content: "why?really", Term: "a;b"}},
		{"an equals sign in a value", "/x?utm_content=a=b", store.Touch{Landing: "/x", Content: "a=b"}},

		// The campaign of another page is not this one's.
		{"the query of an address in a value", "/login?next=https://shop.example/x?utm_source=news", store.Touch{Landing: "/login"}},
		{"of a path in a value", "/login?next=/x?utm_source=news", store.Touch{Landing: "/login"}},
		{"of an escaped path in a value", "/login?next=%2Fx%3Futm_source%3Dnews%26utm_medium%3Demail", store.Touch{Landing: "/login"}},
		{"of an address that is the query", "/out?https://other.example/?utm_source=news", store.Touch{Landing: "/out"}},
		{"of an escaped address that is the query", "/out?https%3A%2F%2Fother.example%2F%3Futm_source%3Dnews", store.Touch{Landing: "/out"}},
		{"of an address in a campaign", "/?utm_content=https://other.example/?utm_source=news", store.Touch{Landing: "/", Content: "https://other.example/?utm_source=news"}},

		// Nobody writes such names, or tells reports from them.
		{"a hyphen", "/?utm-source=news&utm.source=news&utmsource=news", store.Touch{Landing: "/"}},
		{"a name within a name", "/?xutm_source=a&utm_source_platform=b&[utm_source]=c", store.Touch{Landing: "/"}},
		{"a fragment is not sent to a server", "/#utm_source=news", store.Touch{Landing: "/"}},
		{"a path that only looks so", "/a=b&c=d;e=f", store.Touch{Landing: "/a=b&c=d;e=f"}},
	} {
		got, _ := read(&Reader{}, c.link, "")
		assert.Equal(t, c.want, got, "%s: %s", c.why, c.link)
	}
}

// Which click identifiers are kept, in which order, and how they are written.
func TestClickIdentifiers(t *testing.T) {
	tr := NewReader(nil, []string{"tduid", "PartnerClick", "gclid"})
	for _, c := range []struct {
		query, want string
		left        map[string]int64
	}{
		{"gad_source=1&gbraid=0AA&gclid=Cj0", "gclid=Cj0&gbraid=0AA", nil},
		{"GCLID=Cj0", "gclid=Cj0", nil},
		{"sccid=a", "ScCid=a", nil},
		{"ScCid=a&epik=b&rdt_cid=c&yclid=d", "epik=b&ScCid=a&rdt_cid=c&yclid=d", nil},
		{"cjevent=1&irclickid=2&awc=3&yclid=4&fbclid=5&gclid=6", "gclid=6&fbclid=5&yclid=4&awc=3", map[string]int64{"many": 2}},
		{"gclid=a&gclid=a", "gclid=a", nil},
		{"gclid=a&gclid=b", "gclid=a", map[string]int64{"many": 1}},
		{"gclid=&gclid=b", "gclid=b", nil},
		{"tduid=1&partnerclick=2&dclid=3", "dclid=3&tduid=1&PartnerClick=2", nil},
		{"srsltid=AfmBOoq", "", nil},
		{"dclid=a+b%2Bc", "dclid=a%2Bb%2Bc", nil},
		{"awc=a%26b%3Bc%25d=e%20f", "awc=a%26b%3Bc%25d=e%20f", nil},
		{"gclid=" + strings.Repeat("x", 1024), "gclid=" + strings.Repeat("x", 1024), nil},
		{"gclid=" + strings.Repeat("x", 1025) + "&gbraid=b", "gbraid=b", map[string]int64{"long": 1}},
		{"gclid=a%00b&gbraid=%ff", "", map[string]int64{"unreadable": 2}},
		{"gclid=ann@example.com&gbraid=ann%2540example.com&fbclid=eyJhbGciOiJub25lIn0.e30.x", "", map[string]int64{"personal": 3}},
		{"mc_eid=8a7&_kx=x.y&MKT_TOK=1&utm_source=a", "", map[string]int64{"personal": 3}},
		{"gclid=a&mc_eid=", "gclid=a", nil},
		{"gclid=abc?utm_source=x", "gclid=abc", nil},
		{"x=" + strings.Repeat("y", maxQuery-20) + "&gclid=" + strings.Repeat("z", 100), "", map[string]int64{"long": 2}},
		{strings.Repeat("a&", 300) + "gclid=a", "", map[string]int64{"many": 1}},
		{strings.Repeat("gclid=%00&", maxValuesRead) + "gclid=a", "", map[string]int64{"unreadable": maxValuesRead, "many": 1}},
	} {
		got, left := read(tr, "/?"+c.query, "")
		assert.Equal(t, c.want, got.Click, c.query)
		if c.left == nil {
			c.left = map[string]int64{}
		}
		assert.Equal(t, c.left, left, "%.80s", c.query)
	}
	// What a caller needs to parse nothing by hand.
	got, _ := read(tr, "/?gclid=a%26b+c%25&gbraid=d", "")
	assert.Equal(t, "gclid=a%26b%2Bc%25&gbraid=d", got.Click)
	assert.Equal(t, "a&b+c%", got.ClickID("GCLID"))
	assert.Equal(t, "d", got.ClickID("gbraid"))
	assert.Empty(t, got.ClickID("fbclid"))
	assert.Empty(t, store.Touch{}.ClickID(""))
	var names []string
	for name := range got.ClickIDs() {
		names = append(names, name)
	}
	assert.Equal(t, []string{"gclid", "gbraid"}, names)
	for name := range got.ClickIDs() {
		assert.Equal(t, "gclid", name)
		break
	}
	values, err := url.ParseQuery(got.Click)
	require.NoError(t, err)
	assert.Equal(t, "a&b+c%", values.Get("gclid"))
}

// What nobody has put a value into is no click, and no campaign's number.
func TestMacrosAreNoClicks(t *testing.T) {
	for _, macro := range []string{
		"__CLICKID__", "__clickid__", "{gclid}", "%7Bgclid%7D", "%257Bgclid%257D", "{{ad.click_id}}", "%%CLICKID%%", "%%ADID%%", "%25%25CLICKID%25%25", "%CLICKID%",
		"[click_id]", "%5Bclick_id%5D", "<click-id>", "${clickid}", "$CLICKID$", "*|CLICKID|*", "!!click!!", "@click@", "undefined", "null", "(not+set)", "x{gclid}",
	} {
		for _, name := range []string{"gclid", "ttclid", "utm_id", "gad_campaignid", "gad_source"} {
			got, left := read(&Reader{}, "/?"+name+"="+macro, "https://www.google.com/")
			assert.False(t, IsCampaign(&got), "%s=%s: %+v", name, macro, got)
			assert.Equal(t, map[string]int64{"macro": 1}, left, "%s=%s", name, macro)
		}
	}
	for _, id := range []string{"__a", "a__", "E.C.P.Cq_-", "Cj0KCQjw__", "_", "null1", "0AAAA_-x"} {
		got, left := read(&Reader{}, "/?ttclid="+id, "")
		assert.Equal(t, id, got.ClickID("ttclid"))
		assert.Empty(t, left)
	}
	got, _ := read(&Reader{}, "/?utm_source=meta&utm_campaign={{campaign.name}}", "")
	assert.Equal(t, "{{campaign.name}}", got.Campaign, "a text is there for people, who see then what is wrong")
}

// What Google Ads and Merchant Center put on links besides the click.
func TestGoogleTags(t *testing.T) {
	const google = "https://www.google.com/"
	for _, c := range []struct {
		query, referrer string
		want            store.Touch
		campaign        bool
	}{
		{"gad_source=1", google, store.Touch{Source: "google", Medium: "cpc"}, true},
		{"gad_source=1", "", store.Touch{}, false},
		{"gad_source=1", "https://news.example/", store.Touch{Source: "news.example", Medium: "referral"}, false},
		{"gad_source=", google, store.Touch{Source: "google", Medium: "search"}, false},
		{"gad_source=1&gad_campaignid=20000000001", google, store.Touch{Source: "google", Medium: "cpc", ID: "20000000001"}, true},
		{"gad_campaignid=20000000001", "", store.Touch{ID: "20000000001"}, true},
		{"gad_campaignid=2&utm_id=7", google, store.Touch{ID: "7"}, true},
		{"utm_id=7&gad_campaignid=2", "", store.Touch{ID: "7"}, true},
		{"gad_source=1&gclid=a", google, store.Touch{Click: "gclid=a"}, true},
		{"gad_source=1&utm_source=g&utm_medium=paid", google, store.Touch{Source: "g", Medium: "paid"}, true},
		{"srsltid=x", google, store.Touch{Source: "google", Medium: "organic-shopping"}, false},
		{"srsltid=x", "", store.Touch{}, false},
		{"srsltid=x", "https://www.bing.com/", store.Touch{Source: "bing", Medium: "search"}, false},
		{"srsltid=x&gad_source=1", google, store.Touch{Source: "google", Medium: "cpc"}, true},
		{"srsltid=x&gclid=a", google, store.Touch{Click: "gclid=a"}, true},
	} {
		c.want.Landing, c.want.Referrer = "/", c.referrer
		got, left := read(&Reader{}, "/?"+c.query, c.referrer)
		assert.Equal(t, c.want, got, c.query)
		assert.Equal(t, c.campaign, IsCampaign(&got), c.query)
		assert.Empty(t, left, c.query)
	}
}

// What is not kept of a link is counted, once a request, and shows in Stats.
func TestWhatIsClippedIsCounted(t *testing.T) {
	for _, c := range []struct {
		link, referrer string
		want           map[string]int64
	}{
		{"/?utm_source=a&gclid=b", "https://www.google.com/x", map[string]int64{}},
		{"/?utm_source=" + strings.Repeat("a", 257), "", map[string]int64{"long": 1}},
		{"/" + strings.Repeat("a", 256), "", map[string]int64{"long": 1}},
		{"/", "https://news.example/" + strings.Repeat("a", 256), map[string]int64{"long": 1}},
		{"/", "https://news.example/" + strings.Repeat("a", 9000), map[string]int64{"long": 1}},
		{"/?utm_source=a&utm_source=b&utm_source=a", "", map[string]int64{"many": 1}},
		{"/u/ann@example.com?utm_term=ann@example.com", "https://news.example/u/ann@example.com", map[string]int64{"personal": 3}},
		{"/?utm_source=%ff&utm_medium=a%00", "", map[string]int64{"unreadable": 2}},
		{"/?gclid=__CLICKID__", "", map[string]int64{"macro": 1}},
		{"/?utm_source=%E2%80%8Ea%E2%80%AC%EF%BB%BF", "", map[string]int64{}}, // nothing is lost with what cannot be seen
	} {
		_, left := read(&Reader{}, c.link, c.referrer)
		assert.Equal(t, c.want, left, "%.80s %.80s", c.link, c.referrer)
	}
}

// Marks, embeddings and overrides of direction are left out of a text, whatever they were
// for: without them nothing turns it round.
func TestWhatCannotBeSeenIsLeftOut(t *testing.T) {
	for text, want := range map[string]string{
		"\u200espring\u200f":         "spring",
		"חורף\u200f 2026":            "חורף 2026",
		"\u202aspring\u202c":         "spring",
		"\u2067spring\u2069 \u061cx": "spring x",
		"\u202emoc.elgoog":           "moc.elgoog",
		"\ufeffspring\u200b":         "spring",
		"نمی\u200cخواهم":             "نمی\u200cخواهم", // which makes words of Persian
		"👩\u200d🔬":                   "👩\u200d🔬",
		"a\u00a0b\u2028c\td\r\ne":    "a b c d  e",
		" \t\u200e ":                 "",
	} {
		got, ok := readable(text)
		assert.True(t, ok, text)
		assert.Equal(t, want, got)
	}
	for _, text := range []string{"a\x00", "\x1b[31m", "a\u0080", "\xff", "a\x7f"} {
		_, ok := readable(text)
		assert.False(t, ok, "%q", text)
	}
}

// A text is cut between characters, escaped or not, at whichever place the limit falls.
func TestTextsAreCutBetweenCharacters(t *testing.T) {
	for _, piece := range []string{"a", "é", "л", "ツ", "😀", "%D0%BB", "%E3%83%84", "%F0%9F%98%80", "%25", "%", "a%", "%F0%9F%98", "%BB", "%e3%83%84x"} {
		for n := range 12 {
			s := "/" + strings.Repeat("a", n) + strings.Repeat(piece, 300)
			var left Clipped
			cut := left.clip(s)
			require.True(t, strings.HasPrefix(s, cut))
			assert.LessOrEqual(t, len(cut), maxTouchText)
			assert.Greater(t, len(cut), maxTouchText-13, piece)
			assert.EqualValues(t, 1, left[clipLong])
			assert.True(t, utf8.ValidString(cut), "%q", cut)
			// What was whole is so.
			if whole := unescapeOnce(s); utf8.ValidString(whole) {
				assert.True(t, utf8.ValidString(unescapeOnce(cut)), "…%s", cut[len(cut)-12:])
				assert.True(t, strings.HasPrefix(whole, unescapeOnce(cut)), "…%s", cut[len(cut)-12:])
			}
		}
	}
}

// A landing page is one of this site, wherever a report makes a link of it.
func TestALandingPageIsOfThisSite(t *testing.T) {
	for path, want := range map[string]string{
		"//evil.example/x": "/evil.example/x", "///evil.example": "/evil.example", `/\evil.example`: "/evil.example", `\/evil.example`: "/",
		"/%2fevil.example": "/evil.example", "/%2F%5c/evil.example": "/evil.example", "/%09/evil.example": "/evil.example", "/\t/evil.example": "/evil.example",
		"//": "/", "": "/", "*": "/", "/": "/", "/a//b": "/a//b", "/.//x": "/.//x", "/x%2f%2fy": "/x%2f%2fy",
	} {
		page := &url.URL{Path: unescapeOnce(path), RawPath: path}
		var left Clipped
		r := &http.Request{Host: "shop.example", URL: page, Header: http.Header{}}
		got := (&Reader{}).Read(Site{Host: r.Host}, page, "", time.Time{}, &left)
		assert.Equal(t, want, got.Landing, path)
		base := &url.URL{Scheme: "https", Host: "shop.example", Path: "/"}
		for _, text := range []string{got.Landing, unescapeOnce(got.Landing)} {
			u, err := base.Parse(text)
			if assert.NoError(t, err, path) {
				assert.Equal(t, "shop.example", u.Host, path)
			}
		}
	}
}

// A long query costs what a short one costs.
func TestALongQueryIsNotLookedAt(t *testing.T) {
	for _, piece := range []string{
		"utm_source=a%2525%252540b.c&", "utm_source=&", "%41", "gclid=" + strings.Repeat("%40a.b", 40) + "&", "utm_source=" + strings.Repeat("%40", 300) + "&",
		"utm_source=" + strings.Repeat("aB3-", 250) + strings.Repeat("%25", 4) + "&", "?", "&", ";", "?=", "=?", "utm_source?", "x?utm_source=", "%26", "%3D", "utm_id={x}&", "&amp;", "%2525",
	} {
		page := &url.URL{Path: "/", RawQuery: strings.Repeat(piece, 1<<20/len(piece))}
		r := &http.Request{Host: "shop.example", URL: page, Header: http.Header{}}
		least := time.Hour
		for range 10 {
			begin := time.Now()
			var left Clipped
			(&Reader{}).Read(Site{Host: r.Host}, page, "", time.Time{}, &left)
			least = min(least, time.Since(begin))
			assert.Positive(t, left[clipLong]+left[clipMany], piece)
		}
		assert.Less(t, least, 25*time.Millisecond, "%.40s", piece) // it was 50 and more
	}
}

func TestClickIDsOfAConfig(t *testing.T) {
	for _, good := range []string{"tduid", "partner-click.id", "gclid"} {
		assert.Empty(t, CheckClickID(good), good)
	}
	for _, bad := range []string{"", "a b", "a=b", "a&b", "ü", strings.Repeat("a", 65), "mc_eid", "_KX", "vero_id", "mkt_tok", "utm_source", "UTM_ID", "gad_source", "srsltid"} {
		assert.NotEmpty(t, CheckClickID(bad), bad)
	}
	for _, name := range personalNames {
		assert.Contains(t, CheckClickID(strings.ToUpper(name)), "names a person", name)
		got, left := read(NewReader(nil, []string{name}), "/?"+name+"=1&utm_term="+name+"%3D1", "")
		assert.Equal(t, store.Touch{Landing: "/"}, got)
		assert.Equal(t, map[string]int64{"personal": 2}, left, "not even where nobody has looked at the Config")
	}
}
