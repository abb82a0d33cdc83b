package revisit

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// A Hit is one page view or several of a session, as Config.OnHit is told of them. One of
// none says that the session is another one for reports without a page view: it was
// confirmed by a second signal, or has got the touch that began its visit. One of fewer than
// none says that page views which OnHit was told of were no page: the handler has answered
// with a redirect, say. The sum of the Counts of a session is its Record.Hits, but for what
// was dropped.
type Hit struct {
	Session Record // as it is in the store, these page views included; see Record for what must not be changed
	Count   int64  // how many: more than one with FlushEvery, and where several came at once; 0 or less as above
	Time    time.Time
	Touch   Touch // of the last of them, whose page is Landing; with FlushEvery it may be empty
}

// hooks are the application's functions, and what they have not been told yet.
type hooks struct {
	onHit   func(context.Context, Hit)
	onMerge func(ctx context.Context, from, into ID) error

	onForget func(ctx context.Context, id ID) error

	hits chan Hit // for the one goroutine that calls onHit
	quit chan struct{}
	done chan struct{}
	stop func() // ends the context of onHit

	places  chan struct{} // for the goroutines that call onMerge
	group   sync.WaitGroup
	mu      sync.Mutex
	telling map[ID]attempt // by session
	closed  bool           // nobody is told any more
}

// An attempt to tell of a session's merges.
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
	// maxTelling bounds the sessions whose merges are told again later.
	maxTelling = 1 << 14
	// tellers is how many sessions' merges are told of at one time.
	tellers = 16
)

// start begins to tell of hits.
func (h *hooks) start(l *ledger) {
	h.telling, h.places = make(map[ID]attempt), make(chan struct{}, tellers)
	if h.onHit == nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	h.hits, h.quit, h.done, h.stop = make(chan Hit, maxHits), make(chan struct{}), make(chan struct{}), cancel
	call := func(hit Hit) {
		if ctx.Err() != nil { // Close has returned, and the application may have closed its database
			l.stats.hook.Add(max(hit.Count, -hit.Count))
			return
		}
		defer func() {
			if p := recover(); p != nil { // it would end the process
				l.stats.hook.Add(max(hit.Count, -hit.Count))
				l.complainOfHook("OnHit", fmt.Errorf("panic: %v", p))
			}
		}()
		h.onHit(ctx, hit)
	}
	go func() {
		defer close(h.done)
		for {
			select {
			case hit := <-h.hits:
				call(hit)
			case <-h.quit:
				for {
					select {
					case hit := <-h.hits:
						call(hit)
					default:
						return
					}
				}
			}
		}
	}()
}

// complainOfHook logs a fault of the application's function, now and then.
func (l *ledger) complainOfHook(name string, err error) {
	if times, ok := l.stats.hooks.now(); ok {
		l.logger.Error("revisit: "+name+" fails", "error", err, "times", times)
	}
}

// close tells of the hits that wait, for d at most.
func (h *hooks) close(d time.Duration) {
	h.mu.Lock()
	h.closed = true // requests may go on, and nobody may join a group that is waited for
	h.mu.Unlock()
	timer := time.NewTimer(d)
	defer timer.Stop()
	told := make(chan struct{})
	go func() {
		h.group.Wait()
		close(told)
	}()
	select {
	case <-told:
	case <-timer.C:
		timer.Reset(0)
	}
	if h.hits == nil {
		return
	}
	close(h.quit)
	select {
	case <-h.done:
	case <-timer.C:
	}
	h.stop()
}

// kept is called once changes are in the store.
func (l *ledger) kept(wasConfirmed bool, r *Record, changes []change) {
	l.saved(wasConfirmed, r)
	if l.hooks.hits != nil {
		h := viewsIn(changes)
		switch {
		case h.count > 0:
			l.announce(r, h)
		case h.undo > 0 || r.Confirmed && !wasConfirmed || slices.ContainsFunc(changes, func(c change) bool { return c.seen }):
			h.last.at = changes[0].at
			l.announce(r, h)
		}
	}
	l.tell(r)
}

// pageViews are what OnHit is told of at once.
type pageViews struct {
	count int64
	undo  int64  // so many that were counted, of these or before, were none
	last  change // of them; its touch may be the one that brought the visitor
}

// viewsIn returns the page views among changes that were saved.
func viewsIn(changes []change) (v pageViews) {
	for _, c := range changes {
		v.undo += c.undo
		// A landing page counts only if nothing of its visit has.
		if !c.hit || c.seen || c.landing && v.count > 0 {
			continue
		}
		touch := v.last.touch
		if v.count == 0 || c.at.After(v.last.at) {
			v.last = c
		}
		if v.last.touch == (Touch{}) || touch.campaign() && !v.last.touch.campaign() {
			v.last.touch = touch
		}
		v.count += max(1, c.times)
	}
	return v
}

func (l *ledger) announce(r *Record, h pageViews) {
	touch := h.last.touch.clone() // what a request has said must not be kept with all of it
	count := h.count - h.undo
	l.hooks.mu.Lock()
	defer l.hooks.mu.Unlock()
	if l.hooks.closed { // Close tells of what was there before it
		l.stats.hook.Add(max(count, -count))
		return
	}
	select {
	case l.hooks.hits <- Hit{Session: *r, Count: count, Time: h.last.at, Touch: touch}:
	default:
		l.stats.hook.Add(max(count, -count))
	}
}

