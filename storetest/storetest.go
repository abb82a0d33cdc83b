// Package storetest checks implementations of revisit.Store.
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) revisit.Store {
//			s := mystore.Open(t.TempDir())
//			t.Cleanup(func() { s.Close() })
//			return s
//		})
//	}
//
// Faulty puts faults in front of a Store, for tests of what depends on one.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/revisit-go/revisit"
)

// Run checks a Store against its contract, in named sub-tests that quote it.
// open returns an empty store, or one whose records do not matter: Run uses
// fresh IDs. It is called once for each sub-test, and may use t.Cleanup.
//
// The sub-tests about expiry wait for it, in parallel, for a bit more than a
// second of real time. In a testing/synctest bubble use [Check]. Those about
// [revisit.Batcher], [revisit.Lister] or [revisit.Indexer] are skipped for a store that is
// none.
func Run(t *testing.T, open func(*testing.T) revisit.Store) {
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) {
			if c.waits {
				t.Parallel()
			}
			s := open(t)
			if c.of != nil && !c.of(s) {
				t.Skipf("%T does not offer this. The contract: %s", s, c.contract)
			}
			if err := c.check(t.Context(), s); err != nil {
				t.Errorf("%v\nThe contract: %s", err, c.contract)
			}
		})
	}
}

// Check is Run without a testing.T: it returns what is wrong with a store, by
// the name of the sub-test. open is called once for each. Nothing is said about
// what the store does not offer: see [Skipped].
func Check(ctx context.Context, open func() revisit.Store) map[string]error {
	faults := make(map[string]error)
	for _, c := range checks {
		s := open()
		if c.of != nil && !c.of(s) {
			continue
		}
		if err := c.check(ctx, s); err != nil {
			faults[c.name] = err
		}
	}
	return faults
}

// Skipped returns the names of the sub-tests that Run skips for s and Check leaves
// out, because s is no [revisit.Batcher], no [revisit.Lister] or no [revisit.Indexer].
func Skipped(s revisit.Store) []string {
	var names []string
	for _, c := range checks {
		if c.of != nil && !c.of(s) {
			names = append(names, c.name)
		}
	}
	return names
}

func isBatcher(s revisit.Store) bool {
	_, ok := s.(revisit.Batcher)
	return ok
}

func isLister(s revisit.Store) bool {
	_, ok := s.(revisit.Lister)
	return ok
}

func isIndexer(s revisit.Store) bool {
	_, ok := s.(revisit.Indexer)
	return ok
}

var checks = []struct {
	name     string
	contract string
	check    func(context.Context, revisit.Store) error
	waits    bool
	of       func(revisit.Store) bool // which stores; nil for all
}{
	{"an absent record is ErrNotFound",
		"Load returns ErrNotFound if there is none.", absent, false, nil},
	{"a record comes back as it was saved",
		"Save puts r in place; every field of it, times to the millisecond.", roundTrip, false, nil},
	{"a zero record comes back as it was saved",
		"Save puts r in place; a field that is empty comes back empty.", roundTripPlain, false, nil},
	{"a create needs an absent record",
		"An old of 0 means that there is no record. If that is not so, Save returns ErrConflict.", createTwice, false, nil},
	{"a change needs the version that was read",
		"Save puts r in place of the record whose Version is old. If that is not so, Save returns ErrConflict.", staleChange, false, nil},
	{"a conflict changes nothing",
		"If that is not so, Save returns ErrConflict and nothing has changed.", conflictChangesNothing, false, nil},
	{"a change never creates",
		"A nonzero old never creates a record.", neverCreates, false, nil},
	{"one creator of many wins",
		"A Store is linearizable for each ID; it is safe for concurrent use.", oneCreator, false, nil},
	{"one writer of many wins each round",
		"A Store is linearizable for each ID: every Load that begins after a Save returns what it has put there.", oneWriter, false, nil},
	{"records do not touch each other",
		"Save puts r in place of the record of r.ID.", separate, false, nil},
	{"an old record stays as it was read",
		"Slices and maps are immutable once they are handed over, in both directions.", immutable, false, nil},
	{"a saved record is not written to by the store",
		"Slices and maps are immutable once they are handed over, in both directions.", untouched, false, nil},
	{"an expired record is absent",
		"Load returns ErrNotFound if it has expired.", expires, true, nil},
	{"an expired record is not changed",
		"A nonzero old never creates a record, of an expired one neither.", expiredChange, true, nil},
	{"an expired record can be created again",
		"An old of 0 means that there is no record, or that it has expired.", expiredCreate, true, nil},
	{"a change can move the end",
		"Save puts r in place; its Expires too.", extend, true, nil},
	{"a context that has ended is an error",
		"Both methods give up when ctx ends and return its error.", cancelled, false, nil},
	{"a batch saves each change by itself",
		"SaveAll does what Save does for each change, and returns an error for each (Batcher).", batch, false, isBatcher},
	{"batches of several writers get along",
		"Each change of a batch is atomic by itself; rows are locked in the order of IDs (Batcher).", batches, false, isBatcher},
	{"a batch loads what is there",
		"LoadAll returns the records of ids; those that are not there are left out (Batcher).", loadAll, false, isBatcher},
	{"sessions are listed",
		"Sessions returns all sessions: neither aliases nor tombstones nor records of derived IDs (Lister).", list, false, isLister},
	{"aliases are found",
		"Aliases returns the IDs of all records whose MergedInto is root, and no others (Indexer).", aliases, false, isIndexer},
	{"aliases that others make are found",
		"An alias is found as soon as the Save that made it has returned (Indexer).", aliasesAtOnce, false, isIndexer},
	{"an alias that expires hides no other",
		"Aliases returns the IDs of all records whose MergedInto is root; those that have expired may be left out (Indexer).", aliasesExpire, true, isIndexer},
}

