package storetest

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/revisit-go/revisit"
)

// ErrInjected is the failure that a [Faulty] store injects.
var ErrInjected = errors.New("storetest: injected failure")

// Faults says what goes wrong. The rates are between 0 and 1, and are drawn one
// after another for each call.
type Faults struct {
	// Latency is how long each call takes at least; Jitter is added to it, by
	// chance.
	Latency, Jitter time.Duration

	Fail          float64 // a call fails before it has done anything
	LoseAnswer    float64 // a Save is done and fails
	FalseConflict float64 // a Save is not done and answers ErrConflict
	LoseConflict  float64 // a Save is done and answers ErrConflict, as after a client's own retry

	// Hang makes every call wait until Release, whatever its context says.
	Hang bool

	// Seed makes a run repeatable, as far as its goroutines are.
	Seed uint64
}

// FaultyStore is a [revisit.Store] in front of another one, with faults.
type FaultyStore struct {
	store    revisit.Store
	faults   atomic.Pointer[Faults]
	released chan struct{}
	release  func()

	mu   sync.Mutex
	rand *rand.Rand

	loads, saves atomic.Int64
}

// Faulty returns a store with faults in front of store.
func Faulty(store revisit.Store, faults Faults) *FaultyStore {
	f := &FaultyStore{store: store, rand: rand.New(rand.NewPCG(faults.Seed, 1)), released: make(chan struct{})}
	f.release = sync.OnceFunc(func() { close(f.released) })
	f.faults.Store(&faults)
	return f
}

// Set replaces the faults from now on.
func (f *FaultyStore) Set(faults Faults) { f.faults.Store(&faults) }

// Release lets go of the calls that hang, and of all that would.
func (f *FaultyStore) Release() { f.release() }

// Loads returns how many calls of Load have come in.
func (f *FaultyStore) Loads() int64 { return f.loads.Load() }

// Saves returns how many calls of Save have come in.
func (f *FaultyStore) Saves() int64 { return f.saves.Load() }

func (f *FaultyStore) chance(rate float64) bool {
	if rate <= 0 {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rand.Float64() < rate
}

// wait is the way to the store and back.
func (f *FaultyStore) wait(ctx context.Context, faults *Faults) error {
	if faults.Hang {
		<-f.released
	}
	d := faults.Latency
	if faults.Jitter > 0 {
		f.mu.Lock()
		d += time.Duration(f.rand.Int64N(int64(faults.Jitter)))
		f.mu.Unlock()
	}
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Load implements [revisit.Store].
func (f *FaultyStore) Load(ctx context.Context, id revisit.ID) (revisit.Record, error) {
	f.loads.Add(1)
	faults := f.faults.Load()
	if err := f.wait(ctx, faults); err != nil {
		return revisit.Record{}, err
	}
	if f.chance(faults.Fail) {
		return revisit.Record{}, ErrInjected
	}
	return f.store.Load(ctx, id)
}

// Save implements [revisit.Store].
func (f *FaultyStore) Save(ctx context.Context, r revisit.Record, old int64) error {
	f.saves.Add(1)
	faults := f.faults.Load()
	if err := f.wait(ctx, faults); err != nil {
		return err
	}
	switch {
	case f.chance(faults.Fail):
		return ErrInjected
	case f.chance(faults.FalseConflict):
		return revisit.ErrConflict
	}
	if err := f.store.Save(ctx, r, old); err != nil {
		return err
	}
	switch {
	case f.chance(faults.LoseAnswer):
		return ErrInjected
	case f.chance(faults.LoseConflict):
		return revisit.ErrConflict
	}
	return nil
}
