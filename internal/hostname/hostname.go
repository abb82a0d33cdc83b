// Package hostname compares the names of hosts, as they stand in URLs and in Host.
package hostname

import (
	"net/url"
	"strings"
)

// Of returns the host of u as hosts are compared: without a port that is its scheme's.
func Of(u *url.URL) string {
	host := WithoutDot(u.Host)
	switch u.Scheme {
	case "https":
		return strings.TrimSuffix(host, ":443")
	case "http":
		return strings.TrimSuffix(host, ":80")
	}
	return host
}

// Plain returns a Host as hosts are compared: without the ports of HTTP and HTTPS (which
// of them the browser speaks, a proxy may hide), and without the dot at the end of a name.
func Plain(host string) string {
	for _, port := range [...]string{":443", ":80"} {
		if name, ok := strings.CutSuffix(host, port); ok {
			host = name
			break
		}
	}
	return WithoutDot(host)
}

// WithoutDot cuts off the dot at the end of the name of a host, which may have a port.
func WithoutDot(host string) string {
	if name, ok := strings.CutSuffix(host, "."); ok {
		return name
	}
	if name, port, ok := strings.Cut(host, ".:"); ok {
		return name + ":" + port
	}
	return host
}

func WithoutWWW(host string) string {
	if len(host) > 4 && strings.EqualFold(host[:4], "www.") {
		return host[4:]
	}
	return host
}

// IsValid reports whether a host is written as browsers write it, which is in ASCII: other
// characters can look like another host.
func IsValid(s string) bool {
	for i := range len(s) {
		if c := s[i]; ('0' > c || c > '9') && ('a' > c || c > 'z') && ('A' > c || c > 'Z') && !strings.Contains("-._:[]", s[i:i+1]) {
			return false
		}
	}
	return true
}

func WithoutPort(host string) string {
	name, _, ok := strings.Cut(host, ":")
	if !ok || strings.HasPrefix(host, "[") {
		u := url.URL{Host: host}
		return u.Hostname()
	}
	return name
}

// IsUnder reports whether a host is one of domains, or a subdomain of one.
func IsUnder(host string, domains []string) bool {
	for _, d := range domains {
		if rest, ok := strings.CutSuffix(host, d); ok && (rest == "" || rest[len(rest)-1] == '.') {
			return true
		}
	}
	return false
}
