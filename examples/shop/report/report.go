// Package report is what the shop knows besides the sessions: visits, leads, orders, and
// who has earned them, in tables of its own. It shows how an application keeps what it
// wants to look at: fed by Config.OnHit and Config.OnMerge, and by its own orders in
// their own transaction.
//
// The tables are the same in SQLite and PostgreSQL. What is looked at often (visits by
// day) is counted when it happens, so that a dashboard does not count a million rows.
package report

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
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
		session TEXT NOT NULL, at BIGINT NOT NULL, last BIGINT NOT NULL, source TEXT NOT NULL, medium TEXT NOT NULL, campaign TEXT NOT NULL, link TEXT NOT NULL,
		landing TEXT NOT NULL, via TEXT NOT NULL, fresh BIGINT NOT NULL, PRIMARY KEY (session, at))`,
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
	// Sessions that were merged into another one, the heir, or forgotten, without one. What
	// comes late for such a session (a page view, an order under way) goes to the heir, or is
	// nobody's.
	`CREATE TABLE IF NOT EXISTS gone (session TEXT PRIMARY KEY, heir TEXT NOT NULL)`,
}

// probes fail on tables that another version has made.
var probes = []string{`SELECT link, last, fresh FROM visits LIMIT 0`, `SELECT paid FROM credits LIMIT 0`, `SELECT heir FROM gone LIMIT 0`}

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
	for _, probe := range probes {
		if _, err := db.ExecContext(ctx, probe); err != nil {
			return nil, fmt.Errorf("report: the tables are those of another version of the shop: %w", err)
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
	if r.postgres {
		// One writer at a time, as in SQLite: what is forgotten while a page view is written
		// would come back with it.
		if _, err := t.ExecContext(ctx, `SELECT pg_advisory_xact_lock(20261126)`); err != nil {
			return err
		}
	}
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
	return source, t.Medium, cmp.Or(t.Campaign, t.ID, t.Content, t.Term)
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

// visitGap is that of the Tracker, in milliseconds.
const visitGap = int64(30 * time.Minute / time.Millisecond)

// A visit is one row. The counts by day are those of the rows, so that whatever changes a
// row changes the count with it.
type visit struct {
	at, last                 int64 // when it began, and its last page view that is known
	source, medium, campaign string
	link                     string // all that the tagged link said, which tells two clicks apart
	landing, via             string
	fresh                    int64 // 1 for a visitor's first
}

func visitOf(s *revisit.Record, begin, end time.Time) visit {
	t := touchOf(s, begin, end)
	v := visit{at: begin.UnixMilli(), last: begin.UnixMilli(), landing: t.Landing, via: s.Via}
	v.source, v.medium, v.campaign = from(t)
	if t.Referrer == "" || t.Campaign+t.ID+t.Content+t.Term+t.Click != "" {
		v.link = strings.Trim(strings.Join([]string{t.Source, t.Medium, t.Campaign, t.ID, t.Content, t.Term, t.Click}, "\n"), "\n")
	}
	return v
}

func (v *visit) isDirect() bool { return v.source == "" && v.medium == "" && v.campaign == "" }

// goesOn reports whether the visit v, which began later, is w going on: two sessions turned
// out to be one, or the same visit is reported again. A visit that begins while another one
// is under way has a tagged link of its own, as in the Tracker's count.
func (v *visit) goesOn(w *visit) bool {
	return v.at == w.at || v.at < w.last+visitGap && (v.link == "" || v.link == w.link)
}

// settled puts a visitor's visits in order, each once. Which was reported first makes no
// difference.
func settled(all []visit) (one []visit) {
	slices.SortStableFunc(all, func(v, w visit) int { return cmp.Compare(v.at, w.at) })
	for _, v := range all {
		if n := len(one); n > 0 && v.goesOn(&one[n-1]) {
			w := &one[n-1]
			w.last = max(w.last, v.last)
			if v.at == w.at && w.isDirect() { // nothing was known of where it came from
				w.source, w.medium, w.campaign, w.link, w.landing = v.source, v.medium, v.campaign, v.link, v.landing
			}
			continue
		}
		v.fresh = 0
		if len(one) == 0 {
			v.fresh = 1
		}
		one = append(one, v)
	}
	return one
}

// add adds to a visitor's visits.
func add(ctx context.Context, t tx, session string, more ...visit) error {
	have, err := visitsOf(ctx, t, session)
	if err != nil {
		return err
	}
	want := settled(append(slices.Clone(have), more...))
	for _, v := range have {
		if slices.Contains(want, v) {
			continue
		}
		if _, err := t.exec(ctx, `DELETE FROM visits WHERE session = ? AND at = ?`, session, v.at); err != nil {
			return err
		}
		if err := v.count(ctx, t, -1); err != nil {
			return err
		}
	}
	for _, v := range want {
		if slices.Contains(have, v) {
			continue
		}
		if _, err := t.exec(ctx, `INSERT INTO visits (session, at, last, source, medium, campaign, link, landing, via, fresh) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			session, v.at, v.last, v.source, v.medium, v.campaign, v.link, v.landing, v.via, v.fresh); err != nil {
			return err
		}
		if err := v.count(ctx, t, 1); err != nil {
			return err
		}
	}
	_, err = t.exec(ctx, `UPDATE visitors SET visits = ? WHERE session = ?`, len(want), session)
	return err
}