// tell tells of the merges of a session that Config.OnMerge does not know of yet. It
// waits for nothing.
func (l *ledger) tell(r *Record) {
	if l.hooks.onMerge == nil || !slices.ContainsFunc(r.Absorbed, func(a Absorbed) bool { return a.Untold }) {
		return
	}
	id := r.ID
	l.hooks.mu.Lock()
	a := l.hooks.telling[id]
	if l.hooks.closed || a.underWay || time.Now().Before(a.next) {
		l.hooks.mu.Unlock()
		return
	}
	select {
	case l.hooks.places <- struct{}{}:
	default: // when the visitor comes again
		l.hooks.mu.Unlock()
		return
	}
	if len(l.hooks.telling) >= maxTelling {
		maps.DeleteFunc(l.hooks.telling, func(_ ID, a attempt) bool { return !a.underWay })
	}
	a.underWay = true
	l.hooks.telling[id] = a
	l.hooks.group.Add(1)
	l.hooks.mu.Unlock()
	go func() {
		defer l.hooks.group.Done()
		defer func() { <-l.hooks.places }()
		err := errEndedItself
		defer func() {
			l.hooks.mu.Lock()
			defer l.hooks.mu.Unlock()
			if err == nil {
				delete(l.hooks.telling, id)
				return
			}
			a.underWay = false
			a.fails++
			a.next = time.Now().Add(min(time.Second<<min(a.fails, 10), 5*time.Minute))
			l.hooks.telling[id] = a
		}()
		_, err = protect(l, context.Background(), func(ctx context.Context) (struct{}, error) { return struct{}{}, l.tellAll(ctx, id) })
	}()
}

// tellAll tells of all merges of a session that OnMerge does not know of.
func (l *ledger) tellAll(ctx context.Context, id ID) error {
	for {
		r, err := l.loadWithin(ctx, id)
		if errors.Is(err, ErrNotFound) || err == nil && (r.Forgotten || !r.MergedInto.IsZero()) {
			return nil // nothing to be moved to, or told of by the session that it was merged into
		}
		if err != nil {
			return err
		}
		i := slices.IndexFunc(r.Absorbed, func(a Absorbed) bool { return a.Untold })
		if i < 0 {
			return nil
		}
		from := r.Absorbed[i].ID
		if err := l.callOnMerge(ctx, from, r.ID); err != nil {
			l.stats.untold.Add(1)
			l.complainOfHook("OnMerge", err) // and is called again
			return err
		}
		if err := l.told(ctx, id, from); err != nil {
			return err
		}
	}
}

// forgetting tells that a session is about to be replaced by a tombstone.
func (l *ledger) forgetting(ctx context.Context, id ID) error {
	if l.hooks.onForget == nil {
		return nil
	}
	return callHook(ctx, "OnForget", func(ctx context.Context) error { return l.hooks.onForget(ctx, id) })
}

func (l *ledger) callOnMerge(ctx context.Context, from, into ID) error {
	return callHook(ctx, "OnMerge", func(ctx context.Context) error { return l.hooks.onMerge(ctx, from, into) })
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

// told notes that OnMerge knows of a merge. If the session has been merged into another
// one meanwhile, what was moved to it has to move on: then that merge, which may have
// been told before, is to be told again.
func (l *ledger) told(ctx context.Context, id, from ID) error {
	untold := false
	for {
		r, err := l.loadWithin(ctx, id)
		if err != nil {
			if errors.Is(err, ErrNotFound) {
				return nil
			}
			return err
		}
		if !r.MergedInto.IsZero() {
			id, from, untold = r.MergedInto, id, true
			continue
		}
		i := slices.IndexFunc(r.Absorbed, func(a Absorbed) bool { return a.ID == from })
		if i >= 0 && r.Absorbed[i].Untold != untold {
			next := r
			next.Absorbed = slices.Clone(r.Absorbed)
			next.Absorbed[i].Untold = untold
			next.Version = newVersion()
			within, cancel := l.deadline(ctx, l.timeout)
			err = l.swap(within, next, r.Version)
			cancel()
			if errors.Is(err, ErrConflict) {
				continue
			}
			if err != nil {
				return err
			}
			if l.writeBehind != nil {
				l.writeBehind.stale(id)
			}
		}
		if untold {
			return l.tellAll(ctx, id)
		}
		return nil
	}
}

// loadWithin is Load with a deadline.
func (l *ledger) loadWithin(ctx context.Context, id ID) (Record, error) {
	ctx, cancel := l.deadline(ctx, l.timeout)
	defer cancel()
	return l.store.Load(ctx, id)
}

// TellMerges looks through the Store for merges that Config.OnMerge has not returned nil
// for, and calls it again. Merges are told of when they happen, and again when the
// visitor comes; a visitor who does not come is left to this. Call it now and then, by
// one process. The Store must be a Lister. It returns the first error of the Store, or
// those of OnMerge, joined.
func (t *Tracker) TellMerges(ctx context.Context) error {
	l := t.ledger
	lister, ok := l.backing.(Lister)
	if l.hooks.onMerge == nil || !ok {
		return errors.New("revisit: TellMerges wants Config.OnMerge and a Store that is a Lister")
	}
	var errs []error
	for r, err := range lister.Sessions(ctx) {
		if err != nil {
			return err
		}
		if slices.ContainsFunc(r.Absorbed, func(a Absorbed) bool { return a.Untold }) {
			err := l.tellAll(ctx, r.ID)
			if err == nil {
				l.hooks.mu.Lock()
				delete(l.hooks.telling, r.ID)
				l.hooks.mu.Unlock()
			}
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
