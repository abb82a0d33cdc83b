package ledger

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/revisit-go/revisit/internal/rules"
	"github.com/revisit-go/revisit/internal/touch"
	"github.com/revisit-go/revisit/store"
)

// Hooks are the application's functions, nil for none: see revisit.Config.
type Hooks struct {
	OnHit    func(context.Context, Hit)
	OnMerge  func(ctx context.Context, from, into store.ID) error
	OnForget func(ctx context.Context, id store.ID) error
}

// A Hit is what OnHit is called with: see revisit.Hit.
type Hit struct {
	Session store.Record
	Count   int64
	Time    time.Time
	Touch   store.Touch
}

// A notifier calls the application's functions: OnHit for page views that are in the store,
// OnMerge for merges until it has returned nil, OnForget before a session is replaced by a
// tombstone.
type notifier struct {
	*records
	runner *runner
	cache  cache

	onHit    func(context.Context, Hit)
	onMerge  func(ctx context.Context, from, into store.ID) error
	onForget func(ctx context.Context, id store.ID) error

	hits chan Hit // for the one goroutine that calls onHit; nil without one
	quit chan struct{}
	done chan struct{}
	stop func() // ends the context of onHit

	places    chan struct{} // for the goroutines that call onMerge
	group     sync.WaitGroup
	mu        sync.Mutex
	notifying map[store.ID]attempt // by session
	closed    bool                 // nothing is called any more
}

// An attempt to notify of a session's merges.
type attempt struct {
	fails    int
	next     time.Time
	underWay bool
}

const (
	// maxHits is how many hits wait for OnHit. Those that come then are dropped.
	maxHits = 4096
	// hookTimeout is how long OnMerge and OnForget may take.
	hookTimeout = 10 * time.Second
	// maxNotifying bounds the sessions whose merges are notified again later.
	maxNotifying = 1 << 14
	// mergeNotifiers is for how many sessions OnMerge is called at one time.
	mergeNotifiers = 16
)

func newNotifier(h Hooks, s *records, r *runner, c cache) *notifier {
	n := &notifier{
		records: s, runner: r, cache: c, onHit: h.OnHit, onMerge: h.OnMerge, onForget: h.OnForget,
		notifying: make(map[store.ID]attempt), places: make(chan struct{}, mergeNotifiers),
	}
	if n.onHit != nil {
		ctx, cancel := context.WithCancel(context.Background())
		n.hits, n.quit, n.done, n.stop = make(chan Hit, maxHits), make(chan struct{}), make(chan struct{}), cancel
		go n.callOnHit(ctx)
	}
	return n
}

// callOnHit calls OnHit for what is in the channel, until close.
func (n *notifier) callOnHit(ctx context.Context) {
	defer close(n.done)
	call := func(hit Hit) {
		if ctx.Err() != nil { // Close has returned, and the application may have closed its database
			n.dropHits(hit.Count)
			return
		}
		defer func() {
			if p := recover(); p != nil { // it would end the process
				n.dropHits(hit.Count)
				n.counters.hookFailed("OnHit", fmt.Errorf("panic: %v", p))
			}
		}()
		n.onHit(ctx, hit)
	}
	for {
		select {
		case hit := <-n.hits:
			call(hit)
		case <-n.quit:
			for {
				select {
				case hit := <-n.hits:
					call(hit)
				default:
					return
				}
			}
		}
	}
}

func (n *notifier) dropHits(count int64) { n.counters.Hook.Add(max(count, -count)) }

// close calls OnHit for the hits that wait, for a timeout at most.
func (n *notifier) close() {
	n.mu.Lock()
	n.closed = true // requests may go on, and nobody may join a group that is waited for
	n.mu.Unlock()
	timer := time.NewTimer(n.runner.timeout)
	defer timer.Stop()
	notified := make(chan struct{})
	go func() {
		n.group.Wait()
		close(notified)
	}()
	select {
	case <-notified:
	case <-timer.C:
		timer.Reset(0)
	}
	if n.hits == nil {
		return
	}
	close(n.quit)
	select {
	case <-n.done:
	case <-timer.C:
	}
	n.stop()
}

