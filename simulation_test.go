//go:build !race

package revisit_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/exp/stats"

	"github.com/revisit-go/revisit"
)

// The simulation draws a town of browsers and four weeks of their visits from a
// seed, and has them all visit a site, once for each strategy. It is a model, and
// says how the strategies compare, not what a site will see. What it assumes stands
// in docs/recognition.md beside its table; whoever knows better changes a number here.

const (
	simSeed = 20261122
	simDays = 28

	simHomes   = 70 // with one IPv4 address each
	simOffices = 3  // with one IPv4 address each
	simDesks   = 40 // in each office
	simPhones  = 80 // that are never at home
	simGates   = 12 // addresses of the carrier's NAT

	simVisit    = 0.25 // a browser visits on a day
	simBlocks   = 0.08 // browsers that block cookies
	simClears   = 0.10 // browsers whose cookies are deleted once a week
	simPrivate  = 0.04 // browsers that forget all when they are closed
	simEvicts   = 0.05 // a stored page is gone from the cache, at each visit
	simNewHome  = 0.03 // a home gets another address over night
	simUpdating = 14   // days from one version of the browsers to the next
)

// simKinds are browsers by share, with a gap for the version.
var simKinds = []struct {
	share float64
	agent string
	phone bool
}{
	{0.40, "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/%d.0.0.0 Safari/537.36", false},
	{0.18, "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.%d Safari/605.1.15", false},
	{0.16, "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/%[1]d.0.0.0 Safari/537.36 Edg/%[1]d.0.0.0", false},
	{0.14, "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/%d.0.0.0 Safari/537.36", false},
	{0.12, "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:%[1]d.0) Gecko/20100101 Firefox/%[1]d.0", false},
	{0.50, "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/%d.0.0.0 Mobile Safari/537.36", true},
	{0.42, "Mozilla/5.0 (iPhone; CPU iPhone OS 26_%[1]d like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.%[1]d Mobile/15E148 Safari/604.1", true},
	{0.08, "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/%d.0 Chrome/136.0.0.0 Mobile Safari/537.36", true},
}

var simLanguages = []string{"de-DE,de;q=0.9,en;q=0.8", "de-DE,de;q=0.9,en;q=0.8", "de-DE,de;q=0.9,en;q=0.8", "en-US,en;q=0.9", "fr-FR,fr;q=0.9"}

// A simBrowser is one of the town.
type simBrowser struct {
	place                   int // kind of network: see simPlaces
	network                 int // which home, or office
	agent, language         string
	lag                     int // days after a release until it is updated
	blocks, clears, private bool
}

var simPlaces = []string{"homes", "offices", "mobile"}

// A simCall is one visit of one browser.
type simCall struct {
	browser int
	after   time.Duration // since the beginning
	address string
	agent   string
	pages   []int
	clear   bool // the cookies were deleted before
	evicted []bool
}

// town draws the browsers and their visits, in the order of time.
func town() (browsers []simBrowser, visits []simCall) {
	r := rand.New(rand.NewPCG(simSeed, 0))
	add := func(place, network int, phone bool) {
		b := simBrowser{place: place, network: network, language: simLanguages[r.IntN(len(simLanguages))], lag: r.IntN(5)}
		x := r.Float64()
		for _, kind := range simKinds {
			if kind.phone == phone {
				if x -= kind.share; x < 0 {
					b.agent = kind.agent
					break
				}
			}
		}
		x = r.Float64()
		b.blocks, b.clears, b.private = x < simBlocks, x >= simBlocks && x < simBlocks+simClears, x >= simBlocks+simClears && x < simBlocks+simClears+simPrivate
		browsers = append(browsers, b)
	}
	for home := range simHomes {
		for range 1 + r.IntN(4) { // people
			add(0, home, true)
			if r.IntN(2) == 0 {
				add(0, home, false)
			}
		}
	}
	for office := range simOffices {
		for range simDesks {
			add(1, office, false)
		}
	}
	for range simPhones {
		add(2, 0, true)
	}

	moved := make([]int, simHomes)
	for day := range simDays {
		for home := range moved {
			if r.Float64() < simNewHome {
				moved[home]++
			}
		}
		for i, b := range browsers {
			if r.Float64() >= simVisit {
				continue
			}
			v := simCall{browser: i, after: time.Duration(day)*24*time.Hour + 6*time.Hour + time.Duration(r.Int64N(int64(16*time.Hour)))}
			v.agent = fmt.Sprintf(b.agent, 140+(day-b.lag+simUpdating)/simUpdating)
			switch b.place {
			case 0:
				v.address = fmt.Sprintf("198.18.%d.%d:1", moved[b.network], b.network) // one provider's: neighbours share a network
			case 1:
				v.address = fmt.Sprintf("203.0.113.%d:1", b.network)
			case 2:
				v.address = fmt.Sprintf("192.0.2.%d:1", r.IntN(simGates))
			}
			for range 1 + r.IntN(4) {
				v.pages = append(v.pages, r.IntN(12))
				v.evicted = append(v.evicted, r.Float64() < simEvicts)
			}
			v.clear = b.clears && r.Float64() < 1/(7*simVisit)
			visits = append(visits, v)
		}
		// Within the day, by time.
		from := len(visits)
		for from > 0 && visits[from-1].after >= time.Duration(day)*24*time.Hour {
			from--
		}
		today := visits[from:]
		for i := range today {
			for j := i; j > 0 && today[j].after < today[j-1].after; j-- {
				today[j], today[j-1] = today[j-1], today[j]
			}
		}
	}
	return browsers, visits
}

// simResult has what became of each visit, in the order of time, by place: 1 for yes and
// 0 for no, so that a rate is a mean. split is about the visits with one before: whether it
// was not taken for the same visitor. shared is about all: whether it was taken for one
// that somebody else is, too.
type simResult struct{ split, shared [3][]float64 }

