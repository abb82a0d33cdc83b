package ledger

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/revisit-go/revisit/internal/rules"
	"github.com/revisit-go/revisit/internal/uuid"
	"github.com/revisit-go/revisit/store"
)

type salt [32]byte

// salts are those of one purpose.
type salts struct {
	period            int64 // number of the window; that of Unix time 0 is 0
	current, previous *salt // nil: not known, none
	destroy           [2]*time.Timer
}

// A saltKeeper has the salts that are in use. All nodes get the same from the store.
type saltKeeper struct {
	*records

	mu     sync.Mutex
	all    map[string]salts // by purpose
	closed bool
}

// of returns the salts of the window that now lies in, and of the one before.
// All nodes get the same.
func (k *saltKeeper) of(ctx context.Context, via string, window time.Duration, now time.Time) (current, previous *salt, err error) {
	period := periodOf(window, now)
	k.mu.Lock()
	known := k.all[via]
	k.mu.Unlock()
	if known.current != nil && known.period == period {
		return known.current, known.previous, nil
	}
	// Once a window, in as many requests as come at that moment: nobody waits for one
	// that hangs.
	if known.current != nil && known.period == period-1 {
		previous = known.current
	} else if previous, err = k.loadSalt(ctx, via, window, period-1); err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, nil, err
	}
	if current, err = k.makeSalt(ctx, via, window, period); err != nil {
		return nil, nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	known = k.all[via]
	switch {
	case k.closed:
	case known.current != nil && known.period == period+1 && known.previous == nil: // two at midnight, the later one first
		known.previous = current
		k.all[via] = known
	case known.current == nil || known.period < period: // never back, whatever a clock does
		known.stop()
		// Also in a process that nobody asks for anything any more: first the one before,
		// then both.
		at := func(end int64, destroy func(salts)) *time.Timer {
			return time.AfterFunc(time.Until(endOf(window, end)), func() {
				k.mu.Lock()
				defer k.mu.Unlock()
				if known := k.all[via]; known.period == period {
					destroy(known)
				}
			})
		}
		if k.all == nil {
			k.all = make(map[string]salts)
		}
		k.all[via] = salts{period, current, previous, [2]*time.Timer{
			at(period-1, func(known salts) {
				known.previous = nil
				k.all[via] = known
			}),
			at(period, func(salts) { delete(k.all, via) }),
		}}
	}
	return current, previous, nil
}

func (s salts) stop() {
	for _, timer := range s.destroy {
		if timer != nil {
			timer.Stop()
		}
	}
}

// close forgets them all.
func (k *saltKeeper) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, s := range k.all {
		s.stop()
	}
	clear(k.all)
	k.closed = true
}

// periodOf is the number of the window that a time lies in.
func periodOf(window time.Duration, now time.Time) int64 {
	return now.UnixMilli() / window.Milliseconds()
}

// endOf is when a salt is destroyed, with all that was stored under it: when the
// window after its own ends.
func endOf(window time.Duration, period int64) time.Time {
	return time.UnixMilli((period + 2) * window.Milliseconds()).UTC()
}

// saltID is where the salt of a window is kept.
func saltID(via string, window time.Duration, period int64) store.ID {
	sum := sha256.Sum256([]byte("revisit v1 salt " + via + " " + strconv.FormatInt(window.Milliseconds(), 10) + " " + strconv.FormatInt(period, 10)))
	return store.ID(uuid.Derive(sum[:]))
}

// saltKey is the key of the value that a salt's record has it in.
const saltKey = "salt"

func (k *saltKeeper) loadSalt(ctx context.Context, via string, window time.Duration, period int64) (*salt, error) {
	r, err := k.store.Load(ctx, saltID(via, window, period))
	if err != nil {
		k.counters.storeFailed(err)
		return nil, err
	}
	b, err := base64.RawURLEncoding.DecodeString(r.Values[saltKey].Text)
	if err != nil || len(b) != len(salt{}) {
		return nil, errors.New("revisit: the record of a salt has none")
	}
	return (*salt)(b), nil
}

// makeSalt returns the salt of a window, and makes it if there is none.
func (k *saltKeeper) makeSalt(ctx context.Context, via string, window time.Duration, period int64) (*salt, error) {
	for {
		have, err := k.loadSalt(ctx, via, window, period)
		if !errors.Is(err, store.ErrNotFound) {
			return have, err
		}
		var fresh salt
		rand.Read(fresh[:])
		begin := time.UnixMilli(period * window.Milliseconds()).UTC()
		err = k.swap(ctx, store.Record{
			ID: saltID(via, window, period), Version: rules.NewVersion(), Created: begin, LastSeen: begin, Expires: endOf(window, period), Via: via,
			Values: map[string]store.Value{saltKey: {Text: base64.RawURLEncoding.EncodeToString(fresh[:]), At: begin}},
		}, 0)
		switch {
		case err == nil:
			return &fresh, nil
		case !errors.Is(err, store.ErrConflict):
			return nil, err
		case ctx.Err() != nil:
			return nil, ctx.Err()
		}
	}
}

// SaltsInMemory returns the salts that are in hand, for tests of what is destroyed.
func (l *Ledger) SaltsInMemory() (all []string) {
	k := l.fingerprints.salts
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, s := range k.all {
		for _, salt := range []*salt{s.current, s.previous} {
			if salt != nil {
				all = append(all, string(salt[:]))
			}
		}
	}
	return all
}
