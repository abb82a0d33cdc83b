package revisit

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"time"
)

// MemoryOptions are the options of a memory store. The zero value is a good
// default.
type MemoryOptions struct {
	// MaxSessions bounds the store: how many sessions it keeps, aliases
	// included. When it is full, a new session takes the place of the
	// oldest one that is unconfirmed; if all are confirmed, of one that was not
	// seen for long. Default 100,000, for 0 or less; a plain session takes about
	// 700 bytes, one with all its touches and values up to 90 KiB.
	//
	// Tombstones, which are never evicted, have as many places of their own:
	// when these are full, Forget fails.
	MaxSessions int

	// SweepEvery is how often expired records are removed. Default a minute, for
	// 0 or less.
	SweepEvery time.Duration
}

// ErrFull is what a memory store returns from Save when it has no room for
// another tombstone: those are never evicted.
var ErrFull = errors.New("revisit: the memory store is full of tombstones")

// A MemoryStore keeps records in this process, and loses them with it: the
// sessions, and the tombstones of those that were forgotten too. Use it for
// one process whose visitors may be forgotten at a restart.
type MemoryStore struct {
	shards []memoryShard
	mask   uint64
	stop   func()
}

var _ Store = (*MemoryStore)(nil)

type memoryShard struct {
	mu      sync.Mutex
	records map[ID]*memoryRecord
	max     int // sessions, and tombstones beside them
	tombs   int

	// The unconfirmed ones in the order of their creation, a ring whose head is
	// no record: a flood of clients that never return pushes out itself.
	probation memoryRecord
}

type memoryRecord struct {
	Record
	prev, next *memoryRecord // nil outside of probation
}

func (r *memoryRecord) unlink() {
	if r.next != nil {
		r.prev.next, r.next.prev = r.next, r.prev
		r.prev, r.next = nil, nil
	}
}

func (s *memoryShard) remove(r *memoryRecord) {
	r.unlink()
	if r.Forgotten {
		s.tombs--
	}
	delete(s.records, r.ID)
}

// NewMemoryStore returns an empty store. Its Close ends the goroutine that
// removes expired records.
func NewMemoryStore(options MemoryOptions) *MemoryStore {
	if options.MaxSessions <= 0 {
		options.MaxSessions = 100_000
	}
	if options.SweepEvery <= 0 {
		options.SweepEvery = time.Minute
	}
	// Few sessions, few shards: a shard of one or two would evict what has room.
	shards := 64
	for shards > 1 && options.MaxSessions/shards < 256 {
		shards /= 2
	}
	m := &MemoryStore{shards: make([]memoryShard, shards), mask: uint64(shards - 1)}
	for i := range m.shards {
		s := &m.shards[i]
		s.records = make(map[ID]*memoryRecord)
		s.probation.prev, s.probation.next = &s.probation, &s.probation
		s.max = options.MaxSessions / shards
		if i < options.MaxSessions%shards {
			s.max++
		}
	}

	stopped, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(options.SweepEvery)
		defer ticker.Stop()
		for {
			select {
			case <-stopped:
				return
			case <-ticker.C:
				m.sweep()
			}
		}
	}()
	m.stop = sync.OnceFunc(func() {
		close(stopped)
		<-done
	})
	return m
}

// Close ends the sweeper. The records stay readable.
func (m *MemoryStore) Close() error {
	m.stop()
	return nil
}

// Len returns how many records are there, expired ones that have not been
// swept yet included.
func (m *MemoryStore) Len() int {
	n := 0
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		n += len(s.records)
		s.mu.Unlock()
	}
	return n
}

// shard picks by the random end of the ID; its beginning is the clock.
func (m *MemoryStore) shard(id ID) *memoryShard {
	return &m.shards[binary.LittleEndian.Uint64(id[8:])>>8&m.mask]
}

// Load implements [Store].
func (m *MemoryStore) Load(ctx context.Context, id ID) (Record, error) {
	if err := ctx.Err(); err != nil {
		return Record{}, err
	}
	return m.load(id, time.Now())
}

// load is Load for a caller who knows the time: to ask for it costs about as
// much as the rest.
func (m *MemoryStore) load(id ID, now time.Time) (Record, error) {
	s := m.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.records[id]
	if r == nil || expired(r, now) {
		return Record{}, ErrNotFound
	}
	return r.Record, nil
}

// Save implements [Store].
func (m *MemoryStore) Save(ctx context.Context, r Record, old int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return m.save(&r, old, time.Now())
}

func (m *MemoryStore) save(r *Record, old int64, now time.Time) error {
	s := m.shard(r.ID)
	s.mu.Lock()
	defer s.mu.Unlock()
	have := s.records[r.ID]
	var version int64
	if have != nil && !expired(have, now) {
		version = have.Version
	}
	if version != old {
		return ErrConflict
	}
	if r.Forgotten && s.tombs >= s.max && (have == nil || !have.Forgotten) {
		return ErrFull
	}
	if have == nil {
		if have = s.room(r.Forgotten, now); have == nil {
			have = new(memoryRecord)
		}
		s.records[r.ID] = have
	}
	if r.Forgotten && !have.Forgotten {
		s.tombs++
	} else if !r.Forgotten && have.Forgotten {
		s.tombs--
	}
	have.Record = *r
	switch listed := have.next != nil; {
	case r.Confirmed || r.Forgotten || !r.MergedInto.IsZero():
		have.unlink()
	case !listed:
		have.prev, have.next = s.probation.prev, &s.probation
		have.prev.next, have.next.prev = have, have
	}
	return nil
}

// room takes a session out if there is none for another one, and returns its
// memory.
func (s *memoryShard) room(tombstone bool, now time.Time) *memoryRecord {
	if tombstone || len(s.records)-s.tombs < s.max {
		return nil
	}
	victim := s.probation.next
	if victim == &s.probation {
		victim = nil
		seen := 0
		for _, r := range s.records { // in random order
			if r.Forgotten && !expired(r, now) {
				continue
			}
			if victim == nil || r.LastSeen.Before(victim.LastSeen) {
				victim = r
			}
			if seen++; seen == 8 {
				break
			}
		}
	}
	s.remove(victim)
	*victim = memoryRecord{}
	return victim
}

func (m *MemoryStore) sweep() {
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		now := time.Now()
		for _, r := range s.records {
			if expired(r, now) {
				s.remove(r)
			}
		}
		s.mu.Unlock()
	}
}

func expired(r *memoryRecord, now time.Time) bool { return !now.Before(r.Expires) }
