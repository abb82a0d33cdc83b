package ledger

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/revisit-go/revisit/internal/rules"
	"github.com/revisit-go/revisit/store"
)

// A flushBatch is what one flush does with one session.
type flushBatch struct {
	*batch
	change store.Change // what to save, if the store's record is known
	was    bool         // Confirmed, before
}

// flush saves what is pending, and drops what is not used any more. If the
// store does not answer, the rest waits for the next flush. It reports whether it
// has saved something.
func (w *writeBehind) flush(ctx context.Context) bool {
	all, before := w.collect(), w.batchesSaved.Load()
	slices.SortFunc(all, func(a, b *flushBatch) int { return bytes.Compare(a.id[:], b.id[:]) })
	batcher := w.batcher
	down := false
	parts := slices.Collect(slices.Chunk(all, batchLen))
	// In any order, or those at the end would always be the ones to wait.
	rand.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
	for _, part := range parts {
		begin := time.Now()
		if down = down || ctx.Err() != nil; down {
			for _, b := range part {
				w.release([]*batch{b.batch}, true)
			}
			continue
		}
		if batcher != nil {
			part = w.saveTogether(ctx, batcher, part, begin)
		}
		down = !w.saveEach(ctx, part, begin)
	}
	return w.batchesSaved.Load() > before
}

// collect takes what is to be saved out of the entries. What may have been saved
// before goes by itself.
func (w *writeBehind) collect() (all []*flushBatch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	for id, since := range w.forgotten {
		if now.Sub(since) >= w.every {
			delete(w.forgotten, id)
		}
	}
	for id, e := range w.entries {
		f := &flushBatch{}
		switch {
		case e.flushing:
			continue
		case len(e.uncertain) > 0:
			f.batch = e.uncertain[0]
			e.uncertain = e.uncertain[1:]
		case len(e.pending) > 0:
			f.batch = &batch{in: w, id: id, changes: e.pending}
			e.pending = nil
			if e.stored.Version != 0 {
				r := e.stored
				f.was = r.Confirmed
				for i := range f.changes {
					_, _ = w.rules.Apply(&r, &f.changes[i]) // no value, no error
				}
				r.Version = rules.NewVersion()
				f.change = store.Change{Record: r, Old: e.stored.Version}
			}
		default:
			if len(e.writing) == 0 && e.held == 0 && now.Sub(e.read) >= w.every {
				delete(w.entries, id)
			}
			continue
		}
		e.flushing, e.writing = true, append(e.writing, f.batch)
		all = append(all, f)
	}
	return all
}

// saveTogether saves those in one batch whose record is known, and returns
// the others, and those that were not saved.
func (w *writeBehind) saveTogether(ctx context.Context, batcher store.Batcher, part []*flushBatch, begin time.Time) (left []*flushBatch) {
	var known []*flushBatch
	var changes []store.Change
	for _, f := range part {
		if f.change.Old == 0 {
			left = append(left, f)
			continue
		}
		known, changes = append(known, f), append(changes, f.change)
		f.note(f.change.Record.Version)
	}
	if len(known) == 0 {
		return left
	}
	errs, err := callStore(w, ctx, flushLimit*w.timeout, func(ctx context.Context) ([]error, error) { return batcher.SaveAll(ctx, changes), nil })
	if err == nil && len(errs) != len(changes) {
		err = errors.New("revisit: SaveAll has not answered for each change")
	}
	for i, f := range known {
		one := err
		if one == nil {
			one = errs[i]
		}
		switch {
		case one == nil:
			w.notifier.saved(f.was, &f.change.Record, f.changes)
			w.written(f.batch, f.change.Old, f.change.Record, begin)
			w.release([]*batch{f.batch}, true)
			continue
		case errors.Is(one, errBusy): // nothing was sent
			w.mu.Lock()
			if !f.done {
				w.end(f.batch)
				f.tried, f.done = nil, false
			}
			w.mu.Unlock()
		default:
			// It may have happened, also where the answer is a conflict: of a client that
			// tries again by itself.
			w.counters.storeFailed(one)
		}
		left = append(left, f)
	}
	return left
}

// saveEach saves batches one by one, some at a time, and reports whether the store
// answers.
func (w *writeBehind) saveEach(ctx context.Context, part []*flushBatch, begin time.Time) bool {
	var group sync.WaitGroup
	var failed, saved atomic.Int64
	// One that fails may be the record's own fault.
	down := func() bool { return failed.Load() >= 3 && saved.Load() == 0 }
	places := make(chan struct{}, flushers)
	for _, f := range part {
		places <- struct{}{}
		group.Go(func() {
			defer func() { <-places }()
			if down() {
				w.release([]*batch{f.batch}, true)
				return
			}
			_, err := callStore(w, ctx, mergeLimit*w.timeout, func(ctx context.Context) (struct{}, error) {
				// Also if nobody waits for it any more: until then the batch is being written.
				defer w.release([]*batch{f.batch}, true)
				r, old, err := w.updater.commitBatch(ctx, f.batch, nil)
				switch {
				case err == nil:
					w.written(f.batch, old, r, begin)
				case errors.Is(err, ErrForgotten):
					w.forgetWith(f.id, f.batch)
					err = nil
				}
				return struct{}{}, err
			})
			switch {
			case err == nil:
				saved.Add(1)
			case errors.Is(err, errBusy):
				w.release([]*batch{f.batch}, true)
				failed.Add(1)
			default:
				failed.Add(1)
			}
		})
	}
	group.Wait()
	return !down()
}

// callStore uses the store, and does not wait longer for it than that: a store that
// ignores its context must not end all flushing.
func callStore[T any](w *writeBehind, ctx context.Context, limit time.Duration, f func(context.Context) (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	select {
	case w.busy <- struct{}{}:
	default: // all of them hang
		var zero T
		return zero, errBusy
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	done := make(chan result, 1)
	go func() {
		defer func() { <-w.busy }()
		defer cancel()
		value, err := protect(w.counters, ctx, f)
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
	}
	// It ended in time, or gives up with its context.
	grace := time.NewTimer(w.timeout)
	defer grace.Stop()
	select {
	case r := <-done:
		return r.value, r.err
	case <-grace.C:
		var zero T
		return zero, ctx.Err()
	}
}
