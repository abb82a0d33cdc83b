// Package ledger keeps the sessions: it changes, confirms, merges, renews and forgets them, and
// finds them by fingerprint, on nothing but a store.Store. It knows nothing of HTTP. What a
// change makes of a record, package rules says; this one sees to it that a change happens
// once, whoever else is at work and whatever the store does.
//
// Each file is one collaborator:
//
//	records.go      load and compare-and-swap, with lost answers
//	update.go       changes of one session
//	merge.go        two sessions become one
//	aliases.go      finds the sessions that were merged into one
//	forget.go       forgets a session and its aliases; tombstones.go has what takes their place
//	renew.go        ends a session's tokens
//	fingerprint.go  finds sessions by what requests look like; salts.go its salts
//	queue.go        one writer a session; runner.go bounds how long a request waits
//	writebehind.go  pending page views; batch.go those on their way; flush.go saves them
//	notify.go       calls the application's functions
//	counters.go     what is counted
package ledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/revisit-go/revisit/internal/memstore"
	"github.com/revisit-go/revisit/internal/rules"
	"github.com/revisit-go/revisit/store"
)

var (
	// ErrForgotten is returned for a session that the visitor has had forgotten.
	ErrForgotten = errors.New("revisit: the session was forgotten")
	// ErrApart is returned for sessions that cannot be merged.
	ErrApart = errors.New("revisit: these sessions are not merged")

	errEnded   = fmt.Errorf("%w: its lifetime is over", ErrForgotten)
	errCorrupt = errors.New("revisit: an alias points to a younger session")
)

// Config is what a Ledger is made from.
type Config struct {
	Store      store.Store
	Memory     *memstore.Store // the same, if it is one: it never blocks, and needs no deadline
	Rules      rules.Rules
	Timeout    time.Duration // how long a request waits for the store
	FlushEvery time.Duration // 0: no write-behind. There is none for a memory store
	Hooks      Hooks
	Counters   *Counters
	Logger     *slog.Logger
}

// A Ledger keeps the sessions of one store. It is safe for concurrent use.
type Ledger struct {
	rules    rules.Rules
	memory   *memstore.Store
	counters *Counters

	records      *records
	runner       *runner
	queue        *queue
	updater      *updater
	merger       *merger
	aliases      *aliasFinder
	eraser       *eraser
	renewer      *renewer
	fingerprints *fingerprintIndex
	notifier     *notifier
	writeBehind  *writeBehind // nil without FlushEvery
	lister       store.Lister // nil if the store is none
}

// New returns a Ledger. Its goroutines end with Close.
func New(c Config) *Ledger {
	c.Counters.logger = c.Logger
	l := &Ledger{rules: c.Rules, memory: c.Memory, counters: c.Counters}
	l.records = &records{store: c.Store, memory: c.Memory, rules: c.Rules, counters: c.Counters}
	var cached cache = noCache{}
	if c.FlushEvery > 0 && c.Memory == nil {
		l.writeBehind = newWriteBehind(c.Rules, c.Counters, c.Timeout, c.FlushEvery)
		l.records.store = observedStore{c.Store, l.writeBehind.observe}
		cached = l.writeBehind
	}
	indexer, _ := c.Store.(store.Indexer)
	l.lister, _ = c.Store.(store.Lister)
	l.runner = newRunner(c.Memory != nil, c.Timeout, c.Counters)
	l.notifier = newNotifier(c.Hooks, l.records, l.runner, cached)
	l.aliases = &aliasFinder{l.records, indexer}
	graves := &tombstones{l.records, l.aliases, l.notifier, cached, c.Logger}
	l.merger = &merger{l.records, l.aliases, graves, l.notifier, cached}
	l.updater = &updater{l.records, l.merger, l.notifier}
	l.eraser = &eraser{l.records, l.aliases, graves}
	l.renewer = &renewer{l.records, l.merger, l.writeBehind}
	l.fingerprints = newFingerprintIndex(l.records)
	l.queue = newQueue(l.runner, l.Update, l.missed)
	if l.writeBehind != nil {
		batcher, _ := c.Store.(store.Batcher)
		l.writeBehind.start(l.records, l.updater, l.notifier, batcher)
	}
	return l
}

// Close waits until what is under way has ended, for Config.Timeout at most, saves what is
// pending, for twenty times that at most, and calls the hooks for what is left.
func (l *Ledger) Close() {
	l.runner.close()
	if l.writeBehind != nil {
		l.writeBehind.close()
	}
	l.notifier.close()
	l.fingerprints.close()
}

