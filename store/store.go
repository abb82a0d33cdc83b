// Package store is the contract between revisit and whatever keeps its sessions: the
// [Store] interface, and the [Record] that it loads and saves. Import it to write a Store.
// Applications find the same names in package revisit.
//
// A Store needs two methods. It knows nothing of HTTP and none of the session rules:
//
//   - Load returns the record of an ID, or [ErrNotFound].
//   - Save replaces one version of a record by another, or returns [ErrConflict]. This
//     compare-and-swap is all the concurrency control there is.
//   - A record counts as absent from Record.Expires on: Load returns ErrNotFound for it,
//     and Save treats it as if it were not there. Delete it some time later.
//
// [Batcher], [Lister] and [Indexer] are optional. Package storetest checks an
// implementation against the contract, and puts faults in front of it.
package store

import (
	"context"
	"errors"
	"iter"
)

// Errors that every Store returns. A Store may wrap them.
var (
	// ErrNotFound is returned by Load for a record that is not there or has
	// expired.
	ErrNotFound = errors.New("revisit: no such record")
	// ErrConflict is returned by Save if the stored record is not the version that the
	// caller has read. Nothing has changed then.
	ErrConflict = errors.New("revisit: the record has another version")
)

// A Store keeps records.
//
// A Store is linearizable for each ID: every Load that begins after a Save has
// returned sees what it saved, on every node. It is safe for concurrent use.
//
// Both methods give up when ctx ends and return its error. A Tracker calls
// them with a deadline of Config.StoreTimeout, and of a few times that for
// merging and forgetting, which no request waits for.
//
// From Record.Expires on, by the Store's own clock, a record is absent to every method. Save
// accepts a record whose Expires has passed; it is absent at once. The Store deletes expired
// records itself, some time later: nobody else does. How it
// encodes a Record is its own choice; encoding/json keeps all of it.
type Store interface {
	// Load returns the record of id. It returns ErrNotFound if there is none
	// or it has expired.
	Load(ctx context.Context, id ID) (Record, error)

	// Save puts r in place of the record of r.ID. With an old of 0 it succeeds only if there is
	// no record, or it has expired. With another old it succeeds only if an unexpired record of
	// that Version is there. Otherwise it returns ErrConflict, and nothing has changed. After
	// any other error the write may have happened.
	Save(ctx context.Context, r Record, old int64) error
}

// A Change is a record that is to replace the version Old: the arguments of Save.
type Change struct {
	Record Record
	Old    int64
}

// A Batcher is a Store that loads and saves many records at once faster than one by
// one. A Tracker with Config.FlushEvery makes use of it.
type Batcher interface {
	Store

	// LoadAll returns the records of ids, in any order. Those that are not there
	// or have expired are left out.
	LoadAll(ctx context.Context, ids []ID) ([]Record, error)

	// SaveAll does what Save does for each change, and returns an error for each.
	// Each change is atomic by itself: one that conflicts does not keep the others from
	// being saved. The changes are of different IDs, and sorted by ID: an engine
	// that locks rows locks them in that order, so that two nodes do not block each
	// other.
	SaveAll(ctx context.Context, changes []Change) []error
}

// A Lister is a Store that can list its sessions, for exports and reports.
type Lister interface {
	Store

	// Sessions returns all sessions, in any order: neither aliases nor
	// tombstones nor records of derived IDs (see Record.IsSession), nor expired
	// ones. It reads page by page, so what is saved meanwhile may be in it or
	// not. An error ends it.
	Sessions(ctx context.Context) iter.Seq2[Record, error]
}

// An Indexer is a Store that finds the aliases of a session. Without it, a merge that was
// interrupted after its first write leaves an alias that Tracker.Forget and Tracker.Export of
// the session do not find, until its token comes back or it expires.
type Indexer interface {
	Store

	// Aliases returns the IDs of all records whose MergedInto is root, in any order.
	// Records under derived IDs (see Record.IsSession) and those that have expired may be
	// left out. An alias is found as soon as the Save that made it has returned, and by
	// every node.
	Aliases(ctx context.Context, root ID) ([]ID, error)
}
