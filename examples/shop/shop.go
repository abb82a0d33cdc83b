package main

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/revisit-go/revisit"
	"github.com/revisit-go/revisit/examples/shop/report"
	"github.com/revisit-go/revisit/ja4"
)

const (
	consentCookie = "consent" // "yes" or "no"
	optOutCookie  = "optout"
	cartCookie    = "cart"

	// policy is strict, and leaves room for what revisit.Tag writes.
	policy = "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self' data:; " +
		"frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

//go:embed pages
var files embed.FS

// A shop is the application: what it sells, what was put into carts, and the
// leads it was given.
type shop struct {
	tracker  *revisit.Tracker
	consent  string
	strategy string
	pages    map[string]*template.Template

	report   *report.Report
	board    *dashboard
	provider string // of payments
	secret   []byte // that is shared with it
}

// A lead is what a business keeps: a person who asked, and where they came from.
type lead struct {
	Number, Mail string
	Visitor      string // the session, for later orders
	Source       string // that brought them last
	Campaign     string
}

type product struct {
	SKU, Name, Text string
	Cents           int
	Hue             int // of its picture
}

// Price is for the templates.
func (p product) Price() string { return fmt.Sprintf("€ %d.%02d", p.Cents/100, p.Cents%100) }

var products = []product{
	{"teapot", "Teapot, short and stout", "Cast iron, 0.8 litres. Answers 418 to coffee.", 4900, 12},
	{"mug", "Mug for revalidation", "Keeps its contents fresh until you ask again.", 1400, 200},
	{"lamp", "Lamp, low entropy", "One warm colour, and nothing else to tell it by.", 7900, 45},
	{"blanket", "Blanket, private", "No shared cache will keep it.", 5900, 280},
	{"clock", "Clock, monotonic", "Never goes back, not even in October.", 3600, 150},
	{"bread", "Crumbs, a tin of", "Will not last longer than thirteen months.", 900, 340},
}

func newShop(tracker *revisit.Tracker, consent, strategy string) *shop {
	s := &shop{tracker: tracker, consent: consent, strategy: strategy, pages: make(map[string]*template.Template)}
	for _, name := range []string{"home", "product", "cart", "lead", "thanks", "known", "tour", "missing", "checkout", "paid"} {
		s.pages[name] = template.Must(template.ParseFS(files, "pages/layout.html", "pages/"+name+".html"))
	}
	return s
}

// routes wraps the pages. Style, script and pictures are for everybody and for
// shared caches, so they are left alone, and so is a page that is a mere file.
func (s *shop) routes() http.Handler {
	pages := http.NewServeMux()
	pages.HandleFunc("GET /{$}", s.home)
	pages.HandleFunc("GET /product/{sku}", s.product)
	pages.HandleFunc("GET /cart", s.cart)
	pages.HandleFunc("POST /cart", s.addToCart)
	pages.HandleFunc("GET /checkout", s.checkout)
	pages.HandleFunc("POST /checkout", s.buy)
	pages.HandleFunc("GET /paid", s.paid)
	pages.HandleFunc("GET /contact", s.contact)
	pages.HandleFunc("POST /contact", s.takeLead)
	pages.HandleFunc("GET /known", s.known)
	pages.HandleFunc("GET /tour", s.tour)
	pages.HandleFunc("GET /tour/{step}", s.tour)
	pages.HandleFunc("POST /forget", s.forget)
	pages.HandleFunc("POST /consent", s.takeConsent)
	pages.HandleFunc("/", s.missing)

	all := http.NewServeMux()
	all.Handle("/", s.tracker.Handler(showSession(pages)))
	s.tracker.Mount(all)
	all.HandleFunc("GET /dashboard", forThisMachine(s.board.serve))
	all.HandleFunc("GET /dashboard/visitor/{id}", forThisMachine(s.board.visitor))
	all.HandleFunc("GET /static/dashboard.js", file("pages/dashboard.js"))
	all.HandleFunc("GET /static/vendor/chart.umd.min.js", file("pages/vendor/chart.umd.min.js"))
	all.HandleFunc("GET /about", file("pages/about.html"))
	all.HandleFunc("GET /static/style.css", file("pages/style.css"))
	all.HandleFunc("GET /static/tour.js", file("pages/tour.js"))
	all.HandleFunc("GET /static/{sku}/picture.svg", picture)
	return http.NewCrossOriginProtection().Handler(all)
}

// showSession puts what is known of the session into the header, for whoever
// watches, and keeps such an answer out of shared caches.
func showSession(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if v, ok := revisit.FromContext(r.Context()); ok && !v.IsGuess() {
			w.Header().Set("Cache-Control", "private, no-cache")
			w.Header().Set("X-Session-Id", v.ID.String())
			w.Header().Set("X-Session-Via", v.Via)
			w.Header().Set("X-Session-Hits", fmt.Sprint(v.Hits()))
		}
		next.ServeHTTP(w, r)
	})
}

