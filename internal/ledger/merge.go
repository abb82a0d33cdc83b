package ledger

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/revisit-go/revisit/internal/rules"
	"github.com/revisit-go/revisit/internal/uuid"
	"github.com/revisit-go/revisit/store"
)

// A merger makes one session of two. That can be interrupted at any point and done again:
//
//  0. a tag that has met another cookie, or a link that was used, is noted on its record (in
//     the same write as 1 if that is the younger session);
//  1. the younger becomes an alias of the older, frozen, its data kept;
//  2. the older takes its counts, under its ID, its touches and values;
//  3. the alias is emptied.
//
// The next request that meets an alias which was not absorbed does the rest. If a value that
// differs was set after 1, the alias becomes a session again (ErrApart).
type merger struct {
	*records
	aliases    *aliasFinder
	tombstones *tombstones
	notifier   *notifier
	cache      cache
}

// A Resolution is the session that claims speak for, and the index of the claim
// that counts.
type Resolution struct {
	ID     store.ID
	Leader int
}

// resolve decides which session several claims of one request speak for, and
// merges those that may be merged. With restore, it may also rebuild what the visitor has
// cleared.
func (m *merger) resolve(ctx context.Context, claims []rules.Claim, restore bool) (Resolution, error) {
	var root store.Record
	leader := -1
	for i, c := range claims {
		own, next, err := m.trace(ctx, c.ID)
		switch {
		case errors.Is(err, ErrForgotten):
			if !restore && leader < 0 {
				// The carrier that counts most speaks of a session that is gone. To
				// give it another one would rebuild what was cleared.
				return Resolution{}, ErrForgotten
			}
			continue // before any merge
		case err != nil:
			return Resolution{}, err
		case c.Follows && rules.Leaked(&own):
			m.counters.LeakedTag()
			continue
		case leader < 0 && c.Stored && rules.Leaked(&next):
			m.counters.LeakedTag()
			continue
		case leader < 0 && c.Link:
			// The anchor has no session of its own yet, and takes the page's.
			next, err = m.use(ctx, c)
			if errors.Is(err, ErrApart) || errors.Is(err, ErrForgotten) {
				continue
			}
			if err != nil {
				return Resolution{}, err
			}
			leader, root = i, next
			continue
		case leader < 0:
			leader, root = i, next
			continue
		case next.ID == root.ID:
			continue
		}
		merged, err := m.merge(ctx, root.ID, claims[leader].ID, c, restore)
		if errors.Is(err, ErrApart) || errors.Is(err, ErrForgotten) {
			continue // the leader counts, and the other carrier is brought to it
		}
		if err != nil {
			return Resolution{}, err
		}
		root = merged
	}
	if leader < 0 {
		return Resolution{}, ErrForgotten
	}
	return Resolution{root.ID, leader}, nil
}

// use uses a link up, and returns the session that it speaks for.
func (m *merger) use(ctx context.Context, c rules.Claim) (store.Record, error) {
	for {
		if err := ctx.Err(); err != nil {
			return store.Record{}, err
		}
		own, root, err := m.trace(ctx, c.ID)
		if err != nil {
			return store.Record{}, err
		}
		next, ok := c.Meets(own, store.ID{})
		if !ok {
			return store.Record{}, ErrApart
		}
		err = m.swap(ctx, next, own.Version)
		if errors.Is(err, store.ErrConflict) {
			continue
		}
		if err != nil {
			return store.Record{}, err
		}
		m.counters.LinksUsed.Add(1)
		if root.ID == own.ID {
			root = next
		}
		return root, nil
	}
}

// merge makes the sessions of root and of the claim one, the older one. Cookie is the claim that
// the other one has come beside.
func (m *merger) merge(ctx context.Context, root, cookie store.ID, c rules.Claim, restore bool) (store.Record, error) {
	used := false // the link, by us
	for {
		if err := ctx.Err(); err != nil {
			return store.Record{}, err
		}
		_, a, err := m.trace(ctx, root)
		if err != nil {
			return store.Record{}, err
		}
		tag, b, err := m.trace(ctx, c.ID)
		if err != nil {
			return store.Record{}, err
		}
		if a.ID == b.ID {
			return a, nil
		}
		older, younger := a, b
		if uuid.Older(b.ID, a.ID) {
			older, younger = b, a
		}
		if !rules.MayMerge(&older, &younger, restore) {
			return store.Record{}, ErrApart
		}
		if len(older.MergedSessions)+1+len(younger.MergedSessions) > rules.MaxMerged {
			long := &older
			if len(younger.MergedSessions) > len(older.MergedSessions) {
				long = &younger
			}
			if err := m.shorten(ctx, long); err != nil && !errors.Is(err, store.ErrConflict) {
				return store.Record{}, err
			}
			continue
		}

		// That the tag has met a different cookie, or that the link was used, is
		// written before anything is merged: so no more than eight get through at
		// one time, and a link once.
		met := tag
		if !used {
			var ok bool
			if met, ok = c.Meets(tag, cookie); !ok {
				return store.Record{}, ErrApart
			}
		}
		if tag.ID != younger.ID && met.Version != tag.Version {
			err := m.swap(ctx, met, tag.Version)
			if err != nil && !errors.Is(err, store.ErrConflict) {
				return store.Record{}, err
			}
			used = c.Link && err == nil
			continue
		}
		alias, old := younger, younger.Version
		alias.MergedInto, alias.Version = older.ID, rules.NewVersion()
		if alias.Expires = m.rules.KeepUntil(alias.ID); !c.AliasEnd.IsZero() { // longer than its tokens: orders have its ID
			alias.Expires = c.AliasEnd
		}
		if tag.ID == younger.ID {
			alias.ConflictingCookies, alias.LinksUsed = met.ConflictingCookies, met.LinksUsed
		}
		if err := m.swap(ctx, alias, old); errors.Is(err, store.ErrConflict) {
			continue
		} else if err != nil {
			return store.Record{}, err
		}
		if c.Link {
			m.counters.LinksUsed.Add(1)
		}
		m.cache.stale(older.ID, younger.ID)
		return m.absorb(ctx, alias)
	}
}

