// Package report is what the shop knows besides the sessions: visits, leads, orders, and
// who has earned them, in tables of its own. It shows how an application keeps what it
// wants to look at: fed by Config.OnHit and Config.OnMerge, and by its own orders in
// their own transaction.
//
// The tables are the same in SQLite and PostgreSQL. What is looked at often (visits by
// day) is counted when it happens, so that a dashboard does not count a million rows.
package report

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/revisit-go/revisit"
	"github.com/revisit-go/revisit/attribution"
)

// Models are those that each order is shared out by.
var Models = []attribution.Model{
	attribution.LastNonDirect, attribution.Last, attribution.First, attribution.Linear, attribution.PositionBased, attribution.TimeDecay(7 * 24 * time.Hour),
}

// schema has times in Unix milliseconds, days in days of Unix time.
var schema = []string{
	`CREATE TABLE IF NOT EXISTS visitors (
		session TEXT PRIMARY KEY, first BIGINT NOT NULL, last BIGINT NOT NULL, hits BIGINT NOT NULL, visits BIGINT NOT NULL, via TEXT NOT NULL)`,
	`CREATE INDEX IF NOT EXISTS visitors_last ON visitors (last)`,
	`CREATE TABLE IF NOT EXISTS visits (
		session TEXT NOT NULL, at BIGINT NOT NULL, source TEXT NOT NULL, medium TEXT NOT NULL, campaign TEXT NOT NULL, landing TEXT NOT NULL, via TEXT NOT NULL,
		fresh BIGINT NOT NULL, PRIMARY KEY (session, at))`,
	`CREATE TABLE IF NOT EXISTS daily (
		day BIGINT NOT NULL, source TEXT NOT NULL, medium TEXT NOT NULL, campaign TEXT NOT NULL, via TEXT NOT NULL, fresh BIGINT NOT NULL, visits BIGINT NOT NULL,
		PRIMARY KEY (day, source, medium, campaign, via, fresh))`,
	`CREATE TABLE IF NOT EXISTS orders (
		number TEXT PRIMARY KEY, session TEXT NOT NULL, at BIGINT NOT NULL, paid BIGINT, cents BIGINT NOT NULL, what TEXT NOT NULL)`,
	`CREATE INDEX IF NOT EXISTS orders_session ON orders (session)`,
	`CREATE INDEX IF NOT EXISTS orders_paid ON orders (paid)`,
	`CREATE TABLE IF NOT EXISTS credits (
		model TEXT NOT NULL, number TEXT NOT NULL, source TEXT NOT NULL, medium TEXT NOT NULL, campaign TEXT NOT NULL, credit REAL NOT NULL, cents BIGINT NOT NULL, paid BIGINT)`,
	`CREATE INDEX IF NOT EXISTS credits_number ON credits (number)`,
	`CREATE INDEX IF NOT EXISTS credits_model ON credits (model, paid)`,
	`CREATE TABLE IF NOT EXISTS leads (
		number TEXT PRIMARY KEY, session TEXT NOT NULL, at BIGINT NOT NULL, source TEXT NOT NULL, medium TEXT NOT NULL, campaign TEXT NOT NULL)`,
	`CREATE INDEX IF NOT EXISTS leads_at ON leads (at)`,
	`CREATE INDEX IF NOT EXISTS leads_session ON leads (session)`,
	// Sessions that were merged into others, or forgotten: a page view that is told of
	// late does not bring them back.
	`CREATE TABLE IF NOT EXISTS gone (session TEXT PRIMARY KEY)`,
}

// A Report is the database.
type Report struct {
	db       *sql.DB
	tx       *sql.Tx // of All
	postgres bool    // placeholders are $1, $2
}

// Open makes the tables, if they are not there. Postgres says which of the two
// databases it is.
func Open(ctx context.Context, db *sql.DB, postgres bool) (*Report, error) {
	for _, statement := range schema {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return nil, fmt.Errorf("report: %w", err)
		}
	}
	return &Report{db: db, postgres: postgres}, nil
}

// sql writes the placeholders as the database has them.
func (r *Report) sql(text string) string {
	if !r.postgres {
		return text
	}
	var b strings.Builder
	n := 0
	for _, part := range strings.SplitAfter(text, "?") {
		if before, ok := strings.CutSuffix(part, "?"); ok {
			n++
			b.WriteString(before + "$" + strconv.Itoa(n))
			continue
		}
		b.WriteString(part)
	}
	return b.String()
}

// A tx is a transaction that writes placeholders as the database has them.
type tx struct {
	*sql.Tx
	r *Report
}

