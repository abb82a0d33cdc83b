package ledger

import (
	"context"
	"errors"
	"slices"

	"github.com/revisit-go/revisit/internal/rules"
	"github.com/revisit-go/revisit/store"
)

// An updater applies changes to sessions.
type updater struct {
	*records
	merger   *merger
	notifier *notifier
}

// create saves a new session. It returns ErrForgotten if a tombstone is there.
func (u *updater) create(ctx context.Context, r store.Record) (store.Record, error) {
	r.Version = rules.NewVersion()
	err := u.swap(ctx, r, 0)
	if errors.Is(err, store.ErrConflict) {
		err = ErrForgotten // nobody else could have known the ID
	}
	if err != nil {
		return store.Record{}, err
	}
	u.counters.Created.Add(1)
	if r.Hits > 0 && u.notifier.hits != nil {
		views := pageViews{count: r.Hits, last: rules.Change{At: r.LastHit}}
		if n := len(r.Touches); n > 0 {
			views.last.Touch = r.Touches[n-1]
		}
		u.notifier.notifyHits(&r, views)
	}
	return r, nil
}

// commit applies changes to the session of id, or of the session that it was
// merged into, and returns the record as it stands then.
func (u *updater) commit(ctx context.Context, id store.ID, changes []rules.Change) (store.Record, error) {
	r, _, err := u.commitFrom(ctx, id, changes, nil, nil)
	return r, err
}

// commitBatch is commit for a batch of the write-behind, which keeps the versions that
// were tried. The record that it changes may be known. It also returns the version that
// was replaced, 0 if that is not known.
func (u *updater) commitBatch(ctx context.Context, b *batch, have *store.Record) (r store.Record, old int64, err error) {
	return u.commitFrom(ctx, b.id, slices.Clone(b.changes), have, b)
}

// commitFrom is commit for a record that may be known, and for a batch that may have one.
func (u *updater) commitFrom(ctx context.Context, id store.ID, changes []rules.Change, have *store.Record, b *batch) (_ store.Record, old int64, _ error) {
	// Each try has a version of its own. With one for all, a record could have it
	// twice, with another node's write between: whoever has read the first would
	// replace the second, and that write would be lost.
	var tried []int64
	isOurs := func(r *store.Record) bool {
		if b == nil {
			return slices.Contains(tried, r.Version)
		}
		return b.isSaved()
	}
	wasConfirmed := b != nil && len(b.tried) > 0 // an earlier try has counted it, if it was not
	for failures, conflicts := 0, 0; ; {
		var r store.Record
		var err error
		if have != nil {
			r, have = *have, nil
		} else {
			r, err = u.read(ctx, id, changes[0].At)
		}
		switch {
		case err == nil && isOurs(&r):
			// A Save whose answer was lost.
			u.notifier.saved(wasConfirmed, &r, changes)
			return r, 0, nil
		case err == nil && u.rules.IsOver(&r, changes[0].At):
			return store.Record{}, 0, ErrForgotten
		case err == nil && !r.MergedInto.IsZero():
			root, err := u.merger.absorb(ctx, r)
			if err != nil && !errors.Is(err, ErrApart) && !errors.Is(err, store.ErrConflict) {
				return store.Record{}, 0, err
			}
			if err := ctx.Err(); err != nil {
				return store.Record{}, 0, err
			}
			if err != nil {
				continue
			}
			if id, r = root.ID, root; isOurs(&r) {
				u.notifier.saved(wasConfirmed, &r, changes)
				return r, 0, nil
			}
			if u.rules.IsOver(&r, changes[0].At) {
				return store.Record{}, 0, ErrForgotten
			}
		case errors.Is(err, store.ErrNotFound):
			if r, err = u.reborn(id); err != nil {
				return store.Record{}, 0, err
			}
		case err != nil:
			u.counters.storeFailed(err)
			if failures++; failures > maxFailures || ctx.Err() != nil {
				return store.Record{}, 0, err
			}
			continue
		}

		old, dirty := r.Version, false
		wasConfirmed = r.Confirmed
		for i := range changes {
			d, err := u.rules.Apply(&r, &changes[i])
			if err != nil {
				return store.Record{}, 0, err
			}
			dirty = dirty || d
		}
		if !dirty {
			return r, old, nil
		}
		r.Version = rules.NewVersion()
		if b != nil {
			b.note(r.Version)
		}
		if err = u.write(ctx, &r, old, changes[0].At); err == nil {
			u.notifier.saved(wasConfirmed, &r, changes)
			return r, old, nil
		}
		if b == nil {
			tried = append(tried, r.Version)
		}
		if errors.Is(err, store.ErrConflict) {
			u.pause(ctx, conflicts)
			conflicts++
		} else {
			u.counters.storeFailed(err)
			failures++
		}
		if failures > maxFailures || ctx.Err() != nil {
			return store.Record{}, 0, err
		}
	}
}
