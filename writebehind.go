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

// writeBehind delays the page views of visits that are under way, with Config.FlushEvery:
// they are counted in this process and saved in batches. Everything else that happens to a
// session goes to the store at once: its first page view, one that begins a visit, a touch,
// a value, a merge.
//
// What the store said longer ago than FlushEvery is never used. That is what carries a
// forgotten session to every node.
//
// # States
//
// A page view that was counted here, or that could not be saved, is in exactly one place:
//
//	pending    in entry.pending. No write has been started with it.
//	writing    in a batch that one goroutine is saving: a flush, or a change of the same
//	           session that takes along what is pending.
//	uncertain  in a batch in entry.uncertain. It may be in the store: a write was started, and
//	           its result is not known. The batch keeps the versions it has tried, is never
//	           mixed with other page views, and is saved by itself, so that a version in the
//	           store shows whether it was.
//	saved      in the store, and Config.OnHit was notified.
//	dropped    counted in Stats.Dropped, as "full" or "closed".
//	gone       its session was forgotten or is over. Nothing is kept of it, and nothing counted.
//
// The events, and what each does:
//
//	count      a page view of a visit under way, on an entry that is fresh     → pending
//	undo       one of the page views counted before was a redirect      → pending, as one less
//	keep       a change that never got as far as the store                     → pending
//	collect    a flush starts: the oldest uncertain batch of a session, else
//	           what is pending. A session is in one flush at a time            → writing
//	take       a change is saved at once: everything but what is being written → writing
//	written    the store has it                                  writing       → saved
//	release    the write was not started                         writing       → pending
//	release    the write was started                             writing       → uncertain
//	observe    somebody in this process reads a version that a batch has tried:
//	           the batch is saved, and whoever has it learns that when it ends its write
//	forget     the session was forgotten: all that it has here                 → gone
//	merge      the entry is no longer fresh; its batches follow the alias
//	hold       the session is being renewed: nothing is counted here until that is done
//	close      what could not be saved in time                                 → dropped
//
// A record to be saved is computed from what the store has and from one batch, never from
// what handlers are shown. Two writers of one session in this process (a flush and a Set,
// say) are kept apart by the store's compare-and-swap. What one of them may have written
// before its answer was lost, the other one observes: it must have read that version in
// order to replace it.
type writeBehind struct {
	ledger *ledger
	every  time.Duration

	mu        sync.Mutex
	max       int // entries
	entries   map[ID]*entry
	tried     map[int64]*batch // by version: writes whose result is not known yet
	forgotten map[ID]time.Time // by this node, within FlushEvery: what was read before is not learned
	closed    bool

	flushed atomic.Int64 // when, in Unix nanoseconds
	written atomic.Int64 // batches
	wake    chan struct{}
	busy    chan struct{} // a place for each call of the store that is under way
	quit    chan struct{}
	stopped chan struct{}
	giveUp  func() // ends the flush that is under way
}

// An entry is what this node knows of a session, and the page views that the store does
// not have yet.
type entry struct {
	stored Record    // as the store had it; Version is 0 if that is not known
	read   time.Time // when the store was asked; zero if it has to be asked
	held   int       // how many keep this node from counting here

	pending   []change
	uncertain []*batch
	writing   []*batch
	flushing  bool // one of writing is a flush's
}

// A batch is page views of one session on their way to the store.
type batch struct {
	id      ID
	changes []change
	tried   []int64 // versions of writes that may have happened
	saved   bool    // one of them did: somebody has read it
	done    bool    // nothing is left to be done with it
}

const (
	// maxEntries bounds how many sessions a node has in hand.
	maxEntries = 1 << 17
	// maxPending bounds how many changes a session has pending. Page views of one visit are
	// one change, so only campaigns during an outage of the store come near it.
	maxPending = 32
	// batchLen is how many changes one call of SaveAll has.
	batchLen = 500
	// flushers is how many sessions are saved at one time; twice as many calls of the store may
	// hang before no more are made.
	flushers = 16
	// flushLimit is how many times StoreTimeout one batch may take.
	flushLimit = 20
)

func newWriteBehind(l *ledger, every time.Duration) *writeBehind {
	w := &writeBehind{
		ledger: l, every: every, max: maxEntries,
		entries: make(map[ID]*entry), tried: make(map[int64]*batch), forgotten: make(map[ID]time.Time),
		busy: make(chan struct{}, 2*flushers), wake: make(chan struct{}, 1), stopped: make(chan struct{}),
	}
	return w
}

