package touch

import (
	"encoding/base64"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/revisit-go/revisit/internal/hostname"
	"github.com/revisit-go/revisit/internal/millis"
	"github.com/revisit-go/revisit/store"
)

func TestTouches(t *testing.T) {
	at := millis.Truncate(time.Now())
	tracker := NewReader([]string{"shop.example"}, nil)
	long := strings.Repeat("é", 200)
	for _, c := range []struct {
		name, url, referer string
		want               store.Touch
	}{
		{"direct", "/", "", store.Touch{Landing: "/"}},
		{"a path", "/a%20b/%00?x=1", "", store.Touch{Landing: "/a%20b/%00"}},
		{"from this host", "/x", "https://shop.example/y?z", store.Touch{Landing: "/x"}},
		{"from this host, other case", "/x", "https://SHOP.example/", store.Touch{Landing: "/x"}},
		{"a referral", "/x", "https://News.example/a?token=1#f", store.Touch{Landing: "/x", Referrer: "https://news.example/a", Source: "news.example", Medium: "referral"}},
		{"a referrer with credentials", "/x", "https://me:secret@news.example:8443/a", store.Touch{Landing: "/x", Referrer: "https://news.example:8443/a", Source: "news.example", Medium: "referral"}},
		{"a campaign", "/x?utm_source=g&utm_medium=cpc&utm_campaign=spring+sale&utm_term=t%26t&utm_content=c&utm_id=7", "",
			store.Touch{Landing: "/x", Source: "g", Medium: "cpc", Campaign: "spring sale", Term: "t&t", Content: "c", ID: "7"}},
		{"a campaign with a referrer", "/x?utm_source=g", "https://google.example/", store.Touch{Landing: "/x", Source: "g", Referrer: "https://google.example/"}},
		{"a click", "/x?gclid=Cj0-_", "https://google.example/", store.Touch{Landing: "/x", Click: "gclid=Cj0-_", Referrer: "https://google.example/"}},
		{"other clicks", "/?li_fat_id=1&fbclid=2", "", store.Touch{Landing: "/", Click: "fbclid=2&li_fat_id=1"}},
		{"ttclid", "/?ttclid=E.C.P", "", store.Touch{Landing: "/", Click: "ttclid=E.C.P"}},
		{"msclkid", "/?msclkid=abc", "", store.Touch{Landing: "/", Click: "msclkid=abc"}},
		{"twice: the first counts", "/?utm_source=a&utm_source=b", "", store.Touch{Landing: "/", Source: "a"}},
		{"not ours", "/?xutm_source=b&utm_source", "", store.Touch{Landing: "/"}},
		{"bad escapes are kept as they are", "/?utm_source=50%", "", store.Touch{Landing: "/", Source: "50%"}},
		{"control characters", "/?utm_source=a%00b&utm_medium=a%1bb", "", store.Touch{Landing: "/"}},
		{"line breaks are spaces", "/?utm_source=%0D%0Aa%0Ab%0A", "", store.Touch{Landing: "/", Source: "a b"}},
		{"not UTF-8", "/?utm_source=%ff", "", store.Touch{Landing: "/"}},
		{"too long", "/?utm_source=" + long, "", store.Touch{Landing: "/", Source: strings.Repeat("é", 128)}},
		{"half a click is none", "/?gclid=" + strings.Repeat("x", 1025), "", store.Touch{Landing: "/"}},
		{"a long click", "/?ttclid=" + strings.Repeat("x", 1024), "", store.Touch{Landing: "/", Click: "ttclid=" + strings.Repeat("x", 1024)}},
		{"a mail address in a campaign", "/?utm_source=crm&utm_content=ann%40example.com&utm_term=ann@example.com", "", store.Touch{Landing: "/", Source: "crm"}},
		{"a token in a campaign", "/?utm_source=crm&utm_content=eyJhbGciOiJIUzI1NiJ9.e30.x&utm_id=0123456789abcdef0123456789abcdef", "", store.Touch{Landing: "/", Source: "crm"}},
		{"a UUID in a campaign", "/?utm_source=crm&utm_id=01890a5d-ac96-774b-bcce-b302099a8057", "", store.Touch{Landing: "/", Source: "crm"}},
		{"a number in a campaign", "/?utm_source=crm&utm_id=17842345098&utm_content=@home", "", store.Touch{Landing: "/", Source: "crm", ID: "17842345098", Content: "@home"}},
		{"a mail address in a path", "/unsubscribe/ann@example.com", "https://news.example/u/ann%40example.com/x", store.Touch{Landing: "/unsubscribe/*", Referrer: "https://news.example/u/*/x", Source: "news.example", Medium: "referral"}},
		{"a search engine", "/x", "https://www.google.co.uk/", store.Touch{Landing: "/x", Referrer: "https://www.google.co.uk/", Source: "google", Medium: "search"}},
		{"a social network", "/x", "https://l.facebook.com/l.php?u=x", store.Touch{Landing: "/x", Referrer: "https://l.facebook.com/l.php", Source: "facebook", Medium: "social"}},
		{"an assistant", "/x", "https://chatgpt.com/", store.Touch{Landing: "/x", Referrer: "https://chatgpt.com/", Source: "chatgpt", Medium: "ai"}},
		{"a mailbox of a search engine", "/x", "https://mail.google.com/", store.Touch{Landing: "/x", Referrer: "https://mail.google.com/", Source: "gmail", Medium: "mail"}},
		{"back from a payment", "/thanks", "https://www.paypal.com/checkout?token=1", store.Touch{Landing: "/thanks"}},
		{"back from a login", "/", "https://accounts.google.com/", store.Touch{Landing: "/"}},
		{"another host of ours", "/", "https://pay.shop.example/x", store.Touch{Landing: "/"}},
		{"a host that ends like ours", "/", "https://myshop.example/x", store.Touch{Landing: "/", Referrer: "https://myshop.example/x", Source: "myshop.example", Medium: "referral"}},
		{"a hostile referrer", "/", "javascript:alert(1)", store.Touch{Landing: "/"}},
		{"no host", "/", "https:///x", store.Touch{Landing: "/"}},
		{"an app that nobody knows", "/", "android-app://com.example/", store.Touch{Landing: "/"}},
		{"the app of maps", "/", "android-app://com.google.android.apps.maps/", store.Touch{Landing: "/", Referrer: "android-app://maps.apps.android.google.com/", Source: "google-maps", Medium: "referral"}},
		{"another app of a search company", "/", "android-app://com.google.android.apps.fitness/", store.Touch{Landing: "/"}},
		{"a search engine, with the dot of DNS", "/", "https://www.google.com./", store.Touch{Landing: "/", Referrer: "https://www.google.com/", Source: "google", Medium: "search"}},
		{"this site with www.", "/", "https://www.shop.example/x", store.Touch{Landing: "/"}},
		{"the app of a mail service", "/", "android-app://com.google.android.gm/", store.Touch{Landing: "/", Referrer: "android-app://gm.android.google.com/", Source: "gmail", Medium: "mail"}},
		{"the app of a search engine", "/", "android-app://com.google.android.googlequicksearchbox/https/www.google.com", store.Touch{Landing: "/", Referrer: "android-app://googlequicksearchbox.android.google.com/", Source: "google", Medium: "search"}},
		{"a hostile app", "/", "android-app://com.go@gle/", store.Touch{Landing: "/"}},
		{"our own host on another port", "/", "https://shop.example:8443/", store.Touch{Landing: "/"}},
		{"a host that ends like a country", "/", "https://google.com.evil/", store.Touch{Landing: "/", Referrer: "https://google.com.evil/", Source: "google.com.evil", Medium: "referral"}},
		{"a host that is too long to be one", "/", "https://" + strings.Repeat("a", 250) + "/", store.Touch{Landing: "/"}},
		{"an assistant that tags its links", "/?utm_source=chatgpt.com", "", store.Touch{Landing: "/", Source: "chatgpt", Medium: "ai"}},
		{"a tagged link at the place it is made for", "/?utm_source=facebook&utm_medium=social&utm_content=ad7", "https://l.facebook.com/", store.Touch{Landing: "/", Referrer: "https://l.facebook.com/", Source: "facebook", Medium: "social", Content: "ad7"}},
		{"a medium alone", "/?utm_medium=cpc", "https://www.google.com/", store.Touch{Landing: "/", Referrer: "https://www.google.com/", Source: "google", Medium: "cpc"}},
		{"text that runs from right to left", "/?utm_campaign=spring%E2%80%AEevil", "", store.Touch{Landing: "/", Campaign: "springevil"}},
		{"a click identifier with an address in it", "/?gclid=ann@example.com", "", store.Touch{Landing: "/"}},
		{"a login in a click identifier", "/?fbclid=eyJhbGciOiJub25lIn0.e30.x", "", store.Touch{Landing: "/"}},
		{"nonsense", "/", "https://[::1", store.Touch{Landing: "/"}},
	} {
		r := httptest.NewRequest("GET", "https://shop.example"+c.url, nil)
		if c.referer != "" {
			r.Header.Set("Referer", c.referer)
		}
		c.want.Time = at
		assert.Equal(t, c.want, tracker.Read(Site{Host: r.Host}, r.URL, c.referer, at, new(Clipped)), c.name)
	}
}

