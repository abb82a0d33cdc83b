package revisit

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// A likeness is what a request without a token looks like. It is found again under a
// key:
//
//	UUIDv8 of the first 16 bytes of HMAC-SHA-256(salt, 1 | length | signal | length | signal ...)
//
// with the version of the format in the first byte and lengths of four bytes,
// big-endian. The record of a key is an alias of an ordinary session, which
// outlives it; it ends with its salt.
type likeness struct {
	via     string
	window  time.Duration
	signals []byte // as they go into the HMAC

	key     ID        // under the current salt; zero while that is not known
	end     time.Time // of the key's record
	missing bool      // there was no record of the key

	likely  Record // the session that looks like this one; without ID for none
	strong  bool   // which has carriers
	renew   bool   // it was found under the salt before
	crowded bool   // several browsers look like this

	fetched bool // by something that the page's script says, which comes with no navigation
}

const likenessVersion = 1

// MayMatch reports whether Match would do anything with this request. It does not
// without permission, and not for what nobody has asked for yet (prefetches).
func (v *Visit) MayMatch() bool {
	return (v.permission == Recognise || v.permission == Restore) && !v.foreign && !isPrefetch(v.request.Header)
}

// Match identifies the client by signals of its request, for a strategy that keeps nothing
// in it: the purpose is the strategy's Via, another one panics. A match is weak: it decides
// which session a request belongs to only where no token came, and that session goes into
// no carrier. Two requests look alike if all
// signals are the same, in the same order. They are kept as an HMAC with a salt that
// is destroyed at the end of the next window. A window is an hour to 31 days; another
// one panics. The first Match of a request counts.
func (v *Visit) Match(purpose string, window time.Duration, signals ...string) {
	v.tracker.mustRank(purpose)
	if window < minWindow || window > maxWindow {
		panic(fmt.Sprintf("revisit: Match: the window is %v, want %v to %v", window, minWindow, maxWindow))
	}
	if v.like != nil || !v.MayMatch() {
		return
	}
	n := 1
	for _, s := range signals {
		n += 4 + len(s)
	}
	b := append(make([]byte, 0, n), likenessVersion)
	for _, s := range signals {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
	}
	v.like = &likeness{via: purpose, window: window, signals: b}
}

// keyOf returns the key of signals under a salt.
func keyOf(salt *salt, signals []byte) ID {
	mac := hmac.New(sha256.New, salt[:])
	mac.Write(signals)
	var sum [sha256.Size]byte
	return derivedID(mac.Sum(sum[:0]))
}

// derivedID makes a UUIDv8 of the first 16 bytes of a hash (RFC 9562, section 5.8).
func derivedID(sum []byte) ID {
	id := ID(sum[:16])
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return id
}

type salt [32]byte

// salts are those of one purpose.
type salts struct {
	period            int64 // number of the window; that of Unix time 0 is 0
	current, previous *salt // nil: not known, none
	destroy           [2]*time.Timer
}

