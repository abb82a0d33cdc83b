// Package memstore keeps sessions in memory: slots of fixed size, new ones on probation, and
// a clock (CLOCK, a second chance) for those that have come back.
package memstore

import (
	"context"
	"encoding/binary"
	"errors"
	"iter"
	"sync"
	"time"

	"github.com/revisit-go/revisit/internal/millis"
	"github.com/revisit-go/revisit/internal/rules"
	"github.com/revisit-go/revisit/internal/uuid"
	"github.com/revisit-go/revisit/store"
)

// Options are those of revisit.MemoryOptions, which has their documentation.
type Options struct {
	MaxSessions int
	SweepEvery  time.Duration
}

// ErrFull is returned by Save when there is no room for another tombstone or renewed session.
var ErrFull = errors.New("revisit: the memory store is full of tombstones")

// A Store keeps records in this process.
type Store struct {
	shards []shard
	mask   uint64
	stop   func()

	aliases aliasIndex
}

var (
	_ store.Lister  = (*Store)(nil)
	_ store.Indexer = (*Store)(nil)
)

const (
	// chunkLen is how many slots are allocated at once. A slot never moves.
	chunkLen = 128

	// probationPart is the part of the places that are for those on probation,
	// when it is full: 1/4.
	probationPart = 4

	// returnGap is how long after its birth a session must be seen to have
	// returned. The parts of a first page come at once, and a bot's few requests.
	returnGap = time.Minute
)

// A shard has few things for the garbage collector to look at: slots in
// large chunks, an index without pointers, and one string a session.
type shard struct {
	mu     sync.Mutex
	all    *aliasIndex
	index  map[store.ID]uint32 // the number of the slot
	chunks []*[chunkLen]Slot
	used   uint32 // slots that were ever used
	free   uint32 // the first of those that are free now, a list by slot.next; 0 for none
	max    int    // sessions, and tombstones beside them
	tombs  int

	// Those on probation, a ring by birth whose head is slot 0.
	probation int
	hand      uint32 // of the clock that goes round those that are kept
	tombHand  uint32 // of the one that goes round tombstones

	vias    []string // names of strategies, by number
	scratch []byte
}

func (s *shard) at(n uint32) *Slot { return &s.chunks[n/chunkLen][n%chunkLen] }

