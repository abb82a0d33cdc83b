package revisit

import (
	"encoding/binary"
	"maps"
	"slices"
	"strings"
	"time"
)

// A slot is a record as a memory store keeps it: what changes with each hit in
// fields of fixed size, the rest written down in one string, which the texts of a
// loaded record are parts of.
type slot struct {
	id                                     ID
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
	slotGoesOn // no rule of a page view asks for the rest, while a visit goes on
	slotAlias

	slotPermanent = slotForgotten | slotRenewed // never pushed out by sessions
)

func (s *slot) is(flag uint8) bool { return s.flags&flag != 0 }

// mergedInto is Record.MergedInto.
func (s *slot) mergedInto() ID {
	if !s.is(slotAlias) {
		return ID{}
	}
	return s.record("").MergedInto
}

func (s *slot) expired(now time.Time) bool { return now.UnixMilli() >= s.expires }

// put writes r into a slot.
func (s *memoryShard) put(have *slot, r *Record) {
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
	if r.Joins == renewed {
		have.flags |= slotRenewed
	}
	if r.goesOn() {
		have.flags |= slotGoesOn
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

// goesOn reports whether the fields of a slot are all that the rules of a page view look
// at, as long as a visit goes on.
func (r *Record) goesOn() bool {
	return r.Confirmed && !r.Forgotten && !r.ID.derived() && r.MergedInto.IsZero() && r.Joins != renewed && !r.leaked() &&
		!slices.ContainsFunc(r.Absorbed, func(a Absorbed) bool { return a.Untold }) && r.Created.Equal(r.ID.Time())
}

// record returns what was put.
func (s *slot) record(via string) Record {
	r := Record{
		ID: s.id, Version: s.version, Created: s.id.Time(), Visits: s.visits, Hits: s.hits, Via: via,
		LastSeen: fromMilli(s.lastSeen), LastHit: fromMilli(s.lastHit),
		VisitStart: fromMilli(s.visitStart), Expires: fromMilli(s.expires),
		Confirmed: s.is(slotConfirmed), Forgotten: s.is(slotForgotten),
	}
	if s.rest != "" {
		readRest(s.rest, &r)
	}
	return r
}

func fromMilli(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// The rest of a record is a sequence of fields, each with its number before it,
// and only those that say something. Numbers are varints, texts have their length
// before them.
const (
	restCreated = iota + 1
	restTouch
	restValue
	restMergedInto
	restAbsorbed
	restRival
	restJoins
	restLikely
	restUntold // as restAbsorbed
)

func appendRest(b []byte, r *Record) []byte {
	if !r.Created.Equal(r.ID.Time()) {
		b = binary.AppendVarint(append(b, restCreated), r.Created.UnixMilli())
	}
	for i := range r.Touches {
		t := &r.Touches[i]
		b = binary.AppendVarint(append(b, restTouch), t.Time.UnixMilli())
		texts := t.texts()
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
	for _, a := range r.Absorbed {
		field := byte(restAbsorbed)
		if a.Untold {
			field = restUntold
		}
		b = append(append(b, field), a.ID[:]...)
		b = binary.AppendVarint(binary.AppendVarint(b, a.Visits), a.Hits)
	}
	for _, id := range r.Rivals {
		b = append(append(b, restRival), id[:]...)
	}
	if r.Joins != 0 {
		b = binary.AppendVarint(append(b, restJoins), int64(r.Joins))
	}
	if !r.Likely.IsZero() {
		b = append(append(b, restLikely), r.Likely[:]...)
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// readRest reads what appendRest wrote, into r. The texts are parts of s.
func readRest(s string, r *Record) {
	in := restReader(s)
	for in != "" {
		switch field := in.byte(); field {
		case restCreated:
			r.Created = fromMilli(in.int())
		case restTouch:
			if r.Touches == nil {
				r.Touches = make([]Touch, 0, 1)
			}
			r.Touches = append(r.Touches, Touch{Time: fromMilli(in.int())})
			t := &r.Touches[len(r.Touches)-1]
			there := in.uint()
			for j, text := range t.texts() {
				if there&(1<<j) != 0 {
					*text = in.text()
				}
			}
		case restValue:
			if r.Values == nil {
				r.Values = make(map[string]Value)
			}
			key := in.text()
			v := Value{Text: in.text()}
			v.At = fromMilli(in.int())
			r.Values[key] = v
		case restMergedInto:
			r.MergedInto = in.id()
		case restAbsorbed, restUntold:
			a := Absorbed{ID: in.id(), Untold: field == restUntold}
			a.Visits, a.Hits = in.int(), in.int()
			r.Absorbed = append(r.Absorbed, a)
		case restRival:
			r.Rivals = append(r.Rivals, in.id())
		case restJoins:
			r.Joins = int(in.int())
		case restLikely:
			r.Likely = in.id()
		}
	}
	// Whoever appends gets a slice of his own.
	r.Touches, r.Absorbed, r.Rivals = slices.Clip(r.Touches), slices.Clip(r.Absorbed), slices.Clip(r.Rivals)
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

func (in *restReader) id() (id ID) {
	copy(id[:], *in)
	*in = (*in)[len(id):]
	return id
}
