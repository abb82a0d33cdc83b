package revisit

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// gatherer is the ledger's write-behind, with Config.FlushEvery. Page views of a
// session that the store was asked about within FlushEvery are counted here and
// saved in batches. Whatever else happens to a session goes to the store at once:
// its first page view, the one that begins a visit, a touch, a value, a merge.
//
// What the store said longer ago than that is never used: that is what carries a
// forget to every node.
type gatherer struct {
	ledger *ledger
	every  time.Duration
	max    int

	mu      sync.Mutex
	entries map[ID]*entry

	forgotten map[ID]time.Time // by this node, within FlushEvery: what was read before is not learned

	flushed atomic.Int64 // when, in Unix nanoseconds
	arrived atomic.Int64 // flights
	wake    chan struct{}
	busy    chan struct{} // a place for each call of the store that is under way
	stop    func()
	stopped chan struct{}
}

// An entry is what this node knows of a session, and what it has counted since.
type entry struct {
	record Record // what was counted since included
	base   int64  // the version that the store has
	loaded time.Time
	gathered
	lost   []gathered // of writes whose answer is unknown
	flying bool       // a flush is under way with what was gathered before
}

// gathered are page views that the store does not have yet, as far as is known.
type gathered struct {
	hits  int64
	last  change  // of them
	tried []int64 // versions of writes that may have happened
}

func (g *gathered) add(h gathered) {
	if h.hits == 0 {
		return
	}
	touch := g.last.touch
	alone := g.hits == 0
	if alone || h.last.at.After(g.last.at) {
		g.last = h.last
	}
	g.last.landing = g.last.landing && alone
	if g.last.touch == (Touch{}) || touch.campaign() && !g.last.touch.campaign() {
		g.last.touch = touch
	}
	g.hits += h.hits
}

// changes returns what was gathered as one change, before others.
func (g *gathered) changes(others []change) []change {
	if g.hits == 0 {
		return others
	}
	c := g.last
	c.times = g.hits
	return append([]change{c}, others...)
}

// hitsOf returns the page views among changes.
func hitsOf(changes []change) (h gathered) {
	for _, c := range changes {
		// A landing page counts only if nothing of its visit has.
		if c.hit && !c.seen && !(c.landing && h.hits > 0) {
			h.add(gathered{hits: max(1, c.times), last: c})
		}
	}
	return h
}

// maxGathered bounds how many sessions a node has in hand.
const maxGathered = 1 << 17

// batchLen is how many changes one batch has.
const batchLen = 500

func newGatherer(l *ledger, every time.Duration) *gatherer {
	g := &gatherer{ledger: l, every: every, max: maxGathered, entries: make(map[ID]*entry), forgotten: make(map[ID]time.Time), busy: make(chan struct{}, 2*flushers), wake: make(chan struct{}, 1), stopped: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	g.stop = cancel
	go g.run(ctx)
	return g
}

// run flushes twice in FlushEvery, so that no page view waits longer than that.
func (g *gatherer) run(ctx context.Context) {
	defer close(g.stopped)
	ticker := time.NewTicker(g.every / 2)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-g.wake:
		}
		g.flush(ctx)
		g.flushed.Store(time.Now().UnixNano())
	}
}

