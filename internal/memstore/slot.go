package memstore

import (
	"encoding/binary"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/revisit-go/revisit/internal/millis"
	"github.com/revisit-go/revisit/internal/rules"
	"github.com/revisit-go/revisit/internal/touch"
	"github.com/revisit-go/revisit/store"
)

// A Slot is a record as a memory store keeps it: what changes with each hit in
// fields of fixed size, the rest written down in one string, which the texts of a
// loaded record are parts of.
type Slot struct {
	id                                     store.ID
	version                                int64
	lastSeen, lastHit, visitStart, expires int64 // in Unix milliseconds
	visits, hits                           int64
	rest                                   string
	next, prev                             uint32 // slots: of the probation, of the free ones
	via                                    uint16
	flags                                  uint8
}

// Flags of a slot.
const (
	slotUsed = 1 << iota
	slotConfirmed
	slotForgotten
	slotListed   // on probation
	slotReturned // since the clock's hand went by
	slotRenewed
	slotContinues // no rule of a page view asks for the rest, while a visit goes on
	slotAlias

	slotPermanent = slotForgotten | slotRenewed // never pushed out by sessions
)

// IsUsed reports whether the slot holds a record.
func (s *Slot) IsUsed() bool { return s.is(slotUsed) }

func (s *Slot) is(flag uint8) bool { return s.flags&flag != 0 }

// mergedInto is Record.MergedInto.
func (s *Slot) mergedInto() store.ID {
	if !s.is(slotAlias) {
		return store.ID{}
	}
	return s.Record("").MergedInto
}

func (s *Slot) expired(now time.Time) bool { return now.UnixMilli() >= s.expires }

// put writes r into a slot.
func (s *shard) put(have *Slot, r *store.Record) {
	have.id, have.version, have.visits, have.hits = r.ID, r.Version, r.Visits, r.Hits
	have.lastSeen, have.lastHit = r.LastSeen.UnixMilli(), r.LastHit.UnixMilli()
	have.visitStart, have.expires = r.VisitStart.UnixMilli(), r.Expires.UnixMilli()
	have.flags = have.flags&(slotListed|slotReturned) | slotUsed
	if r.Confirmed {
		have.flags |= slotConfirmed
	}
	if r.Forgotten {
		have.flags |= slotForgotten
	}
	if r.LinksUsed == store.Renewed {
		have.flags |= slotRenewed
	}
	if rules.Continues(r) {
		have.flags |= slotContinues
	}
	if !r.MergedInto.IsZero() {
		have.flags |= slotAlias
	}
	via := slices.Index(s.vias, r.Via)
	if via < 0 {
		via = len(s.vias)
		s.vias = append(s.vias, strings.Clone(r.Via)) // few: the names of the strategies
	}
	have.via = uint16(via)
	// Most of the time only the fields above have changed.
	if s.scratch = appendRest(s.scratch[:0], r); have.rest != string(s.scratch) {
		have.rest = string(s.scratch)
	}
}

// Record returns what was put. Its Via is kept by the store, as a number.
func (s *Slot) Record(via string) store.Record {
	r := store.Record{
		ID: s.id, Version: s.version, Created: s.id.Time(), Visits: s.visits, Hits: s.hits, Via: via,
		LastSeen: millis.Time(s.lastSeen), LastHit: millis.Time(s.lastHit),
		VisitStart: millis.Time(s.visitStart), Expires: millis.Time(s.expires),
		Confirmed: s.is(slotConfirmed), Forgotten: s.is(slotForgotten),
	}
	if s.rest != "" {
		readRest(s.rest, &r)
	}
	return r
}

// The rest of a record is a sequence of fields, each with its number before it,
// and only those that say something. Numbers are varints, texts have their length
// before them.
const (
	restCreated = iota + 1
	restTouch
	restValue
	restMergedInto
	restMergedSession
	restConflict
	restLinksUsed
	restProbable
	restPending // as restMergedSession, with NotifyPending
)