func TestTheFirstTouchAndTheLatestAreKept(t *testing.T) {
	at := millis.Truncate(time.Now())
	var touches []store.Touch
	for i := range 40 {
		before := touches
		touches = Add(touches, store.Touch{Time: at.Add(time.Duration(i) * time.Minute), Landing: string(rune('A' + i))})
		assert.Len(t, touches, min(i+1, maxTouches))
		again := Add(touches, touches[len(touches)-1])
		assert.Equal(t, touches, again, "the same touch twice is one")
		if len(before) > 1 {
			assert.Equal(t, "A", before[0].Landing, "what was handed over is not written to")
		}
	}
	assert.Equal(t, "A", touches[0].Landing)
	assert.Equal(t, string(rune('A'+25)), touches[1].Landing)
	assert.Equal(t, string(rune('A'+39)), touches[15].Landing)
	late := Add(touches, store.Touch{Time: at.Add(-time.Minute), Landing: "earlier"})
	assert.Equal(t, "earlier", late[0].Landing, "by time, whatever the order of arrival")
}

func TestReferrersAreKnown(t *testing.T) {
	all, err := parseReferrers(referrersText)
	require.NoError(t, err)
	assert.Greater(t, len(all.domains), 300)
	assert.Greater(t, len(all.hosts), 50)
	for _, in := range []map[string]referrerKind{all.hosts, all.domains} {
		for domain := range in {
			assert.Equal(t, strings.ToLower(domain), domain)
			assert.NotContains(t, strings.TrimSuffix(domain, ".*"), "*", domain)
			assert.True(t, hostname.IsValid(strings.TrimSuffix(domain, ".*")), domain)
		}
	}
	for host, want := range map[string]referrerKind{
		"google.com": {"search", "google"}, "www.google.de": {"search", "google"}, "www.google.com.au": {"search", "google"},
		"google.evil.com": {"referral", "google.evil.com"}, "notgoogle.com": {"referral", "notgoogle.com"}, "google": {"referral", "google"},
		"gemini.google.com": {"ai", "gemini"}, "accounts.google.com": {pass, "google"}, "de.search.yahoo.com": {"search", "yahoo"},
		"yahoo.com": {"referral", "yahoo.com"}, "m.facebook.com": {"social", "facebook"}, "t.co": {"social", "x"}, "at.co": {"referral", "at.co"},
		"": {"referral", ""}, ".": {"referral", "."}, "..": {"referral", ".."}, "co.uk": {"referral", "co.uk"}, "[::1]": {"referral", "[::1]"},
		"outlook.live.com": {"mail", "outlook"}, "pay.amazon.co.uk": {pass, "amazonpay"}, "www.amazon.de": {"referral", "www.amazon.de"},
		"hooks.stripe.com": {pass, "stripe"}, "www.perplexity.ai": {"ai", "perplexity"},
		// Not all that a search company has is search.
		"images.google.de": {"search", "google"}, "maps.google.co.uk": {"referral", "google-maps"}, "chat.google.com": {"referral", "google-chat"},
		"classroom.google.com": {"referral", "classroom.google.com"}, "translate.google.com": {"referral", "translate.google.com"},
		"ads.google.com": {"referral", "ads.google.com"}, "scholar.google.com": {"referral", "scholar.google.com"}, "news.google.com": {"referral", "google-news"},
		"notebooklm.google.com": {"ai", "notebooklm"}, "aistudio.google.com": {"referral", "aistudio.google.com"}, "mail.google.com": {"mail", "gmail"},
		"www.bing.com": {"search", "bing"}, "ads.bing.com": {"referral", "ads.bing.com"}, "edgeservices.bing.com": {"ai", "copilot"},
		"yandex.com.tr": {"search", "yandex"}, "www.yandex.ru": {"search", "yandex"}, "ya.ru": {"search", "yandex"}, "market.yandex.ru": {"referral", "market.yandex.ru"},
		"mail.yandex.ru": {"mail", "yandex"}, "alice.yandex.ru": {"ai", "alice"}, "passport.yandex.ru": {pass, "yandex"}, "yabs.yandex.ru": {"referral", "yabs.yandex.ru"},
		"m.baidu.com": {"search", "baidu"}, "tieba.baidu.com": {"social", "tieba"}, "baike.baidu.com": {"referral", "baike.baidu.com"}, "yiyan.baidu.com": {"ai", "ernie"},
		"help.kagi.com": {"referral", "help.kagi.com"}, "assistant.kagi.com": {"ai", "kagi"}, "blog.ecosia.org": {"referral", "blog.ecosia.org"},
		"mail.lycos.com": {"mail", "lycos"}, "m.search.naver.com": {"search", "naver"}, "blog.naver.com": {"referral", "blog.naver.com"}, "pay.naver.com": {pass, "naverpay"},
		"duckduckgo.com": {"search", "duckduckgo"}, "spreadprivacy.duckduckgo.com": {"referral", "spreadprivacy.duckduckgo.com"}, "duck.ai": {"ai", "duckai"},
		"search.brave.com": {"search", "brave"}, "ask.brave.com": {"ai", "brave"}, "platform.openai.com": {"referral", "platform.openai.com"},
		"business.facebook.com": {"referral", "meta-business"}, "ads.tiktok.com": {"referral", "tiktok-business"}, "www.google.com.evil": {"referral", "www.google.com.evil"},
		"www.google.evil.com": {"referral", "www.google.evil.com"},
		// Where people pay, and come back from.
		"shop.app": {pass, "shoppay"}, "sis.redsys.es": {pass, "redsys"}, "checkout.stripe.com": {pass, "stripe"}, "www.stripe.com": {"referral", "stripe"},
		"docs.stripe.com": {"referral", "stripe"}, "secure.payu.in": {pass, "payu"}, "go.przelewy24.pl": {pass, "przelewy24"}, "accounts.google.co.uk": {pass, "google"},
		// Apps.
		"googlequicksearchbox.android.google.com": {"search", "google"}, "youtube.android.google.com": {"social", "youtube"}, "maps.apps.android.google.com": {"referral", "google-maps"},
		"messaging.apps.android.google.com": {"referral", "google-messages"}, "bard.apps.android.google.com": {"ai", "gemini"}, "katana.facebook.com": {"social", "facebook"},
		"android.instagram.com": {"social", "instagram"}, "barcelona.instagram.com": {"social", "threads"}, "musically.zhiliaoapp.com": {"social", "tiktok"},
		"outlook.office.microsoft.com": {"mail", "outlook"}, "chatgpt.openai.com": {"ai", "chatgpt"}, "copilot.microsoft.com": {"ai", "copilot"},
	} {
		assert.Equal(t, want, classify(host), host)
	}
	for _, bad := range []string{"search google", "pay x y.example", "search a a.example\nsearch b a.example", "search a =a.example\nsearch b =a.example"} {
		_, err := parseReferrers(bad)
		assert.Error(t, err, bad)
	}
}

