package memstore

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/revisit-go/revisit/internal/uuid"
	"github.com/revisit-go/revisit/store"
)

// An aliasIndex has the aliases of each session. Its lock is taken within that of a shard.
type aliasIndex struct {
	mu sync.Mutex
	of map[store.ID]map[store.ID]struct{} // by root
}

// move takes note that an alias leads from one session to another, zero for none.
func (x *aliasIndex) move(alias, from, to store.ID) {
	if from == to || uuid.IsDerived(alias) {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if all := x.of[from]; all != nil {
		delete(all, alias)
		if len(all) == 0 {
			delete(x.of, from)
		}
	}
	if to.IsZero() {
		return
	}
	if x.of == nil {
		x.of = make(map[store.ID]map[store.ID]struct{})
	}
	if x.of[to] == nil {
		x.of[to] = make(map[store.ID]struct{})
	}
	x.of[to][alias] = struct{}{}
}

// Aliases implements [Indexer].
func (m *Store) Aliases(ctx context.Context, root store.ID) ([]store.ID, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.aliases.mu.Lock()
	defer m.aliases.mu.Unlock()
	return slices.Collect(maps.Keys(m.aliases.of[root])), nil
}