func appendRest(b []byte, r *store.Record) []byte {
	if !r.Created.Equal(r.ID.Time()) {
		b = binary.AppendVarint(append(b, restCreated), r.Created.UnixMilli())
	}
	for i := range r.Touches {
		t := &r.Touches[i]
		b = binary.AppendVarint(append(b, restTouch), t.Time.UnixMilli())
		texts := touch.Texts(t)
		var there uint64
		for j, text := range texts {
			if *text != "" {
				there |= 1 << j
			}
		}
		b = binary.AppendUvarint(b, there)
		for _, text := range texts {
			if *text != "" {
				b = appendText(b, *text)
			}
		}
	}
	if len(r.Values) > 0 {
		for _, key := range slices.Sorted(maps.Keys(r.Values)) {
			v := r.Values[key]
			b = appendText(append(b, restValue), key)
			b = binary.AppendVarint(appendText(b, v.Text), v.At.UnixMilli())
		}
	}
	if !r.MergedInto.IsZero() {
		b = append(append(b, restMergedInto), r.MergedInto[:]...)
	}
	for _, a := range r.MergedSessions {
		field := byte(restMergedSession)
		if a.NotifyPending {
			field = restPending
		}
		b = append(append(b, field), a.ID[:]...)
		b = binary.AppendVarint(binary.AppendVarint(b, a.Visits), a.Hits)
	}
	for _, id := range r.ConflictingCookies {
		b = append(append(b, restConflict), id[:]...)
	}
	if r.LinksUsed != 0 {
		b = binary.AppendVarint(append(b, restLinksUsed), int64(r.LinksUsed))
	}
	if !r.ProbableMatch.IsZero() {
		b = append(append(b, restProbable), r.ProbableMatch[:]...)
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// readRest reads what appendRest wrote, into r. The texts are parts of s.
func readRest(s string, r *store.Record) {
	in := restReader(s)
	for in != "" {
		switch field := in.byte(); field {
		case restCreated:
			r.Created = millis.Time(in.int())
		case restTouch:
			if r.Touches == nil {
				r.Touches = make([]store.Touch, 0, 1)
			}
			r.Touches = append(r.Touches, store.Touch{Time: millis.Time(in.int())})
			t := &r.Touches[len(r.Touches)-1]
			there := in.uint()
			for j, text := range touch.Texts(t) {
				if there&(1<<j) != 0 {
					*text = in.text()
				}
			}
		case restValue:
			if r.Values == nil {
				r.Values = make(map[string]store.Value)
			}
			key := in.text()
			v := store.Value{Text: in.text()}
			v.At = millis.Time(in.int())
			r.Values[key] = v
		case restMergedInto:
			r.MergedInto = in.id()
		case restMergedSession, restPending:
			a := store.MergedSession{ID: in.id(), NotifyPending: field == restPending}
			a.Visits, a.Hits = in.int(), in.int()
			r.MergedSessions = append(r.MergedSessions, a)
		case restConflict:
			r.ConflictingCookies = append(r.ConflictingCookies, in.id())
		case restLinksUsed:
			r.LinksUsed = int(in.int())
		case restProbable:
			r.ProbableMatch = in.id()
		}
	}
	// Whoever appends gets a slice of their own.
	r.Touches, r.MergedSessions, r.ConflictingCookies = slices.Clip(r.Touches), slices.Clip(r.MergedSessions), slices.Clip(r.ConflictingCookies)
}

// A restReader reads from the front of what appendRest wrote. It is our own
// memory, and cannot be damaged.
type restReader string

func (in *restReader) byte() byte {
	b := (*in)[0]
	*in = (*in)[1:]
	return b
}

func (in *restReader) uint() (v uint64) {
	for shift := 0; ; shift += 7 {
		b := in.byte()
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return v
		}
	}
}

func (in *restReader) int() int64 {
	v := in.uint()
	return int64(v>>1) ^ -int64(v&1)
}

func (in *restReader) text() string {
	n := in.uint()
	s := (*in)[:n]
	*in = (*in)[n:]
	return string(s)
}

func (in *restReader) id() (id store.ID) {
	copy(id[:], *in)
	*in = (*in)[len(id):]
	return id
}
