package ledger

import (
	"context"
	"errors"

	"github.com/revisit-go/revisit/internal/rules"
	"github.com/revisit-go/revisit/store"
)

// A renewer ends the tokens of a session, and keeps what is stored.
type renewer struct {
	*records
	merger      *merger
	writeBehind *writeBehind // nil for none
}

// renew has a session's tokens recognise nobody.
func (r *renewer) renew(ctx context.Context, id store.ID) error {
	for {
		err := r.renewOnce(ctx, id)
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// renewOnce returns store.ErrConflict if something else has happened to the session meanwhile.
func (r *renewer) renewOnce(ctx context.Context, id store.ID) error {
	_, root, err := r.merger.trace(ctx, id)
	if err != nil {
		return err
	}
	if w := r.writeBehind; w != nil {
		// What is counted here from now on could not be saved afterwards.
		defer w.hold(root.ID)()
		if err := w.drain(ctx, root.ID); err != nil {
			return err
		}
		if root, err = r.store.Load(ctx, root.ID); err != nil {
			return err
		}
		if root.Forgotten {
			return ErrForgotten
		}
		if !root.MergedInto.IsZero() {
			return store.ErrConflict
		}
	}
	next := root
	next.LinksUsed, next.Version = store.Renewed, rules.NewVersion()
	next.Confirmed, next.Expires = true, r.rules.KeepUntil(root.ID) // longer than its tokens, whatever it was
	if err := r.swap(ctx, next, root.Version); err != nil {
		return err
	}
	if r.writeBehind != nil {
		r.writeBehind.forget(root.ID)
	}
	return nil
}
