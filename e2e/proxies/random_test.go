package proxies

import (
	"maps"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
)

// held are all configurations in which nothing private reaches anybody else.
var held = append(slices.Clone(proxies), careless...)

// What visitors get behind a proxy is theirs, and what the handler alone would give: see run.
// The moves of each proxy are shared out among its configurations.
func TestEverybodyGetsTheirOwn(t *testing.T) {
	configurations := make(map[string]int)
	for _, p := range held {
		configurations[p.program]++
	}
	seed := seed(t)
	for _, p := range held {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			n := 4_000
			if os.Getenv("REVISIT_FULL") != "" {
				n = 100_000
			}
			n /= configurations[p.program]
			r := newRun(t, p, seed)
			r.moves(n)
			for _, kind := range slices.Sorted(maps.Keys(r.faults)) {
				t.Errorf("%s, %d times, first in %s", kind, len(r.faults[kind]), r.faults[kind][0])
			}
			t.Logf("%d moves: %+v", n, r.stats)
		})
	}
}

// Where a proxy is configured to keep what is private, everybody gets everybody's private pages,
// those of a handler that never heard of us included, and our tokens with them. In all other
// configurations neither happens.
func TestWhereNoHeaderHelps(t *testing.T) {
	leaks := func(t *testing.T, p proxy) (own, tokens bool) {
		r := newRun(t, p, 1)
		r.pages = nil
		for i := range 4 {
			p := page{strategy: "etag", kind: []string{"form", "account"}[i%2], way: 1, number: i} // private
			for _, name := range []string{"a", "b", "c"} {
				c := r.newVisitor(name)
				c.permission, c.agent, c.lang, c.login, c.other = "restore", agentBrowser, "en", false, false
				r.make([]*move{{number: i, page: p, url: p.url(), client: c, how: "first", fetch: fetches[0], encoding: "identity"}})
			}
		}
		return r.strangers > 0, len(r.faults["token"]) > 0
	}
	for _, p := range held {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			own, tokens := leaks(t, p)
			assert.False(t, own, "private pages of the bare site")
			assert.False(t, tokens, "tokens")
		})
	}
	for _, p := range broken {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			own, tokens := leaks(t, p)
			assert.True(t, own, "private pages of the bare site")
			assert.True(t, tokens, "tokens")
		})
	}
}
