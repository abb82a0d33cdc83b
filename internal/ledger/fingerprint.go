package ledger

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"time"

	"github.com/revisit-go/revisit/internal/rules"
	"github.com/revisit-go/revisit/internal/uuid"
	"github.com/revisit-go/revisit/store"
)

// A Fingerprint is what requests without a token look like. Its session is found under a
// key:
//
//	UUIDv8 of the first 16 bytes of HMAC-SHA-256(salt, 1 | length | signal | length | signal ...)
//
// with the version of the format in the first byte and lengths of four bytes,
// big-endian. The record of a key is an alias of an ordinary session, which
// outlives it; it ends with its salt.
type Fingerprint struct {
	Via     string
	window  time.Duration
	signals []byte // as they go into the HMAC

	key     store.ID  // under the current salt; zero while that is not known
	end     time.Time // of the key's record
	missing bool      // there was no record of the key

	ByScript bool // a signal comes from the page's script, which comes with no navigation: for the caller

	// What Lookup has found.
	Match     store.Record // the session with this fingerprint; without ID for none
	HasTokens bool         // of that session
	IsStale   bool         // it was found under the salt before
	Ambiguous bool         // several browsers have this fingerprint
}

const fingerprintVersion = 1

// NewFingerprint returns the fingerprint of a client that shows these signals, under salts
// that are in use for a window.
func NewFingerprint(via string, window time.Duration, signals ...string) *Fingerprint {
	n := 1
	for _, s := range signals {
		n += 4 + len(s)
	}
	b := append(make([]byte, 0, n), fingerprintVersion)
	for _, s := range signals {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
	}
	return &Fingerprint{Via: via, window: window, signals: b}
}

// A fingerprintIndex finds sessions by fingerprint, and by other keys that are no tokens.
type fingerprintIndex struct {
	*records
	salts *saltKeeper
}

func newFingerprintIndex(s *records) *fingerprintIndex {
	return &fingerprintIndex{s, &saltKeeper{records: s}}
}

func (x *fingerprintIndex) close() { x.salts.close() }

// keyOf returns the key of signals under a salt.
func keyOf(salt *salt, signals []byte) store.ID {
	mac := hmac.New(sha256.New, salt[:])
	mac.Write(signals)
	var sum [sha256.Size]byte
	return store.ID(uuid.Derive(mac.Sum(sum[:0])))
}

// lookup looks for the session of a fingerprint, under the current salt and
// then under the one before.
func (x *fingerprintIndex) lookup(ctx context.Context, k *Fingerprint, now time.Time) error {
	previous, err := x.salt(ctx, k, now)
	if err != nil {
		return err
	}
	own, err := x.follow(ctx, k, k.key)
	if err != nil || k.Ambiguous || previous == nil {
		k.missing = err == nil && own.Version == 0
		return err
	}
	k.missing = own.Version == 0
	before := *k
	if _, err = x.follow(ctx, &before, keyOf(previous, k.signals)); err != nil {
		return err
	}
	switch {
	case before.Ambiguous: // yesterday's crowd is one today
		k.Ambiguous, k.Match = true, store.Record{}
	case k.Match.ID.IsZero():
		k.Match, k.HasTokens, k.IsStale = before.Match, before.HasTokens, !before.Match.ID.IsZero()
	}
	return nil
}

// salt sets the key, and returns the salt before.
func (x *fingerprintIndex) salt(ctx context.Context, k *Fingerprint, now time.Time) (previous *salt, err error) {
	current, previous, err := x.salts.of(ctx, k.Via, k.window, now)
	if err != nil {
		return nil, err
	}
	k.key = keyOf(current, k.signals)
	k.end = endOf(k.window, periodOf(k.window, now))
	return previous, nil
}