func (t tx) exec(ctx context.Context, text string, args ...any) (rows int64, err error) {
	result, err := t.ExecContext(ctx, t.r.sql(text), args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

func (t tx) one(ctx context.Context, text string, args ...any) *sql.Row {
	return t.QueryRowContext(ctx, t.r.sql(text), args...)
}

func (r *Report) inTx(ctx context.Context, f func(tx) error) error {
	if r.tx != nil {
		return f(tx{r.tx, r})
	}
	t, err := r.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer t.Rollback()
	if err := f(tx{t, r}); err != nil {
		return err
	}
	return t.Commit()
}

// All does many things in one transaction: all of them, or none.
func (r *Report) All(ctx context.Context, f func(*Report) error) error {
	return r.inTx(ctx, func(t tx) error { return f(&Report{r.db, t.Tx, r.postgres}) })
}

const day = 24 * time.Hour

func dayOf(t time.Time) int64 { return t.UnixMilli() / day.Milliseconds() }

// Unknown is the source of what nobody knows the way of: an order without a session.
const Unknown = "?"

// from is where a visit came from: "" for one that began directly.
func from(t revisit.Touch) (source, medium, campaign string) {
	if t.IsDirect() {
		return "", "", ""
	}
	source = t.Source
	if source == "" && t.Click != "" {
		source, _, _ = strings.Cut(t.Click, "=") // of which platform the click is
	}
	return source, t.Medium, t.Campaign
}

// touchOf returns the touch that a visit began with, which began at that time: one that is
// not direct, if it has one, for what was known of its first page may have come later.
func touchOf(r *revisit.Record, begin, end time.Time) (touch revisit.Touch) {
	for _, t := range r.Touches {
		if t.Time.Before(begin) || !end.IsZero() && !t.Time.Before(end) {
			continue
		}
		if !t.IsDirect() {
			return t
		}
		if touch.Time.IsZero() {
			touch = t
		}
	}
	return touch
}

// A visit is one row. The counts by day are those of the rows, so that whatever changes a
// row changes the count with it.
type visit struct {
	at                                     int64
	source, medium, campaign, landing, via string
	fresh                                  int64 // 1 for a visitor's first
}

// count adds a visit to those of its day, or takes it away.
func (v *visit) count(ctx context.Context, t tx, by int64) error {
	_, err := t.exec(ctx, `INSERT INTO daily (day, source, medium, campaign, via, fresh, visits) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (day, source, medium, campaign, via, fresh) DO UPDATE SET visits = daily.visits + excluded.visits`,
		v.at/day.Milliseconds(), v.source, v.medium, v.campaign, v.via, v.fresh, by)
	return err
}

// add puts a visit of a session in, if it is not there. One that is there and seemed to be
// direct gets the way that is known now.
func (v *visit) add(ctx context.Context, t tx, session string) error {
	added, err := t.exec(ctx, `INSERT INTO visits (session, at, source, medium, campaign, landing, via, fresh) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (session, at) DO NOTHING`,
		session, v.at, v.source, v.medium, v.campaign, v.landing, v.via, v.fresh)
	if err != nil {
		return err
	}
	if added > 0 {
		return v.count(ctx, t, 1)
	}
	if v.source == "" && v.campaign == "" {
		return nil
	}
	have := *v
	if err := t.one(ctx, `SELECT source, medium, campaign, via, fresh FROM visits WHERE session = ? AND at = ?`, session, v.at).
		Scan(&have.source, &have.medium, &have.campaign, &have.via, &have.fresh); err != nil || have.source != "" || have.campaign != "" {
		return err
	}
	if err := have.count(ctx, t, -1); err != nil {
		return err
	}
	have.source, have.medium, have.campaign = v.source, v.medium, v.campaign
	if _, err := t.exec(ctx, `UPDATE visits SET source = ?, medium = ?, campaign = ?, landing = ? WHERE session = ? AND at = ?`,
		v.source, v.medium, v.campaign, v.landing, session, v.at); err != nil {
		return err
	}
	return have.count(ctx, t, 1)
}

// Hit is told of page views by the Tracker. Who is not confirmed yet is not counted: a
// scanner that opens the links of a letter, say.
func (r *Report) Hit(ctx context.Context, h revisit.Hit) error {
	s := &h.Session
	if !s.Confirmed || s.VisitStart.IsZero() {
		return nil
	}
	id := s.ID.String()
	return r.inTx(ctx, func(t tx) error {
		var known, gone int64
		if err := t.one(ctx, `SELECT (SELECT count(*) FROM gone WHERE session = ?), (SELECT count(*) FROM visitors WHERE session = ?)`, id, id).Scan(&gone, &known); err != nil || gone > 0 {
			return err
		}
		if _, err := t.exec(ctx, `INSERT INTO visitors (session, first, last, hits, visits, via) VALUES (?, ?, ?, ?, 0, ?)
			ON CONFLICT (session) DO UPDATE SET last = excluded.last, hits = excluded.hits, via = excluded.via`,
			id, s.Created.UnixMilli(), s.LastHit.UnixMilli(), s.Hits, s.Via); err != nil {
			return err
		}
		begins := []time.Time{s.VisitStart}
		// Whose first visit had nothing but its first page is heard of by the second one. Its
		// touch is the first, whichever way it was.
		if known == 0 && len(s.Touches) > 0 && s.Touches[0].Time.Before(s.VisitStart) {
			begins = []time.Time{s.Touches[0].Time, s.VisitStart}
		}
		for i, begin := range begins {
			end := time.Time{}
			if i+1 < len(begins) {
				end = begins[i+1]
			}
			touch := touchOf(s, begin, end)
			v := visit{at: begin.UnixMilli(), landing: touch.Landing, via: s.Via}
			v.source, v.medium, v.campaign = from(touch)
			if known == 0 && i == 0 {
				v.fresh = 1
			}
			if err := v.add(ctx, t, id); err != nil {
				return err
			}
		}
		return recount(ctx, t, id)
	})
}

func recount(ctx context.Context, t tx, session string) error {
	_, err := t.exec(ctx, `UPDATE visitors SET visits = (SELECT count(*) FROM visits WHERE session = ?) WHERE session = ?`, session, session)
	return err
}

// visitGap is that of the Tracker.
const visitGap = 30 * time.Minute

// Merge moves what hangs on one session to another. It may be called more than once.
func (r *Report) Merge(ctx context.Context, from, into revisit.ID) error {
	return r.inTx(ctx, func(t tx) error {
		var forgotten, known int64
		if err := t.one(ctx, `SELECT (SELECT count(*) FROM gone WHERE session = ?), (SELECT count(*) FROM visits WHERE session = ?)`, into.String(), into.String()).Scan(&forgotten, &known); err != nil {
			return err
		}
		if forgotten > 0 {
			return forget(ctx, t, from)
		}
		if _, err := t.exec(ctx, `INSERT INTO visitors (session, first, last, hits, visits, via)
			SELECT ?, first, last, hits, 0, via FROM visitors WHERE session = ?
			ON CONFLICT (session) DO UPDATE SET hits = visitors.hits + excluded.hits, last = CASE WHEN excluded.last > visitors.last THEN excluded.last ELSE visitors.last END`,
			into.String(), from.String()); err != nil {
			return err
		}
		moved, err := visitsOf(ctx, t, from.String())
		if err != nil {
			return err
		}
		for _, v := range moved {
			if err := v.count(ctx, t, -1); err != nil {
				return err
			}
			// One that began while the other session's was under way, without a way of its own,
			// is the same visit: of a browser that has lost its cookie, say.
			var same int64
			if err := t.one(ctx, `SELECT count(*) FROM visits WHERE session = ? AND at > ? AND at < ? AND (? = '' AND ? = '' OR source = ? AND medium = ? AND campaign = ?)`,
				into.String(), v.at-visitGap.Milliseconds(), v.at+visitGap.Milliseconds(), v.source, v.campaign, v.source, v.medium, v.campaign).Scan(&same); err != nil {
				return err
			}
			if same > 0 {
				continue
			}
			if known > 0 {
				v.fresh = 0 // the visitor was here before
			}
			if err := v.add(ctx, t, into.String()); err != nil {
				return err
			}
		}
		for _, table := range []string{"orders", "leads"} {
			if _, err := t.exec(ctx, `UPDATE `+table+` SET session = ? WHERE session = ?`, into.String(), from.String()); err != nil {
				return err
			}
		}
		if err := gone(ctx, t, from); err != nil {
			return err
		}
		return recount(ctx, t, into.String())
	})
}

func visitsOf(ctx context.Context, t tx, session string) (all []visit, err error) {
	rows, err := t.QueryContext(ctx, t.r.sql(`SELECT at, source, medium, campaign, landing, via, fresh FROM visits WHERE session = ? ORDER BY at`), session)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var v visit
		if err := rows.Scan(&v.at, &v.source, &v.medium, &v.campaign, &v.landing, &v.via, &v.fresh); err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, rows.Err()
}

// Forget erases who a visitor was, for Config.OnForget. The orders stay, and are
// nobody's, and so do the visits in the counts.
func (r *Report) Forget(ctx context.Context, id revisit.ID) error {
	return r.inTx(ctx, func(t tx) error { return forget(ctx, t, id) })
}

func forget(ctx context.Context, t tx, id revisit.ID) error {
	for _, table := range []string{"orders", "leads"} {
		if _, err := t.exec(ctx, `UPDATE `+table+` SET session = '' WHERE session = ?`, id.String()); err != nil {
			return err
		}
	}
	return gone(ctx, t, id)
}

// gone removes a session for good.
func gone(ctx context.Context, t tx, id revisit.ID) error {
	for _, text := range []string{
		`DELETE FROM visitors WHERE session = ?`, `DELETE FROM visits WHERE session = ?`,
		`INSERT INTO gone (session) VALUES (?) ON CONFLICT (session) DO NOTHING`,
	} {
		if _, err := t.exec(ctx, text, id.String()); err != nil {
			return err
		}
	}
	return nil
}

// Expire erases who the visitors of before that time were: the Tracker's Store deletes
// sessions by itself (Config.Retention), and what an application has hung on them is the
// application's to delete. An ID begins with its time, so those of before sort before it.
func (r *Report) Expire(ctx context.Context, before time.Time) error {
	milli := before.UnixMilli()
	first := fmt.Sprintf("%08x-%04x", milli>>16, milli&0xffff)
	return r.inTx(ctx, func(t tx) error {
		for _, text := range []string{
			`UPDATE orders SET session = '' WHERE session <> '' AND session < ?`, `UPDATE leads SET session = '' WHERE session <> '' AND session < ?`,
			`DELETE FROM visitors WHERE session < ?`, `DELETE FROM visits WHERE session < ?`, `DELETE FROM gone WHERE session < ?`,
		} {
			if _, err := t.exec(ctx, text, first); err != nil {
				return err
			}
		}
		return nil
	})
}

// Lead keeps that somebody has asked.
func (r *Report) Lead(ctx context.Context, number, session string, last revisit.Touch, at time.Time) error {
	source, medium, campaign := from(last)
	if session == "" {
		source = Unknown
	}
	return r.inTx(ctx, func(t tx) error {
		_, err := t.exec(ctx, `INSERT INTO leads (number, session, at, source, medium, campaign) VALUES (?, ?, ?, ?, ?, ?)`,
			number, session, at.UnixMilli(), source, medium, campaign)
		return err
	})
}

// An Order is what somebody has bought.
type Order struct {
	Number  string
	Session string // "" for a visitor who is not known
	At      time.Time
	Cents   int64
	What    string
}

// Order keeps an order that is not paid yet, and what it will owe to whom: the touches
// are those of now. One whose number is known stays as it is: the form was sent twice.
func (r *Report) Order(ctx context.Context, o Order, touches []revisit.Touch) error {
	return r.inTx(ctx, func(t tx) error {
		added, err := t.exec(ctx, `INSERT INTO orders (number, session, at, cents, what) VALUES (?, ?, ?, ?, ?) ON CONFLICT (number) DO NOTHING`,
			o.Number, o.Session, o.At.UnixMilli(), o.Cents, o.What)
		if err != nil || added == 0 {
			return err
		}
		for _, m := range Models {
			credit := func(source, medium, campaign string, credit float64, cents int64) error {
				_, err := t.exec(ctx, `INSERT INTO credits (model, number, source, medium, campaign, credit, cents) VALUES (?, ?, ?, ?, ?, ?, ?)`,
					m.String(), o.Number, source, medium, campaign, credit, cents)
				return err
			}
			shares := attribution.Credit(touches, o.At, m)
			if len(shares) == 0 { // so that the table sums up to what was sold
				if err := credit(Unknown, "", "", 1, o.Cents); err != nil {
					return err
				}
			}
			for i, cents := range attribution.Split(o.Cents, shares) {
				source, medium, campaign := from(shares[i].Touch)
				if err := credit(source, medium, campaign, shares[i].Credit, cents); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// Paid notes that an order was paid. It reports whether it was not before.
func (r *Report) Paid(ctx context.Context, number string, at time.Time) (first bool, err error) {
	err = r.inTx(ctx, func(t tx) error {
		n, err := t.exec(ctx, `UPDATE orders SET paid = ? WHERE number = ? AND paid IS NULL`, at.UnixMilli(), number)
		if first = n > 0; !first || err != nil {
			return err
		}
		_, err = t.exec(ctx, `UPDATE credits SET paid = ? WHERE number = ?`, at.UnixMilli(), number)
		return err
	})
	return first, err
}