// confirmed counts a session that was confirmed by what was saved.
func (n *notifier) confirmed(wasConfirmed bool, r *store.Record) {
	if r.Confirmed && !wasConfirmed {
		n.counters.Confirmed.Add(1)
	}
}

// saved is called once changes are in the store.
func (n *notifier) saved(wasConfirmed bool, r *store.Record, changes []rules.Change) {
	n.confirmed(wasConfirmed, r)
	if n.hits != nil {
		v := viewsIn(changes)
		switch {
		case v.count > 0:
			n.notifyHits(r, v)
		case v.retracted > 0 || r.Confirmed && !wasConfirmed || slices.ContainsFunc(changes, func(c rules.Change) bool { return c.NotCounted }):
			v.last.At = changes[0].At
			n.notifyHits(r, v)
		}
	}
	n.notifyMerges(r)
}

// pageViews are what OnHit is notified of at once.
type pageViews struct {
	count     int64
	retracted int64        // so many that were counted, of these or before, showed no page
	last      rules.Change // of them; its touch may be the one that brought the visitor
}

// viewsIn returns the page views among changes that were saved.
func viewsIn(changes []rules.Change) (v pageViews) {
	for _, c := range changes {
		v.retracted += c.Retracted
		// A landing page counts only if nothing of its visit has.
		if !c.Hit || c.NotCounted || c.BeforeConsent && v.count > 0 {
			continue
		}
		t := v.last.Touch
		if v.count == 0 || c.At.After(v.last.At) {
			v.last = c
		}
		if v.last.Touch == (store.Touch{}) || touch.IsCampaign(&t) && !touch.IsCampaign(&v.last.Touch) {
			v.last.Touch = t
		}
		v.count += max(1, c.Count)
	}
	return v
}

// notifyHits has OnHit called, if there is room for that.
func (n *notifier) notifyHits(r *store.Record, v pageViews) {
	t := touch.Clone(v.last.Touch) // or the whole URL of the request would be kept with it
	count := v.count - v.retracted
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed { // Close notifies of what was there before it
		n.dropHits(count)
		return
	}
	select {
	case n.hits <- Hit{Session: *r, Count: count, Time: v.last.At, Touch: t}:
	default:
		n.dropHits(count)
	}
}

// notifyMerges has OnMerge called for the merges of a session that it does not know of yet,
// in the background.
func (n *notifier) notifyMerges(r *store.Record) {
	if n.onMerge == nil || !slices.ContainsFunc(r.MergedSessions, isPending) {
		return
	}
	id := r.ID
	n.mu.Lock()
	a := n.notifying[id]
	if n.closed || a.underWay || time.Now().Before(a.next) {
		n.mu.Unlock()
		return
	}
	select {
	case n.places <- struct{}{}:
	default: // when the visitor comes again
		n.mu.Unlock()
		return
	}
	if len(n.notifying) >= maxNotifying {
		maps.DeleteFunc(n.notifying, func(_ store.ID, a attempt) bool { return !a.underWay })
	}
	a.underWay = true
	n.notifying[id] = a
	n.group.Add(1)
	n.mu.Unlock()
	go func() {
		defer n.group.Done()
		defer func() { <-n.places }()
		err := errEndedItself
		defer func() {
			n.mu.Lock()
			defer n.mu.Unlock()
			if err == nil {
				delete(n.notifying, id)
				return
			}
			a.underWay = false
			a.fails++
			a.next = time.Now().Add(min(time.Second<<min(a.fails, 10), 5*time.Minute))
			n.notifying[id] = a
		}()
		_, err = protect(n.counters, context.Background(), func(ctx context.Context) (struct{}, error) { return struct{}{}, n.notifyMergesOf(ctx, id) })
	}()
}

