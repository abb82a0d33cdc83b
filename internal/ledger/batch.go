package ledger

import (
	"context"

	"github.com/revisit-go/revisit/internal/rules"
	"github.com/revisit-go/revisit/store"
)

// A batch is page views of one session on their way to the store.
type batch struct {
	in      *writeBehind
	id      store.ID
	changes []rules.Change
	tried   []int64 // versions of writes that may have happened
	saved   bool    // one of them did: somebody has read it
	done    bool    // nothing is left to be done with it
}

// viewsOf returns by how many page views the store is wrong without the changes.
func viewsOf(changes []rules.Change) int64 {
	var n int64
	for _, c := range changes {
		if c.Hit {
			n += max(1, c.Count)
		}
		n -= c.Retracted
	}
	return max(n, -n)
}

// note registers a version that a batch is about to try.
func (b *batch) note(version int64) {
	w := b.in
	w.mu.Lock()
	defer w.mu.Unlock()
	if !b.done {
		b.tried = append(b.tried, version)
		w.tried[version] = b
	}
}

// observe is called with each version that this process reads from the store.
func (w *writeBehind) observe(version int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if b := w.tried[version]; b != nil {
		b.saved = true
	}
}

// isSaved reports whether somebody has seen what a batch has written.
func (b *batch) isSaved() bool {
	w := b.in
	w.mu.Lock()
	defer w.mu.Unlock()
	return b.saved
}

// end is called for a batch with which nothing is left to be done.
func (w *writeBehind) end(b *batch) {
	b.done = true
	for _, version := range b.tried {
		delete(w.tried, version)
	}
}

// observedStore is the store with a write-behind, which observes each version that is read.
type observedStore struct {
	store.Store
	observe func(version int64)
}

func (s observedStore) Load(ctx context.Context, id store.ID) (store.Record, error) {
	r, err := s.Store.Load(ctx, id)
	if err == nil {
		s.observe(r.Version)
	}
	return r, err
}
