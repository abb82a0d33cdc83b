package ledger

import (
	"context"
	"sync"
	"time"

	"github.com/revisit-go/revisit/internal/rules"
	"github.com/revisit-go/revisit/store"
)

// A queue has one writer at a time work on a session, which folds in the changes that
// wait: twenty parallel hits on a store of 5 ms take two rounds, not twenty.
type queue struct {
	runner *runner
	apply  func(ctx context.Context, id store.ID, changes []rules.Change) (store.Record, error)
	missed func(error) // is called for a change that was not made, and whose result nobody wants

	mu      sync.Mutex
	writers map[store.ID]*writer
}

// A writer works on one session. It is there as long as tasks wait.
type writer struct{ waiting []task }

// A task is a change, and where its result goes; nil if nobody wants it.
type task struct {
	change rules.Change
	done   chan<- result[store.Record]
}

// maxWaiting bounds how many tasks wait for one session.
const maxWaiting = 1024

func newQueue(r *runner, apply func(context.Context, store.ID, []rules.Change) (store.Record, error), missed func(error)) *queue {
	return &queue{runner: r, apply: apply, missed: missed, writers: make(map[store.ID]*writer)}
}

// do adds a change and waits for its result, for so long at most. If it was not queued, an
// error says why.
func (q *queue) do(ctx context.Context, id store.ID, c rules.Change, wait time.Duration) (r store.Record, queued bool, err error) {
	ctx, cancel := detached(ctx, wait)
	defer cancel()
	done := make(chan result[store.Record], 1)
	if err := q.add(ctx, id, task{c, done}); err != nil {
		return store.Record{}, false, err
	}
	select {
	case o := <-done:
		return o.value, true, o.err
	case <-ctx.Done():
		return store.Record{}, true, ctx.Err()
	}
}

// add gives the task to the writer of the session, and starts one if there
// is none.
func (q *queue) add(ctx context.Context, id store.ID, t task) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if w, ok := q.writers[id]; ok {
		if len(w.waiting) >= maxWaiting {
			return errBusy
		}
		w.waiting = append(w.waiting, t)
		return nil
	}
	if !q.runner.begin() {
		return errBusy
	}
	w := &writer{waiting: []task{t}}
	q.writers[id] = w
	go q.work(ctx, id, w)
	return nil
}

// work goes on until no task waits.
func (q *queue) work(ctx context.Context, id store.ID, w *writer) {
	finished := false
	defer func() {
		if !finished { // a store that ends its goroutine, as a test's FailNow does
			q.mu.Lock()
			delete(q.writers, id)
			q.mu.Unlock()
		}
		q.runner.leave()
	}()
	for {
		q.mu.Lock()
		tasks := w.waiting
		w.waiting = nil
		if len(tasks) == 0 {
			delete(q.writers, id)
			finished = true
			q.mu.Unlock()
			return
		}
		q.mu.Unlock()

		changes := make([]rules.Change, len(tasks))
		for i, t := range tasks {
			changes[i] = t.change
		}
		var o result[store.Record]
		ctx, cancel := detached(ctx, q.runner.timeout)
		o.value, o.err = protect(q.runner.counters, ctx, func(ctx context.Context) (store.Record, error) { return q.apply(ctx, id, changes) })
		cancel()
		for _, t := range tasks {
			if t.done == nil {
				q.missed(o.err)
				continue
			}
			t.done <- o
		}
	}
}