// now is the time in the precision of a Record.
func now() time.Time { return time.UnixMilli(time.Now().UnixMilli()).UTC() }

func newID() revisit.ID {
	var id revisit.ID
	for i := range id {
		id[i] = byte(rand.Uint32())
	}
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	return id
}

func newVersion() int64 {
	for {
		if v := int64(rand.Uint64()); v != 0 {
			return v
		}
	}
}

// plain returns a small record that lasts.
func plain() revisit.Record {
	at := now()
	return revisit.Record{ID: newID(), Version: newVersion(), Created: at, LastSeen: at, Expires: at.Add(time.Hour)}
}

// next returns r with another version.
func next(r revisit.Record) revisit.Record {
	r.Version = newVersion()
	return r
}

// full returns a record with something in every field.
func full() revisit.Record {
	at := now()
	touch := func(ago time.Duration, campaign string) revisit.Touch {
		return revisit.Touch{
			Time: at.Add(-ago), Landing: "/a b?%00é", Referrer: "https://example.com/x", Source: "s'\"\\", Medium: "\u2028",
			Campaign: campaign, Term: "t", Content: "c", ID: "i", Click: "gclid=" + strings.Repeat("x", 1024) + "&gbraid=y%26z",
		}
	}
	return revisit.Record{
		ID: newID(), Version: -1 << 63, Created: at.Add(-3 * time.Hour), LastSeen: at.Add(-time.Millisecond),
		LastHit: at.Add(-time.Second), VisitStart: at.Add(-time.Minute), Expires: at.Add(time.Hour),
		Confirmed: true, Forgotten: true, Visits: 3, Hits: 1<<62 + 1, Via: "etag",
		Touches:    []revisit.Touch{touch(2*time.Hour, "first"), touch(time.Hour, "last ☃")},
		Values:     map[string]revisit.Value{"lead": {Text: "äöü '\"\\ 🛒", At: at}, "gone": {At: at.Add(-time.Hour)}},
		MergedInto: newID(), MergedSessions: []revisit.MergedSession{{ID: newID(), Visits: 1, Hits: 2}, {ID: newID(), NotifyPending: true}},
		LinksUsed: 4, ConflictingCookies: []revisit.ID{newID(), newID()}, ProbableMatch: newID(),
	}
}

// clone returns a record that shares nothing with r, with room behind its
// slices.
func clone(r revisit.Record) revisit.Record {
	r.Touches = append(make([]revisit.Touch, 0, 8), r.Touches...)
	r.Values = maps.Clone(r.Values)
	r.MergedSessions = append(make([]revisit.MergedSession, 0, 8), r.MergedSessions...)
	return r
}

