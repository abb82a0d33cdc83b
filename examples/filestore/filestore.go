// Package filestore is the worked example of docs/stores.md: a whole Store, of an
// afternoon's size, that keeps each session in a file of its own. It is for one
// process.
package filestore

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/revisit-go/revisit"
)

// A Store keeps records in a folder, in JSON.
type Store struct {
	dir string
	// What Save reads and what it writes must be one step, for each ID. A lock for
	// all would do; some for parts of the IDs let others pass.
	locks [64]sync.RWMutex
}

var _ revisit.Store = (*Store)(nil)

// Open returns a store in a folder, which it creates if there is none.
func Open(dir string) (*Store, error) {
	return &Store{dir: dir}, os.MkdirAll(dir, 0o700)
}

func (s *Store) lock(id revisit.ID) *sync.RWMutex { return &s.locks[id[15]%64] }

func (s *Store) path(id revisit.ID) string { return filepath.Join(s.dir, id.String()+".json") }

// Load implements revisit.Store.
func (s *Store) Load(ctx context.Context, id revisit.ID) (revisit.Record, error) {
	// The contract: give up when ctx ends, and return its error.
	if err := ctx.Err(); err != nil {
		return revisit.Record{}, err
	}
	lock := s.lock(id)
	lock.RLock()
	defer lock.RUnlock()
	return s.read(id)
}

func (s *Store) read(id revisit.ID) (revisit.Record, error) {
	text, err := os.ReadFile(s.path(id))
	if errors.Is(err, fs.ErrNotExist) {
		return revisit.Record{}, revisit.ErrNotFound
	}
	if err != nil {
		return revisit.Record{}, err
	}
	var r revisit.Record
	if err := json.Unmarshal(text, &r); err != nil {
		return revisit.Record{}, err
	}
	// The contract: what has expired counts as absent.
	if !time.Now().Before(r.Expires) {
		return revisit.Record{}, revisit.ErrNotFound
	}
	return r, nil
}

// Save implements revisit.Store.
func (s *Store) Save(ctx context.Context, r revisit.Record, old int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	lock := s.lock(r.ID)
	lock.Lock()
	defer lock.Unlock()
	// The contract: old is the version that is there, 0 for none. So a create never
	// brings a session back, and a change never makes one.
	have, err := s.read(r.ID)
	if err != nil && !errors.Is(err, revisit.ErrNotFound) {
		return err
	}
	if have.Version != old {
		return revisit.ErrConflict
	}
	// All of it or nothing, whatever happens in between.
	temp := s.path(r.ID) + ".new"
	if err := os.WriteFile(temp, text, 0o600); err != nil {
		return err
	}
	return os.Rename(temp, s.path(r.ID))
}

// Sweep deletes what has expired. The contract: a Store deletes it, nobody else does. Call this
// now and then; a Store for production does it by itself, as pgstore does.
func (s *Store) Sweep() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		id, err := revisit.ParseID(e.Name()[:max(0, len(e.Name())-len(".json"))])
		if err != nil {
			continue
		}
		lock := s.lock(id)
		lock.Lock()
		if _, err := s.read(id); errors.Is(err, revisit.ErrNotFound) {
			errs = append(errs, os.Remove(s.path(id)))
		}
		lock.Unlock()
	}
	return errors.Join(errs...)
}
