package main

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/revisit-go/revisit"
	"github.com/revisit-go/revisit/examples/shop/report"
)

// dashboardDays is how far back the dashboard looks.
const dashboardDays = 30

// A dashboard shows the merchant what the visitors have done. A real one asks who is
// looking; it is not wrapped, so who looks is no visitor.
type dashboard struct {
	report  *report.Report
	pages   map[string]*template.Template
	seeding atomic.Int64 // percent; 100 if nothing is under way
	madeUp  bool         // a part of it is
}

// forThisMachine shows a page to who sits here. A real dashboard asks for a login.
func forThisMachine(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if from, err := netip.ParseAddrPort(r.RemoteAddr); err != nil || !from.Addr().Unmap().IsLoopback() {
			http.Error(w, "The dashboard of this demonstration has no login, so it is available only on the machine that runs the shop.", http.StatusForbidden)
			return
		}
		next(w, r)
	}
}

func newDashboard(r *report.Report) *dashboard {
	d := &dashboard{report: r, pages: make(map[string]*template.Template)}
	funcs := template.FuncMap{
		"euro": euro, "name": report.Name,
		"date": func(t time.Time) string { return t.Format("2 Jan") },
		"time": func(t time.Time) string { return t.Format("2006-01-02 15:04") },
	}
	for _, name := range []string{"dashboard", "visitor"} {
		d.pages[name] = template.Must(template.New("board.html").Funcs(funcs).ParseFS(files, "pages/board.html", "pages/"+name+".html"))
	}
	d.seeding.Store(100)
	return d
}

// euro writes cents for people.
func euro(cents int64) string {
	if cents < 0 {
		return "−" + euro(-cents)
	}
	return fmt.Sprintf("€ %d.%02d", cents/100, cents%100)
}

// boardPolicy lets the charts set the size of their canvas.
const boardPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

func (d *dashboard) render(w http.ResponseWriter, name string, data any) {
	var b bytes.Buffer
	if err := d.pages[name].Execute(&b, data); err != nil {
		http.Error(w, "This page is broken.", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", boardPolicy)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Robots-Tag", "noindex")
	_, _ = w.Write(b.Bytes())
}

// series are the figures of the charts, for the script.
type series struct {
	Days           []string
	New, Returning []int64
	Via            []report.Count
	Campaigns      []string
	Revenue        []float64
}

func (d *dashboard) serve(w http.ResponseWriter, r *http.Request) {
	model := r.FormValue("model")
	var models []string
	for _, m := range report.Models {
		models = append(models, m.String())
	}
	if !slices.Contains(models, model) {
		model = models[0]
	}
	seeding := d.seeding.Load() // before the figures, which may be of the time before its end
	s, err := d.report.Summary(r.Context(), time.Now(), dashboardDays, model)
	if err != nil {
		http.Error(w, "The figures are not available at the moment.", http.StatusServiceUnavailable)
		return
	}
	var c series
	var fresh, again int64
	for _, day := range s.Days {
		c.Days = append(c.Days, day.Date.Format("2 Jan"))
		c.New, c.Returning = append(c.New, day.New), append(c.Returning, day.Returning)
		fresh, again = fresh+day.New, again+day.Returning
	}
	c.Via = s.Via
	for _, campaign := range s.Campaigns[:min(len(s.Campaigns), 8)] {
		c.Campaigns = append(c.Campaigns, report.Name(campaign.Source, campaign.Medium, campaign.Name))
		c.Revenue = append(c.Revenue, float64(campaign.Cents)/100)
	}
	figures, err := json.Marshal(c)
	if err != nil {
		http.Error(w, "This page is broken.", http.StatusInternalServerError)
		return
	}
	d.render(w, "dashboard", struct {
		Title      string
		Days       int
		Model      string
		Models     []string
		Summary    *report.Summary
		Fresh      int64
		Again      int64
		Seeding    int64
		Figures    template.JS
		Unfinished bool
		MadeUp     bool
	}{"Dashboard", dashboardDays, model, models, s, fresh, again, seeding, template.JS(figures), seeding < 100, d.madeUp})
}

// visitor shows one visitor's timeline.
func (d *dashboard) visitor(w http.ResponseWriter, r *http.Request) {
	id, err := revisit.ParseID(r.PathValue("id"))
	if err != nil {
		http.NotFound(w, r)
		return
	}
	v, err := d.report.Visitor(r.Context(), id.String())
	if errors.Is(err, sql.ErrNoRows) {
		http.NotFound(w, r)
		return
	}
	if err != nil {
		http.Error(w, "The figures are not available at the moment.", http.StatusServiceUnavailable)
		return
	}
	slices.SortStableFunc(v.Events, func(a, b report.Event) int { return a.At.Compare(b.At) })
	d.render(w, "visitor", struct {
		Title   string
		ID      revisit.ID
		Visitor *report.Visitor
	}{"A visitor", id, v})
}
