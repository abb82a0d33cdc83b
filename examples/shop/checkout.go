package main

import (
	"crypto/hmac"
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
	// A cart is ordered once, however often the form is sent.
	o := report.Order{Number: "O" + strings.ToUpper(macOf(s.secret, "order "+cartValue(r))[:10]), At: time.Now(), Cents: int64(total(cart).Cents), What: strings.Join(names, "; ")}
	var touches []revisit.Touch
	if v, ok := revisit.FromContext(r.Context()); ok && !v.IsGuess() {
		o.Session, touches = v.ID.String(), v.Touches()
	}
	// Who has earned it is kept with the order, in one transaction.
	if err := s.report.Order(r.Context(), o, touches); err != nil {
		http.Error(w, "The order could not be taken. Please try again.", http.StatusServiceUnavailable)
		return
	}
	back := &url.URL{Scheme: "http", Host: r.Host, Path: "/paid", RawQuery: url.Values{"order": {o.Number}}.Encode()}
	if r.TLS != nil {
		back.Scheme = "https"
	}
	request := url.Values{"cents": {fmt.Sprint(o.Cents)}, "order": {o.Number}, "back": {back.String()}}
	request.Set("mac", requestMAC(s.secret, request))
	http.Redirect(w, r, s.provider+"/pay?"+request.Encode(), http.StatusSeeOther)
}

// The shop and the provider share a secret: the shop signs what it asks for, and the
// provider what was paid. A real one has keys for each.
func requestMAC(secret []byte, request url.Values) string {
	return macOf(secret, "asked "+request.Get("cents")+" "+request.Get("order")+" "+request.Get("back"))
}

func paidMAC(secret []byte, order string) string { return macOf(secret, "paid "+order) }

func macOf(secret []byte, text string) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(text))
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

// paid is where the visitor comes back from the payment provider.
func (s *shop) paid(w http.ResponseWriter, r *http.Request) {
	number := r.FormValue("order")
	if !hmac.Equal([]byte(r.FormValue("proof")), []byte(paidMAC(s.secret, number))) {
		http.Error(w, "This is not a valid proof of payment.", http.StatusForbidden)
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
		return u, err == nil && hmac.Equal([]byte(r.FormValue("mac")), []byte(requestMAC(secret, r.Form)))
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /pay", func(w http.ResponseWriter, r *http.Request) {
		u, ok := back(r)
		if !ok {
			http.Error(w, "This shop is not known here.", http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action "+u.Scheme+"://"+u.Host+" 'self'")
		_ = page.Execute(w, r.Form)
	})
	mux.HandleFunc("POST /pay", func(w http.ResponseWriter, r *http.Request) {
		u, ok := back(r)
		if !ok {
			http.Error(w, "This shop is not known here.", http.StatusBadRequest)
			return
		}
		query := u.Query()
		query.Set("proof", paidMAC(secret, r.FormValue("order")))
		u.RawQuery = query.Encode()
		http.Redirect(w, r, u.String(), http.StatusSeeOther)
	})
	return mux
}
