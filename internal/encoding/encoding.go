// Package encoding writes records down for stores that keep them as one value: in
// JSON with short names, without what is empty, times in Unix milliseconds.
//
//	{"c":1700000000000,"s":1700000060000,"h":1700000060000,"b":1700000000000,"e":1734128000000,"y":true,"n":1,"i":2,"w":"cookie","t":[{"T":1700000000000,"L":"/shoes","S":"newsletter"}]}
package encoding

import (
	"encoding/json"
	"time"

	"github.com/revisit-go/revisit"
)

type record struct {
	Created    int64            `json:"c"`
	LastSeen   int64            `json:"s,omitempty"`
	LastHit    int64            `json:"h,omitempty"`
	VisitStart int64            `json:"b,omitempty"`
	Expires    int64            `json:"e"`
	Confirmed  bool             `json:"y,omitempty"`
	Forgotten  bool             `json:"x,omitempty"`
	Visits     int64            `json:"n,omitempty"`
	Hits       int64            `json:"i,omitempty"`
	Via        string           `json:"w,omitempty"`
	Touches    []touch          `json:"t,omitempty"`
	Values     map[string]value `json:"v,omitempty"`
	MergedInto *revisit.ID      `json:"m,omitempty"`
	Absorbed   []absorbed       `json:"a,omitempty"`
	Rivals     []revisit.ID     `json:"r,omitempty"`
	Joins      int              `json:"j,omitempty"`
	Likely     *revisit.ID      `json:"l,omitempty"`
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

type absorbed struct {
	ID     revisit.ID `json:"i"`
	Visits int64      `json:"v,omitempty"`
	Hits   int64      `json:"h,omitempty"`
}

// Encode writes down all of a record but its ID and Version.
func Encode(r *revisit.Record) ([]byte, error) {
	out := record{
		Created: milli(r.Created), LastSeen: milli(r.LastSeen), LastHit: milli(r.LastHit), VisitStart: milli(r.VisitStart),
		Expires: milli(r.Expires), Confirmed: r.Confirmed, Forgotten: r.Forgotten, Visits: r.Visits, Hits: r.Hits, Via: r.Via,
		MergedInto: orNil(r.MergedInto), Rivals: r.Rivals, Joins: r.Joins, Likely: orNil(r.Likely),
	}
	for _, t := range r.Touches {
		out.Touches = append(out.Touches, touch{milli(t.Time), t.Landing, t.Referrer, t.Source, t.Medium, t.Campaign, t.Term, t.Content, t.ID, t.Click})
	}
	if len(r.Values) > 0 {
		out.Values = make(map[string]value, len(r.Values))
		for key, v := range r.Values {
			out.Values[key] = value{v.Text, milli(v.At)}
		}
	}
	for _, a := range r.Absorbed {
		out.Absorbed = append(out.Absorbed, absorbed(a))
	}
	return json.Marshal(out)
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
		Rivals: in.Rivals, Joins: in.Joins,
	}
	if in.MergedInto != nil {
		r.MergedInto = *in.MergedInto
	}
	if in.Likely != nil {
		r.Likely = *in.Likely
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
	for _, a := range in.Absorbed {
		r.Absorbed = append(r.Absorbed, revisit.Absorbed(a))
	}
	return r, nil
}

func orNil(id revisit.ID) *revisit.ID {
	if id.IsZero() {
		return nil
	}
	return &id
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
