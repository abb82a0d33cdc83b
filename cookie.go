package revisit

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
)

// Cookie is the strategy that carries the token in a cookie (RFC 6265):
//
//	__Host-revisit=<token>; Path=/; Max-Age=34128000; HttpOnly; Secure; SameSite=Lax
//
// It recognises the browser on every URL of the host, until the visitor
// deletes cookies. It is not sent again while it stands, and its lifetime is
// not extended by visits.
//
// Two different valid cookies of the name recognise nobody: somebody has planted one, or
// the Domain was changed. A request does not say which is which, so the one that this
// Cookie would not have set is taken away with the answer: the one of the host alone if
// there is a Domain, else those of the host's domains. The next request has one.
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
	for found := cookiesOf(v.request, c.name()); found.next(); {
		v.Present("cookie", found.value)
	}
	if v.navigation || v.seedable() {
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
	if !v.Due("cookie") || v.content == contentAsset || v.New() && !v.navigation && !(status == http.StatusOK && v.seedable()) {
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
	if v.Carried("cookie") && !v.freshening && allowPrivate(h) {
		h.Add("Set-Cookie", c.line("", expired))
		if v.isAmbiguous("cookie") {
			c.expireOther(v, h)
		}
	}
}

// expired ends a cookie. Max-Age=0 works everywhere, but no server is to send it
// (RFC 6265bis, section 4.1.1).
const expired = "Expires=Thu, 01 Jan 1970 00:00:00 GMT"

// maxDomains is how many domains of a host a cookie is expired for at most.
const maxDomains = 4

// expireOther takes away the cookies of the name that c would not have set. Where c is of
// the host alone, what stays is what no subdomain can have planted.
func (c Cookie) expireOther(v *Visit, h http.Header) {
	if hasHostPrefix(c.name()) || v.freshening || v.content == contentAsset || !allowPrivate(h) {
		return
	}
	other := c
	other.Name = c.name()
	if c.Domain != "" {
		other.Domain = ""
		h.Add("Set-Cookie", other.line("", expired))
		return
	}
	host := strings.TrimSuffix(withoutPort(v.request.Host), ".")
	if _, err := netip.ParseAddr(host); err == nil || !isHost(host) {
		return
	}
	for range maxDomains {
		if !strings.Contains(host, ".") {
			return
		}
		other.Domain = host
		h.Add("Set-Cookie", other.line("", expired))
		_, host, _ = strings.Cut(host, ".")
	}
}

func hasHostPrefix(name string) bool { return strings.HasPrefix(strings.ToLower(name), "__host-") }

// line is the value of Set-Cookie, for as long as the attribute ends says.
func (c Cookie) line(token, ends string) string {
	domain, secure := "", "; Secure"
	if c.Domain != "" {
		domain = "; Domain=" + c.Domain
	}
	if c.Insecure {
		secure = ""
	}
	return c.name() + "=" + token + "; Path=/" + domain + "; " + ends + "; HttpOnly" + secure + "; SameSite=Lax"
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

// check is called by New. What a browser would silently refuse is an error.
func (c Cookie) check() error {
	var errs []error
	name := c.name()
	if (&http.Cookie{Name: name, Value: "x", Domain: c.Domain}).Valid() != nil || len(name) > 256 ||
		strings.HasPrefix(c.Domain, ".") || strings.HasSuffix(c.Domain, ".") {
		errs = append(errs, fmt.Errorf("revisit: Cookie: Name %q or Domain %q is not valid in a cookie", name, c.Domain))
	}
	host := hasHostPrefix(name)
	if host && c.Domain != "" {
		errs = append(errs, errors.New("revisit: Cookie: the prefix __Host- forbids a Domain"))
	}
	if (host || strings.HasPrefix(strings.ToLower(name), "__secure-")) && c.Insecure {
		errs = append(errs, errors.New("revisit: Cookie: the prefixes __Host- and __Secure- forbid Insecure"))
	}
	return errors.Join(errs...)
}

// cookies walks through the values of the cookies of one name, as they were
// sent. Unlike Request.Cookie it does not allocate: it is called on every
// request.
type cookies struct {
	lines []string // of the Cookie header
	name  string
	line  string // what is left of the current one
	value string
}

func cookiesOf(r *http.Request, name string) cookies {
	return cookies{lines: r.Header["Cookie"], name: name}
}

func (c *cookies) next() bool {
	for {
		for c.line == "" {
			if len(c.lines) == 0 {
				return false
			}
			c.line, c.lines = c.lines[0], c.lines[1:]
		}
		pair := c.line
		if end := strings.IndexByte(pair, ';'); end >= 0 { // cheaper than Cut
			pair, c.line = pair[:end], pair[end+1:]
		} else {
			c.line = ""
		}
		pair = trimSpace(pair)
		if len(pair) > len(c.name) && pair[len(c.name)] == '=' && pair[:len(c.name)] == c.name {
			c.value = pair[len(c.name)+1:]
			return true
		}
	}
}

// trimSpace cuts optional white space off (OWS of RFC 9110, section 5.6.3).
func trimSpace(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}
