package report

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"time"
)

// A query of a panel, for its test, which looks at its plan.
type query struct {
	text  string
	index string // that it is to use; that of a table's primary key is called by the table
}

var (
	nowQuery = query{`SELECT count(*) FROM visitors WHERE last > ?`, "visitors_last"}

	daysQuery = query{`SELECT day, fresh, sum(visits) FROM daily WHERE day >= ? GROUP BY day, fresh ORDER BY day`, "daily"}

	viaQuery = query{`SELECT via, sum(visits) FROM daily WHERE day >= ? GROUP BY via ORDER BY 2 DESC`, "daily"}

	visitsQuery = query{`SELECT source, medium, campaign, sum(visits) FROM daily WHERE day >= ? GROUP BY source, medium, campaign`, "daily"}

	leadsQuery = query{`SELECT source, medium, campaign, count(*) FROM leads WHERE at >= ? GROUP BY source, medium, campaign`, "leads_at"}

	creditsQuery = query{`SELECT source, medium, campaign, sum(credit), sum(cents) FROM credits WHERE model = ? AND paid >= ? GROUP BY source, medium, campaign`, "credits_model"}

	// Who has not come back has no timeline.
	ordersQuery = query{`SELECT o.number, coalesce(v.session, ''), o.at, o.paid, o.cents, o.what FROM orders o LEFT JOIN visitors v ON v.session = o.session
		WHERE o.paid IS NOT NULL ORDER BY o.paid DESC LIMIT 10`, "orders_paid"}

	totalsQuery = query{`SELECT count(*), coalesce(sum(cents), 0) FROM orders WHERE paid >= ?`, "orders_paid"}

	visitorQuery = query{`SELECT first, last, hits, visits, via FROM visitors WHERE session = ?`, "visitors"}

	timelineQuery = query{`SELECT at, source, medium, campaign, landing, via FROM visits WHERE session = ? ORDER BY at`, "visits"}

	ordersOfQuery = query{`SELECT number, session, at, paid, cents, what FROM orders WHERE session = ? ORDER BY at`, "orders_session"}

	leadsOfQuery = query{`SELECT number, at FROM leads WHERE session = ? ORDER BY at`, "leads_session"}
)

// A Day is one of the chart of visits.
type Day struct {
	Date           time.Time
	New, Returning int64
}

// A Campaign is a row of the table of campaigns.
type Campaign struct {
	Source, Medium, Name string
	Visits, Leads        int64
	Orders               float64 // shared out, as the revenue
	Cents                int64
}

// A PaidOrder is an Order that was paid.
type PaidOrder struct {
	Order
	Paid time.Time
}

// A Summary is what the dashboard shows.
type Summary struct {
	Now       int64 // visitors of the last five minutes
	Days      []Day
	Via       []Count
	Campaigns []Campaign
	Orders    []PaidOrder
	Count     int64 // orders in all of these days
	Cents     int64
}

// A Count is a number of something.
type Count struct {
	Name string
	N    int64
}

// Summary returns what the dashboard shows of so many days, by a model of attribution.
func (r *Report) Summary(ctx context.Context, now time.Time, days int, model string) (*Summary, error) {
	s := &Summary{}
	since := dayOf(now) - int64(days) + 1
	sinceMilli := since * day.Milliseconds()
	if err := r.db.QueryRowContext(ctx, r.sql(nowQuery.text), now.Add(-5*time.Minute).UnixMilli()).Scan(&s.Now); err != nil {
		return nil, err
	}
	for d := since; d <= dayOf(now); d++ {
		s.Days = append(s.Days, Day{Date: time.UnixMilli(d * day.Milliseconds()).UTC()})
	}
	if err := r.each(ctx, daysQuery, func(rows *sql.Rows) error {
		var d, fresh, visits int64
		if err := rows.Scan(&d, &fresh, &visits); err != nil {
			return err
		}
		if i := d - since; i < int64(len(s.Days)) {
			if fresh == 1 {
				s.Days[i].New = visits
			} else {
				s.Days[i].Returning = visits
			}
		}
		return nil
	}, since); err != nil {
		return nil, err
	}
	if err := r.each(ctx, viaQuery, func(rows *sql.Rows) error {
		var c Count
		err := rows.Scan(&c.Name, &c.N)
		s.Via = append(s.Via, c)
		return err
	}, since); err != nil {
		return nil, err
	}
	type key struct{ source, medium, name string }
	campaigns := make(map[key]*Campaign)
	var order []key
	at := func(k key) *Campaign {
		c := campaigns[k]
		if c == nil {
			c = &Campaign{Source: k.source, Medium: k.medium, Name: k.name}
			campaigns[k] = c
			order = append(order, k)
		}
		return c
	}
	for _, q := range []struct {
		query
		args []any
		add  func(c *Campaign, n float64, cents int64)
		wide bool
	}{
		{visitsQuery, []any{since}, func(c *Campaign, n float64, _ int64) { c.Visits = int64(n) }, false},
		{leadsQuery, []any{sinceMilli}, func(c *Campaign, n float64, _ int64) { c.Leads = int64(n) }, false},
		{creditsQuery, []any{model, sinceMilli}, func(c *Campaign, n float64, cents int64) { c.Orders, c.Cents = n, cents }, true},
	} {
		if err := r.each(ctx, q.query, func(rows *sql.Rows) error {
			var k key
			var n float64
			var cents int64
			into := []any{&k.source, &k.medium, &k.name, &n}
			if q.wide {
				into = append(into, &cents)
			}
			if err := rows.Scan(into...); err != nil {
				return err
			}
			q.add(at(k), n, cents)
			return nil
		}, q.args...); err != nil {
			return nil, err
		}
	}
	for _, k := range order {
		if c := campaigns[k]; c.Visits != 0 || c.Leads != 0 || c.Orders != 0 {
			s.Campaigns = append(s.Campaigns, *c)
		}
	}
	s.Campaigns = most(s.Campaigns)
	var err error
	if s.Orders, err = r.orders(ctx, ordersQuery); err != nil {
		return nil, err
	}
	return s, r.db.QueryRowContext(ctx, r.sql(totalsQuery.text), sinceMilli).Scan(&s.Count, &s.Cents)
}

