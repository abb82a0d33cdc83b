package revisit

import "github.com/revisit-go/revisit/store"

// What a Store keeps, and how it is asked for it. These are the names of package store, which
// has their full documentation.
type (
	// A Store keeps records. Write your own with two methods: Load, and a compare-and-swap
	// Save. See the example, and package storetest, which checks one.
	Store = store.Store
	// A Batcher is a Store that loads and saves many records at once. A [Tracker] with
	// [Config.FlushEvery] makes use of it.
	Batcher = store.Batcher
	// A Change is what a Batcher saves: a record, and the version that it replaces.
	Change = store.Change
	// A Lister is a Store that can list its sessions, for exports and reports.
	Lister = store.Lister
	// An Indexer is a Store that finds the sessions that were merged into another one.
	Indexer = store.Indexer

	// An ID names a session: a UUIDv7, which sorts by the session's age. It is not a secret.
	ID = store.ID
	// A Record is all that is stored about a session.
	Record = store.Record
	// A Touch is one way that led the visitor here: a landing page with a campaign, a click
	// identifier or a referrer.
	Touch = store.Touch
	// A Value is what the application has attached to a session under a key.
	Value = store.Value
	// A MergedSession is a session that was merged into another one, with what it brought.
	MergedSession = store.MergedSession
)

// Errors that every Store returns.
var (
	// ErrNotFound is returned for a session that is not there or has expired.
	ErrNotFound = store.ErrNotFound
	// ErrConflict is returned by Store.Save if the stored record is another version than the
	// caller has read.
	ErrConflict = store.ErrConflict
)

// ParseID reads what [ID.String] writes. It returns the zero ID and an error for anything
// else.
func ParseID(s string) (ID, error) { return store.ParseID(s) }
