package revisit

import (
	"context"
	"iter"
	"time"

	"github.com/revisit-go/revisit/internal/memstore"
)

// MemoryOptions are the options of a memory store. The zero value is a good
// default.
type MemoryOptions struct {
	// MaxSessions bounds the store: how many sessions it keeps, aliases included.
	// Default 100,000, for 0 or less. A plain session, with one touch, takes about 200
	// bytes; one with all its touches and values up to 71 KiB, 37 of which a client can
	// fill by the links that it opens.
	//
	// When it is full, a new session takes the place of another one. New sessions are
	// on probation, in the order of their birth, so a flood of clients that never
	// return evicts itself. A session that is seen a minute after its birth or later is kept,
	// and leaves when all others that are kept have been seen since.
	//
	// Tombstones and renewed sessions have as many places of their own, and no session evicts
	// them. When these are full, a new one takes the place of a tombstone that a request
	// has made (under Deny, or by the beacon's form). If there is none, Forget and Renew fail.
	MaxSessions int

	// SweepEvery is how often expired records are removed. Default a minute, for
	// 0 or less.
	SweepEvery time.Duration
}

// ErrFull is returned by a MemoryStore's Save when it has no room for another tombstone or
// renewed session: no session pushes those out.
var ErrFull = memstore.ErrFull

// A MemoryStore keeps records in this process, and loses them with it: the
// sessions, and the tombstones of forgotten sessions too. Use it for
// one process whose visitors may be forgotten at a restart.
type MemoryStore struct{ store *memstore.Store }

var (
	_ Lister  = (*MemoryStore)(nil)
	_ Indexer = (*MemoryStore)(nil)
)

// NewMemoryStore returns an empty store. Its Close ends the goroutine that
// removes expired records.
func NewMemoryStore(options MemoryOptions) *MemoryStore {
	return &MemoryStore{memstore.New(memstore.Options(options))}
}

// Load implements [Store].
func (m *MemoryStore) Load(ctx context.Context, id ID) (Record, error) { return m.store.Load(ctx, id) }

// Save implements [Store].
func (m *MemoryStore) Save(ctx context.Context, r Record, old int64) error {
	return m.store.Save(ctx, r, old)
}

// Sessions implements [Lister].
func (m *MemoryStore) Sessions(ctx context.Context) iter.Seq2[Record, error] {
	return m.store.Sessions(ctx)
}

// Aliases implements [Indexer].
func (m *MemoryStore) Aliases(ctx context.Context, root ID) ([]ID, error) {
	return m.store.Aliases(ctx, root)
}

// Len returns how many records are there, expired ones that have not been
// swept yet included.
func (m *MemoryStore) Len() int { return m.store.Len() }

// Close ends the goroutine that removes expired records. The records stay readable.
func (m *MemoryStore) Close() error { return m.store.Close() }