func isPending(m store.MergedSession) bool { return m.NotifyPending }

// notifyMergesOf calls OnMerge for all merges of a session that it does not know of.
func (n *notifier) notifyMergesOf(ctx context.Context, id store.ID) error {
	for {
		r, err := n.loadWithin(ctx, id)
		if errors.Is(err, store.ErrNotFound) || err == nil && (r.Forgotten || !r.MergedInto.IsZero()) {
			return nil // nothing to be moved to, or the session that it was merged into is notified of
		}
		if err != nil {
			return err
		}
		i := slices.IndexFunc(r.MergedSessions, isPending)
		if i < 0 {
			return nil
		}
		from := r.MergedSessions[i].ID
		if err := callHook(ctx, "OnMerge", func(ctx context.Context) error { return n.onMerge(ctx, from, r.ID) }); err != nil {
			n.counters.NotifyErrors.Add(1)
			n.counters.hookFailed("OnMerge", err) // and is called again
			return err
		}
		if err := n.notified(ctx, id, from); err != nil {
			return err
		}
	}
}

// forgetting has OnForget called for a session that is about to be replaced by a tombstone.
func (n *notifier) forgetting(ctx context.Context, id store.ID) error {
	if n.onForget == nil {
		return nil
	}
	return callHook(ctx, "OnForget", func(ctx context.Context) error { return n.onForget(ctx, id) })
}

// callHook calls a function of the application, which has hookTimeout and whose panic is
// an error.
func callHook(ctx context.Context, name string, f func(context.Context) error) (err error) {
	ctx, cancel := context.WithTimeout(ctx, hookTimeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("revisit: %s has panicked: %v", name, p)
		}
	}()
	return f(ctx)
}

// notified takes note that OnMerge knows of a merge. If the session has been merged into another
// one meanwhile, what was moved to it has to move on: then OnMerge is called again for that
// merge, which it may know of.
func (n *notifier) notified(ctx context.Context, id, from store.ID) error {
	pending := false
	for {
		r, err := n.loadWithin(ctx, id)
		if err != nil {
			if errors.Is(err, store.ErrNotFound) {
				return nil
			}
			return err
		}
		if !r.MergedInto.IsZero() {
			id, from, pending = r.MergedInto, id, true
			continue
		}
		i := slices.IndexFunc(r.MergedSessions, func(m store.MergedSession) bool { return m.ID == from })
		if i >= 0 && r.MergedSessions[i].NotifyPending != pending {
			next := r
			next.MergedSessions = slices.Clone(r.MergedSessions)
			next.MergedSessions[i].NotifyPending = pending
			next.Version = rules.NewVersion()
			within, cancel := detached(ctx, n.runner.timeout)
			err = n.swap(within, next, r.Version)
			cancel()
			if errors.Is(err, store.ErrConflict) {
				continue
			}
			if err != nil {
				return err
			}
			n.cache.stale(id)
		}
		if pending {
			return n.notifyMergesOf(ctx, id)
		}
		return nil
	}
}

// loadWithin is Load with a deadline.
func (n *notifier) loadWithin(ctx context.Context, id store.ID) (store.Record, error) {
	ctx, cancel := detached(ctx, n.runner.timeout)
	defer cancel()
	return n.store.Load(ctx, id)
}

// notifyAllMerges calls OnMerge for the merges of all sessions that it does not know of. It
// returns the first error of the store, or those of OnMerge, joined.
func (n *notifier) notifyAllMerges(ctx context.Context, lister store.Lister) error {
	var errs []error
	for r, err := range lister.Sessions(ctx) {
		if err != nil {
			return err
		}
		if slices.ContainsFunc(r.MergedSessions, isPending) {
			err := n.notifyMergesOf(ctx, r.ID)
			if err == nil {
				n.mu.Lock()
				delete(n.notifying, r.ID)
				n.mu.Unlock()
			}
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
