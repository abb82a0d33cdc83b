package ledger

import (
	"context"
	"errors"
	"slices"

	"github.com/revisit-go/revisit/internal/rules"
	"github.com/revisit-go/revisit/internal/uuid"
	"github.com/revisit-go/revisit/store"
)

// An eraser replaces sessions by tombstones.
type eraser struct {
	*records
	aliases    *aliasFinder
	tombstones *tombstones
}

// forgetClaim forgets the session of a claim. One without a Via is the application's.
func (e *eraser) forgetClaim(ctx context.Context, c rules.Claim) error {
	if c.Follows {
		// Whoever has been handed a leaked tag has no say over its session.
		if own, err := e.load(ctx, c.ID); err == nil && rules.Leaked(&own) {
			return nil
		}
	}
	if c.Via != "" {
		// Whoever comes after a logout has no say over the session before.
		if r, err := e.root(ctx, c.ID); err == nil && r.LinksUsed == store.Renewed {
			return nil
		}
	}
	fresh, err := e.forget(ctx, c.ID, c.Via != "")
	if fresh {
		e.counters.Forgotten.Add(1)
	}
	return err
}

// forget replaces the session of id and all that were merged into it by tombstones.
// The session itself comes after those, then the aliases between, and the one by
// which it was found last: what fails before can be done again. fresh is false if
// it was forgotten already. Denied says that a request wants it, which anybody can send.
func (e *eraser) forget(ctx context.Context, id store.ID, denied bool) (fresh bool, err error) {
	var path []store.Record // of aliases, from id to the root
	bury := func(of *store.Record) error {
		aliases, err := e.aliases.of(ctx, of)
		if err != nil {
			return err
		}
		for _, a := range aliases {
			if slices.ContainsFunc(path, func(r store.Record) bool { return r.ID == a.ID }) {
				continue // its turn comes
			}
			if err := e.tombstones.bury(ctx, a.ID, denied); err != nil {
				return err
			}
		}
		return nil
	}
	for at := id; ; {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		r, err := e.load(ctx, at)
		if errors.Is(err, ErrForgotten) {
			break
		}
		if err != nil {
			return false, err
		}
		if !r.MergedInto.IsZero() {
			if !uuid.Older(r.MergedInto, at) {
				return false, errCorrupt
			}
			path = append(path, r)
			at = r.MergedInto
			continue
		}
		if err := bury(&r); err != nil {
			return false, err
		}
		err = e.tombstones.put(ctx, &r, denied)
		if errors.Is(err, store.ErrConflict) {
			continue // it may have absorbed another one
		}
		if err != nil {
			return false, err
		}
		fresh = true
		break
	}
	for _, r := range slices.Backward(path) {
		if err := bury(&r); err != nil {
			return fresh, err
		}
		if err := e.tombstones.bury(ctx, r.ID, denied); err != nil {
			return fresh, err
		}
	}
	return fresh, nil
}
