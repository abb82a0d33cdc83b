package revisit

import (
	"errors"
	"net/http"
)

// Hybrid tries all of the given strategies, and looks at each: what one
// request claims is one browser. The order is the order of trust: where the
// claims cannot be merged, the first one counts and the other carriers are
// brought to it. So Cookie comes before ETag.
//
// If two carriers claim different sessions, the older session wins, the
// younger one is merged into it and every carrier is brought to the winner, as
// far as the [Permission] goes. Sessions whose Values differ under one key are
// not merged, and a tag that has met eight different cookies has leaked: from
// then on it is ignored.
func Hybrid(strategies ...Strategy) Strategy { return hybrid(strategies) }

// hybrid is a plain composite. That its children agree is the ledger's work.
type hybrid []Strategy

// Via implements [Strategy]. Nothing is ever recognised by this name.
func (hybrid) Via() string { return "hybrid" }

func (h hybrid) Identify(v *Visit) {
	for _, s := range h {
		s.Identify(v)
	}
}

func (h hybrid) Attach(v *Visit, header http.Header, status int) {
	for _, s := range h {
		s.Attach(v, header, status)
	}
}

func (h hybrid) Clear(v *Visit, header http.Header, status int) {
	for _, s := range h {
		s.Clear(v, header, status)
	}
}

// check is called by New.
func (h hybrid) check() error {
	all := leaves(h)
	for i, s := range all {
		if s != nil && s.Via() == (Fingerprint{}).Via() && i < len(all)-1 {
			return errors.New("revisit: Hybrid: Fingerprint comes last: it speaks where no other does")
		}
	}
	return nil
}

// leaves returns the strategies that s is made of, in the order of trust.
func leaves(s Strategy) []Strategy {
	h, ok := s.(hybrid)
	if !ok {
		return []Strategy{s}
	}
	var all []Strategy
	for _, child := range h {
		all = append(all, leaves(child)...)
	}
	return all
}
