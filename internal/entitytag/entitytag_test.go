package entitytag

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The wire format of the tag, as it stands in browsers' caches.
func TestTheTagIsGolden(t *testing.T) {
	token := "AZq1pnUAcBGiM0RVZneImWJa2No8uXsvnnmL9XGZFng" // see TestTheTokenIsGolden
	for _, c := range []struct {
		header http.Header
		want   string
	}{
		{http.Header{"Etag": {`"v1"`}}, `"AZq1pnUAcBGiM0RVZneImWJa2No8uXsvnnmL9XGZFng~v1~"`},
		{http.Header{"Etag": {`W/"v1"`}}, `W/"AZq1pnUAcBGiM0RVZneImWJa2No8uXsvnnmL9XGZFng~v1~"`},
		{http.Header{"Etag": {`"~x"`}}, `"AZq1pnUAcBGiM0RVZneImWJa2No8uXsvnnmL9XGZFng~~e~x~"`},
		{http.Header{"Etag": {`""`}}, `"AZq1pnUAcBGiM0RVZneImWJa2No8uXsvnnmL9XGZFng~~e~"`},
		{http.Header{"Last-Modified": {"Sun, 06 Nov 1994 08:49:37 GMT"}}, `W/"AZq1pnUAcBGiM0RVZneImWJa2No8uXsvnnmL9XGZFng~~mfD31aYzMKZp-BV6lt-Ev4g~"`},
	} {
		content, weak, ok := Content(c.header)
		require.True(t, ok)
		assert.Equal(t, c.want, Format(token, content, weak))
		parsed, ok := Parse(c.want)
		require.True(t, ok, c.want)
		assert.Equal(t, Tag{Weak: weak, Token: token, Content: content}, parsed)
	}
}