func simYes(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// simulate has the town visit a site. It returns what came of it, and what comes of
// it if hints are followed.
func simulate(t *testing.T, strategy revisit.Strategy) (plain, hinted simResult) {
	browsers, visits := town()
	synctest.Test(t, func(t *testing.T) {
		store := newAllStore(t)
		h := site(newTracker(t, revisit.Config{Strategy: strategy, Store: store}), seen)
		clients := make([]*browser, len(browsers))
		sessions := make([]string, len(visits)) // of the last page of each visit
		likely := make(map[string]string)
		begin := time.Now()
		for n, v := range visits {
			time.Sleep(time.Until(begin.Add(v.after)))
			b := browsers[v.browser]
			c := clients[v.browser]
			if c == nil || b.private {
				c = newBrowser(h)
				c.blocksCookies, c.language = b.blocks, b.language
				clients[v.browser] = c
			}
			c.userAgent, c.address = v.agent, v.address
			if v.clear {
				clear(c.cookies)
			}
			for i, page := range v.pages {
				url := fmt.Sprint("/", page)
				if v.evicted[i] {
					delete(c.tags, url)
				}
				resp := c.open(url, true)
				sessions[n] = idOf(resp)
				if id, err := revisit.ParseID(sessions[n]); err == nil {
					if r, err := store.Load(t.Context(), id); err == nil && !r.ProbableMatch.IsZero() {
						likely[sessions[n]] = r.ProbableMatch.String()
					}
				}
				time.Sleep(20 * time.Second)
			}
		}
		records := store.records(t)
		root := func(id string, hints bool) string {
			for {
				parsed, err := revisit.ParseID(id)
				r := records[parsed]
				switch {
				case err == nil && !r.MergedInto.IsZero():
					id = r.MergedInto.String()
				case hints && likely[id] != "":
					id = likely[id]
				default:
					return id
				}
			}
		}
		for _, hints := range []bool{false, true} {
			result := &plain
			if hints {
				result = &hinted
			}
			owners := make(map[string]map[int]bool)
			for n, v := range visits {
				id := root(sessions[n], hints)
				if owners[id] == nil {
					owners[id] = make(map[int]bool)
				}
				owners[id][v.browser] = true
			}
			last := make(map[int]string)
			for n, v := range visits {
				place, id := browsers[v.browser].place, root(sessions[n], hints)
				result.shared[place] = append(result.shared[place], simYes(len(owners[id]) > 1))
				if before, ok := last[v.browser]; ok {
					result.split[place] = append(result.split[place], simYes(before != id))
				}
				last[v.browser] = id
			}
		}
	})
	return plain, hinted
}

// What each strategy makes of the same four weeks, written into the documentation.
// What it must be: tokens never share a session, a fingerprint does, and it loses
// who changes the network.
func TestSimulation(t *testing.T) {
	cookie, etag := revisit.Cookie{}, revisit.ETag{}
	type row struct {
		name   string
		result simResult
	}
	var rows []row
	add := func(name string, strategy revisit.Strategy) (plain, hinted simResult) {
		plain, hinted = simulate(t, strategy)
		rows = append(rows, row{name, plain})
		return plain, hinted
	}
	print, _ := add("fingerprint", revisit.Fingerprint{})
	add("fingerprint, 31 days", revisit.Fingerprint{Window: 31 * 24 * time.Hour})
	subnet, _ := add("fingerprint, Subnet", revisit.Fingerprint{Subnet: true})
	byCookie, _ := add("cookie", cookie)
	byTag, _ := add("etag, with the anchor", etag)
	both, _ := add("hybrid, with the anchor", revisit.Hybrid(cookie, etag))
	all, hinted := add("hybrid + fingerprint", revisit.Hybrid(cookie, etag, revisit.Fingerprint{}))
	rows = append(rows, row{"the same, hints taken for true", hinted})

	for place, name := range simPlaces {
		for _, r := range []simResult{byCookie, byTag, both, all} {
			assert.Zero(t, stats.Mean(r.shared[place]), "%s: a token is nobody else's", name)
		}
		assert.LessOrEqual(t, stats.Mean(both.split[place]), stats.Mean(byCookie.split[place]))
		assert.Equal(t, both.split, all.split, "a hint changes nothing by itself")
		assert.LessOrEqual(t, stats.Mean(hinted.split[place]), stats.Mean(all.split[place]))
	}
	assert.Greater(t, stats.Mean(subnet.shared[0]), stats.Mean(print.shared[0]), "neighbours")
	assert.Greater(t, stats.Mean(print.shared[1]), 0.5, "offices")
	assert.Greater(t, stats.Mean(print.split[2]), 0.5, "mobile networks")
	if t.Failed() {
		return
	}

	browsers, visits := town()
	places := make([]int, len(simPlaces))
	for _, b := range browsers {
		places[b.place]++
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n%d visits of %d browsers (%d in homes, %d in offices, %d on mobile networks) in %d days, seed %d.\n\n",
		len(visits), len(browsers), places[0], places[1], places[2], simDays, simSeed)
	b.WriteString("| strategy | split, homes | offices | mobile | shared, homes | offices | mobile |\n|---|---|---|---|---|---|---|\n")
	for _, row := range rows {
		fmt.Fprintf(&b, "| %s |", row.name)
		for place := range simPlaces {
			fmt.Fprintf(&b, " %.1f %% |", 100*stats.Mean(row.result.split[place]))
		}
		for place := range simPlaces {
			fmt.Fprintf(&b, " %.1f %% |", 100*stats.Mean(row.result.shared[place]))
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
	t.Log(b.String())
	require.NoError(t, writeBetween("docs/recognition.md", "TestSimulation", b.String()))
}
