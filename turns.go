package revisit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// turns is how requests get at a store that may be slow, or hang. A request
// waits for Config.StoreTimeout at most, whatever the store does; and in one
// process one writer at a time works on a session, and folds in those that
// wait: twenty parallel hits on a store of 5 ms take two rounds, not twenty.
//
// A store that never blocks (the memory store) needs none of it.
type turns struct {
	busy chan struct{} // a place for each goroutine that uses the store
	over *atomic.Bool  // Close was called

	mu      sync.Mutex
	writers map[ID]*writer
}

// A writer works on one session. It is there as long as somebody waits.
type writer struct{ waiting []job }

// A job is a change with somebody who waits for what comes of it, or nobody.
type job struct {
	change change
	done   chan<- outcome
}

type outcome struct {
	record Record
	err    error
}

const (
	// maxUnderWay bounds the goroutines that a store which hangs can hold.
	maxUnderWay = 4096
	// maxWaiting bounds who waits for one session.
	maxWaiting = 1024
)

var (
	errBusy = errors.New("revisit: too many operations of the store are under way")
	// errEndedItself is for a function of the application that ends its goroutine, as a
	// test's FailNow does.
	errEndedItself = errors.New("revisit: the store, or a function of Config, has ended its goroutine")
)

func newTurns() turns {
	return turns{busy: make(chan struct{}, maxUnderWay), over: new(atomic.Bool), writers: make(map[ID]*writer)}
}

// begin takes a place without waiting for one.
func (t *turns) begin() bool {
	if t.over.Load() {
		return false
	}
	select {
	case t.busy <- struct{}{}:
		return true
	default:
		return false
	}
}

func (t *turns) leave() { <-t.busy }

// idle waits until nothing is under way, d at most. Nothing begins afterwards.
func (t *turns) idle(d time.Duration) {
	defer t.over.Store(true)
	timer := time.NewTimer(d)
	defer timer.Stop()
	for range cap(t.busy) {
		select {
		case t.busy <- struct{}{}:
		case <-timer.C:
			return
		}
	}
}

// left returns what is left of the time that a request waits.
func (l *ledger) left(begin time.Time) time.Duration { return l.timeout - time.Since(begin) }

// record applies a change to the session of id and returns what it is then. It
// waits for so long at most.
func (l *ledger) record(ctx context.Context, id ID, c *[1]change, wait time.Duration) (Record, error) {
	if l.memory != nil {
		return l.commit(context.Background(), id, c[:])
	}
	if l.writeBehind != nil {
		if r, ok := l.writeBehind.count(id, &c[0]); ok {
			return r, nil
		}
	}
	ctx, cancel := l.deadline(ctx, wait)
	defer cancel()
	done := make(chan outcome, 1)
	if err := l.enqueue(ctx, id, job{c[0], done}); err != nil {
		l.park(id, c)
		return Record{}, err
	}
	select {
	case o := <-done:
		return o.record, o.err
	case <-ctx.Done():
		return Record{}, ctx.Err()
	}
}

// recordLater is record for a change that nobody waits for. It comes before what is
// recorded of the same session afterwards.
func (l *ledger) recordLater(ctx context.Context, id ID, c *change) {
	if l.memory != nil {
		_, err := l.commit(context.Background(), id, []change{*c})
		l.missed(err)
		return
	}
	if l.writeBehind != nil {
		if _, ok := l.writeBehind.count(id, c); ok {
			return
		}
	}
	if err := l.enqueue(ctx, id, job{change: *c}); err != nil && !l.park(id, &[1]change{*c}) {
		l.missed(err)
	}
}

// missed counts a change that was not made, and that nobody waits for. The write-behind
// keeps such a change, and counts what it cannot keep.
func (l *ledger) missed(err error) {
	if err != nil && !errors.Is(err, ErrForgotten) && l.writeBehind == nil {
		l.stats.drop(err)
	}
}

// mergeLimit is how many times StoreTimeout a merge may take, which is a few
// writes. The request does not wait that long.
const mergeLimit = 4

// settle applies changes to a session.
func (l *ledger) settle(ctx context.Context, id ID, changes []change) (Record, error) {
	if l.writeBehind != nil {
		return l.writeBehind.update(ctx, id, changes)
	}
	return l.commit(ctx, id, changes)
}

// park keeps a page view that did not get to the store, and reports whether it
// could.
func (l *ledger) park(id ID, c *[1]change) bool {
	if l.writeBehind == nil {
		return false
	}
	l.writeBehind.keep(id, c[:])
	return true
}