// maxCampaigns is how many rows the table of campaigns has. Anybody can make up names of
// campaigns, by opening links that have them.
const maxCampaigns = 50

// Others is the source of the row of all other campaigns.
const Others = "…"

// most sorts campaigns by what they have earned, and folds those at the end into one.
func most(all []Campaign) []Campaign {
	slices.SortStableFunc(all, func(a, b Campaign) int {
		return cmp.Or(cmp.Compare(b.Cents, a.Cents), cmp.Compare(b.Visits, a.Visits), cmp.Compare(b.Leads, a.Leads))
	})
	if len(all) <= maxCampaigns {
		return all
	}
	others := Campaign{Source: Others}
	for _, c := range all[maxCampaigns:] {
		others.Visits += c.Visits
		others.Leads += c.Leads
		others.Orders += c.Orders
		others.Cents += c.Cents
	}
	return append(all[:maxCampaigns:maxCampaigns], others)
}

func (r *Report) each(ctx context.Context, q query, f func(*sql.Rows) error, args ...any) error {
	rows, err := r.db.QueryContext(ctx, r.sql(q.text), args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (r *Report) orders(ctx context.Context, q query, args ...any) (all []PaidOrder, err error) {
	err = r.each(ctx, q, func(rows *sql.Rows) error {
		var o PaidOrder
		var at int64
		var paid sql.NullInt64
		if err := rows.Scan(&o.Number, &o.Session, &at, &paid, &o.Cents, &o.What); err != nil {
			return err
		}
		o.At = time.UnixMilli(at).UTC()
		if paid.Valid {
			o.Paid = time.UnixMilli(paid.Int64).UTC()
		}
		all = append(all, o)
		return nil
	}, args...)
	return all, err
}

// An Event is something in a visitor's timeline.
type Event struct {
	At   time.Time
	Kind string // "visit", "lead" or "order"
	Text string
	Via  string
}

// A Visitor is one visitor's timeline.
type Visitor struct {
	First, Last  time.Time
	Hits, Visits int64
	Via          string
	Events       []Event
}

// Visitor returns a visitor's timeline. It returns sql.ErrNoRows for one who is not
// known.
func (r *Report) Visitor(ctx context.Context, session string) (*Visitor, error) {
	v := &Visitor{}
	var first, last int64
	if err := r.db.QueryRowContext(ctx, r.sql(visitorQuery.text), session).Scan(&first, &last, &v.Hits, &v.Visits, &v.Via); err != nil {
		return nil, err
	}
	v.First, v.Last = time.UnixMilli(first).UTC(), time.UnixMilli(last).UTC()
	if err := r.each(ctx, timelineQuery, func(rows *sql.Rows) error {
		var at int64
		var source, medium, campaign, landing, via string
		if err := rows.Scan(&at, &source, &medium, &campaign, &landing, &via); err != nil {
			return err
		}
		v.Events = append(v.Events, Event{time.UnixMilli(at).UTC(), "visit", Name(source, medium, campaign), via})
		return nil
	}, session); err != nil {
		return nil, err
	}
	if err := r.each(ctx, leadsOfQuery, func(rows *sql.Rows) error {
		var number string
		var at int64
		err := rows.Scan(&number, &at)
		v.Events = append(v.Events, Event{time.UnixMilli(at).UTC(), "lead", number, ""})
		return err
	}, session); err != nil {
		return nil, err
	}
	orders, err := r.orders(ctx, ordersOfQuery, session)
	for _, o := range orders {
		v.Events = append(v.Events, Event{o.At, "order", o.Number + ": " + o.What, ""})
	}
	return v, err
}

// Name is how a campaign is called for people.
func Name(source, medium, campaign string) string {
	switch {
	case source == Unknown:
		return "not known"
	case source == Others:
		return "all others"
	case source == "" && campaign == "" && medium == "":
		return "direct"
	case source == "":
		return cmp.Or(campaign, medium)
	case campaign != "":
		return source + " / " + campaign
	case medium != "" && medium != source:
		return source + " (" + medium + ")"
	}
	return source
}