// saltsOf returns the salts of the window that now lies in, and of the one before.
// All nodes get the same.
func (l *ledger) saltsOf(ctx context.Context, via string, window time.Duration, now time.Time) (current, previous *salt, err error) {
	period := periodOf(window, now)
	l.saltsMu.Lock()
	known := l.salts[via]
	l.saltsMu.Unlock()
	if known.current != nil && known.period == period {
		return known.current, known.previous, nil
	}
	// Once a window, in as many requests as come at that moment: nobody waits for one
	// that hangs.
	if known.current != nil && known.period == period-1 {
		previous = known.current
	} else if previous, err = l.loadSalt(ctx, via, window, period-1); err != nil && !errors.Is(err, ErrNotFound) {
		return nil, nil, err
	}
	if current, err = l.makeSalt(ctx, via, window, period); err != nil {
		return nil, nil, err
	}
	l.saltsMu.Lock()
	defer l.saltsMu.Unlock()
	known = l.salts[via]
	switch {
	case l.saltsClosed:
	case known.current != nil && known.period == period+1 && known.previous == nil: // two at midnight, the later one first
		known.previous = current
		l.salts[via] = known
	case known.current == nil || known.period < period: // never back, whatever a clock does
		known.stop()
		// Also in a process that nobody asks for anything any more: first the one before,
		// then both.
		at := func(end int64, destroy func(salts)) *time.Timer {
			return time.AfterFunc(time.Until(endOf(window, end)), func() {
				l.saltsMu.Lock()
				defer l.saltsMu.Unlock()
				if known := l.salts[via]; known.period == period {
					destroy(known)
				}
			})
		}
		if l.salts == nil {
			l.salts = make(map[string]salts)
		}
		l.salts[via] = salts{period, current, previous, [2]*time.Timer{
			at(period-1, func(known salts) {
				known.previous = nil
				l.salts[via] = known
			}),
			at(period, func(salts) { delete(l.salts, via) }),
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

// closeSalts forgets them all.
func (l *ledger) closeSalts() {
	l.saltsMu.Lock()
	defer l.saltsMu.Unlock()
	for _, s := range l.salts {
		s.stop()
	}
	clear(l.salts)
	l.saltsClosed = true
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
func saltID(via string, window time.Duration, period int64) ID {
	sum := sha256.Sum256([]byte("revisit v1 salt " + via + " " + strconv.FormatInt(window.Milliseconds(), 10) + " " + strconv.FormatInt(period, 10)))
	return derivedID(sum[:])
}

// saltKey is the key of the value that a salt's record has it in.
const saltKey = "salt"

func (l *ledger) loadSalt(ctx context.Context, via string, window time.Duration, period int64) (*salt, error) {
	r, err := l.store.Load(ctx, saltID(via, window, period))
	if err != nil {
		l.count(err)
		return nil, err
	}
	b, err := base64.RawURLEncoding.DecodeString(r.Values[saltKey].Text)
	if err != nil || len(b) != len(salt{}) {
		return nil, errors.New("revisit: the record of a salt has none")
	}
	return (*salt)(b), nil
}

// makeSalt returns the salt of a window, and makes it if there is none.
func (l *ledger) makeSalt(ctx context.Context, via string, window time.Duration, period int64) (*salt, error) {
	for {
		have, err := l.loadSalt(ctx, via, window, period)
		if !errors.Is(err, ErrNotFound) {
			return have, err
		}
		var fresh salt
		rand.Read(fresh[:])
		begin := time.UnixMilli(period * window.Milliseconds()).UTC()
		err = l.swap(ctx, Record{
			ID: saltID(via, window, period), Version: newVersion(), Created: begin, LastSeen: begin, Expires: endOf(window, period), Via: via,
			Values: map[string]Value{saltKey: {Text: base64.RawURLEncoding.EncodeToString(fresh[:]), At: begin}},
		}, 0)
		switch {
		case err == nil:
			return &fresh, nil
		case !errors.Is(err, ErrConflict):
			return nil, err
		case ctx.Err() != nil:
			return nil, ctx.Err()
		}
	}
}

// find looks for a session that looks like the request, under the current salt and
// then under the one before.
func (k *likeness) find(ctx context.Context, l *ledger, now time.Time) error {
	previous, err := k.salt(ctx, l, now)
	if err != nil {
		return err
	}
	own, err := k.look(ctx, l, k.key)
	if err != nil || k.crowded || previous == nil {
		k.missing = err == nil && own.Version == 0
		return err
	}
	k.missing = own.Version == 0
	before := *k
	if _, err = before.look(ctx, l, keyOf(previous, k.signals)); err != nil {
		return err
	}
	switch {
	case before.crowded: // yesterday's crowd is one today
		k.crowded, k.likely = true, Record{}
	case k.likely.ID.IsZero():
		k.likely, k.strong, k.renew = before.likely, before.strong, !before.likely.ID.IsZero()
	}
	return nil
}

// salt sets the key, and returns the salt before.
func (k *likeness) salt(ctx context.Context, l *ledger, now time.Time) (previous *salt, err error) {
	current, previous, err := l.saltsOf(ctx, k.via, k.window, now)
	if err != nil {
		return nil, err
	}
	k.key = keyOf(current, k.signals)
	k.end = endOf(k.window, periodOf(k.window, now))
	return previous, nil
}

// look notes which session a key leads to. It returns the record of the key.
func (k *likeness) look(ctx context.Context, l *ledger, key ID) (own Record, err error) {
	own, root, err := l.follow(ctx, key)
	switch {
	case err != nil:
	case len(own.Rivals) > 0:
		k.crowded = true
	default:
		k.likely, k.strong = root, own.Confirmed
	}
	return own, err
}

// follow returns the record of a key and that of the session which it leads to,
// which have no ID if there is none. What has expired or was forgotten is not born
// again by what somebody looks like.
func (l *ledger) follow(ctx context.Context, key ID) (own, root Record, err error) {
	if own, err = l.store.Load(ctx, key); err == nil {
		for root = own; err == nil && !root.MergedInto.IsZero(); {
			root, err = l.store.Load(ctx, root.MergedInto)
		}
	}
	if err != nil || l.isOver(&root, time.Now()) {
		root = Record{}
	}
	if errors.Is(err, ErrNotFound) {
		err = nil
	}
	if err != nil {
		l.count(err)
	}
	return own, root, err
}

// maxTries is how often lead waits for the session of a key that is new: 63 ms in all.
const maxTries = 6

// lead has the key lead to a session, if it leads nowhere, and returns the one that
// it leads to. If that is another one, both may be of the same browser, or two
// browsers look alike: those that have both been seen since the younger one was born,
// each with its token, are two. A weak session is one that has nothing but the key.
func (k *likeness) lead(ctx context.Context, l *ledger, s *Record, weak bool) (to ID, strong bool, err error) {
	for known, tries := k.missing, 0; ; known = false {
		var own, root Record
		if !known {
			if own, root, err = l.follow(ctx, k.key); err != nil {
				return ID{}, false, err
			}
		}
		next := own
		switch {
		case root.ID.IsZero() && s.LastSeen.Sub(own.LastSeen) < burst && tries < maxTries && l.lacks(ctx, own.MergedInto):
			// A request that comes at the same time has saved the key, and is about to
			// save its session.
			sleep(ctx, time.Millisecond<<tries)
			tries++
			continue
		case root.ID.IsZero():
			next = Record{
				ID: k.key, Created: s.LastSeen, LastSeen: s.LastSeen, Expires: k.end, Via: k.via,
				MergedInto: s.ID, Confirmed: !weak,
			}
		case root.ID == s.ID, len(own.Rivals) > 0, weak, !s.Confirmed:
			return root.ID, own.Confirmed, nil
		case !own.Confirmed, !root.Confirmed, s.Created.After(root.LastSeen):
			// Whoever that was, he has this one now; and what has nothing but its look gives
			// way to what has a token.
			next.MergedInto, next.Confirmed = s.ID, true
		default:
			next.Rivals = []ID{s.ID}
		}
		next.Version = newVersion()
		if err = l.swap(ctx, next, own.Version); err == nil {
			return s.ID, next.Confirmed, nil
		}
		if !errors.Is(err, ErrConflict) {
			return ID{}, false, err
		}
		if err = ctx.Err(); err != nil {
			return ID{}, false, err
		}
	}
}

// lacks reports whether there is no record of an ID, not even of its end.
func (l *ledger) lacks(ctx context.Context, id ID) bool {
	if id.IsZero() {
		return false
	}
	_, err := l.store.Load(ctx, id)
	return errors.Is(err, ErrNotFound)
}

// match looks up who looks like the request. An error means that nobody knows. For a hint
// there is half of the time: the session that it is for is to be saved yet.
func (t *Tracker) match(v *Visit, hint bool) error {
	k, now, wait := *v.like, v.now, t.ledger.timeout
	if hint {
		wait /= 2
	}
	found, err := withinFor(t.ledger, v.context.Context, wait, wait, func(ctx context.Context) (likeness, error) {
		err := k.find(ctx, t.ledger, now)
		return k, err
	})
	if err != nil {
		t.stats.drop(err)
		v.like = nil
		return err
	}
	v.like = &found
	return nil
}

// startsWeak reports whether a session may be started that has nothing but what the
// request looks like. As with a cookie, the many requests of a page must not
// start one each.
func (v *Visit) startsWeak() bool {
	return v.mayMint && v.like != nil && !v.like.crowded && (v.navigation || v.seedable() || v.like.fetched)
}

// rememberNew has the request's likeness lead to the session that it has started,
// before the header of the response goes. A session that has nothing else is saved
// here.
func (v *Visit) rememberNew(status int) {
	switch {
	case v.like == nil || !v.New() || v.like.crowded:
	case !v.weak:
		if v.session.isSaved() {
			v.remember(v.session.Record())
		}
	case v.navigation || status == http.StatusOK && v.seedable() || status < 300 && v.like.fetched:
		v.session.join(v)
	}
}

// rememberVisit has the request's likeness lead to the session that it came with, where
// it begins a visit, or may have shown that the session is one (its second page view): once
// is enough. What a script says comes when it comes.
func (v *Visit) rememberVisit(s *Record) {
	if v.like != nil && (v.hit && (s.Hits <= 2 || s.VisitStart.Equal(v.now)) || v.like.fetched) {
		v.remember(*s)
	}
}

// remember has the request's likeness lead to a session. Nobody waits for it.
func (v *Visit) remember(s Record) {
	l, k, now, weak := v.tracker.ledger, *v.like, v.now, v.weak
	l.behind(v.context.Context, func(ctx context.Context) error {
		if k.key.IsZero() {
			if _, err := k.salt(ctx, l, now); err != nil {
				return err
			}
		}
		_, _, err := k.lead(ctx, l, &s, weak)
		return err
	})
}

// join saves a session that has nothing but a likeness. If another request has been
// faster, it counts on that one's session.
func (s *Session) join(v *Visit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.saveFail != nil {
		return
	}
	l, k, record, saved, permission := v.tracker.ledger, *v.like, *s.known(), s.saved, v.permission
	c := change{at: v.now, via: k.via, hit: v.hit, landing: v.landing}
	if c.hit {
		c.touch, c.reload = v.touch(), v.reloads()
	}
	if v.hit && !v.session.counted { // see takeViewBack
		c.undo = 1
	}
	r, err := withinFor(l, v.context.Context, l.timeout, mergeLimit*l.timeout, func(ctx context.Context) (Record, error) {
		to, strong, err := k.lead(ctx, l, &record, true)
		switch {
		case err != nil:
			return record, err
		case saved && (to == record.ID || strong):
			return record, nil
		case saved: // by Set
			_, err := l.merge(ctx, to, to, claim{id: record.ID, via: k.via, end: k.end}, permission)
			if errors.Is(err, errApart) || errors.Is(err, ErrForgotten) {
				err = nil
			}
			return record, err
		case to == record.ID || strong:
			return l.create(ctx, record)
		}
		return l.settle(ctx, to, []change{c})
	})
	if err != nil {
		s.saveFail = err
		v.tracker.stats.drop(err)
		return
	}
	s.record, s.saved = &r, true
}