// New returns an empty store. Its Close ends the goroutine that
// removes expired records.
func New(options Options) *Store {
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
	m := &Store{shards: make([]shard, shards), mask: uint64(shards - 1)}
	for i := range m.shards {
		s := &m.shards[i]
		s.index, s.all = make(map[store.ID]uint32), &m.aliases
		s.chunks = []*[chunkLen]Slot{new([chunkLen]Slot)}
		s.used = 1
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
func (m *Store) Close() error {
	m.stop()
	return nil
}

// Len returns how many records are there, expired ones that have not been
// swept yet included.
func (m *Store) Len() int {
	n := 0
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		n += len(s.index)
		s.mu.Unlock()
	}
	return n
}

// shard picks by the random end of the ID; its beginning is the clock.
func (m *Store) shard(id store.ID) *shard {
	return &m.shards[binary.LittleEndian.Uint64(id[8:])>>8&m.mask]
}

// Load implements [store.Store].
func (m *Store) Load(ctx context.Context, id store.ID) (store.Record, error) {
	if err := ctx.Err(); err != nil {
		return store.Record{}, err
	}
	return m.LoadAt(id, time.Now())
}

// LoadAt is Load for a caller who knows the time: to ask for it costs about as
// much as the rest.
func (m *Store) LoadAt(id store.ID, now time.Time) (store.Record, error) {
	s := m.shard(id)
	s.mu.Lock()
	n, ok := s.index[id]
	if !ok || s.at(n).expired(now) {
		s.mu.Unlock()
		return store.Record{}, store.ErrNotFound
	}
	if uuid.IsDerived(id) && now.UnixMilli()-s.at(n).lastSeen >= returnGap.Milliseconds() {
		s.at(n).flags |= slotReturned // it is not saved again when its session is
	}
	have := *s.at(n)
	via := s.vias[have.via]
	s.mu.Unlock()
	return have.Record(via), nil
}

// Continue counts a request of a visit that goes on, in place: its session was recognised by
// via before, too, and has no other rule to look at than those of a few numbers. It does what
// rules.Rules.Apply does in that case, and copies the slot to into. Not ok is any other case,
// and nothing has happened.
func (m *Store) Continue(into *Slot, id store.ID, via string, at time.Time, hit bool, gap time.Duration) (ok bool) {
	s := m.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	n, known := s.index[id]
	if !known {
		return false
	}
	have, now := s.at(n), at.UnixMilli()
	if s.vias[have.via] != via || !have.is(slotContinues) || now >= have.expires || hit && now-have.lastHit >= millis.Ceil(gap) {
		return false
	}
	if hit {
		have.hits++
		have.lastHit = max(have.lastHit, now)
	}
	if hit || now-have.lastSeen >= rules.SeenEvery.Milliseconds() {
		have.lastSeen = max(have.lastSeen, now)
		if now-uuid.Millis(have.id) >= returnGap.Milliseconds() {
			have.flags |= slotReturned
		}
		have.version = rules.NewVersion()
	}
	*into = *have
	return true
}

// Save implements [store.Store].
func (m *Store) Save(ctx context.Context, r store.Record, old int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return m.SaveAt(&r, old, time.Now())
}

// SaveAt is Save for a caller who knows the time.
func (m *Store) SaveAt(r *store.Record, old int64, now time.Time) error {
	s := m.shard(r.ID)
	s.mu.Lock()
	defer s.mu.Unlock()
	n, known := s.index[r.ID]
	var version int64
	if known && !s.at(n).expired(now) {
		version = s.at(n).version
	}
	if version != old {
		return store.ErrConflict
	}
	permanent := r.Forgotten || r.LinksUsed == store.Renewed
	if permanent && s.tombs >= s.max && !(known && s.at(n).is(slotPermanent)) && !s.evictTombstone() {
		return ErrFull
	}
	switch {
	case !known:
		n = s.room(permanent)
		s.index[r.ID] = n
	case s.at(n).is(slotPermanent) && !permanent && len(s.index)-s.tombs >= s.max:
		s.remove(s.victim()) // a tombstone that has expired becomes a session
	}
	have := s.at(n)
	s.all.move(r.ID, have.mergedInto(), r.MergedInto)
	s.count(have, -1)
	s.put(have, r)
	s.count(have, 1)
	switch {
	case have.is(slotPermanent) || !r.MergedInto.IsZero() && !uuid.IsDerived(r.ID):
		s.unlist(have)
	case !known:
		s.list(n)
	case now.Sub(r.Created) >= returnGap:
		have.flags |= slotReturned
	}
	return nil
}

// count keeps count of the tombstones.
func (s *shard) count(have *Slot, by int) {
	if have.is(slotPermanent) {
		s.tombs += by
	}
}

// list puts a slot at the end of the probation.
func (s *shard) list(n uint32) {
	have, head := s.at(n), s.at(0)
	have.prev, have.next = head.prev, 0
	s.at(head.prev).next = n
	head.prev = n
	have.flags |= slotListed
	s.probation++
}

func (s *shard) unlist(have *Slot) {
	if have.is(slotListed) {
		s.at(have.prev).next = have.next
		s.at(have.next).prev = have.prev
		have.prev, have.next = 0, 0
		have.flags &^= slotListed
		s.probation--
	}
}

// room returns a free slot. If the shard is full, a session leaves it.
func (s *shard) room(tombstone bool) uint32 {
	if !tombstone && len(s.index)-s.tombs >= s.max {
		s.remove(s.victim())
	}
	if n := s.free; n != 0 {
		s.free = s.at(n).next
		s.at(n).next = 0
		return n
	}
	n := s.used
	if n%chunkLen == 0 {
		s.chunks = append(s.chunks, new([chunkLen]Slot))
	}
	s.used++
	return n
}

// victim returns the session that is to leave. There is one: the shard is full.
func (s *shard) victim() uint32 {
	kept := len(s.index) - s.tombs - s.probation
	for s.probation > s.max/probationPart || kept == 0 {
		n := s.at(0).next
		have := s.at(n)
		if !have.is(slotReturned) {
			return n
		}
		s.unlist(have)
		have.flags &^= slotReturned
		kept++
	}
	for {
		s.hand++
		if s.hand >= s.used {
			s.hand = 1
		}
		have := s.at(s.hand)
		switch {
		case !have.is(slotUsed) || have.is(slotListed) || have.is(slotPermanent):
		case have.is(slotReturned):
			have.flags &^= slotReturned
		default:
			return s.hand
		}
	}
}

// evictTombstone removes a tombstone that a request has made, and reports whether there was
// one.
func (s *shard) evictTombstone() bool {
	for range s.used {
		s.tombHand++
		if s.tombHand >= s.used {
			s.tombHand = 1
		}
		if have := s.at(s.tombHand); have.is(slotForgotten) && s.vias[have.via] == store.ViaDenied {
			s.remove(s.tombHand)
			return true
		}
	}
	return false
}

func (s *shard) remove(n uint32) {
	have := s.at(n)
	s.unlist(have)
	s.count(have, -1)
	s.all.move(have.id, have.mergedInto(), store.ID{})
	delete(s.index, have.id)
	*have = Slot{next: s.free}
	s.free = n
}

// Sessions implements [store.Lister].
func (m *Store) Sessions(ctx context.Context) iter.Seq2[store.Record, error] {
	return func(yield func(store.Record, error) bool) {
		for i := range m.shards {
			s := &m.shards[i]
			for n := uint32(1); ; {
				var page []store.Record
				now := time.Now()
				s.mu.Lock()
				for ; n < s.used && len(page) < chunkLen; n++ {
					if have := s.at(n); have.is(slotUsed) && !have.expired(now) {
						page = append(page, have.Record(s.vias[have.via]))
					}
				}
				done := n >= s.used
				s.mu.Unlock()
				for _, r := range page {
					if err := ctx.Err(); err != nil {
						yield(store.Record{}, err)
						return
					}
					if r.IsSession() && !yield(r, nil) {
						return
					}
				}
				if done {
					break
				}
			}
		}
	}
}

func (m *Store) sweep() {
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		now := time.Now()
		for n := uint32(1); n < s.used; n++ {
			if have := s.at(n); have.is(slotUsed) && have.expired(now) {
				s.remove(n)
			}
		}
		s.mu.Unlock()
	}
}
