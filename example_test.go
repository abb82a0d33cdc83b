package revisit_test

import (
	"context"
	"fmt"
	"html/template"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"github.com/revisit-go/revisit"
)

// visit opens a URL with a client and returns what the page says.
func visit(c *http.Client, url string) string {
	resp, err := c.Get(url)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return string(body)
}

// A shop wraps its handlers and hangs an order on the visitor's session.
func Example() {
	tracker, err := revisit.New(revisit.Config{
		Keys:    [][]byte{[]byte("32 random bytes from your secrets")},
		Consent: revisit.OptOut("optout"),
		// Insecure, because this example speaks plain http.
		Strategy: revisit.Hybrid(revisit.Cookie{Insecure: true}, revisit.ETag{}),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer tracker.Close()

	shop := http.NewServeMux()
	shop.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		if s, ok := revisit.FromContext(r.Context()); ok {
			fmt.Fprintf(w, "%s, page %d, came by %q", s.Via, s.Hits(), s.First().Campaign)
		}
	})
	server := httptest.NewServer(tracker.Handler(shop))
	defer server.Close()

	jar, _ := cookiejar.New(nil)
	browser := &http.Client{Jar: jar}
	fmt.Println(visit(browser, server.URL+"/?utm_source=mail&utm_campaign=spring"))
	fmt.Println(visit(browser, server.URL+"/shoes"))
	// Output:
	// new, page 1, came by "spring"
	// cookie, page 2, came by "spring"
}

