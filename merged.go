package revisit

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"strconv"
	"time"
)

// viaDenied is Record.Via of a tombstone that a request has made.
const viaDenied = "denied"

// viaMerged is Record.Via of an alias whose data its root has.
const viaMerged = "merged"

// mergedPageLen is how many sessions one page of aliases lists.
const mergedPageLen = 64

// mergedPageID is where a page of the aliases of a session is kept: a record under a
// derived ID, whose Absorbed lists them, without counts. Record.Absorbed of the session
// itself has the latest ones, with what each has brought; one that is taken off that list
// is put into a page before. So whoever forgets or exports a session finds all of them, at
// any number and in any Store. (One of a merge that was broken off is on neither list: see
// Indexer.)
func mergedPageID(root ID, page int) ID {
	sum := sha256.Sum256([]byte("revisit v1 merged " + root.String() + " " + strconv.Itoa(page)))
	return derivedID(sum[:])
}

// listMerged puts an alias of root into a page, until expires at least.
func (l *ledger) listMerged(ctx context.Context, root, alias ID, expires time.Time) error {
	for page := 0; ; {
		id := mergedPageID(root, page)
		r, err := l.store.Load(ctx, id)
		now := milli(time.Now())
		switch {
		case errors.Is(err, ErrNotFound):
			r = Record{ID: id, Created: now, Via: viaMerged}
		case err != nil:
			l.count(err)
			return err
		case slices.ContainsFunc(r.Absorbed, func(a Absorbed) bool { return a.ID == alias }):
			return nil
		case len(r.Absorbed) >= mergedPageLen:
			page++
			continue
		}
		next := r
		next.Absorbed = append(slices.Clone(r.Absorbed), Absorbed{ID: alias})
		next.Version, next.LastSeen, next.Expires = newVersion(), now, later(r.Expires, expires)
		if err := l.swap(ctx, next, r.Version); !errors.Is(err, ErrConflict) {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// aliases returns the records of all aliases of a session, directly and by others, the
// latest first as far as that is known. One whose record the store has lost is there with
// its ID alone: its token may be around.
func (l *ledger) aliases(ctx context.Context, root *Record) (all []Record, err error) {
	seen := map[ID]bool{root.ID: true} // all of which lead to root
	queue := []ID{root.ID}
	look := func(id ID) error {
		if seen[id] {
			return nil
		}
		r, err := l.store.Load(ctx, id)
		switch {
		case errors.Is(err, ErrNotFound):
			r = Record{ID: id, MergedInto: root.ID}
		case err != nil:
			l.count(err)
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
	for _, a := range root.Absorbed {
		if err := look(a.ID); err != nil {
			return nil, err
		}
	}
	for len(queue) > 0 {
		id := queue[0]
		queue = queue[1:]
		if index, ok := l.backing.(Indexer); ok {
			ids, err := index.Aliases(ctx, id)
			if err != nil {
				l.count(err)
				return nil, err
			}
			for _, id := range ids {
				if err := look(id); err != nil {
					return nil, err
				}
			}
		}
		for page := 0; ; page++ {
			r, err := l.store.Load(ctx, mergedPageID(id, page))
			if errors.Is(err, ErrNotFound) {
				break
			}
			if err != nil {
				l.count(err)
				return nil, err
			}
			for _, a := range r.Absorbed {
				if err := look(a.ID); err != nil {
					return nil, err
				}
			}
		}
	}
	return all, nil
}

// dropPages ends the pages of a session that was forgotten, the last one first: what fails
// leaves those before it to be found.
func (l *ledger) dropPages(ctx context.Context, root ID) error {
	var pages []Record
	for {
		r, err := l.store.Load(ctx, mergedPageID(root, len(pages)))
		if errors.Is(err, ErrNotFound) {
			break
		}
		if err != nil {
			return err
		}
		pages = append(pages, r)
	}
	for _, r := range slices.Backward(pages) {
		next := Record{ID: r.ID, Version: newVersion(), Created: r.Created, Via: viaMerged, Expires: milli(time.Now())}
		if err := l.swap(ctx, next, r.Version); err != nil && !errors.Is(err, ErrConflict) && !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	return nil
}