// Buffers reports whether page views of a visit under way are saved in batches. Then a page
// view whose write fails is kept, and is counted if it has to be dropped.
func (l *Ledger) Buffers() bool { return l.writeBehind != nil }

// NotifiesHits reports whether somebody wants to know of each page view.
func (l *Ledger) NotifiesHits() bool { return l.notifier.hits != nil }

// A cache has records that others have to declare out of date.
type cache interface {
	stale(ids ...store.ID) // has the store asked again
	forget(id store.ID)
}

type noCache struct{}

func (noCache) stale(...store.ID) {}
func (noCache) forget(store.ID)   {}

// FastPath handles the common case: the token of a confirmed session in a memory store,
// whose visit goes on, with a request that brings nothing but itself. Into is what the session
// is then. Not ok is any other case, and nothing has happened. TestFastPath holds it to Record.
// (That the session's lifetime is not over, the token has shown.)
func (l *Ledger) FastPath(into *memstore.Slot, c *rules.Claim, at time.Time, hit bool, isCampaign func() bool) (ok bool) {
	if l.memory == nil || l.NotifiesHits() || hit && isCampaign() {
		return false
	}
	return l.memory.Continue(into, c.ID, c.Via, at, hit, l.rules.VisitGap)
}

// NewSession returns the record of a new session, which is not saved.
func (l *Ledger) NewSession(c *rules.Change) store.Record { return l.rules.NewSession(c) }

// Create saves a new session. It returns ErrForgotten if a tombstone is there.
func (l *Ledger) Create(ctx context.Context, r *store.Record) (store.Record, error) {
	// runWithin would do for both, but its closure costs each new visitor a record
	// on the heap.
	if l.memory != nil {
		return l.updater.create(context.Background(), *r)
	}
	record := *r
	return runWithin(l.runner, ctx, l.runner.timeout, l.runner.timeout, func(ctx context.Context) (store.Record, error) {
		return l.updater.create(ctx, record)
	})
}

// Record applies a change to the session of id and returns what it is then. It
// waits for so long at most. With a write-behind a change that was not saved in time is kept.
func (l *Ledger) Record(ctx context.Context, id store.ID, c *[1]rules.Change, wait time.Duration) (store.Record, error) {
	if l.memory != nil {
		return l.updater.commit(context.Background(), id, c[:])
	}
	if l.writeBehind != nil {
		if r, ok := l.writeBehind.count(id, &c[0]); ok {
			return r, nil
		}
	}
	r, queued, err := l.queue.do(ctx, id, c[0], wait)
	if !queued {
		l.keep(id, c)
	}
	return r, err
}

// RecordLater is Record for a change whose result nobody wants. It comes before what is
// recorded of the same session afterwards.
func (l *Ledger) RecordLater(ctx context.Context, id store.ID, c *rules.Change) {
	if l.memory != nil {
		_, err := l.updater.commit(context.Background(), id, []rules.Change{*c})
		l.missed(err)
		return
	}
	if l.writeBehind != nil {
		if _, ok := l.writeBehind.count(id, c); ok {
			return
		}
	}
	if err := l.queue.add(ctx, id, task{change: *c}); err != nil && !l.keep(id, &[1]rules.Change{*c}) {
		l.missed(err)
	}
}

// missed counts a change that was not made, and whose result nobody wants. The write-behind
// keeps such a change, and counts what it cannot keep.
func (l *Ledger) missed(err error) {
	if l.writeBehind == nil {
		l.counters.Drop(err)
	}
}

// keep keeps a page view that did not get to the store, and reports whether it
// could.
func (l *Ledger) keep(id store.ID, c *[1]rules.Change) bool {
	if l.writeBehind == nil {
		return false
	}
	l.writeBehind.keep(id, c[:])
	return true
}

// Unresolved takes note that the claims of a page view were not resolved because of err. With
// a write-behind the page view is kept for the session of id, unless that is not trusted.
func (l *Ledger) Unresolved(id store.ID, trusted bool, c *[1]rules.Change, err error) {
	if errors.Is(err, ErrForgotten) || l.writeBehind == nil {
		return // without a write-behind the caller counts it
	}
	if !trusted || !l.keep(id, c) {
		l.counters.Drop(err)
	}
}

// Update applies changes to a session.
func (l *Ledger) Update(ctx context.Context, id store.ID, changes []rules.Change) (store.Record, error) {
	if l.writeBehind != nil {
		return l.writeBehind.update(ctx, id, changes)
	}
	return l.updater.commit(ctx, id, changes)
}