// A Referer whose host no browser writes is none: it could be taken for another one, or be
// longer than what is kept.
func TestHostsAreASCII(t *testing.T) {
	r := &http.Request{Host: "shop.example", URL: &url.URL{Path: "/"}, Header: http.Header{}}
	for _, host := range []string{"%E2%80%AEmoc.elgoog", "a%C2%85b", strings.Repeat("\u023a", 100), "b\u00fccher.example", "a%20b.example", strings.Repeat("a", 300)} {
		touch := (&Reader{}).Read(Site{Host: r.Host}, r.URL, "https://"+host+"/x", time.Time{}, new(Clipped))
		assert.True(t, touch.IsDirect(), "%q: %+v", host, touch)
	}
	for _, host := range []string{"xn--bcher-kva.example", "news.example:8443", "[2001:db8::1]", "a_b.example"} {
		touch := (&Reader{}).Read(Site{Host: r.Host}, r.URL, "https://"+host+"/x", time.Time{}, new(Clipped))
		assert.Equal(t, "https://"+host+"/x", touch.Referrer)
		assert.False(t, IsCampaign(&touch))
	}
}

// A number may begin with a plus sign that nobody has escaped, and may have more of them.
func TestNoNumberIsKept(t *testing.T) {
	for _, value := range []string{"+4917012345678", "+49+170+1234567", "%2B4917012345678", "100%25-ann%252540example.com"} {
		page := &url.URL{Path: "/", RawQuery: "utm_source=crm&utm_term=" + value}
		r := &http.Request{Host: "shop.example", URL: page, Header: http.Header{}}
		assert.Empty(t, (&Reader{}).Read(Site{Host: r.Host}, page, "", time.Time{}, new(Clipped)).Term, value)
	}
}