// differ says where two records differ, "" for nowhere.
func differ(got, want revisit.Record) error {
	var faults []error
	fault := func(field string, g, w any) {
		faults = append(faults, fmt.Errorf("%s is %v, was saved as %v", field, g, w))
	}
	for _, f := range []struct {
		name      string
		got, want time.Time
	}{
		{"Created", got.Created, want.Created}, {"LastSeen", got.LastSeen, want.LastSeen}, {"LastHit", got.LastHit, want.LastHit},
		{"VisitStart", got.VisitStart, want.VisitStart}, {"Expires", got.Expires, want.Expires},
	} {
		if !f.got.Equal(f.want) || f.got.IsZero() != f.want.IsZero() {
			fault(f.name, f.got, f.want)
		}
	}
	for _, f := range []struct {
		name      string
		got, want any
	}{
		{"ID", got.ID, want.ID}, {"Version", got.Version, want.Version}, {"Confirmed", got.Confirmed, want.Confirmed},
		{"Forgotten", got.Forgotten, want.Forgotten}, {"Visits", got.Visits, want.Visits}, {"Hits", got.Hits, want.Hits},
		{"Via", got.Via, want.Via}, {"MergedInto", got.MergedInto, want.MergedInto}, {"LinksUsed", got.LinksUsed, want.LinksUsed},
		{"ProbableMatch", got.ProbableMatch, want.ProbableMatch},
	} {
		if f.got != f.want {
			fault(f.name, f.got, f.want)
		}
	}
	sameTouch := func(a, b revisit.Touch) bool {
		same := a.Time.Equal(b.Time)
		a.Time = b.Time
		return same && a == b
	}
	if !slices.EqualFunc(got.Touches, want.Touches, sameTouch) {
		fault("Touches", got.Touches, want.Touches)
	}
	sameValue := func(a, b revisit.Value) bool { return a.Text == b.Text && a.At.Equal(b.At) }
	if !maps.EqualFunc(got.Values, want.Values, sameValue) {
		fault("Values", got.Values, want.Values)
	}
	if !slices.Equal(got.MergedSessions, want.MergedSessions) {
		fault("MergedSessions", got.MergedSessions, want.MergedSessions)
	}
	if !slices.Equal(got.ConflictingCookies, want.ConflictingCookies) {
		fault("ConflictingCookies", got.ConflictingCookies, want.ConflictingCookies)
	}
	return errors.Join(faults...)
}

// want loads a record and compares.
func want(ctx context.Context, s revisit.Store, r revisit.Record) error {
	got, err := s.Load(ctx, r.ID)
	if err != nil {
		return fmt.Errorf("Load: %w", err)
	}
	return differ(got, r)
}

func wantAbsent(ctx context.Context, s revisit.Store, id revisit.ID) error {
	if r, err := s.Load(ctx, id); !errors.Is(err, revisit.ErrNotFound) {
		return fmt.Errorf("Load returned version %d and error %v, want ErrNotFound", r.Version, err)
	}
	return nil
}

func save(ctx context.Context, s revisit.Store, r revisit.Record, old int64) error {
	if err := s.Save(ctx, r, old); err != nil {
		return fmt.Errorf("Save over version %d: %w", old, err)
	}
	return nil
}

func wantConflict(err error) error {
	if !errors.Is(err, revisit.ErrConflict) {
		return fmt.Errorf("Save returned error %v, want ErrConflict", err)
	}
	return nil
}

func absent(ctx context.Context, s revisit.Store) error { return wantAbsent(ctx, s, newID()) }

func roundTrip(ctx context.Context, s revisit.Store) error {
	r := full()
	if err := save(ctx, s, r, 0); err != nil {
		return err
	}
	if err := want(ctx, s, r); err != nil {
		return err
	}
	changed := full()
	changed.ID, changed.Version = r.ID, newVersion()
	if err := save(ctx, s, changed, r.Version); err != nil {
		return err
	}
	return want(ctx, s, changed)
}

