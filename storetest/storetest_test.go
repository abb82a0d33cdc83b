package storetest_test

import (
	"context"
	"iter"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/revisit-go/revisit"
	"github.com/revisit-go/revisit/storetest"
)

func TestTheMemoryStorePasses(t *testing.T) {
	storetest.Run(t, func(t *testing.T) revisit.Store {
		m := revisit.NewMemoryStore(revisit.MemoryOptions{})
		t.Cleanup(func() { m.Close() })
		return m
	})
}

func TestASlowStorePasses(t *testing.T) {
	storetest.Run(t, func(t *testing.T) revisit.Store {
		m := revisit.NewMemoryStore(revisit.MemoryOptions{})
		t.Cleanup(func() { m.Close() })
		return storetest.Faulty(m, storetest.Faults{Latency: time.Millisecond})
	})
}

// What a store does not offer was not tested, and does not count as passed.
func TestWhatAStoreLacksIsSkipped(t *testing.T) {
	m := revisit.NewMemoryStore(revisit.MemoryOptions{})
	defer m.Close()
	plain := storetest.Faulty(m, storetest.Faults{})
	lister := struct {
		*storetest.FaultyStore
		lists
	}{FaultyStore: plain}
	batches := []string{"a batch saves each change by itself", "batches of several writers get along", "a batch loads what is there"}
	aliases := []string{"aliases are found", "aliases that others make are found", "an alias that expires hides no other"}
	assert.Equal(t, slices.Concat(batches, []string{"sessions are listed"}, aliases), storetest.Skipped(plain))
	assert.Equal(t, slices.Concat(batches, aliases), storetest.Skipped(lister))
	assert.Equal(t, batches, storetest.Skipped(m))
	assert.Contains(t, storetest.Check(t.Context(), func() revisit.Store { return lister }), "sessions are listed", "it lists nothing")

	out, err := exec.Command(os.Args[0], "-test.run=^TestASlowStorePasses$", "-test.v").CombinedOutput()
	require.NoError(t, err, "%s", out)
	skipped := regexp.MustCompile(`(?m)^ +--- SKIP: TestASlowStorePasses/(\S+)`).FindAllStringSubmatch(string(out), -1)
	names := make([]string, len(skipped))
	for i, m := range skipped {
		names[i] = strings.ReplaceAll(m[1], "_", " ")
	}
	assert.ElementsMatch(t, storetest.Skipped(plain), names)
	assert.Contains(t, string(out), "*storetest.FaultyStore does not offer this")
}

// lists is a Lister that knows of nothing.
type lists struct{}

func (lists) Sessions(context.Context) iter.Seq2[revisit.Record, error] {
	return func(func(revisit.Record, error) bool) {}
}

// tableStore is a plain store that is right in all; each broken one changes
// one thing about it.
type tableStore struct {
	mu      sync.Mutex
	records map[revisit.ID]revisit.Record
	was     map[revisit.ID][]revisit.ID // aliases that were there, by root

	fault string
}

func (s *tableStore) has(fault string) bool { return s.fault == fault }

func (s *tableStore) key(id revisit.ID) revisit.ID {
	if s.has("keys are cut") {
		id[15] = 0
	}
	return id
}

func (s *tableStore) expired(r revisit.Record) bool {
	return !time.Now().Before(r.Expires) && !s.has("nothing expires")
}