// agreeWithin is agree with the deadline of a request, which waits for it half of
// the time: the rest is for what the request does itself.
func (l *ledger) agreeWithin(ctx context.Context, claims []claim, permission Permission) (agreement, error) {
	several := slices.Clone(claims)
	return withinFor(l, ctx, l.timeout/2, mergeLimit*l.timeout, func(ctx context.Context) (agreement, error) { return l.agree(ctx, several, permission) })
}

// enqueue gives the job to the writer of the session, and starts one if there
// is none.
func (l *ledger) enqueue(ctx context.Context, id ID, j job) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w, ok := l.writers[id]; ok {
		if len(w.waiting) >= maxWaiting {
			return errBusy
		}
		w.waiting = append(w.waiting, j)
		return nil
	}
	if !l.begin() {
		return errBusy
	}
	w := &writer{waiting: []job{j}}
	l.writers[id] = w
	go l.work(ctx, id, w)
	return nil
}

// work goes on until nobody waits.
func (l *ledger) work(ctx context.Context, id ID, w *writer) {
	finished := false
	defer func() {
		if !finished { // a store that ends its goroutine, as a test's FailNow does
			l.mu.Lock()
			delete(l.writers, id)
			l.mu.Unlock()
		}
		l.leave()
	}()
	for {
		l.mu.Lock()
		jobs := w.waiting
		w.waiting = nil
		if len(jobs) == 0 {
			delete(l.writers, id)
			finished = true
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()

		changes := make([]change, len(jobs))
		for i, j := range jobs {
			changes[i] = j.change
		}
		var o outcome
		ctx, cancel := l.deadline(ctx, l.timeout)
		o.record, o.err = protect(l, ctx, func(ctx context.Context) (Record, error) { return l.settle(ctx, id, changes) })
		cancel()
		for _, j := range jobs {
			if j.done == nil {
				l.missed(o.err)
				continue
			}
			j.done <- o
		}
	}
}

// within runs f, which uses the store, and waits for it for StoreTimeout. f must
// not touch what belongs to the request: it may go on after it.
func within[T any](l *ledger, ctx context.Context, f func(context.Context) (T, error)) (T, error) {
	return withinFor(l, ctx, l.timeout, l.timeout, f)
}

// patiently is within for what the application asks for: it may take many writes, and is
// waited for as long as ctx lasts. It goes on behind whoever waits no longer.
func patiently[T any](l *ledger, ctx context.Context, f func(context.Context) (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		r := result{err: errEndedItself}
		defer func() { done <- r }()
		r.value, r.err = protect(l, ctx, func(ctx context.Context) (T, error) {
			return withinFor(l, ctx, l.forgetTime(), l.forgetTime(), f)
		})
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var zero T
		return zero, ctx.Err()
	}
}

// withinFor is within for work that may take longer than the request waits.
func withinFor[T any](l *ledger, ctx context.Context, wait, limit time.Duration, f func(context.Context) (T, error)) (T, error) {
	if l.memory != nil {
		return f(context.Background())
	}
	type result struct {
		value T
		err   error
	}
	var zero T
	if !l.begin() {
		return zero, errBusy
	}
	done := make(chan result, 1)
	go func() {
		defer l.leave()
		ctx, cancel := l.deadline(ctx, limit)
		defer cancel()
		value, err := protect(l, ctx, f)
		done <- result{value, err}
	}()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case r := <-done:
		return r.value, r.err
	case <-timer.C:
		return zero, context.DeadlineExceeded
	}
}

// behind runs f, which uses the store, and waits for nothing. What it cannot do is
// counted.
func (l *ledger) behind(ctx context.Context, f func(context.Context) error) {
	do := func(ctx context.Context) (struct{}, error) { return struct{}{}, f(ctx) }
	drop := func(err error) {
		if err != nil {
			l.stats.drop(err)
		}
	}
	if l.memory != nil {
		_, err := do(context.Background())
		drop(err)
		return
	}
	if !l.begin() {
		drop(errBusy)
		return
	}
	go func() {
		defer l.leave()
		ctx, cancel := l.deadline(ctx, l.timeout)
		defer cancel()
		_, err := protect(l, ctx, do)
		drop(err)
	}()
}

// protect makes an error of a panic in the store: in a goroutine of ours it
// would end the process.
func protect[T any](l *ledger, ctx context.Context, f func(context.Context) (T, error)) (value T, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("revisit: the store has panicked: %v", p)
			l.count(err)
		}
	}()
	return f(ctx)
}

// deadline returns a context for the store: the values of ctx, but not its end.
// A client that goes away does not take back that it was here.
func (l *ledger) deadline(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), d)
}