// count adds a visit to those of its day, or takes it away.
func (v *visit) count(ctx context.Context, t tx, by int64) error {
	_, err := t.exec(ctx, `INSERT INTO daily (day, source, medium, campaign, via, fresh, visits) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (day, source, medium, campaign, via, fresh) DO UPDATE SET visits = daily.visits + excluded.visits`,
		v.at/day.Milliseconds(), v.source, v.medium, v.campaign, v.via, v.fresh, by)
	return err
}

func visitsOf(ctx context.Context, t tx, session string) (all []visit, err error) {
	rows, err := t.QueryContext(ctx, t.r.sql(`SELECT at, last, source, medium, campaign, link, landing, via, fresh FROM visits WHERE session = ? ORDER BY at`), session)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var v visit
		if err := rows.Scan(&v.at, &v.last, &v.source, &v.medium, &v.campaign, &v.link, &v.landing, &v.via, &v.fresh); err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, rows.Err()
}

// heirOf returns the session that has what belongs to one: itself, or the one that it was
// merged into; "" if the visitor was forgotten.
func heirOf(ctx context.Context, t tx, session string) (string, error) {
	for session != "" {
		var heir string
		err := t.one(ctx, `SELECT heir FROM gone WHERE session = ?`, session).Scan(&heir)
		if errors.Is(err, sql.ErrNoRows) {
			return session, nil
		}
		if err != nil {
			return "", err
		}
		session = heir
	}
	return "", nil
}

// Hit is called for page views by the Tracker. Who is not confirmed yet is not counted: a
// scanner that opens the links of a newsletter, say.
func (r *Report) Hit(ctx context.Context, h revisit.Hit) error {
	s := &h.Session
	if !s.Confirmed || s.VisitStart.IsZero() {
		return nil
	}
	return r.inTx(ctx, func(t tx) error {
		for _, a := range s.MergedSessions { // whose page views are among these, whenever Merge is called for it
			if err := merge(ctx, t, a.ID.String(), s.ID.String()); err != nil {
				return err
			}
		}
		session, err := heirOf(ctx, t, s.ID.String())
		if session == "" || err != nil {
			return err
		}
		if _, err := t.exec(ctx, `INSERT INTO visitors (session, first, last, hits, visits, via) VALUES (?, ?, ?, ?, 0, ?)
			ON CONFLICT (session) DO UPDATE SET `+latest+`, hits = CASE WHEN ? < 0 THEN visitors.hits + ? WHEN excluded.hits > visitors.hits THEN excluded.hits ELSE visitors.hits END`,
			session, s.Created.UnixMilli(), s.LastHit.UnixMilli(), s.Hits, s.Via, h.Count, h.Count); err != nil {
			return err
		}
		current := visitOf(s, s.VisitStart, time.Time{})
		current.last = s.LastHit.UnixMilli()
		visits := []visit{current}
		// Whose first visit had nothing but its first page is heard of by the second one. Its
		// touch is the first, whichever way it was.
		if len(s.Touches) > 0 && s.Touches[0].Time.Before(s.VisitStart) {
			visits = append(visits, visitOf(s, s.Touches[0].Time, s.VisitStart))
		}
		return add(ctx, t, session, visits...)
	})
}