// What is personal by its form, and what only looks a little like it. The second half are
// campaigns of real platforms and people, which a report cannot do without.
func TestWhatIsPersonal(t *testing.T) {
	for _, text := range []string{
		"ann@example.com", "ann%40example.com", "ann%252540example.com", "mailto:ann@mail.example", "ann\uff20example.com", "to/ann@example.com/x",
		"eyJhbGciOiJub25lIn0.e30.x", "Bearer eyJhbGciOiJub25lIn0", "/password/x.eyJhbGci", "t=eyJhbGci",
		"5d41402abc4b2a76b9719d911017c592", "/reset/5d41402abc4b2a76b9719d911017c592/", "123e4567-e89b-42d3-a456-426614174000",
		"sk_live_4eC39HqLyjWDarjtT1zdp7dc", "/reset/q83vEjRWeJq8Tz1kV7niQ4Rx", "x-Zk3Tq9LmW2bVx8Rj5YpN7c",
		"+491701234567", "+49 170 123-4567", "0170-1234567", "01701234567", "0170 1234567", "0170/1234567/01701234567", "00491701234567", "0049 170 1234567", "0044 20 7946 0000",
		"0033612345678", "06 12 34 56 78", "0306406153", "036000291453", "0012345600013", "0-306-40615-3", "0-36000-291452", "+036000291452",
		"mc_eid=abc", "/x;mc_eid=1", "a?_KX=b", "/p%3Fvero_id%3D7", "/call/+491701234567", "+49+170+1234567",
		"user-123e4567-e89b-42d3-a456-426614174000", "123e4567-e89b-42d3-a456-426614174000-x", "/r/token_123e4567-e89b-42d3-a456-426614174000/x",
		"100%-joe%2540example.com", "joe%@example.com", "joe%%40example.com", "@@joe@example.com", "@/joe@example.com",
		"/reset/uW3zg-p7goY1Qx7Kd4sT3nZw", "YBq2_h7Zc9wK-Lm3Rt8Vx1Np5Js0Df4Ga6Qe2Ui7Ob",
	} {
		assert.True(t, isPersonal(text), text)
	}
	for _, text := range []string{
		"", "spring", "spring sale 2026", "SummerSale2026NewsletterGermany", "YouTube4KVideoAd2026", "036000291452", "0306406152", "0-306-40615-2", "0 36000 29145 2", "00012345600012", "0036000291452", "00885909950805", "0001234567", "0743273567",
		"/p/036000291452/lamp", "/01/09506000134352/10/A", "9780306406157", "080442957X", "mc_eid", "xmc_eid=1", "a=b", "black-friday-2026-newsletter-customers-de",
		"20456789012-151234567890-678901234567", "120210512345678901-120210598765432101", "12021051234567890112021059876543210112", "701234567890", "0815",
		"@shop", "/@shop/video", "sale@50", "100%", "teapot+kettle", "keyJumbo", "deadbeef", "a@b", "2026-11-25T21:00:00", "00:30",
		"iPhone15Pro-iPhone16Pro", "Spring_Sale_2026-New_Lamps_For_You", "FW25-Q3-US-Lamps-A1-B2-Video", "DE_Search_Brand_Exact_2026_Q4-v2", "a@/b.c", "@@", "100%@",
	} {
		assert.False(t, isPersonal(text), text)
	}
}

