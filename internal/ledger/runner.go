package ledger

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// A runner runs what uses a store that may be slow, or hang: a request
// waits for Config.Timeout at most, whatever the store does.
//
// A store that never blocks (the memory store) needs none of it.
type runner struct {
	direct   bool // the store never blocks
	timeout  time.Duration
	counters *Counters

	busy   chan struct{} // a place for each goroutine that uses the store
	closed atomic.Bool
}

// maxUnderWay bounds the goroutines that a store which hangs can hold.
const maxUnderWay = 4096

var (
	errBusy = errors.New("revisit: too many operations of the store are under way")
	// errEndedItself is for a function of the application that ends its goroutine, as a
	// test's FailNow does.
	errEndedItself = errors.New("revisit: the store, or a function of Config, has ended its goroutine")
)

func newRunner(direct bool, timeout time.Duration, counters *Counters) *runner {
	return &runner{direct: direct, timeout: timeout, counters: counters, busy: make(chan struct{}, maxUnderWay)}
}

// begin takes a place without waiting for one.
func (r *runner) begin() bool {
	if r.closed.Load() {
		return false
	}
	select {
	case r.busy <- struct{}{}:
		return true
	default:
		return false
	}
}

func (r *runner) leave() { <-r.busy }

// close waits until nothing is under way, timeout at most. Nothing begins afterwards.
func (r *runner) close() {
	defer r.closed.Store(true)
	timer := time.NewTimer(r.timeout)
	defer timer.Stop()
	for range cap(r.busy) {
		select {
		case r.busy <- struct{}{}:
		case <-timer.C:
			return
		}
	}
}

type result[T any] struct {
	value T
	err   error
}

// runWithin runs f, which uses the store and may take up to limit, and waits for it for
// up to wait. f must not touch what belongs to the request: it may go on after it.
func runWithin[T any](r *runner, ctx context.Context, wait, limit time.Duration, f func(context.Context) (T, error)) (T, error) {
	if r.direct {
		return f(context.Background())
	}
	var zero T
	if !r.begin() {
		return zero, errBusy
	}
	done := make(chan result[T], 1)
	go func() {
		defer r.leave()
		ctx, cancel := detached(ctx, limit)
		defer cancel()
		value, err := protect(r.counters, ctx, f)
		done <- result[T]{value, err}
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

// runAndWait is runWithin for what the application asks for: it may take many writes, and is
// waited for as long as ctx lasts. It goes on after that.
func runAndWait[T any](r *runner, ctx context.Context, limit time.Duration, f func(context.Context) (T, error)) (T, error) {
	done := make(chan result[T], 1)
	go func() {
		res := result[T]{err: errEndedItself}
		defer func() { done <- res }()
		res.value, res.err = protect(r.counters, ctx, func(ctx context.Context) (T, error) { return runWithin(r, ctx, limit, limit, f) })
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var zero T
		return zero, ctx.Err()
	}
}

// runDetached runs f, which uses the store, in the background. It counts what f cannot do.
func runDetached(r *runner, ctx context.Context, f func(context.Context) error) {
	if r.direct {
		r.counters.Drop(f(context.Background()))
		return
	}
	if !r.begin() {
		r.counters.Drop(errBusy)
		return
	}
	go func() {
		defer r.leave()
		ctx, cancel := detached(ctx, r.timeout)
		defer cancel()
		_, err := protect(r.counters, ctx, func(ctx context.Context) (struct{}, error) { return struct{}{}, f(ctx) })
		r.counters.Drop(err)
	}()
}

// protect makes an error of a panic in the store: in a goroutine of ours it
// would end the process.
func protect[T any](c *Counters, ctx context.Context, f func(context.Context) (T, error)) (value T, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("revisit: the store has panicked: %v", p)
			c.storeFailed(err)
		}
	}()
	return f(ctx)
}

// detached returns a context for the store: the values of ctx, but not its end.
// A client that goes away does not take back that it was here.
func detached(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), d)
}
