// Package clientip finds the address of the client behind a request.
package clientip

import (
	"net/http"
	"net/netip"
	"net/textproto"
	"slices"
	"strings"

	"github.com/revisit-go/revisit/internal/header"
)

// Forwarded returns a function that reads the address of the client from what proxies have
// written: see revisit.Forwarded.
func Forwarded(field string, proxies ...netip.Prefix) func(*http.Request) netip.Addr {
	field = textproto.CanonicalMIMEHeaderKey(field)
	parse := parseHop
	if field == "Forwarded" {
		parse = parseForwarded
	}
	proxies = slices.Clone(proxies)
	for i, p := range proxies {
		if addr := p.Addr(); addr.Is4In6() && p.Bits() >= 96 { // addresses are compared as IPv4
			proxies[i] = netip.PrefixFrom(addr.Unmap(), p.Bits()-96)
		}
	}
	return func(r *http.Request) netip.Addr {
		addr := Remote(r)
		lines := r.Header[field]
		for line, text := len(lines), ""; contains(proxies, addr); {
			for header.TrimSpace(text) == "" {
				if line == 0 {
					return netip.Addr{}
				}
				line--
				text = lines[line]
			}
			var member string
			text, member = cutLast(text)
			if addr = parse(header.TrimSpace(member)); !addr.IsValid() {
				return addr
			}
		}
		return addr
	}
}

func contains(prefixes []netip.Prefix, addr netip.Addr) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// Remote returns the address of the connection.
func Remote(r *http.Request) netip.Addr {
	addr, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return addr.Addr().Unmap().WithZone("")
}

// cutLast cuts the last member of a comma-separated list off. What stands in a
// quoted string of Forwarded is never of use here, so one with a comma in it may
// be cut in two: neither half is an address.
func cutLast(list string) (rest, last string) {
	i := strings.LastIndexByte(list, ',')
	return list[:max(i, 0)], list[i+1:]
}

// parseHop reads an address, alone or with a port as some proxies write it.
func parseHop(s string) netip.Addr {
	addr, err := netip.ParseAddr(strings.Trim(s, "[]"))
	if err != nil {
		withPort, err := netip.ParseAddrPort(s)
		if err != nil {
			return netip.Addr{}
		}
		addr = withPort.Addr()
	}
	return addr.Unmap().WithZone("")
}

// parseForwarded reads the for parameter of a member of Forwarded. One that has it
// twice says nothing.
func parseForwarded(member string) (addr netip.Addr) {
	seen := false
	for member != "" {
		var pair string
		pair, member, _ = strings.Cut(member, ";")
		name, value, _ := strings.Cut(header.TrimSpace(pair), "=")
		if !strings.EqualFold(name, "for") {
			continue
		}
		if seen {
			return netip.Addr{}
		}
		seen = true
		if n := len(value); n >= 2 && value[0] == '"' && value[n-1] == '"' {
			value = value[1 : n-1]
		}
		addr = parseHop(value)
	}
	return addr
}

// proxyFields are the fields that proxies write. Any of them on a request, with no
// Config.ClientAddr, says that the address may be a proxy's.
var proxyFields = [...]string{
	"Forwarded", "Via", "X-Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip",
	"X-Client-Ip", "True-Client-Ip", "Cf-Connecting-Ip", "Fastly-Client-Ip", "X-Envoy-External-Address",
}

// Network returns the network that an address is taken for: /32 of IPv4 and /64 of IPv6, or
// /24 and /48 for a wide one; "" for no address.
func Network(addr netip.Addr, wide bool) string {
	bits := 32
	switch {
	case !addr.IsValid():
		return ""
	case addr.Is4() && wide:
		bits = 24
	case addr.Is4():
	case wide:
		bits = 48
	default:
		bits = 64
	}
	prefix, err := addr.Prefix(bits)
	if err != nil {
		return ""
	}
	return string(prefix.Masked().Addr().AsSlice())
}

// MayBeProxy returns why an address of a request may be that of a proxy, "" for no reason.
// Configured says that the application has said which address counts.
func MayBeProxy(r *http.Request, addr netip.Addr, configured bool) (why string) {
	near := addr.IsPrivate() || addr.IsLoopback() || addr.IsLinkLocalUnicast()
	if near && !configured {
		why = "from a private address"
	}
	// The application may have forgotten one that is near.
	if !configured || near && addr == Remote(r) {
		for _, name := range proxyFields {
			if _, ok := r.Header[name]; ok {
				why = "with " + name
			}
		}
	}
	return why
}
