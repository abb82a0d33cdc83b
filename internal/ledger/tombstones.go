package ledger

import (
	"context"
	"errors"
	"log/slog"

	"github.com/revisit-go/revisit/internal/uuid"
	"github.com/revisit-go/revisit/store"
)

// tombstones puts tombstones in place of records. Forgetting does, and a merge whose other
// session was forgotten meanwhile.
type tombstones struct {
	*records
	aliases  *aliasFinder
	notifier *notifier
	cache    cache
	logger   *slog.Logger
}

// bury puts a tombstone in place of whatever is there.
func (t *tombstones) bury(ctx context.Context, id store.ID, denied bool) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		r, err := t.load(ctx, id)
		if errors.Is(err, ErrForgotten) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := t.put(ctx, &r, denied); !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}

// put puts a tombstone in place of a record, whose aliases have theirs. It returns
// store.ErrConflict if the record has changed.
func (t *tombstones) put(ctx context.Context, r *store.Record, denied bool) error {
	if err := t.notifier.forgetting(ctx, r.ID); err != nil {
		return err
	}
	if err := t.aliases.drop(ctx, r.ID); err != nil {
		return err
	}
	next := t.rules.Tombstone(r, denied)
	if err := t.swap(ctx, next, r.Version); err != nil {
		return err
	}
	t.cache.forget(r.ID)
	// A line for each tombstone: a backup from before a merge has the merged sessions apart,
	// and all of them are to be forgotten again. A session that ends by itself within a day
	// is in no backup for long, and anybody can have it forgotten.
	if !uuid.IsDerived(r.ID) && !next.Expires.Equal(r.Expires) {
		t.logger.Info("revisit: forgotten", "session", r.ID)
	}
	return nil
}
