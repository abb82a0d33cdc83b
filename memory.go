package revisit

import (
	"context"
	"encoding/binary"
	"errors"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"
)

// MemoryOptions are the options of a memory store. The zero value is a good
// default.
type MemoryOptions struct {
	// MaxSessions bounds the store: how many sessions it keeps, aliases included.
	// Default 100,000, for 0 or less. A plain session, with one touch, takes about 200
	// bytes; one with all its touches and values up to 71 KiB, 37 of which a client can
	// fill by the links that it opens.
	//
	// When it is full, a new session takes the place of another one. New ones are
	// on probation, in the order of their birth: a flood of clients that never
	// return pushes out itself. Who comes back a minute after its birth or later is
	// kept, and leaves when all others that are kept have been seen since.
	//
	// Tombstones and renewed sessions, which no session pushes out, have as many places of
	// their own. When these are full, a new one takes the place of a tombstone that a request
	// has made (under Deny, or by the beacon's form), so that whoever floods the store keeps
	// nobody from being forgotten; of a session that was pushed out so, an empty one comes back
	// with its token. If there is none of these left, Forget and Renew fail.
	MaxSessions int

	// SweepEvery is how often expired records are removed. Default a minute, for
	// 0 or less.
	SweepEvery time.Duration
}

// ErrFull is what a memory store returns from Save when it has no room for
// another tombstone, or another session that was renewed: no session pushes those out.
var ErrFull = errors.New("revisit: the memory store is full of tombstones")

// A MemoryStore keeps records in this process, and loses them with it: the
// sessions, and the tombstones of those that were forgotten too. Use it for
// one process whose visitors may be forgotten at a restart.
type MemoryStore struct {
	shards []memoryShard
	mask   uint64
	stop   func()

	aliases aliasIndex
}

var (
	_ Lister  = (*MemoryStore)(nil)
	_ Indexer = (*MemoryStore)(nil)
)

// An aliasIndex has the aliases of each session. Its lock is taken within that of a shard.
type aliasIndex struct {
	mu sync.Mutex
	of map[ID]map[ID]struct{} // by root
}

// move takes note that an alias leads from one session to another, zero for none.
func (x *aliasIndex) move(alias, from, to ID) {
	if from == to || alias.derived() {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if all := x.of[from]; all != nil {
		delete(all, alias)
		if len(all) == 0 {
			delete(x.of, from)
		}
	}
	if to.IsZero() {
		return
	}
	if x.of == nil {
		x.of = make(map[ID]map[ID]struct{})
	}
	if x.of[to] == nil {
		x.of[to] = make(map[ID]struct{})
	}
	x.of[to][alias] = struct{}{}
}

// Aliases implements [Indexer].
func (m *MemoryStore) Aliases(ctx context.Context, root ID) ([]ID, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.aliases.mu.Lock()
	defer m.aliases.mu.Unlock()
	return slices.Collect(maps.Keys(m.aliases.of[root])), nil
}

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

// A memoryShard has few things for the garbage collector to look at: slots in
// large chunks, an index without pointers, and one string a session.
type memoryShard struct {
	mu     sync.Mutex
	all    *aliasIndex
	index  map[ID]uint32 // the number of the slot
	chunks []*[chunkLen]slot
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

func (s *memoryShard) at(n uint32) *slot { return &s.chunks[n/chunkLen][n%chunkLen] }

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
		s.index, s.all = make(map[ID]uint32), &m.aliases
		s.chunks = []*[chunkLen]slot{new([chunkLen]slot)}
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
		n += len(s.index)
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
	n, ok := s.index[id]
	if !ok || s.at(n).expired(now) {
		s.mu.Unlock()
		return Record{}, ErrNotFound
	}
	if id.derived() && now.UnixMilli()-s.at(n).lastSeen >= returnGap.Milliseconds() {
		s.at(n).flags |= slotReturned // it is not saved again when its session is
	}
	have := *s.at(n)
	via := s.vias[have.via]
	s.mu.Unlock()
	return have.record(via), nil
}

// update changes the slot of a record in its place, if it is there, was recognised by via
// before too, and apply says ok. It is copied to into then.
func (m *MemoryStore) update(into *slot, id ID, via string, apply func(*slot) (dirty, ok bool)) bool {
	s := m.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	n, ok := s.index[id]
	if !ok {
		return false
	}
	have := s.at(n)
	if s.vias[have.via] != via {
		return false
	}
	dirty, ok := apply(have)
	if !ok {
		return false
	}
	if dirty {
		have.version = newVersion()
	}
	*into = *have
	return true
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
	n, known := s.index[r.ID]
	var version int64
	if known && !s.at(n).expired(now) {
		version = s.at(n).version
	}
	if version != old {
		return ErrConflict
	}
	permanent := r.Forgotten || r.Joins == renewed
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
	case have.is(slotPermanent) || !r.MergedInto.IsZero() && !r.ID.derived():
		s.unlist(have)
	case !known:
		s.list(n)
	case now.Sub(r.Created) >= returnGap:
		have.flags |= slotReturned
	}
	return nil
}

// count keeps count of the tombstones.
func (s *memoryShard) count(have *slot, by int) {
	if have.is(slotPermanent) {
		s.tombs += by
	}
}

// list puts a slot at the end of the probation.
func (s *memoryShard) list(n uint32) {
	have, head := s.at(n), s.at(0)
	have.prev, have.next = head.prev, 0
	s.at(head.prev).next = n
	head.prev = n
	have.flags |= slotListed
	s.probation++
}

func (s *memoryShard) unlist(have *slot) {
	if have.is(slotListed) {
		s.at(have.prev).next = have.next
		s.at(have.next).prev = have.prev
		have.prev, have.next = 0, 0
		have.flags &^= slotListed
		s.probation--
	}
}

// room returns a free slot. If the shard is full, a session leaves it.
func (s *memoryShard) room(tombstone bool) uint32 {
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
		s.chunks = append(s.chunks, new([chunkLen]slot))
	}
	s.used++
	return n
}

// victim returns the session that is to leave. There is one: the shard is full.
func (s *memoryShard) victim() uint32 {
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
func (s *memoryShard) evictTombstone() bool {
	for range s.used {
		s.tombHand++
		if s.tombHand >= s.used {
			s.tombHand = 1
		}
		if have := s.at(s.tombHand); have.is(slotForgotten) && s.vias[have.via] == viaDenied {
			s.remove(s.tombHand)
			return true
		}
	}
	return false
}

func (s *memoryShard) remove(n uint32) {
	have := s.at(n)
	s.unlist(have)
	s.count(have, -1)
	s.all.move(have.id, have.mergedInto(), ID{})
	delete(s.index, have.id)
	*have = slot{next: s.free}
	s.free = n
}

// Sessions implements [Lister].
func (m *MemoryStore) Sessions(ctx context.Context) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for i := range m.shards {
			s := &m.shards[i]
			for n := uint32(1); ; {
				var page []Record
				now := time.Now()
				s.mu.Lock()
				for ; n < s.used && len(page) < chunkLen; n++ {
					if have := s.at(n); have.is(slotUsed) && !have.expired(now) {
						page = append(page, have.record(s.vias[have.via]))
					}
				}
				done := n >= s.used
				s.mu.Unlock()
				for _, r := range page {
					if err := ctx.Err(); err != nil {
						yield(Record{}, err)
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

func (m *MemoryStore) sweep() {
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
