package revisit

import (
	"errors"
	"net/http"
	"time"

	"github.com/revisit-go/revisit/internal/rules"
	"github.com/revisit-go/revisit/internal/uuid"
)

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
		if times, ok := t.stats.adopts.Now(); ok {
			t.logger.Error("revisit: Config.Adopt does not know; nobody is adopted, and nobody new gets a token", "error", err, "times", times)
		}
		return nil, err
	}
	if value == "" || len(value) > maxAdopt {
		return nil, nil
	}
	var keys []ID
	for _, mac := range t.keys.MACs(viaAdopted, []byte(value)) {
		keys = append(keys, ID(uuid.Derive(mac[:])))
	}
	return keys, nil
}

// adopted finds the session of the value that another library knows the browser by, or
// starts it, and gives it to the handler. It reports whether that is so. After an error no
// carrier is to be written, or the browser would never be asked again.
func (t *Tracker) adopted(v *Visit, change *[1]rules.Change) (bool, error) {
	keys, err := t.adoptKeys(v.request)
	if err != nil || keys == nil {
		return false, err
	}
	l := t.ledger
	begin := time.Now()
	id, err := l.Adopt(v.context.Context, viaAdopted, keys, change[0].At)
	if err != nil {
		t.stats.Drop(err)
		return false, err
	}
	// The value came back, as a token does: the session counts from now on.
	record, _, err := t.resolveClaims(v, []rules.Claim{{ID: id, Via: viaAdopted}}, change, l.Left(begin))
	switch {
	case errors.Is(err, ErrForgotten):
		return false, nil
	case err != nil:
		if !l.Buffers() {
			t.stats.Drop(err)
		}
		return false, err
	}
	t.stats.recognised(viaAdopted)
	v.open(record.ID, viaAdopted, &record)
	v.wantStart()
	v.bindVisit(&record)
	return true, nil
}

// denyAdopted forgets the session of the value, as deny does those of tokens.
func (t *Tracker) denyAdopted(v *Visit) error {
	if v.class.Foreign || !v.class.MayStart && v.kind != kindForget {
		return nil
	}
	l := t.ledger
	keys, err := t.adoptKeys(v.request)
	if err != nil {
		return err
	}
	for _, key := range keys {
		root, err := l.SessionOf(v.context.Context, key)
		if err == nil && !root.ID.IsZero() {
			err = l.ForgetClaim(v.context.Context, rules.Claim{ID: root.ID, Via: viaAdopted}, l.Timeout())
		}
		if err != nil {
			return err
		}
	}
	return nil
}
