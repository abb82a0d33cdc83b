package revisit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// What an application does that knows more than a browser says: who a customer is,
// that somebody has left, that somebody asks what is known of him.

// ErrApart is returned by Tracker.Merge for sessions that cannot be one: their values
// differ under one key, or one of them has taken in as many others as a session can.
var ErrApart = errors.New("revisit: these sessions are not merged")

// Merge makes two sessions one, because the application knows that both are the same
// customer's: he has logged in on two devices, say. The younger one becomes an alias
// of the older one, as when one browser turns out to have two: counts, touches and
// values are put together, tokens of both lead to the older one, whose ID is
// returned. Config.OnMerge is called.
//
// It cannot be undone, and each of the browsers sees from then on what belongs to the
// other. Do it for who has proved who he is, not for who says so; and mind that a
// merge of what a person does on several devices is beyond what a banner usually asks
// for.
//
// It returns ErrNotFound if one of them is not there, ErrForgotten if it was
// forgotten or renewed or its lifetime is over, and ErrApart. A session that the request
// of ctx has begun is saved by it. If ctx ends, its error is returned, and the merge goes
// on.
func (t *Tracker) Merge(ctx context.Context, a, b ID) (ID, error) {
	v := t.visit(ctx)
	if v != nil {
		v.settleForm(true)
	}
	if v != nil && v.New() && (v.session.ID == a || v.session.ID == b) {
		if err := v.session.create(ctx); err != nil {
			return ID{}, fmt.Errorf("revisit: merge %v and %v: %w", a, b, err)
		}
	}
	root, err := patiently(t.ledger, ctx, func(ctx context.Context) (Record, error) {
		for _, id := range [...]ID{a, b} {
			switch r, err := t.ledger.store.Load(ctx, id); {
			case err != nil:
				return Record{}, err
			case r.Forgotten:
				return Record{}, ErrForgotten
			case id.derived():
				return Record{}, ErrNotFound
			}
		}
		return t.ledger.merge(ctx, a, a, claim{id: b, known: true}, Restore)
	})
	if err == nil && t.ledger.isOver(&root, time.Now()) {
		err = ErrForgotten // meanwhile
	}
	if err != nil {
		return ID{}, fmt.Errorf("revisit: merge %v and %v: %w", a, b, err)
	}
	return root.ID, nil
}

// Renew ends the session of the request: one person leaves a device that others use,
// as on logout. Its tokens, and those of sessions that were merged into it, are worth
// nothing from now on, wherever they are kept; what is stored stays until it expires,
// for the orders that refer to it. The client's carriers are cleared as by Forget, and
// the next page begins a new session. With Config.FlushEvery another process may
// recognise it for as long as that.
//
// It returns ErrUnverified if the store did not answer, ErrGuess for a session that the
// request only looks like, and ErrNotFound where the request has no session.
func (t *Tracker) Renew(ctx context.Context) error {
	v := t.visit(ctx)
	if v != nil {
		v.settleForm(true)
	}
	switch {
	case v == nil || v.session.tracker == nil:
		return fmt.Errorf("revisit: renew: %w", ErrNotFound)
	case v.session.Unverified:
		return ErrUnverified
	case v.session.guess:
		return ErrGuess
	}
	if !v.session.isSaved() {
		v.clearing.Store(true) // nobody has a token of it, and nobody gets one
		return nil
	}
	id := v.session.ID
	_, err := patiently(t.ledger, ctx, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, t.ledger.retire(ctx, id)
	})
	if err != nil && !errors.Is(err, ErrForgotten) {
		return fmt.Errorf("revisit: renew %v: %w", id, err)
	}
	v.clearing.Store(true)
	return nil
}

// renewed is Record.Joins of a session whose tokens are worth nothing any more.
const renewed = -1

// retire has a session's tokens recognise nobody.
func (l *ledger) retire(ctx context.Context, id ID) error {
	for {
		err := l.retireOnce(ctx, id)
		if !errors.Is(err, ErrConflict) {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// retireOnce returns ErrConflict if something else has happened to the session meanwhile.
func (l *ledger) retireOnce(ctx context.Context, id ID) error {
	_, root, err := l.trace(ctx, id)
	if err != nil {
		return err
	}
	if w := l.writeBehind; w != nil {
		// What is counted here from now on could not be saved afterwards.
		defer w.hold(root.ID)()
		if err := w.drain(ctx, root.ID); err != nil {
			return err
		}
		if root, err = l.store.Load(ctx, root.ID); err != nil {
			return err
		}
		if root.Forgotten {
			return ErrForgotten
		}
		if !root.MergedInto.IsZero() {
			return ErrConflict
		}
	}
	next := root
	next.Joins, next.Version = renewed, newVersion()
	next.Confirmed, next.Expires = true, l.keep(root.ID) // longer than its tokens, whatever it was
	if err := l.swap(ctx, next, root.Version); err != nil {
		return err
	}
	if l.writeBehind != nil {
		l.writeBehind.forget(root.ID)
	}
	return nil
}

// Export returns all that is stored about a session, as JSON for a person who asks:
//
//	{"Session": {…}, "Merged": [{…}, …]}
//
// Session is the Record of the session, or of the one that it was merged into; Merged
// has what is left of those that were. Page views of the last Config.FlushEvery may be
// missing. What the application has stored under the ID is the application's to add.
// To erase it, call Forget.
//
// It returns ErrNotFound if nothing is there, and ErrForgotten.
func (t *Tracker) Export(ctx context.Context, id ID) ([]byte, error) {
	all, err := patiently(t.ledger, ctx, func(ctx context.Context) (all struct {
		Session Record
		Merged  []Record `json:",omitempty"`
	}, err error) {
		for {
			r, err := t.ledger.store.Load(ctx, id)
			switch {
			case err != nil:
				return all, err
			case r.Forgotten:
				return all, ErrForgotten
			case id.derived():
				return all, ErrNotFound
			}
			if all.Session = r; r.MergedInto.IsZero() {
				break
			}
			// Its data may still be its own, if the merge was broken off.
			all.Merged = append(all.Merged, r)
			id = r.MergedInto
		}
		aliases, err := t.ledger.aliases(ctx, &all.Session)
		if err != nil {
			return all, err
		}
		for _, r := range aliases {
			if r.Version != 0 && !slices.ContainsFunc(all.Merged, func(m Record) bool { return m.ID == r.ID }) {
				all.Merged = append(all.Merged, r)
			}
		}
		return all, nil
	})
	if err != nil {
		return nil, fmt.Errorf("revisit: export %v: %w", id, err)
	}
	return json.MarshalIndent(all, "", "\t")
}
