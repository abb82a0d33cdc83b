// Package encoding writes records down for stores that keep them as one value: in
// JSON with short names, without what is empty, times in Unix milliseconds.
//
//	{"c":1700000000000,"s":1700000060000,"h":1700000060000,"b":1700000000000,"e":1734128000000,"y":true,"n":1,"i":2,"w":"cookie","t":[{"T":1700000000000,"L":"/shoes","S":"newsletter"}]}
package encoding

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/revisit-go/revisit"
)

type record struct {
	Created            int64            `json:"c"`
	LastSeen           int64            `json:"s,omitempty"`
	LastHit            int64            `json:"h,omitempty"`
	VisitStart         int64            `json:"b,omitempty"`
	Expires            int64            `json:"e"`
	Confirmed          bool             `json:"y,omitempty"`
	Forgotten          bool             `json:"x,omitempty"`
	Visits             int64            `json:"n,omitempty"`
	Hits               int64            `json:"i,omitempty"`
	Via                string           `json:"w,omitempty"`
	Touches            []touch          `json:"t,omitempty"`
	Values             map[string]value `json:"v,omitempty"`
	MergedInto         *revisit.ID      `json:"m,omitempty"`
	MergedSessions     []merged         `json:"a,omitempty"`
	ConflictingCookies []revisit.ID     `json:"r,omitempty"`
	LinksUsed          int              `json:"j,omitempty"`
	ProbableMatch      *revisit.ID      `json:"l,omitempty"`
}

type touch struct {
	Time     int64  `json:"T"`
	Landing  string `json:"L,omitempty"`
	Referrer string `json:"R,omitempty"`
	Source   string `json:"S,omitempty"`
	Medium   string `json:"M,omitempty"`
	Campaign string `json:"C,omitempty"`
	Term     string `json:"K,omitempty"`
	Content  string `json:"N,omitempty"`
	ID       string `json:"I,omitempty"`
	Click    string `json:"G,omitempty"`
}

type value struct {
	Text string `json:"t,omitempty"`
	At   int64  `json:"a"`
}

type merged struct {
	ID            revisit.ID `json:"i"`
	Visits        int64      `json:"v,omitempty"`
	Hits          int64      `json:"h,omitempty"`
	NotifyPending bool       `json:"u,omitempty"`
}

// Encode writes down all of a record but its ID and Version. It is done for each
// page view, so it goes without reflection.
func Encode(r *revisit.Record) ([]byte, error) {
	w := writer{b: make([]byte, 0, 256)}
	w.b = append(w.b, '{')
	w.int("c", milli(r.Created), true)
	w.int("s", milli(r.LastSeen), false)
	w.int("h", milli(r.LastHit), false)
	w.int("b", milli(r.VisitStart), false)
	w.int("e", milli(r.Expires), true)
	w.bool("y", r.Confirmed)
	w.bool("x", r.Forgotten)
	w.int("n", r.Visits, false)
	w.int("i", r.Hits, false)
	w.text("w", r.Via)
	if len(r.Touches) > 0 {
		w.name("t")
		w.b = append(w.b, '[')
		for i := range r.Touches {
			t := &r.Touches[i]
			w.open(i)
			w.int("T", milli(t.Time), true)
			w.text("L", t.Landing)
			w.text("R", t.Referrer)
			w.text("S", t.Source)
			w.text("M", t.Medium)
			w.text("C", t.Campaign)
			w.text("K", t.Term)
			w.text("N", t.Content)
			w.text("I", t.ID)
			w.text("G", t.Click)
			w.b = append(w.b, '}')
		}
		w.b = append(w.b, ']')
	}
	if len(r.Values) > 0 {
		w.name("v")
		w.b = append(w.b, '{')
		for _, key := range slices.Sorted(maps.Keys(r.Values)) {
			w.name(key)
			w.b = append(w.b, '{')
			w.text("t", r.Values[key].Text)
			w.int("a", milli(r.Values[key].At), true)
			w.b = append(w.b, '}')
		}
		w.b = append(w.b, '}')
	}
	w.id("m", r.MergedInto)
	if len(r.MergedSessions) > 0 {
		w.name("a")
		w.b = append(w.b, '[')
		for i, a := range r.MergedSessions {
			w.open(i)
			w.name("i")
			w.string(a.ID.String())
			w.int("v", a.Visits, false)
			w.int("h", a.Hits, false)
			w.bool("u", a.NotifyPending)
			w.b = append(w.b, '}')
		}
		w.b = append(w.b, ']')
	}
	if len(r.ConflictingCookies) > 0 {
		w.name("r")
		w.b = append(w.b, '[')
		for i, id := range r.ConflictingCookies {
			if i > 0 {
				w.b = append(w.b, ',')
			}
			w.string(id.String())
		}
		w.b = append(w.b, ']')
	}
	w.int("j", int64(r.LinksUsed), false)
	w.id("l", r.ProbableMatch)
	w.b = append(w.b, '}')
	return w.b, w.err
}

