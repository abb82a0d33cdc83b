// Package attribution shares an order, or a lead, out among the touches that led the
// visitor to it.
//
//	shares := attribution.Credit(session.Touches(), order.Time, attribution.PositionBased)
//	for _, s := range shares {
//		// s.Touch.Campaign has earned s.Credit of the order
//	}
//
// The models are the six that Google Analytics had under these names (Google
// Analytics Help, "About the default MCF attribution models"), with its figures. They
// differ, and none of them is the truth: none knows what would have been bought
// without the campaign.
//
// A session keeps the first touch and the latest 15 after it, and no touch for a
// visit that began directly, except the first. So Last is the last campaign or
// referral unless there was none, which is what most tools call last non-direct.
package attribution

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/revisit-go/revisit"
)

// A Share is what one touch has earned.
type Share struct {
	Touch  revisit.Touch
	Credit float64 // from 0 to 1
}

// A Model shares out.
type Model struct {
	name     string
	weigh    func(touches []revisit.Touch, at time.Time) []float64
	lookBack time.Duration // 0: all touches
}

// String returns the name of the model, as in "position based".
func (m Model) String() string {
	if m.lookBack > 0 {
		return m.name + ", within " + spell(m.lookBack)
	}
	return m.name
}

// Models.
var (
	// First gives all to the first touch.
	First = Model{name: "first", weigh: func(touches []revisit.Touch, _ time.Time) []float64 { return only(touches, 0) }}

	// Last gives all to the last touch.
	Last = Model{name: "last", weigh: func(touches []revisit.Touch, _ time.Time) []float64 {
		return only(touches, len(touches)-1)
	}}

	// LastNonDirect gives all to the last touch that is not direct; if all are, to the
	// last.
	LastNonDirect = Model{name: "last non-direct", weigh: func(touches []revisit.Touch, _ time.Time) []float64 {
		for i, t := range slices.Backward(touches) {
			if !t.IsDirect() {
				return only(touches, i)
			}
		}
		return only(touches, len(touches)-1)
	}}

	// Linear gives the same to each touch.
	Linear = Model{name: "linear", weigh: func(touches []revisit.Touch, _ time.Time) []float64 {
		weights := make([]float64, len(touches))
		for i := range weights {
			weights[i] = 1
		}
		return weights
	}}

	// PositionBased gives 40 % to the first touch, 40 % to the last, and 20 % to those
	// between, in equal parts. Two touches get half each.
	PositionBased = Model{name: "position based", weigh: func(touches []revisit.Touch, _ time.Time) []float64 {
		n := len(touches)
		weights := make([]float64, n)
		for i := range weights {
			weights[i] = 0.2 / float64(n-2)
		}
		weights[0], weights[n-1] = 0.4, 0.4
		return weights
	}}
)

// TimeDecay gives a touch half of what one gets that is a half-life younger, measured
// from the order. Seven days are usual. A half-life of 0 or less panics.
func TimeDecay(halfLife time.Duration) Model {
	if halfLife <= 0 {
		panic(fmt.Sprintf("attribution: TimeDecay: the half-life is %v", halfLife))
	}
	return Model{name: "time decay, " + spell(halfLife), weigh: func(touches []revisit.Touch, at time.Time) []float64 {
		weights := make([]float64, len(touches))
		youngest := at.Sub(touches[len(touches)-1].Time) // so that nothing comes to 0
		for i, t := range touches {
			weights[i] = math.Exp2(-float64(at.Sub(t.Time)-youngest) / float64(halfLife))
		}
		return weights
	}}
}

// spell writes whole days as people do.
func spell(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d == day:
		return "1 day"
	case d%day == 0:
		return fmt.Sprintf("%d days", d/day)
	}
	return d.String()
}

// Within returns the model with a look-back window: touches that are older than that
// get nothing. The window of an advertising platform is 30 days more often than not.
// One of 0 or less has no end.
func (m Model) Within(lookBack time.Duration) Model {
	m.lookBack = max(lookBack, 0)
	return m
}

func only(touches []revisit.Touch, i int) []float64 {
	weights := make([]float64, len(touches))
	weights[i] = 1
	return weights
}

// Credit shares one order of the time at out among touches. Those of a later time, and
// those before the window of the model, get nothing and are left out; so are those
// whose share is 0. The credits of the rest, in the order of time, sum up to 1. There
// is none if nothing is left to be credited.
func Credit(touches []revisit.Touch, at time.Time, m Model) []Share {
	var within []revisit.Touch
	for _, t := range touches {
		if !t.Time.After(at) && (m.lookBack == 0 || at.Sub(t.Time) <= m.lookBack) {
			within = append(within, t)
		}
	}
	if len(within) == 0 || m.weigh == nil {
		return nil
	}
	slices.SortStableFunc(within, func(a, b revisit.Touch) int { return a.Time.Compare(b.Time) })
	weights := m.weigh(within, at)
	sum := 0.0
	for _, w := range weights {
		sum += w
	}
	var shares []Share
	for i, w := range weights {
		if w > 0 {
			shares = append(shares, Share{within[i], w / sum})
		}
	}
	return shares
}

// Split shares an amount out, in whole units (cents), so that the parts sum up to
// it. Without shares there are no parts, and the amount is nobody's. What is left after rounding down goes to those who lost most by it.
func Split(amount int64, shares []Share) []int64 {
	parts := make([]int64, len(shares))
	type rest struct {
		i    int
		lost float64
	}
	rests := make([]rest, len(shares))
	left := amount
	for i, s := range shares {
		exact := float64(amount) * s.Credit
		parts[i] = int64(math.Trunc(exact))
		rests[i] = rest{i, math.Abs(exact - float64(parts[i]))}
		left -= parts[i]
	}
	slices.SortStableFunc(rests, func(a, b rest) int {
		switch {
		case a.lost > b.lost:
			return -1
		case a.lost < b.lost:
			return 1
		}
		return 0
	})
	if n := int64(len(rests)); n > 0 {
		// Less than one each, unless the shares do not sum up to 1.
		for _, r := range rests {
			parts[r.i] += left / n
		}
		one := int64(1)
		if left %= n; left < 0 {
			one = -1
		}
		for i := 0; left != 0; i++ {
			parts[rests[i].i] += one
			left -= one
		}
	}
	return parts
}
