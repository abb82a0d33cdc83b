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
	"errors"
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
		PRIMARY KEY (session, at))`,
	`CREATE TABLE IF NOT EXISTS daily (
		day BIGINT NOT NULL, source TEXT NOT NULL, medium TEXT NOT NULL, campaign TEXT NOT NULL, via TEXT NOT NULL, fresh BIGINT NOT NULL, visits BIGINT NOT NULL,
		PRIMARY KEY (day, source, medium, campaign, via, fresh))`,
	`CREATE TABLE IF NOT EXISTS orders (
		number TEXT PRIMARY KEY, session TEXT NOT NULL, at BIGINT NOT NULL, paid BIGINT, cents BIGINT NOT NULL, what TEXT NOT NULL)`,
	`CREATE INDEX IF NOT EXISTS orders_session ON orders (session)`,
	`CREATE INDEX IF NOT EXISTS orders_paid ON orders (paid)`,
	`CREATE TABLE IF NOT EXISTS credits (
		model TEXT NOT NULL, day BIGINT NOT NULL, number TEXT NOT NULL, source TEXT NOT NULL, medium TEXT NOT NULL, campaign TEXT NOT NULL, credit REAL NOT NULL, cents BIGINT NOT NULL)`,
	`CREATE INDEX IF NOT EXISTS credits_model ON credits (model, day)`,
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
	postgres bool // placeholders are $1, $2
}

// Open makes the tables, if they are not there. Postgres says which of the two
// databases it is.
func Open(ctx context.Context, db *sql.DB, postgres bool) (*Report, error) {
	for _, statement := range schema {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return nil, fmt.Errorf("report: %w", err)
		}
	}
	return &Report{db, postgres}, nil
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

func (r *Report) inTx(ctx context.Context, f func(exec func(text string, args ...any) error, tx *sql.Tx) error) error {
	tx, err := r.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := f(func(text string, args ...any) error {
		_, err := tx.ExecContext(ctx, r.sql(text), args...)
		return err
	}, tx); err != nil {
		return err
	}
	return tx.Commit()
}

const day = 24 * time.Hour

func dayOf(t time.Time) int64 { return t.UnixMilli() / day.Milliseconds() }

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

// touchOf returns the touch that a visit began with, which began at that time at the
// latest.
func touchOf(r *revisit.Record, begin time.Time) revisit.Touch {
	for _, t := range r.Touches {
		if !t.Time.Before(begin) {
			return t
		}
	}
	return revisit.Touch{}
}

// Hit is told of page views by the Tracker. Who is not confirmed yet is not counted: a
// scanner that opens the links of a letter, say.
func (r *Report) Hit(ctx context.Context, h revisit.Hit) error {
	s := &h.Session
	if !s.Confirmed {
		return nil
	}
	return r.inTx(ctx, func(exec func(string, ...any) error, tx *sql.Tx) error {
		var known, gone int64
		if err := tx.QueryRowContext(ctx, r.sql(`SELECT count(*) FROM gone WHERE session = ?`), s.ID.String()).Scan(&gone); err != nil || gone > 0 {
			return err
		}
		err := tx.QueryRowContext(ctx, r.sql(`SELECT visits FROM visitors WHERE session = ?`), s.ID.String()).Scan(&known)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if err := exec(`INSERT INTO visitors (session, first, last, hits, visits, via) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (session) DO UPDATE SET last = excluded.last, hits = excluded.hits, visits = excluded.visits, via = excluded.via`,
			s.ID.String(), s.Created.UnixMilli(), s.LastHit.UnixMilli(), s.Hits, s.Visits, s.Via); err != nil {
			return err
		}
		for n := known + 1; n <= s.Visits; n++ {
			begin := s.VisitStart
			if n < s.Visits { // of which we hear only now: it had nothing but its first page
				begin = s.Created
			}
			t := touchOf(s, begin)
			source, medium, campaign := from(t)
			fresh := 0
			if n == 1 {
				fresh = 1
			}
			if err := exec(`INSERT INTO visits (session, at, source, medium, campaign, landing, via) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (session, at) DO NOTHING`,
				s.ID.String(), begin.UnixMilli(), source, medium, campaign, t.Landing, s.Via); err != nil {
				return err
			}
			if err := exec(`INSERT INTO daily (day, source, medium, campaign, via, fresh, visits) VALUES (?, ?, ?, ?, ?, ?, 1)
				ON CONFLICT (day, source, medium, campaign, via, fresh) DO UPDATE SET visits = daily.visits + 1`,
				dayOf(begin), source, medium, campaign, s.Via, fresh); err != nil {
				return err
			}
		}
		return nil
	})
}

// Merge moves what hangs on one session to another. It may be called more than once.
func (r *Report) Merge(ctx context.Context, from, into revisit.ID) error {
	return r.inTx(ctx, func(exec func(string, ...any) error, tx *sql.Tx) error {
		// Its visits were counted already.
		var hits, visits int64
		err := tx.QueryRowContext(ctx, r.sql(`SELECT hits, visits FROM visitors WHERE session = ?`), from.String()).Scan(&hits, &visits)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if err == nil {
			if err := exec(`INSERT INTO visitors (session, first, last, hits, visits, via) SELECT ?, first, last, 0, 0, via FROM visitors WHERE session = ? ON CONFLICT (session) DO NOTHING`,
				into.String(), from.String()); err != nil {
				return err
			}
			if err := exec(`UPDATE visitors SET hits = hits + ?, visits = visits + ? WHERE session = ?`, hits, visits, into.String()); err != nil {
				return err
			}
		}
		for _, text := range []string{
			`UPDATE orders SET session = ? WHERE session = ?`,
			`UPDATE leads SET session = ? WHERE session = ?`,
			`UPDATE visits SET session = ? WHERE session = ? AND at NOT IN (SELECT at FROM visits WHERE session = ?)`,
		} {
			args := []any{into.String(), from.String()}
			if strings.Count(text, "?") == 3 {
				args = append(args, into.String())
			}
			if err := exec(text, args...); err != nil {
				return err
			}
		}
		return gone(exec, from)
	})
}

// Forget erases who a visitor was, for Config.OnForget. The orders stay, and are
// nobody's.
func (r *Report) Forget(ctx context.Context, id revisit.ID) error {
	return r.inTx(ctx, func(exec func(string, ...any) error, _ *sql.Tx) error {
		for _, text := range []string{`UPDATE orders SET session = '' WHERE session = ?`, `UPDATE leads SET session = '' WHERE session = ?`} {
			if err := exec(text, id.String()); err != nil {
				return err
			}
		}
		return gone(exec, id)
	})
}

// gone removes a session for good.
func gone(exec func(string, ...any) error, id revisit.ID) error {
	for _, text := range []string{
		`DELETE FROM visitors WHERE session = ?`, `DELETE FROM visits WHERE session = ?`,
		`INSERT INTO gone (session) VALUES (?) ON CONFLICT (session) DO NOTHING`,
	} {
		if err := exec(text, id.String()); err != nil {
			return err
		}
	}
	return nil
}

// Lead keeps that somebody has asked.
func (r *Report) Lead(ctx context.Context, number, session string, last revisit.Touch, at time.Time) error {
	source, medium, campaign := from(last)
	_, err := r.db.ExecContext(ctx, r.sql(`INSERT INTO leads (number, session, at, source, medium, campaign) VALUES (?, ?, ?, ?, ?, ?)`),
		number, session, at.UnixMilli(), source, medium, campaign)
	return err
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
// are those of now.
func (r *Report) Order(ctx context.Context, o Order, touches []revisit.Touch) error {
	return r.inTx(ctx, func(exec func(string, ...any) error, _ *sql.Tx) error {
		if err := exec(`INSERT INTO orders (number, session, at, cents, what) VALUES (?, ?, ?, ?, ?)`, o.Number, o.Session, o.At.UnixMilli(), o.Cents, o.What); err != nil {
			return err
		}
		for _, m := range Models {
			shares := attribution.Credit(touches, o.At, m)
			for i, cents := range attribution.Split(o.Cents, shares) {
				source, medium, campaign := from(shares[i].Touch)
				if err := exec(`INSERT INTO credits (model, day, number, source, medium, campaign, credit, cents) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
					m.String(), dayOf(o.At), o.Number, source, medium, campaign, shares[i].Credit, cents); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// Paid notes that an order was paid. It reports whether it was not before.
func (r *Report) Paid(ctx context.Context, number string, at time.Time) (first bool, err error) {
	result, err := r.db.ExecContext(ctx, r.sql(`UPDATE orders SET paid = ? WHERE number = ? AND paid IS NULL`), at.UnixMilli(), number)
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n > 0, err
}