// A writer appends members to an object; empty ones are left out.
type writer struct {
	b   []byte
	err error
}

func (w *writer) open(i int) {
	if i > 0 {
		w.b = append(w.b, ',')
	}
	w.b = append(w.b, '{')
}

func (w *writer) name(name string) {
	if w.b[len(w.b)-1] != '{' {
		w.b = append(w.b, ',')
	}
	w.string(name)
	w.b = append(w.b, ':')
}

func (w *writer) int(name string, v int64, always bool) {
	if v != 0 || always {
		w.name(name)
		w.b = strconv.AppendInt(w.b, v, 10)
	}
}

func (w *writer) bool(name string, v bool) {
	if v {
		w.name(name)
		w.b = append(w.b, "true"...)
	}
}

func (w *writer) text(name, v string) {
	if v != "" {
		w.name(name)
		w.string(v)
	}
}

func (w *writer) id(name string, id revisit.ID) {
	if !id.IsZero() {
		w.name(name)
		w.string(id.String())
	}
}

// string leaves what is not plain to encoding/json.
func (w *writer) string(s string) {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, err := json.Marshal(s)
			if err != nil {
				w.err = err
			}
			w.b = append(w.b, quoted...)
			return
		}
	}
	w.b = append(append(append(w.b, '"'), s...), '"')
}

// Decode reads what Encode wrote.
func Decode(b []byte, id revisit.ID, version int64) (revisit.Record, error) {
	var in record
	if err := json.Unmarshal(b, &in); err != nil {
		return revisit.Record{}, err
	}
	r := revisit.Record{
		ID: id, Version: version,
		Created: fromMilli(in.Created), LastSeen: fromMilli(in.LastSeen), LastHit: fromMilli(in.LastHit), VisitStart: fromMilli(in.VisitStart),
		Expires: fromMilli(in.Expires), Confirmed: in.Confirmed, Forgotten: in.Forgotten, Visits: in.Visits, Hits: in.Hits, Via: in.Via,
		ConflictingCookies: in.ConflictingCookies, LinksUsed: in.LinksUsed,
	}
	if in.MergedInto != nil {
		r.MergedInto = *in.MergedInto
	}
	if in.ProbableMatch != nil {
		r.ProbableMatch = *in.ProbableMatch
	}
	for _, t := range in.Touches {
		r.Touches = append(r.Touches, revisit.Touch{Time: fromMilli(t.Time), Landing: t.Landing, Referrer: t.Referrer, Source: t.Source,
			Medium: t.Medium, Campaign: t.Campaign, Term: t.Term, Content: t.Content, ID: t.ID, Click: t.Click})
	}
	if len(in.Values) > 0 {
		r.Values = make(map[string]revisit.Value, len(in.Values))
		for key, v := range in.Values {
			r.Values[key] = revisit.Value{Text: v.Text, At: fromMilli(v.At)}
		}
	}
	for _, a := range in.MergedSessions {
		r.MergedSessions = append(r.MergedSessions, revisit.MergedSession(a))
	}
	return r, nil
}

// milli is 0 for the zero time, and for 1970.
func milli(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMilli(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