// page is what each template is given.
type page struct {
	Title  string
	Ask    bool          // for consent
	By     string        // the strategy, for the banner
	Change string        // the other answer, for the footer: "yes", "no" or ""
	Label  string        // of its button
	Path   string        // where an answer leads back to
	Tag    template.HTML // joins this page's session to those of the others
	Field  template.HTML // says in a form whose it is
	Data   any
}

func (s *shop) render(w http.ResponseWriter, r *http.Request, status int, name, title string, data any) {
	// The banner leads back to the whole address: what was seen before consent is
	// not kept, so the campaign is in the query only.
	p := page{Title: title, Path: r.URL.RequestURI(), By: s.strategy, Data: data,
		Tag: revisit.Tag(r.Context(), revisit.NoScript()), Field: revisit.Field(r.Context()),
		Ask: s.consent == "optin" && len(r.CookiesNamed(consentCookie)) == 0}
	switch c, _ := r.Cookie(consentCookie); {
	case s.consent == "optin" && c != nil && c.Value == "yes":
		p.Change, p.Label = "no", "Do not recognise me any more"
	case s.consent == "optin" && c != nil:
		p.Change, p.Label = "yes", "Recognise me after all"
	case s.consent == "optout" && len(r.CookiesNamed(optOutCookie)) == 0:
		p.Change, p.Label = "no", "Do not recognise me"
	case s.consent == "optout":
		p.Change, p.Label = "yes", "You are not recognised. Recognise me again"
	}
	var b bytes.Buffer
	if err := s.pages[name].ExecuteTemplate(&b, "layout.html", p); err != nil {
		http.Error(w, "This page is broken.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", policy)
	if name == "checkout" { // whose form leads to the payment provider
		w.Header().Set("Content-Security-Policy", strings.Replace(policy, "form-action 'self'", "form-action 'self' "+s.provider, 1))
	}
	if name == "home" {
		// The front page has a validator of its own. The others show what is done
		// for pages that have none.
		w.Header().Set("Etag", fmt.Sprintf(`"%x"`, sha256.Sum256(b.Bytes()))[:18]+`"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b.Bytes()))
		return
	}
	w.WriteHeader(status)
	w.Write(b.Bytes())
}

func (s *shop) home(w http.ResponseWriter, r *http.Request) {
	s.render(w, r, http.StatusOK, "home", "Welcome, or welcome back", products)
}

func find(sku string) (product, bool) {
	i := slices.IndexFunc(products, func(p product) bool { return p.SKU == sku })
	if i < 0 {
		return product{}, false
	}
	return products[i], true
}

func (s *shop) product(w http.ResponseWriter, r *http.Request) {
	p, ok := find(r.PathValue("sku"))
	if !ok {
		s.missing(w, r)
		return
	}
	s.render(w, r, http.StatusOK, "product", p.Name, p)
}

func (s *shop) missing(w http.ResponseWriter, r *http.Request) {
	s.render(w, r, http.StatusNotFound, "missing", "Not here", nil)
}

// The cart is the shop's own cookie: it needs no consent, because the visitor
// has asked for it, and it has nothing to do with recognising anybody.

// cartValue is the cookie of the cart: a name that it was given at random, and what is in
// it, with points between.
func cartValue(r *http.Request) string {
	c, err := r.Cookie(cartCookie)
	if err != nil {
		return ""
	}
	return c.Value
}

func cartOf(r *http.Request) []product {
	var cart []product
	for sku := range strings.SplitSeq(cartValue(r), ".") {
		if p, ok := find(sku); ok && len(cart) < 20 {
			cart = append(cart, p)
		}
	}
	return cart
}

func (s *shop) cart(w http.ResponseWriter, r *http.Request) {
	cart := cartOf(r)
	s.render(w, r, http.StatusOK, "cart", "Your cart", struct {
		Products []product
		Total    string
	}{cart, total(cart).Price()})
}

func (s *shop) addToCart(w http.ResponseWriter, r *http.Request) {
	p, ok := find(r.PostFormValue("sku"))
	if !ok {
		s.missing(w, r)
		return
	}
	name, _, ok := strings.Cut(cartValue(r), ".")
	if !ok || len(name) != len(rand.Text()) {
		name = rand.Text()
	}
	parts := []string{name}
	for _, have := range append(cartOf(r), p) {
		parts = append(parts, have.SKU)
	}
	setCookie(w, cartCookie, strings.Join(parts, "."), 0)
	http.Redirect(w, r, "/cart", http.StatusSeeOther)
}

func (s *shop) contact(w http.ResponseWriter, r *http.Request) {
	s.render(w, r, http.StatusOK, "lead", "Ask for an offer", nil)
}

// takeLead is what all of this is for: a person has asked, and the shop knows
// which campaign has brought them.
func (s *shop) takeLead(w http.ResponseWriter, r *http.Request) {
	mail := strings.TrimSpace(r.PostFormValue("mail"))
	if len(mail) > 200 || !strings.Contains(mail, "@") {
		s.render(w, r, http.StatusUnprocessableEntity, "lead", "Ask for an offer", "Please give an address that we can reply to.")
		return
	}
	l := lead{Mail: mail}
	visitor, known := revisit.FromContext(r.Context())
	if known = known && !visitor.IsGuess(); known {
		l.Visitor, l.Source, l.Campaign = visitor.ID.String(), visitor.Last().Source, visitor.Last().Campaign
	}
	l.Number = "L" + strings.ToUpper(rand.Text()[:8])
	var last revisit.Touch
	if known {
		last = visitor.Last()
	}
	if err := s.report.Lead(r.Context(), l.Number, l.Visitor, last, time.Now()); err != nil {
		http.Error(w, "That did not work. Please try again.", http.StatusServiceUnavailable)
		return
	}
	if known {
		// The session keeps the number of the lead, not the address. If it cannot,
		// the lead counts all the same.
		if err := visitor.Set(r.Context(), "lead", l.Number); err != nil {
			slog.Warn("cannot set the lead in the session", "error", err)
		}
	}
	s.render(w, r, http.StatusOK, "thanks", "Thank you", l)
}

// known tells visitors what the shop knows of them.
func (s *shop) known(w http.ResponseWriter, r *http.Request) {
	type row struct{ Name, Value string }
	var rows []row
	var touches []revisit.Touch
	var merged []revisit.MergedSession
	if v, ok := revisit.FromContext(r.Context()); ok && !v.IsGuess() {
		record := v.Record()
		add := func(name string, value any) { rows = append(rows, row{name, fmt.Sprint(value)}) }
		add("Your session", v.ID)
		add("Since", v.Created().Format("2 January 2006, 15:04:05 MST"))
		add("Recognised by", map[bool]string{true: "nothing: this is the first visit", false: v.Via}[v.New()])
		add("Pages seen", v.Hits())
		add("Visits", v.Visits())
		add("Came back at least once", map[bool]string{true: "yes", false: "not yet"}[record.Confirmed])
		if !record.Expires.IsZero() {
			add("Kept until", record.Expires.Format("2 January 2006"))
		}
		if number, ok := v.Value("lead"); ok {
			add("Number of your enquiry", number)
		}
		touches, merged = v.Touches(), record.MergedSessions
		if !record.ProbableMatch.IsZero() {
			add("Looks like", "somebody who was here before (no more than a guess)")
		}
	}
	var hello *ja4.Hello // of the connection, with -tls
	if seen, ok := ja4.FromContext(r.Context()); ok {
		hello = seen
	}
	s.render(w, r, http.StatusOK, "known", "What is known about you", struct {
		Strategy string
		Rows     []row
		Touches  []revisit.Touch
		Merged   []revisit.MergedSession
		Hello    *ja4.Hello
	}{s.strategy, rows, touches, merged, hello})
}

// The tour is a single-page application in small.

type step struct{ Name, Title, Text string }

var steps = []step{
	{"cookie", "The cookie", "It recognises you on every page until it is deleted. If cookies are blocked, it recognises nobody."},
	{"etag", "The tag", "The browser keeps it with a page, and sends it back when it asks for that page again. Deleting cookies does not delete it."},
	{"anchor", "The anchor", "It is a picture of one pixel that all pages share. It joins the tags of many pages into one visitor."},
	{"no", "The no", "A visitor who says no is forgotten, on all pages."},
}

func (s *shop) tour(w http.ResponseWriter, r *http.Request) {
	open := r.PathValue("step")
	if open == "" {
		open = steps[0].Name
	}
	if !slices.ContainsFunc(steps, func(s step) bool { return s.Name == open }) {
		s.missing(w, r)
		return
	}
	s.render(w, r, http.StatusOK, "tour", "How you are recognised", struct {
		Steps []step
		Open  string
	}{steps, open})
}

// forget erases the session, and takes the consent back: otherwise the next
// page would begin a new one.
func (s *shop) forget(w http.ResponseWriter, r *http.Request) {
	if s.forgets(w, r) {
		s.answer(w, "no")
		http.Redirect(w, r, "/known", http.StatusSeeOther)
	}
}

// forgets erases the session of a request, if there is one, and reports whether
// that worked. The answer is given if not.
func (s *shop) forgets(w http.ResponseWriter, r *http.Request) bool {
	v, ok := revisit.FromContext(r.Context())
	if !ok {
		return true
	}
	err := s.tracker.Forget(r.Context(), v.ID)
	if errors.Is(err, revisit.ErrGuess) {
		return true // nobody that we know: it only looks like somebody
	}
	if err != nil {
		http.Error(w, "That did not work. Please try again.", http.StatusServiceUnavailable)
		return false
	}
	return true
}

// takeConsent takes the answer of the banner, and of the button in the footer.
func (s *shop) takeConsent(w http.ResponseWriter, r *http.Request) {
	answer := r.PostFormValue("answer")
	if answer != "yes" && answer != "no" {
		http.Error(w, "The answer must be yes or no.", http.StatusBadRequest)
		return
	}
	// OptIn sees no session any more once the answer is kept, so whoever takes the
	// yes back is forgotten here.
	if answer == "no" && !s.forgets(w, r) {
		return
	}
	s.answer(w, answer)
	back := r.PostFormValue("back")
	if u, err := url.Parse(back); err != nil || u.Host != "" || u.Scheme != "" || !strings.HasPrefix(back, "/") || strings.HasPrefix(back, "//") || strings.Contains(back, `\`) {
		back = "/" // never to another site
	}
	http.Redirect(w, r, back, http.StatusSeeOther)
}

// answer keeps an answer in a cookie of the kind that -consent looks at.
func (s *shop) answer(w http.ResponseWriter, answer string) {
	const year = 365 * 24 * 3600
	switch s.consent {
	case "optin":
		setCookie(w, consentCookie, answer, year)
	case "optout":
		if answer == "no" {
			setCookie(w, optOutCookie, "1", year)
		} else {
			setCookie(w, optOutCookie, "", -1)
		}
	}
}

func setCookie(w http.ResponseWriter, name, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{Name: name, Value: value, Path: "/", MaxAge: maxAge, HttpOnly: true, SameSite: http.SameSiteLaxMode})
}

// file serves one of our files to everybody.
func file(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "public, max-age=300")
		http.ServeFileFS(w, r, files, name)
	}
}

// picture draws a product.
func picture(w http.ResponseWriter, r *http.Request) {
	p, ok := find(r.PathValue("sku"))
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Cache-Control", "public, max-age=300")
	w.Header().Set("Content-Type", "image/svg+xml")
	fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 320 200"><defs><linearGradient id="g" x2="1" y2="1">`+
		`<stop stop-color="hsl(%[1]d 70%% 62%%)"/><stop offset="1" stop-color="hsl(%[2]d 65%% 42%%)"/></linearGradient></defs>`+
		`<rect width="320" height="200" fill="url(#g)"/><circle cx="%[3]d" cy="105" r="58" fill="#fff" fill-opacity=".25"/>`+
		`<text x="160" y="135" font-family="system-ui,sans-serif" font-size="84" font-weight="700" text-anchor="middle" fill="#fff">%[4]s</text></svg>`,
		p.Hue, (p.Hue+40)%360, 160, strings.ToUpper(p.Name[:1]))
}
