package ledger

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/revisit-go/revisit/internal/rules"
	"github.com/revisit-go/revisit/internal/touch"
	"github.com/revisit-go/revisit/store"
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
// The path of a page view: Ledger.Record tries count. If that refuses, the queue calls
// Ledger.Update, and so update, which counts it here (countRead) or saves it at once, with what
// is pending (take, saveTaken). The flush (flush.go) saves what is pending.
//
// The events, each a method, and what they do:
//
//	count      a page view of a visit under way, on an entry that is fresh     → pending
//	retract    page views counted before were redirects                        → pending, as so many less
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
//	stale      the session was merged: the store is asked again; its batches
//	           follow the alias
//	hold       the session is being renewed (renew.go): nothing is counted here
//	           until that is done
//	close      what could not be saved in time                                 → dropped
//
// A record to be saved is computed from what the store has and from one batch, never from
// what handlers are shown. Two writers of one session in this process (a flush and a Set,
// say) are kept apart by the store's compare-and-swap. What one of them may have written
// before its answer was lost, the other one observes: it must have read that version in
// order to replace it.
type writeBehind struct {
	rules    rules.Rules
	counters *Counters
	timeout  time.Duration // of a call of the store
	every    time.Duration

	// By start.
	records  *records
	updater  *updater
	notifier *notifier
	batcher  store.Batcher // nil if the store is none

	mu        sync.Mutex
	max       int // entries
	entries   map[store.ID]*entry
	tried     map[int64]*batch       // by version: writes whose result is not known yet
	forgotten map[store.ID]time.Time // by this node, within FlushEvery: what was read before is not learned
	closed    bool

	flushed      atomic.Int64 // when, in Unix nanoseconds
	batchesSaved atomic.Int64
	wake         chan struct{}
	busy         chan struct{} // a place for each call of the store that is under way
	quit         chan struct{}
	stopped      chan struct{}
	giveUp       func() // ends the flush that is under way
}