func roundTripPlain(ctx context.Context, s revisit.Store) error {
	r := full()
	if err := save(ctx, s, r, 0); err != nil {
		return err
	}
	small := plain()
	small.ID = r.ID
	if err := save(ctx, s, small, r.Version); err != nil {
		return err
	}
	return want(ctx, s, small)
}

func createTwice(ctx context.Context, s revisit.Store) error {
	r := plain()
	return errors.Join(
		save(ctx, s, r, 0),
		wantConflict(s.Save(ctx, next(r), 0)),
		want(ctx, s, r),
	)
}

func staleChange(ctx context.Context, s revisit.Store) error {
	r := plain()
	second := next(r)
	return errors.Join(
		save(ctx, s, r, 0),
		save(ctx, s, second, r.Version),
		wantConflict(s.Save(ctx, next(r), r.Version)),
		wantConflict(s.Save(ctx, next(r), newVersion())),
		want(ctx, s, second),
	)
}

func conflictChangesNothing(ctx context.Context, s revisit.Store) error {
	r := full()
	other := full()
	other.ID, other.Version = r.ID, newVersion()
	return errors.Join(
		save(ctx, s, r, 0),
		wantConflict(s.Save(ctx, other, 0)),
		want(ctx, s, r),
		wantConflict(s.Save(ctx, other, newVersion())),
		want(ctx, s, r),
	)
}

func neverCreates(ctx context.Context, s revisit.Store) error {
	r := plain()
	return errors.Join(
		wantConflict(s.Save(ctx, r, newVersion())),
		wantConflict(s.Save(ctx, r, r.Version)),
		wantAbsent(ctx, s, r.ID),
	)
}

// race runs n writers at once and returns how many of them won.
func race(n int, write func(i int) error) (winners int, err error) {
	var won atomic.Int32
	errs := make([]error, n)
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			switch err := write(i); {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, revisit.ErrConflict):
				errs[i] = err
			}
		})
	}
	close(start)
	wg.Wait()
	return int(won.Load()), errors.Join(errs...)
}

const writers = 16

func oneCreator(ctx context.Context, s revisit.Store) error {
	for range 20 {
		r := plain()
		winners, err := race(writers, func(int) error { return s.Save(ctx, next(r), 0) })
		if err != nil {
			return err
		}
		if winners != 1 {
			return fmt.Errorf("%d of %d writers have created the same record, want 1", winners, writers)
		}
	}
	return nil
}

func oneWriter(ctx context.Context, s revisit.Store) error {
	r := plain()
	if err := save(ctx, s, r, 0); err != nil {
		return err
	}
	for round := range 20 {
		have, err := s.Load(ctx, r.ID)
		if err != nil {
			return err
		}
		winners, err := race(writers, func(int) error {
			mine := next(have)
			mine.Hits++
			return s.Save(ctx, mine, have.Version)
		})
		if err != nil {
			return err
		}
		if winners != 1 {
			return fmt.Errorf("%d of %d writers have replaced one version, want 1", winners, writers)
		}
		have, err = s.Load(ctx, r.ID)
		if err != nil {
			return err
		}
		if have.Hits != int64(round+1) {
			return fmt.Errorf("Load after round %d has %d Hits, want %d", round, have.Hits, round+1)
		}
	}
	return nil
}

func separate(ctx context.Context, s revisit.Store) error {
	a, b := full(), full()
	b.ID = a.ID
	b.ID[15]++ // a neighbour
	changed := next(a)
	changed.Hits = 7
	return errors.Join(
		save(ctx, s, a, 0), save(ctx, s, b, 0),
		want(ctx, s, a), want(ctx, s, b),
		save(ctx, s, changed, a.Version),
		want(ctx, s, changed), want(ctx, s, b),
	)
}

// immutable changes a record again and again, and looks whether one that was
// read before is still what it was.
func immutable(ctx context.Context, s revisit.Store) error {
	r := full()
	if err := save(ctx, s, clone(r), 0); err != nil {
		return err
	}
	early, err := s.Load(ctx, r.ID)
	if err != nil {
		return err
	}
	changed := next(r)
	changed.Touches = []revisit.Touch{{Time: now(), Landing: "/other"}}
	changed.Values = map[string]revisit.Value{"lead": {Text: "other", At: now()}, "new": {Text: "new", At: now()}}
	changed.MergedSessions = []revisit.MergedSession{{ID: newID(), Hits: 9}}
	if err := save(ctx, s, changed, r.Version); err != nil {
		return err
	}
	if err := differ(early, r); err != nil {
		return fmt.Errorf("a record that was loaded has changed with a later Save: %w", err)
	}
	return want(ctx, s, changed)
}

