package revisit

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
)

func TestTouches(t *testing.T) {
	at := milli(time.Now())
	long := strings.Repeat("é", 200)
	for _, c := range []struct {
		name, url, referer string
		want               Touch
	}{
		{"direct", "/", "", Touch{Landing: "/"}},
		{"a path", "/a%20b/%00?x=1", "", Touch{Landing: "/a%20b/%00"}},
		{"from this host", "/x", "https://shop.example/y?z", Touch{Landing: "/x"}},
		{"from this host, other case", "/x", "https://SHOP.example/", Touch{Landing: "/x"}},
		{"a referral", "/x", "https://News.example/a?token=1#f", Touch{Landing: "/x", Referrer: "https://news.example/a", Source: "news.example", Medium: "referral"}},
		{"a referrer with credentials", "/x", "https://me:secret@news.example:8443/a", Touch{Landing: "/x", Referrer: "https://news.example:8443/a", Source: "news.example", Medium: "referral"}},
		{"a campaign", "/x?utm_source=g&utm_medium=cpc&utm_campaign=spring+sale&utm_term=t%26t&utm_content=c&utm_id=7", "",
			Touch{Landing: "/x", Source: "g", Medium: "cpc", Campaign: "spring sale", Term: "t&t", Content: "c", ID: "7"}},
		{"a campaign with a referrer", "/x?utm_source=g", "https://google.example/", Touch{Landing: "/x", Source: "g", Referrer: "https://google.example/"}},
		{"a click", "/x?gclid=Cj0-_", "https://google.example/", Touch{Landing: "/x", Click: "gclid=Cj0-_", Referrer: "https://google.example/"}},
		{"other clicks", "/?li_fat_id=1&fbclid=2", "", Touch{Landing: "/", Click: "li_fat_id=1"}},
		{"ttclid", "/?ttclid=E.C.P", "", Touch{Landing: "/", Click: "ttclid=E.C.P"}},
		{"msclkid", "/?msclkid=abc", "", Touch{Landing: "/", Click: "msclkid=abc"}},
		{"twice: the first counts", "/?utm_source=a&utm_source=b", "", Touch{Landing: "/", Source: "a"}},
		{"not ours", "/?UTM_SOURCE=a&xutm_source=b&utm_source", "", Touch{Landing: "/"}},
		{"bad escapes are kept as they are", "/?utm_source=50%", "", Touch{Landing: "/", Source: "50%"}},
		{"control characters", "/?utm_source=a%00b&utm_medium=a%0Ab", "", Touch{Landing: "/"}},
		{"not UTF-8", "/?utm_source=%ff", "", Touch{Landing: "/"}},
		{"too long", "/?utm_source=" + long, "", Touch{Landing: "/", Source: strings.Repeat("é", 128)}},
		{"half a click is none", "/?gclid=" + strings.Repeat("x", 300), "", Touch{Landing: "/"}},
		{"a hostile referrer", "/", "javascript:alert(1)", Touch{Landing: "/"}},
		{"no host", "/", "https:///x", Touch{Landing: "/"}},
		{"an app", "/", "android-app://com.example/", Touch{Landing: "/"}},
		{"nonsense", "/", "https://[::1", Touch{Landing: "/"}},
	} {
		r := httptest.NewRequest("GET", "https://shop.example"+c.url, nil)
		if c.referer != "" {
			r.Header.Set("Referer", c.referer)
		}
		c.want.Time = at
		assert.Equal(t, c.want, touchOf(r, r.URL, c.referer, at), c.name)
	}
}

func TestTheFirstTouchAndTheLatestAreKept(t *testing.T) {
	at := milli(time.Now())
	var touches []Touch
	for i := range 40 {
		before := touches
		touches = withTouch(touches, Touch{Time: at.Add(time.Duration(i) * time.Minute), Landing: string(rune('A' + i))})
		assert.Len(t, touches, min(i+1, maxTouches))
		again := withTouch(touches, touches[len(touches)-1])
		assert.Equal(t, touches, again, "the same touch twice is one")
		if len(before) > 1 {
			assert.Equal(t, "A", before[0].Landing, "what was handed over is not written to")
		}
	}
	assert.Equal(t, "A", touches[0].Landing)
	assert.Equal(t, string(rune('A'+25)), touches[1].Landing)
	assert.Equal(t, string(rune('A'+39)), touches[15].Landing)
	late := withTouch(touches, Touch{Time: at.Add(-time.Minute), Landing: "earlier"})
	assert.Equal(t, "earlier", late[0].Landing, "by time, whatever the order of arrival")
}

func FuzzTouch(f *testing.F) {
	f.Add("utm_source=a&gclid=b", "https://news.example/x")
	f.Add("utm_source=%zz;=&&=", "https://%zz")
	f.Fuzz(func(t *testing.T, query, referer string) {
		r := httptest.NewRequest("GET", "https://shop.example/", nil)
		r.URL.RawQuery = query
		r.Header["Referer"] = []string{referer}
		touch := touchOf(r, r.URL, referer, time.Now())
		for _, s := range []string{touch.Landing, touch.Referrer, touch.Source, touch.Medium, touch.Campaign, touch.Term, touch.Content, touch.ID, touch.Click} {
			if len(s) > maxTouchText || !utf8.ValidString(s) || strings.ContainsAny(s, "\x00\r\n") {
				t.Fatalf("kept %q", s)
			}
		}
		if strings.ContainsAny(touch.Referrer, "?#@") && !strings.ContainsAny(strings.SplitN(touch.Referrer, "://", 2)[1], "/") {
			t.Fatalf("kept more than the page: %q", touch.Referrer)
		}
	})
}