// latest keeps what is known of a visitor from the first to the last, in whatever order it
// comes.
const latest = `first = CASE WHEN excluded.first < visitors.first THEN excluded.first ELSE visitors.first END,
	last = CASE WHEN excluded.last > visitors.last THEN excluded.last ELSE visitors.last END,
	via = CASE WHEN excluded.last >= visitors.last THEN excluded.via ELSE visitors.via END`

// Merge moves what hangs on one session to another. It may be called more than once, and
// before or after what Hit knows of the two.
func (r *Report) Merge(ctx context.Context, from, into revisit.ID) error {
	return r.inTx(ctx, func(t tx) error { return merge(ctx, t, from.String(), into.String()) })
}

func merge(ctx context.Context, t tx, from, into string) error {
	heir, err := heirOf(ctx, t, into)
	if err != nil {
		return err
	}
	if heir == "" {
		return forget(ctx, t, from)
	}
	if now, err := heirOf(ctx, t, from); now != from || now == heir || err != nil {
		return err // known already
	}
	if _, err := t.exec(ctx, `INSERT INTO visitors (session, first, last, hits, visits, via)
		SELECT ?, first, last, hits, 0, via FROM visitors WHERE session = ?
		ON CONFLICT (session) DO UPDATE SET `+latest+`, hits = visitors.hits + excluded.hits`, heir, from); err != nil {
		return err
	}
	moved, err := visitsOf(ctx, t, from)
	if err != nil {
		return err
	}
	for _, v := range moved {
		if err := v.count(ctx, t, -1); err != nil {
			return err
		}
	}
	for _, table := range []string{"orders", "leads"} {
		if _, err := t.exec(ctx, `UPDATE `+table+` SET session = ? WHERE session = ?`, heir, from); err != nil {
			return err
		}
	}
	if err := gone(ctx, t, from, heir); err != nil {
		return err
	}
	return add(ctx, t, heir, moved...)
}

// Forget erases who a visitor was, for Config.OnForget. The orders stay, and are
// nobody's, and so do the visits in the counts.
func (r *Report) Forget(ctx context.Context, id revisit.ID) error {
	return r.inTx(ctx, func(t tx) error { return forget(ctx, t, id.String()) })
}

func forget(ctx context.Context, t tx, session string) error {
	for _, table := range []string{"orders", "leads"} {
		if _, err := t.exec(ctx, `UPDATE `+table+` SET session = '' WHERE session = ?`, session); err != nil {
			return err
		}
	}
	return gone(ctx, t, session, "")
}

// gone removes a session for good.
func gone(ctx context.Context, t tx, session, heir string) error {
	for _, table := range []string{"visitors", "visits"} {
		if _, err := t.exec(ctx, `DELETE FROM `+table+` WHERE session = ?`, session); err != nil {
			return err
		}
	}
	_, err := t.exec(ctx, `INSERT INTO gone (session, heir) VALUES (?, ?) ON CONFLICT (session) DO UPDATE SET heir = excluded.heir`, session, heir)
	return err
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
		session, err := heirOf(ctx, t, session) // who was forgotten meanwhile, say
		if err != nil {
			return err
		}
		_, err = t.exec(ctx, `INSERT INTO leads (number, session, at, source, medium, campaign) VALUES (?, ?, ?, ?, ?, ?)`,
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
		session, err := heirOf(ctx, t, o.Session)
		if err != nil {
			return err
		}
		added, err := t.exec(ctx, `INSERT INTO orders (number, session, at, cents, what) VALUES (?, ?, ?, ?, ?) ON CONFLICT (number) DO NOTHING`,
			o.Number, session, o.At.UnixMilli(), o.Cents, o.What)
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
