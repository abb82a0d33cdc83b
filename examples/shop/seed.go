package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/revisit-go/revisit"
	"github.com/revisit-go/revisit/examples/shop/report"
)

// A seeder makes up a history of the shop, always the same for the same days, so that
// the dashboard shows something at once. The sessions go into the store, too.
type seeder struct {
	store  revisit.Store
	report *report.Report
	rand   *rand.Rand
	prefix string // of numbers, by the day that it was made up
	number int
}

// campaigns that the made-up visitors came by, by weight; "" is direct.
var seedSources = []struct {
	weight float64
	touch  revisit.Touch
}{
	{30, revisit.Touch{}},
	{24, revisit.Touch{Referrer: "https://www.google.com/", Source: "google", Medium: "search"}},
	{14, revisit.Touch{Source: "google", Medium: "cpc", Campaign: "teapots", Click: "gclid=seeded"}},
	{12, revisit.Touch{Source: "newsletter", Medium: "email", Campaign: "autumn"}},
	{8, revisit.Touch{Source: "instagram", Medium: "paid-social", Campaign: "lamps"}},
	{6, revisit.Touch{Referrer: "https://news.example/gifts", Source: "news.example", Medium: "referral"}},
	{4, revisit.Touch{Referrer: "https://chatgpt.com/", Source: "chatgpt", Medium: "ai"}},
	{2, revisit.Touch{Source: "partner", Medium: "affiliate", Campaign: "bread"}},
}

// seed makes up so many days before now, and reports how far it is.
func seed(ctx context.Context, store revisit.Store, r *report.Report, now time.Time, days int, progress func(percent int)) error {
	s := &seeder{store: store, report: r, rand: rand.New(rand.NewPCG(20261122, uint64(days)))}
	begin := now.Truncate(24*time.Hour).AddDate(0, 0, -days)
	s.prefix = begin.Format("0102")
	type planned struct {
		record revisit.Record
		next   time.Time
	}
	var people []*planned
	for day := range days + 1 { // and today, as far as it has come
		progress(99 * day / (days + 1))
		date := begin.AddDate(0, 0, day)
		// More visitors from week to week, fewer on weekends.
		visitors := 22 + day/2 + s.rand.IntN(8)
		if weekday := date.Weekday(); weekday == time.Saturday || weekday == time.Sunday {
			visitors = visitors * 2 / 3
		}
		for range visitors {
			at := date.Add(time.Duration(7*60+s.rand.IntN(15*60)) * time.Minute)
			if at.After(now) {
				continue
			}
			p := &planned{record: revisit.Record{ID: s.id(at), Created: at, Via: "cookie", Confirmed: true, Expires: at.AddDate(0, 25, 0)}}
			if s.rand.IntN(4) == 0 {
				p.record.Via = "etag"
			}
			if err := s.visit(ctx, &p.record, at); err != nil {
				return err
			}
			people = append(people, p)
			p.next = s.next(at)
		}
		for _, p := range people {
			for !p.next.IsZero() && p.next.Before(date.AddDate(0, 0, 1)) && p.next.Before(now) {
				if err := s.visit(ctx, &p.record, p.next); err != nil {
					return err
				}
				p.next = s.next(p.next)
			}
		}
	}
	for i, p := range people {
		if i%100 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if err := store.Save(ctx, p.record, 0); err != nil && !errors.Is(err, revisit.ErrConflict) { // of an attempt that was broken off
			return err
		}
	}
	return nil
}

// seed makes up a history, if the shop has none.
func (s *shop) seed(ctx context.Context, store revisit.Store, days int, out io.Writer) error {
	if days <= 0 {
		return nil
	}
	defer s.board.seeding.Store(100)
	now, err := s.report.Summary(ctx, time.Now(), dashboardDays, "")
	if err != nil || len(now.Campaigns) > 0 {
		return err
	}
	last := -10
	progress := func(percent int) {
		s.board.seeding.Store(int64(percent))
		if percent/10 > last/10 || percent == 0 && last < 0 {
			fmt.Fprintf(out, "Making up %d days of history: %d %%\n", days, percent)
			last = percent
		}
	}
	// All or nothing: what was broken off is made up again at the next start.
	if err := s.report.All(ctx, func(r *report.Report) error { return seed(ctx, store, r, time.Now(), days, progress) }); err != nil {
		return err
	}
	progress(100)
	return nil
}

// id is one of the time at.
func (s *seeder) id(at time.Time) (id revisit.ID) {
	binary.BigEndian.PutUint64(id[:], uint64(at.UnixMilli())<<16|0x7000|s.rand.Uint64()&0xfff)
	binary.BigEndian.PutUint64(id[8:], 1<<63|s.rand.Uint64()>>2)
	return id
}

// next is when a visitor comes again; zero for most.
func (s *seeder) next(at time.Time) time.Time {
	if s.rand.IntN(100) < 55 {
		return time.Time{}
	}
	return at.Add(time.Duration(1+s.rand.IntN(9)) * 24 * time.Hour).Add(time.Duration(s.rand.IntN(300)-150) * time.Minute)
}

// visit is one visit, with what comes of it.
func (s *seeder) visit(ctx context.Context, r *revisit.Record, at time.Time) error {
	at = at.Truncate(time.Millisecond).UTC()
	r.Version = s.rand.Int64() | 1
	r.Visits++
	r.Hits += int64(1 + s.rand.IntN(6))
	r.VisitStart, r.LastHit, r.LastSeen = at, at.Add(time.Duration(s.rand.IntN(20))*time.Minute), at
	r.LastSeen = r.LastHit
	t := s.source()
	t.Time, t.Landing = at, "/product/"+products[s.rand.IntN(len(products))].SKU
	if len(r.Touches) == 0 || !t.IsDirect() && len(r.Touches) < 16 {
		r.Touches = append(r.Touches[:len(r.Touches):len(r.Touches)], t)
	}
	if err := s.report.Hit(ctx, revisit.Hit{Session: *r, Count: 1, Time: at, Touch: t}); err != nil {
		return err
	}
	s.number++
	switch x := s.rand.IntN(100); {
	case x < 4+2*int(min(r.Visits, 4)): // who comes again buys more
		p := products[s.rand.IntN(len(products))]
		o := report.Order{Number: fmt.Sprintf("S%s-%04d", s.prefix, s.number), Session: r.ID.String(), At: r.LastHit, Cents: int64(p.Cents), What: p.Name}
		if err := s.report.Order(ctx, o, r.Touches); err != nil {
			return err
		}
		_, err := s.report.Paid(ctx, o.Number, o.At.Add(time.Minute))
		return err
	case x < 20:
		return s.report.Lead(ctx, fmt.Sprintf("SL%s-%04d", s.prefix, s.number), r.ID.String(), r.Touches[len(r.Touches)-1], r.LastHit)
	}
	return nil
}

func (s *seeder) source() revisit.Touch {
	x := s.rand.Float64() * 100
	for _, c := range seedSources {
		if x -= c.weight; x < 0 {
			t := c.touch
			if t.Click != "" {
				t.Click = fmt.Sprintf("gclid=seeded%d", s.rand.IntN(1e9))
			}
			return t
		}
	}
	return revisit.Touch{}
}