// close flushes what is left, for d at most, and counts what could not be saved.
func (g *gatherer) close(d time.Duration) {
	g.stop()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	select {
	case <-g.stopped:
	case <-ctx.Done():
	}
	for ctx.Err() == nil && g.flush(ctx) { // what may have been saved goes one at a time
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, e := range g.entries {
		g.ledger.stats.closed.Add(e.hits)
		for _, h := range e.lost {
			g.ledger.stats.closed.Add(h.hits)
		}
	}
	g.max = 0 // nothing is gathered from now on
	clear(g.entries)
}

// isPlain reports whether a change does no more to a record than count a page
// view of the visit that is under way, or nothing.
func (l *ledger) isPlain(r *Record, c *change) bool {
	if c.key != "" || !r.Confirmed && c.claim || c.stored && r.leaked() {
		return false
	}
	if !c.hit {
		return c.at.Sub(r.LastSeen) < seenEvery
	}
	if c.landing || r.LastHit.IsZero() || c.at.Sub(r.LastHit) >= l.visitGap {
		return false
	}
	return !c.touch.campaign() || len(r.Touches) > 0 && c.touch.sameCampaign(&r.Touches[len(r.Touches)-1])
}

// count counts a change on an entry that is fresh, if it is plain.
func (g *gatherer) count(id ID, c *change) (Record, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	e := g.entries[id]
	if e == nil || c.at.Sub(e.loaded) >= g.every || !g.ledger.isPlain(&e.record, c) {
		return Record{}, false
	}
	g.put(e, c)
	return e.record, true
}

func (g *gatherer) put(e *entry, c *change) {
	_, _ = g.ledger.apply(&e.record, c) // plain: no error
	if c.hit {
		one := *c
		one.touch = Touch{} // of which nothing is to come
		e.add(gathered{hits: 1, last: one})
	}
}

// take takes what was gathered for a session out, for a change that saves it too. Nothing
// is taken while a flush has something of it under way.
func (g *gatherer) take(id ID) (lost []gathered, h gathered, flying bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	e := g.entries[id]
	if e == nil || e.flying {
		return nil, gathered{}, e != nil
	}
	lost, h = e.lost, e.gathered
	e.lost, e.gathered = nil, gathered{}
	return lost, h, false
}

// learn keeps what the store has of a session, asked at a time, and counts the
// plain changes that came with the question.
func (g *gatherer) learn(id ID, r Record, at time.Time, plain []change) (Record, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if since, ok := g.forgotten[r.ID]; ok && !at.After(since) {
		return r, false
	}
	e := g.entry(r.ID)
	if e == nil {
		return r, false
	}
	g.renew(e, r, at)
	for i := range plain {
		g.put(e, &plain[i])
	}
	if id != r.ID { // it was merged: what is left of it is the root's
		if old := g.entries[id]; old != nil {
			old.loaded = time.Time{}
		}
	}
	return e.record, true
}

// park keeps page views that the store has not taken, for the next flush.
func (g *gatherer) park(id ID, h gathered) {
	if h.hits == 0 {
		return
	}
	h.last.touch = h.last.touch.clone() // what a request has said must not be kept with all of it
	g.mu.Lock()
	defer g.mu.Unlock()
	e := g.entry(id)
	if e == nil {
		g.ledger.stats.full.Add(h.hits)
		return
	}
	e.keep(h)
}

// entry returns that of a session, a new one if need be; nil if there is no room.
func (g *gatherer) entry(id ID) *entry {
	e := g.entries[id]
	if e == nil {
		if len(g.entries) >= g.max {
			g.isFull()
			return nil
		}
		e = &entry{}
		g.entries[id] = e
	}
	return e
}

// keep keeps what may have been saved apart from what was not.
func (e *entry) keep(h gathered) {
	if len(h.tried) > 0 {
		e.lost = append(e.lost, h)
	} else {
		e.add(h)
	}
	e.base, e.loaded = 0, time.Time{} // the store has to be asked
}

func (g *gatherer) isFull() {
	if time.Now().UnixNano()-g.flushed.Load() < int64(g.every/8) {
		return // it would find the same
	}
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// forget drops what is known of a session.
func (g *gatherer) forget(id ID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.entries, id)
	g.forgotten[id] = time.Now()
}

// stale has the store asked about sessions.
func (g *gatherer) stale(ids ...ID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, id := range ids {
		if e := g.entries[id]; e != nil {
			e.loaded = time.Time{}
		}
	}
}

// settle applies changes to a session: here, if they are plain, else in the store,
// with what was gathered.
func (g *gatherer) settle(ctx context.Context, id ID, changes []change) (Record, error) {
	l, at := g.ledger, changes[0].at
	have, err := l.read(ctx, id, at)
	known := err == nil
	if known && !l.isOver(&have, at) && have.MergedInto.IsZero() &&
		!slices.ContainsFunc(changes, func(c change) bool { return !l.isPlain(&have, &c) }) {
		if r, ok := g.learn(id, have, at, changes); ok {
			return r, nil
		}
	}
	lost, h, _ := g.take(id)
	known = known && len(lost) == 0 // or the record that was read is of before
	if err := g.saveTaken(ctx, id, lost); err != nil {
		if errors.Is(err, ErrForgotten) {
			g.forget(id)
			return Record{}, err
		}
		h.add(hitsOf(changes))
		g.park(id, h)
		return Record{}, err
	}
	all := h.changes(changes)
	var first *Record
	if known {
		first = &have
	}
	r, tried, err := l.commitFrom(ctx, id, all, first, nil)
	switch {
	case err == nil:
		r, _ = g.learn(id, r, at, nil)
		return r, nil
	case errors.Is(err, ErrForgotten):
		g.forget(id)
	default:
		h = hitsOf(all)
		h.tried = tried
		g.park(id, h)
	}
	return Record{}, err
}

// saveTaken saves what was taken out for a session, one after the other. What could not
// be saved is parked, with the versions that may have been written.
func (g *gatherer) saveTaken(ctx context.Context, id ID, taken []gathered) (err error) {
	for i := range taken {
		one := &taken[i]
		if one.hits == 0 {
			continue
		}
		if _, one.tried, err = g.ledger.commitFrom(ctx, id, one.changes(nil), nil, one.tried); err == nil {
			continue
		}
		if !errors.Is(err, ErrForgotten) {
			for _, left := range taken[i:] {
				g.park(id, left)
			}
		}
		return err
	}
	return nil
}

// A flight is what one flush does with one session.
type flight struct {
	change Change
	gathered
}

// flushers is how many sessions are saved at one time; twice as many calls of the store may
// hang before no more are made.
const flushers = 16

// flushLimit is how many times StoreTimeout one batch may take.
const flushLimit = 20

// flush saves what was gathered, and drops what is not used any more. If the
// store does not answer, the rest waits for the next flush. It reports whether it
// has saved something.
func (g *gatherer) flush(ctx context.Context) bool {
	flights, before := g.depart(), g.arrived.Load()
	slices.SortFunc(flights, func(a, b *flight) int { return bytes.Compare(a.change.Record.ID[:], b.change.Record.ID[:]) })
	batcher, _ := g.ledger.store.(Batcher)
	down := false
	parts := slices.Collect(slices.Chunk(flights, batchLen))
	// In any order, or those at the end would always be the ones to wait.
	rand.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
	for _, part := range parts {
		begin := time.Now()
		if down = down || ctx.Err() != nil; down {
			for _, f := range part {
				g.back(f)
			}
			continue
		}
		if batcher != nil {
			part = g.together(ctx, batcher, part, begin)
		}
		down = !g.each(ctx, part, begin)
	}
	return g.arrived.Load() > before
}

// together saves those flights in one batch whose record is known, and returns
// the others, and those that were not saved.
func (g *gatherer) together(ctx context.Context, b Batcher, flights []*flight, begin time.Time) (left []*flight) {
	var all []*flight
	var changes []Change
	for _, f := range flights {
		if f.change.Old == 0 || len(f.tried) > 0 {
			left = append(left, f)
			continue
		}
		all, changes = append(all, f), append(changes, f.change)
	}
	if len(all) == 0 {
		return left
	}
	errs, err := call(g, ctx, flushLimit*g.ledger.timeout, func(ctx context.Context) ([]error, error) { return b.SaveAll(ctx, changes), nil })
	if err == nil && len(errs) != len(changes) {
		err = errors.New("revisit: SaveAll has not answered for each change")
	}
	for i, f := range all {
		one := err
		if one == nil {
			one = errs[i]
		}
		if one == nil {
			g.ledger.hit(&f.change.Record, f.gathered)
			g.arrive(f, f.change.Record, begin)
			continue
		}
		if errors.Is(one, errBusy) {
			left = append(left, f) // nothing was sent
			continue
		}
		g.ledger.count(one)
		// It may have happened, also where the answer is a conflict: of a client that
		// tries again by itself.
		f.tried = append(f.tried, f.change.Record.Version)
		left = append(left, f)
	}
	return left
}

// each saves flights one by one, some at a time, and reports whether the store
// answers.
func (g *gatherer) each(ctx context.Context, flights []*flight, begin time.Time) bool {
	var group sync.WaitGroup
	var failed, saved atomic.Int64
	// One that fails may be the record's own fault.
	down := func() bool { return failed.Load() >= 3 && saved.Load() == 0 }
	places := make(chan struct{}, flushers)
	for _, f := range flights {
		places <- struct{}{}
		group.Go(func() {
			defer func() { <-places }()
			if down() {
				g.back(f)
				return
			}
			type outcome struct {
				record Record
				tried  []int64
			}
			o, err := call(g, ctx, g.ledger.timeout, func(ctx context.Context) (o outcome, err error) {
				o.record, o.tried, err = g.ledger.commitFrom(ctx, f.change.Record.ID, f.gathered.changes(nil), nil, slices.Clone(f.tried))
				return o, err
			})
			if o.tried != nil {
				f.tried = o.tried
			}
			switch {
			case err == nil:
				saved.Add(1)
				g.arrive(f, o.record, begin)
			case errors.Is(err, ErrForgotten):
				saved.Add(1)
				g.forget(f.change.Record.ID)
			default:
				failed.Add(1)
				g.back(f)
			}
		})
	}
	group.Wait()
	return !down()
}

// call uses the store, and does not wait longer for it than that: a store that
// ignores its context must not end all flushing.
func call[T any](g *gatherer, ctx context.Context, limit time.Duration, f func(context.Context) (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	select {
	case g.busy <- struct{}{}:
	default: // all of them hang
		var zero T
		return zero, errBusy
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	done := make(chan result, 1)
	go func() {
		defer func() { <-g.busy }()
		defer cancel()
		value, err := protect(g.ledger, ctx, f)
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
	}
	// It ended in time, or gives up with its context.
	grace := time.NewTimer(g.ledger.timeout)
	defer grace.Stop()
	select {
	case r := <-done:
		return r.value, r.err
	case <-grace.C:
		var zero T
		return zero, ctx.Err()
	}
}

// depart takes what was gathered out of the entries: what may have been saved
// before goes by itself, so that a version tells.
func (g *gatherer) depart() (flights []*flight) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	for id, since := range g.forgotten {
		if now.Sub(since) >= g.every {
			delete(g.forgotten, id)
		}
	}
	for id, e := range g.entries {
		switch {
		case e.flying:
		case len(e.lost) > 0:
			flights = append(flights, &flight{Change{Record: Record{ID: id}}, e.lost[0]})
			e.lost, e.flying = e.lost[1:], true
		case e.hits > 0:
			r := e.record
			r.ID, r.Version = id, newVersion()
			flights = append(flights, &flight{Change{r, e.base}, e.gathered})
			e.gathered, e.flying = gathered{}, true
		case now.Sub(e.loaded) >= g.every:
			delete(g.entries, id)
		}
	}
	return flights
}

// arrive takes note that a flight was saved.
func (g *gatherer) arrive(f *flight, r Record, at time.Time) {
	g.arrived.Add(1)
	g.mu.Lock()
	defer g.mu.Unlock()
	e := g.entries[f.change.Record.ID]
	if e == nil {
		return
	}
	e.flying = false
	if r.ID != f.change.Record.ID { // it was merged into another one
		e.base, e.loaded = 0, time.Time{}
		return
	}
	if e.base != f.change.Old {
		return // somebody has asked the store since
	}
	g.renew(e, r, at)
}

// renew gives an entry what the store has, asked at a time, and on top of it what
// was counted meanwhile.
func (g *gatherer) renew(e *entry, r Record, at time.Time) {
	e.record, e.base, e.loaded = r, r.Version, at
	if e.hits > 0 {
		since := e.gathered.changes(nil)
		_, _ = g.ledger.apply(&e.record, &since[0])
	}
}

// back brings what could not be saved back.
func (g *gatherer) back(f *flight) {
	g.mu.Lock()
	defer g.mu.Unlock()
	e := g.entries[f.change.Record.ID]
	if e == nil { // it was forgotten meanwhile
		return
	}
	e.flying = false
	if len(f.tried) > 0 {
		e.keep(f.gathered)
	} else {
		e.add(f.gathered) // and the batch is tried again
	}
}
