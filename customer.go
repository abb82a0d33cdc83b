package revisit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/revisit-go/revisit/internal/ledger"
)

// ErrApart is returned by Tracker.Merge for sessions that cannot be one: their values
// differ under one key, or one of them has taken in as many others as a session can.
var ErrApart = ledger.ErrApart

// Merge makes two sessions one, because the application knows that they are one
// customer's, who has logged in on two devices, say. The younger session becomes an alias
// of the older one, as when one browser turns out to have two: counts, touches and
// values are put together, and tokens of both lead to the older one, whose ID is
// returned. Config.OnMerge is called.
//
// It cannot be undone, and each of the browsers sees from then on what belongs to the
// other. Use it for customers who have proved who they are; and note that a banner usually
// does not ask for a merge across devices.
//
// It returns ErrNotFound if one of them is not there, ErrForgotten if it was
// forgotten or renewed or its lifetime is over, and ErrApart. A session that the request
// of ctx has started is saved by it. If ctx ends, its error is returned, and the merge
// continues.
func (t *Tracker) Merge(ctx context.Context, a, b ID) (ID, error) {
	v := t.visit(ctx)
	if v != nil {
		v.resolveForm(true)
	}
	if v != nil && v.New() && (v.session.ID == a || v.session.ID == b) {
		if err := v.session.create(ctx); err != nil {
			return ID{}, fmt.Errorf("revisit: merge %v and %v: %w", a, b, err)
		}
	}
	root, err := t.ledger.Merge(ctx, a, b)
	if err != nil {
		return ID{}, fmt.Errorf("revisit: merge %v and %v: %w", a, b, err)
	}
	return root.ID, nil
}

// Renew ends the session of the request, when a person leaves a device that others use,
// as on logout. Its tokens, and those of sessions that were merged into it, are
// worthless from now on; what is stored stays until it expires,
// for the orders that refer to it. The client's carriers are cleared as by Forget, and
// the next page starts a new session. With Config.FlushEvery another process may still
// recognise it for that long.
//
// It returns ErrUnverified if the store did not answer, ErrGuess for a session that the
// request only matches by its fingerprint, and ErrNotFound where the request has no session.
func (t *Tracker) Renew(ctx context.Context) error {
	v := t.visit(ctx)
	if v != nil {
		v.resolveForm(true)
	}
	switch {
	case v == nil || v.session.tracker == nil:
		return fmt.Errorf("revisit: renew: %w", ErrNotFound)
	case v.session.Unverified:
		return ErrUnverified
	case v.session.guess:
		return ErrGuess
	}
	if !v.session.isSaved() {
		v.clearing.Store(true) // nobody has a token of it, and nobody gets one
		return nil
	}
	id := v.session.ID
	err := t.ledger.Renew(ctx, id)
	if err != nil && !errors.Is(err, ErrForgotten) {
		return fmt.Errorf("revisit: renew %v: %w", id, err)
	}
	v.clearing.Store(true)
	return nil
}

// Export returns all that is stored about a session, as JSON for a visitor who asks:
//
//	{"Session": {…}, "Merged": [{…}, …]}
//
// Session is the Record of the session, or of the one that it was merged into; Merged
// has what is left of those that were. Page views of the last Config.FlushEvery may be
// missing. Add what the application has stored under the ID. To erase it, call Forget.
//
// It returns ErrNotFound if nothing is there, and ErrForgotten.
func (t *Tracker) Export(ctx context.Context, id ID) ([]byte, error) {
	var all struct {
		Session Record
		Merged  []Record `json:",omitempty"`
	}
	var err error
	if all.Session, all.Merged, err = t.ledger.Export(ctx, id); err != nil {
		return nil, fmt.Errorf("revisit: export %v: %w", id, err)
	}
	return json.MarshalIndent(all, "", "\t")
}