// start begins to flush. The ledger is complete by then.
func (w *writeBehind) start() {
	ctx, cancel := context.WithCancel(context.Background())
	w.quit, w.giveUp = make(chan struct{}), cancel
	go w.run(ctx)
}

// run flushes twice in FlushEvery, so that no page view waits longer than that.
func (w *writeBehind) run(ctx context.Context) {
	defer close(w.stopped)
	ticker := time.NewTicker(w.every / 2)
	defer ticker.Stop()
	for {
		select {
		case <-w.quit:
			return
		case <-ticker.C:
		case <-w.wake:
		}
		w.flush(ctx)
		w.flushed.Store(time.Now().UnixNano())
	}
}

// closePause is how long close waits for a store that has saved nothing.
const closePause = 50 * time.Millisecond

// close flushes what is left, for d at most, and counts what could not be saved.
func (w *writeBehind) close(d time.Duration) {
	close(w.quit)
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	// A flush that is under way goes on: if its answer were lost, and another process wrote
	// over it, its page views would count twice.
	defer w.giveUp()
	select {
	case <-w.stopped:
	case <-ctx.Done():
	}
	for ctx.Err() == nil && !w.isEmpty() {
		if !w.flush(ctx) {
			sleep(ctx, closePause) // a database that is restarted comes back
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.entries {
		w.ledger.stats.closed.Add(viewsOf(e.pending))
		for _, b := range slices.Concat(e.uncertain, e.writing) {
			if !b.done {
				w.ledger.stats.closed.Add(viewsOf(b.changes))
				w.end(b)
			}
		}
	}
	w.closed = true
	clear(w.entries)
}

func (w *writeBehind) isEmpty() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.entries {
		if len(e.pending) > 0 || len(e.uncertain) > 0 || len(e.writing) > 0 {
			return false
		}
	}
	return true
}

// isPlain reports whether a change does no more to a record than count a page
// view of the visit that is under way, or nothing.
func (l *ledger) isPlain(r *Record, c *change) bool {
	if c.key != "" || c.takesBack || !r.Confirmed && c.claim || c.stored && r.leaked() {
		return false
	}
	if !c.hit {
		return c.undo > 0 || c.at.Sub(r.LastSeen) < seenEvery
	}
	if c.landing || !c.since.IsZero() || r.LastHit.IsZero() || c.at.Sub(r.LastHit) >= l.visitGap {
		return false
	}
	return !c.touch.campaign() || len(r.Touches) > 0 && c.touch.sameCampaign(&r.Touches[len(r.Touches)-1])
}

// count counts a change on an entry that is fresh, if it is plain.
func (w *writeBehind) count(id ID, c *change) (Record, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.entries[id]
	if e == nil || e.held > 0 || c.at.Sub(e.read) >= w.every {
		return Record{}, false
	}
	r := w.shown(e)
	if !w.ledger.isPlain(&r, c) {
		return Record{}, false
	}
	w.countOn(e, &r, c)
	return r, true
}

// countOn counts a plain change on an entry, and on the record that is shown of it.
func (w *writeBehind) countOn(e *entry, r *Record, c *change) {
	one := *c
	_, _ = w.ledger.apply(r, &one) // plain: no error
	if c.counts() {
		one.touch = Touch{} // of which nothing is to come
		w.add(e, one)
	}
}

// shown returns a session as handlers are to see it: with all its page views.
func (w *writeBehind) shown(e *entry) Record {
	r := e.stored
	apply := func(changes []change) {
		for _, c := range changes {
			if c.counts() {
				_, _ = w.ledger.apply(&r, &c) // no value, no error
			}
		}
	}
	for _, batches := range [...][]*batch{e.uncertain, e.writing} {
		for _, b := range batches {
			if !b.saved && !b.done {
				apply(b.changes)
			}
		}
	}
	apply(e.pending)
	return r
}

// add makes a page view pending, or that one was none. Those of one visit become one
// change.
func (w *writeBehind) add(e *entry, c change) {
	c.key, c.text, c.seen = "", "", false
	if !c.hit {
		if n := len(e.pending); n > 0 {
			e.pending[n-1].undo += c.undo
			return
		}
		c.touch = Touch{}
		e.pending = append(e.pending, c)
		return
	}
	c.times = max(1, c.times)
	if n := len(e.pending); n > 0 {
		last := &e.pending[n-1]
		first := last.begin()
		same := last.hit && !last.landing && !c.landing && last.since.IsZero() && c.since.IsZero() && last.stored == c.stored && !c.touch.campaign() &&
			!c.begin().Before(last.at) && c.at.Sub(first) < w.ledger.visitGap
		if !same && last.hit && n >= maxPending {
			w.ledger.stats.full.Add(1) // the page view is kept, and what led to it is not
			same = true
		}
		if same {
			last.first, last.at, last.times = first, later(last.at, c.at), last.times+c.times
			last.via, last.claim, last.undo = c.via, last.claim || c.claim, last.undo+c.undo
			return
		}
	}
	c.touch = c.touch.clone() // what a request has said must not be kept with all of it
	e.pending = append(e.pending, c)
}

// counts reports whether a change has something to do with page views: one that is counted,
// or one that was none.
func (c *change) counts() bool { return c.hit || c.undo > 0 }

// viewsOf returns by how many page views the store is wrong without the changes.
func viewsOf(changes []change) int64 {
	var n int64
	for _, c := range changes {
		if c.hit {
			n += max(1, c.times)
		}
		n -= c.undo
	}
	return max(n, -n)
}

// entry returns that of a session, a new one if need be; nil if there is no room.
func (w *writeBehind) entry(id ID) *entry {
	e := w.entries[id]
	if e == nil {
		if w.closed || len(w.entries) >= w.max {
			w.isFull()
			return nil
		}
		e = &entry{}
		w.entries[id] = e
	}
	return e
}

// isFull asks for a flush, which drops the entries that are not used any more.
func (w *writeBehind) isFull() {
	if time.Now().UnixNano()-w.flushed.Load() < int64(w.every/8) {
		return // it would find the same
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// learn keeps what the store has of a session, asked at a time.
func (w *writeBehind) learn(r Record, at time.Time) *entry {
	if since, ok := w.forgotten[r.ID]; ok && !at.After(since) {
		return nil
	}
	e := w.entry(r.ID)
	if e != nil && !at.Before(e.read) {
		e.stored, e.read = r, at
	}
	return e
}

// countRead counts plain changes of a session that the store was asked about.
func (w *writeBehind) countRead(r Record, at time.Time, changes []change) (Record, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.learn(r, at)
	if e == nil || e.held > 0 {
		return r, false
	}
	r = w.shown(e)
	for i := range changes {
		w.countOn(e, &r, &changes[i])
	}
	return r, true
}

// keep keeps the page views of changes that never got as far as the store.
func (w *writeBehind) keep(id ID, changes []change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.requeue(id, changes)
}

// requeue makes page views pending that were not, the oldest first.
func (w *writeBehind) requeue(id ID, changes []change) {
	if !slices.ContainsFunc(changes, func(c change) bool { return c.counts() }) {
		return
	}
	e := w.entry(id)
	if e == nil {
		dropped := &w.ledger.stats.full
		if w.closed {
			dropped = &w.ledger.stats.closed
		}
		dropped.Add(viewsOf(changes))
		return
	}
	behind := e.pending
	e.pending = nil
	for _, c := range slices.Concat(changes, behind) {
		if c.counts() {
			w.add(e, c)
		}
	}
	e.read = time.Time{} // why was it not saved? The store has to be asked
}

// take takes what is pending and uncertain of a session, for changes that are saved at
// once. What is uncertain stays in batches of its own; the last one has what is pending,
// and the changes. Whoever takes them calls release.
func (w *writeBehind) take(id ID, changes []change) (batches []*batch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	b := &batch{id: id}
	e := w.entry(id)
	if e == nil {
		b.changes = slices.Clone(changes)
		return []*batch{b}
	}
	b.changes, e.pending = append(e.pending, changes...), nil
	batches = append(e.uncertain, b)
	e.uncertain = nil
	e.writing = append(e.writing, batches...)
	return batches
}

// note registers a version that a batch is about to try.
func (w *writeBehind) note(b *batch, version int64) {
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
func (w *writeBehind) isSaved(b *batch) bool {
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

// saved takes note that the store has a batch, whose write replaced the version old by r.
func (w *writeBehind) saved(b *batch, old int64, r Record, at time.Time) {
	w.written.Add(1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if b.done { // forgotten meanwhile, or too late for Close
		return
	}
	w.end(b)
	e := w.entries[b.id]
	switch {
	case e == nil:
	case r.ID != b.id: // it was merged into another one
		e.stored, e.read = Record{}, time.Time{}
	case e.stored.Version == old && old != 0:
		e.stored, e.read = r, at
	case e.stored.Version != r.Version:
		e.read = time.Time{} // somebody has asked the store since: before or after?
	}
}

// release gives up batches that were taken or collected. Those that are not done become
// pending again, or uncertain.
func (w *writeBehind) release(batches []*batch, flush bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, b := range slices.Backward(batches) { // so that the oldest becomes the first
		e := w.entries[b.id]
		if e != nil {
			e.writing = slices.DeleteFunc(e.writing, func(o *batch) bool { return o == b })
			e.flushing = e.flushing && !flush
		}
		b.changes = slices.DeleteFunc(b.changes, func(c change) bool { return !c.counts() })
		switch {
		case b.done, len(b.changes) == 0:
			w.end(b)
		case len(b.tried) == 0:
			w.end(b)
			w.requeue(b.id, b.changes)
		default:
			if e = w.entry(b.id); e == nil {
				w.end(b)
				w.requeue(b.id, b.changes) // which counts them
				continue
			}
			for i := range b.changes {
				c := &b.changes[i]
				c.key, c.text, c.seen, c.touch = "", "", false, c.touch.clone()
			}
			e.uncertain = slices.Insert(e.uncertain, 0, b)
			e.read = time.Time{}
		}
	}
}

// forget drops what is known of a session, and batches of it that are being saved.
func (w *writeBehind) forget(id ID, batches ...*batch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, b := range batches {
		w.end(b)
	}
	if e := w.entries[id]; e != nil {
		for _, b := range slices.Concat(e.uncertain, e.writing) {
			w.end(b)
		}
		delete(w.entries, id)
	}
	w.forgotten[id] = time.Now()
}

// stale has the store asked about sessions.
func (w *writeBehind) stale(ids ...ID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range ids {
		if e := w.entries[id]; e != nil {
			e.read = time.Time{}
		}
	}
}

// hold keeps this node from counting a session's page views here until the returned
// function is called: they go to the store, whatever they are.
func (w *writeBehind) hold(id ID) (letGo func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.entry(id)
	if e == nil {
		return func() {}
	}
	e.held++
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		e.held--
	}
}

// update applies changes to a session: here, if they are plain, else in the store,
// with what is pending.
func (w *writeBehind) update(ctx context.Context, id ID, changes []change) (Record, error) {
	l, at := w.ledger, changes[0].at
	have, err := l.read(ctx, id, at)
	known := err == nil
	if known && !l.isOver(&have, at) && have.MergedInto.IsZero() &&
		!slices.ContainsFunc(changes, func(c change) bool { return !l.isPlain(&have, &c) }) {
		if r, ok := w.countRead(have, at, changes); ok {
			return r, nil
		}
	}
	var first *Record
	if known {
		first = &have
	}
	r, err := w.saveTaken(ctx, w.take(id, changes), first, at)
	if err != nil {
		return Record{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if e := w.learn(r, at); e != nil {
		r = w.shown(e)
	}
	return r, nil
}

// saveTaken saves batches that were taken, one after the other, and gives them up. The
// record that the first of them is to change may be known. It returns the record that the
// last one has made.
func (w *writeBehind) saveTaken(ctx context.Context, batches []*batch, have *Record, at time.Time) (r Record, err error) {
	defer w.release(batches, false) // also if the store panics
	for i, b := range batches {
		if i > 0 || len(b.tried) > 0 {
			have = nil // what was read is of before
		}
		var old int64
		if r, old, err = w.ledger.commitBatch(ctx, b, have); err != nil {
			if errors.Is(err, ErrForgotten) {
				w.forget(b.id, batches...)
			}
			return Record{}, err
		}
		w.saved(b, old, r, at)
	}
	return r, nil
}

// drain saves what is pending and uncertain of a session, which nobody could count later.
func (w *writeBehind) drain(ctx context.Context, id ID) error {
	for {
		w.mu.Lock()
		e := w.entries[id]
		waiting := e != nil && len(e.pending)+len(e.uncertain) > 0
		writing := e != nil && len(e.writing) > 0
		w.mu.Unlock()
		switch {
		case waiting:
			if _, err := w.saveTaken(ctx, w.take(id, nil), nil, time.Time{}); err != nil {
				return err
			}
		case writing: // by a flush, say
			sleep(ctx, 5*time.Millisecond)
		default:
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// A flushed batch is what one flush does with one session.
type flushedBatch struct {
	*batch
	change Change // what to save, if the store's record is known
	was    bool   // Confirmed, before
}

// flush saves what is pending, and drops what is not used any more. If the
// store does not answer, the rest waits for the next flush. It reports whether it
// has saved something.
func (w *writeBehind) flush(ctx context.Context) bool {
	all, before := w.collect(), w.written.Load()
	slices.SortFunc(all, func(a, b *flushedBatch) int { return bytes.Compare(a.id[:], b.id[:]) })
	batcher, _ := w.ledger.backing.(Batcher)
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
	return w.written.Load() > before
}

// collect takes what is to be saved out of the entries. What may have been saved
// before goes by itself.
func (w *writeBehind) collect() (all []*flushedBatch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	for id, since := range w.forgotten {
		if now.Sub(since) >= w.every {
			delete(w.forgotten, id)
		}
	}
	for id, e := range w.entries {
		f := &flushedBatch{}
		switch {
		case e.flushing:
			continue
		case len(e.uncertain) > 0:
			f.batch = e.uncertain[0]
			e.uncertain = e.uncertain[1:]
		case len(e.pending) > 0:
			f.batch = &batch{id: id, changes: e.pending}
			e.pending = nil
			if e.stored.Version != 0 {
				r := e.stored
				f.was = r.Confirmed
				for i := range f.changes {
					_, _ = w.ledger.apply(&r, &f.changes[i]) // no value, no error
				}
				r.Version = newVersion()
				f.change = Change{Record: r, Old: e.stored.Version}
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
func (w *writeBehind) saveTogether(ctx context.Context, store Batcher, part []*flushedBatch, begin time.Time) (left []*flushedBatch) {
	var known []*flushedBatch
	var changes []Change
	for _, f := range part {
		if f.change.Old == 0 {
			left = append(left, f)
			continue
		}
		known, changes = append(known, f), append(changes, f.change)
		w.note(f.batch, f.change.Record.Version)
	}
	if len(known) == 0 {
		return left
	}
	errs, err := callStore(w, ctx, flushLimit*w.ledger.timeout, func(ctx context.Context) ([]error, error) { return store.SaveAll(ctx, changes), nil })
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
			w.ledger.kept(f.was, &f.change.Record, f.changes)
			w.saved(f.batch, f.change.Old, f.change.Record, begin)
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
			w.ledger.count(one)
		}
		left = append(left, f)
	}
	return left
}

// saveEach saves batches one by one, some at a time, and reports whether the store
// answers.
func (w *writeBehind) saveEach(ctx context.Context, part []*flushedBatch, begin time.Time) bool {
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
			_, err := callStore(w, ctx, mergeLimit*w.ledger.timeout, func(ctx context.Context) (struct{}, error) {
				// Also if nobody waits for it any more: until then the batch is being written.
				defer w.release([]*batch{f.batch}, true)
				r, old, err := w.ledger.commitBatch(ctx, f.batch, nil)
				switch {
				case err == nil:
					w.saved(f.batch, old, r, begin)
				case errors.Is(err, ErrForgotten):
					w.forget(f.id, f.batch)
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
		value, err := protect(w.ledger, ctx, f)
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
	}
	// It ended in time, or gives up with its context.
	grace := time.NewTimer(w.ledger.timeout)
	defer grace.Stop()
	select {
	case r := <-done:
		return r.value, r.err
	case <-grace.C:
		var zero T
		return zero, ctx.Err()
	}
}

// observedStore is the ledger's store with a write-behind, which is told of each version
// that is read.
type observedStore struct {
	Store
	observe func(version int64)
}

func (s observedStore) Load(ctx context.Context, id ID) (Record, error) {
	r, err := s.Store.Load(ctx, id)
	if err == nil {
		s.observe(r.Version)
	}
	return r, err
}