// Handler wraps one handler of many; the others are left alone.
func ExampleTracker_Handler() {
	tracker, err := revisit.New(revisit.Config{
		Keys:     [][]byte{[]byte("32 random bytes from your secrets")},
		Consent:  revisit.OptOut("optout"),
		Strategy: revisit.Cookie{},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer tracker.Close()

	checkout := func(w http.ResponseWriter, r *http.Request) {
		s, ok := revisit.FromContext(r.Context())
		if !ok {
			return // not asked, said no, or not to be recognised: the order is taken all the same
		}
		if err := s.Set(r.Context(), "lead", "customer 42"); err != nil {
			slog.Warn("the lead was not kept", "error", err)
		}
		lead, _ := s.Value("lead")
		fmt.Println("order of", lead)
	}
	mux := http.NewServeMux()
	mux.Handle("POST /checkout", tracker.Handler(http.HandlerFunc(checkout)))
	mux.Handle("GET /static/", http.FileServer(http.Dir("static")))

	r := httptest.NewRequest("POST", "/checkout", nil)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	r.Header.Set("Sec-Fetch-Dest", "document")
	mux.ServeHTTP(httptest.NewRecorder(), r)
	// Output: order of customer 42
}

// Consent is a function of the request, and yours to write.
func ExampleConfig_consent() {
	// A site with a consent banner of three answers.
	consent := func(r *http.Request) revisit.Permission {
		c, err := r.Cookie("privacy")
		switch {
		case err != nil:
			return revisit.Unasked
		case c.Value == "all":
			return revisit.Restore
		case c.Value == "statistics":
			return revisit.Recognise
		}
		return revisit.Deny
	}
	for _, answer := range []string{"", "none", "statistics", "all"} {
		r := httptest.NewRequest("GET", "/", nil)
		if answer != "" {
			r.AddCookie(&http.Cookie{Name: "privacy", Value: answer})
		}
		fmt.Println(consent(r))
	}
	// Output:
	// Unasked
	// Deny
	// Recognise
	// Restore
}

// appHeader is a Strategy for a mobile app, which keeps the token in its own
// storage and sends it in a header.
type appHeader struct{}

func (appHeader) Via() string { return "app" }

func (s appHeader) Identify(v *revisit.Visit) {
	if token := v.Request().Header.Get("X-App-Visitor"); token != "" {
		v.Present(s.Via(), token)
	}
	v.Offer(s.Via()) // the app reads every answer
}

func (s appHeader) Attach(v *revisit.Visit, h http.Header, status int) {
	if !v.Due(s.Via()) {
		return
	}
	if token, ok := v.Seal(s.Via(), h); ok {
		h.Set("X-App-Visitor", token)
	}
}

func (s appHeader) Clear(v *revisit.Visit, h http.Header, status int) {
	if v.Carried(s.Via()) {
		h.Set("X-App-Visitor", "")
	}
}

// A Strategy of one's own, beside the cookie.
func ExampleStrategy() {
	tracker, err := revisit.New(revisit.Config{
		Keys:     [][]byte{[]byte("32 random bytes from your secrets")},
		Consent:  revisit.OptOut("optout"),
		Strategy: revisit.Hybrid(revisit.Cookie{}, appHeader{}),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer tracker.Close()
	h := tracker.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, _ := revisit.FromContext(r.Context())
		fmt.Println(s.Via, s.Hits())
	}))

	r := httptest.NewRequest("GET", "/", nil)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	r.Header.Set("X-App-Visitor", w.Header().Get("X-App-Visitor"))
	h.ServeHTTP(httptest.NewRecorder(), r)
	// Output:
	// new 1
	// app 2
}

// tableStore is a Store of one's own: here a table in memory, elsewhere two
// statements of SQL. storetest.Run checks it.
type tableStore struct {
	mu    sync.Mutex
	table map[revisit.ID]revisit.Record
}

func (s *tableStore) Load(ctx context.Context, id revisit.ID) (revisit.Record, error) {
	if err := ctx.Err(); err != nil {
		return revisit.Record{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.table[id]
	if !ok || !time.Now().Before(r.Expires) {
		return revisit.Record{}, revisit.ErrNotFound
	}
	return r, nil
}

func (s *tableStore) Save(ctx context.Context, r revisit.Record, old int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var version int64 // of what is there
	if have, ok := s.table[r.ID]; ok && time.Now().Before(have.Expires) {
		version = have.Version
	}
	if version != old {
		return revisit.ErrConflict
	}
	s.table[r.ID] = r
	return nil
}

// A Store of one's own.
func ExampleStore() {
	store := &tableStore{table: make(map[revisit.ID]revisit.Record)}
	tracker, err := revisit.New(revisit.Config{
		Keys:    [][]byte{[]byte("32 random bytes from your secrets")},
		Consent: revisit.OptOut("optout"),
		Store:   store,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer tracker.Close()
	h := tracker.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/?utm_campaign=spring", nil))
	for _, r := range store.table {
		fmt.Println(r.Hits, r.Touches[0].Campaign)
	}
	// Output: 1 spring
}

// Wrong: a recognition is not an authentication. Whoever can read a tag of the
// page, by any script on it, can replay it, and a shared browser is one visitor
// whoever sits in front of it. Ask for a login before you show what a person
// has given you.
func Example_incorrect() {
	account := func(w http.ResponseWriter, r *http.Request) {
		if s, ok := revisit.FromContext(r.Context()); ok {
			address, _ := s.Value("address")
			fmt.Fprintln(w, "We deliver to", address) // to whom?
		}
	}
	_ = account
}

// NewContext gives a handler under test its session.
func ExampleNewContext() {
	greet := func(w http.ResponseWriter, r *http.Request) {
		if s, ok := revisit.FromContext(r.Context()); ok {
			fmt.Println("came by", s.First().Campaign)
		}
	}
	s := revisit.NewSession(revisit.Record{Touches: []revisit.Touch{{Campaign: "spring"}}}, "cookie")
	r := httptest.NewRequest("GET", "/", nil)
	greet(httptest.NewRecorder(), r.WithContext(revisit.NewContext(r.Context(), s)))
	// Output: came by spring
}

// The pages of a browser are one visitor, also by tags alone.
func ExampleTracker_Beacon() {
	tracker, err := revisit.New(revisit.Config{
		Keys:     [][]byte{[]byte("0123456789abcdef0123456789abcdef")},
		Consent:  func(*http.Request) revisit.Permission { return revisit.Restore },
		Strategy: revisit.ETag{},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer tracker.Close()
	page := template.Must(template.New("").Parse(
		`<!DOCTYPE html><title>Shop</title><form method="post">{{.Field}}<input name="mail"></form>{{.Tag}}`))
	mux := http.NewServeMux()
	mux.Handle("/revisit/", tracker.Beacon())
	mux.Handle("/", tracker.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = page.Execute(w, map[string]any{
			"Tag":   revisit.Tag(r.Context(), revisit.NoScript()),
			"Field": revisit.Field(r.Context()),
		})
	})))

	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest("GET", "/shoes", nil))
	fmt.Println(w.Header().Get("Cache-Control"))
	fmt.Println(strings.Contains(w.Body.String(), `name="revisit"`), strings.Contains(w.Body.String(), "/revisit/revisit.js"))
	// Output:
	// private, no-cache
	// true true
}
