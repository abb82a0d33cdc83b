package ledger

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/revisit-go/revisit/internal/millis"
	"github.com/revisit-go/revisit/internal/rules"
	"github.com/revisit-go/revisit/internal/uuid"
	"github.com/revisit-go/revisit/store"
)

// mergedPageLen is how many sessions one page of aliases lists.
const mergedPageLen = 64

// mergedPageID is where a page of the aliases of a session is kept: a record under a
// derived ID, whose MergedSessions lists them, without counts. Record.MergedSessions of the session
// itself has the latest ones, with what each has brought; one that is taken off that list
// is put into a page before. So whoever forgets or exports a session finds all of them, at
// any number and in any Store. (One of a merge that was broken off is on neither list: see
// Indexer.)
func mergedPageID(root store.ID, page int) store.ID {
	sum := sha256.Sum256([]byte("revisit v1 merged " + root.String() + " " + strconv.Itoa(page)))
	return store.ID(uuid.Derive(sum[:]))
}

// An aliasFinder finds the sessions that were merged into one.
type aliasFinder struct {
	*records
	indexer store.Indexer // the store, if it is one
}

// add puts an alias of root into a page, until expires at least.
func (f *aliasFinder) add(ctx context.Context, root, alias store.ID, expires time.Time) error {
	for page := 0; ; {
		id := mergedPageID(root, page)
		r, err := f.store.Load(ctx, id)
		now := millis.Truncate(time.Now())
		switch {
		case errors.Is(err, store.ErrNotFound):
			r = store.Record{ID: id, Created: now, Via: store.ViaMerged}
		case err != nil:
			f.counters.storeFailed(err)
			return err
		case slices.ContainsFunc(r.MergedSessions, func(a store.MergedSession) bool { return a.ID == alias }):
			return nil
		case len(r.MergedSessions) >= mergedPageLen:
			page++
			continue
		}
		next := r
		next.MergedSessions = append(slices.Clone(r.MergedSessions), store.MergedSession{ID: alias})
		next.Version, next.LastSeen, next.Expires = rules.NewVersion(), now, rules.Later(r.Expires, expires)
		if err := f.swap(ctx, next, r.Version); !errors.Is(err, store.ErrConflict) {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// of returns the records of all aliases of a session, directly and by others, the
// latest first as far as that is known. One whose record the store has lost is there with
// its ID alone: its token may be around.
func (f *aliasFinder) of(ctx context.Context, root *store.Record) (all []store.Record, err error) {
	seen := map[store.ID]bool{root.ID: true} // all of which lead to root
	queue := []store.ID{root.ID}
	visit := func(id store.ID) error {
		if seen[id] {
			return nil
		}
		r, err := f.store.Load(ctx, id)
		switch {
		case errors.Is(err, store.ErrNotFound):
			r = store.Record{ID: id, MergedInto: root.ID}
		case err != nil:
			f.counters.storeFailed(err)
			return err
		case r.Forgotten:
		case !seen[r.MergedInto]:
			return nil // it has not become one, or another one's
		}
		seen[id] = true
		queue = append(queue, id)
		if !r.Forgotten {
			all = append(all, r)
		}
		return nil
	}
	for _, a := range root.MergedSessions {
		if err := visit(a.ID); err != nil {
			return nil, err
		}
	}
	for len(queue) > 0 {
		id := queue[0]
		queue = queue[1:]
		if f.indexer != nil {
			ids, err := f.indexer.Aliases(ctx, id)
			if err != nil {
				f.counters.storeFailed(err)
				return nil, err
			}
			for _, id := range ids {
				if err := visit(id); err != nil {
					return nil, err
				}
			}
		}
		for page := 0; ; page++ {
			r, err := f.store.Load(ctx, mergedPageID(id, page))
			if errors.Is(err, store.ErrNotFound) {
				break
			}
			if err != nil {
				f.counters.storeFailed(err)
				return nil, err
			}
			for _, a := range r.MergedSessions {
				if err := visit(a.ID); err != nil {
					return nil, err
				}
			}
		}
	}
	return all, nil
}

// drop ends the pages of a session that was forgotten, the last one first: what fails
// leaves those before it to be found.
func (f *aliasFinder) drop(ctx context.Context, root store.ID) error {
	var pages []store.Record
	for {
		r, err := f.store.Load(ctx, mergedPageID(root, len(pages)))
		if errors.Is(err, store.ErrNotFound) {
			break
		}
		if err != nil {
			return err
		}
		pages = append(pages, r)
	}
	for _, r := range slices.Backward(pages) {
		next := store.Record{ID: r.ID, Version: rules.NewVersion(), Created: r.Created, Via: store.ViaMerged, Expires: millis.Truncate(time.Now())}
		if err := f.swap(ctx, next, r.Version); err != nil && !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	return nil
}

// all returns the record of a session, or of the one that it was merged into, and all that
// were merged into it.
func (f *aliasFinder) all(ctx context.Context, id store.ID) (session store.Record, merged []store.Record, err error) {
	for {
		r, err := f.store.Load(ctx, id)
		switch {
		case err != nil:
			return session, nil, err
		case r.Forgotten:
			return session, nil, ErrForgotten
		case uuid.IsDerived(id):
			return session, nil, store.ErrNotFound
		}
		if session = r; r.MergedInto.IsZero() {
			break
		}
		// Its data may still be its own, if the merge was interrupted.
		merged = append(merged, r)
		id = r.MergedInto
	}
	aliases, err := f.of(ctx, &session)
	if err != nil {
		return session, nil, err
	}
	for _, r := range aliases {
		if r.Version != 0 && !slices.ContainsFunc(merged, func(m store.Record) bool { return m.ID == r.ID }) {
			merged = append(merged, r)
		}
	}
	return session, merged, nil
}