// untouched looks whether a store writes into what it was given.
func untouched(ctx context.Context, s revisit.Store) error {
	r := full()
	given := clone(r)
	if err := save(ctx, s, given, 0); err != nil {
		return err
	}
	changed := next(r)
	changed.Values = map[string]revisit.Value{"new": {Text: "new", At: now()}}
	changed.Touches = []revisit.Touch{{Time: now(), Landing: "/other"}}
	if err := save(ctx, s, changed, r.Version); err != nil {
		return err
	}
	if err := differ(given, r); err != nil {
		return fmt.Errorf("the store has written into a record that it was given: %w", err)
	}
	return nil
}

// life is how long the short-lived records last: more than the second to which
// some engines round.
const life = 1200 * time.Millisecond

// shortLived saves a record and waits until it has expired.
func shortLived(ctx context.Context, s revisit.Store) (revisit.Record, error) {
	r := plain()
	r.Expires = now().Add(life)
	if err := save(ctx, s, r, 0); err != nil {
		return r, err
	}
	if err := want(ctx, s, r); err != nil && time.Now().Before(r.Expires) {
		return r, fmt.Errorf("before it expired: %w", err)
	}
	timer := time.NewTimer(time.Until(r.Expires) + 50*time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
		return r, nil
	case <-ctx.Done():
		return r, ctx.Err()
	}
}

func expires(ctx context.Context, s revisit.Store) error {
	r, err := shortLived(ctx, s)
	if err != nil {
		return err
	}
	return wantAbsent(ctx, s, r.ID)
}

func expiredChange(ctx context.Context, s revisit.Store) error {
	r, err := shortLived(ctx, s)
	if err != nil {
		return err
	}
	late := next(r)
	late.Expires = now().Add(time.Hour)
	return errors.Join(wantConflict(s.Save(ctx, late, r.Version)), wantAbsent(ctx, s, r.ID))
}

func expiredCreate(ctx context.Context, s revisit.Store) error {
	r, err := shortLived(ctx, s)
	if err != nil {
		return err
	}
	again := full()
	again.ID, again.Version = r.ID, newVersion()
	return errors.Join(save(ctx, s, again, 0), want(ctx, s, again), wantConflict(s.Save(ctx, next(again), 0)))
}

func extend(ctx context.Context, s revisit.Store) error {
	r := plain()
	r.Expires = now().Add(life)
	if err := save(ctx, s, r, 0); err != nil {
		return err
	}
	longer := next(r)
	longer.Expires = now().Add(time.Hour)
	if err := save(ctx, s, longer, r.Version); err != nil {
		return err
	}
	timer := time.NewTimer(time.Until(r.Expires) + 50*time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	return want(ctx, s, longer)
}

func cancelled(ctx context.Context, s revisit.Store) error {
	ended, cancel := context.WithCancel(ctx)
	cancel()
	r := plain()
	if _, err := s.Load(ended, r.ID); !errors.Is(err, context.Canceled) {
		return fmt.Errorf("Load returned error %v, want context.Canceled", err)
	}
	if err := s.Save(ended, r, 0); !errors.Is(err, context.Canceled) {
		return fmt.Errorf("Save returned error %v, want context.Canceled", err)
	}
	return nil
}

func batch(ctx context.Context, s revisit.Store) error {
	b := s.(revisit.Batcher)
	if errs := b.SaveAll(ctx, nil); len(errs) != 0 {
		return fmt.Errorf("SaveAll of nothing returned %v", errs)
	}
	// By turns: a create, a change, a create of one that is there, a stale change,
	// a change of one that is absent.
	var changes []revisit.Change
	before := make([]*revisit.Record, 100)
	for i := range before {
		r := full()
		r.Version, r.Forgotten = newVersion(), i%2 == 0 // a store may take another way for tombstones
		old := int64(0)
		if i%5 == 1 || i%5 == 2 || i%5 == 3 {
			if err := save(ctx, s, r, 0); err != nil {
				return err
			}
			kept := r
			before[i] = &kept
			r = next(r)
			r.Hits++
			r.Touches = nil
		}
		switch i % 5 {
		case 1:
			old = before[i].Version
		case 3, 4:
			old = newVersion()
		}
		changes = append(changes, revisit.Change{Record: r, Old: old})
	}
	order := make([]int, len(changes))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return slices.Compare(changes[a].Record.ID[:], changes[b].Record.ID[:]) })
	sorted := make([]revisit.Change, len(changes))
	for at, i := range order {
		sorted[at] = changes[i]
	}
	errs := b.SaveAll(ctx, sorted)
	if len(errs) != len(sorted) {
		return fmt.Errorf("SaveAll of %d changes returned %d errors", len(sorted), len(errs))
	}
	var faults []error
	for at, i := range order {
		r := changes[i].Record
		switch i % 5 {
		case 0, 1:
			if errs[at] != nil {
				faults = append(faults, fmt.Errorf("change %d: %w", i, errs[at]))
			}
			faults = append(faults, want(ctx, s, r))
		default:
			faults = append(faults, wantConflict(errs[at]))
			if before[i] != nil {
				faults = append(faults, want(ctx, s, *before[i]))
			} else {
				faults = append(faults, wantAbsent(ctx, s, r.ID))
			}
		}
	}
	return errors.Join(faults...)
}