// Most random text is distinguished from names: in base64url three of four of 128 bits, nine of
// ten of 256.
func TestRandomTokensAreDistinguished(t *testing.T) {
	source := rand.NewChaCha8([32]byte{26})
	for n, want := range map[int]int{16: 1500, 18: 1500, 24: 1700, 32: 1800} {
		notified := 0
		for range 2000 {
			b := make([]byte, n)
			_, _ = source.Read(b)
			if isPersonal("/reset/" + base64.RawURLEncoding.EncodeToString(b)) {
				notified++
			}
		}
		assert.Greater(t, notified, want, "%d bytes", n)
	}
}

// A long link is not looked at for longer than a short one: one of a megabyte took minutes.
func TestALongLinkIsNotLookedAt(t *testing.T) {
	for _, text := range []string{"@", "%40", "a@", "0-", "eyJ", "%2540"} {
		text = strings.Repeat(text, 1<<18)
		assert.Less(t, testing.AllocsPerRun(1, func() { isPersonal(text) }), 100.0, text[:5])
	}
	assert.False(t, isPersonal(strings.Repeat("x/", maxPersonal)+"ann@example.com"), "of which nothing is kept")
}

// What a link or a Referer says: never a panic, nothing longer than it may be, no mail
// address, and the same from the same.
func FuzzTouch(f *testing.F) {
	f.Add("/x?utm_source=a&gclid=b", "https://www.google.com/search?q=x")
	f.Add("/?a=1?utm_source=x;utm_medium=y&amp;UTM%5FCAMPAIGN=z&gclid=a%26b&gbraid=c%2B+d&ttclid=__CLICKID__&mc_eid=1", "https://www.google.com./")
	f.Add("//evil.example/%3Futm_source%3Dnews%26gad_source=1&srsltid=x", "https://ru.example/"+strings.Repeat("%D0%BB", 90))
	f.Add("/?utm_term=%40%00&utm_term=b", "https://ann:secret@news.example/ann@example.com")
	f.Fuzz(func(t *testing.T, target, referrer string) {
		page, err := url.Parse(target)
		if err != nil {
			return
		}
		r := &http.Request{Host: "shop.example", URL: page, Header: http.Header{}}
		tracker := NewReader([]string{"pay.example"}, nil)
		got := tracker.Read(Site{Host: r.Host}, page, referrer, time.Time{}, new(Clipped))
		for _, text := range Texts(&got) {
			most := maxTouchText
			if text == &got.Click {
				most = maxClicks * (maxName + 1 + maxClickText + 1)
			}
			if len(*text) > most || !utf8.ValidString(*text) || strings.ContainsAny(*text, "\x00\r\n\u200e\u202e") {
				t.Errorf("kept %q", *text)
			}
		}
		for _, text := range []string{got.Source, got.Medium, got.Campaign, got.Term, got.Content, got.ID} {
			if len(text) < maxTouchText && isPersonal(text) {
				if text == got.Source && got.Referrer != "" {
					continue // the host of the page that has the link
				}
				t.Errorf("%q is kept", text)
			}
		}
		values, err := url.ParseQuery(got.Click)
		if err != nil || len(values) > maxClicks {
			t.Errorf("%q: %v", got.Click, err)
		}
		for name, id := range got.ClickIDs() {
			if values.Get(name) != id || got.ClickID(name) != id || params[strings.ToLower(name)] < paramClick {
				t.Errorf("%q: %s is %q", got.Click, name, id)
			}
			if namesSomebody(id) || isMacro(id) {
				t.Errorf("%q is kept", id)
			}
		}
		if got.Landing[0] != '/' || strings.HasPrefix(got.Landing, "//") || strings.HasPrefix(unescapeOnce(got.Landing), "//") || strings.HasPrefix(unescapeOnce(got.Landing), `/\`) {
			t.Errorf("%q is another host", got.Landing)
		}
		for _, path := range []string{got.Landing, got.Referrer} {
			if _, err := url.PathUnescape(path); err != nil {
				t.Errorf("%q is cut within an escape: %v", path, err)
			}
		}
		if got.IsDirect() != (got.Referrer == "" && got.Source == "" && !IsCampaign(&got)) || got != tracker.Read(Site{Host: r.Host}, page, referrer, time.Time{}, new(Clipped)) {
			t.Errorf("%+v", got)
		}
		if _, authority, _ := strings.Cut(got.Referrer, "://"); strings.ContainsAny(strings.SplitN(authority, "/", 2)[0], "?#@") {
			t.Errorf("kept more than the page: %q", got.Referrer)
		}
	})
}
