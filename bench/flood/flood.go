// Package flood has returning visitors and clients that never return ask a bounded
// store for room, and counts the visitors who find their session again.
package flood

import (
	"container/list"
	"context"
	"math/rand/v2"
	"time"

	"github.com/revisit-go/revisit"
)

// A Crowd is who comes. Returning visitors are spread over all of the time, as are
// the sessions of clients that come once and newcomers, who come twice.
type Crowd struct {
	Capacity  int
	Returning int // visitors who come again and again
	Visits    int // of each of them
	Once      int // sessions of clients that never return
	Requests  int // that each of those makes, at once
	Newcomers int // visitors who come a second time, an hour later
}

// Full has a million places for half a million returning visitors and ten million
// sessions of clients that never return. The visitors come so often that a list of
// those used last finds 82 % of them.
var Full = Crowd{Capacity: 1 << 20, Returning: 500_000, Visits: 32, Once: 10_000_000, Newcomers: 100_000}

// Scaled is a crowd so many times smaller.
func (c Crowd) Scaled(by int) Crowd {
	c.Capacity, c.Returning, c.Once, c.Newcomers = c.Capacity/by, c.Returning/by, c.Once/by, c.Newcomers/by
	return c
}

// A Result says who was found again.
type Result struct {
	Returning, Newcomers float64 // of second and later visits
}

// A policy is a bounded store: it tells whether a session is there, and keeps it.
type policy interface {
	visit(id revisit.ID, born, now time.Duration) (found bool)
}

// Memory runs a crowd against revisit's memory store.
func (c Crowd) Memory() Result {
	m := revisit.NewMemoryStore(revisit.MemoryOptions{MaxSessions: c.Capacity, SweepEvery: time.Hour})
	defer m.Close()
	return c.run(&memory{store: m, now: time.Now()})
}

// LRU runs a crowd against a list of those used last.
func (c Crowd) LRU() Result {
	return c.run(&lru{capacity: c.Capacity, list: list.New(), at: make(map[revisit.ID]*list.Element)})
}

// span is the time in which all of them come.
const span = 30 * 24 * time.Hour

func (c Crowd) run(p policy) Result {
	rnd := rand.New(rand.NewPCG(1, 1))
	newID := func() (id revisit.ID) {
		for i := 0; i < 16; i += 8 {
			v := rnd.Uint64()
			for j := range 8 {
				id[i+j] = byte(v >> (8 * j))
			}
		}
		return id
	}
	type visitor struct {
		id   revisit.ID
		born time.Duration
		here bool
	}
	returning := make([]visitor, c.Returning)
	type appointment struct {
		visitor
		at time.Duration
	}
	var waiting []appointment // newcomers, by time
	var found, asked, back, came int
	total := c.Returning*c.Visits + c.Once + c.Newcomers
	for i := range total {
		now := time.Duration(float64(span) * float64(i) / float64(total))
		for len(waiting) > 0 && waiting[0].at <= now {
			came++
			if p.visit(waiting[0].id, waiting[0].born, now) {
				back++
			}
			waiting = waiting[1:]
		}
		switch n := rnd.IntN(total); {
		case n < c.Returning*c.Visits:
			v := &returning[rnd.IntN(len(returning))]
			if !v.here {
				v.id, v.born, v.here = newID(), now, true
				p.visit(v.id, now, now)
				continue
			}
			asked++
			if p.visit(v.id, v.born, now) {
				found++
			} else {
				v.id, v.born = newID(), now // a new visitor again
				p.visit(v.id, now, now)
			}
		case n < c.Returning*c.Visits+c.Newcomers:
			v := visitor{id: newID(), born: now}
			p.visit(v.id, now, now)
			waiting = append(waiting, appointment{v, now + time.Hour})
		default:
			id := newID()
			for range c.Requests {
				p.visit(id, now, now)
			}
		}
	}
	return Result{100 * float64(found) / float64(asked), 100 * float64(back) / float64(came)}
}

// memory tells the store of the time by the age of what it saves.
type memory struct {
	store *revisit.MemoryStore
	now   time.Time
}

func (m *memory) visit(id revisit.ID, born, now time.Duration) bool {
	ctx := context.Background()
	r, err := m.store.Load(ctx, id)
	found := err == nil
	old := r.Version
	r.ID, r.Version, r.Confirmed, r.Hits = id, old+1, found, r.Hits+1
	r.Created, r.Expires = m.now.Add(born-now), m.now.Add(24*time.Hour)
	if err := m.store.Save(ctx, r, old); err != nil {
		panic(err)
	}
	return found
}

type lru struct {
	capacity int
	list     *list.List
	at       map[revisit.ID]*list.Element
}

func (l *lru) visit(id revisit.ID, _, _ time.Duration) bool {
	if e, ok := l.at[id]; ok {
		l.list.MoveToFront(e)
		return true
	}
	if l.list.Len() >= l.capacity {
		delete(l.at, l.list.Remove(l.list.Back()).(revisit.ID))
	}
	l.at[id] = l.list.PushFront(id)
	return false
}