func batches(ctx context.Context, s revisit.Store) error {
	b := s.(revisit.Batcher)
	const records, writers, rounds = 50, 4, 10
	ids := make([]revisit.ID, records)
	for i := range ids {
		r := plain()
		ids[i] = r.ID
		if err := save(ctx, s, r, 0); err != nil {
			return err
		}
	}
	slices.SortFunc(ids, func(a, b revisit.ID) int { return slices.Compare(a[:], b[:]) })
	var saved [records]atomic.Int64
	faults := make([]error, writers)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for range rounds {
				all, err := b.LoadAll(ctx, ids)
				if err != nil {
					faults[w] = err
					return
				}
				slices.SortFunc(all, func(a, b revisit.Record) int { return slices.Compare(a.ID[:], b.ID[:]) })
				var changes []revisit.Change
				for _, r := range all {
					n := next(r)
					n.Hits++
					changes = append(changes, revisit.Change{Record: n, Old: r.Version})
				}
				for i, err := range b.SaveAll(ctx, changes) {
					switch {
					case err == nil:
						saved[slices.Index(ids, changes[i].Record.ID)].Add(1)
					case !errors.Is(err, revisit.ErrConflict):
						faults[w] = err
						return
					}
				}
			}
		})
	}
	wg.Wait()
	if err := errors.Join(faults...); err != nil {
		return err
	}
	first := plain().Hits
	for i, id := range ids {
		r, err := s.Load(ctx, id)
		if err != nil {
			return err
		}
		if r.Hits-first != saved[i].Load() {
			return fmt.Errorf("%d changes were acknowledged, %d are there", saved[i].Load(), r.Hits-first)
		}
	}
	return nil
}

func loadAll(ctx context.Context, s revisit.Store) error {
	b := s.(revisit.Batcher)
	records := map[revisit.ID]revisit.Record{}
	var ids []revisit.ID
	for i := range 30 {
		r := full()
		ids = append(ids, r.ID)
		if i%3 == 0 {
			continue
		}
		if err := save(ctx, s, r, 0); err != nil {
			return err
		}
		records[r.ID] = r
	}
	all, err := b.LoadAll(ctx, ids)
	if err != nil {
		return err
	}
	if len(all) != len(records) {
		return fmt.Errorf("LoadAll returned %d records, %d are there", len(all), len(records))
	}
	for _, r := range all {
		if err := differ(r, records[r.ID]); err != nil {
			return err
		}
	}
	none, err := b.LoadAll(ctx, nil)
	if err != nil || len(none) != 0 {
		return fmt.Errorf("LoadAll of nothing returned %v, %v", none, err)
	}
	return nil
}