// SetValue applies the change of a value, and waits for it.
func (l *Ledger) SetValue(ctx context.Context, id store.ID, c rules.Change) (store.Record, error) {
	return runWithin(l.runner, ctx, l.runner.timeout, l.runner.timeout, func(ctx context.Context) (store.Record, error) {
		return l.Update(ctx, id, []rules.Change{c})
	})
}

// mergeLimit is how many times Config.Timeout a merge may take, which is a few
// writes. The request does not wait that long.
const mergeLimit = 4

// Resolve decides which session the claims of a request speak for, and merges those that may
// be merged: see merger.resolve. The request waits for it half of its time: the rest is for
// what the request does itself.
func (l *Ledger) Resolve(ctx context.Context, claims []rules.Claim, restore bool) (Resolution, error) {
	several := append([]rules.Claim(nil), claims...)
	return runWithin(l.runner, ctx, l.runner.timeout/2, mergeLimit*l.runner.timeout, func(ctx context.Context) (Resolution, error) {
		return l.merger.resolve(ctx, several, restore)
	})
}

// Left returns what is left of the time that a request waits, which began at begin.
func (l *Ledger) Left(begin time.Time) time.Duration { return l.runner.timeout - time.Since(begin) }

// Timeout returns how long a request waits for the store.
func (l *Ledger) Timeout() time.Duration { return l.runner.timeout }

// Merge makes two sessions one because the application says so, and returns the session that
// both are then.
func (l *Ledger) Merge(ctx context.Context, a, b store.ID) (store.Record, error) {
	root, err := l.runForApplication(ctx, func(ctx context.Context) (store.Record, error) { return l.merger.mergeKnown(ctx, a, b) })
	if err == nil && l.rules.IsOver(&root, time.Now()) {
		err = ErrForgotten // meanwhile
	}
	return root, err
}

// Renew has a session's tokens recognise nobody from now on.
func (l *Ledger) Renew(ctx context.Context, id store.ID) error {
	_, err := l.runForApplication(ctx, func(ctx context.Context) (store.Record, error) { return store.Record{}, l.renewer.renew(ctx, id) })
	return err
}

// Export returns the record of a session, or of the one that it was merged into, and those
// that were merged into it.
func (l *Ledger) Export(ctx context.Context, id store.ID) (session store.Record, merged []store.Record, err error) {
	type found struct {
		session store.Record
		merged  []store.Record
	}
	all, err := runAndWait(l.runner, ctx, l.forgetTime(), func(ctx context.Context) (all found, err error) {
		all.session, all.merged, err = l.aliases.all(ctx, id)
		return all, err
	})
	return all.session, all.merged, err
}

// Forget replaces a session, and all that were merged into it, by tombstones.
func (l *Ledger) Forget(ctx context.Context, id store.ID) error {
	_, err := l.runForApplication(ctx, func(ctx context.Context) (store.Record, error) {
		return store.Record{}, l.eraser.forgetClaim(ctx, rules.Claim{ID: id})
	})
	return err
}

// ForgetClaim is Forget at the request of whoever has presented a claim. It waits for so long
// at most, and goes on behind that.
func (l *Ledger) ForgetClaim(ctx context.Context, c rules.Claim, wait time.Duration) error {
	_, err := runWithin(l.runner, ctx, wait, l.forgetTime(), func(ctx context.Context) (store.Record, error) {
		return store.Record{}, l.eraser.forgetClaim(ctx, c)
	})
	return err
}

// forgetLimit is how many times Config.Timeout it may take to forget a session,
// which is a few writes for each session that was merged into it. A request does
// not wait that long.
const forgetLimit = 20

// forgetTime is how long it may take to forget a session, or whatever else the application
// asks for. One call of Hooks.OnForget has its time in it: what was done then is done, and
// the next attempt goes on from there.
func (l *Ledger) forgetTime() time.Duration {
	if l.notifier.onForget != nil {
		return forgetLimit*l.runner.timeout + hookTimeout
	}
	return forgetLimit * l.runner.timeout
}

func (l *Ledger) runForApplication(ctx context.Context, f func(context.Context) (store.Record, error)) (store.Record, error) {
	return runAndWait(l.runner, ctx, l.forgetTime(), f)
}

// NotifyMerges calls Hooks.OnMerge for all merges in the store that it has not returned nil
// for. It returns the first error of the store, or those of OnMerge, joined.
func (l *Ledger) NotifyMerges(ctx context.Context) error {
	if l.notifier.onMerge == nil || l.lister == nil {
		return errors.New("revisit: NotifyMerges needs Config.OnMerge and a Store that is a Lister")
	}
	return l.notifier.notifyAllMerges(ctx, l.lister)
}
