package revisit

import (
	"github.com/revisit-go/revisit/internal/ledger"
	"github.com/revisit-go/revisit/internal/millis"
	"github.com/revisit-go/revisit/internal/rules"
	"github.com/revisit-go/revisit/internal/token"
	"github.com/revisit-go/revisit/internal/uuid"
)

// An identity is what a request says of whose it is.
type identity struct {
	carriers []carrier
	few      [2]carrier // room for carriers

	fingerprint *ledger.Fingerprint // nil if it is of no interest
	report      *beaconReport       // nil but for the beacon's anchor
	form        *pendingForm        // nil but for a POST that nothing else says of whose it is
	bound       *token.Binding      // what link and form tokens are bound to; nil where there are none
}

// A carrier is what came in under one purpose.
type carrier struct {
	token     string // of id
	id        ID     // zero: no valid token came
	rank      int8   // of the strategy, whose Via is the purpose
	old       bool   // sealed with a key that no longer signs
	ambiguous bool   // two different valid tokens
	stored    bool   // sits in the client's stored response
}

// Present tells of a token that the client carries for a purpose, which is the
// strategy's Via; another one panics. It reports whether the token is one of ours, sealed for this
// purpose and within its lifetime. One that is not is ignored and counted; two
// different valid ones for one purpose make it ambiguous: no claim at all.
//
// Under Unasked no claim may be used: Present takes note that there is a
// carrier, and reports false. On a subresource of another site's page it reports
// false and takes note of nothing.
func (v *Visit) Present(purpose, token string) bool {
	rank := v.tracker.mustRank(purpose)
	if v.class.Foreign {
		return false
	}
	c := v.ranked(rank)
	if c == nil {
		v.carriers = append(v.carriers, carrier{rank: int8(rank)})
		c = &v.carriers[len(v.carriers)-1]
	}
	if v.permission == Unasked {
		return false
	}
	id, old, ok := v.tracker.keys.Open(&v.scratch, purpose, token)
	switch {
	case !ok:
		v.tracker.stats.forged.Add(1)
		return false
	case v.now.UnixMilli()-uuid.Millis(id) >= millis.Ceil(v.tracker.lifetime):
		v.tracker.stats.expired.Add(1)
		return false
	case !c.id.IsZero() && c.id != id:
		if !c.ambiguous {
			v.tracker.stats.ambiguous.Add(1)
		}
		c.ambiguous = true
		if v.permission == Deny && len(v.carriers) < maxDenied {
			// Whichever is the visitor's own, both are to be forgotten.
			v.carriers = append(v.carriers, carrier{id: id, token: token, rank: int8(rank), ambiguous: true})
		}
		return true
	}
	c.id, c.token, c.old = id, token, old
	return true
}

// maxDenied is how many carriers a request under Deny is asked for at most.
const maxDenied = 8

// Carried reports whether anything was presented for the purpose, valid or not.
func (v *Visit) Carried(purpose string) bool { return v.carrier(purpose) != nil }

// isAmbiguous reports whether two different valid tokens came for the purpose.
func (v *Visit) isAmbiguous(purpose string) bool {
	c := v.carrier(purpose)
	return c != nil && c.ambiguous
}

// Offer says that the strategy could carry a new token for the purpose on the
// response to this request. Without an offer (or a Match) no session is started, since
// nobody would know it again. The purpose is the strategy's Via; another one panics.
func (v *Visit) Offer(purpose string) { v.offers |= 1 << v.tracker.mustRank(purpose) }

// Due reports whether the client is to be given a carrier: it has none for this
// purpose, or one with another session or an old key. Under Recognise a carrier
// that is missing is not due, because it may have been cleared on purpose; it
// is for a new session, which has none yet.
func (v *Visit) Due(purpose string) bool {
	if v.session.tracker == nil || v.session.Unverified || v.unresolved || v.clearing.Load() {
		return false
	}
	c := v.carrier(purpose)
	switch {
	case v.New(), v.session.Via == viaAdopted && (c == nil || c.id.IsZero()):
		return true
	case c == nil || c.id.IsZero():
		return v.permission == Restore
	}
	return c.id != v.session.ID || c.old
}

// ours reports whether a token, presented or not, is one of ours.
func (v *Visit) ours(purpose, token string) bool {
	if c := v.carrier(purpose); c != nil && c.token == token {
		return true
	}
	_, _, ok := v.tracker.keys.Open(&v.scratch, purpose, token)
	return ok
}

// carrier returns what was presented for the purpose, nil for nothing.
func (v *Visit) carrier(purpose string) *carrier {
	for i := range v.carriers {
		if c := &v.carriers[i]; v.tracker.names[c.rank] == purpose {
			return c
		}
	}
	return nil
}

// ranked is carrier for who knows the place of the strategy.
func (v *Visit) ranked(rank int) *carrier {
	for i := range v.carriers {
		if c := &v.carriers[i]; int(c.rank) == rank {
			return c
		}
	}
	return nil
}

// claims returns the sessions that the request speaks for, the one of the most
// trusted strategy first.
func (v *Visit) claims(claims []rules.Claim) []rules.Claim {
	if v.permission == Deny {
		for _, c := range v.carriers {
			if c.ambiguous {
				claims = withClaim(claims, rules.Claim{ID: c.id, Via: v.tracker.names[c.rank], Follows: c.rank > 0, Stored: c.stored})
			}
		}
	}
	for i, name := range v.tracker.names {
		c := v.ranked(i)
		if c == nil || c.id.IsZero() || c.ambiguous {
			continue
		}
		claims = withClaim(claims, rules.Claim{ID: c.id, Via: name, Follows: i > 0, Stored: c.stored})
	}
	if v.report != nil {
		for _, t := range v.report.links {
			claims = withClaim(claims, rules.Claim{ID: t.ID, Via: viaLink, Follows: true, Link: true, LinksUsed: int(t.LinksUsed)})
		}
	}
	// A form speaks where nothing else does.
	if len(claims) == 0 || v.kind == kindForget {
		if t, ok := v.formToken(); ok && (t.LinksUsed == 0 || v.permission == Deny) {
			claims = withClaim(claims, rules.Claim{ID: t.ID, Via: viaForm})
		}
	}
	return claims
}

func withClaim(claims []rules.Claim, c rules.Claim) []rules.Claim {
	for _, have := range claims {
		if have.ID == c.ID && have.LinksUsed == c.LinksUsed {
			return claims
		}
	}
	return append(claims, c)
}

// stored takes note that the carrier of a purpose sits in the response that the
// client has stored for this URL, where only a 200 replaces it.
func (v *Visit) stored(purpose string) {
	if c := v.carrier(purpose); c != nil {
		c.stored = true
	}
}