// follow notes which session a key leads to. It returns the record of the key.
func (x *fingerprintIndex) follow(ctx context.Context, k *Fingerprint, key store.ID) (own store.Record, err error) {
	own, root, err := x.sessionOf(ctx, key)
	switch {
	case err != nil:
	case len(own.ConflictingCookies) > 0:
		k.Ambiguous = true
	default:
		k.Match, k.HasTokens = root, own.Confirmed
	}
	return own, err
}

// sessionOf returns the record of a key and that of the session which it leads to,
// which have no ID if there is none. A fingerprint does not bring a session back that has
// expired or was forgotten.
func (x *fingerprintIndex) sessionOf(ctx context.Context, key store.ID) (own, root store.Record, err error) {
	if own, err = x.store.Load(ctx, key); err == nil {
		for root = own; err == nil && !root.MergedInto.IsZero(); {
			root, err = x.store.Load(ctx, root.MergedInto)
		}
	}
	if err != nil || x.rules.IsOver(&root, time.Now()) {
		root = store.Record{}
	}
	if errors.Is(err, store.ErrNotFound) {
		err = nil
	}
	if err != nil {
		x.counters.storeFailed(err)
	}
	return own, root, err
}

// maxTries is how often bind waits for the session of a key that is new: 63 ms in all.
const maxTries = 6

// bind has the key of a fingerprint lead to a session, if it leads nowhere, and returns the
// one that it leads to. If that is another one, both may be of the same browser, or two
// browsers have the same fingerprint: those that have both been seen since the younger one was
// born, each with its token, are two. A weak session is one that has nothing but the key.
func (x *fingerprintIndex) bind(ctx context.Context, k *Fingerprint, s *store.Record, weak bool) (to store.ID, hasTokens bool, err error) {
	for known, tries := k.missing, 0; ; known = false {
		var own, root store.Record
		if !known {
			if own, root, err = x.sessionOf(ctx, k.key); err != nil {
				return store.ID{}, false, err
			}
		}
		next := own
		switch {
		case root.ID.IsZero() && s.LastSeen.Sub(own.LastSeen) < rules.Burst && tries < maxTries && x.lacks(ctx, own.MergedInto):
			// A request that comes at the same time has saved the key, and is about to
			// save its session.
			sleep(ctx, time.Millisecond<<tries)
			tries++
			continue
		case root.ID.IsZero():
			next = store.Record{
				ID: k.key, Created: s.LastSeen, LastSeen: s.LastSeen, Expires: k.end, Via: k.Via,
				MergedInto: s.ID, Confirmed: !weak,
			}
		case root.ID == s.ID, len(own.ConflictingCookies) > 0, weak, !s.Confirmed:
			return root.ID, own.Confirmed, nil
		case !own.Confirmed, !root.Confirmed, s.Created.After(root.LastSeen):
			// That browser has this session now; and a session that has nothing but its
			// fingerprint gives way to one that has a token.
			next.MergedInto, next.Confirmed = s.ID, true
		default:
			next.ConflictingCookies = []store.ID{s.ID}
		}
		next.Version = rules.NewVersion()
		if err = x.swap(ctx, next, own.Version); err == nil {
			return s.ID, next.Confirmed, nil
		}
		if !errors.Is(err, store.ErrConflict) {
			return store.ID{}, false, err
		}
		if err = ctx.Err(); err != nil {
			return store.ID{}, false, err
		}
	}
}

// lacks reports whether there is no record of an ID, not even of its end.
func (x *fingerprintIndex) lacks(ctx context.Context, id store.ID) bool {
	if id.IsZero() {
		return false
	}
	_, err := x.store.Load(ctx, id)
	return errors.Is(err, store.ErrNotFound)
}