// An entry is what this node knows of a session, and the page views that the store does
// not have yet.
type entry struct {
	stored store.Record // as the store had it; Version is 0 if that is not known
	read   time.Time    // when the store was asked; zero if it has to be asked
	held   int          // how many keep this node from counting here

	pending   []rules.Change
	uncertain []*batch
	writing   []*batch
	flushing  bool // one of writing is a flush's
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

func newWriteBehind(r rules.Rules, counters *Counters, timeout, every time.Duration) *writeBehind {
	return &writeBehind{
		rules: r, counters: counters, timeout: timeout, every: every, max: maxEntries,
		entries: make(map[store.ID]*entry), tried: make(map[int64]*batch), forgotten: make(map[store.ID]time.Time),
		busy: make(chan struct{}, 2*flushers), wake: make(chan struct{}, 1), stopped: make(chan struct{}),
	}
}

// start begins to flush. The write-behind exists before the others, which declare what it
// knows out of date, so they are handed over here.
func (w *writeBehind) start(s *records, u *updater, n *notifier, b store.Batcher) {
	w.records, w.updater, w.notifier, w.batcher = s, u, n, b
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

// close flushes what is left, for flushLimit timeouts at most, and counts what could not be
// saved.
func (w *writeBehind) close() {
	close(w.quit)
	ctx, cancel := context.WithTimeout(context.Background(), flushLimit*w.timeout)
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
		w.counters.Closed.Add(viewsOf(e.pending))
		for _, b := range slices.Concat(e.uncertain, e.writing) {
			if !b.done {
				w.counters.Closed.Add(viewsOf(b.changes))
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

// count counts a change on an entry that is fresh, if it is plain.
func (w *writeBehind) count(id store.ID, c *rules.Change) (store.Record, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.entries[id]
	if e == nil || e.held > 0 || c.At.Sub(e.read) >= w.every {
		return store.Record{}, false
	}
	r := w.shown(e)
	if !w.rules.OnlyCounts(&r, c) {
		return store.Record{}, false
	}
	w.countOn(e, &r, c)
	return r, true
}

// countOn counts a plain change on an entry, and on the record that is shown of it.
func (w *writeBehind) countOn(e *entry, r *store.Record, c *rules.Change) {
	one := *c
	_, _ = w.rules.Apply(r, &one) // plain: no error
	if c.Counts() {
		one.Touch = store.Touch{} // of which nothing is to come
		w.add(e, one)
	}
}

// shown returns a session as handlers are to see it: with all its page views.
func (w *writeBehind) shown(e *entry) store.Record {
	r := e.stored
	apply := func(changes []rules.Change) {
		for _, c := range changes {
			if c.Counts() {
				_, _ = w.rules.Apply(&r, &c) // no value, no error
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
func (w *writeBehind) add(e *entry, c rules.Change) {
	c.Key, c.Text, c.NotCounted = "", "", false
	if !c.Hit {
		if n := len(e.pending); n > 0 {
			e.pending[n-1].Retracted += c.Retracted
			return
		}
		c.Touch = store.Touch{}
		e.pending = append(e.pending, c)
		return
	}
	c.Count = max(1, c.Count)
	if n := len(e.pending); n > 0 {
		last := &e.pending[n-1]
		first := last.Begin()
		same := last.Hit && !last.BeforeConsent && !c.BeforeConsent && last.UnlessHitSince.IsZero() && c.UnlessHitSince.IsZero() && last.StoredToken == c.StoredToken && !touch.IsCampaign(&c.Touch) &&
			!c.Begin().Before(last.At) && c.At.Sub(first) < w.rules.VisitGap
		if !same && last.Hit && n >= maxPending {
			w.counters.Full.Add(1) // the page view is kept, and what led to it is not
			same = true
		}
		if same {
			last.First, last.At, last.Count = first, rules.Later(last.At, c.At), last.Count+c.Count
			last.Via, last.TokenReturned, last.Retracted = c.Via, last.TokenReturned || c.TokenReturned, last.Retracted+c.Retracted
			return
		}
	}
	c.Touch = touch.Clone(c.Touch) // what a request has said must not be kept with all of it
	e.pending = append(e.pending, c)
}

// entry returns that of a session, a new one if need be; nil if there is no room.
func (w *writeBehind) entry(id store.ID) *entry {
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
func (w *writeBehind) learn(r store.Record, at time.Time) *entry {
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
func (w *writeBehind) countRead(r store.Record, at time.Time, changes []rules.Change) (store.Record, bool) {
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
func (w *writeBehind) keep(id store.ID, changes []rules.Change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.requeue(id, changes)
}

// requeue makes page views pending that were not, the oldest first.
func (w *writeBehind) requeue(id store.ID, changes []rules.Change) {
	if !slices.ContainsFunc(changes, func(c rules.Change) bool { return c.Counts() }) {
		return
	}
	e := w.entry(id)
	if e == nil {
		dropped := &w.counters.Full
		if w.closed {
			dropped = &w.counters.Closed
		}
		dropped.Add(viewsOf(changes))
		return
	}
	behind := e.pending
	e.pending = nil
	for _, c := range slices.Concat(changes, behind) {
		if c.Counts() {
			w.add(e, c)
		}
	}
	e.read = time.Time{} // why was it not saved? The store has to be asked
}

// take takes what is pending and uncertain of a session, for changes that are saved at
// once. What is uncertain stays in batches of its own; the last one has what is pending,
// and the changes. Whoever takes them calls release.
func (w *writeBehind) take(id store.ID, changes []rules.Change) (batches []*batch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	b := &batch{in: w, id: id}
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

// written takes note that the store has a batch, whose write replaced the version old by r.
func (w *writeBehind) written(b *batch, old int64, r store.Record, at time.Time) {
	w.batchesSaved.Add(1)
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
		e.stored, e.read = store.Record{}, time.Time{}
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
		b.changes = slices.DeleteFunc(b.changes, func(c rules.Change) bool { return !c.Counts() })
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
				c.Key, c.Text, c.NotCounted, c.Touch = "", "", false, touch.Clone(c.Touch)
			}
			e.uncertain = slices.Insert(e.uncertain, 0, b)
			e.read = time.Time{}
		}
	}
}

// forget drops what is known of a session, and batches of it that are being saved.
func (w *writeBehind) forget(id store.ID) { w.forgetWith(id) }

func (w *writeBehind) forgetWith(id store.ID, batches ...*batch) {
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
func (w *writeBehind) stale(ids ...store.ID) {
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
func (w *writeBehind) hold(id store.ID) (letGo func()) {
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
func (w *writeBehind) update(ctx context.Context, id store.ID, changes []rules.Change) (store.Record, error) {
	at := changes[0].At
	have, err := w.records.read(ctx, id, at)
	known := err == nil
	if known && !w.rules.IsOver(&have, at) && have.MergedInto.IsZero() &&
		!slices.ContainsFunc(changes, func(c rules.Change) bool { return !w.rules.OnlyCounts(&have, &c) }) {
		if r, ok := w.countRead(have, at, changes); ok {
			return r, nil
		}
	}
	var first *store.Record
	if known {
		first = &have
	}
	r, err := w.saveTaken(ctx, w.take(id, changes), first, at)
	if err != nil {
		return store.Record{}, err
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
func (w *writeBehind) saveTaken(ctx context.Context, batches []*batch, have *store.Record, at time.Time) (r store.Record, err error) {
	defer w.release(batches, false) // also if the store panics
	for i, b := range batches {
		if i > 0 || len(b.tried) > 0 {
			have = nil // what was read is of before
		}
		var old int64
		if r, old, err = w.updater.commitBatch(ctx, b, have); err != nil {
			if errors.Is(err, ErrForgotten) {
				w.forgetWith(b.id, batches...)
			}
			return store.Record{}, err
		}
		w.written(b, old, r, at)
	}
	return r, nil
}

// drain saves what is pending and uncertain of a session, which nobody could count later.
func (w *writeBehind) drain(ctx context.Context, id store.ID) error {
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
