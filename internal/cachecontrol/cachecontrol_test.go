package cachecontrol

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestTheCarrierRule(t *testing.T) {
	for _, c := range []struct {
		header http.Header
		want   []string // Cache-Control afterwards; nil: no token, and nothing is touched
	}{
		{http.Header{}, []string{"private, no-cache"}},
		{http.Header{"Cache-Control": {"private"}}, []string{"private"}},
		{http.Header{"Cache-Control": {"Private , max-age=60"}}, []string{"Private , max-age=60"}},
		{http.Header{"Cache-Control": {"max-age=60", "private"}}, []string{"max-age=60", "private"}},
		{http.Header{"Cache-Control": {"private, community=\"UCI\""}}, []string{"private, community=\"UCI\""}},
		{http.Header{"Cache-Control": {"no-cache"}}, []string{"private, no-cache"}},
		{http.Header{"Cache-Control": {`no-cache="Set-Cookie"`}}, []string{`private, no-cache="Set-Cookie"`}},
		{http.Header{"Cache-Control": {`no-cache="Set-Cookie, Set-Cookie2", max-age=0`}}, []string{`private, no-cache="Set-Cookie, Set-Cookie2", max-age=0`}},
		{http.Header{"Cache-Control": {`no-cache="Set-Cookie", max-age=60`}}, nil},
		{http.Header{"Cache-Control": {"max-age=0"}}, []string{"private, max-age=0"}},
		{http.Header{"Cache-Control": {"must-revalidate"}}, []string{"private, must-revalidate"}},
		{http.Header{"Cache-Control": {"no-cache", "must-revalidate, max-age=0"}}, []string{"private, no-cache, must-revalidate, max-age=0"}},
		{http.Header{"Cache-Control": {"no-cache, no-transform"}, "Pragma": {"no-cache"}, "Expires": {"0"}}, []string{"private, no-cache, no-transform"}},
		{http.Header{"Cache-Control": {"no-store"}}, []string{"private, no-store"}},
		{http.Header{"Cache-Control": {"no-store, private"}}, []string{"no-store, private"}},

		{http.Header{"Cache-Control": {"public"}}, nil},
		{http.Header{"Cache-Control": {"PUBLIC, max-age=0"}}, nil},
		{http.Header{"Cache-Control": {"private, public"}}, nil},
		{http.Header{"Cache-Control": {"private", "s-maxage=60"}}, nil},
		{http.Header{"Cache-Control": {"s-maxage=0"}}, nil},
		{http.Header{"Cache-Control": {"max-age=60"}}, nil},
		{http.Header{"Cache-Control": {"max-age=0, max-age=60"}}, nil},
		{http.Header{"Cache-Control": {"max-age=\"0\""}}, nil},
		{http.Header{"Cache-Control": {"max-age=60, must-revalidate"}}, nil},
		{http.Header{"Cache-Control": {`private="X-Name"`}}, nil},
		{http.Header{"Cache-Control": {`x="a, private"`}}, nil},
		{http.Header{"Cache-Control": {`no-cache, stale-if-error=60`}}, nil},
		{http.Header{"Cache-Control": {"no-transform"}}, nil},
		{http.Header{"Cache-Control": {"unheard-of"}}, nil},
		{http.Header{"Cache-Control": {"no-store, must-understand"}}, nil},
		{http.Header{"Cache-Control": {"proxy-revalidate"}}, nil},
		{http.Header{"Cache-Control": {""}}, nil},
		{http.Header{"Cache-Control": {}}, nil},
		{http.Header{"Expires": {"Thu, 01 Dec 1994 16:00:00 GMT"}}, nil},
		{http.Header{"Pragma": {"no-cache"}}, nil},
		{http.Header{"Cache-Control": {"private"}, "Cdn-Cache-Control": {"max-age=60"}}, nil},
		{http.Header{"Cache-Control": {"private"}, "Cloudflare-Cdn-Cache-Control": {"no-store"}}, nil},
		{http.Header{"Cache-Control": {"private"}, "Surrogate-Control": {"max-age=60"}}, nil},
		{http.Header{"Cache-Control": {"private"}, "X-Accel-Expires": {"60"}}, nil},
		{http.Header{"Edge-Control": {"max-age=60"}}, nil},
		{http.Header{"Cache-Control": {"private"}, "CDN-Cache-Control": {"max-age=60"}}, nil},
		{http.Header{"Cache-Control": {"private"}, "Vercel-Cdn-Cache-Control": {"max-age=60"}}, nil},
		{http.Header{"Cache-Control": {"private"}, "X-Litespeed-Cache-Control": {"max-age=60"}}, nil},
		{http.Header{"cache-control": {"public"}}, nil},
		{http.Header{"EXPIRES": {"0"}}, nil},
	} {
		before := c.header.Clone()
		got := AllowPrivate(c.header)
		assert.Equal(t, c.want != nil, got, "%v", before)
		want := before.Clone()
		if c.want != nil {
			want["Cache-Control"] = c.want
		}
		assert.Equal(t, want, c.header, "%v", before)
		assert.Equal(t, strings.Contains(strings.ToLower(strings.Join(before["Cache-Control"], ",")), "no-store") && c.want != nil,
			Of(before).NoStore && c.want != nil, "no-store of %v", before)
	}
}

func FuzzCarrierRule(f *testing.F) {
	f.Add("private, max-age=60", "")
	f.Add(`no-cache="x`, "public")
	f.Fuzz(func(t *testing.T, one, two string) {
		h := http.Header{"Cache-Control": {one, two}}
		if !AllowPrivate(h) {
			return
		}
		// Read by another parser: a plain split, which sees more than there is.
		plain := false
		for directive := range strings.SplitSeq(strings.ToLower(strings.Join(h["Cache-Control"], ",")), ",") {
			switch directive = strings.Trim(directive, " \t"); {
			case directive == "private":
				plain = true
			case directive == "public", strings.HasPrefix(directive, "s-maxage"):
				if !strings.Contains(one+two, `"`) {
					t.Fatalf("%q, %q carries a token", one, two)
				}
			}
		}
		if !plain {
			t.Fatalf("%q, %q carries a token without private: %v", one, two, h)
		}
	})
}