func list(ctx context.Context, s revisit.Store) error {
	l := s.(revisit.Lister)
	sessions := map[revisit.ID]revisit.Record{}
	others := map[revisit.ID]string{}
	for i := range 250 {
		r := full()
		r.Forgotten, r.MergedInto = false, revisit.ID{}
		what := ""
		switch i {
		case 1:
			what, r.Forgotten = "a tombstone", true
		case 2:
			what, r.MergedInto = "an alias", newID()
		case 3:
			what = "of a derived ID"
			r.ID[6] = r.ID[6]&0x0f | 0x80
		}
		if err := save(ctx, s, r, 0); err != nil {
			return err
		}
		if what != "" {
			others[r.ID] = what
		} else {
			sessions[r.ID] = r
		}
	}
	seen := map[revisit.ID]bool{}
	for r, err := range l.Sessions(ctx) {
		if err != nil {
			return err
		}
		if what := others[r.ID]; what != "" {
			return fmt.Errorf("%v is listed, which is %s", r.ID, what)
		}
		if seen[r.ID] {
			return fmt.Errorf("%v is listed twice", r.ID)
		}
		seen[r.ID] = true
		if want, ok := sessions[r.ID]; ok {
			if err := differ(r, want); err != nil {
				return err
			}
		}
	}
	for id := range sessions {
		if !seen[id] {
			return fmt.Errorf("%v is not listed", id)
		}
	}
	for range l.Sessions(ctx) {
		break // whoever has seen enough may stop
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	for _, err := range l.Sessions(ended) {
		if !errors.Is(err, context.Canceled) {
			return fmt.Errorf("the sequence of Sessions has error %v, want context.Canceled", err)
		}
	}
	return nil
}

// aliasOf returns a small record that was merged into root.
func aliasOf(root revisit.ID) revisit.Record {
	r := plain()
	r.MergedInto = root
	return r
}

// wantAliases compares the aliases of root, in any order.
func wantAliases(ctx context.Context, s revisit.Store, what string, root revisit.ID, want ...revisit.ID) error {
	got, err := s.(revisit.Indexer).Aliases(ctx, root)
	if err != nil {
		return fmt.Errorf("%s: Aliases: %w", what, err)
	}
	order := func(a, b revisit.ID) int { return slices.Compare(a[:], b[:]) }
	got, want = slices.SortedFunc(slices.Values(got), order), slices.SortedFunc(slices.Values(want), order)
	if !slices.Equal(got, want) {
		return fmt.Errorf("%s: Aliases returned %v, want %v", what, got, want)
	}
	return nil
}

func aliases(ctx context.Context, s revisit.Store) error {
	a, b := newID(), newID()
	if err := wantAliases(ctx, s, "before there is one", a); err != nil {
		return err
	}
	one, two, three, other := aliasOf(a), aliasOf(a), aliasOf(a), aliasOf(b)
	values := full() // with the name of each field and of each short one as a key
	values.Forgotten, values.MergedInto = false, revisit.ID{}
	values.Values = map[string]revisit.Value{"m": {Text: a.String(), At: now()}, "MergedInto": {Text: a.String(), At: now()}, `"m":"`: {Text: `"m":"` + a.String(), At: now()}}
	root := plain()
	root.ID = a
	for _, r := range []revisit.Record{one, two, three, other, values, root} {
		if err := save(ctx, s, r, 0); err != nil {
			return err
		}
	}
	moved, alone, changed, refused := next(one), next(three), next(two), next(two)
	moved.MergedInto, refused.MergedInto = b, b
	alone.MergedInto = revisit.ID{}
	changed.Hits = 7
	buried := revisit.Record{ID: one.ID, Version: newVersion(), Created: one.Created, Expires: one.Expires, Forgotten: true}
	// By turns, so that each step begins where the one before has led.
	for _, step := range []struct {
		what string
		do   func() error
		a, b []revisit.ID
	}{
		{"at first", func() error { return nil }, []revisit.ID{one.ID, two.ID, three.ID}, []revisit.ID{other.ID}},
		{"after one was changed", func() error { return save(ctx, s, changed, two.Version) }, []revisit.ID{one.ID, two.ID, three.ID}, []revisit.ID{other.ID}},
		{"after a conflict", func() error { return wantConflict(s.Save(ctx, refused, two.Version)) }, []revisit.ID{one.ID, two.ID, three.ID}, []revisit.ID{other.ID}},
		{"after one has moved", func() error { return save(ctx, s, moved, one.Version) }, []revisit.ID{two.ID, three.ID}, []revisit.ID{one.ID, other.ID}},
		{"after one has become a session again", func() error { return save(ctx, s, alone, three.Version) }, []revisit.ID{two.ID}, []revisit.ID{one.ID, other.ID}},
		{"after one was forgotten", func() error { return save(ctx, s, buried, moved.Version) }, []revisit.ID{two.ID}, []revisit.ID{other.ID}},
	} {
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
		if err := errors.Join(wantAliases(ctx, s, step.what, a, step.a...), wantAliases(ctx, s, step.what, b, step.b...)); err != nil {
			return err
		}
	}
	if batcher, ok := s.(revisit.Batcher); ok {
		back, fresh := next(other), aliasOf(a)
		back.MergedInto = a
		changes := []revisit.Change{{Record: back, Old: other.Version}, {Record: fresh}}
		slices.SortFunc(changes, func(a, b revisit.Change) int { return slices.Compare(a.Record.ID[:], b.Record.ID[:]) })
		if err := errors.Join(batcher.SaveAll(ctx, changes)...); err != nil {
			return err
		}
		if err := errors.Join(wantAliases(ctx, s, "after a batch", a, two.ID, back.ID, fresh.ID), wantAliases(ctx, s, "after a batch", b)); err != nil {
			return err
		}
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := s.(revisit.Indexer).Aliases(ended, a); !errors.Is(err, context.Canceled) {
		return fmt.Errorf("the method Aliases returned error %v, want context.Canceled", err)
	}
	return nil
}

func aliasesAtOnce(ctx context.Context, s revisit.Store) error {
	root := newID()
	ids := make([]revisit.ID, 10*writers)
	_, err := race(len(ids), func(i int) error {
		r := aliasOf(root)
		ids[i] = r.ID
		if err := save(ctx, s, r, 0); err != nil {
			return err
		}
		found, err := s.(revisit.Indexer).Aliases(ctx, root)
		if err != nil {
			return err
		}
		if !slices.Contains(found, r.ID) {
			return fmt.Errorf("after its Save, the method Aliases returned %d IDs, and not that of the alias", len(found))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return wantAliases(ctx, s, "after all", root, ids...)
}

func aliasesExpire(ctx context.Context, s revisit.Store) error {
	root, another := newID(), newID()
	early, long, late, extended, gone := aliasOf(root), aliasOf(root), aliasOf(root), aliasOf(root), aliasOf(another)
	end := now().Add(life)
	for _, r := range []*revisit.Record{&early, &late, &extended, &gone} {
		r.Expires = end
	}
	longer := next(extended)
	longer.Expires = end.Add(time.Hour)
	if err := errors.Join(save(ctx, s, early, 0), save(ctx, s, long, 0), save(ctx, s, late, 0), // one that lasts after and before one that does not
		save(ctx, s, gone, 0), save(ctx, s, extended, 0), save(ctx, s, longer, extended.Version)); err != nil {
		return err
	}
	timer := time.NewTimer(time.Until(end) + 50*time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	// An expired one may be among them or not.
	found, err := s.(revisit.Indexer).Aliases(ctx, root)
	if err != nil {
		return err
	}
	for _, r := range []revisit.Record{long, longer} {
		if !slices.Contains(found, r.ID) {
			return fmt.Errorf("the method Aliases has lost %v, which lasts", r.ID)
		}
	}
	// One that has expired may be born again, and be another one's.
	again := aliasOf(root)
	again.ID = gone.ID
	if err := save(ctx, s, again, 0); err != nil {
		return err
	}
	if found, err = s.(revisit.Indexer).Aliases(ctx, root); err == nil && !slices.Contains(found, again.ID) {
		err = fmt.Errorf("the method Aliases lacks %v, which was created again", again.ID)
	}
	return errors.Join(err, wantAliases(ctx, s, "after its alias has become another one's", another))
}