func (s *tableStore) Load(ctx context.Context, id revisit.ID) (revisit.Record, error) {
	if err := ctx.Err(); err != nil && !s.has("the context is ignored") {
		return revisit.Record{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.records[s.key(id)]
	if !ok || s.expired(r) && !s.has("an expired record is read") {
		if s.has("absence is no error") {
			return revisit.Record{}, nil
		}
		return revisit.Record{}, revisit.ErrNotFound
	}
	if s.has("a field is lost") {
		r.ConflictingCookies = nil
	}
	if s.has("times are cut to seconds") {
		r.Created = r.Created.Truncate(time.Second)
	}
	return r, nil
}

func (s *tableStore) Save(ctx context.Context, r revisit.Record, old int64) error {
	if err := ctx.Err(); err != nil && !s.has("the context is ignored") {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	have, ok := s.records[s.key(r.ID)]
	var version int64
	if ok && (!s.expired(have) || s.has("an expired record stands in the way") || s.has("an expired record is changed")) {
		version = have.Version
	}
	if s.has("an expired record is changed") && old == 0 && s.expired(have) {
		version = 0
	}
	if version != old {
		switch {
		case s.has("the last write wins"):
		case s.has("a change creates") && version == 0:
		case s.has("a create replaces") && old == 0:
		case s.has("a conflict is not reported"):
			return nil
		case s.has("a conflict is written all the same"):
			s.records[s.key(r.ID)] = r
			return revisit.ErrConflict
		default:
			return revisit.ErrConflict
		}
	}
	if !r.MergedInto.IsZero() {
		if s.was == nil {
			s.was = make(map[revisit.ID][]revisit.ID)
		}
		s.was[r.MergedInto] = append(s.was[r.MergedInto], r.ID)
	}
	if s.has("compare and swap are apart") {
		s.mu.Unlock()
		runtime.Gosched()
		time.Sleep(time.Microsecond)
		s.mu.Lock()
	}
	switch {
	case s.has("slices are written over") && len(r.Touches) > 0 && len(have.Touches) > 0:
		r.Touches = have.Touches[:copy(have.Touches, r.Touches)]
	case s.has("maps are written into") && have.Values != nil && r.Values != nil:
		clear(have.Values)
		maps.Copy(have.Values, r.Values)
		r.Values = have.Values
	case s.has("the first end stays") && ok && version != 0:
		r.Expires = have.Expires
	}
	s.records[s.key(r.ID)] = r
	if s.has("it is written and answered with a conflict") {
		return revisit.ErrConflict
	}
	return nil
}

func (s *tableStore) Aliases(ctx context.Context, root revisit.ID) (all []revisit.ID, err error) {
	if err := ctx.Err(); err != nil && !s.has("the context of Aliases is ignored") {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.has("aliases stay where they were") {
		return slices.Clone(s.was[root]), nil
	}
	for _, r := range s.records {
		switch {
		case r.MergedInto != root, s.expired(r), s.has("some aliases are not found") && r.ID[0] > 128:
		default:
			all = append(all, r.ID)
		}
		if s.has("an expired alias hides the others") && r.MergedInto == root && s.expired(r) {
			return nil, nil
		}
	}
	return all, nil
}

// Run must be able to fail: each of these is caught, by the sub-tests that are
// named here and perhaps by others.
func TestBrokenStoresAreCaught(t *testing.T) {
	for fault, caught := range map[string]string{
		"":                                   "",
		"absence is no error":                "an absent record is ErrNotFound",
		"a field is lost":                    "a record comes back as it was saved",
		"times are cut to seconds":           "a record comes back as it was saved",
		"a create replaces":                  "a create needs an absent record",
		"the last write wins":                "a change needs the version that was read",
		"a conflict is not reported":         "a change needs the version that was read",
		"a conflict is written all the same": "a conflict changes nothing",
		"it is written and answered with a conflict": "a create needs an absent record",
		"a change creates":                           "a change never creates",
		"compare and swap are apart":                 "one writer of many wins each round",
		"keys are cut":                               "records do not touch each other",
		"slices are written over":                    "an old record stays as it was read",
		"maps are written into":                      "a saved record is not written to by the store",
		"nothing expires":                            "an expired record is absent",
		"an expired record is read":                  "an expired record is absent",
		"an expired record is changed":               "an expired record is not changed",
		"an expired record stands in the way":        "an expired record can be created again",
		"the first end stays":                        "a change can move the end",
		"the context is ignored":                     "a context that has ended is an error",
		"some aliases are not found":                 "aliases that others make are found",
		"aliases stay where they were":               "aliases are found",
		"an expired alias hides the others":          "an alias that expires hides no other",
		"the context of Aliases is ignored":          "aliases are found",
	} {
		t.Run(fault, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				// Not on a whole second, where cutting to seconds would not show.
				time.Sleep(123 * time.Millisecond)
				faults := storetest.Check(t.Context(), func() revisit.Store {
					return &tableStore{records: make(map[revisit.ID]revisit.Record), fault: fault}
				})
				if caught == "" {
					assert.Empty(t, faults)
					return
				}
				assert.Contains(t, slices.Collect(maps.Keys(faults)), caught)
			})
		})
	}
}

func TestFaultyInjectsWhatItSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := revisit.NewMemoryStore(revisit.MemoryOptions{})
		defer m.Close()
		record := func() revisit.Record {
			return revisit.Record{ID: revisit.ID{byte(m.Len())}, Version: 1, Expires: time.Now().Add(time.Hour)}
		}
		load := func(f revisit.Store, r revisit.Record) error {
			_, err := f.Load(t.Context(), r.ID)
			return err
		}

		begin := time.Now()
		slow := storetest.Faulty(m, storetest.Faults{Latency: 20 * time.Millisecond, Jitter: 10 * time.Millisecond})
		r := record()
		require.NoError(t, slow.Save(t.Context(), r, 0))
		took := time.Since(begin)
		assert.True(t, took >= 20*time.Millisecond && took < 30*time.Millisecond, "took %v", took)
		require.NoError(t, load(slow, r))
		assert.EqualValues(t, 1, slow.Loads())
		assert.EqualValues(t, 1, slow.Saves())

		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		defer cancel()
		_, err := slow.Load(ctx, r.ID)
		assert.ErrorIs(t, err, context.DeadlineExceeded)

		r = record()
		f := storetest.Faulty(m, storetest.Faults{Fail: 1})
		assert.ErrorIs(t, f.Save(t.Context(), r, 0), storetest.ErrInjected)
		assert.ErrorIs(t, load(f, r), storetest.ErrInjected)
		assert.ErrorIs(t, load(m, r), revisit.ErrNotFound)

		f.Set(storetest.Faults{FalseConflict: 1})
		assert.ErrorIs(t, f.Save(t.Context(), r, 0), revisit.ErrConflict)
		assert.ErrorIs(t, load(m, r), revisit.ErrNotFound)

		f.Set(storetest.Faults{LoseAnswer: 1})
		assert.ErrorIs(t, f.Save(t.Context(), r, 0), storetest.ErrInjected)
		assert.NoError(t, load(m, r))

		r = record()
		f.Set(storetest.Faults{LoseConflict: 1})
		assert.ErrorIs(t, f.Save(t.Context(), r, 0), revisit.ErrConflict)
		assert.NoError(t, load(m, r))

		f.Set(storetest.Faults{Hang: true})
		go func() {
			time.Sleep(time.Minute)
			f.Release()
		}()
		begin = time.Now()
		assert.NoError(t, load(f, r))
		assert.Equal(t, time.Minute, time.Since(begin))
	})
}
