package revisit

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// viaAdopted is Session.Via of a session that was found, or started, by what another
// library knows the browser by.
const viaAdopted = "adopted"

// maxAdopt is how long a value of Config.Adopt may be, in bytes.
const maxAdopt = 4 << 10

// adoptKeys returns the keys under which the value's session is found, one for each of
// Config.Keys: UUIDv8 of the AES-CMAC of the value. So no client chooses an ID, and a
// store shows nobody the values.
func (t *Tracker) adoptKeys(r *http.Request) ([]ID, error) {
	if t.adopt == nil {
		return nil, nil
	}
	value, err := t.adopt(r)
	if err != nil {
		if times, ok := t.stats.adopts.now(); ok {
			t.logger.Error("revisit: Config.Adopt does not know; nobody is adopted, and nobody new gets a token", "error", err, "times", times)
		}
		return nil, err
	}
	if value == "" || len(value) > maxAdopt {
		return nil, nil
	}
	var keys []ID
	for _, key := range t.keys.subkeys(viaAdopted) {
		var mac [macLen]byte
		key.sum(&mac, []byte(value))
		keys = append(keys, derivedID(mac[:]))
	}
	return keys, nil
}

// adopted finds the session of the value that another library knows the browser by, or
// starts it, and gives it to the handler. It reports whether that is so. An error means
// that nobody knows: then no carrier is to be written, or the browser would never be
// asked again whose it was.
func (t *Tracker) adopted(v *Visit, change *[1]change) (bool, error) {
	keys, err := t.adoptKeys(v.request)
	if err != nil || keys == nil {
		return false, err
	}
	l, at := t.ledger, change[0].at
	begin := time.Now()
	id, err := withinFor(l, v.context.Context, l.timeout, mergeLimit*l.timeout, func(ctx context.Context) (ID, error) {
		return l.adopt(ctx, keys, at)
	})
	if err != nil {
		t.stats.drop(err)
		return false, err
	}
	// The value came back, as a token does: the session counts from now on.
	record, _, err := t.arrive(v, []claim{{id: id, via: viaAdopted}}, change, l.left(begin))
	switch {
	case errors.Is(err, ErrForgotten):
		return false, nil
	case err != nil:
		if l.writeBehind == nil {
			t.stats.drop(err)
		}
		return false, err
	}
	t.stats.recognised(viaAdopted)
	v.open(record.ID, viaAdopted, &record)
	v.wantStart()
	v.rememberVisit(&record)
	return true, nil
}

// adopt returns the session that one of the keys leads to. If none does, it makes one,
// without a page view: where another request is faster, nothing of it counts, and it ends
// in a day.
func (l *ledger) adopt(ctx context.Context, keys []ID, at time.Time) (ID, error) {
	k := likeness{via: viaAdopted, key: keys[0]}
	for i, key := range keys {
		own, root, err := l.follow(ctx, key)
		if err != nil || !root.ID.IsZero() {
			return root.ID, err
		}
		if i == 0 {
			k.missing = own.Version == 0
		}
	}
	// First the session and then its key: another request that found the key without
	// the session would take it for one that leads nowhere.
	record := l.mint(&change{at: at})
	record.Version, record.Via, k.end = newVersion(), viaAdopted, l.end(record.ID)
	if err := l.swap(ctx, record, 0); err != nil {
		return ID{}, err
	}
	to, _, err := k.lead(ctx, l, &record, true)
	if err == nil && to == record.ID {
		l.stats.created.Add(1)
	}
	return to, err
}

// denyAdopted forgets the session of the value, as deny does those of tokens.
func (t *Tracker) denyAdopted(v *Visit) error {
	if v.foreign || !v.mayMint && v.kind != kindForget {
		return nil
	}
	l := t.ledger
	keys, err := t.adoptKeys(v.request)
	if err != nil {
		return err
	}
	for _, key := range keys {
		root, err := within(l, v.context.Context, func(ctx context.Context) (Record, error) {
			_, root, err := l.follow(ctx, key)
			return root, err
		})
		if err == nil && !root.ID.IsZero() {
			err = t.forgetClaim(v.context.Context, claim{id: root.ID, via: viaAdopted}, l.timeout)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
