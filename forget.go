package revisit

import (
	"context"
	"fmt"
	"time"

	"github.com/revisit-go/revisit/internal/ledger"
	"github.com/revisit-go/revisit/internal/rules"
	"github.com/revisit-go/revisit/internal/uuid"
)

// ErrForgotten is returned for a session that the visitor has had forgotten.
var ErrForgotten = ledger.ErrForgotten

// deny forgets the sessions of the valid tokens, and reports whether it could.
func (t *Tracker) deny(v *Visit) bool {
	done := true
	var room [2]rules.Claim
	begin := time.Now()
	for _, c := range v.claims(room[:0]) {
		v.spoke = true
		id := c.ID
		if err := t.ledger.ForgetClaim(v.context.Context, c, t.ledger.Left(begin)); err != nil {
			done = false
			t.stats.Drop(err)
			if times, ok := t.stats.denials.Now(); ok {
				t.logger.Error("revisit: a session whose visitor said no could not be forgotten yet", "session", id, "error", err, "times", times)
			}
		}
	}
	if err := t.denyAdopted(v); err != nil {
		done = false
		t.stats.Drop(err)
	}
	return done
}

// Forget removes all that is stored about the session of id and about those
// that were merged into it. A tombstone stays in its place for 400 days, longer
// than any token lasts, so that no token brings the session back. Each ID is
// logged, so that the log can be replayed over a restored backup.
//
// If a handler calls it for its own session, the client's carriers are
// cleared, too: the cookie with this response, if its header is of interest (always under ETag,
// for a form that is sent, and where a carrier was about to be written), otherwise with the
// next one; a tag with the next page of its URL. The consent that [OptIn] has found ends with
// the same response, unless a shared cache may keep it, so call Forget in the handler of a
// POST. If consent stays, the next page starts a new session. The handler's Session keeps
// showing what was; its Set returns ErrForgotten.
//
// A session that is not there gets a tombstone, too: its token may be around. Forget returns
// ErrNotFound for an ID that no session can have, such as the zero one, and ErrGuess for a
// session that the request only matches by its fingerprint.
//
// After any other error the session may still be there: try again. Forget gives up after
// twenty times Config.StoreTimeout (and ten seconds, with Config.OnForget), and returns
// when ctx ends; what it has begun continues.
func (t *Tracker) Forget(ctx context.Context, id ID) error {
	v := t.visit(ctx)
	if v != nil {
		v.resolveForm(true)
	}
	if v == nil || v.session.tracker == nil || v.session.ID != id {
		v = nil
	}
	if v != nil && v.session.guess {
		return fmt.Errorf("revisit: forget %v: %w", id, ErrGuess)
	}
	if uuid.IsDerived(id) || id.IsZero() { // no session, and what is kept there is not to go
		return fmt.Errorf("revisit: forget %v: %w", id, ErrNotFound)
	}
	if err := t.ledger.Forget(ctx, id); err != nil {
		return fmt.Errorf("revisit: forget %v: %w", id, err)
	}
	if v != nil {
		v.disclaims.Store(true)
		v.clearing.Store(true)
	}
	return nil
}
