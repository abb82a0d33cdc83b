package attribution_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/revisit-go/revisit"
	"github.com/revisit-go/revisit/attribution"
)

var models = []attribution.Model{
	attribution.First, attribution.Last, attribution.LastNonDirect, attribution.Linear, attribution.PositionBased,
	attribution.TimeDecay(7 * 24 * time.Hour), attribution.Linear.Within(30 * 24 * time.Hour),
}

const day = 24 * time.Hour

var order = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// touches are of so many days before the order each; "-" is a direct one.
func touches(days ...any) (all []revisit.Touch) {
	for i := 0; i < len(days); i += 2 {
		t := revisit.Touch{Time: order.Add(-time.Duration(days[i].(int)) * day), Landing: "/"}
		if name := days[i+1].(string); name != "-" {
			t.Campaign = name
		}
		all = append(all, t)
	}
	return all
}

// What each model makes of journeys, worked out by hand.
func TestModels(t *testing.T) {
	for _, journey := range []struct {
		name    string
		touches []revisit.Touch
		want    []string // for each model
	}{
		{"no touch", nil, []string{"", "", "", "", "", "", ""}},
		{"one campaign", touches(3, "a"), []string{"a 1.00", "a 1.00", "a 1.00", "a 1.00", "a 1.00", "a 1.00", "a 1.00"}},
		{"direct alone", touches(3, "-"), []string{"- 1.00", "- 1.00", "- 1.00", "- 1.00", "- 1.00", "- 1.00", "- 1.00"}},
		{"two campaigns", touches(14, "a", 7, "b"), []string{"a 1.00", "b 1.00", "b 1.00", "a 0.50 b 0.50", "a 0.50 b 0.50", "a 0.33 b 0.67", "a 0.50 b 0.50"}},
		{"direct, then a campaign", touches(7, "-", 0, "a"), []string{"- 1.00", "a 1.00", "a 1.00", "- 0.50 a 0.50", "- 0.50 a 0.50", "- 0.33 a 0.67", "- 0.50 a 0.50"}},
		{"a campaign, then direct", touches(7, "a", 0, "-"), []string{"a 1.00", "- 1.00", "a 1.00", "a 0.50 - 0.50", "a 0.50 - 0.50", "a 0.33 - 0.67", "a 0.50 - 0.50"}},
		{"four", touches(21, "a", 14, "b", 7, "c", 0, "d"), []string{"a 1.00", "d 1.00", "d 1.00", "a 0.25 b 0.25 c 0.25 d 0.25",
			"a 0.40 b 0.10 c 0.10 d 0.40", "a 0.07 b 0.13 c 0.27 d 0.53", "a 0.25 b 0.25 c 0.25 d 0.25"}},
		{"one of long ago", touches(70, "a", 7, "b"), []string{"a 1.00", "b 1.00", "b 1.00", "a 0.50 b 0.50", "a 0.50 b 0.50", "a 0.00 b 1.00", "b 1.00"}},
		{"all of long ago", touches(70, "a", 40, "b"), []string{"a 1.00", "b 1.00", "b 1.00", "a 0.50 b 0.50", "a 0.50 b 0.50", "a 0.05 b 0.95", ""}},
		{"on the edge of the window", touches(30, "a"), []string{"a 1.00", "a 1.00", "a 1.00", "a 1.00", "a 1.00", "a 1.00", "a 1.00"}},
		{"after the order", touches(7, "a", -1, "b"), []string{"a 1.00", "a 1.00", "a 1.00", "a 1.00", "a 1.00", "a 1.00", "a 1.00"}},
		{"not in order", touches(7, "b", 14, "a"), []string{"a 1.00", "b 1.00", "b 1.00", "a 0.50 b 0.50", "a 0.50 b 0.50", "a 0.33 b 0.67", "a 0.50 b 0.50"}},
		{"years apart", touches(4000, "a", 0, "b"), []string{"a 1.00", "b 1.00", "b 1.00", "a 0.50 b 0.50", "a 0.50 b 0.50", "a 0.00 b 1.00", "b 1.00"}},
	} {
		for i, m := range models {
			t.Run(journey.name+"/"+m.String(), func(t *testing.T) {
				got := ""
				for _, s := range attribution.Credit(journey.touches, order, m) {
					name := s.Touch.Campaign
					if name == "" {
						name = "-"
					}
					if got != "" {
						got += " "
					}
					got += fmt.Sprintf("%s %.2f", name, s.Credit)
				}
				assert.Equal(t, journey.want[i], got)
			})
		}
	}
}

