package revisit

import (
	"net/http"
	"strconv"

	"github.com/revisit-go/revisit/internal/cachecontrol"
	"github.com/revisit-go/revisit/internal/cookies"
	"github.com/revisit-go/revisit/internal/media"
)

// Cookie is the strategy that carries the token in a cookie (RFC 6265):
//
//	__Host-revisit=<token>; Path=/; Max-Age=34128000; HttpOnly; Secure; SameSite=Lax
//
// It recognises the browser on every URL of the host, until the visitor
// deletes cookies. It is not sent again while it stands, and its lifetime is
// not extended by visits.
//
// Two different valid cookies of the name recognise nobody: one was planted, or
// the Domain was changed. The answer removes the one that this Cookie would not have set: that
// of the host alone if there is a Domain, otherwise those of the host's domains.
type Cookie struct {
	// Name is the whole name of the cookie. Default "__Host-revisit";
	// "__Secure-revisit" with a Domain; "revisit" with Insecure.
	Name string

	// Domain shares the cookie with the subdomains of that domain, each of which
	// can then read and replace it. Default: this host alone.
	Domain string

	// Insecure leaves out the Secure attribute, for development over plain
	// http. Without it the cookie is marked Secure whatever Request.TLS says,
	// because TLS may end at a proxy in front.
	Insecure bool
}

// Via implements [Strategy]. It is "cookie".
func (Cookie) Via() string { return "cookie" }

// Identify implements [Strategy].
func (c Cookie) Identify(v *Visit) {
	for found := cookies.Of(v.request, c.name()); found.Next(); {
		v.Present("cookie", found.Value)
	}
	if v.class.Navigation || v.seedable() {
		v.Offer("cookie")
	}
	if v.isAmbiguous("cookie") {
		v.Hook()
	}
}

// Attach implements [Strategy]. A new session's cookie rides on any answer to
// a navigation, else on a 200 to a GET only: a browser may send many requests
// at once, and the error of one must not start a session. None rides on what pages are
// made of, which shared caches keep.
func (c Cookie) Attach(v *Visit, h http.Header, status int) {
	if v.isAmbiguous("cookie") {
		c.expireOther(v, h)
		return
	}
	if !v.Due("cookie") || v.content == media.Asset || v.New() && !v.class.Navigation && !(status == http.StatusOK && v.seedable()) {
		return
	}
	seconds := int64(v.Expires().Sub(v.now).Seconds())
	if seconds < 1 {
		return
	}
	if token, ok := v.Seal("cookie", h); ok {
		h.Add("Set-Cookie", c.line(token, "Max-Age="+strconv.FormatInt(seconds, 10)))
	}
}

// Clear implements [Strategy].
func (c Cookie) Clear(v *Visit, h http.Header, status int) {
	if v.Carried("cookie") && !v.freshening && cachecontrol.AllowPrivate(h) {
		h.Add("Set-Cookie", c.line("", cookies.Expired))
		if v.isAmbiguous("cookie") {
			c.expireOther(v, h)
		}
	}
}

// expireOther takes away the cookies of the name that c would not have set. Where c is of
// the host alone, what stays is what no subdomain can have planted.
func (c Cookie) expireOther(v *Visit, h http.Header) {
	if cookies.HasHostPrefix(c.name()) || v.freshening || v.content == media.Asset || !cachecontrol.AllowPrivate(h) {
		return
	}
	other := c
	other.Name = c.name()
	if c.Domain != "" {
		other.Domain = ""
		h.Add("Set-Cookie", other.line("", cookies.Expired))
		return
	}
	for _, other.Domain = range cookies.Domains(v.request.Host) {
		h.Add("Set-Cookie", other.line("", cookies.Expired))
	}
}

func (c Cookie) line(token, ends string) string {
	return cookies.Line(c.name(), token, c.Domain, ends, c.Insecure)
}

func (c Cookie) name() string {
	switch {
	case c.Name != "":
		return c.Name
	case c.Insecure:
		return "revisit"
	case c.Domain != "":
		return "__Secure-revisit"
	}
	return "__Host-revisit"
}

// check is called by New.
func (c Cookie) check() error { return cookies.Check(c.name(), c.Domain, c.Insecure) }
