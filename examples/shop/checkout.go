package main

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/revisit-go/revisit"
	"github.com/revisit-go/revisit/examples/shop/report"
)

// checkout shows what is to be paid.
func (s *shop) checkout(w http.ResponseWriter, r *http.Request) {
	cart := cartOf(r)
	s.render(w, r, http.StatusOK, "checkout", "Check out", struct {
		Products []product
		Total    string
	}{cart, total(cart).Price()})
}

func total(cart []product) (sum product) {
	for _, p := range cart {
		sum.Cents += p.Cents
	}
	return sum
}

// buy keeps the order, and sends the visitor to the payment provider.
func (s *shop) buy(w http.ResponseWriter, r *http.Request) {
	cart := cartOf(r)
	if len(cart) == 0 {
		http.Redirect(w, r, "/cart", http.StatusSeeOther)
		return
	}
	var names []string
	for _, p := range cart {
		names = append(names, p.Name)
	}
	o := report.Order{Number: "O" + strings.ToUpper(rand.Text()[:8]), At: time.Now(), Cents: int64(total(cart).Cents), What: strings.Join(names, "; ")}
	var touches []revisit.Touch
	if v, ok := revisit.FromContext(r.Context()); ok && !v.IsGuess() {
		o.Session, touches = v.ID.String(), v.Touches()
	}
	// Who has earned it is kept with the order, in one transaction.
	if err := s.report.Order(r.Context(), o, touches); err != nil {
		http.Error(w, "The order could not be taken. Please try again.", http.StatusServiceUnavailable)
		return
	}
	back := &url.URL{Scheme: "http", Host: r.Host, Path: "/paid", RawQuery: url.Values{"order": {o.Number}, "proof": {s.proof(o.Number)}}.Encode()}
	if r.TLS != nil {
		back.Scheme = "https"
	}
	http.Redirect(w, r, s.provider+"/pay?"+url.Values{"cents": {fmt.Sprint(o.Cents)}, "back": {back.String()}, "mac": {s.proof(back.String())}}.Encode(), http.StatusSeeOther)
}

// proof is what the provider says that an order was paid by. A real one signs.
func (s *shop) proof(text string) string { return macOf(s.secret, text) }

func macOf(secret []byte, text string) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(text))
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

// paid is where the visitor comes back from the payment provider.
func (s *shop) paid(w http.ResponseWriter, r *http.Request) {
	number := r.FormValue("order")
	if !hmac.Equal([]byte(r.FormValue("proof")), []byte(s.proof(number))) {
		http.Error(w, "That is no proof of payment.", http.StatusForbidden)
		return
	}
	first, err := s.report.Paid(r.Context(), number, time.Now())
	if err != nil {
		http.Error(w, "Please try again.", http.StatusServiceUnavailable)
		return
	}
	if first {
		setCookie(w, cartCookie, "", -1)
	}
	s.render(w, r, http.StatusOK, "paid", "Thank you", number)
}

// payments is a payment provider that believes everybody, on another port than the shop.
// It sends visitors back to where the shop has said, which shares a secret with it, and
// nowhere else.
func payments(secret []byte) http.Handler {
	page := template.Must(template.ParseFS(files, "pages/pay.html"))
	back := func(r *http.Request) (*url.URL, bool) {
		u, err := url.Parse(r.FormValue("back"))
		return u, err == nil && hmac.Equal([]byte(r.FormValue("mac")), []byte(macOf(secret, r.FormValue("back"))))
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /pay", func(w http.ResponseWriter, r *http.Request) {
		u, ok := back(r)
		if !ok {
			http.Error(w, "That shop is not known here.", http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action "+u.Scheme+"://"+u.Host+" 'self'")
		_ = page.Execute(w, struct{ Back, Cents, Mac string }{r.FormValue("back"), r.FormValue("cents"), r.FormValue("mac")})
	})
	mux.HandleFunc("POST /pay", func(w http.ResponseWriter, r *http.Request) {
		u, ok := back(r)
		if !ok {
			http.Error(w, "That shop is not known here.", http.StatusBadRequest)
			return
		}
		http.Redirect(w, r, u.String(), http.StatusSeeOther)
	})
	return mux
}