// Whatever the touches are: credits sum up to 1, none is outside of its bounds, what
// is split sums up to the amount, and the touches are left as they were.
func TestCreditsSumUp(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		var given []revisit.Touch
		for range r.IntN(17) {
			touch := revisit.Touch{Time: order.Add(-time.Duration(r.Int64N(int64(800*day))) + 20*day)}
			if r.IntN(3) > 0 {
				touch.Campaign = fmt.Sprint(r.IntN(4))
			}
			given = append(given, touch)
		}
		was := append([]revisit.Touch(nil), given...)
		for _, m := range append(models, attribution.TimeDecay(time.Nanosecond), attribution.First.Within(time.Duration(1+r.Int64N(int64(900*day))))) {
			shares := attribution.Credit(given, order, m)
			if len(shares) == 0 {
				assert.Empty(t, attribution.Split(100, shares), "%v", m)
				continue
			}
			sum := 0.0
			for i, s := range shares {
				require.Greater(t, s.Credit, 0.0, "%v", m)
				require.LessOrEqual(t, s.Credit, 1.0, "%v", m)
				require.False(t, s.Touch.Time.After(order), "%v", m)
				if i > 0 {
					require.False(t, s.Touch.Time.Before(shares[i-1].Touch.Time), "%v", m)
				}
				sum += s.Credit
			}
			require.InDelta(t, 1, sum, 1e-9, "%v", m)
			amount := r.Int64N(2e9) - 1e9 // a refund is one, too
			total := int64(0)
			for i, part := range attribution.Split(amount, shares) {
				total += part
				require.InDelta(t, float64(amount)*shares[i].Credit, float64(part), 1.001, "%v", m)
			}
			require.Equal(t, amount, total, "%v", m)
		}
		require.Equal(t, was, given)
	}
}

// More touches between take nothing from the ends, and a younger touch never gets less
// than an older one by time decay.
func TestWhatModelsPromise(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 500 {
		var given []revisit.Touch
		for i := range 3 + r.IntN(13) {
			given = append(given, revisit.Touch{Time: order.Add(-time.Duration(r.IntN(300)) * time.Hour), Campaign: fmt.Sprint(i)})
		}
		shares := attribution.Credit(given, order, attribution.PositionBased)
		assert.InDelta(t, 0.4, shares[0].Credit, 1e-9)
		assert.InDelta(t, 0.4, shares[len(shares)-1].Credit, 1e-9)
		decay := attribution.Credit(given, order, attribution.TimeDecay(7*day))
		for i := 1; i < len(decay); i++ {
			assert.GreaterOrEqual(t, decay[i].Credit, decay[i-1].Credit)
			younger := decay[i].Touch.Time.Sub(decay[i-1].Touch.Time)
			if younger == 7*day {
				assert.InDelta(t, 2, decay[i].Credit/decay[i-1].Credit, 1e-9)
			}
		}
	}
	assert.Panics(t, func() { attribution.TimeDecay(0) })
	assert.Nil(t, attribution.Credit(touches(1, "a"), order, attribution.Model{}), "no model")
}

func ExampleCredit() {
	touches := []revisit.Touch{
		{Time: order.AddDate(0, 0, -20), Source: "newsletter", Medium: "email", Campaign: "spring"},
		{Time: order.AddDate(0, 0, -6), Source: "google", Medium: "search"},
		{Time: order.AddDate(0, 0, -1), Source: "partner", Medium: "affiliate", Campaign: "teapots"},
	}
	shares := attribution.Credit(touches, order, attribution.PositionBased.Within(30*24*time.Hour))
	cents := attribution.Split(4999, shares)
	for i, s := range shares {
		fmt.Printf("%s %.0f %% %d\n", s.Touch.Source, 100*s.Credit, cents[i])
	}
	// Output:
	// newsletter 40 % 2000
	// google 20 % 1000
	// partner 40 % 1999
}
