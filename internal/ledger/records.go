package ledger

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/revisit-go/revisit/internal/memstore"
	"github.com/revisit-go/revisit/internal/rules"
	"github.com/revisit-go/revisit/store"
)

// maxFailures is how many errors other than conflicts one operation survives.
const maxFailures = 3

// records loads records, and saves new versions of them.
//
// Every change is: load, change, save with a new random Version. After a
// conflict or any other error, load again: a record with that very Version
// says that the write has happened, whatever the answer was (an answer may be
// lost, and clients of databases retry by themselves).
type records struct {
	store    store.Store
	memory   *memstore.Store // the store, if it is one that never blocks
	rules    rules.Rules
	counters *Counters
}

// swap saves r over the version old. It recognises its own write, so nil
// means that r was saved and ErrConflict that it was not.
func (s *records) swap(ctx context.Context, r store.Record, old int64) error {
	for failures := 0; ; failures++ {
		err := s.store.Save(ctx, r, old)
		if err == nil {
			return nil
		}
		s.counters.storeFailed(err)
		have, lerr := s.store.Load(ctx, r.ID)
		switch {
		case lerr == nil && have.Version == r.Version:
			return nil
		case lerr == nil && have.Version != old, errors.Is(lerr, store.ErrNotFound) && old != 0:
			return store.ErrConflict
		case lerr != nil && !errors.Is(lerr, store.ErrNotFound):
			s.counters.storeFailed(lerr)
			err = lerr
		}
		// It did not happen, and could now.
		if failures == maxFailures || ctx.Err() != nil {
			return err
		}
	}
}

// load returns the record of id; a new one if it is missing.
func (s *records) load(ctx context.Context, id store.ID) (store.Record, error) {
	for failures := 1; ; failures++ {
		r, err := s.store.Load(ctx, id)
		switch {
		case err == nil && r.Forgotten:
			return r, ErrForgotten
		case err == nil:
			return r, nil
		case errors.Is(err, store.ErrNotFound):
			return s.reborn(id)
		}
		s.counters.storeFailed(err)
		if failures > maxFailures || ctx.Err() != nil {
			return store.Record{}, err
		}
	}
}

// reborn returns a record for a token whose record is missing.
func (s *records) reborn(id store.ID) (store.Record, error) {
	r, ok := s.rules.Reborn(id)
	if !ok {
		return r, errEnded
	}
	return r, nil
}

// root returns the record that the alias of id leads to, as it stands in the store.
func (s *records) root(ctx context.Context, id store.ID) (r store.Record, err error) {
	for {
		if r, err = s.store.Load(ctx, id); err != nil || r.MergedInto.IsZero() {
			return r, err
		}
		id = r.MergedInto
	}
}

// read and write are Load and Save at a time that is known.
func (s *records) read(ctx context.Context, id store.ID, now time.Time) (store.Record, error) {
	if s.memory != nil {
		return s.memory.LoadAt(id, now)
	}
	return s.store.Load(ctx, id)
}

func (s *records) write(ctx context.Context, r *store.Record, old int64, now time.Time) error {
	if s.memory != nil {
		return s.memory.SaveAt(r, old, now)
	}
	return s.store.Save(ctx, *r, old)
}

// pause lets others pass, if conflicts go on and on.
func (s *records) pause(ctx context.Context, conflicts int) {
	if conflicts < 8 || s.memory != nil {
		return
	}
	sleep(ctx, rand.N(time.Duration(min(conflicts, 100))*100*time.Microsecond))
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
