// Package cookies reads the cookies of a request without an allocation.
package cookies

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	"github.com/revisit-go/revisit/internal/header"
	"github.com/revisit-go/revisit/internal/hostname"
)

// Cookies walks through the values of the Cookies of one name, as they were
// sent. Unlike Request.Cookie it does not allocate: it is called on every
// request.
type Cookies struct {
	lines []string // of the Cookie header
	name  string
	line  string // what is left of the current one
	Value string // of the current one
}

// Of returns the cookies of a name in a request.
func Of(r *http.Request, name string) Cookies {
	return Cookies{lines: r.Header["Cookie"], name: name}
}

// Next goes to the next cookie, and reports whether there is one.
func (c *Cookies) Next() bool {
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
		pair = header.TrimSpace(pair)
		if len(pair) > len(c.name) && pair[len(c.name)] == '=' && pair[:len(c.name)] == c.name {
			c.Value = pair[len(c.name)+1:]
			return true
		}
	}
}

// IsName reports whether a cookie can have the name (RFC 6265, section 4.1.1).
func IsName(name string) bool {
	return len(name) <= maxName && (&http.Cookie{Name: name}).Valid() == nil
}

const maxName = 256

// isForbidden reports whether browsers refuse a cookie with r in its value, or end it there (RFC 6265bis,
// section 5.6).
func isForbidden(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f || r == ';' }

// Sets reports whether a response sets the cookie of a name.
func Sets(h http.Header, name string) bool {
	for _, line := range h["Set-Cookie"] {
		if before, _, ok := strings.Cut(line, "="); ok && header.TrimSpace(before) == name {
			return true
		}
	}
	return false
}

// IsValue reports whether a cookie can have the value, unquoted.
func IsValue(value string) bool {
	return value != "" && header.TrimSpace(value) == value && !strings.ContainsFunc(value, isForbidden)
}

// maxDomains is how many domains of a host are returned at most.
const maxDomains = 4

// Domains returns the domains that a cookie of a host may have, the host's own name first.
func Domains(host string) (domains []string) {
	host = strings.TrimSuffix(hostname.WithoutPort(host), ".")
	if _, err := netip.ParseAddr(host); err == nil || !hostname.IsValid(host) {
		return nil
	}
	for len(domains) < maxDomains && strings.Contains(host, ".") {
		domains = append(domains, host)
		_, host, _ = strings.Cut(host, ".")
	}
	return domains
}

// Expired is the attribute that ends a cookie. Max-Age=0 works everywhere, but no server is to
// send it (RFC 6265bis, section 4.1.1).
const Expired = "Expires=Thu, 01 Jan 1970 00:00:00 GMT"

// Line returns the value of Set-Cookie for a cookie that scripts do not see, for as long as
// the attribute ends says. Without a domain it is of the host alone.
func Line(name, value, domain, ends string, insecure bool) string {
	secure := "; Secure"
	if insecure {
		secure = ""
	}
	if domain != "" {
		domain = "; Domain=" + domain
	}
	return name + "=" + value + "; Path=/" + domain + "; " + ends + "; HttpOnly" + secure + "; SameSite=Lax"
}

// HasHostPrefix reports whether browsers take a cookie of that name only for the host alone.
func HasHostPrefix(name string) bool { return strings.HasPrefix(strings.ToLower(name), "__host-") }

func hasSecurePrefix(name string) bool { return strings.HasPrefix(strings.ToLower(name), "__secure-") }

// Check returns what browsers would silently refuse of a cookie.
func Check(name, domain string, insecure bool) error {
	var errs []error
	if (&http.Cookie{Name: name, Value: "x", Domain: domain}).Valid() != nil || len(name) > maxName ||
		strings.HasPrefix(domain, ".") || strings.HasSuffix(domain, ".") {
		errs = append(errs, fmt.Errorf("revisit: Cookie: Name %q or Domain %q is not valid in a cookie", name, domain))
	}
	if HasHostPrefix(name) && domain != "" {
		errs = append(errs, errors.New("revisit: Cookie: the prefix __Host- forbids a Domain"))
	}
	if (HasHostPrefix(name) || hasSecurePrefix(name)) && insecure {
		errs = append(errs, errors.New("revisit: Cookie: the prefixes __Host- and __Secure- forbid Insecure"))
	}
	return errors.Join(errs...)
}

// Expire adds what ends a cookie of somebody else's to a response, for the host alone and for each domain.
func Expire(h http.Header, name string, domains []string) {
	secure := ""
	if HasHostPrefix(name) || hasSecurePrefix(name) {
		secure = "; Secure" // or browsers refuse it
	}
	for _, domain := range append([]string{""}, domains...) {
		if domain != "" {
			if HasHostPrefix(name) {
				continue
			}
			domain = "; Domain=" + domain
		}
		h.Add("Set-Cookie", name+"=; Path=/"+domain+"; "+Expired+secure+"; SameSite=Lax")
	}
}
