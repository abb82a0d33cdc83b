package revisit_test

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/revisit-go/revisit"
)

// What is left out of links is counted once a page view, whatever its session is.
func TestStatsCountWhatIsClipped(t *testing.T) {
	tr, err := revisit.New(revisit.Config{Consent: func(*http.Request) revisit.Permission { return revisit.Restore }, Keys: [][]byte{make([]byte, 32)}})
	require.NoError(t, err)
	defer tr.Close()
	h := tr.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	open := func(link string, cookies ...*http.Cookie) []*http.Cookie {
		r := httptest.NewRequest("GET", "https://shop.example"+link, nil)
		for _, c := range cookies {
			r.AddCookie(c)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Result().Cookies()
	}
	cookies := open("/?gclid=__CLICKID__&mc_eid=1")
	open("/x?mc_eid=1", cookies...)  // the visitor is confirmed
	open("/y?gclid={x}", cookies...) // and goes on
	assert.Equal(t, map[string]int64{"long": 0, "many": 0, "personal": 2, "macro": 2, "unreadable": 0}, tr.Stats().Clipped)
}

func TestClickIDsOfAConfig(t *testing.T) {
	c := func(names ...string) error {
		tracker, err := revisit.New(revisit.Config{Consent: func(*http.Request) revisit.Permission { return revisit.Restore }, Keys: [][]byte{make([]byte, 32)}, ClickIDs: names})
		if err == nil {
			tracker.Close()
		}
		return err
	}
	assert.NoError(t, c("tduid", "partner-click.id", "gclid"))
	for _, bad := range []string{"", "a b", "a=b", "a&b", "ü", strings.Repeat("a", 65), "mc_eid", "_KX", "vero_id", "mkt_tok", "utm_source", "UTM_ID", "gad_source", "srsltid"} {
		assert.ErrorContains(t, c("tduid", bad), "Config.ClickIDs has "+strconv.Quote(bad))
	}
}