// shorten takes a few sessions that have nothing left of their own off the list of
// those that were merged into a session: their counts are in its own, and an alias
// leads to it without the list. It returns ErrApart if there is none.
func (m *merger) shorten(ctx context.Context, r *store.Record) error {
	next := *r
	next.MergedSessions, next.Version = nil, rules.NewVersion()
	for i, a := range r.MergedSessions {
		if dropped := i - len(next.MergedSessions); dropped == 4 || i == 16 {
			next.MergedSessions = append(next.MergedSessions, r.MergedSessions[i:]...)
			break
		}
		if a.NotifyPending {
			next.MergedSessions = append(next.MergedSessions, a)
			continue
		}
		alias, err := m.store.Load(ctx, a.ID)
		switch {
		case errors.Is(err, store.ErrNotFound), err == nil && rules.IsEmpty(&alias):
			if err := m.aliases.add(ctx, r.ID, a.ID, m.rules.KeepUntil(a.ID)); err != nil {
				return err
			}
		case err != nil:
			m.counters.storeFailed(err)
			return err
		default:
			next.MergedSessions = append(next.MergedSessions, a)
		}
	}
	if len(next.MergedSessions) == len(r.MergedSessions) {
		return ErrApart
	}
	return m.swap(ctx, next, r.Version)
}

// absorb finishes the merge of an alias and returns the session at the root.
func (m *merger) absorb(ctx context.Context, alias store.Record) (store.Record, error) {
	into := alias.MergedInto
	for failures := 0; ; {
		if !uuid.Older(into, alias.ID) {
			return store.Record{}, errCorrupt
		}
		root, err := m.load(ctx, into)
		if errors.Is(err, ErrForgotten) {
			// What came after the forgotten session is forgotten with it.
			if err := m.tombstones.bury(ctx, alias.ID, true); err != nil {
				return store.Record{}, err
			}
			return store.Record{}, ErrForgotten
		}
		if err != nil {
			return store.Record{}, err
		}
		if !root.MergedInto.IsZero() {
			into = root.MergedInto
			continue
		}
		known := slices.ContainsFunc(root.MergedSessions, func(a store.MergedSession) bool { return a.ID == alias.ID }) ||
			alias.Via == store.ViaMerged && rules.IsEmpty(&alias) // taken off the list
		if !known && !rules.SameValues(&root, &alias) {
			// A value was set while they were merged: they stay apart after all.
			alone := alias
			alone.MergedInto, alone.Version = store.ID{}, rules.NewVersion()
			if err := m.swap(ctx, alone, alias.Version); err != nil {
				return store.Record{}, err
			}
			return store.Record{}, ErrApart
		}
		if !known || !rules.IsEmpty(&alias) {
			next := m.rules.Absorb(root, alias, m.notifier.onMerge != nil)
			err := m.swap(ctx, next, root.Version)
			if err != nil {
				if failures++; !errors.Is(err, store.ErrConflict) && failures > maxFailures || ctx.Err() != nil {
					return store.Record{}, err
				}
				continue
			}
			if !known {
				m.counters.Merged.Add(1)
			}
			m.notifier.confirmed(root.Confirmed, &next)
			m.notifier.notifyMerges(&next)
			root = next
		}
		if !rules.IsEmpty(&alias) || alias.MergedInto != root.ID {
			// Straight to the root from now on: on a slow store a long way would take
			// more time than a request has. If this fails, whoever meets the alias next
			// does it.
			_ = m.swap(ctx, m.rules.Emptied(alias, root.ID), alias.Version)
		}
		return root, nil
	}
}

// trace returns the record of id itself and the one of the session that it
// belongs to, which is the same if it was not merged.
func (m *merger) trace(ctx context.Context, id store.ID) (own, root store.Record, err error) {
	for {
		if own, err = m.load(ctx, id); err != nil {
			return own, own, err
		}
		root = own
		if !own.MergedInto.IsZero() {
			root, err = m.absorb(ctx, own)
		}
		if err == nil && m.rules.IsOver(&root, time.Now()) {
			err = ErrForgotten
		}
		if err == nil || !errors.Is(err, ErrApart) && !errors.Is(err, store.ErrConflict) {
			return own, root, err
		}
		if err := ctx.Err(); err != nil {
			return own, own, err
		}
	}
}

// mergeKnown merges two sessions because the application knows that they are one visitor's.
func (m *merger) mergeKnown(ctx context.Context, a, b store.ID) (store.Record, error) {
	for _, id := range [...]store.ID{a, b} {
		switch r, err := m.store.Load(ctx, id); {
		case err != nil:
			return store.Record{}, err
		case r.Forgotten:
			return store.Record{}, ErrForgotten
		case uuid.IsDerived(id):
			return store.Record{}, store.ErrNotFound
		}
	}
	return m.merge(ctx, a, a, rules.Claim{ID: b, Trusted: true}, true)
}
