package e2e

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/revisit-go/revisit"
)

func strategyOf(name string, secure bool) revisit.Strategy {
	switch name {
	case "etag":
		return revisit.ETag{}
	default:
		return revisit.Hybrid(revisit.Cookie{Insecure: !secure}, revisit.ETag{})
	}
}

// Invariant 3 in real browsers: a new profile walks five pages of ten parts,
// twice; then one of them is loaded anew by a hard reload; then the cookies are
// deleted, and it walks pages old and new. It is one visitor.
func TestAWalkIsOneVisitor(t *testing.T) {
	for _, engine := range engines {
		t.Run(engine.name, func(t *testing.T) {
			b := engine.open(t)
			for _, strategy := range []string{"etag", "hybrid"} {
				for _, script := range []bool{true, false} {
					for _, secure := range []bool{false, true} {
						t.Run(fmt.Sprintf("%s, script %v, https %v", strategy, script, secure), func(t *testing.T) {
							b.allowScript(t, script)
							defer b.allowScript(t, true)
							b.deleteCookies(t) // shop.localhost is the same for all, ports are told apart by the cache alone
							s := newSite(t, revisit.Config{Strategy: strategyOf(strategy, secure)}, secure)
							walk(t, s, b, script)
						})
					}
				}
			}
		})
	}
}

func walk(t *testing.T, s *site, b browser, script bool) {
	views := int64(0)
	open := func(n int) {
		t.Helper()
		path := fmt.Sprint("/page/", n)
		mark := s.mark()
		b.visit(t, s.at("shop.localhost", path))
		s.settled(t, mark, path, script)
		views++
	}
	for range 2 {
		for n := range 5 {
			open(n)
		}
	}
	mark := s.mark()
	b.hardReload(t)
	s.settled(t, mark, "/page/4", script)
	views++
	b.deleteCookies(t)
	for n := 3; n < 8; n++ {
		open(n)
	}
	confirmed, all := s.store.sessions(t)
	assert.Len(t, all, 1)
	require.Len(t, confirmed, 1)
	assert.Equal(t, views, confirmed[0].Hits, "each page view counts once")
	assert.EqualValues(t, 1, confirmed[0].Visits)
	proto := s.since(0)[0].proto
	assert.Equal(t, map[string]string{"http": "HTTP/1.1", "https": "HTTP/2.0"}[s.scheme], proto)
}