// adopt returns the session that one of the keys leads to. If none does, it makes one,
// without a page view: where another request is faster, nothing of it counts, and it ends
// in a day.
func (x *fingerprintIndex) adopt(ctx context.Context, via string, keys []store.ID, at time.Time) (store.ID, error) {
	k := Fingerprint{Via: via, key: keys[0]}
	for i, key := range keys {
		own, root, err := x.sessionOf(ctx, key)
		if err != nil || !root.ID.IsZero() {
			return root.ID, err
		}
		if i == 0 {
			k.missing = own.Version == 0
		}
	}
	// First the session and then its key: another request that found the key without
	// the session would take it for one that leads nowhere.
	record := x.rules.NewSession(&rules.Change{At: at})
	record.Version, record.Via, k.end = rules.NewVersion(), via, x.rules.TokensEnd(record.ID)
	if err := x.swap(ctx, record, 0); err != nil {
		return store.ID{}, err
	}
	to, _, err := x.bind(ctx, &k, &record, true)
	if err == nil && to == record.ID {
		x.counters.Created.Add(1)
	}
	return to, err
}

// Lookup finds the session of a fingerprint. An error means that it is not known. It waits
// for so long at most.
func (l *Ledger) Lookup(ctx context.Context, k *Fingerprint, now time.Time, wait time.Duration) (*Fingerprint, error) {
	found := *k
	return runWithin(l.runner, ctx, wait, wait, func(ctx context.Context) (*Fingerprint, error) {
		return &found, l.fingerprints.lookup(ctx, &found, now)
	})
}

// Bind has a fingerprint lead to a session, in the background. A weak session is one that has
// nothing else.
func (l *Ledger) Bind(ctx context.Context, k *Fingerprint, s *store.Record, now time.Time, weak bool) {
	found, record := *k, *s
	runDetached(l.runner, ctx, func(ctx context.Context) error {
		if found.key.IsZero() {
			if _, err := l.fingerprints.salt(ctx, &found, now); err != nil {
				return err
			}
		}
		_, _, err := l.fingerprints.bind(ctx, &found, &record, weak)
		return err
	})
}

// CreateByFingerprint saves a new session that has nothing but a fingerprint, and returns it.
// If another request was faster, the change counts on that one's session, which is returned. A
// session that was saved already (by Session.Set) is merged into that one.
func (l *Ledger) CreateByFingerprint(ctx context.Context, k *Fingerprint, s *store.Record, isSaved, restore bool, c rules.Change) (store.Record, error) {
	found, record := *k, *s
	return runWithin(l.runner, ctx, l.runner.timeout, mergeLimit*l.runner.timeout, func(ctx context.Context) (store.Record, error) {
		to, hasTokens, err := l.fingerprints.bind(ctx, &found, &record, true)
		switch {
		case err != nil:
			return record, err
		case isSaved && (to == record.ID || hasTokens):
			return record, nil
		case isSaved:
			_, err := l.merger.merge(ctx, to, to, rules.Claim{ID: record.ID, Via: found.Via, AliasEnd: found.end}, restore)
			if errors.Is(err, ErrApart) || errors.Is(err, ErrForgotten) {
				err = nil
			}
			return record, err
		case to == record.ID || hasTokens:
			return l.updater.create(ctx, record)
		}
		return l.Update(ctx, to, []rules.Change{c})
	})
}

// Adopt returns the session that one of the keys leads to, and starts it if none does. It
// waits for the store as a request does.
func (l *Ledger) Adopt(ctx context.Context, via string, keys []store.ID, at time.Time) (store.ID, error) {
	return runWithin(l.runner, ctx, l.runner.timeout, mergeLimit*l.runner.timeout, func(ctx context.Context) (store.ID, error) {
		return l.fingerprints.adopt(ctx, via, keys, at)
	})
}

// SessionOf returns the record of the session that a key of Adopt leads to, without ID for
// none.
func (l *Ledger) SessionOf(ctx context.Context, key store.ID) (store.Record, error) {
	return runWithin(l.runner, ctx, l.runner.timeout, l.runner.timeout, func(ctx context.Context) (store.Record, error) {
		_, root, err := l.fingerprints.sessionOf(ctx, key)
		return root, err
	})
}
